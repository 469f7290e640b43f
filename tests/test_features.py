"""Codes as features: in scikit-learn's pipelines, beside other representations, of the right length, on maps."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import StandardScaler

import isthmus as ist
from isthmus.apps.features import measures, sizes
from isthmus.errors import DataError, SettingError

QUICK = {"max_epochs": 5, "random_state": 0, "verbose": False}


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    return load_digits().target


@pytest.fixture(scope="module")
def fitted(digits: np.ndarray) -> ist.Autoencoder:
    return ist.Autoencoder(latent_dim=8, random_state=0, verbose=False, effort="quick").fit(digits[:1200])


@pytest.fixture(scope="module")
def curve(digits: np.ndarray, labels: np.ndarray) -> ist.LatentDimCurve:
    return ist.latent_dim_curve(digits[:600], labels[:600], (1, 2, 4, 8), ist.Autoencoder(**QUICK))


def test_codes_stand_beside_the_original_columns_in_a_pipeline(digits, labels) -> None:
    codes = ist.Autoencoder(latent_dim=4, **QUICK)
    union = FeatureUnion([("codes", codes), ("original", "passthrough")])
    found = union.fit_transform(digits)
    alone = ist.Autoencoder(latent_dim=4, **QUICK).fit(digits).transform(digits)
    np.testing.assert_array_equal(found[:, :4], alone)
    np.testing.assert_array_equal(found[:, 4:], digits)
    assert union.get_feature_names_out()[:5].tolist() == [*(f"codes__autoencoder{i}" for i in range(4)), "original__x0"]
    scores = cross_val_score(
        make_pipeline(union, StandardScaler(), LogisticRegression(max_iter=300)), digits, labels, cv=2
    )
    assert scores.min() > 0.85  # the original columns alone reach 0.9


def test_a_search_over_the_length_of_the_code_goes_through_the_pipeline(digits, labels) -> None:
    pipe = make_pipeline(ist.Autoencoder(**QUICK), StandardScaler(), LogisticRegression(max_iter=300))
    search = GridSearchCV(pipe, {"autoencoder__latent_dim": [1, 8]}, cv=2).fit(digits[:400], labels[:400])
    assert search.best_params_ == {"autoencoder__latent_dim": 8}


def test_codes_of_some_columns_of_a_frame_stand_beside_the_others() -> None:
    rng = np.random.default_rng(0)
    df = pd.DataFrame(rng.normal(size=(80, 4)), columns=[*"abcd"]).assign(kind=rng.choice(["x", "y"], 80))
    columns = ColumnTransformer(
        [("codes", ist.Autoencoder(latent_dim=2, **QUICK), ["a", "b", "kind"])], remainder="passthrough"
    )
    found = columns.set_output(transform="pandas").fit_transform(df)
    assert [*found.columns] == ["codes__autoencoder0", "codes__autoencoder1", "remainder__c", "remainder__d"]
    assert found.index.equals(df.index)


def test_figures_are_those_of_scikit_learn(digits, labels, fitted) -> None:
    X, y = digits[1200:], labels[1200:]
    quality = ist.code_quality(fitted, X, y)
    codes, pca, null = quality.representations
    order = np.random.default_rng(0).permutation(len(X))
    test, train = np.sort(order[: round(len(X) / 3)]), np.sort(order[round(len(X) / 3) :])
    z = fitted.transform(X)
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(z[train], y[train])
    assert codes.linear == pytest.approx(probe.score(z[test], y[test]))
    assert codes.neighbours == pytest.approx(KNeighborsClassifier(5).fit(z[train], y[train]).score(z[test], y[test]))
    kept = np.setdiff1d(np.arange(1200), fitted.held_out_)
    theirs = PCA(8).fit(digits[:1200][kept]).transform(X)
    probe.fit(theirs[train], y[train])
    assert pca.linear == pytest.approx(probe.score(theirs[test], y[test]), abs=1.5 / len(test))
    assert (codes.width, pca.width, null.width) == (8, 8, 8)
    assert quality.tested == len(test)


def test_shuffled_codes_score_what_chance_does(digits, labels, fitted) -> None:
    quality = ist.code_quality(fitted, digits[1200:], labels[1200:])
    null = quality.representations[-1]
    assert null.name == "shuffled codes"
    assert null.linear < 0.1 + 4 * np.sqrt(0.09 / quality.tested)
    assert null.preserved == pytest.approx(quality.k / quality.compared, abs=0.02)
    assert null.trustworthiness == pytest.approx(0.5, abs=0.05)


def test_the_data_itself_keeps_every_neighbour() -> None:
    x = np.random.default_rng(0).normal(size=(60, 3))
    assert measures.preserved(x, x, 5) == 1.0
    assert measures.trustworthiness(x, x @ np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0], 5) == 1.0


def test_numbers_are_told_by_ridge_regression_in_r_squared() -> None:
    rng = np.random.default_rng(0)
    z, noise = rng.normal(size=(300, 2)), rng.normal(size=300)
    y = z @ [1.0, -2.0] + 0.1 * noise
    train, test = np.arange(200), np.arange(200, 300)
    target = measures.Target(y, train, test)
    assert (target.is_class, target.measure) == (False, "R²")
    guess = make_pipeline(StandardScaler(), Ridge()).fit(z[train], y[train]).predict(z[test])
    expected = 1 - np.square(y[test] - guess).sum() / np.square(y[test] - y[train].mean()).sum()
    assert target.linear(z).mean() == pytest.approx(expected)


def test_the_gain_over_pca_has_the_standard_error_of_paired_rows(digits, labels, fitted) -> None:
    quality = ist.code_quality(fitted, digits[1200:], labels[1200:])
    codes, pca, _ = quality.representations
    assert quality.gain == pytest.approx(codes.linear - pca.linear)
    p = abs(quality.gain)
    assert quality.gain_error >= np.sqrt((p - p**2) / (quality.tested - 1)) - 1e-12  # of 0 and 1 alone it would be this
    assert f"{quality.gain:+.3f} ± {quality.gain_error:.3f}" in quality.sentences[0]


def test_without_labels_neighbourhoods_are_all_there_is_to_say(digits, fitted) -> None:
    quality = ist.code_quality(fitted, digits[:1200])
    assert (quality.measure, quality.gain, quality.representations[0].linear) == (None, None, None)
    assert quality.sentences[-1] == "Measured on the 120 rows held out of training, of 1,200."
    assert "1,797 rows the model has not learned from" in ist.code_quality(fitted, digits).sentences[-1]
    facts = json.loads(json.dumps(quality.to_dict(), allow_nan=False))
    assert [each["name"] for each in facts["representations"]] == ["codes", "PCA-8", "shuffled codes"]


def test_where_the_data_was_trained_on_probes_are_tested_on_held_out_rows(digits, labels, fitted) -> None:
    quality = ist.code_quality(fitted, digits[:1200], labels[:1200])
    assert quality.tested == len(fitted.held_out_)


def test_results_go_into_a_report(digits, labels, fitted, curve, tmp_path) -> None:
    parts = [ist.code_quality(fitted, digits, labels), curve, ist.code_map(fitted, digits, labels)]
    page = ist.report(fitted, digits, sections=[part.section() for part in parts])
    page.save(tmp_path / "page.html")
    facts = json.loads((tmp_path / "page.json").read_text())
    assert [section["title"] for section in facts["sections"]] == [
        "Codes as features",
        "How long the code should be",
        "A map of the rows",
    ]


# -- how long -----------------------------------------------------------------------------------------------------------


def test_the_curve_is_measured_on_rows_that_no_model_has_seen(digits, labels, curve) -> None:
    order = np.random.default_rng(0).permutation(600)
    test, train = np.sort(order[:120]), np.sort(order[120:])
    assert curve.held_out == 120
    ae = ist.Autoencoder(latent_dim=4, **QUICK).fit(digits[train])
    back, mean = ae.reconstruct(digits[test]), digits[train][np.setdiff1d(np.arange(480), ae.held_out_)].mean(0)
    expected = 100 * np.square(back - digits[test]).sum() / np.square(mean - digits[test]).sum()
    at = {size.latent_dim: size for size in curve.sizes}
    assert at[4].error == pytest.approx(expected, rel=0.02)  # stacked members agree to rounding, epochs may not
    pca = PCA(4).fit(digits[train][np.setdiff1d(np.arange(480), ae.held_out_)])
    left = digits[test] - pca.inverse_transform(pca.transform(digits[test]))
    assert at[4].pca_error == pytest.approx(
        100 * np.square(left).sum() / np.square(mean - digits[test]).sum(), rel=1e-3
    )


def test_longer_codes_leave_less_and_the_suggested_model_is_there(curve) -> None:
    errors = [size.error for size in curve.sizes]
    assert errors == sorted(errors, reverse=True)
    assert curve.best_model.latent_dim_ == curve.suggested == curve.probe_enough
    assert f"latent_dim={curve.suggested}" in curve.sentences[-1]
    assert [size.latent_dim for size in curve.sizes] == curve.to_table()["latent_dim"].to_pylist() == [1, 2, 4, 8]


def test_a_plane_in_ten_dimensions_has_its_knee_at_two() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 2)) @ rng.normal(size=(2, 10)) + 0.05 * rng.normal(size=(400, 10))
    found = ist.latent_dim_curve(X, dims=(1, 2, 3, 4, 5), autoencoder=ist.Autoencoder(**QUICK))
    assert found.knee == 2
    assert "The knee is at 2" in found.sentences[1]


def test_a_straight_curve_has_no_knee() -> None:
    rng = np.random.default_rng(0)
    dims = (1, 2, 4, 8)
    straight = np.array([[4.0], [3.0], [2.0], [1.0]]) + 0.1 * rng.normal(size=(4, 50))
    assert sizes.knee_of(dims, straight) == (None, None)
    bent = straight - np.array([[0.0], [1.5], [0.8], [0.0]])
    knee, depth = sizes.knee_of(dims, bent)
    assert knee == 1
    assert depth == pytest.approx(1.5, abs=0.1)


def test_the_first_as_good_is_within_one_standard_error_of_the_best() -> None:
    rows = np.random.default_rng(0).normal(size=200)
    losses = np.stack([rows + 1, rows + 0.02 * np.sign(rows), rows, rows + 0.5])
    excess = 0.02 * np.sign(rows)
    expected = 1 if excess.mean() <= excess.std(ddof=1) / np.sqrt(200) else 2
    if losses.mean(1).argmin() == 1:
        expected = 1
    assert sizes.first_as_good(losses) == expected


def test_windows_of_a_series_are_judged_by_its_end() -> None:
    t = np.arange(600)
    X = ist.Series(
        np.column_stack([np.sin(t / 5), np.cos(t / 5)]) + 0.01 * np.random.default_rng(0).normal(size=(600, 2)), 20
    )
    found = ist.latent_dim_curve(X, dims=(1, 2, 4), autoencoder=ist.Autoencoder(**QUICK))
    assert found.held_out == 120 - 19
    assert found.sizes[1].error < 5  # one wave is two numbers: its sine and its cosine


def test_gaps_and_categories_count_what_was_observed() -> None:
    rng = np.random.default_rng(0)
    size = rng.normal(size=200)
    df = pd.DataFrame({"a": size, "b": 2 * size, "c": -size, "kind": np.where(size > 0, "x", "y")})
    df.loc[::7, "b"] = np.nan
    found = ist.latent_dim_curve(df, size, dims=(1, 2), autoencoder=ist.Autoencoder(**QUICK))
    assert found.measure == "R²"
    assert all(np.isfinite(each.error) and np.isfinite(each.pca_error) for each in found.sizes)


# -- maps ---------------------------------------------------------------------------------------------------------------


def test_the_map_of_principal_components_is_scikit_learns(digits, fitted) -> None:
    found = ist.code_map(fitted, digits)
    theirs = PCA(2).fit_transform(fitted.transform(digits).astype(np.float64))
    np.testing.assert_allclose(np.abs(found.points), np.abs(theirs), atol=1e-4)


@pytest.mark.parametrize("method", ["tsne", "autoencoder"])
def test_other_maps_keep_more_neighbours_than_two_components(digits, fitted, method) -> None:
    some = digits[:300]
    assert ist.code_map(fitted, some, method=method).preserved > ist.code_map(fitted, some).preserved


def test_codes_of_two_numbers_are_the_map(digits) -> None:
    ae = ist.Autoencoder(latent_dim=2, **QUICK).fit(digits)
    np.testing.assert_array_equal(ist.code_map(ae, digits).points, ae.transform(digits))
    line = ist.code_map(ist.Autoencoder(latent_dim=1, **QUICK).fit(digits), digits)
    assert not line.points[:, 1].any()


def test_a_map_agrees_with_its_drawing_and_its_table(digits, labels, fitted) -> None:
    found = ist.code_map(fitted, digits[:100], labels[:100])
    display = found.display().plot()
    np.testing.assert_array_equal(display.points, found.points)
    table = found.to_table().to_pandas()
    np.testing.assert_array_equal(table[["x", "y"]], found.points)


# -- refused ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda ae, X: ist.code_quality(ae, X, [1, 2]), DataError, "y has 2 values, but X has 100 rows"),
        (lambda ae, X: ist.code_quality(ae, X, np.zeros(100)), DataError, "nothing to tell"),
        (lambda ae, X: ist.code_quality(ae, X, [None] * 100), DataError, "no value for row 0"),
        (lambda ae, X: ist.code_quality(ae, X, np.zeros((100, 2))), DataError, "one value a row"),
        (lambda ae, X: ist.code_quality(ae, X, k=0), SettingError, "k=0"),
        (lambda ae, X: ist.code_quality(ae, X, k=90), DataError, "k=90 neighbours are half of the 100 rows or more"),
        (lambda ae, X: ist.code_quality(ae, X[:3]), DataError, "3 rows are too few"),
        (lambda ae, X: ist.latent_dim_curve(X[:10]), DataError, "10 rows are too few"),
        (lambda ae, X: ist.latent_dim_curve(X, dims=()), SettingError, "names no size"),
        (lambda ae, X: ist.latent_dim_curve(X, dims=(0, 2)), SettingError, "at least 1"),
        (lambda ae, X: ist.latent_dim_curve(X, [1], dims=(1,), autoencoder=ae), DataError, "y has 1 values"),
        (lambda ae, X: ist.latent_dim_curve(X, autoencoder="big"), SettingError, "no Autoencoder"),
        (lambda ae, X: ist.latent_dim_curve(ist.Series(X, 90)), DataError, "too short"),
        (lambda ae, X: ist.code_map(ae, X, method="globe"), SettingError, "'globe' is not known"),
        (lambda ae, X: ist.code_map(ae, X[:9]), DataError, "9 rows are too few"),
        (lambda ae, X: ist.code_map(ae, X, [1]), DataError, "y has 1 values"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_a_sentence(digits, fitted, call, error, said) -> None:
    with pytest.raises(error, match=said):
        call(fitted, digits[:100])


# -- series of different lengths ----------------------------------------------------------------------------------------


def test_series_of_different_lengths_are_rows_with_gaps_behind_their_ends() -> None:
    rng = np.random.default_rng(0)
    lengths, phase = rng.integers(12, 31, 300), rng.uniform(0, 2 * np.pi, 300)
    whole = np.sin(0.4 * np.arange(30) + phase[:, None])  # two numbers say it all: sine and cosine of the phase
    rows = np.where(np.arange(30) < lengths[:, None], whole, np.nan)
    ae = ist.Autoencoder(latent_dim=2, random_state=0, verbose=False, max_epochs=40).fit(rows[:200])
    back = ae.inverse_transform(ae.transform(rows[200:]))
    observed = ~np.isnan(rows[200:])
    error = np.square(back - whole[200:])[observed].mean() / np.square(whole[200:])[observed].mean()
    mean = np.nanmean(rows[:200], 0)
    pca = PCA(2).fit(np.where(np.isnan(rows[:200]), mean, rows[:200]))
    theirs = pca.inverse_transform(pca.transform(np.where(observed, rows[200:], mean)))
    assert error < 0.5 * np.square(theirs - whole[200:])[observed].mean() / np.square(whole[200:])[observed].mean()


def test_windows_of_a_series_start_from_their_principal_components_and_fold_back_to_points() -> None:
    from isthmus.data.series import average

    t = np.arange(400)
    values = np.column_stack([np.sin(t / 6), np.cos(t / 6)])
    X = ist.Series(values, length=24)
    ae = ist.Autoencoder(latent_dim=2, random_state=0, verbose=False, max_epochs=1, learning_rate=1e-9).fit(X)
    pca = PCA(2).fit(np.stack([values[i : i + 24].ravel() for i in range(377)]))
    windows = np.stack([values[i : i + 24].ravel() for i in range(377)])
    again = pca.inverse_transform(pca.transform(windows)).reshape(-1, 24, 2)
    np.testing.assert_allclose(ae.reconstruct(X), again, atol=0.02)  # the training rows are nine tenths of the windows
    np.testing.assert_allclose(average(ae.reconstruct(X), len(values)), values, atol=0.02)
