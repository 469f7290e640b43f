"""Groups among codes: what scikit-learn finds there, refined, described, and refused where there is nothing to tell apart."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.cluster import HDBSCAN, KMeans
from sklearn.datasets import load_digits, make_blobs
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.mixture import GaussianMixture
from sklearn.utils.estimator_checks import parametrize_with_checks

import isthmus as ist
from isthmus.apps.clustering import choice, groups
from isthmus.apps.clustering.refinement import _Assignment, _neighbourhood, refine
from isthmus.errors import DataError, IsthmusError
from isthmus.parts.step import Batch

QUICK = {"max_epochs": 3, "random_state": 0, "verbose": False}


def expected_failures(estimator: ist.Clusterer) -> dict[str, str]:
    reason = "the check asks whatever has predict_proba and takes sparse data for the tags of a classifier"
    checks = ("check_estimator_sparse_array", "check_estimator_sparse_matrix")
    return dict.fromkeys(checks, reason) if estimator.method == "mixture" else {}


@parametrize_with_checks(
    [
        ist.Clusterer(autoencoder=ist.Autoencoder(max_epochs=3, verbose=False)),
        ist.Clusterer(2, "mixture", autoencoder=ist.Autoencoder(max_epochs=3, verbose=False)),
    ],
    expected_failed_checks=expected_failures,
)
@pytest.mark.filterwarnings("default")  # the checks feed estimators what they should warn about
def test_scikit_learns_checks(estimator, check) -> None:
    check(estimator)


@pytest.fixture(scope="module")
def fitted(digits: np.ndarray) -> ist.Autoencoder:
    return ist.Autoencoder(latent_dim=10, random_state=0, verbose=False, effort="quick").fit(digits)


@pytest.fixture(scope="module")
def blobs() -> tuple[np.ndarray, np.ndarray]:
    return make_blobs(400, n_features=6, centers=4, cluster_std=1.0, random_state=3)


def test_groups_are_those_of_scikit_learn_on_the_codes(digits: np.ndarray, fitted: ist.Autoencoder) -> None:
    codes = fitted.transform(digits)
    ours = ist.Clusterer(10, autoencoder=fitted, random_state=0).fit(digits)
    seed = int(np.random.RandomState(0).randint(2**31 - 1))
    assert np.array_equal(ours.labels_, KMeans(10, n_init=10, random_state=seed).fit_predict(codes))
    dense = ist.Clusterer(method="hdbscan", autoencoder=fitted, random_state=0).fit(digits)
    assert np.array_equal(dense.labels_, HDBSCAN(min_cluster_size=17, copy=True).fit_predict(codes))


def test_a_mixture_knows_the_probabilities_of_scikit_learns(blobs) -> None:
    codes = blobs[0]
    ours = groups.Mixture.fit(codes, 3, 0)
    theirs = groups.fit_mixture(codes, 3, 0)
    np.testing.assert_allclose(ours.probabilities(codes), theirs.predict_proba(codes), atol=1e-10)
    assert np.array_equal(ours.predict(codes), theirs.predict(codes))


def test_the_information_criterion_is_minus_twice_the_likelihood_plus_parameters_times_log_n(blobs) -> None:
    codes = blobs[0][:, :2]
    found = choice.bic_of(codes, 0)
    fitted = groups.fit_mixture(codes, 2, 0)
    density = sum(
        weight * multivariate_normal(mean, covariance).pdf(codes)
        for weight, mean, covariance in zip(fitted.weights_, fitted.means_, fitted.covariances_, strict=True)
    )
    parameters = 2 * (2 + 3) + 1  # two means, two symmetric matrices, one free weight
    assert found[2] == pytest.approx(-2 * np.log(density).sum() + parameters * np.log(len(codes)))


@pytest.mark.parametrize("k", [1, 3, 6])
def test_auto_finds_how_many_separate_groups_there_are(k: int) -> None:
    X, y = make_blobs(600, n_features=5, centers=k, cluster_std=0.5, random_state=1)
    found = ist.Clusterer(autoencoder=ist.Autoencoder(latent_dim=3, **QUICK), random_state=0).fit(X)
    assert found.n_clusters_ == k
    assert adjusted_rand_score(y, found.labels_) == 1
    assert min(found.clustering_.bic, key=found.clustering_.bic.__getitem__) == k
    assert (found.clustering_.stability is None) == (k == 1)


def test_long_codes_are_seen_through_their_principal_components(blobs) -> None:
    codes = blobs[0]
    seen = choice.leading(codes, 2)
    _, _, directions = np.linalg.svd(codes - codes.mean(0), full_matrices=False)
    np.testing.assert_allclose(np.abs(seen), np.abs((codes - codes.mean(0)) @ directions[:2].T), atol=1e-8)


def test_stability_is_one_for_separate_groups_and_little_for_none() -> None:
    X, _ = make_blobs(300, centers=3, cluster_std=0.2, random_state=0)
    assert choice.stability_of(X, lambda z, seed: groups.Centres.fit(z, 3, seed), 0) == 1
    ball = np.random.default_rng(0).normal(size=(300, 10))
    assert choice.stability_of(ball, lambda z, seed: groups.Centres.fit(z, 5, seed), 0) < 0.6


def test_targets_sharpen_assignments_as_printed(digits: np.ndarray, fitted: ist.Autoencoder) -> None:
    codes = fitted.transform(digits[:50]).astype(np.float64)
    centres = codes[:4]
    task = _Assignment(fitted.model_, centres, 2.0)
    q = 1 / (1 + np.square(codes[:, None] - centres).sum(-1) / 2.0)
    q /= q.sum(1, keepdims=True)
    np.testing.assert_allclose(task.assign(torch.from_numpy(codes).float()).detach().numpy(), q, rtol=1e-4, atol=1e-6)
    p = q**2 / q.sum(0)
    p /= p.sum(1, keepdims=True)
    np.testing.assert_allclose(task.soft(codes.astype(np.float32)), q, rtol=1e-4, atol=1e-6)
    targets = task.targets(q, None, 0)
    np.testing.assert_allclose(targets.numpy(), p, rtol=1e-4, atol=1e-6)
    x, _ = fitted.codec_.encode(digits[:50]).take(slice(None))
    divergence = float(task.divergence(Batch(x), targets).detach())
    assert divergence == pytest.approx((p * np.log(p / q)).sum(1).mean(), rel=1e-4)
    agree = _neighbourhood(codes.astype(np.float32), 0)
    smooth = agree @ q
    p = smooth**2 / smooth.sum(0)
    np.testing.assert_allclose(task.targets(q, agree, 1).numpy(), p / p.sum(1, keepdims=True), rtol=1e-4, atol=1e-6)


def test_a_neighbourhood_is_a_row_and_its_nine_nearest(digits: np.ndarray) -> None:
    from sklearn.neighbors import kneighbors_graph

    codes = np.random.default_rng(0).normal(size=(200, 5)).astype(np.float32)
    expected = kneighbors_graph(codes, 10, include_self=True).toarray() / 10
    np.testing.assert_allclose(_neighbourhood(codes, 0).toarray(), expected)
    assert np.array_equal(_neighbourhood(codes[:1], 0).toarray(), [[1.0]])


def test_the_gradient_of_the_divergence_is_the_printed_one() -> None:
    """Xie 2016, eq. 4: dL/dz = 2 sum_k (p_k - q_k) (z - c_k) / (1 + |z - c_k|^2), for s = 1."""
    rng = np.random.default_rng(0)
    z = torch.from_numpy(rng.normal(size=(6, 3))).requires_grad_()
    centres = rng.normal(size=(4, 3))
    task = _Assignment(torch.nn.Linear(1, 1).double(), centres, 1.0)  # pyright: ignore[reportArgumentType]
    q = task.assign(z)
    p = torch.from_numpy(rng.dirichlet(np.ones(4), 6))
    (torch.xlogy(p, p) - p * q.log()).sum().backward()
    difference = z.detach()[:, None] - torch.from_numpy(centres)
    near = 1 / (1 + difference.square().sum(-1))
    expected = 2 * ((p - q.detach()) * near)[..., None] * difference
    torch.testing.assert_close(z.grad, expected.sum(1))


def test_refinement_raises_both_scores_of_the_digits_and_leaves_the_autoencoder_alone(
    digits: np.ndarray, fitted: ist.Autoencoder
) -> None:
    y = load_digits().target
    before = fitted.transform(digits)
    plain = ist.Clusterer(10, autoencoder=fitted, random_state=0).fit(digits)
    refined = ist.Clusterer(10, autoencoder=fitted, refine=True, random_state=0).fit(digits)
    for score in (normalized_mutual_info_score, adjusted_rand_score):
        assert score(y, refined.labels_) > score(y, plain.labels_)
    assert np.array_equal(fitted.transform(digits), before)
    again = ist.Clusterer(10, autoencoder=fitted, refine=True, random_state=0).fit(digits)
    assert np.array_equal(again.probabilities_, refined.probabilities_)
    assert np.array_equal(refined.probabilities_.argmax(1), refined.labels_)
    explained = refined.autoencoder_.scores_["model"]["explained"]
    assert 0.5 < explained < fitted.scores_["model"]["explained"]  # the decoder learned along
    assert "refinement" in refined.autoencoder_.history_.events[-1]


def test_a_refinement_that_weighs_nothing_only_goes_on_training(digits: np.ndarray, fitted: ist.Autoencoder) -> None:
    centres = fitted.transform(digits)[:3].astype(np.float64)
    ae, found = refine(fitted, digits, groups.Centres(centres), 0, weight=0.0)
    np.testing.assert_allclose(found.centres, centres, rtol=1e-6)
    assert ae.scores_["model"]["squared_error"] < fitted.scores_["model"]["squared_error"] * 1.05


def test_predict_gives_rows_of_the_fit_what_they_got_there(blobs) -> None:
    X, _ = blobs
    ae = ist.Autoencoder(latent_dim=3, **QUICK).fit(X)
    for settings in ({}, {"method": "mixture"}, {"method": "hdbscan"}, {"n_clusters": 4, "refine": True}):
        clusterer = ist.Clusterer(autoencoder=ae, random_state=0, **settings).fit(X)
        assert np.array_equal(clusterer.predict(X[:50]), clusterer.labels_[:50])
        if settings.get("method") != "hdbscan" and settings:
            assert np.array_equal(clusterer.predict_proba(X).argmax(1), clusterer.labels_)
            np.testing.assert_allclose(clusterer.predict_proba(X).sum(1), 1)
        else:
            assert not hasattr(clusterer, "predict_proba")


@pytest.mark.parametrize(
    "settings", [{}, {"method": "mixture"}, {"method": "hdbscan"}, {"n_clusters": 3, "refine": True}]
)
def test_a_saved_clusterer_tells_the_same_groups(settings: dict, blobs, tmp_path: Path) -> None:
    X, _ = blobs
    clusterer = ist.Clusterer(autoencoder=ist.Autoencoder(latent_dim=3, **QUICK), random_state=0, **settings).fit(X)
    clusterer.save(tmp_path / "groups")
    loaded = ist.load(tmp_path / "groups")
    assert np.array_equal(loaded.predict(X), clusterer.labels_)
    assert loaded.get_params()["method"] == clusterer.method
    loaded.save(tmp_path / "again")
    assert np.array_equal(ist.load(tmp_path / "again").predict(X), clusterer.labels_)


def test_an_autoencoder_that_is_fitted_is_taken_and_one_that_is_not_is_trained(blobs) -> None:
    X, _ = blobs
    ae = ist.Autoencoder(latent_dim=2, **QUICK)
    assert ist.Clusterer(2, autoencoder=ae, random_state=0).fit(X).autoencoder_.latent_dim_ == 2
    assert not hasattr(ae, "model_")
    ae.fit(X)
    assert ist.Clusterer(2, autoencoder=ae).fit(X).autoencoder_ is ae
    frozen = clone(ist.Clusterer(2, autoencoder=FrozenEstimator(ae), random_state=0))
    assert frozen.fit(X).autoencoder_ is ae


def test_groups_of_a_table_are_told_apart_by_its_columns() -> None:
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], 150)
    df = pd.DataFrame(
        {
            "height": np.where(y, 180.0, 160.0) + rng.normal(size=300),
            "noise": rng.normal(size=300),
            "town": np.where(y, "Rome", "Oslo"),
        }
    )
    df.loc[:9, "height"] = np.nan
    clusterer = ist.Clusterer(
        2, autoencoder=ist.Autoencoder(latent_dim=2, **QUICK | {"max_epochs": 40}), random_state=0
    ).fit(df)
    tall = clusterer.clustering_.clusters[clusterer.labels_[-1]]
    inside = clusterer.labels_ == tall.label
    assert (tall.size, tall.share) == (inside.sum(), inside.mean())
    told = {distinction.column: distinction for distinction in tall.distinctions}
    assert set(told) == {"height", "town"}
    assert told["height"].inside == pytest.approx(df.height[inside].mean(), rel=1e-4)
    assert told["height"].overall == pytest.approx(df.height.mean(), rel=1e-4)
    expected = (df.height[inside].mean() - df.height.mean()) / df.height.std(ddof=0)
    assert told["height"].effect == pytest.approx(expected, rel=1e-3)
    assert told["town"].inside == pytest.approx((df.town[inside] == told["town"].category).mean())
    assert told["town"].overall == 0.5
    codes = clusterer.autoencoder_.transform(df)
    distances = np.linalg.norm(codes - clusterer.cluster_centers_[tall.label], axis=1)
    distances[clusterer.labels_ != tall.label] = np.inf
    assert list(tall.exemplars) == np.argsort(distances)[:5].tolist()
    facts = clusterer.clustering_.to_dict()
    json.dumps(facts, allow_nan=False)
    assert facts["n_clusters"] == 2
    assert clusterer.clustering_.to_table().num_rows == 2
    section = clusterer.clustering_.section()
    assert "adjusted Rand" in " ".join(section.sentences)
    assert ist.report(clusterer.autoencoder_, sections=[section]).to_dict()["sections"][0]["title"] == "Groups"


def test_images_and_series_have_groups_too(digits: np.ndarray) -> None:
    images = digits[:200].reshape(-1, 8, 8)
    found = ist.Clusterer(3, autoencoder=ist.Autoencoder(latent_dim=4, **QUICK), random_state=0).fit(images)
    assert found.labels_.shape == (200,)
    assert all(not cluster.distinctions for cluster in found.clustering_.clusters)
    series = ist.Series(np.sin(np.arange(300) / 5), length=20, step=4)
    assert len(ist.Clusterer(2, autoencoder=ist.Autoencoder(latent_dim=2, **QUICK)).fit(series).labels_) == len(series)


def test_global_generators_are_left_alone(blobs) -> None:
    np.random.seed(1)
    torch.manual_seed(1)
    before = np.random.get_state()[1].copy(), torch.get_rng_state()
    ist.Clusterer(3, autoencoder=ist.Autoencoder(latent_dim=2, max_epochs=2, verbose=False), refine=True).fit(blobs[0])
    assert np.array_equal(before[0], np.random.get_state()[1])
    assert torch.equal(before[1], torch.get_rng_state())


def test_what_cannot_be_is_refused_in_a_sentence(blobs, digits: np.ndarray, fitted: ist.Autoencoder) -> None:
    X, _ = blobs
    bits = ist.binary(latent_dim=8, **QUICK).fit(X)
    ae = ist.Autoencoder(latent_dim=2, **QUICK).fit(X)
    few = np.repeat(X[:2], 20, axis=0)
    for settings, data, sentence in (
        ({"n_clusters": 500, "autoencoder": ae}, X, "n_clusters=500 is more than the 400 rows"),
        ({"n_clusters": 3, "autoencoder": ae}, few, "3 is more than the 2 different codes of 40 rows"),
        ({"n_clusters": 0}, X, "n_clusters=0 must be a whole number"),
        ({"n_clusters": "many"}, X, "or 'auto'"),
        ({"method": "ward"}, X, "method='ward' is not known"),
        ({"method": "hdbscan", "n_clusters": 3}, X, "finds the number of groups itself"),
        ({"method": "hdbscan", "refine": True}, X, "needs centres"),
        ({"autoencoder": "ae"}, X, "is no Autoencoder"),
        ({"autoencoder": ae}, X[:1], "1 row"),
        ({"autoencoder": ae}, np.repeat(X[:1], 9, axis=0), "All 9 rows have the same code"),
        ({}, np.ones((50, 3)), "constant|same code|alike|vary"),
        ({"autoencoder": fitted}, X, "expecting 64 features"),
        ({"n_clusters": 2, "autoencoder": bits, "refine": True}, X, "Binary are rounded"),
    ):
        with pytest.raises((IsthmusError, ValueError), match=sentence):
            ist.Clusterer(random_state=0, **settings).fit(data)
    assert issubclass(DataError, ValueError)


def test_gaussian_mixtures_of_equal_codes_have_a_floor() -> None:
    codes = np.repeat(np.eye(3), 40, axis=0)
    assert isinstance(groups.fit_mixture(codes, 3, 0), GaussianMixture)
    assert min(choice.bic_of(codes, 0), key=choice.bic_of(codes, 0).__getitem__) == 3
