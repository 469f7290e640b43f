"""Every model trains where its weights are: no tensor is made on another device, and nobody makes a GPU wait unawares.

Where there is no GPU, one is pretended (``pretend.py``).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch

import isthmus as ist
from isthmus import residence, training
from isthmus.data.rows import DenseRows, SparseRows, WindowRows
from isthmus.engine import average, reference
from isthmus.engine.choice import maker
from isthmus.parts.bottlenecks.sparse import revival
from isthmus.parts.step import Code
from isthmus.training import gather
from pretend import case, cases
from samples import data_for
from steps import step_of
from test_engines import begun, close, small, trained

HERE = Path(__file__).parent
NO_GPU = "torch sees no CUDA device here"
on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason=NO_GPU)
WAITS = {
    "sparse_kl": ["KLSparsity.__call__"],  # it looks whether the code keeps to [0, 1]
    "table masked": ["_cells_shape"],  # it counts the columns
}
"""Whose step asks the device for a number, and who asks."""


@pytest.fixture(scope="module")
def told() -> dict[str, dict[str, Any]]:
    """What every model met on the pretended GPU."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])}
    ran = subprocess.run(
        [sys.executable, str(HERE / "pretend.py")], capture_output=True, text=True, env=environment, check=False
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    return {line["name"]: line for line in map(json.loads, ran.stdout.splitlines())}


@pytest.mark.parametrize("name", cases())
def test_a_step_keeps_to_one_device_and_waits_for_nothing_but_what_is_known(name: str, told: dict) -> None:
    assert told[name]["error"] == ""
    assert told[name]["waits"] == WAITS.get(name, [])


@pytest.mark.parametrize(
    "name", ["spherical", "vector_quantized", "norms", "residual maps", "wasserstein", "table learned"]
)
def test_products_in_bfloat16_leave_the_loss_and_what_is_kept_in_float32(name: str) -> None:
    ae, X, y = case(name)
    found = []
    for is_rounded in (False, True):
        run = begun(ae, X, y)
        model, rng = run.model.train(), torch.Generator().manual_seed(0)
        batch = gather(run.data.train, slice(0, 16), None, run.data.cells, model, run.data.train_condition)
        with torch.autocast("cpu", torch.bfloat16, enabled=is_rounded, cache_enabled=False):
            terms = model.terms(batch, rng, 0.5)
        average(terms, None)["loss"].backward()
        model.after_step(rng)
        found.append(average(terms, None)["loss"].item())
        assert all(values.dtype != torch.bfloat16 for values in model.state_dict().values())
        assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    assert found[1] == pytest.approx(found[0], rel=0.1)


@pytest.mark.parametrize("n_dead", [0, 2, 5])
def test_reviving_without_counting_the_dead_is_the_same_number_and_gradient(n_dead: int) -> None:
    rng = torch.Generator().manual_seed(0)
    dead, x, weight = torch.arange(6) < n_dead, torch.randn(4, 6, generator=rng), torch.randn(6, 6, generator=rng)
    found = []
    for counts in (True, False):
        before = torch.randn(4, 6, generator=rng.manual_seed(1)).requires_grad_()
        step = step_of(before, x, x + 1, code=Code(before, before, before=before), decode=lambda z: z @ weight)
        value = revival(dead, step, counts)
        gradient = torch.autograd.grad(value.sum(), before)[0] if value.requires_grad else torch.zeros_like(before)
        found.append((value.detach(), gradient))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)
    assert (found[0][0] > 0).all() == (n_dead > 0)


def rows_of(kind: str) -> Any:
    rng = np.random.default_rng(0)
    x, known = rng.normal(size=(70, 3, 2)).astype(np.float32), rng.random((70, 3, 2)) < 0.9
    if kind == "windows":
        return WindowRows(torch.from_numpy(x[:, 0]), torch.from_numpy(known[:, 0]), 8, 3)
    if kind == "sparse":
        return SparseRows(scipy.sparse.csr_matrix(x[:, 0] * known[:, 0]), np.ones(2), np.full(2, 3.0))
    rows = DenseRows(x, known if kind == "gaps" else None)
    return rows.subset(np.arange(69, 0, -2)) if kind == "subset" else rows


