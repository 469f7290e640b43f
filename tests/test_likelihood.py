"""log p(x) by importance sampling, held against closed forms."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

import isthmus as ist
from isthmus.apps.likelihood import log_likelihood
from isthmus.designs import Hierarchical
from isthmus.errors import SettingError
from isthmus.parts.step import Batch

SIGMA2 = 0.4
MU = np.array([0.5, -1.0, 0.2, 0.0])
W = np.array([[1.0, 0.5], [1.0, -0.5], [0.6, 0.3], [0.6, -0.3]])  # columns at right angles: the posterior is diagonal
TOP = np.array([[0.8], [-1.1]])
"""z1 = TOP z2 + noise of the variances BELOW, in the two-level model."""
BELOW = np.array([0.3, 0.6])
COVARIANCE = W @ W.T + SIGMA2 * np.eye(4)


def set_linear(linear: torch.nn.Linear, weight: np.ndarray, bias: np.ndarray) -> None:
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(weight))
        linear.bias.copy_(torch.from_numpy(bias))


def rows(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).multivariate_normal(MU, COVARIANCE, size=n).astype(np.float32)


def linear_model(shift: float = 0.0, wider: float = 1.0, scale: str = "none") -> ist.Autoencoder:
    """Return a linear-Gaussian model whose posterior is exact, or moved by ``shift`` and ``wider`` than that."""
    ae = ist.variational(2, network=ist.MLP(hidden=()), scale=scale, max_epochs=1, random_state=0, verbose=False)
    model = ae.fit(rows(40)).model_
    set_linear(model.decoder.body[1], W, MU)
    model.scale.log_var.data.fill_(np.log(SIGMA2))
    variance = 1 / (1 + (W**2).sum(0) / SIGMA2)
    to_mean = (variance / SIGMA2)[:, None] * W.T
    weight = np.concatenate([to_mean, np.zeros((2, 4))])
    set_linear(model.encoder.head.linear, weight, np.concatenate([shift - to_mean @ MU, np.log(wider * variance)]))
    return ae


def ladder_model(shift: float = 0.0) -> ist.Autoencoder:
    """Return a linear-Gaussian model of two levels whose posteriors are exact, or moved by ``shift``."""
    settings = {"network": ist.MLP(hidden=()), "scale": "none", "max_epochs": 1, "random_state": 0, "verbose": False}
    ae = ist.hierarchical(2, design=Hierarchical(top_dim=1, hidden=0), **settings).fit(rows(40))
    model = ae.model_
    set_linear(model.decoder.body[1], W, MU)
    model.scale.log_var.data.fill_(np.log(SIGMA2))
    squares = (W**2).sum(0)
    told = SIGMA2 / squares  # the variance of z1 as x alone tells it; its mean is said as for a prior N(0, 1)
    to_mean = W.T / (SIGMA2 + squares)[:, None]
    weight = np.concatenate([to_mean, np.zeros((2, 4))])
    set_linear(model.encoder.below.head.linear, weight, np.concatenate([-to_mean @ MU, np.log(told)]))
    set_linear(
        model.encoder.down, np.concatenate([TOP, np.zeros((2, 1))]), np.concatenate([np.zeros(2), np.log(BELOW)])
    )
    spread = BELOW + told
    variance = 1 / (1 + (TOP[:, 0] ** 2 / spread).sum())
    up = np.zeros((2, 4))
    up[0, :2] = variance * TOP[:, 0] / spread * (1 + told)
    set_linear(model.encoder.up, up, np.array([shift, np.log(variance)]))
    return ae


def closed_form(x: np.ndarray) -> np.ndarray:
    return multivariate_normal(MU, COVARIANCE).logpdf(x)


def closed_form_of_two_levels(x: np.ndarray) -> np.ndarray:
    return multivariate_normal(MU, W @ (TOP @ TOP.T + np.diag(BELOW)) @ W.T + SIGMA2 * np.eye(4)).logpdf(x)


def is_unbiased(ae: ist.Autoencoder, x: np.ndarray, expected: np.ndarray) -> bool:
    """Is the mean of p_estimate(x) / p(x) over many seeds 1, within three of its standard errors?"""
    ratios = np.stack([np.exp(log_likelihood(ae, x, samples=100, random_state=seed) - expected) for seed in range(40)])
    return abs(ratios.mean() - 1) < 3 * ratios.std(ddof=1) / np.sqrt(ratios.size)


def test_the_estimate_meets_the_closed_form_when_the_posterior_is_imperfect() -> None:
    x = rows(30, seed=1)
    assert is_unbiased(linear_model(shift=0.3, wider=1.5), x, closed_form(x))


def test_one_draw_from_the_exact_posterior_gives_the_closed_form() -> None:
    x = rows(30, seed=1)
    for seed in range(3):
        estimate = log_likelihood(linear_model(), x, samples=1, random_state=seed)
        np.testing.assert_allclose(estimate, closed_form(x), atol=2e-4)


def test_the_bound_tightens_with_the_number_of_draws() -> None:
    x = rows(300, seed=1)
    ae = linear_model(shift=0.4, wider=2.0)
    bounds = [log_likelihood(ae, x, samples=k, random_state=k) for k in (1, 5, 50)] + [closed_form(x)]
    for looser, tighter in itertools.pairwise(bounds):
        gains = tighter - looser
        assert gains.mean() > -3 * gains.std(ddof=1) / np.sqrt(len(gains))
    assert bounds[0].mean() < bounds[2].mean() - 0.1  # and it does move


def test_gaps_are_summed_out() -> None:
    x = rows(30, seed=2)
    x[:, 1] = np.nan
    seen = [0, 2, 3]
    expected = multivariate_normal(MU[seen], COVARIANCE[np.ix_(seen, seen)]).logpdf(x[:, seen])
    ae = linear_model(wider=3.0)
    assert is_unbiased(ae, x, expected)


def test_densities_in_units_of_the_data_include_the_scaling() -> None:
    ae = linear_model(scale="columns")
    x = rows(20, seed=3) * 7
    scaling = ae.codec_.scaling
    factor = np.diag(scaling.factor)
    expected = multivariate_normal(scaling.offset + factor @ MU, factor @ COVARIANCE @ factor).logpdf(x)
    np.testing.assert_allclose(
        log_likelihood(ae, x, samples=1, random_state=0, units="data"), expected, rtol=1e-4, atol=5e-4
    )
    inner = log_likelihood(ae, x, samples=1, random_state=0)
    np.testing.assert_allclose(inner - np.log(scaling.factor).sum(), expected, rtol=1e-4, atol=5e-4)


def test_a_row_gets_the_same_number_in_any_company() -> None:
    ae, x = linear_model(shift=0.3), rows(50, seed=4)
    x[3, 2] = np.nan
    together = log_likelihood(ae, x, samples=7, random_state=0)
    assert np.array_equal(together, log_likelihood(ae, x, samples=7, random_state=0))
    assert np.array_equal(together[::-1], log_likelihood(ae, x[::-1].copy(), samples=7, random_state=0))
    for place in (0, 3, 49):
        assert log_likelihood(ae, x[place : place + 1], samples=7, random_state=0)[0] == together[place]
    assert not np.array_equal(together, log_likelihood(ae, x, samples=7, random_state=1))


def test_a_ladder_of_exact_posteriors_gives_the_closed_form_at_every_draw() -> None:
    x = rows(30, seed=1)
    estimate = log_likelihood(ladder_model(), x, samples=1, random_state=0)
    np.testing.assert_allclose(estimate, closed_form_of_two_levels(x), atol=2e-4)


def test_a_ladder_of_imperfect_posteriors_is_unbiased() -> None:
    x = rows(30, seed=1)
    assert is_unbiased(ladder_model(shift=0.5), x, closed_form_of_two_levels(x))


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_the_loss_of_a_ladder_bounds_the_log_likelihood_and_meets_it_where_the_posterior_is_exact(shift: float) -> None:
    x = torch.from_numpy(rows(4000, seed=5))
    model = ladder_model(shift).model_.double()
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        bound = -torch.stack(list(model.terms(Batch(x.double()), rng).values())).sum(0).numpy()
    gap = closed_form_of_two_levels(x.numpy()) - bound
    error = gap.std(ddof=1) / np.sqrt(len(gap))
    if shift:
        assert gap.mean() > 3 * error
    else:
        assert abs(gap.mean()) < 3 * error


def test_what_has_no_likelihood_is_refused() -> None:
    x = rows(40)
    quick = {"max_epochs": 1, "random_state": 0, "verbose": False}
    with pytest.raises(SettingError, match="bottleneck='gaussian'"):
        log_likelihood(ist.Autoencoder(latent_dim=2, **quick).fit(x), x)
    with pytest.raises(SettingError, match="SquaredError is no likelihood"):
        log_likelihood(ist.variational(2, reconstruction="squared_error", **quick).fit(x), x)
    ae = linear_model()
    with pytest.raises(SettingError, match="samples=0"):
        log_likelihood(ae, x, samples=0)
    with pytest.raises(SettingError, match="units='nats'"):
        log_likelihood(ae, x, units="nats")  # pyright: ignore[reportArgumentType]


def test_importance_sampling_beats_the_bound_and_the_bound_beats_independent_pixels(digits: np.ndarray) -> None:
    x = (digits > 7).astype(np.float32)
    train, test = x[:1400], x[1400:]
    ae = ist.variational(8, reconstruction="bernoulli", max_epochs=30, random_state=0, verbose=False).fit(train)
    nll = -log_likelihood(ae, test, samples=100, random_state=0).mean()
    bound = -log_likelihood(ae, test, samples=1, random_state=0).mean()
    p = (train.sum(0) + 1) / (len(train) + 2)
    baseline = -(test * np.log(p) + (1 - test) * np.log(1 - p)).sum(1).mean()
    assert nll < bound < baseline
