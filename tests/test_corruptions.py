"""What is done to the input of the encoder: how often, to whom, and what comes through untouched."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import Tensor

from isthmus import Autoencoder
from isthmus.designs import Composed
from isthmus.errors import SettingError
from isthmus.layout import Block, Layout
from isthmus.model import Blueprint, Parts
from isthmus.parts.bottlenecks import Plain
from isthmus.parts.corruptions import Corruption, GaussianNoise, Masking, SaltAndPepper, Swap
from isthmus.parts.networks import MLP
from isthmus.parts.part import from_json, to_json
from isthmus.parts.reconstructions import SquaredError, cells_of
from isthmus.parts.schedule import Ramp, ends, level
from isthmus.parts.step import Batch
from isthmus.variants.noise import denoising

TABLE = (
    Block("numeric", 0, 1, "age"),
    Block("numeric", 1, 1, "fare"),
    Block("boolean", 2, 1, "fare", gap=True),
    Block("category", 3, 3, "port"),
    Block("boolean", 6, 1, "port", gap=True),
    Block("boolean", 7, 1, "alone"),
)
CELLS = {"age": [0], "fare": [1, 2], "port": [3, 4, 5, 6], "alone": [7]}
ALL = [GaussianNoise(0.3), Masking(0.3), SaltAndPepper(0.3), Swap(0.3)]
RATED = [Masking, SaltAndPepper, Swap]
QUICK = {"latent_dim": 2, "random_state": 0, "max_epochs": 2, "verbose": False}


def table(rows: int, seed: int = 1) -> Batch:
    """Return rows of a table with gaps in "fare" and "port"; no two ages are equal."""
    rng = torch.Generator().manual_seed(seed)
    x = torch.zeros(rows, 8, dtype=torch.float64)
    x[:, :2] = torch.randn(rows, 2, generator=rng, dtype=torch.float64)
    x[:, 3:6] = torch.eye(3, dtype=torch.float64)[torch.randint(3, (rows,), generator=rng)]
    x[:, 7] = torch.randint(2, (rows,), generator=rng).double()
    observed = torch.ones(rows, 8, dtype=torch.bool)
    no_fare = torch.rand(rows, generator=rng) < 0.3
    no_port = torch.rand(rows, generator=rng) < 0.2
    observed[:, 1], observed[:, 3:6] = ~no_fare, ~no_port[:, None]
    x[:, 2], x[:, 6] = no_fare.double(), no_port.double()
    return Batch(x * observed, observed, cells_of(TABLE))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def within_four_errors(hits: int, tries: int, rate: float) -> bool:
    return abs(hits - rate * tries) < 4 * math.sqrt(tries * rate * (1 - rate))


# -- salt and pepper


def test_salt_and_pepper_spoils_its_share_half_to_the_least_and_half_to_the_greatest(rng: torch.Generator) -> None:
    x = torch.randn(400, 50, generator=rng)
    spoiled = SaltAndPepper(0.2)(Batch(x), rng).x
    low, high = x.amin(0), x.amax(0)
    changed = spoiled != x
    assert torch.equal(spoiled[~changed], x[~changed])
    assert ((spoiled == low) | (spoiled == high))[changed].all()
    # the two extremes of each column are as they would become when the coin says so: 2 of 400 cells, half the time
    assert within_four_errors(int(changed.sum()), x.numel() - 50, 0.2)
    assert within_four_errors(int((spoiled == high)[changed].sum()), int(changed.sum()), 0.5)


@pytest.mark.parametrize(
    ("shape", "over"), [((5,), (0,)), ((7, 2), (0, 1)), ((2, 4, 3), (0, 2, 3)), ((2, 3, 2, 2), (0, 2, 3, 4))]
)
def test_what_a_number_can_be_is_what_its_column_or_channel_shows(shape, over, rng: torch.Generator) -> None:
    x = torch.randn(300, *shape, generator=rng)
    spoiled = SaltAndPepper(0.5)(Batch(x), rng).x
    low, high = x.amin(over, keepdim=True), x.amax(over, keepdim=True)
    changed = spoiled != x
    assert ((spoiled == low) | (spoiled == high))[changed].all()
    for extreme in (low, high):  # every column or channel gets to its own
        assert ((spoiled == extreme) & changed).any(0).view(-1).any()


def test_the_extremes_of_an_array_are_those_of_known_numbers(rng: torch.Generator) -> None:
    x = torch.randn(200, 3, generator=rng)
    observed = torch.rand(200, 3, generator=rng) > 0.3
    x = torch.where(observed, x + 5, torch.zeros_like(x))  # the 0 of a gap is less than any value
    spoiled = SaltAndPepper(0.5)(Batch(x, observed), rng)
    assert spoiled.observed is observed
    assert torch.equal(spoiled.x[~observed], x[~observed])
    assert (spoiled.x[observed] > 0).all()


def test_salt_and_pepper_leaves_cells_that_exist_and_gaps_as_they_are(rng: torch.Generator) -> None:
    batch = table(2000)
    assert batch.observed is not None
    spoiled = SaltAndPepper(0.4)(batch, rng)
    assert spoiled.observed is batch.observed
    for features in CELLS.values():
        gap = ~batch.observed[:, features].all(1)
        assert torch.equal(spoiled.x[gap][:, features], batch.x[gap][:, features])
    port = batch.observed[:, 3]
    assert torch.equal(spoiled.x[port, 3:6].sum(1), torch.ones(int(port.sum()), dtype=torch.float64))
    assert set(spoiled.x[:, 3:8].flatten().tolist()) == {0.0, 1.0}
    assert torch.equal(spoiled.x[:, [2, 6]], batch.x[:, [2, 6]])  # what says "gap" is part of the cell


def test_salt_and_pepper_turns_a_category_to_the_first_or_the_last_and_a_number_to_its_extreme() -> None:
    batch = table(3000)
    assert batch.observed is not None
    spoiled = SaltAndPepper(0.4)(batch, seeded()).x
    middle = batch.observed[:, 3] & (batch.x[:, 4] == 1)
    left = spoiled[middle, 3:6].sum(0)  # from the second of three categories: 0.6 stay, 0.2 go to either side
    assert within_four_errors(int(left[0]), int(middle.sum()), 0.2)
    assert within_four_errors(int(left[2]), int(middle.sum()), 0.2)
    changed = spoiled[:, 0] != batch.x[:, 0]
    assert set(spoiled[changed, 0].tolist()) == {batch.x[:, 0].min().item(), batch.x[:, 0].max().item()}
    fares = batch.x[batch.observed[:, 1], 1]
    changed = spoiled[:, 1] != batch.x[:, 1]
    assert set(spoiled[changed, 1].tolist()) == {fares.min().item(), fares.max().item()}


# -- swap


def test_swap_takes_its_share_from_other_rows_evenly() -> None:
    x = torch.arange(4.0)[:, None].repeat(1, 30_000)  # a number says which row it is from
    swapped = Swap(0.3)(Batch(x), seeded()).x
    for row in range(4):
        for source in range(4):
            rate = 0.7 if row == source else 0.1
            assert within_four_errors(int((swapped[row] == source).sum()), 30_000, rate)


def test_swap_moves_whole_cells_with_what_is_known_of_them() -> None:
    batch = table(300)
    assert batch.observed is not None
    swapped = Swap(0.5)(batch, seeded())
    assert swapped.observed is not None
    for features in CELLS.values():
        before = torch.cat([batch.x[:, features], batch.observed[:, features].double()], dim=1)
        after = torch.cat([swapped.x[:, features], swapped.observed[:, features].double()], dim=1)
        assert (after[:, None] == before[None]).all(2).any(1).all()  # every cell is a cell of some row, mask and all
    ages = (swapped.x[:, 0] != batch.x[:, 0]).sum()
    assert within_four_errors(int(ages), 300, 0.5)  # ages are all different, and no row is its own source


def test_cells_of_a_row_are_swapped_alone() -> None:
    x = torch.arange(1000.0)[:, None].repeat(1, 2)
    swapped = Swap(0.5)(Batch(x), seeded()).x != x
    assert within_four_errors(int(swapped.all(1).sum()), 1000, 0.25)


def test_a_batch_of_one_row_has_nothing_to_swap() -> None:
    batch = table(1)
    assert Swap(0.9)(batch, seeded()) is batch


# -- what all share


@pytest.mark.parametrize("part", ALL, ids=repr)
def test_a_corruption_keeps_shape_type_weights_and_condition(part: Corruption) -> None:
    batch = table(40)._replace(weight=torch.rand(40), condition=torch.rand(40, 2))
    for rows in (batch, batch._replace(x=batch.x.float())):
        spoiled = part(rows, seeded())
        assert spoiled.x.shape == rows.x.shape
        assert spoiled.x.dtype == rows.x.dtype
        assert spoiled.weight is rows.weight
        assert spoiled.condition is rows.condition
        assert not torch.equal(spoiled.x, rows.x)


@pytest.mark.parametrize("part", ALL, ids=repr)
@pytest.mark.parametrize("noise", [0.3, (0.1, 0.5), Ramp(0.1, 0.5)], ids=repr)
def test_a_corruption_follows_from_its_generator(part: Corruption, noise) -> None:
    part = type(part)(noise)
    torch.manual_seed(7)
    state = torch.get_rng_state()
    first = part(table(30), seeded(3))
    assert torch.equal(torch.get_rng_state(), state)
    again = part(table(30), seeded(3))
    assert torch.equal(first.x, again.x)
    assert not torch.equal(first.x, part(table(30), seeded(4)).x)


@pytest.mark.parametrize("part", ALL, ids=repr)
def test_a_corruption_leaves_the_batch_it_was_given_alone(part: Corruption) -> None:
    batch = table(30)
    part(batch, seeded())
    assert torch.equal(batch.x, table(30).x)
    assert torch.equal(batch.observed, table(30).observed)


@pytest.mark.parametrize("part", [GaussianNoise(0.0), *(kind(0.0) for kind in RATED)], ids=repr)
def test_a_level_of_nothing_changes_nothing(part: Corruption) -> None:
    batch = table(30)
    spoiled = part(batch, seeded())
    assert torch.equal(spoiled.x, batch.x)
    assert torch.equal(spoiled.observed, batch.observed)


@pytest.mark.parametrize("part", [GaussianNoise(0.5), Masking(0.5), SaltAndPepper(0.5)], ids=repr)
def test_a_gap_stays_a_gap(part: Corruption) -> None:
    batch = table(200)
    spoiled = part(batch, seeded())
    assert spoiled.observed is not None
    assert not spoiled.observed[~batch.observed].any()
    assert (spoiled.x[~batch.observed] == 0).all()


@pytest.mark.parametrize("part", [SaltAndPepper(0.5), Swap(0.5)], ids=repr)
def test_gradients_pass_where_a_number_came_through(part: Corruption, rng: torch.Generator) -> None:
    x = torch.randn(4, 3, generator=rng, dtype=torch.float64, requires_grad=True)
    spoiled = part(Batch(x), seeded()).x
    (gradient,) = torch.autograd.grad(spoiled.sum(), x)
    assert torch.equal(gradient, gradient.round())  # every number counts as often as it is found
    assert torch.isfinite(gradient).all()


# -- levels


def test_a_range_is_drawn_evenly_and_once_for_every_sample() -> None:
    like = torch.zeros(20_000, 3, 2)
    drawn = level((0.2, 0.6), like, 1.0, seeded())
    assert drawn.shape == (20_000, 1, 1)
    assert drawn.min() >= 0.2
    assert drawn.max() <= 0.6
    spread = 0.4 / math.sqrt(12)
    assert abs(drawn.mean().item() - 0.4) < 4 * spread / math.sqrt(20_000)
    assert drawn.std().item() == pytest.approx(spread, rel=0.02)


def test_a_range_of_rates_hides_more_of_some_samples() -> None:
    shown = Masking((0.1, 0.7))(Batch(torch.ones(400, 2000)), seeded()).x
    shares = 1 - shown.mean(1)
    assert 0.05 < shares.min() < 0.15
    assert 0.65 < shares.max() < 0.75
    assert shares.mean().item() == pytest.approx(0.4, abs=4 * 0.6 / math.sqrt(12 * 400))


def test_a_range_of_sigmas_is_the_noise_of_one_sigma_scaled_by_the_sample() -> None:
    noise = GaussianNoise((0.1, 0.5))(Batch(torch.zeros(50, 4000, dtype=torch.float64)), seeded()).x
    sigma = level((0.1, 0.5), torch.zeros(50, 4000, dtype=torch.float64), 1.0, seeded())
    torch.testing.assert_close(noise.std(1), sigma[:, 0], rtol=4 / math.sqrt(2 * 4000), atol=0)


@pytest.mark.parametrize("kind", [GaussianNoise, *RATED])
@pytest.mark.parametrize("progress", [0.0, 0.25, 1.0])
def test_a_ramp_is_the_number_it_stands_for_at_that_moment(kind, progress: float) -> None:
    now = 0.1 + 0.4 * progress
    batch = table(50)
    moving = kind(Ramp(0.1, 0.5))(batch, seeded(), progress)
    assert torch.equal(moving.x, kind(now)(batch, seeded(), progress).x)


def test_the_model_tells_a_corruption_how_far_training_is(rng: torch.Generator) -> None:
    parts = Parts(MLP(hidden=(4,)), Plain(), SquaredError(), (GaussianNoise(Ramp(0.0, 5.0)),))
    model = Composed(Blueprint(parts, Layout((6,)), 2))
    x = torch.randn(8, 6, generator=rng)
    clean = model.terms(Batch(x))["reconstruction"]
    assert torch.equal(model.terms(Batch(x), seeded(), 0.0)["reconstruction"], clean)
    assert not torch.equal(model.terms(Batch(x), seeded(), 0.5)["reconstruction"], clean)


def test_corruptions_are_applied_one_after_the_other(rng: torch.Generator) -> None:
    parts = (GaussianNoise((0.1, 0.3)), Swap(0.2), SaltAndPepper(Ramp(0.0, 0.4)), Masking(0.3))
    model = Composed(Blueprint(Parts(MLP(hidden=(4,)), Plain(), SquaredError(), parts), Layout((8,)), 2))
    batch, one = table(60), seeded(5)
    expected = batch
    for part in parts:
        expected = part(expected, one, 0.5)
    seen = model.corrupted(batch, seeded(5), 0.5)
    assert torch.equal(seen.x, expected.x)
    assert torch.equal(seen.observed, expected.observed)


@pytest.mark.parametrize("noise", [0.2, (0.1, 0.3), Ramp(0.0, 0.3)], ids=repr)
@pytest.mark.parametrize("kind", [GaussianNoise, *RATED])
def test_a_corruption_survives_json_and_clone_with_its_level(kind, noise) -> None:
    part = kind(noise)
    assert from_json(to_json(part)) == part
    assert clone(part) == part


def test_the_ends_of_a_ramp_are_set_by_name() -> None:
    part = GaussianNoise(Ramp(0.1, 0.5))
    part.set_params(sigma__end=0.2)
    assert part == GaussianNoise(Ramp(0.1, 0.2))


@pytest.mark.parametrize(
    ("part", "sentence"),
    [
        (GaussianNoise((-0.1, 0.3)), r"GaussianNoise\(sigma=\(-0.1, 0.3\)\) must be made of numbers of at least 0"),
        (
            Masking(Ramp(0.1, -0.5)),
            r"Masking\(rate=Ramp\(start=0.1, end=-0.5\)\) must be made of numbers of at least 0",
        ),
        (Swap(float("nan")), r"Swap\(rate=nan\) must be a number of at least 0"),
        (SaltAndPepper(1.5), r"SaltAndPepper\(rate=1.5\) must be at least 0 and below 1"),
        (Masking((0.2, 1.0)), r"Masking\(rate=\(0.2, 1.0\)\) must be at least 0 and below 1"),
        (Swap(Ramp(0.1, 2.0)), "must be at least 0 and below 1"),
        (GaussianNoise((0.5, 0.1)), r"the smaller first, such as \(0.1, 0.4\); not \(0.5, 0.1\)"),
        (Masking((0.1, 0.2, 0.3)), "two numbers"),
    ],
    ids=repr,
)
def test_a_level_that_makes_no_sense_is_refused(part: Corruption, sentence: str, digits: np.ndarray) -> None:
    with pytest.raises(SettingError, match=sentence):
        Autoencoder(corruptions=part, **QUICK).fit(digits[:100])


def test_the_ends_of_a_level() -> None:
    assert ends(0.3) == (0.3,)
    assert ends([0.1, 0.3]) == (0.1, 0.3)
    assert ends(Ramp(0.4, 0.2)) == (0.4, 0.2)


# -- the variant


@pytest.mark.parametrize("kind", ["gaussian", "masking", "salt_and_pepper", "swap"])
def test_denoising_learns_from_spoiled_samples_and_is_clean_in_use(kind, digits: np.ndarray) -> None:
    ae = denoising(8, kind=kind, random_state=0, max_epochs=12, verbose=False).fit(digits[:600])
    rest = digits[600:900]
    assert ((ae.reconstruct(rest) - rest) ** 2).mean() < 0.7 * rest.var(0).mean()
    assert np.array_equal(ae.transform(rest), ae.transform(rest))
    np.testing.assert_array_equal(ae.transform(rest[:1]), ae.transform(rest)[:1])  # a row does not ask its neighbours


def test_denoising_takes_a_range_and_a_ramp(digits: np.ndarray) -> None:
    for noise in ((0.1, 0.5), Ramp(0.5, 0.1)):
        assert denoising(noise=noise, **QUICK).fit(digits[:200]).n_iter_ == 2


def test_a_kind_of_noise_that_nobody_knows_is_refused() -> None:
    with pytest.raises(SettingError, match="kind='rain' is not known; use one of gaussian, masking"):
        denoising(kind="rain")  # pyright: ignore[reportArgumentType]


# -- the closed form


def noisy_problem() -> tuple[Tensor, Batch]:
    rng = seeded(2)
    scales = torch.tensor([2.0, 1.5, 1.0, 0.7, 0.4, 0.2], dtype=torch.float64)
    x = torch.randn(300, 6, generator=rng, dtype=torch.float64) * scales
    x = x @ torch.linalg.qr(torch.randn(6, 6, generator=rng, dtype=torch.float64)).Q
    return x, Batch((x - x.mean(0)).repeat(20, 1))


def test_a_linear_denoising_autoencoder_is_the_best_map_of_its_rank() -> None:
    """With one fixed draw of the noise the best rank-k map is reduced-rank regression of x on the noisy x (Izenman 1975)."""
    _, batch = noisy_problem()
    parts = Parts(MLP(hidden=()), Plain(), SquaredError(), (GaussianNoise(0.6),))
    torch.manual_seed(0)
    model = Composed(Blueprint(parts, Layout((6,)), 2)).double()
    optimiser = torch.optim.LBFGS(
        model.parameters(), max_iter=400, tolerance_grad=1e-9, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = model.terms(batch, seeded(9))["reconstruction"].mean()  # the same noise every time
        value.backward()
        return value

    optimiser.step(loss)  # pyright: ignore[reportArgumentType]
    noisy, x = model.corrupted(batch, seeded(9)).x, batch.x
    noisy, x = noisy - noisy.mean(0), x - x.mean(0)
    regression = torch.linalg.lstsq(noisy, x).solution  # (6, 6), x_hat = noisy @ regression
    directions = torch.linalg.svd(noisy @ regression, full_matrices=False).Vh[:2]
    best = regression @ directions.T @ directions
    learned = model.encoder.head[0].linear.weight.T @ model.decoder.body[1].weight.T
    torch.testing.assert_close(learned, best, atol=1e-5, rtol=0)


def test_on_average_the_best_linear_denoiser_shrinks_each_component_by_its_share_of_noise() -> None:
    """Over all draws of the noise: U diag(v / (v + sigma^2)) U^T, on the k components of largest variance v."""
    x, _ = noisy_problem()
    x, sigma, k = x - x.mean(0), 0.6, 2
    values, vectors = torch.linalg.eigh(x.T @ x / len(x))
    shares = (values / (values + sigma**2))[-k:]
    best = vectors[:, -k:] @ torch.diag(shares) @ vectors[:, -k:].T
    parts = Parts(MLP(hidden=()), Plain(), SquaredError(), (GaussianNoise(sigma),))
    model = Composed(Blueprint(parts, Layout((6,)), k)).double()
    with torch.no_grad():
        model.encoder.head[0].linear.weight.copy_(vectors[:, -k:].T)
        model.decoder.body[1].weight.copy_(vectors[:, -k:] * shares)
        for bias in (model.encoder.head[0].linear.bias, model.decoder.body[1].bias):
            bias.zero_()
    torch.testing.assert_close(model.decoder(model.encoder(x)), x @ best)
    weights = [model.encoder.head[0].linear.weight, model.decoder.body[1].weight]
    losses, gradients = [], []
    for draw in range(40):
        loss = model.terms(Batch(x.repeat(10, 1)), seeded(draw))["reconstruction"].mean()
        gradients.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, weights)]))
        losses.append(loss.detach())
    expected = values.sum() - (values[-k:] * shares).sum()
    for drawn, truth in ((torch.stack(losses), expected), (torch.stack(gradients), 0.0)):
        assert ((drawn.mean(0) - truth).abs() < 4 * drawn.std(0) / math.sqrt(40)).all()
