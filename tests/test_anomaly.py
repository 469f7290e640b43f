"""The detector: scikit-learn's contract, the same scores from every door, what it says of odd data, and what p mean."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from sklearn.utils.estimator_checks import parametrize_with_checks

import isthmus as ist
from isthmus.apps.anomaly import ensemble, residuals
from isthmus.apps.anomaly.tails import Tail, leave_one_out
from isthmus.errors import DataError, DataWarning, IsthmusError, ModelFileError, SettingError

AE = {"latent_dim": 2, "max_epochs": 5, "random_state": 0, "verbose": False}


@pytest.fixture(autouse=True)
def short(request, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Train members for a few steps only: no test but those marked ``full`` asks how good they are."""
    if "full" not in request.fixturenames:
        for module in (ensemble, residuals):
            monkeypatch.setattr(module, "STEPS", 4)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"alpha=.* is less than", category=DataWarning)
        yield


@pytest.fixture
def full() -> None:
    """Train as users do."""


def expected_failures(estimator: object) -> dict[str, str]:
    reason = (
        "contamination cuts what the training rows score by members that have not seen them; by all members, as predict "
        "judges, another number of the same rows may lie above"
    )
    return {"check_outliers_fit_predict": reason}


@parametrize_with_checks([ist.AnomalyDetector()], expected_failed_checks=expected_failures)
@pytest.mark.filterwarnings("default")  # the checks feed estimators what they should warn about
def test_scikit_learns_checks(estimator, check) -> None:
    check(estimator)


def rows(n: int = 120, d: int = 4, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) @ rng.normal(size=(d, d))


def table(n: int = 150) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    size = np.where(rng.random(n) < 0.1, np.nan, rng.normal(size=n))
    kind = rng.choice(["ant", "bee", "cat"], n).astype(object)
    kind[rng.random(n) < 0.1] = None
    return pd.DataFrame({"size": size, "kind": kind, "legs": rng.integers(0, 9, n), "wild": rng.random(n) < 0.5})


KINDS = {
    "recipe": lambda: (ist.AnomalyDetector(random_state=0), rows()),
    "without autoencoders": lambda: (ist.AnomalyDetector(random_state=0), rows(30)),
    "novelty": lambda: (ist.AnomalyDetector(novelty=True, random_state=0), rows()),
    "table": lambda: (ist.AnomalyDetector(random_state=0), table()),
    "gaps": lambda: (ist.AnomalyDetector(random_state=0), np.where(rows() > 2, np.nan, rows())),
    "images": lambda: (ist.AnomalyDetector(random_state=0), rows(60, 36).reshape(60, 6, 6)),
    "given": lambda: (ist.AnomalyDetector(ist.Autoencoder(**AE), random_state=0), rows()),
    "given and fitted": lambda: (ist.AnomalyDetector(ist.Autoencoder(**AE).fit(rows(200)), random_state=0), rows(200)),
}


# -- the same scores


@pytest.mark.parametrize("kind", KINDS)
def test_fresh_objects_with_one_seed_give_the_same_bits(kind: str) -> None:
    (one, X), (two, again) = KINDS[kind](), KINDS[kind]()
    scores = one.fit(X).anomaly_score(X)
    assert np.isfinite(scores).all()
    np.testing.assert_array_equal(scores, two.fit(again).anomaly_score(again))
    assert one.threshold_ == two.threshold_
    np.testing.assert_array_equal(one.fit(X).anomaly_score(X), scores)


@pytest.mark.parametrize("kind", KINDS)
def test_no_score_depends_on_the_other_rows_of_its_batch(kind: str) -> None:
    detector, X = KINDS[kind]()
    scores = detector.fit(X).anomaly_score(X)
    take = X.iloc.__getitem__ if isinstance(X, pd.DataFrame) else X.__getitem__
    for sizes in ((1, 2, 3, 24), (7,), (29,)):
        parts, start = [], 0
        for size in sizes * len(X):
            if start >= len(X):
                break
            parts.append(detector.anomaly_score(take(slice(start, start + size))))
            start += size
        np.testing.assert_array_equal(np.concatenate(parts), scores)
    order = np.random.default_rng(0).permutation(len(X))
    np.testing.assert_array_equal(detector.anomaly_score(take(order)), scores[order])


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_detector_comes_back_to_the_bit(kind: str, tmp_path: Path) -> None:
    detector, X = KINDS[kind]()
    detector.fit(X).save(tmp_path / "model")
    loaded = ist.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.anomaly_score(X), detector.anomaly_score(X))
    np.testing.assert_array_equal(loaded.p_values(X), detector.p_values(X))
    np.testing.assert_array_equal(loaded.predict(X), detector.predict(X))
    assert loaded.cut_ == detector.cut_
    loaded.save(tmp_path / "again")
    for file in sorted((tmp_path / "model").rglob("*")):
        if file.is_file():
            assert file.read_bytes() == (tmp_path / "again" / file.relative_to(tmp_path / "model")).read_bytes(), file


