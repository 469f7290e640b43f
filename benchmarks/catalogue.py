"""Every variant of the catalogue on Fashion-MNIST beside PCA and beside pythae with the same networks.

    python benchmarks/catalogue.py --out results.jsonl                        # every variant and PCA
    python benchmarks/catalogue.py --out results.jsonl --library pythae       # where pythae is installed
    python benchmarks/catalogue.py --out results.jsonl --table                # the table of docs/benchmarks.md

10,000 training and 2,000 test images, a code of 16 numbers, equal epochs, seeds 0 to 2. The error is the squared error of a
test image, summed over its 784 pixels in [0, 1]; "linear" and "kNN" are the accuracies of logistic regression and of ten
neighbours on the standardised codes of the training images, judged on the test images. Seconds are CPU seconds of the fit.
A result that is there already is not computed again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

TRAIN, TEST, LATENT, HIDDEN = 10_000, 2_000, 16, (512, 256)
PEERS = ("AE", "VAE", "WAE_MMD", "RAE_L2", "VQVAE")


def images() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return training images, test images, in [0, 1], and their labels."""
    x = [datasets.fashion_images(part)[:rows] / 255 for part, rows in (("train", TRAIN), ("t10k", TEST))]
    y = [datasets.fashion_labels(part)[:rows] for part, rows in (("train", TRAIN), ("t10k", TEST))]
    return x[0].astype(np.float32), x[1].astype(np.float32), y[0], y[1]


