"""Negative log-likelihood of binarised MNIST test images, by importance sampling, beside a published figure.

    python benchmarks/nll.py [--full | --reference] [--rate 1.5e-3] [--data FOLDER] [--device auto]

``--full`` runs the protocol that pythae publishes 89.78 nats for (its paper's reference: 89.9): a variational autoencoder
with one hidden layer of 400 rectified units on either side and a code of 40 numbers, batches of 100, 500 epochs over 50,000
training images, 10,000 for stopping, and 200 importance samples for each of the 10,000 test images. The learning rate is
ours: one cycle with the peak ``--rate``, where the published one starts at 1e-4 and steps down. ``--reference`` trains the same
network on the same pixels by a plain torch loop at that published rate, so that there is a figure to compare with. Without
either a short form runs, whose figures compare with nothing but themselves.

FOLDER (mnist in the folder of real data, unless named) holds either binarized_mnist_train.amat, _valid.amat and _test.amat
(Larochelle & Murray 2011: pixels drawn once, with their intensity as probability), which the published figure is for; or
the four IDX files of MNIST, .gz or not, whose pixels are drawn here once in the same way, with a fixed seed. Figures of
other draws of the pixels are near the published one, not comparable to its last digits.
"""

from __future__ import annotations

import argparse
import gzip
import time
from pathlib import Path

import datasets
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

import isthmus as ist
from isthmus.apps.likelihood import log_likelihood

PUBLISHED = 89.78
TRAINING = 50_000
"""So many of the 60,000 training images train; the others say when to stop."""


def images(folder: Path) -> tuple[np.ndarray, np.ndarray, str] | None:
    """Return training images (the last 10,000 held out), test images, and what they are; None where there are none."""
    drawn = [folder / f"binarized_mnist_{part}.amat" for part in ("train", "valid", "test")]
    if all(file.is_file() for file in drawn):
        train, valid, test = (np.loadtxt(file, dtype=np.float32) for file in drawn)
        return np.concatenate([train, valid]), test, "the fixed binary MNIST of Larochelle & Murray"
    parts = []
    for part in ("train", "t10k"):
        found = [f for f in (folder / f"{part}-images-idx3-ubyte{end}" for end in (".gz", "")) if f.is_file()]
        if not found:
            return None
        with (gzip.open if found[0].suffix == ".gz" else open)(found[0], "rb") as file:
            parts.append(np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 784) / 255)
    rng = np.random.default_rng(0)
    train, test = ((rng.random(grey.shape) < grey).astype(np.float32) for grey in parts)
    return train, test, "MNIST, binarised once by drawing each pixel with its intensity as probability"


def independent_pixels(train: np.ndarray, test: np.ndarray) -> float:
    """Return the negative log-likelihood under one Bernoulli a pixel, in nats."""
    p = (train.sum(0) + 1) / (len(train) + 2)
    return float(-(test @ np.log(p) + (1 - test) @ np.log1p(-p)).mean())


def reference(train: Tensor, test: Tensor, seed: int, epochs: int = 500) -> tuple[Tensor, int]:
    """Train the network of the protocol by a plain loop at the published rate; return -log p of the test rows and the epoch."""
    torch.manual_seed(seed)
    up, down = nn.Linear(784, 400), nn.Sequential(nn.Linear(40, 400), nn.ReLU(), nn.Linear(400, 784))
    head = nn.Linear(400, 80)
    model = nn.ModuleList([up, head, down])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [200, 350, 500], gamma=10 ** (-1 / 5))

    def weights(x: Tensor, draws: int) -> Tensor:
        """Return log p(x, z) - log q(z | x) of so many draws, (draws, B)."""
        mu, log_var = head(up(x).relu()).chunk(2, dim=1)
        noise = torch.randn(draws, *mu.shape)
        z = mu + noise * (0.5 * log_var).exp()
        logits = down(z)
        error = functional.binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="none").sum(-1)
        return 0.5 * (log_var + noise.square() - z.square()).sum(-1) - error

    def loss(x: Tensor) -> Tensor:
        mu, log_var = head(up(x).relu()).chunk(2, dim=1)
        logits = down(mu + torch.randn_like(mu) * (0.5 * log_var).exp())
        error = functional.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(1)
        return (error + 0.5 * (mu.square() + log_var.exp() - 1 - log_var).sum(1)).mean()

    best, state, best_epoch = float("inf"), model.state_dict(), 0
    for epoch in range(1, epochs + 1):
        for index in torch.randperm(TRAINING).split(100):
            optimizer.zero_grad()
            loss(train[index]).backward()
            optimizer.step()
        schedule.step()
        with torch.no_grad():
            held_out = loss(train[TRAINING:]).item()
        if held_out < best:
            best, best_epoch = held_out, epoch
            state = {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(state)
    with torch.no_grad():
        found = [weights(x, 200).logsumexp(0) - np.log(200) for x in test.split(50)]
    return -torch.cat(found), best_epoch


def main() -> None:
    """Fit, estimate, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--reference", action="store_true")
    parser.add_argument("--data", type=Path, default=datasets.DATA / "mnist")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--rate", type=float, default=1.5e-3, help="the peak of the cycle under --full")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    found = images(options.data)
    if found is None:
        print(f"There is no MNIST in {options.data}, so there is nothing to measure; name its folder with --data.")
        return
    train, test, what = found
    if options.reference:
        nll, epoch = reference(torch.from_numpy(train), torch.from_numpy(test), options.seed)
        print(f"{what}: a plain loop at the published rate, best epoch {epoch}")
        print(f"negative log-likelihood: {nll.mean():.2f} +- {nll.std() / len(nll) ** 0.5:.2f} nats")
        return
    if not options.full:
        train, test = train[:5000], test[:1000]
    settings = (
        {"max_epochs": 500, "batch_size": 100, "learning_rate": options.rate} if options.full else {"max_epochs": 20}
    )
    started = time.perf_counter()
    ae = ist.variational(
        40,
        network=ist.MLP(hidden=(400,), activation="relu"),
        reconstruction="bernoulli",
        scale="none",
        validation_fraction=1 - TRAINING / 60_000,
        early_stopping=False,
        device=options.device,
        random_state=options.seed,
        **settings,
    ).fit(train)
    fitted = time.perf_counter()
    nll = -log_likelihood(ae, test, samples=200, random_state=options.seed)
    bound = -log_likelihood(ae, test, samples=1, random_state=options.seed)
    error = nll.std(ddof=1) / np.sqrt(len(nll))
    print(f"{what}: {len(train)} training and held-out images, {len(test)} test images")
    print(f"{ae.n_iter_} epochs, best {ae.history_.best_epoch}; fit {fitted - started:.0f} s")
    print(f"negative log-likelihood, 200 importance samples: {nll.mean():.2f} +- {error:.2f} nats")
    print(f"one sample (the evidence lower bound): {bound.mean():.2f}; independent pixels: ", end="")
    print(f"{independent_pixels(train, test):.2f}")
    if options.full:
        print(f"pythae publishes {PUBLISHED} for this protocol: ours is {nll.mean() - PUBLISHED:+.2f}")


if __name__ == "__main__":
    main()
