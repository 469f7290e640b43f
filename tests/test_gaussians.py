"""Mixtures of Gaussians: densities are torch's, steps scikit-learn's, and draws have the moments of the rows."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from isthmus.parts import gaussians
from isthmus.parts.gaussians import Gaussians, fitted

LEAST = 1e-6


def clouds(rng: torch.Generator, n: int = 400, d: int = 3) -> torch.Tensor:
    """Three clouds, each with a covariance of its own."""
    centres, turns = 4 * torch.randn(3, d, generator=rng), torch.randn(3, d, d, generator=rng)
    which = torch.randint(3, (n,), generator=rng)
    return (centres[which] + (turns[which] @ torch.randn(n, d, 1, generator=rng))[:, :, 0]).double()


def theirs(kind: str, start: Gaussians, steps: int, x: torch.Tensor) -> GaussianMixture:
    """Return scikit-learn's mixture, so many steps after ``start``."""
    factors = start.factors.numpy()
    covariances = factors @ factors.swapaxes(1, 2) if kind == "full" else factors**2
    oracle = GaussianMixture(
        len(start.weights),
        covariance_type=kind,  # pyright: ignore[reportArgumentType]
        weights_init=start.weights.numpy() / start.weights.double().sum().item(),
        means_init=start.means.numpy(),
        precisions_init=np.linalg.inv(covariances) if kind == "full" else 1 / covariances,
        reg_covar=LEAST,
        max_iter=steps,
        tol=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return oracle.fit(x.numpy())


@pytest.mark.parametrize("is_full", [True, False], ids=["full", "diagonal"])
def test_the_density_is_that_of_torch_also_far_from_zero(is_full: bool, rng: torch.Generator) -> None:
    for away in (0.0, 1e5):
        x = clouds(rng) + away
        found = fitted(x, 3, is_full, LEAST, 0)
        factors = found.factors if is_full else found.factors.diag_embed()
        each = MultivariateNormal(found.means, scale_tril=factors)
        oracle = MixtureSameFamily(Categorical(found.weights), each).log_prob(x)
        torch.testing.assert_close(found.log_density(x), oracle, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("kind", ["full", "diag"])
def test_from_the_same_start_the_same_mixture_is_found(kind: str, rng: torch.Generator, monkeypatch) -> None:
    x = clouds(rng)
    start = Gaussians(
        torch.full((3,), 1 / 3, dtype=torch.float64),
        x[:3],
        torch.eye(3).expand(3, 3, 3) if kind == "full" else torch.ones(3, 3),
    )
    monkeypatch.setattr(gaussians, "ENOUGH", -1.0)  # a step never counts as too little
    monkeypatch.setattr(gaussians, "MOST_TERMS", 700)  # rows come in several pieces, the last one shorter
    for steps in (1, 7):
        monkeypatch.setattr(gaussians, "STEPS", steps)
        found = fitted(x, 3, kind == "full", LEAST, 0, start.moved(torch.zeros(3)))
        oracle = theirs(kind, start.moved(torch.zeros(3)), steps, x)
        covariances = found.factors @ found.factors.mT if kind == "full" else found.factors**2
        for ours, others in (
            (found.weights, oracle.weights_),
            (found.means, oracle.means_),
            (covariances, oracle.covariances_),
        ):
            np.testing.assert_allclose(ours.numpy(), np.asarray(others), rtol=1e-7, atol=1e-9)


def test_every_step_makes_the_rows_likelier(rng: torch.Generator, monkeypatch) -> None:
    x, likely = clouds(rng), []
    for steps in (1, 2, 5, 20):
        monkeypatch.setattr(gaussians, "STEPS", steps)
        likely.append(float(fitted(x, 4, True, 0.0, 0).log_density(x).mean()))
    assert likely == sorted(likely)


def test_the_clouds_of_k_means_are_found_and_drawn_from(rng: torch.Generator) -> None:
    x = torch.cat([0.1 * torch.randn(300, 2, generator=rng), 9 + torch.randn(100, 2, generator=rng)])
    found = fitted(x, 2, True, LEAST, 0)
    order = found.means[:, 0].argsort()
    torch.testing.assert_close(found.weights[order].float(), torch.tensor([0.75, 0.25]))
    torch.testing.assert_close(found.means[order].float(), torch.stack([x[:300].mean(0), x[300:].mean(0)]))
    single = Gaussians(found.weights.float(), found.means.float(), found.factors.float())
    drawn = single.draw(40_000, rng)
    torch.testing.assert_close(drawn.mean(0), x.mean(0), atol=0.1, rtol=0)
    torch.testing.assert_close(drawn.T.cov(), x.T.cov(), atol=0.3, rtol=0)


def test_one_gaussian_is_mean_and_covariance_to_the_last_digit(rng: torch.Generator) -> None:
    x = clouds(rng) + 100
    found = fitted(x, 1, True, 0.0, 0)
    torch.testing.assert_close(found.means[0], x.mean(0))
    torch.testing.assert_close((found.factors @ found.factors.mT)[0], x.T.cov(correction=0), rtol=1e-9, atol=1e-9)


def test_a_component_without_rows_dies_out_and_nothing_else_is_harmed(rng: torch.Generator) -> None:
    x = clouds(rng)
    far = Gaussians(torch.full((2,), 0.5), torch.stack([x.mean(0), x.mean(0) + 1e6]), torch.ones(2, 3)).moved(
        torch.zeros(3)
    )
    found = fitted(x, 2, False, LEAST, 0, far)
    assert float(found.weights[1]) < 1e-9
    torch.testing.assert_close(found.means[0], x.mean(0))
    assert torch.isfinite(found.log_density(x)).all()
