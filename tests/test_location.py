"""The location model: groups of rows as the closed-form answer of small tables with gaps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from scipy.stats import multivariate_normal
from sklearn.mixture import GaussianMixture

import isthmus as ist
from isthmus.apps.columns import Cells, Coding
from isthmus.apps.imputation import filling
from isthmus.apps.imputation.location import MIXTURES, MOST_NUMBERS, ROWS_A_GROUP, Groups, Location, fit_location

CENTRES = np.array([[-3.0, 0.0, 1.0], [0.0, 3.0, -2.0], [3.0, -1.0, 2.0]])
WITHIN = np.array([[0.5, 0.3, 0.0], [0.3, 0.6, 0.2], [0.0, 0.2, 0.4]])
KINDS = np.array([[0.9, 0.1, 0.0], [0.1, 0.1, 0.8], [0.2, 0.8, 0.0]])


def grouped(rows: int = 300, seed: int = 0, gaps: float = 0.0) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray]:
    """Three groups of rows; the table, the same with gaps, and the group of each row."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 3, rows)
    table = pd.DataFrame(CENTRES[group] + rng.multivariate_normal(np.zeros(3), WITHIN, rows), columns=list("abc"))
    table["kind"] = np.array(["x", "y", "z"])[(rng.random((rows, 1)) > KINDS[group].cumsum(1)).sum(1)]
    return table, table.mask(rng.random(table.shape) < gaps), group


def drawn_from(table: pd.DataFrame) -> Groups:
    """The groups that rows are drawn from, their numbers standardised as those of the table."""
    mean, deviation = table[list("abc")].mean().to_numpy(), table[list("abc")].std(ddof=0).to_numpy()
    return Groups(
        np.full(3, 1 / 3), (CENTRES - mean) / deviation, WITHIN / np.outer(deviation, deviation), KINDS + 1e-9
    )


def by_bayes(groups: Groups, x: np.ndarray, kind: np.ndarray) -> np.ndarray:
    """What is expected of a row (n, 3) with NaN, and kind -1, at gaps: Bayes's rule, row by row."""
    answers = []
    for row, which in zip(x, kind, strict=True):
        seen, chances, means = ~np.isnan(row), [], []
        known = groups.covariance[np.ix_(seen, seen)]
        for share, mean, p in zip(groups.shares, groups.means, groups.chances, strict=True):
            density = multivariate_normal(mean[seen], known).pdf(row[seen]) if seen.any() else 1.0
            chances.append(share * density * (1.0 if which < 0 else p[which]))
            means.append(mean + groups.covariance[:, seen] @ np.linalg.solve(known, row[seen] - mean[seen]))
        belongs = np.array(chances) / sum(chances)
        answers.append(np.concatenate([belongs @ np.array(means), belongs @ groups.chances]))
    return np.array(answers)


def standardised(coding: Coding, cells: Cells) -> tuple[np.ndarray, np.ndarray]:
    """Numbers and the kind of each row, with NaN and -1 at gaps."""
    x = np.where(cells.observed[:, :3], coding.standard(cells.values), np.nan)
    return x, np.where(cells.observed[:, 3], cells.values[:, 3], -1).astype(int)


def test_what_is_expected_of_a_row_follows_by_bayes_from_its_observed_cells():
    coding, cells = Coding.learn(grouped(60, gaps=0.4)[1])
    location, given = fit_location(coding, cells, np.arange(60) % 2, 0), standardised(coding, cells)
    each = [
        np.mean([by_bayes(Groups(*(v[mixture, k] for v in location.groups)), *given) for mixture in range(MIXTURES)], 0)
        for k in range(2)
    ]
    np.testing.assert_allclose(location.predict(coding, cells), np.mean(each, 0), atol=1e-6)
    by = np.arange(60) % 3 - 1
    expected = np.where(by[:, None] < 0, np.mean(each, 0), np.array(each)[by, np.arange(60)])
    np.testing.assert_allclose(location.predict(coding, cells, by), expected, atol=1e-6)


