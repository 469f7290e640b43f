"""What scores mean and where to cut: ranks, Benjamini-Hochberg, rules fixed once."""

from __future__ import annotations

import json
import math
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from isthmus.apps.anomaly.calibration import Calibration, benjamini_hochberg
from isthmus.apps.anomaly.decisions import Cut, OperatingCurve, decide
from isthmus.apps.displays import OperatingCurveDisplay
from isthmus.apps.words import percent
from isthmus.errors import DataError, DataWarning, SettingError

DATA = Path(os.environ.get("ISTHMUS_DATA", Path(__file__).parents[1] / ".." / "shared" / "data"))


def dirty(rng: np.random.Generator, n: int, share: float, shift: float = 12.0) -> tuple[np.ndarray, np.ndarray]:
    """Return exponential scores, a share of them moved up, and which those are."""
    odd = np.arange(n) < round(share * n)
    return rng.exponential(size=n) + shift * odd, odd


# -- p-values


@pytest.mark.parametrize("ties", [False, True])
def test_a_p_value_is_a_rank_among_the_calibration_rows(ties: bool) -> None:
    rng = np.random.default_rng(0)
    known, new = rng.normal(size=200), rng.normal(size=300)
    if ties:
        known, new = np.round(known, 1), np.round(new, 1)
    expected = [(1 + sum(c >= s for c in known)) / 201 for s in new]
    np.testing.assert_array_equal(Calibration(known).p_values(new), expected)


@pytest.mark.parametrize("values", [[1, 2, 3, 4, 5, 6, 7], [1, 2, 2, 2, 3, 3, 9], [4, 4, 4, 4, 4, 4, 4]])
def test_no_level_is_exceeded_whichever_of_exchangeable_rows_is_the_new_one(values: list[int]) -> None:
    pool = np.array(values, float)
    p = np.array([Calibration(np.delete(pool, i)).p_values(pool[i : i + 1])[0] for i in range(len(pool))])
    for k in range(1, len(pool) + 1):
        share = (p <= k / len(pool) + 1e-12).mean()
        assert share <= k / len(pool) + 1e-12
        if len(set(values)) == len(pool):
            assert share == pytest.approx(k / len(pool))  # exact without ties


def test_rejections_are_those_of_scipy() -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        p = rng.beta(rng.choice([0.2, 1.0]), 1, rng.integers(1, 60))
        if rng.random() < 0.5:
            p = np.ceil(p * 20) / 20  # ties
        fdr = rng.choice([0.05, 0.1, 0.3])
        np.testing.assert_array_equal(benjamini_hochberg(p, fdr), stats.false_discovery_control(p) <= fdr)
    assert benjamini_hochberg(np.empty(0), 0.1).shape == (0,)


def test_batches_keep_the_false_discovery_rate_and_find_nearly_all_that_can_be_found() -> None:
    rng = np.random.default_rng(2)
    false, recall = [], []
    for _ in range(300):
        known = Calibration(rng.exponential(size=1000))
        batch, odd = dirty(rng, 500, 0.1, shift=6.0)
        flagged = known.detect(batch, 0.1)
        false.append((flagged & ~odd).sum() / max(flagged.sum(), 1))
        recall.append((flagged & odd).sum() / odd.sum())
    error = np.std(false) / math.sqrt(len(false))
    assert (
        abs(np.mean(false) - 0.09) < 4 * error
    )  # pi_0 times the level (Benjamini 1995; Bates 2023), less the steps of p
    assert np.mean(recall) > 0.95


def test_a_new_calibration_makes_up_for_scores_that_have_moved() -> None:
    rng = np.random.default_rng(3)
    old, moved = Calibration(rng.exponential(size=999)), rng.exponential(size=20_999) + 1
    assert (old.p_values(moved) <= 0.01).mean() > 0.02
    assert (Calibration(moved[:999]).p_values(moved[999:]) <= 0.01).mean() == pytest.approx(0.01, abs=0.01)
    assert Calibration(moved).smallest_p == 1 / 21_000


# -- cuts


def test_a_score_is_above_the_cut_exactly_where_its_p_value_is_small_enough() -> None:
    rng = np.random.default_rng(4)
    for n in (1, 9, 99, 250):
        known = Calibration(np.round(dirty(rng, n, 0.1)[0], 1))
        scores = np.unique(np.concatenate([known.scores, np.nextafter(known.scores, np.inf), [-1.0, 99.0]]))
        p = known.p_values(scores)
        for level in np.concatenate([np.unique(p), rng.random(20)]):
            if level >= known.smallest_p:
                np.testing.assert_array_equal(scores > known.score_at(level), p <= level)


