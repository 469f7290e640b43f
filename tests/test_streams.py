"""Rows that keep coming: what is updated, what is not, and whether drift is seen where it is, and only there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import isthmus as ist
from isthmus.apps.anomaly.streams import RECENT, holm, measure_drift, reference_of, renewed
from isthmus.data.rows import DenseRows
from isthmus.errors import SettingError

MIX = np.random.default_rng(5).normal(size=(5, 5))


def draw(seed: int, n: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 5)) @ MIX


@pytest.fixture(scope="module")
def fitted() -> ist.AnomalyDetector:
    return ist.AnomalyDetector(novelty=True, random_state=0).fit(draw(0, 600))


def copy_of(detector: ist.AnomalyDetector, folder: Path) -> Any:
    detector.save(folder / "copy")
    return ist.load(folder / "copy")


# -- learning on


def test_the_first_partial_fit_is_fit() -> None:
    X = draw(0, 200)
    first, second = (ist.AnomalyDetector(random_state=3) for _ in range(2))
    np.testing.assert_array_equal(first.partial_fit(X).anomaly_score(X), second.fit(X).anomaly_score(X))


def test_a_batch_enters_the_calibration_with_the_scores_it_had_before_it_was_seen(
    fitted: ist.AnomalyDetector, tmp_path: Path
) -> None:
    later, new = copy_of(fitted, tmp_path), draw(1, 300)
    expected = np.sort(np.concatenate([fitted.calibration_.scores, fitted.anomaly_score(new)]))
    np.testing.assert_array_equal(later.partial_fit(new).calibration_.scores, expected)
    assert later.n_seen_ == 900
    assert later.threshold_ == later.calibration_.score_at(0.01)


def test_autoencoders_stay_and_samples_and_counts_go_on(fitted: ist.AnomalyDetector, tmp_path: Path) -> None:
    later, probe = copy_of(fitted, tmp_path), draw(2, 50)
    before = later.judge_.cells(later._rows(probe))
    counts = [h.counts.sum() for h in later.judge_.heads["rarity"].histograms]
    later.partial_fit(draw(1, 300))
    after = later.judge_.cells(later._rows(probe))
    np.testing.assert_array_equal(before["residual"], after["residual"])
    assert (before["distance"] != after["distance"]).any()
    assert [h.counts.sum() for h in later.judge_.heads["rarity"].histograms] == [count + 300 for count in counts]
    np.testing.assert_array_equal(later.reference_, fitted.reference_)


def test_a_sample_holds_new_rows_in_their_share(fitted: ist.AnomalyDetector, tmp_path: Path) -> None:
    later = copy_of(fitted, tmp_path)
    old = later.judge_.heads["distance"].samples.copy()
    for seed in range(4):
        later.partial_fit(draw(10 + seed, 300))
    new = (later.judge_.heads["distance"].samples != old).any(-1)
    share, number = 1 - 600 / 1800, new.size
    assert abs(new.mean() - share) < 5 * np.sqrt(share * (1 - share) / number)


def test_a_full_reservoir_forgets_at_random_and_keeps_its_size() -> None:
    old, new = np.zeros(RECENT), np.ones(500)
    rng = np.random.default_rng(0)
    for batch in range(4):
        old = renewed(old, new + batch, rng)
        assert len(old) == RECENT
    left = [(old == 1 + batch).sum() for batch in range(4)]
    expected = [500 * (1 - 500 / RECENT) ** (3 - batch) for batch in range(4)]
    np.testing.assert_allclose(left, expected, atol=5 * np.sqrt(500 * 0.15))
    assert left[3] == 500


def test_after_a_shift_the_stream_goes_on_with_as_few_alarms_as_before(
    fitted: ist.AnomalyDetector, tmp_path: Path
) -> None:
    later, moved = copy_of(fitted, tmp_path), np.array([3.0, 0, 0, 0, 0]) * MIX.std()
    alarms = (later.p_values(draw(20, 1000) + moved) <= 0.05).mean()
    for seed in range(6):
        later.partial_fit(draw(30 + seed, 2000) + moved)
    assert alarms > 0.2
    assert (later.p_values(draw(21, 1000) + moved) <= 0.05).mean() < 0.08


def test_a_stream_is_the_same_after_saving(fitted: ist.AnomalyDetector, tmp_path: Path) -> None:
    later = copy_of(fitted, tmp_path).partial_fit(draw(1, 300))
    again = copy_of(later, tmp_path / "later")
    for detector in (later, again):
        detector.partial_fit(draw(2, 100))
    probe = draw(3, 100)
    np.testing.assert_array_equal(later.p_values(probe), again.p_values(probe))
    np.testing.assert_array_equal(later.anomaly_score(probe), again.anomaly_score(probe))
    assert later.drift(probe).to_dict() == again.drift(probe).to_dict()


def test_a_series_goes_on_too() -> None:
    values = np.random.default_rng(0).normal(size=(600, 2)).cumsum(0) * 0.1
    values -= np.linspace(0, 1, 600)[:, None] * values[-1]
    detector = ist.AnomalyDetector(novelty=True, random_state=0).fit(ist.Series(values[:400], 10))
    before = len(detector.point_calibration_.scores)
    detector.partial_fit(ist.Series(values[400:], 10))
    assert len(detector.calibration_.scores) == 391 + 191
    assert len(detector.point_calibration_.scores) == before + 191 - 9


# -- drift


def test_holm_is_the_step_down_procedure() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        p = rng.random(7) ** 3
        adjusted, rejected = holm(p), np.zeros(7, bool)
        for alpha in (0.01, 0.05, 0.2):
            rejected[:] = False
            for rank, place in enumerate(np.argsort(p)):
                if p[place] > alpha / (7 - rank):
                    break
                rejected[place] = True
            np.testing.assert_array_equal(adjusted <= alpha, rejected)


def test_p_values_of_columns_are_those_of_scipy(fitted: ist.AnomalyDetector) -> None:
    new = draw(8, 400)
    x = fitted._rows(new).take(slice(None))[0].numpy()
    found = {moved.column: moved.p_value for moved in fitted.drift(new).columns}
    for column in range(5):
        expected = stats.ks_2samp(fitted.reference_[:, column], x[:, column])[1]
        assert found[f"column {column}"] == pytest.approx(expected)


def test_a_shift_in_one_column_is_seen_and_named(fitted: ist.AnomalyDetector) -> None:
    new = draw(9, 500)
    spread = new[:, 3].std()
    new[:, 3] += 0.6 * spread
    found = fitted.drift(new)
    assert found.drifted
    assert [moved.column for moved in found.columns if moved.adjusted <= 0.01] == ["column 3"]
    assert found.columns[0].shift == pytest.approx(0.6, abs=0.25)
    assert "column 3 has moved" in found.sentence
    json.dumps(found.to_dict())


def test_rows_whose_columns_no_longer_go_together_are_seen_by_their_scores(fitted: ist.AnomalyDetector) -> None:
    new = np.stack([np.random.default_rng(i).permutation(column) for i, column in enumerate(draw(9, 1000).T)], 1)
    found = fitted.drift(new)
    assert found.scores_p_value < 0.01
    assert min(moved.adjusted for moved in found.columns) > 0.01
    assert "go together" in found.sentence


def test_no_more_false_alarms_than_were_asked_for(fitted: ist.AnomalyDetector) -> None:
    """Each time other rows calibrate, other rows are kept and other rows come: 100 times at .05, 4 standard errors."""
    judge, alarms = fitted.judge_, 0
    names = [f"column {i}" for i in range(5)]
    for seed in range(100):
        kept, new = (fitted._rows(draw(1000 + 2 * seed + i, 150)) for i in range(2))
        calibration = type(fitted.calibration_)(judge.score(kept))
        reference = reference_of(kept, judge.columns, np.random.default_rng(seed))
        alarms += measure_drift(reference, judge, calibration, names, new, 0.05).drifted
    assert alarms / 100 <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / 100)


def test_categories_and_gaps_drift_too() -> None:
    rng = np.random.default_rng(0)

    def table(n: int, red: float, gaps: float) -> pd.DataFrame:
        size = rng.normal(size=n)
        size[rng.random(n) < gaps] = np.nan
        return pd.DataFrame(
            {"size": size, "colour": np.where(rng.random(n) < red, "red", "blue"), "age": rng.normal(size=n)}
        )

    detector = ist.AnomalyDetector(random_state=0).fit(table(500, 0.5, 0.05))
    assert not detector.drift(table(400, 0.5, 0.05)).drifted
    colours = detector.drift(table(400, 0.8, 0.05))
    assert colours.columns[0].column == "colour"
    assert colours.columns[0].adjusted < 0.01
    holes = detector.drift(table(400, 0.5, 0.3))
    assert holes.columns[0].column == "size"
    assert "gaps in" in holes.sentence
    with pytest.raises(SettingError, match="alpha"):
        detector.drift(table(50, 0.5, 0.05), alpha=2)


def test_windows_that_overlap_count_once() -> None:
    rows = DenseRows(np.zeros((7, 2), np.float32))
    from isthmus.apps.anomaly.cells import Columns
    from isthmus.layout import Layout

    assert len(reference_of(rows, Columns.of(Layout((2,))), np.random.default_rng(0))) == 7
    series = np.random.default_rng(0).normal(size=(400, 2))
    detector = ist.AnomalyDetector(novelty=True, random_state=0).fit(ist.Series(series, 10))
    assert len(detector.reference_) == 40
    assert detector.drift(ist.Series(series[:105], 10)).rows == 10
