"""The clusterer: groups of rows, found among the codes of an autoencoder, with scikit-learn's manners."""

from __future__ import annotations

import os
import warnings
from functools import partial
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClusterMixin, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from isthmus import persistence
from isthmus.apps.clustering.choice import bic_of, silhouette_of, stability_of
from isthmus.apps.clustering.groups import METHODS, Centres, Density
from isthmus.apps.clustering.refinement import refine
from isthmus.apps.clustering.summary import Clustering, describe_groups
from isthmus.errors import DataError, SettingError
from isthmus.estimator import Autoencoder
from isthmus.folder import to_saved


def _knows_probabilities(clusterer: Clusterer) -> bool:
    if clusterer.method == "mixture" or clusterer.refine:
        return True
    raise AttributeError(
        f"method={clusterer.method!r} knows no probabilities of groups; use method='mixture' or refine=True."
    )


class Clusterer(ClusterMixin, BaseEstimator):
    """Find groups of rows by their codes.

    Parameters
    ----------
    n_clusters : how many; "auto" takes the number of normal distributions whose mixture has the least Bayesian information
        criterion on the codes. "hdbscan" finds the number itself.
    method : "kmeans", "mixture" (normal distributions of any shape; knows probabilities) or "hdbscan" (dense regions; rows
        between them belong to none, -1).
    autoencoder : whose codes. None trains ``Autoencoder()`` on the rows; one that is not fitted is cloned and trained on
        them; a fitted one is taken as it is. ``sklearn.base.clone`` forgets what it has learned, unless it is wrapped in
        ``sklearn.frozen.FrozenEstimator``.
    refine : let the encoder learn on, so that its codes fall into groups on which neighbouring rows agree (deep embedded
        clustering, Xie 2016, Guo 2017). The autoencoder that was given stays as it is.
    random_state : the seed.

    Attributes
    ----------
    labels_ : (n,) the group of each row.
    n_clusters_ : how many groups there are.
    cluster_centers_ : (n_clusters_, d) among the codes.
    probabilities_ : (n, n_clusters_) how probable each group is ("mixture", or refined); for "hdbscan" (n,) how firmly each row
        belongs to its group; None for k-means.
    clustering_ : what the groups are made of, how firmly they stand: ``to_dict()``, ``section()``, ``to_table()``.
    autoencoder_ : the autoencoder whose codes they are found among, after the refinement.

    >>> import numpy as np, isthmus as ist
    >>> X = np.repeat(np.eye(4), 30, axis=0) + 0.01 * np.random.default_rng(0).normal(size=(120, 4))
    >>> ist.Clusterer(autoencoder=ist.Autoencoder(max_epochs=2, verbose=False), random_state=0).fit(X).n_clusters_
    4
    """

    def __init__(
        self,
        n_clusters: int | str = "auto",
        method: str = "kmeans",
        autoencoder: Any = None,
        refine: bool = False,
        random_state: Any = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.method = method
        self.autoencoder = autoencoder
        self.refine = refine
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Find the groups of the rows of ``X``; ``y`` is ignored."""
        self._check_settings()
        if self.random_state is None:  # check_random_state would draw from numpy's global generator
            seed = int(np.random.SeedSequence().generate_state(1)[0]) >> 1
        else:
            seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        ae = self._fitted_autoencoder(X, seed)
        codes = ae.transform(X)
        k, bic = self._number(codes, seed)
        method = METHODS[self.method]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # what stands on shaky ground, the stability says
            groups = method.fit(codes, k, seed)
            stability = None if k == 1 else stability_of(codes, partial(_fitted, method, k), seed)
        if self.refine and k > 1:
            ae, groups = refine(ae, X, groups, seed)
            codes = ae.transform(X)
        self._groups, self.autoencoder_ = groups, ae
        self.labels_ = groups.predict(codes)
        self.cluster_centers_, self.n_clusters_ = groups.centres, len(groups.centres)
        self.probabilities_ = groups.strengths if isinstance(groups, Density) else groups.probabilities(codes)
        self.n_features_in_ = ae.n_features_in_
        if hasattr(ae, "feature_names_in_"):
            self.feature_names_in_ = ae.feature_names_in_
        self.clustering_ = Clustering(
            self.method,
            bool(self.refine and k > 1),
            self.labels_,
            describe_groups(ae, X, codes, self.labels_, groups.centres),
            bic,
            stability if self.n_clusters_ > 1 else None,
            silhouette_of(codes, self.labels_, seed),
        )
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return the group of each row of ``X``, (n,); rows of the fit get what they got there."""
        check_is_fitted(self)
        return self._groups.predict(self.autoencoder_.transform(X))

    @available_if(_knows_probabilities)
    def predict_proba(self, X: Any) -> np.ndarray:
        """Return how probable each group is for each row of ``X``, (n, n_clusters_)."""
        check_is_fitted(self)
        codes = self.autoencoder_.transform(X)
        found = self._groups.probabilities(codes)
        return np.ones((len(codes), 1)) if found is None else found  # a single group was not refined

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a folder that holds the groups and the autoencoder; ``ist.load`` reads it. Labels of the fit stay behind."""
        check_is_fitted(self)
        config = {
            "params": {name: getattr(self, name) for name in ("n_clusters", "method", "refine")},
            "n_features_in": self.n_features_in_,
        }
        card = (
            (
                f"# An Isthmus clusterer\n\n{' '.join(self.clustering_.sentences())}\n\n```python\nimport isthmus as ist\n"
                'ist.load("this folder").predict(X)\n```\n'
            )
            if hasattr(self, "clustering_")
            else "# An Isthmus clusterer\n"
        )
        inside = {"autoencoder": to_saved(self.autoencoder_)}
        facts = self.clustering_.to_dict() if hasattr(self, "clustering_") else {}
        saved = persistence.Saved("clusterer", config, {}, {}, self._groups.arrays(), facts, card=card, inside=inside)
        persistence.write(saved, path)

    def _check_settings(self) -> None:
        if self.method not in METHODS:
            raise SettingError(f"method={self.method!r} is not known; choose one of {', '.join(METHODS)}.")
        is_number = hasattr(self.n_clusters, "__index__") and int(self.n_clusters) >= 1
        if self.n_clusters != "auto" and not is_number:
            raise SettingError(f"n_clusters={self.n_clusters!r} must be a whole number of at least 1, or 'auto'.")
        if self.method == "hdbscan" and is_number:
            raise SettingError("method='hdbscan' finds the number of groups itself; leave out n_clusters.")
        if self.method == "hdbscan" and self.refine:
            raise SettingError(
                "refine=True needs centres, which method='hdbscan' has none of; use 'kmeans' or 'mixture'."
            )

    def _fitted_autoencoder(self, X: Any, seed: int) -> Any:
        given = self.autoencoder
        given = given.estimator if isinstance(given, FrozenEstimator) else given
        if given is None:
            return Autoencoder(random_state=seed, verbose=False).fit(X)
        if not isinstance(given, Autoencoder):
            raise SettingError(f"autoencoder={given!r} is no Autoencoder; leave it out, or give one.")
        if hasattr(given, "model_"):
            return given
        fresh: Any = clone(given)
        return (fresh.set_params(random_state=seed) if fresh.random_state is None else fresh).fit(X)

    def _number(self, codes: np.ndarray, seed: int) -> tuple[int, dict[int, float]]:
        """Return how many groups to look for; 0 where the method finds out."""
        if len(codes) < 2:
            raise DataError(
                f"There is {len(codes)} row (n_samples = {len(codes)}), but groups need at least 2 samples."
            )
        different = len(np.unique(codes, axis=0))
        if different == 1:
            raise DataError(f"All {len(codes)} rows have the same code, so there is nothing to tell apart.")
        if self.method == "hdbscan":
            return 0, {}
        if self.n_clusters == "auto":
            bic = bic_of(codes, seed)
            return min(bic, key=bic.__getitem__), bic
        k = int(self.n_clusters)
        if k > different:
            what = (
                f"{len(codes)} rows" if different == len(codes) else f"{different} different codes of {len(codes)} rows"
            )
            raise SettingError(f"n_clusters={k} is more than the {what}; use at most {different}.")
        return k, {}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = True
        tags.input_tags.three_d_array = True
        return tags


def _fitted(method: Any, k: int, codes: np.ndarray, seed: int) -> Any:
    return method.fit(codes, min(k, len(np.unique(codes, axis=0))), seed)


def _rebuild(saved: persistence.Saved, **parts: Any) -> Clusterer:
    clusterer = Clusterer(**saved.config["params"])
    arrays = saved.arrays
    clusterer.autoencoder_ = persistence.rebuild(saved.inside["autoencoder"], "autoencoder", **parts)
    if "scale" in arrays:
        clusterer._groups = Centres(arrays["centres"], float(arrays["scale"][0]))
    else:
        clusterer._groups = METHODS[clusterer.method](**arrays)
    clusterer.cluster_centers_, clusterer.n_clusters_ = clusterer._groups.centres, len(clusterer._groups.centres)
    clusterer.n_features_in_ = saved.config["n_features_in"]
    return clusterer


persistence.register("clusterer", _rebuild)
