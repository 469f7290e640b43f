"""The detector on series: bags that share no points, each head against its definition, planted faults, gaps, folders."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import isthmus as ist
from isthmus.apps.anomaly.bags import halves, seen
from isthmus.apps.anomaly.conditional import Conditional, coarse, filled, moments
from isthmus.apps.anomaly.series import by_point, coverage, longest_repeats
from isthmus.apps.displays import PointScoresDisplay
from isthmus.data.rows import DenseRows
from isthmus.data.series import average
from isthmus.errors import DataError
from isthmus.layout import Layout

LENGTH = 12


def waves(points: int = 900, seed: int = 0) -> np.ndarray:
    """Return (points, 3): two channels that go together and one of its own, in different units."""
    rng, t = np.random.default_rng(seed), np.arange(points)
    one, other = np.sin(t / 5) + 0.3 * np.sin(t / 31), np.cos(t / 9)
    clean = np.stack([10 * one + 40, 10 * one - 3 * other, other], 1)
    return clean + rng.normal(size=clean.shape) * [0.5, 0.5, 0.05]


@pytest.fixture(scope="module")
def detector() -> ist.AnomalyDetector:
    return ist.AnomalyDetector(novelty=True, random_state=0).fit(ist.Series(waves(), LENGTH))


# -- bags


@pytest.mark.parametrize(("n", "overlap"), [(300, 23), (150, 23), (1000, 5), (999, 0)])
def test_every_window_is_judged_by_bags_that_share_no_point_with_it(n: int, overlap: int) -> None:
    bags = halves(np.arange(n), 8, 10**6, np.random.default_rng(0), overlap)
    known = seen(bags, n, overlap)
    apart = abs(np.arange(n)[:, None] - np.arange(n))
    for bag, mine in zip(bags, known, strict=True):
        np.testing.assert_array_equal(mine, (apart[:, bag] <= overlap).any(1))
    assert not known.all(0).any()
    for first, second in zip(bags[::2], bags[1::2], strict=True):
        assert apart[np.ix_(first, second)].min() > overlap
    assert len({len(bag) for bag in bags}) == 1


def test_a_series_too_short_for_its_windows_says_so() -> None:
    with pytest.raises(DataError, match="shorter windows"):
        ist.AnomalyDetector(random_state=0).fit(ist.Series(waves(60), 24))


# -- heads


def test_the_conditional_distance_is_that_of_gaussian_conditioning() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 6)) @ rng.normal(size=(6, 6))
    rows = DenseRows(X.reshape(-1, 3, 2).astype(np.float32))
    head = Conditional.learn(rows, Layout((3, 2)), [np.arange(400)])
    covariance, mean = np.linalg.inv(head.precisions[0]), head.means[0]
    found = head.of(rows)
    for channel in range(2):
        own, rest = np.arange(channel, 6, 2), np.arange(1 - channel, 6, 2)
        gain = covariance[np.ix_(own, rest)] @ np.linalg.inv(covariance[np.ix_(rest, rest)])
        apart = (X - mean)[:, own] - (X - mean)[:, rest] @ gain.T
        inner = covariance[np.ix_(own, own)] - gain @ covariance[np.ix_(rest, own)]
        expected = (apart @ np.linalg.inv(inner) * apart).sum(1)
        np.testing.assert_allclose(found[:, channel], expected, rtol=1e-3)


def test_gaps_take_their_conditional_mean() -> None:
    rng = np.random.default_rng(1)
    X = rng.normal(size=(200, 5)) @ rng.normal(size=(5, 5))
    _, precision = moments(X)
    apart = X - X.mean(0)
    gaps = rng.random(X.shape) < 0.3
    found = filled(np.where(gaps, np.nan, apart), precision)
    for row, hole, done in zip(apart, gaps, found, strict=True):
        inner, outer = precision[np.ix_(hole, hole)], precision[np.ix_(hole, ~hole)]
        np.testing.assert_allclose(done[hole], -np.linalg.solve(inner, outer @ row[~hole]), rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(done[~hole], row[~hole])


def test_long_windows_are_averaged_over_what_was_observed() -> None:
    x = np.arange(10.0)[None]  # five points, two channels
    observed = np.ones((1, 10), bool)
    observed[0, [2, 8]] = False
    np.testing.assert_array_equal(coarse(x, observed, 2, 2)[0], [0, 2, 5, 6, np.nan, 9])


def test_repeats_are_counted_and_gaps_and_pauses_of_all_channels_are_none() -> None:
    window = np.array([[1, 0], [1, 1], [1, 1], [1, 1], [1, 2], [2, 2]], np.float32)
    observed = np.ones((2, 6, 2), bool)
    observed[1, 2, 0] = False
    rows = DenseRows(np.stack([window, window]), observed)
    np.testing.assert_array_equal(longest_repeats(rows, 2), [[4, 2], [1, 2]])
    np.testing.assert_array_equal(longest_repeats(DenseRows(window[None]), 2, alone=True), [[1, 1]])


# -- points


def test_a_point_has_the_mean_score_of_the_windows_that_cover_it(detector: ist.AnomalyDetector) -> None:
    series = ist.Series(waves(200, seed=3), LENGTH)
    found = detector.point_scores(series)
    windows = detector.anomaly_score(series)
    for point in (0, 5, 50, 199):
        cover = windows[max(0, point - LENGTH + 1) : point + 1]
        assert found.scores[point] == pytest.approx(cover.mean())
    np.testing.assert_allclose(found.channels.sum(1), found.scores)
    np.testing.assert_array_equal(np.flatnonzero(~found.warm_up), np.arange(LENGTH - 1, 200 - LENGTH + 1))


@pytest.mark.parametrize(("total", "step"), [(50, 1), (50, 5), (53, 7)])
def test_coverage_counts_the_windows_that_are_averaged(total: int, step: int) -> None:
    count = (total - LENGTH) // step + 1
    covers = coverage(count, total, LENGTH, step)
    ones = average(np.ones((count, LENGTH, 1)), total, step)[:, 0]
    np.testing.assert_array_equal(covers > 0, ~np.isnan(ones))
    np.testing.assert_array_equal(
        covers, [sum(s * step <= t < s * step + LENGTH for s in range(count)) for t in range(total)]
    )


def test_runs_of_windows_are_the_means_of_fully_covered_points() -> None:
    scores = np.random.default_rng(0).random(40)
    folded = average(np.repeat(scores[:, None, None], LENGTH, 1), 40 + LENGTH - 1)[:, 0]
    np.testing.assert_allclose(by_point(scores, LENGTH, 1), folded[LENGTH - 1 : -LENGTH + 1])


# -- planted faults


def faulty(kind: str) -> tuple[np.ndarray, slice, int]:
    """Return a new series with a fault, where it is, and in which channel."""
    values = waves(400, seed=7)
    place = slice(200, 201 if kind == "spike" else 230)
    if kind == "spike":
        values[place, 0] += 40
    elif kind == "shift":
        values[place, 1] += 12
    elif kind == "frozen":
        values[place, 2] = values[199, 2]
    else:
        values[place, [0, 1]] = values[place, [1, 0]]
    return values, place, {"spike": 0, "shift": 1, "frozen": 2, "swapped": 0}[kind]


@pytest.mark.parametrize("kind", ["spike", "shift", "frozen", "swapped"])
def test_a_planted_fault_has_the_highest_score_and_its_channel_is_named(
    detector: ist.AnomalyDetector, kind: str
) -> None:
    values, place, channel = faulty(kind)
    found = detector.point_scores(ist.Series(values, LENGTH))
    assert place.start <= np.nanargmax(found.scores) < place.stop
    (event,) = [event for event in found.events(0.002) if event.start < place.stop and event.stop > place.start]
    assert event.channel in ((0, 1) if kind == "swapped" else (channel,))
    outside = np.r_[found.scores[: place.start - LENGTH], found.scores[place.stop + LENGTH :]]
    assert found.scores[place].max() > outside.max()


def test_the_default_mode_finds_a_fault_among_what_it_learned_from() -> None:
    values = waves()
    values[500:525, 2] = values[500, 2]
    values[700, 1] += 40
    found = ist.AnomalyDetector(random_state=0).fit(ist.Series(values, LENGTH)).point_scores(values)
    top = np.argsort(-found.scores)[:10]
    assert set(np.where(top < 600, 500, 700)) <= {500, 700}
    for place in (slice(500, 525), slice(700, 701)):
        assert found.p_values[place].min() < 0.02


def test_p_values_of_new_points_are_spread_as_those_of_training_points() -> None:
    shares = []
    for seed in range(2):
        detector = ist.AnomalyDetector(novelty=True, random_state=seed).fit(ist.Series(waves(1500, seed=seed), LENGTH))
        found = detector.point_scores(ist.Series(waves(1500, seed=100 + seed), LENGTH))
        shares.append((found.p_values[~found.warm_up] <= 0.05).mean())
    assert (
        np.mean(shares) <= 0.08
    )  # neighbouring points go together: 3,000 of them are some 250 independent ones, +-.014


# -- gaps, channels, folders


def test_gaps_are_no_faults_and_do_not_hide_one(detector: ist.AnomalyDetector) -> None:
    values = waves(400, seed=7)
    values[100:140, 1] = np.nan
    values[np.random.default_rng(0).random(values.shape) < 0.05] = np.nan
    values[300, 0] = 90.0
    found = detector.point_scores(ist.Series(values, LENGTH))
    assert np.isfinite(found.scores).all()
    assert np.argmax(found.scores) == 300
    assert found.p_values[105:135].min() > 0.001
    learned = ist.AnomalyDetector(random_state=0).fit(ist.Series(values, LENGTH))
    assert np.argmax(learned.point_scores(values).scores) == 300


def test_one_channel_and_a_wider_step_will_do() -> None:
    values = waves(2000)[:, 0]
    detector = ist.AnomalyDetector(novelty=True, random_state=0).fit(ist.Series(values, LENGTH, step=3))
    values = values.copy()
    values[1000] += 30
    found = detector.point_scores(values)
    assert abs(int(np.nanargmax(found.scores)) - 1000) <= 3
    assert np.isnan(found.p_values).sum() == np.isnan(found.scores).sum() <= 2


def test_a_saved_detector_gives_the_same_points(detector: ist.AnomalyDetector, tmp_path: Path) -> None:
    series = ist.Series(faulty("frozen")[0], LENGTH)
    detector.save(tmp_path / "model")
    before, after = detector.point_scores(series), ist.load(tmp_path / "model").point_scores(series)
    np.testing.assert_array_equal(before.scores, after.scores)
    np.testing.assert_array_equal(before.p_values, after.p_values)
    np.testing.assert_array_equal(before.channels, after.channels)
    assert json.loads(json.dumps(before.to_dict())) == after.to_dict()


def test_the_display_marks_what_stands_out(detector: ist.AnomalyDetector) -> None:
    points = detector.point_scores(ist.Series(faulty("spike")[0], LENGTH))
    display = PointScoresDisplay(points, alpha=0.002).plot()
    assert len(display.ax_.patches) == len(points.events(0.002)) >= 1
    assert np.isfinite(display.ax_.lines[0].get_ydata()).sum() == points.warm_up.sum() == 2 * (LENGTH - 1)


def test_an_autoencoder_of_windows_judges_points_too() -> None:
    ae = ist.Autoencoder(latent_dim=4, max_epochs=20, random_state=0, verbose=False)
    detector = ist.AnomalyDetector(ae, novelty=True, random_state=0).fit(ist.Series(waves(), LENGTH))
    found = detector.point_scores(ist.Series(faulty("spike")[0], LENGTH))
    assert abs(int(np.argmax(found.scores)) - 200) < LENGTH
    assert found.channels.shape == (400, 3)


def test_rows_of_a_table_have_no_points() -> None:
    detector = ist.AnomalyDetector(random_state=0).fit(np.random.default_rng(0).normal(size=(100, 3)))
    with pytest.raises(DataError, match="no points in time"):
        detector.point_scores(np.zeros((50, 3)))
