"""Which cell of a row is wrong: Bayes' rule, where the distributions are known, and where they are learned."""

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats

import isthmus as ist
from isthmus.apps.anomaly.culprits import DOUBT, FAR, find_culprits, odds_of_category, odds_of_number
from isthmus.apps.anomaly.reasons import _examine
from isthmus.apps.columns.coding import Choice, Number

LETTERS = np.array(list("abcd"))
NORMAL = Number("x", slice(0, 1), stats.norm.ppf((np.arange(1024) + 0.5) / 1024), 0.0, 1.0)
STEP = float(np.subtract(*np.quantile(NORMAL.support, [0.75, 0.25])))


def letters(n: int, seed: int) -> pd.DataFrame:
    """Return two letters that mostly agree, a number that follows from the first, and a free one with gaps."""
    rng = np.random.default_rng(seed)
    first = rng.integers(4, size=n)
    second = np.where(rng.random(n) < 0.9, first, (first + rng.integers(1, 4, size=n)) % 4)
    free = np.where(rng.random(n) < 0.2, np.nan, rng.normal(size=n))
    number = 10 * first + rng.normal(size=n)
    return pd.DataFrame({"first": LETTERS[first], "second": LETTERS[second], "number": number, "free": free})


@pytest.fixture(scope="module")
def detector() -> ist.AnomalyDetector:
    return ist.AnomalyDetector(random_state=0).fit(letters(2500, 0))


def odds(detector: ist.AnomalyDetector, rows: pd.DataFrame) -> list[dict[str, float]]:
    """Return the log odds that each cell is wrong, row by row."""
    return [{cell.name: cell.relief for cell in reason.columns} for reason in detector.explain(rows, top=4)]


def test_the_odds_rank_two_categories_as_the_sum_over_all_rows_that_could_have_been():
    joint = np.random.default_rng(0).dirichlet(np.full(15, 5.0)).reshape(3, 5)
    first, second = (np.indices(joint.shape)[axis].ravel() for axis in (0, 1))
    # one column drawn evenly, its category replaced by any other: what was there before, summed over all rows it could be
    of_first = (joint.sum(0, keepdims=True) - joint) / 2
    of_second = (joint.sum(1, keepdims=True) - joint) / 4
    expected = (of_first / (of_first + of_second)).ravel()
    given_second, given_first = joint / joint.sum(0), joint / joint.sum(1, keepdims=True)
    a = odds_of_category(Choice("a", slice(0, 3), 3, joint.sum(1)), given_second.T[second], first)
    b = odds_of_category(Choice("b", slice(3, 8), 5, joint.sum(0)), given_first[first], second)
    np.testing.assert_allclose(1 / (1 + np.exp(b - a)), expected, atol=10 * DOUBT)


def test_the_odds_of_a_number_that_depends_on_nothing_are_an_integral():
    def integrand(v: float) -> float:
        away = 1 - (stats.norm.cdf(v + STEP) - stats.norm.cdf(v - STEP))
        return stats.norm.pdf(v) / away

    values = np.array([-2.0, -0.5, 0.0, 1.0, 2.5])
    drawn = [integrate.quad(integrand, -9, v - STEP)[0] + integrate.quad(integrand, v + STEP, 9)[0] for v in values]
    found = odds_of_number(NORMAL, np.tile(np.diff(NORMAL.shares), (len(values), 1)), values)
    np.testing.assert_allclose(found, np.log((1 - FAR) * np.array(drawn)), atol=0.05)


def test_a_number_where_it_is_expected_is_right_and_one_far_out_the_wronger_the_farther():
    chances = np.zeros((1, NORMAL.width))
    chances[0, NORMAL.classes(np.zeros(1))] = 1
    near, off, out, far = (odds_of_number(NORMAL, chances, np.array([value]))[0] for value in (0.01, 2.0, 4.0, 8.0))
    assert near < -5 < 5 < off < out
    last = NORMAL.support[-6]  # but for the five outermost
    assert far - out == pytest.approx(2 * np.log((8 - last + STEP) / (4 - last + STEP)))


def test_a_number_that_was_learned_from_is_far_out_too_and_the_last_of_its_neighbours_is_not():
    support = np.append(np.linspace(-2, 2, 399), 50.0)
    column = Number("x", slice(0, 1), support, float(support.mean()), float(support.std()))
    chances = np.diff(column.shares)[None]
    stray, last = (odds_of_number(column, chances, np.array([value]))[0] for value in (50.0, support[-2]))
    step = float(np.subtract(*np.quantile(support, [0.75, 0.25])))
    # one of 400 lies as far out, beyond the third largest by so many steps
    assert stray == pytest.approx(np.log(FAR * 400) + 2 * np.log(1 + (50 - support[-3]) / step))
    assert last < 1.5