def judged(codes: np.ndarray, test_codes: np.ndarray, x_hat: np.ndarray) -> dict[str, float]:
    """Return error and accuracies of a model by its codes and its reconstruction of the test images."""
    _, test, y, test_y = images()
    scaler = StandardScaler().fit(codes)
    z, test_z = scaler.transform(codes), scaler.transform(test_codes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a probe need not converge to the last digit
        linear = LogisticRegression(max_iter=200).fit(z, y).score(test_z, test_y)
    return {
        "error": float(np.square(x_hat.reshape(TEST, -1) - test.reshape(TEST, -1)).sum(1).mean()),
        "linear": float(linear),
        "knn": float(KNeighborsClassifier(10).fit(z, y).score(test_z, test_y)),
    }


def run_pca() -> dict[str, Any]:
    """Return the figures of PCA."""
    train, test, _, _ = images()
    started = time.process_time()
    pca = PCA(LATENT, random_state=0).fit(train.reshape(TRAIN, -1))
    seconds = time.process_time() - started
    codes = pca.transform(test.reshape(TEST, -1))
    return judged(pca.transform(train.reshape(TRAIN, -1)), codes, pca.inverse_transform(codes)) | {"seconds": seconds}


def run_isthmus(name: str, seed: int, epochs: int) -> dict[str, Any]:
    """Fit a variant; return its figures and what its code looks like."""
    import isthmus as ist
    from isthmus.catalogue import VARIANTS

    entry = next(entry for entry in VARIANTS if entry.name == name)
    train, test, y, test_y = images()
    told: dict[str, Any] = {}
    if entry.inputs in ("any", "labels"):
        train, test = train.reshape(TRAIN, -1), test.reshape(TEST, -1)
    ae = ist.variant(name, latent_dim=LATENT, max_epochs=epochs, random_state=seed, verbose=False)
    if ae.network == "auto":
        ae.set_params(network=ist.MLP(hidden=HIDDEN))
    started = time.process_time()
    ae.fit(train, y)
    seconds = time.process_time() - started
    if entry.inputs == "labels":
        codes, test_codes = ae.transform(train, condition=y), ae.transform(test, condition=test_y)
        told = {"condition": test_y}
    else:
        codes, test_codes = ae.transform(train), ae.transform(test)
    figures = judged(codes, test_codes, np.asarray(ae.reconstruct(test, **told)))
    return figures | {"seconds": seconds, "numbers": codes.shape[1], "code": ae.scores_.get("code", {})}


def run_pythae(name: str, seed: int, epochs: int) -> dict[str, Any]:
    """Train one of pythae's models with the same multi-layer perceptrons."""
    import pythae.models as peers
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.trainers import BaseTrainerConfig, CoupledOptimizerTrainerConfig
    from torch import nn

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.latent_dim = LATENT
            wide, narrow = HIDDEN
            self.body = nn.Sequential(nn.Flatten(), nn.Linear(784, wide), nn.SiLU(), nn.Linear(wide, narrow), nn.SiLU())
            self.mu, self.log_var = nn.Linear(narrow, LATENT), nn.Linear(narrow, LATENT)

        def forward(self, x: torch.Tensor) -> ModelOutput:
            h = self.body(x)
            return ModelOutput(embedding=self.mu(h), log_covariance=self.log_var(h))

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            wide, narrow = HIDDEN
            self.body = nn.Sequential(
                nn.Flatten(),
                nn.Linear(LATENT, narrow),
                nn.SiLU(),
                nn.Linear(narrow, wide),
                nn.SiLU(),
                nn.Linear(wide, 784),
            )

        def forward(self, z: torch.Tensor) -> ModelOutput:
            return ModelOutput(reconstruction=self.body(z).view(-1, 1, 28, 28))

    train, test, _, _ = images()
    torch.manual_seed(seed)
    config = getattr(peers, f"{name}_Config" if name in ("WAE_MMD", "RAE_L2") else f"{name}Config")
    model = getattr(peers, name)(config(input_dim=(1, 28, 28), latent_dim=LATENT), Encoder(), Decoder())
    from pythae.pipelines import TrainingPipeline

    with tempfile.TemporaryDirectory() as folder:
        common = {
            "output_dir": folder,
            "per_device_train_batch_size": 128,
            "num_epochs": epochs,
            "no_cuda": True,
            "seed": seed,
        }
        if name == "RAE_L2":
            rates = {"encoder_learning_rate": 1e-3, "decoder_learning_rate": 1e-3}
            trainer = CoupledOptimizerTrainerConfig(**common, **rates)
        else:
            trainer = BaseTrainerConfig(**common, learning_rate=1e-3)
        started = time.process_time()
        TrainingPipeline(model=model, training_config=trainer)(train[:, None])
        seconds = time.process_time() - started
    model.eval()
    with torch.no_grad():
        codes, test_codes, x_hat = [], [], []
        for z, x in ((codes, train), (test_codes, test)):
            for piece in torch.from_numpy(x[:, None]).split(500):
                out = model.encoder(piece).embedding  # embed() draws a random code even in evaluation
                z.append(out.numpy())
        for z in test_codes:
            x_hat.append(model.decoder(_quantised(model, torch.from_numpy(z))).reconstruction.numpy())
    return judged(np.concatenate(codes), np.concatenate(test_codes), np.concatenate(x_hat)) | {"seconds": seconds}


def _quantised(model: Any, z: torch.Tensor) -> torch.Tensor:
    if not hasattr(model, "quantizer"):
        return z
    # it quantises each number of a vector code by itself, as its forward pass does
    return model.quantizer(z.reshape(len(z), 1, 1, -1).permute(0, 2, 3, 1)).quantized_vector.reshape(len(z), -1)


def table(results: list[dict[str, Any]]) -> str:
    """Return the results as Markdown: means over the seeds, the spread of the error."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for result in results:
        groups.setdefault((result["library"], result["name"]), []).append(result)
    lines = ["| | error | spread | linear | kNN | CPU s | code |", "|---|---|---|---|---|---|---|"]
    for (library, name), runs in sorted(groups.items(), key=lambda item: np.mean([r["error"] for r in item[1]])):
        mean = {key: np.mean([run[key] for run in runs]) for key in ("error", "linear", "knn", "seconds")}
        spread = np.ptp([run["error"] for run in runs])
        code = runs[0].get("code") or {}
        facts = ", ".join(f"{key} {value:.3g}" for key, value in code.items() if key != "active")
        label = name if library == "isthmus" else f"*{library} {name}*" if library != "sklearn" else f"**{name}**"
        lines.append(
            f"| {label} | {mean['error']:.2f} | {spread:.2f} | {mean['linear']:.3f} | {mean['knn']:.3f} | "
            f"{mean['seconds']:.0f} | {facts} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Compute what is missing, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--library", choices=("isthmus", "pythae"), default="isthmus")
    parser.add_argument("--names", nargs="*")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    known = [json.loads(line) for line in options.out.read_text().splitlines()] if options.out.exists() else []
    if options.table:
        print(table(known))
        return
    jobs: list[tuple[str, str, int]] = []
    if options.library == "pythae":
        jobs = [("pythae", name, seed) for seed in options.seeds for name in options.names or PEERS]
    else:
        from isthmus.catalogue import VARIANTS

        names = [entry.name for entry in VARIANTS if entry.inputs in ("any", "images", "places", "labels")]
        jobs = [("sklearn", "PCA", 0)]
        jobs += [("isthmus", name, seed) for seed in options.seeds for name in options.names or names]
    done = {(result["library"], result["name"], result["seed"]) for result in known}
    for library, name, seed in jobs:
        if (library, name, seed) in done:
            continue
        if library == "sklearn":
            figures = run_pca()
        else:
            figures = (run_pythae if library == "pythae" else run_isthmus)(name, seed, options.epochs)
        result = {"library": library, "name": name, "seed": seed, "epochs": options.epochs} | figures
        with options.out.open("a") as file:
            file.write(json.dumps(result) + "\n")
        print(f"{library} {name} {seed}: error {figures['error']:.2f}, {figures['seconds']:.0f} s", flush=True)


if __name__ == "__main__":
    main()
