"""Filling gaps: what was observed stays, what was not is filled as well as the table allows, and the sentences are true."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from scipy.sparse import csr_matrix
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.kernel_ridge import KernelRidge
from sklearn.utils.estimator_checks import estimator_checks_generator

import isthmus as ist
from isthmus.apps.imputation import boosting, filling, kernel
from isthmus.apps.imputation.blend import PRIOR, weigh
from isthmus.apps.imputation.boosting import grow
from isthmus.apps.imputation.reconstructing import Reconstructing
from isthmus.cli import main
from isthmus.errors import DataError, DataWarning, ModelFileError, SettingError


def people(rows: int = 250, seed: int = 0) -> pd.DataFrame:
    """A table of every kind of column, all of which follow from one number, with gaps and an index of its own."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=rows)
    table = pd.DataFrame(
        {
            "a": a,
            "b": (2 * a + 0.1 * rng.normal(size=rows)).astype(np.float32),
            "side": np.where(a > 0, "right", "left"),
            "grade": pd.Categorical(np.where(a > 0.5, "x", "y"), categories=["y", "never", "x"], ordered=True),
            "flag": pd.array(a > 0.2, dtype="boolean"),
            "day": pd.Timestamp("2020-01-01") + pd.to_timedelta((a * 100).round(), "D"),
            "count": pd.array((a * 10).round().astype(int), dtype="Int64"),
            "same": 3.0,
        },
        index=pd.Index(np.arange(rows) + 7, name="row"),
    )
    for column in table.columns[1:]:
        table.loc[table.index[rng.random(rows) < 0.2], column] = None
    return table


@pytest.fixture(scope="module")
def imputer() -> ist.Imputer:
    return ist.Imputer(random_state=0).fit(people())


# -- what comes back ------------------------------------------------------------------------------------------------


def test_gaps_are_filled_and_nothing_else_is_touched(imputer):
    table = people()
    found = imputer.impute(table, draws=2)
    for filled in (found.table, found.low, found.high, *found.draws):
        assert not filled.isna().any().any()
        pd.testing.assert_frame_equal(filled.where(table.notna()), table.where(table.notna()))
        pd.testing.assert_series_equal(filled.dtypes, table.dtypes)
        assert filled.index.equals(table.index)
        assert filled["grade"].cat.categories.tolist() == ["y", "never", "x"]


def test_what_follows_from_the_rest_of_the_row_is_found(imputer):
    table, gaps = people(), people().isna()
    filled, a = imputer.transform(table), table["a"]
    assert (filled["side"] == np.where(a > 0, "right", "left"))[gaps["side"]].mean() > 0.9
    b = filled["b"][gaps["b"]]
    assert np.corrcoef(b, a[gaps["b"]])[0, 1] > 0.98
    assert (filled["same"] == 3).all()


@pytest.mark.parametrize("family", ["polars", "arrow"])
def test_other_families_come_back_as_they_came(family, imputer):
    plain = people(100).drop(columns="grade").reset_index(drop=True)
    if family == "polars":
        table = pl.from_pandas(plain).with_columns(pl.col("side").cast(pl.Categorical))
        filled = ist.Imputer(random_state=0).fit_transform(table)
        assert filled.schema == table.schema
        assert filled.null_count().sum_horizontal().item() == 0
        for column in table.columns:
            seen = table[column].is_not_null()
            assert filled[column].filter(seen).equals(table[column].filter(seen))
    else:
        table = pa.Table.from_pandas(plain, preserve_index=False)
        filled = ist.Imputer(random_state=0).fit_transform(table)
        assert filled.schema.equals(table.schema, check_metadata=False)
        for column in table.column_names:
            seen = table[column].is_valid()
            assert filled[column].filter(seen).equals(table[column].filter(seen))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arrays_keep_their_observed_bits_and_their_dtype(dtype):
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(150, 1)) + 0.1 * rng.normal(size=(150, 4))).astype(dtype)
    X[0, 0] = -0.0
    X[rng.random(X.shape) < 0.2] = np.nan
    filled = ist.Imputer(random_state=0).fit_transform(X)
    seen = ~np.isnan(X)
    assert filled.dtype == dtype
    assert filled[seen].tobytes() == X[seen].tobytes()
    assert np.isfinite(filled).all()