def test_the_odds_that_are_learned_are_those_of_the_distribution_that_rows_were_drawn_from(detector):
    rows = pd.DataFrame({"first": LETTERS, "second": np.roll(LETTERS, 1), "number": 10.0 * np.arange(4), "free": 0.0})
    for found in odds(detector, rows):
        # p(second | first) = .1 / 3 for each other letter; what the first is follows from the number
        assert found["second"] == pytest.approx(np.log((1 - 0.1 / 3) / 0.1), abs=0.7)
        assert found["second"] - found["first"] > 3
        assert found["second"] - found["number"] > 3


def test_the_cell_that_two_others_contradict_is_blamed_whatever_its_kind(detector):
    rows = letters(200, 1)
    rows = rows[rows["first"] == rows["second"]].reset_index(drop=True).assign(free=0.0)
    place = rows["first"].map("abcd".index).to_numpy()
    for name, wrong in (("first", LETTERS[(place + 2) % 4]), ("number", 10.0 * ((place + 2) % 4))):
        reasons = detector.explain(rows.assign(**{name: wrong}), top=1)
        assert np.mean([reason.columns[0].name == name for reason in reasons]) >= 0.95
        expected = [reason.columns[0].expected for reason in reasons if reason.columns[0].name == name]
        right = rows[name][[reason.columns[0].name == name for reason in reasons]]
        if name == "first":
            assert np.mean(np.array(expected) == right.to_numpy()) >= 0.95
        else:
            np.testing.assert_allclose(np.median(np.abs(np.array(expected) - right.to_numpy())), 0.7, atol=0.5)


def test_a_gap_is_a_suspect_only_where_there_were_none(detector):
    rows = pd.DataFrame({"first": ["b", None], "second": ["b", "b"], "number": [10.0, 10.0], "free": [np.nan, 0.0]})
    heads, names = detector.judge_.heads, detector.judge_.columns.names
    found = find_culprits(heads["plausibility"], heads["rarity"], detector.codec_.encode(rows))
    assert found.odds[0, names.index("free")] < 0
    assert found.is_gap[0, names.index("free")]
    _, new = detector.explain(rows, top=4)
    assert (new.columns[0].name, new.columns[0].observed, new.columns[0].expected) == ("first", None, "b")
    assert new.columns[0].share > 0.9


def test_an_odd_row_without_a_suspect_is_blamed_on_what_would_make_it_usual(detector):
    row = pd.DataFrame({"first": ["b"], "second": ["b"], "number": [10.0], "free": [np.nan]})
    rows, free = detector.codec_.encode(row), detector.judge_.columns.names.index("free")
    usual, odd = (_examine(detector.judge_, rows, 4, lambda scores, p=p: np.full(len(scores), p)) for p in (0.5, 0.01))
    assert usual.relief.max() <= 0
    assert odd.relief[0].argmax() == free
    assert odd.relief[0, free] > 0
    assert not odd.is_gap[0, free]


def test_two_wrong_cells_share_the_blame(detector):
    row = pd.DataFrame({"first": ["b"], "second": ["b"], "number": [10_000.0], "free": [-10_000.0]})
    cells = detector.explain(row, top=4)[0].columns
    assert {cell.name for cell in cells[:2]} == {"number", "free"}
    assert cells[0].share + cells[1].share > 0.9
    assert min(cells[0].share, cells[1].share) > 0.3


def test_reasons_depend_neither_on_other_rows_nor_on_units_nor_on_saving(detector, tmp_path):
    rows = letters(30, 2)
    together = detector.explain(rows, top=4)
    alone = detector.explain(rows.iloc[[7]], top=4)[0].to_dict()
    assert together[7].to_dict() == alone | {"row": 7}
    detector.save(tmp_path / "detector")
    assert ist.load(tmp_path / "detector").explain(rows, top=4).to_dict() == together.to_dict()
    scaled = ist.AnomalyDetector(random_state=0).fit(letters(2500, 0).assign(number=lambda t: 1e6 * t["number"]))
    for one, other in zip(odds(detector, rows), odds(scaled, rows.assign(number=1e6 * rows["number"])), strict=True):
        assert other == pytest.approx(one, abs=0.05)