@pytest.mark.parametrize("kind", ["recipe", "given"])
def test_a_detector_answers_alike_in_another_process(kind: str, tmp_path: Path) -> None:
    detector, X = KINDS[kind]()
    detector.fit(X).save(tmp_path / "model")
    np.save(tmp_path / "x.npy", X)
    script = (
        "import sys, numpy as np, torch, isthmus; torch.set_num_threads(1); model, x, out = sys.argv[1:];"
        "np.save(out, isthmus.load(model).anomaly_score(np.load(x)))"
    )
    paths = [str(tmp_path / name) for name in ("model", "x.npy", "s.npy")]
    subprocess.run([sys.executable, "-c", script, *paths], check=True)
    np.testing.assert_array_equal(np.load(tmp_path / "s.npy"), detector.anomaly_score(X))


@pytest.mark.parametrize("seed", [0, None])
@pytest.mark.parametrize("kind", ["recipe", "given"])
def test_the_users_generators_are_left_alone(kind: str, seed: int | None) -> None:
    detector, X = KINDS[kind]()
    torch.manual_seed(5)
    np.random.seed(5)
    before, numbers = torch.get_rng_state(), np.random.get_state()[1].copy()
    detector.set_params(random_state=seed).fit(X).predict(X)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numbers)


# -- tables


def test_frames_of_both_families_give_the_same_scores() -> None:
    X = table()
    as_polars = pl.from_pandas(X)
    detector = ist.AnomalyDetector(random_state=0).fit(X)
    np.testing.assert_array_equal(detector.anomaly_score(as_polars), detector.anomaly_score(X))
    again = ist.AnomalyDetector(random_state=0).fit(as_polars)
    np.testing.assert_array_equal(again.anomaly_score(as_polars), detector.anomaly_score(X))


def test_an_unseen_category_and_a_gap_where_there_was_none_are_odd() -> None:
    X = table(300).assign(full=np.arange(300.0) % 7)
    detector = ist.AnomalyDetector(random_state=0).fit(X)
    typical = X.dropna().iloc[:40]
    usual = detector.anomaly_score(typical)
    with pytest.warns(DataWarning, match="kind"):
        unseen = detector.anomaly_score(typical.assign(kind="dodo"))
    assert (unseen > usual).all()
    gaps = typical.assign(full=np.nan)
    assert np.mean(detector.anomaly_score(gaps) > usual) > 0.8
    histogram = detector.judge_.heads["rarity"].histograms[4]
    nothing_seen = -np.log(0.5 / (histogram.counts.sum() + 0.5 * len(histogram.counts)))
    rarity = detector.judge_.cells(detector.codec_.encode(gaps))["rarity"][:, 4]
    np.testing.assert_allclose(rarity, nothing_seen)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda X: X.drop(columns="legs"), "legs"),
        (lambda X: X.assign(size=np.inf), "holds inf in row 0"),
        (lambda X: X.assign(size="large"), "size"),
    ],
)
def test_a_wrong_table_is_refused_in_a_sentence(spoil, said: str) -> None:
    X = table()
    detector = ist.AnomalyDetector(random_state=0).fit(X)
    with pytest.raises(ValueError, match=said):
        detector.anomaly_score(spoil(X))


@pytest.mark.parametrize("bad", [np.inf, -np.inf])
def test_infinities_are_refused_at_fit_and_later(bad: float) -> None:
    X = rows()
    spoiled = X.copy()
    spoiled[3, 1] = bad
    with pytest.raises(ValueError, match="infinit"):
        ist.AnomalyDetector(random_state=0).fit(spoiled)
    with pytest.raises(ValueError, match="infinit"):
        ist.AnomalyDetector(random_state=0).fit(X).predict(spoiled)


