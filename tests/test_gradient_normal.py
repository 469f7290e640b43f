"""The likelihood that sees edges: its terms against scipy-free closed forms, its gaps, its gradients, and who may use it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.distributions import Normal as NormalDistribution

import isthmus as ist
from isthmus.errors import SettingError
from isthmus.layout import Layout
from isthmus.parts.reconstructions import GradientNormal, Normal, SquaredError
from isthmus.parts.step import Batch
from isthmus.resolution import resolve_parts

LAYOUT = Layout((2, 4, 5))


@pytest.fixture
def scale() -> torch.nn.Module:
    module = GradientNormal().module(LAYOUT)
    assert module is not None
    module.log_var.data = torch.tensor([-1.0, 0.4])
    return module


def test_it_is_the_density_of_pixels_times_that_of_differences(scale, rng: torch.Generator) -> None:
    x, x_hat = torch.rand(3, *LAYOUT.shape, generator=rng), torch.randn(3, *LAYOUT.shape, generator=rng)
    error = x - torch.sigmoid(x_hat)
    pixel, slope = (NormalDistribution(0.0, float(np.exp(0.5 * v))) for v in (-1.0, 0.4))
    expected = -(
        pixel.log_prob(error).sum((1, 2, 3))
        + slope.log_prob(error[:, :, 1:] - error[:, :, :-1]).sum((1, 2, 3))
        + slope.log_prob(error[..., 1:] - error[..., :-1]).sum((1, 2, 3))
    )
    torch.testing.assert_close(GradientNormal()(x_hat, Batch(x), LAYOUT, scale), expected)


def test_a_perfect_reconstruction_costs_what_no_reconstruction_can_change(scale, rng: torch.Generator) -> None:
    x_hat = torch.randn(3, *LAYOUT.shape, generator=rng)
    part, x = GradientNormal(), torch.sigmoid(x_hat)
    left = part.cells(x_hat, Batch(x), LAYOUT, scale) - part.normaliser(LAYOUT, scale)
    torch.testing.assert_close(left, torch.zeros_like(left), atol=1e-6, rtol=0)
    assert torch.equal(part.mean(x_hat, LAYOUT), x)


def test_gaps_cost_nothing_whatever_they_hold(scale, rng: torch.Generator) -> None:
    x, x_hat = torch.rand(3, *LAYOUT.shape, generator=rng), torch.randn(3, *LAYOUT.shape, generator=rng)
    observed = torch.rand(x.shape, generator=rng) > 0.3
    part = GradientNormal()
    cells = part.cells(x_hat, Batch(x, observed), LAYOUT, scale)
    strange = torch.where(observed, x, torch.full_like(x, torch.nan))
    assert torch.equal(cells, part.cells(x_hat, Batch(strange, observed), LAYOUT, scale))
    assert not cells[~observed].any()
    least = part.normaliser(LAYOUT, scale)
    assert (torch.where(observed, cells - least, torch.zeros_like(cells)) >= -1e-6).all()


def test_its_gradients_pass_the_numerical_check(scale, rng: torch.Generator) -> None:
    scale = scale.double()
    x = torch.rand(2, *LAYOUT.shape, generator=rng, dtype=torch.float64)
    x_hat = torch.randn(2, *LAYOUT.shape, generator=rng, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda given, _: GradientNormal()(given, Batch(x), LAYOUT, scale), (x_hat, scale.log_var)
    )


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_images_come_back_in_their_range_and_from_a_saved_model_too(network: str, digits: np.ndarray, tmp_path) -> None:
    images = digits[:300].reshape(-1, 8, 8).astype(np.float32)
    settings = {"latent_dim": 4, "network": network, "max_epochs": 3, "random_state": 0, "verbose": False}
    ae = ist.variational(**settings).fit(images)
    drawn = ae.sample(5, random_state=0)
    assert drawn.min() >= 0
    assert drawn.max() <= 16
    ae.save(tmp_path / "model")
    assert np.array_equal(ist.load(tmp_path / "model").sample(5, random_state=0), drawn)
    with pytest.raises(SettingError, match="GradientNormal is no likelihood"):
        ist.log_likelihood(ae, images[:2])


@pytest.mark.parametrize(
    ("ae", "shape", "expected"),
    [
        (ist.variational(), (1, 8, 8), GradientNormal),
        (ist.variational(scale="range"), (3, 8, 8), GradientNormal),
        (ist.beta_vae(), (1, 8, 8), GradientNormal),
        (ist.variational(scale="none"), (1, 8, 8), Normal),
        (ist.variational(scale="columns"), (1, 8, 8), Normal),
        (ist.variational(), (64,), Normal),
        (ist.variational(), (2, 64), Normal),
        (ist.variational(), (1, 4, 4, 4), Normal),
        (ist.variational(), (64, 1, 1), Normal),
        (ist.variational(network=ist.MLP(output_activation="sigmoid")), (1, 8, 8), Normal),
        (ist.variational(network=ist.Conv(output_activation="sigmoid")), (1, 8, 8), Normal),
        (ist.variational(network=(torch.nn.Flatten(), torch.nn.Sigmoid())), (1, 8, 8), Normal),
        (ist.tc_vae(), (1, 8, 8), Normal),
        (ist.variational(penalties=ist.L1(0.1)), (1, 8, 8), Normal),
        (ist.importance_weighted(), (1, 8, 8), Normal),
        (ist.mixture_prior(), (1, 8, 8), Normal),
        (ist.spherical(), (1, 8, 8), Normal),
        (ist.Autoencoder(), (1, 8, 8), SquaredError),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, ist.Autoencoder) else None,
)
def test_auto_takes_it_for_images_beside_a_normal_code_where_nothing_wants_a_likelihood(ae, shape, expected) -> None:
    parts = resolve_parts(ae.get_params(deep=False), Layout(shape), 100)
    assert type(parts.reconstruction) is expected


def test_rows_without_neighbours_are_refused(digits: np.ndarray) -> None:
    with pytest.raises(
        SettingError, match=r"GradientNormal compares neighbouring pixels, but a sample has the shape \(64,\)"
    ):
        ist.variational(latent_dim=2, reconstruction="gradient_normal").fit(digits)


def test_networks_of_image_convolutions_take_smaller_batches_at_a_higher_rate(digits: np.ndarray) -> None:
    images = np.tile(digits.reshape(-1, 8, 8), (2, 1, 1))
    settings = {"latent_dim": 2, "max_epochs": 1, "random_state": 0, "verbose": False}
    plans = {name: ist.Autoencoder(network=name, **settings).fit(images).settings_ for name in ("mlp", "conv")}
    assert (plans["mlp"]["batch_size"], plans["mlp"]["learning_rate"]) == (128, 3e-3)
    assert (plans["conv"]["batch_size"], plans["conv"]["learning_rate"]) == (64, 5e-3)