@pytest.mark.parametrize("alpha", [0.1, 0.05, 0.01, 1 / 3])
def test_alpha_flags_that_share_of_fresh_rows_on_average(alpha: float) -> None:
    n = 299
    pool = np.random.default_rng(5).permutation(n + 1).astype(float)
    flagged = [
        decide(Calibration(np.delete(pool, i)), "alpha", alpha=alpha).flags(pool[i : i + 1]) for i in range(n + 1)
    ]
    assert np.mean(flagged) == math.floor(alpha * (n + 1) + 1e-9) / (n + 1)
    cut = decide(Calibration(pool[:n]), "alpha", alpha=alpha)
    assert cut.false_alarm_rate == pytest.approx(np.mean(flagged))


def test_too_few_rows_for_alpha_are_said_so_and_only_what_tops_them_all_is_flagged() -> None:
    known = Calibration(np.arange(50.0))
    with pytest.warns(
        DataWarning, match=r"alpha=0\.01 is less than 0\.02, the least that 50 calibration rows can show"
    ):
        cut = decide(known, "alpha", alpha=0.01)
    assert cut.score == 49
    assert cut.flags(np.array([49.0, 49.1])).tolist() == [False, True]
    assert cut.false_alarm_rate == 1 / 51


def test_contamination_flags_that_share_of_the_calibration_rows() -> None:
    scores = np.random.default_rng(6).normal(size=400)
    for share in (0.01, 0.1, 0.25, 0.5):
        cut = decide(Calibration(scores), "contamination", contamination=share)
        assert cut.flags(scores).sum() == round(share * 400)
        assert cut.flagged == share
    assert decide(Calibration(scores), contamination=0.1) == decide(
        Calibration(scores), "contamination", contamination=0.1
    )
    assert decide(Calibration(np.repeat([1.0, 2.0], 50)), "contamination", contamination=0.1).flagged == 0  # ties: less
    with pytest.warns(DataWarning, match="contamination=0.001 of 400 rows is less than one row"):
        decide(Calibration(scores), "contamination", contamination=0.001)


def test_a_number_is_taken_as_it_is() -> None:
    cut = decide(Calibration(np.arange(10.0)), 6.5)
    assert (cut.score, cut.rule, cut.flagged, cut.false_alarm_rate) == (6.5, "number", 0.3, 4 / 11)


@pytest.mark.parametrize("share", [0.03, 0.1])
def test_the_cut_by_fdr_is_that_of_the_batch_and_serves_new_rows_like_it(share: float) -> None:
    rng = np.random.default_rng(7)
    false, recall = [], []
    for _ in range(40):
        known, (batch, odd) = Calibration(rng.exponential(size=2000)), dirty(rng, 2000, share)
        cut = decide(known, "fdr", fdr=0.1, batch=batch)
        assert cut.rule == "fdr"
        assert cut.sentence.startswith(f"{percent(cut.flagged)} of the batch stand out")
        np.testing.assert_array_equal(cut.flags(batch), known.detect(batch, 0.1))
        fresh, odd = dirty(rng, 4000, share)
        false.append((cut.flags(fresh) & ~odd).sum() / cut.flags(fresh).sum())
        recall.append(cut.flags(fresh)[odd].mean())
    assert np.mean(false) < 0.1 + 3 * np.std(false) / math.sqrt(40)
    assert np.mean(recall) > 0.99


@pytest.mark.parametrize("batch", [False, True])
def test_clean_rows_are_cut_at_alpha(batch: bool) -> None:
    rng = np.random.default_rng(9)
    known, more = Calibration(rng.exponential(size=2000)), rng.exponential(size=300) if batch else None
    cut = decide(known, "fdr", fdr=0.1, alpha=0.02, batch=more)
    assert cut.rule == "alpha"
    assert cut.score == decide(known, "alpha", alpha=0.02).score
    assert cut.flags(rng.exponential(size=50_000)).mean() == pytest.approx(0.02, abs=0.01)
    assert ("Nothing in the batch stands out" in cut.sentence) == batch


def test_calibration_rows_held_against_themselves_show_nothing_whatever_they_are() -> None:
    rng = np.random.default_rng(10)
    for share in (0.0, 0.1, 0.5):
        known = Calibration(dirty(rng, 1000, share)[0])
        assert not known.detect(known.scores, 0.5).any()


def test_contamination_is_that_of_the_batch_where_there_is_one() -> None:
    rng = np.random.default_rng(11)
    known, (batch, odd) = Calibration(rng.exponential(size=500)), dirty(rng, 300, 0.1, shift=50)
    cut = decide(known, "contamination", contamination=0.1, batch=batch)
    np.testing.assert_array_equal(cut.flags(batch), odd)
    assert (cut.flagged, cut.false_alarm_rate) == (pytest.approx(0.1), 1 / 501)


