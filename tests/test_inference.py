"""Inference gives what the model in float64 gives, and a row the same bits wherever, and among whomever, it stands."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

import isthmus as ist
from isthmus import inference
from isthmus.data import learn
from isthmus.errors import DataError
from isthmus.inference import map_rows, rows_at_once
from isthmus.parts.networks.linear import Layers, Linear, packed
from isthmus.parts.step import Batch

QUICK = {"random_state": 0, "verbose": False, "max_epochs": 2}
HOWS = ["onednn", "blas"]


@pytest.fixture
def how(request, monkeypatch) -> str:
    """Let oneDNN multiply, or the BLAS of torch, whatever this processor prefers."""
    monkeypatch.setattr(inference, "packs", lambda parameter: request.param == "onednn")
    return request.param


def made(X: np.ndarray, **settings) -> ist.Autoencoder:
    network = settings.pop("network", ist.MLP(hidden=(9, 6)))
    return ist.Autoencoder(network=network, latent_dim=3, **QUICK, **settings).fit(X)


def numbers(n: int = 300, d: int = 7) -> np.ndarray:
    return np.random.default_rng(0).normal(3.0, 2.0, (n, d))


def in_float64(ae: ist.Autoencoder, X: np.ndarray) -> tuple[torch.nn.Module, Batch]:
    """Return the model in float64 and the rows scaled in float64."""
    offset, factor = ae.codec_.scaling
    return copy.deepcopy(ae.model_).double(), Batch(torch.from_numpy((X - offset) / factor))


def assert_close(found: np.ndarray, expected: torch.Tensor) -> None:
    expected = expected.detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


ACTIVATIONS = ["relu", "silu", "gelu", "tanh", "sigmoid", "elu", "leaky_relu"]
NETWORKS = [*(ist.MLP(hidden=(9, 6), activation=name) for name in ACTIVATIONS)]
NETWORKS += [
    ist.MLP(hidden=(9,), tied=True),
    ist.MLP(hidden=(9,), spectral_norm=True),
    ist.MLP(hidden=(9,), norm="layer"),
]
NETWORKS += [ist.MLP(hidden=()), ist.MLP(hidden=(9,), dropout=0.2), ist.MLP(hidden=(9,), output_activation="tanh")]


@pytest.mark.parametrize("shortcut", [False, "auto"])
@pytest.mark.parametrize("network", NETWORKS, ids=repr)
@pytest.mark.parametrize("how", HOWS, indirect=True)
def test_codes_samples_and_scores_are_those_of_the_model_in_float64(how: str, network, shortcut) -> None:
    X = numbers()
    ae = made(X, network=network, shortcut=shortcut)
    model, batch = in_float64(ae, X)
    with torch.no_grad():
        z = model.encode(batch).embedding
        offset, factor = ae.codec_.scaling
        assert_close(ae.transform(X), z)
        assert_close(ae.reconstruct(X), model.decoder(z) * torch.from_numpy(factor) + torch.from_numpy(offset))
        assert_close(ae.score_samples(X), -torch.stack(list(model.terms(batch).values())).sum(0))


@pytest.mark.parametrize("width", [3, 5, 30, 33])
@pytest.mark.parametrize("how", HOWS, indirect=True)
def test_a_row_gets_the_same_bits_in_every_call(how: str, width: int) -> None:
    X = np.random.default_rng(1).normal(size=(700, width)).astype(np.float32)
    ae = ist.Autoencoder(network=ist.MLP(hidden=(3001, 5)), latent_dim=2, shortcut=False, **QUICK).fit(X[:50])
    size = rows_at_once(ae.model_, width)
    assert 2 * size < len(X), "the rows are to fill several chunks"
    for answer in (ae.transform, ae.score_samples, ae.reconstruct):
        whole = answer(X)
        for cut in (slice(0, 1), slice(1, 4), slice(size - 1, size + 2), slice(5, 2 * size + 5), slice(None, None, 3)):
            np.testing.assert_array_equal(answer(X[cut]), whole[cut])


@pytest.mark.parametrize("how", HOWS, indirect=True)
def test_gaps_and_conditions_go_along_with_their_rows(how: str) -> None:
    X, y = numbers(), np.arange(300) % 3
    X[::5, 2] = np.nan
    ae = ist.Autoencoder(network=ist.MLP(hidden=(9,)), latent_dim=3, condition="y", **QUICK).fit(X, y)
    for answer in (ae.transform, ae.score_samples):
        whole = answer(X, y)
        assert np.isfinite(whole).all()
        for cut in (slice(0, 1), slice(1, 2), slice(3, 12)):
            np.testing.assert_array_equal(answer(X[cut], y[cut]), whole[cut])


def test_weights_that_have_moved_since_are_seen() -> None:
    X = numbers()
    ae = made(X)
    before = ae.transform(X)
    ae.partial_fit(X)
    assert not np.array_equal(ae.transform(X), before)
    model, batch = in_float64(ae, X)
    assert_close(ae.transform(X), model.encode(batch).embedding)


def test_packing_ends_with_its_block_whatever_happens() -> None:
    layers = Layers(Linear(5, 4), torch.nn.ReLU(), Linear(4, 3))
    x = torch.randn(6, 5)
    with torch.no_grad():
        plain = layers(x)
        with packed(layers, 6):
            torch.testing.assert_close(layers(x), plain)
        with pytest.raises(RuntimeError), packed(layers, 6):
            layers(x[:, :4])
        layers[0].weight.zero_()  # type: ignore[union-attr]
        assert torch.equal(layers(x), layers[2](torch.relu(layers[0].bias)).expand(6, -1))


def test_an_activation_that_stands_twice_is_computed_twice() -> None:
    twice = torch.nn.Sigmoid()
    layers = Layers(Linear(5, 4), twice, twice)
    x = torch.randn(6, 5)
    with torch.no_grad(), packed(layers, 6):
        torch.testing.assert_close(layers(x), twice(twice(layers[0](x))))


def test_results_of_any_type_and_shape_are_gathered() -> None:
    X = numbers()
    ae = made(X)
    rows = ae.codec_.encode(X)
    found = map_rows(lambda batch: batch.x[:, :, None] > 0, rows, ae.model_, size=64)
    np.testing.assert_array_equal(found[..., 0], rows.take(slice(None))[0].numpy() > 0)


# -- rows that are scaled when they are taken


TYPES = ["f2", "f4", "f8", "longdouble", ">f4", ">f8", "u1", "i2", "i4", "i8", "u2", "?"]


@pytest.mark.parametrize("scale", ["common", "columns", "range", "none"])
@pytest.mark.parametrize("dtype", TYPES)
def test_a_view_gives_the_bits_of_the_encoded_rows(dtype: str, scale: str) -> None:
    X = (numbers() * 5).clip(0, 100).astype(dtype)
    codec = learn(X, scale=scale)
    held = codec.encode(X).take(slice(None))[0]
    locked = X.copy()
    locked.flags.writeable = False
    for same in (X, np.asfortranarray(X), np.repeat(X, 2, 1)[:, ::2], X[::-1][::-1], locked):
        seen = codec.view(same)
        assert len(seen) == len(X)
        assert torch.equal(torch.cat([seen.take(slice(0, 7))[0], seen.take(torch.arange(7, 300))[0]]), held)
    exact = (X.astype(np.float64) - codec.scaling.offset) / codec.scaling.factor
    np.testing.assert_allclose(held.numpy(), exact, rtol=3e-7, atol=3e-7)


@pytest.mark.parametrize("size", [1e-100, 1e-20, 1.0, 1e20, 1e100])
@pytest.mark.parametrize("shift", [0.0, 1.0, 1e6])
def test_scaling_is_exact_for_numbers_of_any_size(size: float, shift: float) -> None:
    X = size * (numbers() + shift)
    for kind in (np.float64, np.float32):
        if kind is np.float64 or size == 1:
            of_kind = X.astype(kind)
            codec = learn(X)
            exact = (of_kind.astype(np.float64) - codec.scaling.offset) / codec.scaling.factor
            np.testing.assert_allclose(codec.view(of_kind).take(slice(None))[0], exact, rtol=3e-7, atol=3e-7)


def test_a_view_holds_no_copy() -> None:
    X = numbers()
    rows = learn(X).view(X)
    X[4] = X[5]
    x = rows.take(slice(4, 6))[0]
    assert torch.equal(x[0], x[1])


@pytest.mark.parametrize("shape", [(40, 6), (40, 5, 5), (40, 2, 3, 3, 3)])
def test_an_infinity_is_refused_wherever_it_stands(shape: tuple[int, ...]) -> None:
    X = np.random.default_rng(0).normal(size=shape)
    rest = (0,) * (len(shape) - 2)
    codec = learn(X)
    for value in (np.inf, -np.inf):
        X[33, *rest, 2] = value
        with pytest.raises(DataError, match="33"):
            codec.view(X).take(slice(32, 40))
    X[33, *rest, 2] = np.nan
    observed = codec.view(X).take(slice(32, 40))[1]
    assert observed is not None
    assert observed.flatten(1).sum(1).tolist() == [observed[0].numel() - (row == 1) for row in range(8)]


def test_an_infinity_among_rows_to_encode_is_a_sentence() -> None:
    X = numbers()
    ae = made(X)
    X[123, 4] = np.inf
    for answer in (ae.transform, ae.score_samples, ae.reconstruct):
        with pytest.raises(DataError, match="row 123, column 4"):
            answer(X)