def test_a_table_without_gaps_is_returned_as_it_is(imputer):
    table = people().dropna()
    assert imputer.transform(table) is table


# -- how good it is -------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*no observed cell")
def test_gaussian_rows_are_filled_nearly_as_well_as_by_the_distribution_itself():
    rng = np.random.default_rng(0)
    w = rng.normal(size=(5, 2))
    X = rng.normal(size=(1000, 2)) @ w.T + 0.4 * rng.normal(size=(1000, 5))
    covariance = w @ w.T + 0.16 * np.eye(5)
    gaps = rng.random(X.shape) < 0.3
    filled = ist.Imputer(random_state=0).fit_transform(np.where(gaps, np.nan, X))
    oracle = X.copy()
    for row, hidden in zip(oracle, gaps, strict=True):
        known = covariance[np.ix_(~hidden, ~hidden)]
        row[hidden] = covariance[np.ix_(hidden, ~hidden)] @ np.linalg.solve(known, row[~hidden])
    assert ((filled - X)[gaps] ** 2).mean() < 1.1 * ((oracle - X)[gaps] ** 2).mean()


@pytest.mark.filterwarnings("ignore:.*no observed cell")
def test_intervals_cover_as_often_as_they_say_and_draws_spread_as_far():
    rng = np.random.default_rng(0)
    x = rng.uniform(-2, 2, 1500)
    X = np.stack([x, np.abs(x) + (0.1 + 0.4 * (x > 0)) * rng.normal(size=1500), rng.exponential(size=1500)], 1)
    gaps = rng.random(X.shape) < 0.3
    gappy = np.where(gaps, np.nan, X)
    found = ist.Imputer(random_state=0, polish=False).fit(gappy).impute(gappy, draws=4)
    covered = ((found.low <= X) & (found.high >= X))[gaps]
    # a binomial share of 1,350 cells, and the level is itself learned from three times as many: 3.5 standard errors
    assert abs(covered.mean() - 0.9) < 3.5 * np.sqrt(0.09 * (1 / gaps.sum() + 1 / (~gaps).sum()))
    drawn = np.stack(found.draws)[:, gaps]
    inside = ((drawn >= found.low[gaps]) & (drawn <= found.high[gaps])).mean()
    assert 0.8 < inside < 0.97
    assert (np.stack(found.draws)[:, ~gaps] == X[~gaps]).all()


def test_what_is_said_of_a_column_is_what_happens(imputer):
    rng = np.random.default_rng(5)
    table = people(700, seed=9)
    fitted = ist.Imputer(random_state=0, polish=False).fit(table)
    complete = table["a"].notna() & table["b"].notna()
    hidden = table[complete & (rng.random(len(table)) < 0.3)].copy()
    truth, hidden["b"] = hidden["b"].copy(), np.float32(np.nan)
    error = np.sqrt(((fitted.transform(hidden)["b"] - truth) ** 2).mean()) / table["b"].std()
    said = next(column for column in fitted.columns_ if column.name == "b")
    assert said.error == pytest.approx(error, rel=0.3)
    assert re.fullmatch(r"'b' can be filled 9\d\.\d% better than by its mean\.", said.sentence())


def test_a_column_that_follows_from_nothing_is_said_to_be_filled_no_better_than_by_its_mean():
    table = pd.DataFrame(np.random.default_rng(0).normal(size=(400, 3)), columns=list("xyz"))
    columns = ist.Imputer(random_state=0).fit(table.mask(np.random.default_rng(1).random(table.shape) < 0.2)).columns_
    assert all(column.gain is not None and column.gain < 0.05 for column in columns)


