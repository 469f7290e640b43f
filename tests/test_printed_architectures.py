"""The architectures of the introductions: parameter for parameter what a hand-written twin has, and equal outputs."""

from __future__ import annotations

import importlib.util
import sys
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import isthmus as ist

QUICK = {"max_epochs": 1, "random_state": 0, "verbose": False}


class Slice(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, :, :7, :7]


def dense(*widths: int) -> list[nn.Module]:
    return [nn.Linear(inside, outside) for inside, outside in pairwise(widths)]


def image() -> nn.Module:
    return nn.Unflatten(1, (1, 28, 28))


def single(width: int, activation: nn.Module) -> tuple[nn.Sequential, nn.Sequential]:
    return (
        nn.Sequential(nn.Flatten(), nn.Linear(784, width), activation),
        nn.Sequential(nn.Linear(width, 784), nn.Sigmoid(), image()),
    )


def halved(inside: int, outside: int) -> list[nn.Module]:
    return [nn.Conv2d(inside, outside, 3, stride=2, padding=1), nn.ReLU()]


def pooled(inside: int, outside: int) -> list[nn.Module]:
    return [nn.Conv2d(inside, outside, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]


def raised(inside: int, outside: int) -> list[nn.Module]:
    return [nn.Conv2d(inside, outside, 3, padding=1), nn.ReLU(), nn.Upsample(scale_factor=2)]


# what each introduction prints: (encoder, decoder)
TWINS = {
    "dense_32": lambda: single(32, nn.LeakyReLU()),
    "dense_64": lambda: single(64, nn.ReLU()),
    "sparse_1000": lambda: single(1000, nn.ReLU()),
    "deep_256": lambda: (
        nn.Sequential(nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 20)),
        nn.Sequential(nn.Linear(20, 256), nn.ReLU(), nn.Linear(256, 784), nn.Sigmoid(), image()),
    ),
    "convolutional_map": lambda: (
        nn.Sequential(*halved(1, 32), *halved(32, 64)),
        nn.Sequential(
            nn.ConvTranspose2d(64, 32, 3, stride=2, padding=1, output_padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(32, 1, 3, stride=2, padding=1, output_padding=1),
            nn.Sigmoid(),
        ),
    ),
    "convolutional_vector": lambda: (
        nn.Sequential(*halved(1, 32), *halved(32, 64), *halved(64, 64), nn.Flatten(), nn.Linear(64 * 4 * 4, 10)),
        nn.Sequential(
            nn.Linear(10, 64 * 4 * 4),
            nn.Unflatten(1, (64, 4, 4)),
            nn.ReLU(),
            nn.ConvTranspose2d(64, 64, 4, stride=2, padding=1),
            Slice(),  # 4 -> 8, where the encoder went from 7 to 4
            nn.ReLU(),
            nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(32, 1, 4, stride=2, padding=1),
            nn.Sigmoid(),
        ),
    ),
    "pooled_upsampled": lambda: (
        nn.Sequential(*pooled(1, 32), *pooled(32, 32)),
        nn.Sequential(*raised(32, 32), *raised(32, 32), nn.Conv2d(32, 1, 3, padding=1), nn.Sigmoid()),
    ),
    "pooled_transposed": lambda: (
        nn.Sequential(*pooled(1, 16), *pooled(16, 4)),
        nn.Sequential(
            nn.ConvTranspose2d(4, 16, 2, stride=2), nn.ReLU(), nn.ConvTranspose2d(16, 1, 2, stride=2), nn.Sigmoid()
        ),
    ),
}


@pytest.fixture(scope="module")
def book() -> ModuleType:
    """The example, imported from its file."""
    file = Path(__file__).parents[1] / "examples" / "textbook_architectures.py"
    spec = importlib.util.spec_from_file_location("textbook_architectures", file)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules.setdefault(spec.name, importlib.util.module_from_spec(spec))
    spec.loader.exec_module(module)
    return module


def shapes(*modules: nn.Module) -> list[tuple[int, ...]]:
    return [tuple(parameter.shape) for module in modules for parameter in module.parameters()]


@torch.no_grad()
def copy_into(model: nn.Module, *modules: nn.Module) -> None:
    values = [parameter for module in modules for parameter in module.parameters()]
    for ours, theirs in zip(model.parameters(), values, strict=True):
        ours.copy_(theirs)


@pytest.mark.parametrize("name", TWINS)
def test_a_printed_architecture_is_its_hand_written_twin(name: str, book: ModuleType) -> None:
    X = book.images(40)
    ae = getattr(book, name)(**QUICK).fit(X)
    encoder, decoder = TWINS[name]()
    assert shapes(ae.model_) == shapes(encoder, decoder)
    copy_into(ae.model_, encoder, decoder)
    with torch.no_grad():
        z = encoder(torch.from_numpy(X)[:, None])
        x_hat = decoder(z)
    np.testing.assert_allclose(ae.transform(X), z.flatten(1).numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ae.reconstruct(X), x_hat[:, 0].numpy(), rtol=1e-4, atol=1e-5)


def test_the_printed_variational_architecture_is_its_hand_written_twin_in_output_and_loss(book: ModuleType) -> None:
    X = book.images(40)
    ae = book.variational_256(**QUICK).fit(X)
    hidden, mean, log_variance, *back = (
        dense(784, 256, 20)[0],
        nn.Linear(256, 20),
        nn.Linear(256, 20),
        *dense(20, 256, 784),
    )
    both = nn.Linear(256, 40)  # the two heads side by side
    with torch.no_grad():
        both.weight.copy_(torch.cat([mean.weight, log_variance.weight]))
        both.bias.copy_(torch.cat([mean.bias, log_variance.bias]))
    assert shapes(ae.model_) == shapes(hidden, both, *back)
    copy_into(ae.model_, hidden, both, *back)
    x = torch.from_numpy(X).flatten(1)
    with torch.no_grad():
        h = F.relu(hidden(x))
        mu, log_var = mean(h), log_variance(h)
        x_hat = torch.sigmoid(back[1](F.relu(back[0](mu))))
        loss = F.mse_loss(x_hat, x, reduction="none").sum(1) - 0.5 * (1 + log_var - mu**2 - log_var.exp()).sum(1)
    np.testing.assert_allclose(ae.transform(X), mu.numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(-ae.score_samples(X), loss.numpy(), rtol=1e-4)


def test_the_example_names_every_architecture_once(book: ModuleType) -> None:
    assert {architecture.__name__ for architecture in book.ARCHITECTURES} == {*TWINS, "variational_256"}


def test_printed_architectures_with_maps_for_codes_are_kept(book: ModuleType, tmp_path: Path) -> None:
    X = book.images(40)
    ae = book.convolutional_map(**QUICK).fit(X)
    assert ae.model_.z_shape == (64, 7, 7)
    ae.save(str(tmp_path / "model"))
    loaded = ist.load(tmp_path / "model")
    assert np.array_equal(loaded.transform(X), ae.transform(X))
