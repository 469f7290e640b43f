"""How plausible a category is beside the other cells of its row."""

import numpy as np
import pandas as pd
import pytest

import isthmus as ist
from isthmus import data
from isthmus.apps.anomaly.cells import Columns
from isthmus.apps.anomaly.plausibility import PLAUSIBILITY, SWAP, Plausibility
from isthmus.errors import DataWarning


def pairs(n: int, agree: float, seed: int) -> pd.DataFrame:
    """Return rows of two letters of four, which agree with this probability and otherwise are any other, and noise."""
    rng = np.random.default_rng(seed)
    first = rng.integers(4, size=n)
    second = np.where(rng.random(n) < agree, first, (first + rng.integers(1, 4, size=n)) % 4)
    letters = np.array(list("abcd"))
    return pd.DataFrame({"first": letters[first], "second": letters[second], "number": rng.normal(size=n)})


@pytest.fixture(scope="module")
def detector() -> ist.AnomalyDetector:
    return ist.AnomalyDetector(novelty=True, random_state=0).fit(pairs(3000, 0.9, 0))


def odds(detector: ist.AnomalyDetector, rows: pd.DataFrame) -> np.ndarray:
    """Return (n, columns) what the head says."""
    return detector.judge_.heads[PLAUSIBILITY].of(detector.codec_.view(rows))


def test_the_odds_are_those_of_the_distribution_that_rows_were_drawn_from():
    codec = data.learn(pairs(12_000, 0.9, 0), scale="columns")
    rows, columns = codec.encode(pairs(12_000, 0.9, 0)), Columns.of_codec(codec)
    head, _ = Plausibility.learn(rows, codec, columns, np.random.default_rng(0))
    agreeing = pd.DataFrame({"first": list("abcd"), "second": list("abcd"), "number": 0.0})
    apart = pd.DataFrame({"first": list("abcd"), "second": list("bcda"), "number": 0.0})
    # p = .9 of one letter: log 1 / (3 * .9) < 0, and of each other letter .1 / 3; next to a cell of another row, 1 / 4
    p = (1 - SWAP) * 0.1 / 3 + SWAP / 4
    np.testing.assert_array_equal(head.of(codec.encode(agreeing)), 0)
    found = head.of(codec.encode(apart))
    np.testing.assert_allclose(found[:, :2], -np.log(3 * p), atol=0.4)
    np.testing.assert_array_equal(found[:, 2], 0)


def test_rows_whose_categories_disagree_are_odd_though_each_category_is_common(detector):
    new = pairs(2000, 0.9, 1)
    disagree = (new["first"] != new["second"]).to_numpy()
    scores = detector.anomaly_score(new)
    order = np.argsort(scores)
    # all four letters are equally common and independent of the number: only their disagreement tells rows apart
    above = np.searchsorted(np.sort(scores[~disagree]), scores[disagree]).mean() / (~disagree).sum()
    assert above > 0.9
    assert disagree[order[-100:]].mean() > 0.8


def test_the_training_rows_are_judged_by_members_that_have_not_seen_them(detector):
    train = pairs(3000, 0.9, 0)
    disagree = (train["first"] != train["second"]).to_numpy()
    fresh = pairs(3000, 0.9, 2)
    odd_then, odd_now = (
        detector.training_scores_[disagree],
        detector.anomaly_score(fresh)[(fresh["first"] != fresh["second"]).to_numpy()],
    )
    assert abs(np.median(odd_then) - np.median(odd_now)) < 0.5


def test_reasons_name_the_categories_that_disagree(detector):
    rows = pd.DataFrame({"first": list("abcd"), "second": list("bcda"), "number": 0.0})
    for reason in detector.explain(rows, top=3):
        assert {cell.name for cell in reason.columns[:2]} == {"first", "second"}
        assert reason.columns[2].share < 0.1


def test_scores_do_not_depend_on_the_other_rows_and_survive_saving(detector, tmp_path):
    rows = pairs(50, 0.9, 3)
    together = detector.anomaly_score(rows)
    alone = np.concatenate([detector.anomaly_score(rows.iloc[[place]]) for place in range(20)])
    np.testing.assert_array_equal(together[:20], alone)
    detector.save(tmp_path / "detector")
    np.testing.assert_array_equal(ist.load(tmp_path / "detector").anomaly_score(rows), together)


def test_a_table_of_numbers_has_no_such_head():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(100, 3)), columns=list("abc"))
    assert PLAUSIBILITY not in ist.AnomalyDetector(random_state=0).fit(table).judge_.heads


def test_gaps_and_letters_that_were_never_seen_are_not_implausible(detector):
    rows = pd.DataFrame({"first": ["a", None, "z"], "second": ["a", "b", "b"], "number": [0.0, 0.0, np.nan]})
    with pytest.warns(DataWarning, match="never seen"):
        found = odds(detector, rows)
    np.testing.assert_array_equal(found[:, [0, 2]], 0)
    np.testing.assert_allclose(found[1:, 1], np.log(4 / 3), atol=0.4)  # of "b" alone is known that it is one of four