# -- its parts ------------------------------------------------------------------------------------------------------


def test_weights_are_those_of_the_least_error_drawn_towards_what_was_thought_before():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(300, 1, 1))
    errors = np.concatenate([rng.normal(size=truth.shape), np.zeros_like(truth)], 2)
    got = weigh(errors, np.array([1.0, 0.0]))
    share = 300 / (300 + PRIOR)
    np.testing.assert_allclose(got, [1 - share, share])
    opposite = np.concatenate([truth, -truth], 2)
    np.testing.assert_allclose(weigh(opposite, np.array([0.5, 0.5])), [0.5, 0.5])


@pytest.mark.parametrize("classes", [0, 2, 5])
def test_trees_kept_as_arrays_say_what_scikit_learns_say(classes):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 4))
    target = x[:, 0] * x[:, 1] if not classes else (np.abs(x[:, 0] + x[:, 1]) * 2).astype(int).clip(0, classes - 1)
    x[rng.random(x.shape) < 0.2] = np.nan
    common = {
        "max_leaf_nodes": boosting.LEAVES,
        "min_samples_leaf": 6,
        "l2_regularization": boosting.RIDGE,
        "random_state": 0,
    }
    common["early_stopping"] = False
    if not classes:
        rounds, rate = boosting.ROUNDS_OF_NUMBERS, boosting.SHRINKAGE
        model = HistGradientBoostingRegressor(max_iter=rounds, learning_rate=rate, **common).fit(x, target)
        expected = model.predict(x)[:, None]
    else:
        rounds = min(boosting.ROUNDS_OF_CLASSES, boosting.MOST_TREES // classes)
        rate = boosting.SHRINKAGE * boosting.ROUNDS_OF_CLASSES / rounds
        model = HistGradientBoostingClassifier(max_iter=rounds, learning_rate=rate, **common).fit(x, target)
        expected = model.predict_proba(x)
    np.testing.assert_allclose(grow(x, target, not classes, 0).predict(x, classes), expected, atol=1e-12)


def test_trees_for_one_category_are_sure_of_it():
    trees = grow(np.zeros((10, 2)), np.full(10, 2), is_number=False, seed=0)
    np.testing.assert_array_equal(trees.predict(np.zeros((3, 2)), 4), np.eye(4)[[2, 2, 2]])


def test_a_kernel_on_all_rows_is_scikit_learns_kernel_ridge_regression():
    rng = np.random.default_rng(0)
    x, new = rng.normal(size=(200, 3)).astype(np.float32), rng.normal(size=(50, 3)).astype(np.float32)
    y = np.stack([np.sin(x[:, 0] * x[:, 1]), x[:, 2] > 0], 1)
    fitted, _ = kernel.fit_kernel(x, y, np.ones(3, np.float32), 0)
    apart = ((x[:, None] - x) ** 2).sum(2)
    spread = np.median(apart[~np.eye(200, dtype=bool)])
    oracle = KernelRidge(alpha=kernel.RIDGE, kernel="rbf", gamma=0.5 / spread).fit(x, y)
    np.testing.assert_allclose(fitted.predict(new), oracle.predict(new), atol=1e-3)


@pytest.mark.parametrize("most", [20_000, 150])
def test_what_a_kernel_says_of_a_row_is_what_it_says_when_fitted_without_it(monkeypatch, most):
    monkeypatch.setattr(kernel, "MOST", most)
    rng = np.random.default_rng(1)
    x = rng.normal(size=(300, 2)).astype(np.float32)
    y = np.sin(2 * x[:, :1]) + 0.1 * rng.normal(size=(300, 1))
    fitted, alone = kernel.fit_kernel(x, y, np.ones(2, np.float32), 0, landmarks=40)
    taught = np.random.default_rng(0).permutation(300)[:most]
    near = kernel.gaussian(x, fitted.landmarks, fitted.spread).astype(np.float64)
    penalty = kernel.RIDGE * (
        kernel.gaussian(fitted.landmarks, fitted.landmarks, fitted.spread).astype(np.float64)
        + kernel.JITTER * np.eye(40)
    )
    for row in (int(taught[0]), int(taught[77]), 5, 123):
        others = taught[taught != row]
        weights = np.linalg.solve(near[others].T @ near[others] + penalty, near[others].T @ y[others])
        np.testing.assert_allclose(alone[row], near[row] @ weights, atol=1e-3)


def test_a_kernel_of_rows_that_are_all_alike_says_their_mean_nearly():
    fitted, alone = kernel.fit_kernel(np.zeros((100, 2), np.float32), np.ones((100, 1)), np.ones(2, np.float32), 0)
    np.testing.assert_allclose(fitted.predict(np.zeros((1, 2), np.float32)), 100 / 101, atol=1e-3)
    assert np.isfinite(alone).all()


def test_a_table_of_very_many_columns_keeps_no_more_than_it_may(monkeypatch):
    monkeypatch.setattr(filling, "KEPT", 12_000)
    table = products(2200).mask(np.random.default_rng(1).random((2200, 4)) < 0.2)
    fitted = ist.Imputer(random_state=0, polish=False).fit(table).filling_.columns
    sizes = [column.kernel.landmarks.size for column in fitted if column.kernel is not None]
    assert 0 < sum(sizes) <= 12_000
    monkeypatch.setattr(filling, "KEPT", 100)
    fitted = ist.Imputer(random_state=0, polish=False).fit(table).filling_.columns
    assert all(column.kernel is None for column in fitted)


def products(rows: int, seed: int = 0) -> pd.DataFrame:
    """A table in which a code and a name go together, and a price depends on both."""
    rng = np.random.default_rng(seed)
    which = rng.integers(0, 12, rows)
    return pd.DataFrame(
        {
            "code": 100.0 + 7 * which,
            "name": np.array([f"thing {i}" for i in range(12)])[which],
            "price": which**1.5 + 0.1 * rng.normal(size=rows),
            "colour": rng.choice(["red", "blue"], rows),
        }
    )


@pytest.mark.parametrize("rows", [500, 2500])
@pytest.mark.filterwarnings("ignore:.*no observed cell")
def test_what_follows_from_another_column_is_filled_exactly_and_without_doubt(rows):
    truth = products(rows)
    gaps = np.random.default_rng(1).random(truth.shape) < 0.3
    table = truth.mask(gaps)
    fitted = ist.Imputer(random_state=0).fit(table)
    found = fitted.impute(table, draws=2)
    sure = gaps[:, 1] & ~gaps[:, 0]
    assert sure.any()
    for filled in (found.table, *found.draws):
        assert (filled["name"][sure] == truth["name"][sure]).all()
    sure = gaps[:, 0] & ~gaps[:, 1]
    for filled in (found.table, found.low, found.high, *found.draws):
        np.testing.assert_array_equal(filled["code"][sure], truth["code"][sure])
    both = gaps[:, 0] & gaps[:, 1] & ~gaps[:, 2]
    assert (found.table["name"][both] == truth["name"][both]).mean() > 0.8  # the price tells
    said = {column.name: column for column in found.columns}
    assert said["code"].sentence().startswith("'code' follows from 'name'; where that is missing, too: 'code' can be")
    assert tuple(said["price"].follows) == ()


@pytest.mark.filterwarnings("ignore:.*no observed cell")
def test_what_is_said_of_a_column_that_others_follow_from_is_what_happens():
    rng = np.random.default_rng(0)
    street = rng.integers(0, 24, 2400)
    truth = pd.DataFrame(
        {"street": np.array([f"s{i}" for i in range(24)])[street], "town": [f"t{i % 12}" for i in street]}
    )
    truth["noise"] = rng.normal(size=2400)
    gaps = rng.random(truth.shape) < [0.6, 0.6, 0.0]
    table = truth.mask(gaps)
    fitted = ist.Imputer(random_state=0, polish=False).fit(table)
    wrong = (fitted.transform(table)["street"] != truth["street"])[gaps[:, 0]].mean()
    said = next(column for column in fitted.columns_ if column.name == "street")
    # the towns that are shown only because their street is do not help those whose street is missing
    assert said.error == pytest.approx(wrong, abs=0.05)


def test_rare_names_and_long_codes_come_back_as_they_are():
    rng = np.random.default_rng(0)
    which = np.concatenate([rng.integers(0, 100, 3000), rng.permutation(np.repeat(np.arange(100, 160), 3))])
    truth = pd.DataFrame({"code": 338_225_615_549 + 7 * which, "town": [f"town {i}" for i in which]})
    truth["code"], truth["noise"] = truth["code"].astype("Int64"), rng.normal(size=len(which))
    gaps = rng.random(truth.shape) < 0.15
    gaps[gaps[:, 0], 1] = gaps[:, 2] = False
    known = ~pd.Series(which).isin(set(range(160)) - set(which[~gaps[:, 0] & ~gaps[:, 1]]))
    filled = ist.Imputer(random_state=0, polish=False).fit_transform(truth.mask(gaps))
    for column, gap in (("code", gaps[:, 0]), ("town", gaps[:, 1])):
        assert (filled[column] == truth[column])[gap & known].all()


@pytest.mark.filterwarnings("ignore:.*no observed cell")
def test_kernel_and_dependencies_are_saved_with_the_imputer(tmp_path):
    table = products(2200).mask(np.random.default_rng(1).random((2200, 4)) < 0.2)
    imputer = ist.Imputer(random_state=0, polish=False).fit(table)
    assert all(column.kernel is not None for column in imputer.filling_.columns)
    imputer.save(str(tmp_path / "model"))
    loaded = ist.load(tmp_path / "model")
    pd.testing.assert_frame_equal(imputer.transform(table), loaded.transform(table), check_exact=True)
    assert [each.sentence() for each in imputer.columns_] == [each.sentence() for each in loaded.columns_]


def test_polish_finds_a_product_that_the_networks_alone_miss():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1200, 3))
    table = np.column_stack([X, np.sign(X[:, 0] * X[:, 1] * X[:, 2]) + 0.1 * rng.normal(size=1200)])
    gaps = np.zeros(table.shape, bool)
    gaps[:300, 3] = True
    gappy = np.where(gaps, np.nan, table)
    errors = [
        np.square(ist.Imputer(polish=polish, random_state=0).fit_transform(gappy) - table)[gaps].mean()
        for polish in (False, True)
    ]
    assert errors[1] < errors[0]