@pytest.mark.parametrize("shares", [(0.02, 0.05), (0.1, 0.2)])
def test_anomalies_among_the_calibration_rows_hide_others_but_flag_nothing_wrongly(shares) -> None:
    rng = np.random.default_rng(12)
    share, level = shares
    alarms, power = [], []
    for _ in range(60):
        known = Calibration(dirty(rng, 1000, share)[0])
        alarms.append((known.p_values(rng.exponential(size=2000)) <= level).mean())
        power.append((known.p_values(rng.exponential(size=200) + 12) <= share / 2).mean())
    # of the ranks up to the level, the anomalies take their share
    assert np.mean(alarms) == pytest.approx((level - share) / (1 - share), abs=4 * np.std(alarms) / math.sqrt(60))
    assert np.mean(power) == pytest.approx(0.5, abs=0.1)  # half of them lie above a new one


@pytest.mark.parametrize("known", [np.ones(100), np.r_[np.zeros(90), np.arange(10)], np.array([3.0])])
def test_ties_flag_no_more_than_is_allowed(known: np.ndarray) -> None:
    calibration = Calibration(known)
    for alpha in (0.5, 0.2, 0.11, 0.02):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)
            cut = decide(calibration, "alpha", alpha=alpha)
        assert cut.flagged <= alpha
        assert not cut.flags(np.full(3, known.min())).any()
    assert calibration.p_values(np.full(2, known.min())).tolist() == [1, 1]


def test_rows_out_of_bag_are_no_less_odd_than_new_ones() -> None:
    rng = np.random.default_rng(15)
    shares = []
    for _ in range(60):
        train, fresh = rng.normal(size=(80, 8)), rng.normal(size=(500, 8))
        outside, new = np.zeros(80), np.zeros(500)
        for _ in range(4):
            order = rng.permutation(80)
            for inside, rest in ((order[:40], order[40:]), (order[40:], order[:40])):
                mean, inverse = train[inside].mean(0), np.linalg.inv(np.cov(train[inside].T))
                outside[rest] += distance(train[rest] - mean, inverse) / 4  # by the half that has not seen it
                new += distance(fresh - mean, inverse) / 8
        shares.append((Calibration(outside).p_values(new) <= 0.1).mean())
    assert 0.05 < np.mean(shares) < 0.1 + 2 * np.std(shares) / math.sqrt(60)


def distance(away: np.ndarray, inverse: np.ndarray) -> np.ndarray:
    return np.sqrt(np.einsum("ij,jk,ik->i", away, inverse, away))


