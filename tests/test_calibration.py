"""What scores mean and where to cut: ranks, Benjamini-Hochberg, dirty calibration rows, rules fixed at fit."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from isthmus.apps.anomaly.calibration import FALSELY_ODD, Calibration, benjamini_hochberg, count_odd
from isthmus.apps.anomaly.decisions import Cut, OperatingCurve, decide
from isthmus.apps.displays import OperatingCurveDisplay
from isthmus.apps.words import percent
from isthmus.errors import DataError, DataWarning, SettingError

DATA = Path(os.environ.get("ISTHMUS_DATA", Path(__file__).parents[1] / ".." / "shared" / "data"))
CLEAN = {
    "exponential": lambda rng, n: rng.exponential(size=n),
    "length of a Gaussian": lambda rng, n: np.sqrt(rng.chisquare(10, n)),
    "minus a log-likelihood": lambda rng, n: rng.chisquare(5, n) / 2,
    "uniform": lambda rng, n: rng.random(n),
}


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
    for null in ("plain", "robust"):
        for n in (9, 99, 250):
            known = Calibration(np.round(dirty(rng, n, 0.1)[0], 1), null)
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
    assert decide(Calibration(np.repeat([1.0, 2.0], 50)), "contamination", contamination=0.1).flagged == 0  # ties: less
    with pytest.warns(DataWarning, match="contamination=0.001 of 400 rows is less than one row"):
        decide(Calibration(scores), "contamination", contamination=0.001)


def test_a_number_is_taken_as_it_is() -> None:
    cut = decide(Calibration(np.arange(10.0)), 6.5)
    assert (cut.score, cut.rule, cut.flagged, cut.false_alarm_rate) == (6.5, "number", 0.3, 4 / 11)


@pytest.mark.parametrize("share", [0.03, 0.1])
def test_the_cut_by_fdr_is_that_of_the_calibration_rows_and_serves_new_ones_like_them(share: float) -> None:
    rng = np.random.default_rng(7)
    false = []
    for _ in range(40):
        scores, odd = dirty(rng, 4000, share)
        known = Calibration(scores, "robust")
        cut = decide(known, "fdr", fdr=0.1)
        assert cut.rule == "fdr"
        assert cut.sentence.startswith(f"{percent(cut.flagged)} of the training rows stand out")
        np.testing.assert_array_equal(cut.flags(scores), benjamini_hochberg(known.p_values(scores), 0.1))
        assert cut.flags(scores)[odd].all()
        fresh, odd = dirty(rng, 4000, share)
        false.append((cut.flags(fresh) & ~odd).sum() / cut.flags(fresh).sum())
    assert 0.05 < np.mean(false) < 0.1 + 3 * np.std(false) / math.sqrt(40)


@pytest.mark.parametrize("null", ["plain", "robust"])
def test_clean_rows_are_cut_at_alpha(null) -> None:
    rng = np.random.default_rng(9)
    cut = decide(Calibration(rng.exponential(size=2000), null), "fdr", fdr=0.1, alpha=0.02)
    assert cut.rule == "alpha"
    assert cut.flags(rng.exponential(size=50_000)).mean() == pytest.approx(0.02, abs=0.01)


def test_plain_ranks_of_the_calibration_rows_themselves_show_nothing() -> None:
    scores, _ = dirty(np.random.default_rng(10), 1000, 0.1)
    assert decide(Calibration(scores), "fdr").rule == "alpha"


# -- dirty calibration rows


@pytest.mark.parametrize("kind", CLEAN)
def test_clean_scores_with_light_tails_lose_hardly_a_row(kind: str) -> None:
    rng = np.random.default_rng(11)
    runs = [Calibration(CLEAN[kind](rng, 500), "robust").odd for _ in range(300)]
    touched = np.count_nonzero(runs)  # the level of the test, with room for its estimated scale
    assert touched <= stats.binom.ppf(0.999, 300, 3 * FALSELY_ODD)
    assert np.mean(runs) / 500 < 1e-3


@pytest.mark.parametrize("share", [0.02, 0.05, 0.1, 0.15])
@pytest.mark.parametrize("n", [200, 2000])
def test_anomalies_that_stand_apart_are_set_aside_and_power_comes_back(n: int, share: float) -> None:
    rng = np.random.default_rng(12)
    aside, lost, alarms, power, plain = [], [], [], [], []
    for _ in range(40):
        scores, odd = dirty(rng, n, share)
        known = Calibration(scores, "robust")
        aside.append((scores > known.kept[-1])[odd].mean())
        lost.append((scores > known.kept[-1])[~odd].mean())
        fresh, _ = dirty(rng, 2000, 0.0)
        alarms.append((known.p_values(fresh) <= 0.05).mean())
        level = max(share / 2, known.smallest_p)  # half of the anomalies among the plain ranks lie above a new one
        power.append((known.p_values(fresh[:100] + 12) <= level).mean())
        plain.append((Calibration(scores).p_values(fresh[:100] + 12) <= level).mean())
    assert np.mean(aside) > 0.99
    assert np.mean(lost) < 0.002
    assert np.mean(alarms) < 0.05 + 4 * np.std(alarms) / math.sqrt(40)
    assert np.mean(power) > 0.99
    assert np.mean(plain) < 0.6


def test_what_is_set_aside_does_not_depend_on_the_unit_of_the_scores() -> None:
    scores, odd = dirty(np.random.default_rng(13), 800, 0.07)
    counts = {count_odd(np.sort(unit * scores)) for unit in (1 / 64, 1.0, 1024.0)}
    assert len(counts) == 1
    assert odd.sum() <= counts.pop() <= 1.03 * odd.sum()


def test_rows_that_may_have_been_set_aside_wrongly_are_counted_back() -> None:
    scores, odd = dirty(np.random.default_rng(14), 5000, 0.1)
    known = Calibration(scores, "robust")
    assert odd.sum() <= known.odd <= 1.03 * odd.sum()
    assert known.ghosts == math.ceil(0.01 * known.odd)
    ranks, middle = 5000 - known.odd + known.ghosts + 1, np.median(scores)
    assert known.smallest_p == (1 + known.ghosts) / ranks
    assert known.p_values(np.array([middle]))[0] == (1 + known.ghosts + (known.kept >= middle).sum()) / ranks


@pytest.mark.parametrize("scores", [np.r_[np.zeros(90), np.arange(10)], np.arange(49.0) ** 4, np.ones(100)])
def test_ties_and_few_rows_lose_none(scores: np.ndarray) -> None:
    assert Calibration(scores, "robust").odd == 0


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

    alarms = {"plain": 0, "robust": 0}
    rows = 0
    for file in files:
        with np.load(file) as data:
            X = data["X"][data["y"].ravel() == 0].astype(float)
        X = np.random.default_rng(0).permutation((X - X.mean(0)) / np.where(X.std(0) > 0, X.std(0), 1))[:6000]
        train, fresh = np.array_split(X, 2)
        index = NearestNeighbors(n_neighbors=5).fit(train[len(train) // 3 :])
        known, new = (index.kneighbors(part)[0].mean(1) for part in (train[: len(train) // 3], fresh))
        rows += len(new)
        for null in alarms:
            alarms[null] += (Calibration(known, null).p_values(new) <= 0.01).sum()
    assert rows >= 20_000
    assert alarms["plain"] <= 0.0125 * rows
    assert alarms["robust"] <= 0.015 * rows


# -- the curve, and what is said of bad input


def test_the_curve_states_what_each_cut_costs() -> None:
    scores, _ = dirty(np.random.default_rng(16), 1000, 0.05)
    known = Calibration(scores, "robust")
    chosen = decide(known)
    curve = OperatingCurve.of(known, chosen, points=20)
    assert (np.diff(curve.cuts) < 0).all()
    assert (np.diff(curve.false_alarm_rate) > 0).all()
    fresh = np.random.default_rng(17).exponential(size=100_000)
    np.testing.assert_allclose([(fresh > cut).mean() for cut in curve.cuts], curve.false_alarm_rate, atol=0.05)
    np.testing.assert_allclose([(scores > cut).mean() for cut in curve.cuts], curve.flagged)
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
        (lambda k: Calibration(np.ones(3), "clean"), SettingError, "null='clean' is not known"),
        (lambda k: k.p_values(np.array([np.inf])), DataError, "The score of row 0 is inf"),
        (lambda k: k.detect(np.ones(3), fdr=1.5), SettingError, "fdr=1.5 must be a share between 0 and 1"),
        (lambda k: decide(k, "alpha", alpha=0), SettingError, "alpha=0 must be a share"),
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
