"""Reconstructions and penalties that compare in their own way: held against closed forms, scipy, and plain loops."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch
from scipy import special, stats
from torch import Tensor, nn
from torch.nn import functional as F

import isthmus as ist
from isthmus.designs import Composed
from isthmus.errors import DataError, SettingError
from isthmus.layout import Block, Layout
from isthmus.model import Blueprint, Parts
from isthmus.parts.bottlenecks import Plain
from isthmus.parts.networks import MLP
from isthmus.parts.part import Part, from_json, to_json
from isthmus.parts.principal import Principal
from isthmus.parts.reconstructions import (
    SSIM,
    AbsoluteError,
    DiscretizedLogistic,
    LogCosh,
    Mixed,
    MultiScaleSSIM,
    NegativeBinomial,
    Poisson,
    Reconstruction,
    cells_of,
)
from isthmus.parts.reconstructions.counts import Dispersion, beyond_stirling, events, log_binomial, log_poisson
from isthmus.parts.reconstructions.likelihoods import LogScale
from isthmus.parts.reconstructions.tables import Balance
from isthmus.parts.step import Batch

FLAT = Layout((6,))
IMAGE = Layout((2, 13, 9))
TABLE = Layout(
    (7,),
    (
        Block("numeric", 0, 1, "age"),
        Block("numeric", 1, 1, "fare"),
        Block("boolean", 2, 1, "fare", gap=True),
        Block("category", 3, 3, "port"),
        Block("boolean", 6, 1, "alone"),
    ),
)
DOUBLE = torch.float64


def uniform(*shape: int, rng: torch.Generator) -> Tensor:
    return torch.rand(*shape, generator=rng, dtype=DOUBLE)


def gaussian(*shape: int, rng: torch.Generator) -> Tensor:
    return torch.randn(*shape, generator=rng, dtype=DOUBLE)


def whole(*shape: int, rng: torch.Generator) -> Tensor:
    return torch.poisson(4 * torch.rand(*shape, generator=rng), generator=rng).double()


def learned(part: Reconstruction, layout: Layout) -> nn.Module | None:
    module = part.module(layout)
    return None if module is None else module.double()


NEW = [
    (AbsoluteError(), FLAT),
    (LogCosh(), FLAT),
    (DiscretizedLogistic(17), FLAT),
    (DiscretizedLogistic(9, scales="each"), FLAT),
    (Poisson(), FLAT),
    (NegativeBinomial(), FLAT),
    (NegativeBinomial(zero_inflated=True), FLAT),
    (Mixed(focal=2.0), TABLE),
    (Mixed(focal=0.5, class_weight="balanced"), TABLE),
    (Mixed(variance="learned", class_weight="balanced"), TABLE),
    (SSIM(window=5), IMAGE),
    (MultiScaleSSIM(window=3), IMAGE),
]


def batch_of(part: Reconstruction, layout: Layout, rows: int, rng: torch.Generator) -> Batch:
    if layout is TABLE:
        x = gaussian(rows, 7, rng=rng)
        x[:, 3:6] = torch.eye(3, dtype=DOUBLE)[torch.randint(3, (rows,), generator=rng)]
        x[:, [2, 6]] = torch.randint(2, (rows, 2), generator=rng).double()
        return Batch(x, None, cells_of(TABLE.blocks))
    draw = whole if part.needs_counts else uniform
    return Batch(draw(rows, *layout.shape, rng=rng))


# -- what holds for all of them


@pytest.mark.parametrize(("part", "layout"), NEW, ids=repr)
def test_gradients_pass_the_numerical_check(part, layout, rng: torch.Generator) -> None:
    batch, scale = batch_of(part, layout, 2, rng), learned(part, layout)
    x_hat = (0.3 * gaussian(2, *layout.shape, rng=rng) + 0.4).requires_grad_()
    weights = [] if scale is None else list(scale.parameters())
    assert torch.autograd.gradcheck(lambda out, *_: part(out, batch, layout, scale), (x_hat, *weights))


@pytest.mark.parametrize(("part", "layout"), NEW, ids=repr)
def test_cells_add_up_to_the_term_and_are_never_negative_once_the_normaliser_is_gone(part, layout, rng) -> None:
    batch, scale = batch_of(part, layout, 4, rng), learned(part, layout)
    x_hat = gaussian(4, *layout.shape, rng=rng)
    cells = part.cells(x_hat, batch, layout, scale)
    torch.testing.assert_close(cells.flatten(1).sum(1), part(x_hat, batch, layout, scale))
    normaliser = part.normaliser(layout, scale)
    assert ((cells if normaliser is None else cells - normaliser) >= 0).all()


@pytest.mark.parametrize(("part", "layout"), NEW, ids=repr)
def test_whatever_lies_in_a_gap_does_not_matter(part, layout, rng: torch.Generator) -> None:
    batch, scale = batch_of(part, layout, 3, rng), learned(part, layout)
    observed = torch.ones(3, *layout.shape, dtype=torch.bool)
    observed[0].view(-1)[1], observed[2] = False, False
    x_hat = gaussian(3, *layout.shape, rng=rng)
    terms = []
    for filling in (0.0, 123.0, float("nan")):
        x = torch.where(observed, batch.x, torch.tensor(filling, dtype=DOUBLE))
        terms.append(part(x_hat, batch._replace(x=x, observed=observed), layout, scale))
    assert torch.equal(terms[0], terms[1])
    assert torch.equal(terms[0], terms[2])
    assert terms[0][2] == 0
    assert terms[0][1] == part(x_hat, batch, layout, scale)[1]


@pytest.mark.parametrize("part", [part for part, _ in NEW], ids=repr)
def test_a_part_survives_json(part: Part) -> None:
    assert from_json(to_json(part)) == part


# -- errors


def test_absolute_error_is_the_sum_of_absolute_differences(rng: torch.Generator) -> None:
    x, x_hat = gaussian(4, 6, rng=rng), gaussian(4, 6, rng=rng)
    torch.testing.assert_close(AbsoluteError()(x_hat, Batch(x), FLAT), (x - x_hat).abs().sum(1))


def test_log_cosh_is_the_logarithm_of_the_hyperbolic_cosine(rng: torch.Generator) -> None:
    x, x_hat = gaussian(4, 6, rng=rng), gaussian(4, 6, rng=rng)
    torch.testing.assert_close(LogCosh()(x_hat, Batch(x), FLAT), torch.log(torch.cosh(x - x_hat)).sum(1))


def test_log_cosh_is_half_the_square_near_zero_and_a_straight_line_far_away() -> None:
    small = torch.tensor([[1e-3]])
    value = LogCosh()(small, Batch(torch.zeros(1, 1)), Layout((1,)))
    torch.testing.assert_close(value, small[0].square() / 2, rtol=1e-4, atol=0)
    far = torch.tensor([[1e6]], requires_grad=True)
    value = LogCosh()(far, Batch(torch.zeros(1, 1)), Layout((1,)))
    value.sum().backward()
    assert value.item() == pytest.approx(1e6 - math.log(2))
    assert far.grad is not None
    assert far.grad.item() == 1.0


# -- levels


@pytest.mark.parametrize("levels", [2, 5, 256])
def test_the_probabilities_of_all_levels_sum_to_one(levels: int) -> None:
    part, layout = DiscretizedLogistic(levels), Layout((1,))
    scale = LogScale((1,)).double()
    grid = torch.arange(levels, dtype=DOUBLE)[:, None] / (levels - 1)
    for log_scale, location in product((-8.0, -4.0, -1.0), (-0.5, 0.0, 0.31, 1.0, 2.0)):
        nn.init.constant_(scale.log_scale, log_scale)
        x_hat = torch.full_like(grid, location)
        p = torch.exp(-part(x_hat, Batch(grid), layout, scale))
        torch.testing.assert_close(p.sum(), torch.tensor(1.0, dtype=DOUBLE))


def test_a_level_has_the_mass_of_the_logistic_distribution_in_its_bin(rng: torch.Generator) -> None:
    part, scale = DiscretizedLogistic(16, scales="each"), LogScale((6,)).double()
    scale.log_scale.data = torch.linspace(-4, -1, 6, dtype=DOUBLE)
    level = torch.randint(16, (5, 6), generator=rng).double()
    x_hat, spread = uniform(5, 6, rng=rng), scale.log_scale.detach().exp().numpy()
    low = np.where(level == 0, -np.inf, (level.numpy() - 0.5) / 15)
    high = np.where(level == 15, np.inf, (level.numpy() + 0.5) / 15)
    cdf = stats.logistic(loc=x_hat.numpy(), scale=spread).cdf
    p = torch.exp(-part.cells(x_hat, Batch(level / 15), FLAT, scale)).detach().numpy()
    np.testing.assert_allclose(p, cdf(high) - cdf(low), rtol=0, atol=1e-14)  # the difference itself has no more digits


def test_numbers_between_levels_count_as_the_nearer_level(rng: torch.Generator) -> None:
    part, scale = DiscretizedLogistic(11), LogScale((1,)).double()
    x, x_hat = torch.tensor([[0.3, 0.5]], dtype=DOUBLE), uniform(1, 2, rng=rng)
    near = x + torch.tensor([[0.04, -0.04]], dtype=DOUBLE)
    layout = Layout((2,))
    torch.testing.assert_close(part(x_hat, Batch(near), layout, scale), part(x_hat, Batch(x), layout, scale))


def test_a_location_far_from_the_data_has_finite_gradients_in_single_precision() -> None:
    part = DiscretizedLogistic()
    scale = LogScale((1,))
    nn.init.constant_(scale.log_scale, -9.0)
    x = torch.tensor([[0.0, 0.5, 1.0, 0.0, 0.5, 1.0]])
    x_hat = torch.tensor([[50.0, 50.0, 50.0, -50.0, -50.0, -50.0]], requires_grad=True)
    part(x_hat, Batch(x), FLAT, scale).sum().backward()
    assert x_hat.grad is not None
    assert torch.isfinite(x_hat.grad).all()
    assert torch.equal(x_hat.grad.sign(), torch.tensor([[1.0, 1.0, 0.0, 0.0, -1.0, -1.0]]))
    assert scale.log_scale.grad is not None
    assert torch.isfinite(scale.log_scale.grad).all()


def test_black_and_white_can_be_rebuilt_without_doubt() -> None:
    part, scale = DiscretizedLogistic(), LogScale((1,))
    x = torch.tensor([[0.0, 1.0]])
    certain = torch.tensor([[-20.0, 21.0]])
    assert part(certain, Batch(x), Layout((2,)), scale).item() == pytest.approx(0, abs=1e-6)
    torch.testing.assert_close(part.mean(certain, Layout((2,))), x)


def test_levels_start_from_the_scale_that_pca_leaves() -> None:
    scale = LogScale((6,))
    left = torch.linspace(0.01, 0.1, 6)
    scale.start_from(torch.zeros(6), left)
    spread = scale.log_scale.detach().exp()
    torch.testing.assert_close((math.pi * spread).square() / 3, left)


def test_fewer_than_two_levels_are_refused() -> None:
    with pytest.raises(SettingError, match="levels=1"):
        DiscretizedLogistic(1).module(FLAT)
    with pytest.raises(SettingError, match="scales='many'"):
        DiscretizedLogistic(scales="many").module(FLAT)  # pyright: ignore[reportArgumentType]


# -- counts


def dispersion(shape: tuple[int, ...], zero_inflated: bool, log_size: Tensor, muted: float = 0.0) -> Dispersion:
    module = Dispersion(shape, zero_inflated).double()
    with torch.no_grad():
        module.log_size.copy_(log_size)
        if module.muted is not None:
            module.muted.fill_(muted)
    return module


def test_poisson_equals_scipy(rng: torch.Generator) -> None:
    x, x_hat = whole(5, 6, rng=rng), gaussian(5, 6, rng=rng)
    expected = -stats.poisson(x_hat.exp().numpy()).logpmf(x.numpy()).sum(1)
    np.testing.assert_allclose(Poisson()(x_hat, Batch(x), FLAT).numpy(), expected, rtol=1e-9)


@pytest.mark.parametrize("far", [1.0, 30.0])
def test_the_negative_binomial_equals_scipy(far: float, rng: torch.Generator) -> None:
    x, x_hat = (far * whole(50, 6, rng=rng)).round(), gaussian(50, 6, rng=rng) + math.log(far)
    log_size = torch.linspace(-5, 9, 6, dtype=DOUBLE)  # from far more scattered than Poisson to hardly
    size, mean = log_size.exp().numpy(), x_hat.exp().numpy()
    expected = -stats.nbinom(size, size / (size + mean)).logpmf(x.numpy())
    cells = NegativeBinomial().cells(x_hat, Batch(x), FLAT, dispersion((6,), False, log_size))
    np.testing.assert_allclose(cells.detach().numpy(), expected, atol=1e-6, rtol=1e-6)


def test_the_zero_inflated_negative_binomial_is_a_mixture_with_the_mean_it_says(rng: torch.Generator) -> None:
    x_hat, log_size, muted = gaussian(40, 6, rng=rng), torch.linspace(-1, 3, 6, dtype=DOUBLE), 0.4
    x = whole(40, 6, rng=rng)
    q = 1 / (1 + math.exp(-muted))
    size, mean = log_size.exp().numpy(), x_hat.exp().numpy() / (1 - q)
    inner = stats.nbinom(size, size / (size + mean))
    expected = -np.log(q * (x.numpy() == 0) + (1 - q) * inner.pmf(x.numpy()))
    part = NegativeBinomial(zero_inflated=True)
    cells = part.cells(x_hat, Batch(x), FLAT, dispersion((6,), True, log_size, muted))
    np.testing.assert_allclose(cells.detach().numpy(), expected, atol=1e-6)
    torch.testing.assert_close(part.mean(x_hat, FLAT), torch.from_numpy((1 - q) * inner.mean()))


def test_without_muting_zero_inflation_changes_nothing(rng: torch.Generator) -> None:
    x, x_hat, log_size = whole(5, 6, rng=rng), gaussian(5, 6, rng=rng), gaussian(6, rng=rng)
    plain = NegativeBinomial()(x_hat, Batch(x), FLAT, dispersion((6,), False, log_size))
    inflated = NegativeBinomial(True)(x_hat, Batch(x), FLAT, dispersion((6,), True, log_size, -60.0))
    torch.testing.assert_close(inflated, plain)


def test_the_negative_binomial_becomes_poisson_as_the_dispersion_grows(rng: torch.Generator) -> None:
    x, x_hat = whole(5, 6, rng=rng), gaussian(5, 6, rng=rng)
    poisson = Poisson()(x_hat, Batch(x), FLAT)

    def apart(log_size: float) -> float:
        scale = dispersion((6,), False, torch.full((6,), log_size, dtype=DOUBLE))
        return float((NegativeBinomial()(x_hat, Batch(x), FLAT, scale) - poisson).detach().abs().max())

    assert apart(15.0) < 1e-4
    assert apart(15.0) == pytest.approx(apart(12.0) * math.exp(-3), rel=1e-2)  # as 1 / r


def test_what_stirling_leaves_is_what_scipy_leaves() -> None:
    z = np.array([1e-3, 0.7, 1.0, 9.9, 10.1, 300.0, 1e5])
    expected = special.gammaln(z) - (z - 0.5) * np.log(z) + z - 0.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(beyond_stirling(torch.from_numpy(z)).numpy(), expected, atol=1e-9)


@pytest.mark.parametrize("size", [0.05, 3.0, 40.0, 1e4, 1e6])
def test_large_counts_keep_their_digits_in_single_precision(size: float) -> None:
    x = torch.tensor([0.0, 1.0, 30.0, 1e3, 2e4, 1e6]).repeat_interleave(5)
    log_mean = (x + 1).log() + torch.tensor([-1.5, -0.3, 0.0, 0.01, 2.0]).repeat(6)
    mean = log_mean.double().exp().numpy()
    log_size = torch.full_like(x, math.log(size))
    r = log_size.double().exp().numpy()
    # a logarithm of the mean that is rounded to 24 bits says another mean: nobody can do better than that
    rounding = np.abs(mean - x.double().numpy()) * log_mean.abs().double().numpy() * 2.0**-24
    for value, exact in (
        (log_binomial(x, log_mean, log_size), stats.nbinom(r, r / (r + mean))),
        (log_poisson(x, log_mean), stats.poisson(mean)),
    ):
        expected = exact.logpmf(x.double().numpy())
        assert (np.abs(value.numpy() - expected) <= 1e-3 + 1e-5 * np.abs(expected) + rounding).all()


@pytest.mark.parametrize("part", [Poisson(), NegativeBinomial(), NegativeBinomial(True)], ids=repr)
def test_absurd_rates_have_finite_gradients_that_point_back(part) -> None:
    x_hat = torch.tensor([[100.0, -100.0]], requires_grad=True)
    layout = Layout((2,))
    part(x_hat, Batch(torch.tensor([[3.0, 3.0]])), layout, part.module(layout)).sum().backward()
    assert x_hat.grad is not None
    assert torch.isfinite(x_hat.grad).all()
    assert x_hat.grad[0, 0] > 0
    assert x_hat.grad[0, 1] < 0


def test_the_rate_goes_on_as_a_straight_line_and_never_overflows() -> None:
    rate = events(torch.tensor([0.0, 20.0, 21.0, 1000.0]))
    torch.testing.assert_close(rate, math.exp(20) * torch.tensor([math.exp(-20), 1.0, 2.0, 981.0]))


def simulated(rows: int = 400, genes: int = 30, lost: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(0)
    mean = np.exp(rng.normal(size=(rows, 2)) @ rng.normal(size=(2, genes)) * 0.8 + rng.normal(1, 1, genes))
    counts = rng.negative_binomial(3, 3 / (3 + mean))
    return counts * (rng.random(counts.shape) >= lost)


@pytest.mark.parametrize("zero_inflated", [False, True])
def test_counts_are_learned_better_than_by_their_means(zero_inflated: bool) -> None:
    X = simulated(lost=0.2 if zero_inflated else 0.0)
    ae = ist.counts(2, zero_inflated, max_epochs=60, random_state=0, verbose=False).fit(X)
    held_out = X[ae.held_out_]
    mean = X[np.setdiff1d(np.arange(len(X)), ae.held_out_)].mean(0)
    by_means = stats.poisson(np.maximum(mean, 1e-3)).logpmf(held_out).sum(1).mean()
    assert ae.score(held_out) > by_means
    assert ae.scores_["model"]["squared_error"] < ae.scores_["mean"]["squared_error"]
    scale = ae.model_.scale
    assert isinstance(scale, Dispersion)
    assert (scale.muted is not None) == zero_inflated
    assert (ae.reconstruct(held_out) >= 0).all()
    assert ae.reconstruct(held_out).dtype == X.dtype
    assert (ae.sample(5, random_state=0) >= 0).all()


def test_scores_of_counts_are_log_likelihoods_under_scipy() -> None:
    X = simulated(100, 8)
    ae = ist.counts(2, max_epochs=5, random_state=0, verbose=False).fit(X)
    with torch.no_grad():
        x = torch.from_numpy(X).float()
        mean, size = ae.decoder_(ae.encoder_(x)).numpy(), ae.model_.scale().exp().numpy()
    expected = stats.nbinom(size, size / (size + mean)).logpmf(X).sum(1)
    np.testing.assert_allclose(ae.score_samples(X), expected, rtol=2e-5)


def test_data_that_counts_nothing_is_refused_by_its_value() -> None:
    X = simulated(50, 5).astype(float)
    X[30, 2] = 2.5
    with pytest.raises(DataError, match=r"number 2 of row 30 is 2\.5, but NegativeBinomial counts events"):
        ist.counts(2, verbose=False).fit(X)
    X[30, 2], X[7, 1] = 2.0, -1.0
    with pytest.raises(DataError, match="number 1 of row 7 is -1, but Poisson"):
        ist.Autoencoder(reconstruction="poisson", latent_dim=2, verbose=False).fit(X)


def test_a_table_of_counts_names_the_column() -> None:
    import pandas as pd

    table = pd.DataFrame(simulated(50, 4), columns=list("abcd")).astype(float)
    table.loc[3, "c"] = 0.25
    with pytest.raises(DataError, match=r"column 'c' of row 3 is 0\.25"):
        ist.counts(2, verbose=False).fit(table)


def test_counts_with_gaps_are_counts() -> None:
    X = simulated(50, 5).astype(float)
    X[::3, 1] = np.nan
    ae = ist.counts(2, max_epochs=2, random_state=0, verbose=False).fit(X)
    assert np.isfinite(ae.score_samples(X)).all()


def test_a_later_piece_of_a_stream_must_count_too() -> None:
    ae = ist.counts(2, random_state=0, verbose=False).partial_fit(simulated(50, 5).astype(float))
    with pytest.raises(DataError, match="counts events"):
        ae.partial_fit(simulated(50, 5) + 0.5)


def test_counts_may_not_be_scaled() -> None:
    with pytest.raises(SettingError, match="NegativeBinomial counts events, which scale='columns'"):
        ist.counts(2, scale="columns", verbose=False).fit(simulated(50, 5))


# -- rare classes


def focal_by_hand(p: Tensor, gamma: float) -> Tensor:
    return (1 - p) ** gamma * -torch.log(p)


def test_focal_cells_are_the_cross_entropy_times_the_doubt(rng: torch.Generator) -> None:
    part = Mixed(focal=2.0)
    batch, x_hat = batch_of(part, TABLE, 6, rng), gaussian(6, 7, rng=rng)
    cells = part.cells(x_hat, batch, TABLE)
    p = (x_hat[:, 3:6].softmax(1) * batch.x[:, 3:6]).sum(1)
    torch.testing.assert_close(cells[:, 3], focal_by_hand(p, 2.0))
    for cell, feature in ((2, 2), (4, 6)):
        yes = x_hat[:, feature].sigmoid()
        p = torch.where(batch.x[:, feature] == 1, yes, 1 - yes)
        torch.testing.assert_close(cells[:, cell], focal_by_hand(p, 2.0))
    torch.testing.assert_close(cells[:, :2], Mixed().cells(x_hat, batch, TABLE)[:, :2])


def test_a_certain_cell_has_a_focal_term_and_gradient_of_zero() -> None:
    part, layout = Mixed(focal=0.5), Layout((3,), (Block("category", 0, 2, "a"), Block("boolean", 2, 1, "b")))
    x_hat = torch.tensor([[200.0, -200.0, 200.0]], requires_grad=True)
    value = part(x_hat, Batch(torch.tensor([[1.0, 0.0, 1.0]])), layout)
    value.sum().backward()
    assert value.item() == 0
    assert x_hat.grad is not None
    assert torch.equal(x_hat.grad, torch.zeros(1, 3))


def balanced(mean: list[float], **settings: object) -> tuple[Mixed, Balance]:
    part = Mixed(class_weight="balanced", **settings)  # pyright: ignore[reportArgumentType]
    module = part.module(TABLE)
    assert isinstance(module, Balance)
    module.double().start_from(torch.tensor(mean), None)
    return part, module


def test_balanced_classes_weigh_as_torch_weighs_them(rng: torch.Generator) -> None:
    part, scale = balanced([0, 0, 0.1, 0.5, 0.3, 0.2, 0.05])
    batch, x_hat = batch_of(part, TABLE, 6, rng), gaussian(6, 7, rng=rng)
    cells = part.cells(x_hat, batch, TABLE, scale)
    weight = 1 / (3 * torch.tensor([0.5, 0.3, 0.2], dtype=DOUBLE))
    expected = F.cross_entropy(x_hat[:, 3:6], batch.x[:, 3:6].argmax(1), weight, reduction="none")
    torch.testing.assert_close(cells[:, 3], expected, rtol=1e-6, atol=0)
    odds = torch.where(batch.x[:, 6] == 1, 1 / (2 * 0.05), 1 / (2 * 0.95)).double()
    expected = F.binary_cross_entropy_with_logits(x_hat[:, 6], batch.x[:, 6], odds, reduction="none")
    torch.testing.assert_close(cells[:, 4], expected, rtol=1e-6, atol=0)
    # numbers and gap indicators are as they were
    torch.testing.assert_close(cells[:, :3], Mixed().cells(x_hat, batch, TABLE)[:, :3])


def test_the_mean_weight_of_a_class_over_the_data_is_one() -> None:
    share = torch.tensor([0.5, 0.3, 0.2, 0.0, 0.05])
    _, scale = balanced([0, 0, 0.1, *share[:3].tolist(), 0.05])
    assert float(scale.yes[3:6] @ share[:3].double()) == pytest.approx(1, abs=1e-6)
    assert float(0.05 * scale.yes[6] + 0.95 * scale.no[6]) == pytest.approx(1, abs=1e-6)


def test_a_class_that_training_never_saw_weighs_as_the_rarest() -> None:
    _, scale = balanced([0, 0, 0.1, 0.8, 0.2, 0.0, 1.0])
    torch.testing.assert_close(scale.yes[3:6], torch.tensor([0.625, 2.5, 2.5], dtype=DOUBLE))
    assert scale.yes[6] == scale.no[6] == 1


def town_table(rows: int = 300) -> object:
    import pandas as pd

    rng = np.random.default_rng(0)
    rare = rng.random(rows) < 0.08
    height = np.where(rare, 1.5, 0.0) + rng.normal(size=rows)
    return pd.DataFrame(
        {
            "height": height,
            "width": height + rng.normal(size=rows),
            "town": np.where(rare, "Suez", "Corinth"),
            "tall": height > 2,
        }
    )


def test_frequencies_come_from_the_training_rows_and_are_saved_with_the_model(tmp_path) -> None:
    table = town_table()
    part = Mixed(class_weight="balanced", focal=1.0)
    settings = {"latent_dim": 2, "max_epochs": 3, "random_state": 0, "verbose": False, "shortcut": False}
    ae = ist.Autoencoder(reconstruction=part, **settings).fit(table)
    block = next(block for block in ae.codec_.layout.blocks if block.column == "town")
    share = ae.principal_.mean[block.features]
    weight = ae.model_.scale.yes[block.features]
    torch.testing.assert_close(weight, 1 / (2 * share))
    assert weight.max() > 3 * weight.min()
    ae.save(str(tmp_path / "m"))
    again = ist.load(str(tmp_path / "m"))
    torch.testing.assert_close(again.model_.scale.yes, ae.model_.scale.yes)
    np.testing.assert_array_equal(again.score_samples(table), ae.score_samples(table))


def test_balance_finds_more_of_the_rare_class() -> None:
    table = town_table(600)
    settings = {"latent_dim": 1, "max_epochs": 30, "random_state": 0, "verbose": False, "shortcut": False}
    found = {}
    for name, part in (("plain", Mixed()), ("balanced", Mixed(class_weight="balanced"))):
        back = ist.Autoencoder(reconstruction=part, **settings).fit(table).reconstruct(table)
        found[name] = (np.asarray(back["town"])[np.asarray(table["town"]) == "Suez"] == "Suez").mean()
    assert found["balanced"] > found["plain"]


def test_without_the_new_fields_a_saved_table_model_is_as_it_was() -> None:
    part = from_json({"part": "Mixed", "variance": "fixed", "weight": 4.0})
    assert part == Mixed()
    assert part.module(TABLE) is None


def test_a_class_weight_nobody_knows_is_refused() -> None:
    with pytest.raises(SettingError, match="class_weight='heavy'"):
        Mixed(class_weight="heavy").module(TABLE)  # pyright: ignore[reportArgumentType]


def test_principal_components_know_the_frequency_of_a_class() -> None:
    mean = torch.tensor([0.0, 0.0, 0.1, 0.5, 0.3, 0.2, 0.05])
    for shortcut in (False, True):
        parts = Parts(MLP(hidden=(4,)), Plain(), Mixed(variance="learned", class_weight="balanced"))
        model = Composed(Blueprint(parts, TABLE, 2, shortcut=shortcut))
        floor = Principal(mean, torch.eye(7)[:2], torch.tensor([0.5, 0.2]), torch.ones(7), 7.0)
        model.start_from(floor)
        assert isinstance(model.scale, Balance)
        torch.testing.assert_close(model.scale.yes[3:6], 1 / (3 * mean[3:6]))
        assert model.scale.variance is not None
        # the variance that PCA leaves is known too: 1 - 0.5 of the first column
        assert model.scale.variance.log_var[0].item() == pytest.approx(math.log(0.5))