@pytest.mark.parametrize("value", [1e10, 1e38, 1e100, 1e308])
def test_a_value_of_any_size_has_a_score_and_a_high_one(value: float) -> None:
    X = rows()
    detector = ist.AnomalyDetector(random_state=0).fit(X)
    X[0, 0] = value
    assert detector.anomaly_score(X[:1])[0] > detector.calibration_.scores[-1]
    assert detector.p_values(X[:1])[0] == 1 / 121


# -- few rows, and rows that tell nothing


@pytest.mark.parametrize("d", [1, 3])
@pytest.mark.parametrize("n", [2, 3, 4, 5, 7, 10, 19, 20, 39, 40, 41])
def test_few_rows_have_scores(n: int, d: int) -> None:
    X = rows(n, d)
    detector = ist.AnomalyDetector(random_state=0).fit(X)
    assert np.isfinite(detector.anomaly_score(X)).all()
    assert np.isfinite(detector.anomaly_score(100 * X)).all()
    assert detector.calibration_.smallest_p == 1 / (n + 1)


@pytest.mark.parametrize(
    "X",
    [
        np.repeat(rows(3), 20, axis=0),
        np.c_[np.ones(60), rows(60)],
        np.c_[np.full(60, np.nan), rows(60)],
        np.repeat(rows(60, 2), 2, axis=1),
        np.r_[np.zeros((95, 3)), rows(5, 3)],
        1e-30 * rows(60),
        np.arange(60.0)[:, None] % 2,
        np.eye(60),
    ],
    ids=["duplicates", "constant", "empty column", "twice", "mostly zero", "tiny", "two values", "identity"],
)
def test_degenerate_columns_and_rows_have_scores(X: np.ndarray) -> None:
    detector = ist.AnomalyDetector(random_state=0).fit(X)
    assert np.isfinite(detector.anomaly_score(X)).all()
    assert (detector.predict(X) == -1).mean() <= 0.1


@pytest.mark.parametrize("n", [2, 5, 100])
@pytest.mark.parametrize("autoencoder", [None, ist.Autoencoder(**AE)])
def test_rows_that_are_all_alike_are_refused(n: int, autoencoder: Any) -> None:
    with pytest.raises(DataError, match=rf"All {n} rows are alike|{n} rows are too few"):
        ist.AnomalyDetector(autoencoder, random_state=0).fit(np.ones((n, 3)))


def test_new_rows_that_are_all_alike_do_not_recalibrate() -> None:
    detector = ist.AnomalyDetector(random_state=0).fit(rows())
    before = detector.cut_
    with pytest.raises(DataError, match="All 30 rows have the same anomaly score"):
        detector.recalibrate(np.ones((30, 4)))
    assert detector.cut_ is before


def test_a_value_beside_which_all_rows_look_alike_is_named() -> None:
    X = rows(200)
    X[7, 2] = 1e30
    X[:, :2] = 0
    X[:, 3] = 0
    with pytest.warns(DataWarning, match="beside row 7 in column 2 all others look alike"):
        ist.AnomalyDetector(random_state=0).fit(X)


def test_an_autoencoder_that_has_learned_nothing_is_refused() -> None:
    X = rows(300)
    untrained = ist.vanilla(latent_dim=2, max_epochs=1, learning_rate=1e-12, random_state=0, verbose=False).fit(X)
    assert untrained.scores_["model"]["explained"] < 0
    with pytest.raises(DataError, match="rebuilds rows no better than their mean does"):
        ist.AnomalyDetector(untrained, random_state=0).fit(X)
    collapsed = ist.variational(latent_dim=2, beta=1e4, max_epochs=20, random_state=0, verbose=False)
    for autoencoder in (collapsed, collapsed.fit(X)):
        with pytest.raises(DataError, match="posterior collapse"):
            ist.AnomalyDetector(autoencoder, random_state=0).fit(X)


# -- what is promised


@pytest.mark.parametrize(("n", "novelty", "fits"), [(39, True, 80), (99, True, 6), (99, False, 6)])
def test_out_of_bag_p_values_of_normal_rows_are_uniform(n: int, novelty: bool, fits: int) -> None:
    """The smallest level counts most: a row that no tail has learned from may lie beyond all that one has."""
    levels, shares = np.array([1, 2, 4, 10, 20]) / (n + 1), []
    for seed in range(fits):
        rng = np.random.default_rng(seed)
        detector = ist.AnomalyDetector(novelty=novelty, random_state=seed).fit(rng.normal(size=(n, 5)))
        p = detector.p_values(rng.normal(size=(1000, 5)))
        shares.append((p[:, None] <= levels + 1e-12).mean(0))
    # the share below k / (n + 1) is Beta(k, n + 1 - k) over calibrations
    error = np.sqrt(levels * (1 - levels) / (n + 2) / fits)
    assert (np.abs(np.mean(shares, 0) - levels) < 4 * error).all()


