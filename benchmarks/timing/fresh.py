"""Cases ``startup`` and ``memory``: what a fresh process pays before it has learned anything, and how much a fit holds."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import numpy as np

from timing import libraries, loops, ours
from timing.alone import alone
from timing.clock import UnavailableError, Watch, forget_peak, interleave, median, peak_mib
from timing.job import Job, Net, Trainer, rows
from timing.report import Report

DATA = "import numpy as np; X = np.random.default_rng(0).normal(size=(1000, 30)).astype('float32'); "
PEAK = "\nprint([line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')][0])"
SAME = "network=ist.MLP(hidden=(64,), activation='relu'), latent_dim=16, max_epochs=10, batch_size=128, verbose=False"
PROGRAMS = {
    "import torch alone": "import torch",
    "isthmus, import alone": "import isthmus as ist; ist.Autoencoder",
    "isthmus, 10 epochs": f"import isthmus as ist; {DATA} ist.Autoencoder({SAME}, device='cpu').fit(X)",
    "isthmus, default fit": f"import isthmus as ist; {DATA} ist.Autoencoder(verbose=False, device='cpu').fit(X)",
    "pyod, 10 epochs": f"from pyod.models.auto_encoder import AutoEncoder; {DATA} AutoEncoder(epoch_num=10, batch_size=128, "
    "hidden_neuron_list=[64, 16], verbose=0).fit(X)",
    "scikit-learn, 10 epochs": f"from sklearn.neural_network import MLPRegressor; {DATA} "
    "MLPRegressor(hidden_layer_sizes=(64, 16, 64), batch_size=128, max_iter=10).fit(X, X)",
    "Keras 3 on JAX, 10 epochs": f"import keras; {DATA} D = keras.layers.Dense; m = keras.Sequential([D(64, 'relu'), D(16), "
    "D(64, 'relu'), D(30)]); m.compile('adam', 'mse'); m.fit(X, X, batch_size=128, epochs=10, verbose=0)",
    "tutorial loop, 10 epochs": "import torch; from torch import nn; from torch.utils.data import DataLoader, TensorDataset; "
    + DATA
    + """
net = nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, 16), nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 30))
optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
for epoch in range(10):
    for (x,) in DataLoader(TensorDataset(torch.from_numpy(X)), batch_size=128, shuffle=True):
        loss = nn.functional.mse_loss(net(x), x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
""",
}
TRAINERS: dict[str, Trainer] = {
    "tutorial PyTorch loop": loops.tutorial,
    "torch in memory, fused Adam": loops.in_memory,
    "pyod AutoEncoder": libraries.pyod,
    "pythae AE": libraries.pythae,
    "scikit-learn MLPRegressor": libraries.scikit_learn,
    "Keras 3 on JAX": libraries.keras,
    **ours.trainers(),
    "isthmus, 10 % held out, shortcut": partial(
        ours.train, shortcut="auto", validation_fraction=0.1, early_stopping=True
    ),
}


class Born(NamedTuple):
    """What one process cost from its first instruction to its last."""

    wall: float
    cpu: float
    peak: float


def startup(quick: bool, rounds: int) -> Iterator[Report]:
    """``python -c "import X; fit 1,000 x 30"`` in a fresh process."""
    report = Report("startup", f"startup: a fresh process that fits 1,000 x 30, {rounds} rounds", [
        "program", "wall s", "CPU s", "x CPU pyod", "peak MiB",
    ])  # fmt: skip
    programs = {}
    for name, code in PROGRAMS.items():
        try:
            _fresh(code, 0)  # also fills the caches of bytecode and kernels, which only the very first start pays
            programs[name] = partial(_fresh, code)
        except UnavailableError as reason:
            report.skipped[name] = str(reason)
    runs = interleave(programs, rounds)
    base = "pyod, 10 epochs"
    for name, several in runs.items():
        wall, cpu, peak = (median(list(values)) for values in zip(*several, strict=True))
        over = median([b.cpu / own.cpu for b, own in zip(runs[base], several, strict=True)]) if base in runs else None
        report.rows.append([name, wall, cpu, over, peak])
    report.notes = [
        "10 epochs: 64-16, batches of 128; x: times less CPU than pyod. Caches are warm: files, bytecode, kernels."
    ]
    report.rounds = {name: [run._asdict() for run in several] for name, several in runs.items()}
    yield report


def memory(quick: bool, rounds: int) -> Iterator[Report]:
    """The peak of a fit above the imports and one copy of the data; each in its own process."""
    n_rows, net = 20_000 if quick else 200_000, Net(100, (128,), 10)
    title = f"memory: a fit of {n_rows:,} x {net.width} ({n_rows * net.width / 2**18:.0f} MiB), {rounds} rounds"
    report = Report("memory", title, ["contestant", "imports MiB", "fit MiB beyond one copy", "copies of the data"])

    def measure(name: str, turn: int) -> tuple[float, float] | None:
        if name in report.skipped:
            return None
        try:
            return tuple(alone("timing.fresh:held", name=name, n_rows=n_rows, net=net))
        except UnavailableError as reason:
            report.skipped[name] = str(reason)
            return None

    runs = interleave({name: partial(measure, name) for name in TRAINERS}, rounds)
    one = n_rows * net.width * 4 / 2**20
    for name, several in runs.items():
        if name not in report.skipped:
            imports, beyond = (median(list(values)) for values in zip(*[run for run in several if run], strict=True))
            report.rows.append([name, imports, beyond, beyond / one])
    report.notes = ["imports: after a fit of 512 rows, so that nothing is imported later; then the peak begins anew"]
    report.rounds = runs
    yield report


def held(name: str, n_rows: int, net: list) -> tuple[float, float]:
    """Return MiB after the imports, and MiB that a fit held beyond those and one float32 copy of the data."""
    job = Job(rows(512, net[0]), Net(net[0], tuple(net[1]), net[2]), 256, 2)
    TRAINERS[name](job, Watch())
    forget_peak()
    imports = peak_mib()
    X = _data(n_rows, net[0])
    TRAINERS[name](job._replace(X=X), Watch())
    return imports, peak_mib() - imports - X.nbytes / 2**20


def _data(n_rows: int, width: int) -> np.ndarray:
    """Return random rows without a temporary copy."""
    return np.random.default_rng(0).standard_normal((n_rows, width), dtype=np.float32)


def _fresh(code: str, turn: int) -> Born:
    begun = time.perf_counter()
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-W", "ignore", "-c", code + PEAK], **pipe)  # pyright: ignore
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    out, err = process.communicate()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    wall = time.perf_counter() - begun
    if process.returncode:
        last = err.strip().splitlines()[-1] if err.strip() else f"exit {process.returncode}"
        if "Error: No module named" not in last:
            raise RuntimeError(err)
        raise UnavailableError(last)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Born(wall, cpu, int(out.split()[-1]) / 1024)