def test_a_given_autoencoder_fills_gaps_on_the_way_to_a_fixed_point_of_itself():
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(200, 2)) @ rng.normal(size=(2, 6)) + 0.05 * rng.normal(size=(200, 6))).astype(np.float32)
    ae = ist.linear(latent_dim=2, random_state=0, verbose=False).fit(X)
    gaps = rng.random(X.shape) < 0.15
    given = np.where(gaps, np.nan, X)
    settled = Reconstructing(ae).fill(given)
    np.testing.assert_allclose(settled[gaps], ae.reconstruct(np.where(gaps, settled, X))[gaps], atol=0.02)
    filled = ist.Imputer(autoencoder=ae).fit_transform(given)  # stops where hidden cells are filled best
    for guess in (settled, filled):
        assert np.abs(guess - X)[gaps].mean() < 0.2 * np.abs(X[gaps]).mean()


def test_an_autoencoder_that_gives_back_its_own_guesses_is_stopped_before_they_drift():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 6)).astype(np.float32)  # nothing to tell a cell by: the mean is the best guess there is
    ae = ist.Autoencoder(latent_dim=5, random_state=0, verbose=False, max_epochs=20).fit(X)
    gaps = rng.random(X.shape) < 0.2
    filled = ist.Imputer(autoencoder=ae).fit_transform(np.where(gaps, np.nan, X))
    by_mean = np.where(gaps, np.nan, X)
    assert np.square(filled - X)[gaps].mean() < 1.15 * np.square(np.nanmean(by_mean, 0) - X)[gaps].mean()