def test_a_reference_score_is_what_a_tail_of_all_others_says() -> None:
    rng = np.random.default_rng(0)
    for n in (2, 3, 5, 40, 300):
        for scores in (rng.normal(size=n), np.round(2 * rng.normal(size=n)), np.ones(n)):
            others = [Tail.learn(np.delete(scores, row))(scores[row : row + 1])[0] for row in range(n)]
            np.testing.assert_allclose(leave_one_out(scores), others, rtol=1e-12)


def test_rows_far_off_are_flagged_and_few_others(full) -> None:
    X, fresh = rows(400, 5), rows(400, 5)[::-1] + 1e-3
    odd = fresh[:20].copy()
    odd[:, 1] += 8 * X[:, 1].std()
    detector = ist.AnomalyDetector(novelty=True, random_state=0).fit(X)
    both, truth = np.r_[fresh, odd], np.arange(420) >= 400
    assert roc_auc_score(truth, detector.anomaly_score(both)) > 0.99
    assert detector.predict(odd).tolist() == [-1] * 20
    assert (detector.predict(fresh) == -1).mean() <= 0.02
    assert detector.detect(both, fdr=0.1)[truth].all()


def test_a_smoothed_batch_is_judged_by_the_calibration_and_alike_again() -> None:
    """By 60 rows no p lies below 1/61: one odd row of forty cannot be flagged at .2 by ranks, where p must be .2/40."""
    train, fresh = np.split(rows(99), [60])
    detector = ist.AnomalyDetector(novelty=True, random_state=0).fit(train)
    X = np.r_[fresh, np.full((1, 4), 99.0)]
    assert not detector.detect(X, fdr=0.2).any()
    flagged = detector.detect(X, fdr=0.2, smoothed=True)
    np.testing.assert_array_equal(flagged, detector.detect(X, fdr=0.2, smoothed=True))
    scores, rng = detector.anomaly_score(X), np.random.default_rng([60, 40])
    np.testing.assert_array_equal(flagged, detector.calibration_.detect(scores, 0.2, rng))


def test_rules_and_recalibration_agree_with_their_parts(tmp_path: Path) -> None:
    X, clean = rows(200), rows(200, seed=0) + 0.01
    batch = np.r_[clean[:60], clean[:8] + 50]
    for rule, more in (("alpha", {"alpha": 0.05}), ("contamination", {"contamination": 0.1}), ("fdr", {}), (3.5, {})):
        detector = ist.AnomalyDetector(threshold=rule, random_state=0, **more).fit(X)
        scores = detector.anomaly_score(X)
        np.testing.assert_array_equal(detector.predict(X) == -1, scores > detector.threshold_)
        np.testing.assert_allclose(detector.decision_function(X), detector.threshold_ - scores)
        np.testing.assert_array_equal(detector.score_samples(X), -scores)
        judge = detector.judge_
        detector.recalibrate(clean, batch)
        assert detector.judge_ is judge
        np.testing.assert_array_equal(detector.calibration_.scores, np.sort(detector.anomaly_score(clean)))
        if rule == "fdr":
            assert detector.cut_.rule == "fdr"
            np.testing.assert_array_equal(detector.predict(batch) == -1, detector.detect(batch))
            assert detector.predict(batch[60:]).tolist() == [-1] * 8
        elif rule == "contamination":
            assert (detector.predict(batch) == -1).sum() == 6
        detector.save(tmp_path / str(rule))
        curve = ist.load(tmp_path / str(rule)).operating_curve_
        np.testing.assert_array_equal(curve.flagged, detector.operating_curve_.flagged)


def test_fdr_at_fit_is_alpha_and_says_so() -> None:
    detector = ist.AnomalyDetector(random_state=0).fit(rows(300))
    assert detector.cut_.rule == "alpha"
    assert "no share of wrong ones among the flagged can be promised" in detector.cut_.sentence
    assert (detector.calibration_.scores > detector.threshold_).mean() <= 0.01


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"threshold": "knee"}, "threshold='knee' is not known"),
        ({"threshold": "contamination"}, "needs contamination="),
        ({"fdr": 0}, "fdr=0 must be a share"),
        ({"alpha": 2.0}, "alpha=2.0 must be a share"),
        ({"autoencoder": "vae"}, "autoencoder='vae' must be an isthmus Autoencoder"),
    ],
)
def test_settings_that_make_no_sense_are_named(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingError, match=said):
        ist.AnomalyDetector(random_state=0, **settings).fit(rows(30))