@pytest.mark.parametrize("kind", ["dense", "gaps", "subset", "windows", "sparse"])
def test_rows_that_moved_are_the_same_rows(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(residence, "chunk_rows", lambda size: 1)
    monkeypatch.setattr(residence, "TOGETHER", 9)  # rows are copied nine at a time
    rows = rows_of(kind)
    moved = residence.moved(rows, torch.device("cpu"))
    assert (len(moved), moved.shape) == (len(rows), rows.shape)
    for here, there in zip(rows.take(slice(None)), moved.take(slice(None)), strict=True):
        assert (here is None and there is None) or torch.equal(here, there)
    bytes_held = sum(values.nbytes for values in moved.take(slice(None)) if values is not None)
    assert residence.size_of(rows) == bytes_held


def test_rows_move_to_a_gpu_that_has_room_for_them_and_the_reason_is_told_where_it_has_not(monkeypatch) -> None:
    rows, gpu = DenseRows(np.zeros((1000, 64), np.float32)), torch.device("cuda")
    for free, words in ((2 * 256_000, ""), (2 * 256_000 - 1, "0.000238 GiB of the 0.000477 GiB that are free")):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, free))
        assert words in residence.too_large([rows], gpu)
        assert bool(words) == bool(residence.too_large([rows], gpu))


@on_gpu
@pytest.mark.parametrize(
    "name", ["vanilla", "tied", "wasserstein", "top_k", "contractive", "variational", "vector_quantized"]
)
def test_recorded_steps_are_those_taken_one_by_one(name: str) -> None:
    X, y = data_for("any")
    ae = small(name, device="cuda", batch_size=12)
    fast, slow = trained(ae, maker("graphs"), X, y), trained(ae, reference, X, y)
    assert (fast.history.engine, fast.history.engine_note) == ("graphs", "")
    close(fast, slow, 1e-4)


@on_gpu
@pytest.mark.parametrize("name", ["vanilla", "deep", "contractive"])
def test_a_gpu_computes_the_losses_of_a_cpu(name: str) -> None:
    X, y = data_for("any")
    close(trained(small(name, device="cuda"), maker("graphs"), X, y), trained(small(name), reference, X, y), 1e-4)


@on_gpu
def test_rows_of_the_host_come_in_blocks_and_give_the_same_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = data_for("any")
    resident = trained(small("vanilla", device="cuda"), maker("graphs"), X, y)
    monkeypatch.setattr(residence, "SHARE", 0.0)
    monkeypatch.setitem(training.BLOCK, "cuda", 2**14)
    visiting = trained(small("vanilla", device="cuda"), maker("graphs"), X, y)
    assert "stay in the memory of the host" in visiting.history.engine_note
    close(visiting, resident, 1e-6)


@on_gpu
def test_a_model_of_a_gpu_is_loaded_on_a_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    X, _ = data_for("any")
    ae = ist.Autoencoder(device="cuda", max_epochs=2, random_state=0, verbose=False).fit(X)
    codes = ae.transform(X)
    ae.save(str(tmp_path / "model"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    loaded = ist.load(str(tmp_path / "model"))
    assert next(loaded.model_.parameters()).device.type == "cpu"
    np.testing.assert_allclose(loaded.transform(X), codes, rtol=1e-4, atol=1e-4 * np.abs(codes).max())


@on_gpu
@pytest.mark.parametrize(("precision", "tolerance"), [("auto", 1e-2), ("bfloat16", 0.1)])
def test_coarser_products_change_the_losses_little_and_the_switches_are_set_back(
    precision: str, tolerance: float
) -> None:
    X, y = data_for("any")
    before = torch.backends.cuda.matmul.fp32_precision
    coarse = trained(small("vanilla", device="cuda"), maker("graphs", precision), X, y)
    assert torch.backends.cuda.matmul.fp32_precision == before
    close(coarse, trained(small("vanilla", device="cuda"), reference, X, y), tolerance)