# -- keeping, and what can go wrong ---------------------------------------------------------------------------------


@pytest.mark.parametrize("polish", [False, True])
def test_a_saved_imputer_fills_with_the_same_bits(tmp_path, polish):
    table = people(200)
    imputer = ist.Imputer(random_state=0, polish=polish).fit(table)
    imputer.save(str(tmp_path / "model"))
    loaded = ist.load(tmp_path / "model")
    one, other = (each.impute(table, draws=1) for each in (imputer, loaded))
    for name in ("table", "low", "high"):
        pd.testing.assert_frame_equal(getattr(one, name), getattr(other, name), check_exact=True)
    pd.testing.assert_frame_equal(one.draws[0], other.draws[0], check_exact=True)
    assert one.to_dict() == other.to_dict()
    assert loaded.get_params() == imputer.get_params()


def test_an_imputer_around_an_autoencoder_is_saved_with_it(tmp_path):
    table = people(100)
    ae = ist.Autoencoder(latent_dim=2, max_epochs=3, random_state=0, verbose=False).fit(table)
    imputer = ist.Imputer(autoencoder=ae).fit(table)
    imputer.save(str(tmp_path / "model"))
    pd.testing.assert_frame_equal(ist.load(tmp_path / "model").transform(table), imputer.transform(table))