def test_clean_halves_of_real_tables_raise_few_false_alarms() -> None:
    files = sorted((DATA / "adbench").glob("*.npz"))
    if not files:
        pytest.skip("the development data adbench is not at hand (set ISTHMUS_DATA to its folder)")
    from sklearn.neighbors import NearestNeighbors

    alarms = rows = 0
    for file in files:
        with np.load(file) as data:
            X = data["X"][data["y"].ravel() == 0].astype(float)
        X = np.random.default_rng(0).permutation((X - X.mean(0)) / np.where(X.std(0) > 0, X.std(0), 1))[:6000]
        train, fresh = np.array_split(X, 2)
        index = NearestNeighbors(n_neighbors=5).fit(train[len(train) // 3 :])
        known, new = (index.kneighbors(part)[0].mean(1) for part in (train[: len(train) // 3], fresh))
        rows += len(new)
        alarms += (Calibration(known).p_values(new) <= 0.01).sum()
    assert rows >= 20_000
    assert alarms <= 0.0125 * rows


# -- the curve, and what is said of bad input


def test_the_curve_states_what_each_cut_costs() -> None:
    rng = np.random.default_rng(16)
    known, (batch, _) = Calibration(rng.exponential(size=1000)), dirty(rng, 500, 0.05)
    chosen = decide(known, batch=batch)
    curve = OperatingCurve.of(known, chosen, batch, points=20)
    assert (np.diff(curve.cuts) < 0).all()
    assert (np.diff(curve.false_alarm_rate) > 0).all()
    fresh = rng.exponential(size=100_000)
    np.testing.assert_allclose([(fresh > cut).mean() for cut in curve.cuts], curve.false_alarm_rate, atol=0.05)
    np.testing.assert_allclose([(batch > cut).mean() for cut in curve.cuts], curve.flagged)
    said = json.loads(json.dumps(curve.to_dict(), allow_nan=False))
    assert said["chosen"]["score"] == chosen.score
    assert len(said["cuts"]) == len(said["flagged"]) == len(curve.cuts)


def test_the_curve_is_drawn_with_the_cut_in_use() -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    known = Calibration(np.random.default_rng(18).exponential(size=200))
    display = OperatingCurveDisplay(OperatingCurve.of(known, decide(known))).plot()
    assert [line.get_label() for line in display.ax_.lines][-1] == "alpha"
    matplotlib.pyplot.close(display.figure_)


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda k: Calibration(np.empty(0)), DataError, "No calibration scores were given"),
        (lambda k: Calibration(np.array([1.0, np.nan])), DataError, "The score of row 1 is nan"),
        (lambda k: Calibration(np.ones((2, 2))), DataError, r"one number a row, \(n,\), but these are \(2, 2\)"),
        (lambda k: k.p_values(np.array([np.inf])), DataError, "The score of row 0 is inf"),
        (lambda k: k.detect(np.ones(3), fdr=1.5), SettingError, "fdr=1.5 must be a share between 0 and 1"),
        (lambda k: decide(k, "alpha", alpha=0), SettingError, "alpha=0 must be a share"),
        (lambda k: decide(k, "fdr", fdr=1), SettingError, "fdr=1 must be a share"),
        (lambda k: decide(k, "fdr", batch=np.array([np.nan])), DataError, "The score of row 0 is nan"),
        (lambda k: decide(k, "contamination"), SettingError, "needs contamination="),
        (lambda k: decide(k, "contamination", contamination=1), SettingError, "contamination=1 must be a share"),
        (
            lambda k: decide(k, "knee"),
            SettingError,
            "threshold='knee' is not known; use one of fdr, alpha, contamination",
        ),
        (lambda k: decide(k, math.nan), SettingError, "threshold=nan must be a finite score"),
        (lambda k: decide(k, True), SettingError, "threshold=True is not known"),
    ],
)
def test_bad_input_is_named(call, error, said: str) -> None:
    with pytest.raises(error, match=said):
        call(Calibration(np.arange(100.0)))


def test_a_cut_is_plain_data() -> None:
    cut = decide(Calibration(np.arange(200.0)))
    assert Cut(**json.loads(json.dumps(cut.to_dict()))) == cut


# -- smoothed p-values


def test_smoothed_p_values_are_uniform_ties_included() -> None:
    """P(p <= a) = a: 9 calibration scores and one new, whole numbers from 0 to 3; plain ranks stay below."""
    rng, repeats = np.random.default_rng(0), 20_000
    found = np.empty((repeats, 2))
    for place, scores in enumerate(rng.integers(0, 4, (repeats, 10)).astype(float)):
        made = Calibration(scores[1:])
        found[place] = made.p_values(scores[:1], rng)[0], made.p_values(scores[:1])[0]
    for alpha in (0.03, 0.1, 0.37, 0.8):
        smoothed, plain = (found <= alpha).mean(0)
        assert abs(smoothed - alpha) < 4 * np.sqrt(alpha * (1 - alpha) / repeats)
        assert plain < smoothed


def test_smoothed_p_values_lie_within_the_step_of_a_rank() -> None:
    made, scores = Calibration(np.array([1.0, 2, 2, 3])), np.array([0.0, 1, 2, 2.5, 3, 9])
    p = made.p_values(scores, np.random.default_rng(0))
    above, at_least = np.array([4, 3, 1, 1, 0, 0]), np.array([4, 4, 3, 1, 1, 0])
    assert (p >= above / 5).all()
    assert (p <= (1 + at_least) / 5).all()
    u = np.random.default_rng(0).uniform(size=6)
    np.testing.assert_allclose(p, (above + u * (1 + at_least - above)) / 5)


@pytest.mark.parametrize("anomalies", [0, 3])
def test_smoothed_false_discoveries_are_exactly_the_share_asked_for_times_that_of_normal_rows(anomalies: int) -> None:
    """FDR = q m0 / m (Benjamini 2001, with equality for uniform p-values); plain ranks of 19 rows cannot reach .1 of ten."""
    rng, repeats, q, m = np.random.default_rng(1), 20_000, 0.1, 10
    wrong, right = np.zeros((2, repeats, 2))
    for place in range(repeats):
        made, batch = Calibration(rng.normal(size=19)), rng.normal(size=m)
        batch[:anomalies] += 100
        for kind, flagged in enumerate((made.detect(batch, q, rng), made.detect(batch, q))):
            wrong[place, kind] = flagged[anomalies:].sum() / max(flagged.sum(), 1)
            right[place, kind] = flagged[:anomalies].sum()
    error = wrong.std(0) / np.sqrt(repeats)
    expected = q * (m - anomalies) / m
    assert abs(wrong[:, 0].mean() - expected) < 4 * error[0]
    assert wrong[:, 1].mean() < expected - 4 * error[1]
    assert right[:, 0].sum() >= right[:, 1].sum() + bool(anomalies)