def test_without_gaps_groups_are_those_of_scikit_learns_mixture_with_a_tied_covariance(monkeypatch):
    monkeypatch.setattr("isthmus.apps.imputation.location.FEWEST_GROUPS", 3)
    monkeypatch.setattr("isthmus.apps.imputation.location.MOST_GROUPS", 3)
    table = grouped(3000)[0][list("abc")]
    coding, cells = Coding.learn(table)
    x = ((table - table.mean()) / table.std(ddof=0)).to_numpy()
    oracle = GaussianMixture(3, covariance_type="tied", means_init=drawn_from(table).means).fit(x)
    judge = np.where(np.arange(3000) < 2999, 0, 1)  # the second member learns from all rows but one
    found = [fit_location(coding, cells, judge, seed).groups for seed in range(2)]
    each = [Groups(*(v[mixture, 1] for v in groups)) for groups in found for mixture in range(MIXTURES)]
    ours = min(each, key=lambda groups: np.linalg.det(groups.covariance))  # the best of the optima that EM ends in
    order, theirs = np.argsort(ours.means[:, 0]), np.argsort(oracle.means_[:, 0])
    # a thousand rows a group: one more at the mean moves a centre by a thousandth of its length; the ridge is .01
    np.testing.assert_allclose(ours.means[order], oracle.means_[theirs], atol=0.01)
    np.testing.assert_allclose(ours.covariance, oracle.covariances_ + 0.01 * np.eye(3), atol=0.005)


def test_rows_of_groups_are_filled_nearly_as_well_as_by_the_distribution_itself():
    table, gappy, _ = grouped(600, gaps=0.3)
    gaps, filled = gappy.isna(), ist.Imputer(random_state=0).fit_transform(gappy)
    coding, cells = Coding.learn(gappy)
    oracle = by_bayes(drawn_from(gappy), *standardised(coding, cells))
    hidden = gaps[list("abc")].to_numpy()
    mean, deviation = gappy[list("abc")].mean().to_numpy(), gappy[list("abc")].std(ddof=0).to_numpy()
    errors = [
        np.square((values - table[list("abc")].to_numpy()) / deviation)[hidden].mean()
        for values in (filled[list("abc")].to_numpy(), oracle[:, :3] * deviation + mean)
    ]
    assert errors[0] < 1.1 * errors[1]
    best = np.array(["x", "y", "z"])[oracle[:, 3:].argmax(1)]
    wrong = [(guess != table["kind"])[gaps["kind"]].mean() for guess in (filled["kind"], best)]
    count = gaps["kind"].sum()
    assert wrong[0] < wrong[1] + 2 * np.sqrt(wrong[1] * (1 - wrong[1]) / count)


def test_a_member_does_not_learn_from_the_rows_it_judges():
    coding, cells = Coding.learn(grouped(120, gaps=0.2)[1])
    judge = np.arange(120) % 2
    other = cells.values.copy()
    other[judge == 0] = other[judge == 0][::-1]
    one, again = (fit_location(coding, Cells(v, cells.observed), judge, 0).groups for v in (cells.values, other))
    for left, right in zip(one, again, strict=True):
        np.testing.assert_array_equal(left[:, 0], right[:, 0])
    assert not np.allclose(one.means[:, 1], again.means[:, 1])


def test_there_is_a_group_for_every_forty_rows_and_none_where_numbers_are_too_many():
    coding, cells = Coding.learn(grouped(200)[0])
    assert fit_location(coding, cells, np.arange(200) % 2, 0).groups.shares.shape == (MIXTURES, 2, 200 // ROWS_A_GROUP)
    wide = pd.DataFrame(np.random.default_rng(0).normal(size=(40, MOST_NUMBERS + 1)))
    assert fit_location(*Coding.learn(wide.rename(columns=str)), np.arange(40) % 2, 0) is None


def test_imputers_saved_without_groups_still_load(tmp_path, monkeypatch):
    gappy = grouped(100, gaps=0.2)[1].dropna(how="all")
    monkeypatch.setattr(filling, "FEW", 0)
    imputer = ist.Imputer(random_state=0).fit(gappy)
    imputer.save(str(tmp_path / "model"))
    loaded = ist.load(tmp_path / "model")
    assert loaded.filling_.location is None
    pd.testing.assert_frame_equal(loaded.transform(gappy), imputer.transform(gappy))


def test_saved_groups_come_back(tmp_path):
    gappy = grouped(100, gaps=0.2)[1].dropna(how="all")
    imputer = ist.Imputer(random_state=0).fit(gappy)
    imputer.save(str(tmp_path / "model"))
    loaded = ist.load(tmp_path / "model").filling_.location
    assert isinstance(loaded, Location)
    for one, other in zip(imputer.filling_.location.groups, loaded.groups, strict=True):
        np.testing.assert_array_equal(one, other)


def test_groups_saved_when_each_member_had_one_mixture_still_load(tmp_path):
    gappy = grouped(100, gaps=0.2)[1].dropna(how="all")
    imputer = ist.Imputer(random_state=0).fit(gappy)
    first = Groups(*(values[0] for values in imputer.filling_.location.groups))
    imputer.filling_ = replace(imputer.filling_, location=Location(first))
    imputer.save(str(tmp_path / "model"))
    loaded = ist.load(tmp_path / "model")
    assert loaded.filling_.location.groups.shares.shape[0] == 1
    assert not loaded.transform(gappy).isna().any(axis=None)