# -- damage


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "preprocess.json", "member_0/model.safetensors"])
@pytest.mark.parametrize("how", ["gone", "cut", "empty"])
def test_a_damaged_folder_is_refused_in_a_sentence(file: str, how: str, tmp_path: Path) -> None:
    ist.AnomalyDetector(random_state=0).fit(rows(50)).save(tmp_path / "model")
    path = tmp_path / "model" / file
    content = path.read_bytes()
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(content[: len(content) // 2] if how == "cut" else b"")
    with pytest.raises(ModelFileError):
        ist.load(tmp_path / "model")


@pytest.mark.parametrize("key", ["heads", "members", "is_given", "params"])
def test_a_folder_whose_settings_lack_something_is_refused(key: str, tmp_path: Path) -> None:
    ist.AnomalyDetector(random_state=0).fit(rows(50)).save(tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    config = json.loads(path.read_text())
    assert "heads" in json.dumps(config)
    inner = (
        config
        if key in config
        else next(value for value in config.values() if isinstance(value, dict) and key in value)
    )
    del inner[key]
    path.write_text(json.dumps(config))
    with pytest.raises(ModelFileError):
        ist.load(tmp_path / "model")


# -- any table


NUMBERS = st.floats(-1e6, 1e6, width=32) | st.sampled_from([0.0, 1.0, -1.0, 1e-30, 1e30, float("nan")])
CELLS = {
    "number": NUMBERS,
    "count": st.integers(0, 5),
    "category": st.sampled_from(["a", "b", "ü", ""]) | st.none(),
    "boolean": st.booleans(),
}


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    n = draw(st.integers(2, 45))
    kinds = draw(st.lists(st.sampled_from(sorted(CELLS)), min_size=1, max_size=4))
    columns = {}
    for place, kind in enumerate(kinds):
        few = draw(st.lists(CELLS[kind], min_size=1, max_size=min(n, 12)))
        columns[f"{kind} {place}"] = [few[(place + row) % len(few)] for row in range(n)]
    return pd.DataFrame(columns)


def check_any(X: pd.DataFrame) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        try:
            detector = ist.AnomalyDetector(random_state=0).fit(X)
        except IsthmusError as error:
            said = str(error)
        else:
            said = ""
        if said:
            assert said.endswith("."), said  # a sentence
            return
        scores = detector.anomaly_score(X)
        np.testing.assert_array_equal(np.r_[detector.anomaly_score(X[:1]), detector.anomaly_score(X[1:])], scores)
    assert np.isfinite(scores).all()
    assert math.isfinite(detector.threshold_)


def test_a_column_of_which_only_gaps_are_known_is_judged_by_its_gaps() -> None:
    X = pd.DataFrame({"count": np.arange(40) % 7, "mark": ["a" if row % 8 else None for row in range(40)]})
    detector = ist.AnomalyDetector(random_state=0).fit(X)
    rarity = detector.judge_.cells(detector.codec_.encode(X))["rarity"]
    of_mark = rarity[:, detector.judge_.columns.names.index("mark")]
    is_gap = X["mark"].isna().to_numpy()
    assert len(np.unique(of_mark[is_gap])) == len(np.unique(of_mark[~is_gap])) == 1
    assert of_mark[is_gap][0] > of_mark[~is_gap][0], "a gap is the rarer of the two"


@pytest.mark.parametrize("columns", [1, 3])
def test_a_row_alone_scores_as_among_others_to_the_last_bit(columns: int) -> None:
    X = np.random.default_rng(0).normal(size=(60, columns))
    detector = ist.AnomalyDetector(random_state=0).fit(X)
    alone = np.concatenate([detector.anomaly_score(X[row : row + 1]) for row in range(len(X))])
    np.testing.assert_array_equal(alone, detector.anomaly_score(X))


CHECKS = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=CHECKS)
@given(X=tables())
def test_any_table_has_finite_scores_or_a_plain_error(X: pd.DataFrame) -> None:
    check_any(X)


@pytest.mark.long
@settings(max_examples=500, deadline=None, suppress_health_check=CHECKS)
@given(X=tables())
def test_any_of_very_many_tables_has_finite_scores_or_a_plain_error(X: pd.DataFrame) -> None:
    check_any(X)