def test_weights_of_another_shape_are_refused(tmp_path, imputer):
    from safetensors.torch import load_file, save_file

    imputer.save(str(tmp_path / "model"))
    weights = load_file(tmp_path / "model" / "model.safetensors")
    weights["noise"] = torch.ones(1, 1)
    save_file(weights, tmp_path / "model" / "model.safetensors")
    with pytest.raises(ModelFileError, match=r"do not fit config\.json; copy the model again"):
        ist.load(tmp_path / "model")


def test_a_row_without_any_cell_gets_typical_values_and_a_warning(imputer):
    table = people(30, seed=3)
    table.loc[table.index[4]] = [np.nan, np.nan, None, None, pd.NA, pd.NaT, pd.NA, np.nan]
    with pytest.warns(
        DataWarning, match=r"1 row has no observed cell \(the first is row 4\); each column was filled with"
    ):
        filled = imputer.transform(table)
    assert filled["a"].iloc[4] == pytest.approx(people()["a"].mean(), abs=1e-6)
    assert filled["side"].iloc[4] == people()["side"].mode()[0]


def test_an_unseen_category_counts_as_a_gap_of_its_row_but_stays(imputer):
    table = people(30, seed=3).assign(side="middle")
    with pytest.warns(DataWarning, match="never seen in training"):
        filled = imputer.transform(table)
    assert (filled["side"] == "middle").all()
    assert not filled.isna().any().any()


def test_a_column_of_nothing_but_gaps_stays_and_is_named():
    table = people(60).assign(nothing=np.nan)
    with pytest.warns(DataWarning, match=r"nothing could be learned of column 'nothing' .*; its 60 gaps stay"):
        filled = ist.Imputer(random_state=0).fit_transform(table)
    assert filled["nothing"].isna().all()
    assert not filled.drop(columns="nothing").isna().any().any()


def test_a_table_of_constants_has_nothing_to_learn():
    table = pd.DataFrame({"a": [1.0, np.nan] * 30, "b": ["x"] * 60})
    with pytest.raises(DataError, match="no column of X has two different values"):
        ist.Imputer(random_state=0).fit(table)


