"""Every column given any others: the linear answer, the coding, and what the network may know."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from isthmus.apps.columns import Cells, Coding, Conditionals, Dependencies, Recipe, learn, sample
from isthmus.apps.columns.coding import Number
from isthmus.apps.columns.conditionals import cumulative, quantile
from isthmus.apps.columns.factors import Factors, expect, fit_factors
from isthmus.apps.columns.fitting import _gather, _Hiding, _Loss, _swapped, tensors
from isthmus.apps.columns.network import Inputs, Members


def mixed(rows: int = 300, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    a = rng.normal(size=rows)
    table = pd.DataFrame(
        {
            "a": a,
            "b": np.exp(a + 0.3 * rng.normal(size=rows)),
            "few": rng.integers(0, 4, rows).astype(float),
            "kind": np.where(a + rng.normal(size=rows) > 0, "high", "low"),
            "colour": rng.choice(["red", "green", "blue"], rows),
        }
    )
    return table.mask(rng.random(table.shape) < 0.15)


@pytest.fixture(scope="module")
def fitted() -> tuple[Coding, Cells, Conditionals]:
    coding, cells = Coding.learn(mixed())
    recipe = Recipe.of(coding, len(cells.values))._replace(steps=40, members=3)
    return coding, cells, Conditionals(coding, learn(coding, cells, recipe, 0).network)


# -- the linear answer ----------------------------------------------------------------------------------------------


def test_the_linear_answer_is_the_conditional_mean_of_its_gaussian():
    rng = torch.Generator().manual_seed(0)
    weights, noise = torch.randn(1, 6, 2, generator=rng), 0.1 + torch.rand(1, 6, generator=rng)
    y, observed = torch.randn(1, 20, 6, generator=rng), (torch.rand(1, 20, 6, generator=rng) < 0.6).float()
    _, filled = expect(Factors(weights, noise), y * observed, observed)
    w = weights[0].double().numpy()
    covariance = w @ w.T + np.diag(noise[0].numpy())
    for row, seen, got in zip(y[0].numpy(), observed[0].numpy() > 0, filled[0].numpy(), strict=True):
        expected = row.copy()
        expected[~seen] = covariance[np.ix_(~seen, seen)] @ np.linalg.solve(covariance[np.ix_(seen, seen)], row[seen])
        np.testing.assert_allclose(got, expected, atol=2e-5)


def test_without_gaps_the_fit_has_the_likelihood_of_scikit_learns_factor_analysis():
    from scipy.stats import multivariate_normal
    from sklearn.decomposition import FactorAnalysis

    rng = np.random.default_rng(0)
    y = rng.normal(size=(1000, 2)) @ rng.normal(size=(2, 7)) + rng.normal(size=(1000, 7)) * rng.uniform(0.5, 1, 7)
    y = (y - y.mean(0)) / y.std(0)
    y32 = torch.from_numpy(y.astype(np.float32))
    ours = fit_factors(y32, torch.ones_like(y32), 2, torch.Generator().manual_seed(0))
    w = ours.weights[0].double().numpy()
    covariance = w @ w.T + np.diag(ours.noise[0].double().numpy())
    got = multivariate_normal(np.zeros(7), covariance).logpdf(y).mean()
    assert got == pytest.approx(FactorAnalysis(2, tol=1e-8, max_iter=5000).fit(y).score(y), abs=2e-3)


def test_gaps_at_random_leave_the_covariance_where_it_was():
    rng = np.random.default_rng(1)
    w = rng.normal(size=(6, 2))
    scale = np.sqrt((w**2).sum(1) + 0.3)
    y = (rng.normal(size=(20_000, 2)) @ w.T + np.sqrt(0.3) * rng.normal(size=(20_000, 6))) / scale
    seen = torch.from_numpy((rng.random(y.shape) < 0.6).astype(np.float32))
    found = fit_factors(torch.from_numpy(y.astype(np.float32)) * seen, seen, 2, torch.Generator().manual_seed(0))
    covariance = (found.weights[0] @ found.weights[0].T + torch.diag(found.noise[0])).numpy()
    truth = (w @ w.T + 0.3 * np.eye(6)) / np.outer(scale, scale)
    # about 7,200 rows show a pair of columns: a correlation has a standard error below .012
    np.testing.assert_allclose(covariance, truth, atol=5 * 0.012)


# -- the coding -----------------------------------------------------------------------------------------------------


def number(values: np.ndarray) -> Number:
    return Number("x", slice(0, 1), np.sort(values), float(values.mean()), float(values.std()))


@pytest.mark.parametrize(
    "values", [np.random.default_rng(0).lognormal(size=500), np.repeat([0.0, 1.0, 5.0], [70, 20, 10])]
)
def test_with_the_observed_frequencies_the_quantiles_of_a_number_are_those_observed(values):
    column = number(values)
    levels = np.linspace(0.001, 0.999, 200)
    chances = np.repeat(np.diff(column.shares)[None], len(levels), 0)
    np.testing.assert_array_equal(quantile(column, chances, levels), np.quantile(values, levels, method="inverted_cdf"))


def test_quantile_and_cumulative_probability_are_inverse():
    rng = np.random.default_rng(0)
    column = number(rng.normal(size=400))
    chances = rng.dirichlet(np.ones(column.width), 300)
    levels = rng.uniform(0.01, 0.99, 300)
    below, upto = cumulative(column, chances, quantile(column, chances, levels))
    assert (below <= levels + 1e-9).all()
    assert (levels <= upto + 1e-9).all()


def test_an_atom_keeps_its_probability():
    column = number(np.repeat([0.0, 1.0, 2.0, 7.0], [60, 20, 10, 10]))
    assert column.width == 4
    chances = np.array([[0.1, 0.2, 0.3, 0.4]]).repeat(4, 0)
    below, upto = cumulative(column, chances, np.array([0.0, 1.0, 2.0, 7.0]))
    np.testing.assert_allclose(upto - below, [0.1, 0.2, 0.3, 0.4])


def test_cells_come_back_from_their_coding():
    table = mixed()
    coding, cells = Coding.learn(table)
    back = coding.decode(cells.values, table)
    for column in table:
        seen = table[column].notna()
        if column in ("kind", "colour"):
            assert (back[column][seen] == table[column][seen]).all()
        else:
            np.testing.assert_allclose(back[column][seen], table[column][seen], rtol=1e-5, atol=1e-5)


# -- the network ----------------------------------------------------------------------------------------------------


def test_before_training_the_mean_of_a_number_is_read_off_its_linear_answer():
    coding, cells = Coding.learn(mixed())
    network = Members(coding, 1, 2, 8, 1, torch.Generator().manual_seed(0))
    rows = tensors(coding, cells, network)
    inputs = Inputs(rows.y[None], rows.observed[None].float())
    answer, (_, filled) = network(inputs), network.linear(inputs)
    ranks = torch.special.ndtr(filled[0, :, :3]).numpy()
    for place, column in enumerate(coding.numbers):
        distinct = np.unique(column.support)
        nodes = np.interp(np.linspace(0, 1, 16), column.ranks(distinct), distinct)
        expected = (np.interp(ranks[:, place], np.linspace(0, 1, 16), nodes) - column.mean) / column.deviation
        np.testing.assert_allclose(answer.means[0, :, place].detach().numpy(), expected, atol=1e-4)


def test_a_hidden_cell_has_no_say(fitted):
    _, cells, model = fitted
    observed = cells.observed.copy()
    observed[:, [1, 3]] = False
    changed = cells.values.copy()
    changed[:, 1], changed[:, 3] = 0.7, 1 - changed[:, 3]
    one = model.predict(model.rows(Cells(cells.values, cells.observed)), observed)
    other = model.predict(model.rows(Cells(changed, cells.observed)), observed)
    for left, right in zip(one, other, strict=True):
        np.testing.assert_array_equal(left, right)


def test_chances_of_every_column_sum_to_one(fitted):
    _, cells, model = fitted
    chances = model.predict(model.rows(cells), cells.observed).chances
    for place in range(5):
        np.testing.assert_allclose(chances[:, model.columns(place)].sum(1), 1, atol=1e-5)


def test_the_mean_of_the_members_is_the_mean_of_each(fitted):
    _, cells, model = fitted
    rows, count = model.rows(cells), len(cells.values)
    each = [model.predict(rows, cells.observed, np.full(count, member)).chances for member in range(3)]
    np.testing.assert_allclose(model.predict(rows, cells.observed).chances, np.mean(each, 0), atol=1e-6)


def test_swapped_cells_are_those_of_one_other_row_where_both_show_them():
    rng = torch.Generator().manual_seed(0)
    owners = torch.tensor([0, 1, 1, 2])
    shown = (torch.rand(2, 500, 3, generator=rng) < 0.8).float()
    y = torch.arange(500.0)[None, :, None] + torch.zeros(2, 500, 4)  # every number says which row it is of
    taken, seen = _swapped(Inputs(y, shown), owners, 0.3, rng)
    assert torch.equal(seen, shown)
    assert torch.equal(taken[..., 1], taken[..., 2])
    moved = taken != y
    other = torch.where(moved, taken, -1.0).amax((0, 2)).long()  # of each row the one that it was given cells of
    assert torch.equal(taken[moved], other.float()[None, :, None].expand_as(y)[moved])
    both = (shown * shown[:, other])[..., owners] > 0
    assert not (moved & ~both).any()
    assert abs(moved[..., [0, 1, 3]].sum() / (shown * shown[:, other.clamp_min(0)]).sum() - 0.3) < 0.05


def test_the_loss_is_squared_error_and_cross_entropy_of_hidden_cells_alone(fitted):
    coding, cells, model = fitted
    network = model.network
    rows = tensors(coding, cells, network)
    loss = _Loss(coding, rows)
    rng = torch.Generator().manual_seed(0)
    taken = _gather(rows, torch.arange(50)[None].repeat(3, 1), _Hiding((0.2, 0.5)), rng)
    with torch.no_grad():
        answer = network(taken.inputs)
        got = loss(answer, taken.standard, taken.classes, taken.hidden)
    expected = np.zeros(3)
    for member in range(3):
        for place, column in enumerate(coding.columns):
            hidden = taken.hidden[member, :, place] > 0
            if not hidden.any():
                continue
            logits = answer.logits[member, hidden, model.columns(place)].double()
            classes = taken.classes[member, hidden, place]
            expected[member] += torch.nn.functional.cross_entropy(logits, classes) * loss.scale[place]
            if isinstance(column, Number):
                error = answer.means[member, hidden, place] - taken.standard[member, hidden, place]
                expected[member] += error.clamp(-8, 8).square().mean()
    np.testing.assert_allclose(got, expected / 5, rtol=1e-4)
    assert not (taken.hidden.bool() & ~rows.observed[:50]).any()


def test_a_member_does_not_learn_from_the_rows_it_judges():
    coding, cells = Coding.learn(mixed(120).fillna({"a": 0.0, "b": 1.0, "few": 1.0, "kind": "low", "colour": "red"}))
    recipe = Recipe.of(coding, 120)._replace(steps=6, members=2, dropout=0.0)
    fit = learn(coding, cells, recipe, 0)
    assert (np.bincount(fit.judge) == 60).all()
    held = np.flatnonzero(fit.judge == 0)
    # other values in these rows, each column shuffled so that what all rows are standardised by stays
    shuffled = cells.values.copy()
    shuffled[held] = np.random.default_rng(1).permuted(shuffled[held], axis=0)
    again = learn(coding, Cells(shuffled, cells.observed), recipe, 0)
    for name in ("loadings", "noise"):
        one, other = getattr(fit.network, name), getattr(again.network, name)
        torch.testing.assert_close(one[0], other[0], atol=1e-4, rtol=1e-4)
        assert not torch.allclose(one[1], other[1], atol=1e-2)


def test_columns_drawn_one_by_one_have_the_joint_distribution_of_the_table():
    rng = np.random.default_rng(0)
    left = rng.choice(["a", "b", "c"], 3000, p=[0.5, 0.3, 0.2])
    right = np.where(rng.random(3000) < 0.8, np.char.upper(left), "Z")
    coding, cells = Coding.learn(pd.DataFrame({"left": left, "right": right}))
    recipe = Recipe.of(coding, 3000)._replace(steps=150, hide=(0.3, 1.0))
    model = Conditionals(coding, learn(coding, cells, recipe, 0).network)
    empty = Cells(np.zeros((4000, 2), np.float32), np.zeros((4000, 2), bool))
    drawn = sample(model, empty, np.random.default_rng(1)).astype(int)
    joint = np.histogram2d(*drawn.T, bins=[range(4), range(5)])[0] / 4000
    truth = np.histogram2d(*cells.values.T, bins=[range(4), range(5)])[0] / 3000
    assert np.abs(joint - truth).sum() / 2 < 0.05  # total variation; independent columns would be .36 away
    independent = truth.sum(1, keepdims=True) * truth.sum(0, keepdims=True)
    assert np.abs(independent - truth).sum() / 2 > 0.3


def test_the_same_seed_gives_the_same_bits_and_leaves_global_generators_alone():
    coding, cells = Coding.learn(mixed(100))
    recipe = Recipe.of(coding, 100)._replace(steps=5)
    torch.manual_seed(3)
    np.random.seed(3)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    one, other = (learn(coding, cells, recipe, 7).network.state_dict() for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert torch.equal(before[0], torch.get_rng_state())
    np.testing.assert_array_equal(before[1], np.random.get_state()[1])


# -- columns that follow from others ----------------------------------------------------------------------------------


def towns(rows: int = 600, seed: int = 0) -> np.ndarray:
    """Return street -> town <-> code, and a number that follows from nothing, (rows, 4)."""
    rng = np.random.default_rng(seed)
    street = rng.integers(0, 40, rows)
    town = street % 7
    return np.stack([street, town, 100 - 3 * town, rng.integers(0, 7, rows)], 1).astype(np.float32)


def gappy(values: np.ndarray, share: float = 0.2, seed: int = 1) -> Cells:
    observed = np.random.default_rng(seed).random(values.shape) >= share
    return Cells(np.where(observed, values, 0), observed)


def found_in(cells: Cells) -> Dependencies:
    return Dependencies.of(cells, in_units(cells))


def in_units(cells: Cells) -> np.ndarray:
    return np.where(cells.observed, 1e9 + cells.values.astype(np.float64), np.nan)


def test_what_follows_from_what_is_found_and_nothing_else():
    found = found_in(gappy(towns()))
    assert {(each.source, each.target) for each in found.found} == {(0, 1), (0, 2), (1, 2), (2, 1)}


def test_gaps_are_filled_where_a_source_is_shown_and_nowhere_else():
    values, cells = towns(), gappy(towns())
    filled = found_in(cells).fill(cells, in_units(cells))[0]
    shown = cells.observed[:, [0, 1, 2]].any(1), cells.observed[:, [1, 2]].any(1)
    np.testing.assert_array_equal(filled.observed[:, 1], shown[0])
    np.testing.assert_array_equal(filled.observed[:, 2], shown[0])
    np.testing.assert_array_equal(filled.observed[:, [0, 3]], cells.observed[:, [0, 3]])
    np.testing.assert_array_equal(filled.values[filled.observed], values[filled.observed])
    certain, new = found_in(cells).fill(cells, in_units(cells))[1], filled.observed & ~cells.observed
    np.testing.assert_array_equal(certain[new], 1e9 + values.astype(np.float64)[new])
    assert np.isnan(certain[~new]).all()


def test_a_value_never_seen_with_the_target_fills_nothing():
    cells = gappy(towns(), share=0.0)
    found = found_in(cells)
    new = Cells(np.array([[77, 0, 0, 0]], np.float32), np.array([[True, False, False, True]]))
    np.testing.assert_array_equal(found.fill(new, in_units(new))[0].observed, new.observed)


@pytest.mark.parametrize(("slips", "follows"), [(2, True), (60, False)])
def test_a_few_slips_are_forgiven_and_many_are_not(slips, follows):
    values = towns()[:, [0, 1]]
    values[:slips, 1] = (values[:slips, 1] + 1) % 7
    found = found_in(Cells(values, np.ones(values.shape, bool))).found
    assert ((0, 1) in {(each.source, each.target) for each in found}) == follows
    for each in found if follows else ():
        np.testing.assert_array_equal(each.values, (each.keys - 1e9) % 7)


def test_identifiers_and_lone_values_prove_nothing():
    rng = np.random.default_rng(0)
    values = np.stack([np.arange(3000), rng.integers(0, 5, 3000), (np.arange(3000) == 7)], 1).astype(np.float32)
    assert not found_in(Cells(values, np.ones(values.shape, bool))).found


def test_rows_given_twice_prove_nothing():
    values = np.random.default_rng(0).normal(size=(1000, 3)).astype(np.float32)
    values = np.concatenate([values, values[:90], values[:90]])
    assert not found_in(Cells(values, np.ones(values.shape, bool))).found


def test_codes_that_float32_holds_as_one_number_are_told_apart():
    which = np.random.default_rng(0).integers(0, 8, 400)
    exact = np.stack([338_225_615_549 + which, which], 1).astype(np.float64)
    cells = Cells(np.stack([np.ones(400), which], 1).astype(np.float32), np.ones((400, 2), bool))
    found = Dependencies.of(cells, exact)
    gap = Cells(cells.values[:1], np.array([[True, False]]))
    filled, certain = found.fill(gap, exact[:1])
    assert filled.values[0, 1] == certain[0, 1] == which[0]


def test_what_follows_from_what_was_filled_is_filled_as_well():
    cells = gappy(towns(), share=0.0)
    found = found_in(cells)
    only = tuple(each for each in found.found if (each.source, each.target) in {(0, 1), (1, 2)})
    row = Cells(cells.values[:1], np.array([[True, False, False, False]]))
    for rules in (only, only[::-1]):
        filled, _ = Dependencies(rules, 4).fill(row, in_units(row))
        np.testing.assert_array_equal(filled.observed, [[True, True, True, False]])
        np.testing.assert_array_equal(filled.values[0, :3], cells.values[0, :3])


def test_no_cell_is_hidden_where_one_it_follows_from_is_shown():
    cells = gappy(towns(2000))
    found = found_in(cells)
    seen = torch.from_numpy(found.fill(cells, in_units(cells))[0].observed)[None]
    hidden = _Hiding((0.05, 0.6), found).choose(seen, torch.Generator().manual_seed(0))
    shown = seen & ~hidden
    street, town, code = (shown[0, :, place] for place in range(3))
    assert not (hidden[0, :, 1] & (street | code)).any()
    assert not (hidden[0, :, 2] & (street | town)).any()
    assert (hidden[0, :, 0] & town & code).any()  # a street does not follow from its town
    assert (hidden[0, :, 1] & hidden[0, :, 2]).any()


def test_columns_that_follow_from_each_other_are_hidden_as_often_as_others():
    values = towns(4000)[:, 1:]
    found = found_in(Cells(values, np.ones(values.shape, bool)))
    seen = torch.ones(1, 4000, 3, dtype=torch.bool)
    hidden = _Hiding((0.3, 0.3), found).choose(seen, torch.Generator().manual_seed(0))[0].double()
    torch.testing.assert_close(hidden[:, 0], hidden[:, 1])
    assert ((hidden.mean(0) - 0.3).abs() < 4 * np.sqrt(0.3 * 0.7 / 4000)).all()