def test_other_columns_are_refused_by_name(imputer):
    with pytest.raises(ValueError, match="b"):
        imputer.transform(people(20).drop(columns="b"))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"polish": "a lot"}, "polish='a lot' must be True, False or 'auto'"),
        ({"draws": -1}, "draws=-1 must be a whole number of at least 0"),
        ({"coverage": 90}, "coverage=90 must lie between 0 and 1; try 0.9"),
        ({"autoencoder": "mine"}, "autoencoder='mine' must be a fitted isthmus.Autoencoder, or None"),
    ],
)
def test_settings_that_make_no_sense_get_a_sentence(settings, sentence):
    with pytest.raises(SettingError, match=re.escape(sentence)):
        ist.Imputer(**settings).fit(people(30))


def test_what_is_no_table_is_refused():
    with pytest.raises(DataError, match=r"an Imputer fills tables \(rows, columns\)"):
        ist.Imputer().fit(np.zeros((5, 4, 4)))
    with pytest.raises(DataError, match="a sparse matrix has no gaps to fill"):
        ist.Imputer().fit(csr_matrix(np.eye(5)))


@pytest.mark.parametrize("rows", [2, 5, 31])
def test_a_handful_of_rows_is_enough(rows):
    table = people(60).head(rows).drop(columns=["same"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        table["b"] = table["b"].fillna(0).where(np.arange(rows) > 0)
        filled = ist.Imputer(random_state=0).fit_transform(table)
    assert np.isfinite(filled["b"]).all()


@pytest.mark.parametrize("columns", [["a"], ["side"], ["side", "flag"]])
def test_any_kinds_of_columns_will_do(columns):
    table = people(80)[columns].copy()
    table.loc[table.index[:3], columns[0]] = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # rows without any cell
        assert not ist.Imputer(random_state=0).fit(table).impute(table, draws=1).draws[0].isna().any().any()


CHECKS = {
    "check_estimators_overwrite_params",
    "check_dict_unchanged",
    "check_transformer_general",
    "check_transformer_data_not_an_array",
    "check_estimators_nan_inf",
    "check_estimators_pickle",
}


@pytest.mark.parametrize(
    "check",
    [
        pytest.param(check, id=getattr(check, "func", check).__name__)
        for _, check in estimator_checks_generator(ist.Imputer())
        if getattr(check, "func", check).__name__ in CHECKS
    ],
)
def test_scikit_learns_checks_pass(check):
    """Those that could break alone; all of them, ``check_estimator(ist.Imputer())``, take a minute."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(ist.Imputer(random_state=0))


# -- the command line -----------------------------------------------------------------------------------------------


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def test_the_shell_fills_a_file_saves_what_it_learned_and_fills_again_with_it(tmp_path: Path, capsys):
    table = people(120).drop(columns="grade")
    table.to_csv(tmp_path / "people.csv", index=False)
    first, second = tmp_path / "full.csv", tmp_path / "again.csv"
    options = ["--random-state", 0, "--draws", 1, "--save", tmp_path / "model"]
    assert run("impute", tmp_path / "people.csv", "-o", first, *options) == 0
    assert "cells were filled; the table is in" in capsys.readouterr().out
    assert not pd.read_csv(first).isna().any().any()
    for name in ("low", "high", "1"):
        assert not pd.read_csv(tmp_path / f"full-{name}.csv").isna().any().any()
    assert run("impute", tmp_path / "people.csv", "-m", tmp_path / "model", "-o", second, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["filled"] == int(table.isna().sum().sum() - table["same"].isna().sum())
    assert first.read_text() == second.read_text()


def test_the_shell_spares_its_input(tmp_path: Path, capsys):
    people(30).to_csv(tmp_path / "people.csv", index=False)
    assert run("impute", tmp_path / "people.csv", "-o", tmp_path / "people.csv") != 0
    assert "is the input; give -o another name" in capsys.readouterr().err
