"""The anomaly detector: a scikit-learn outlier detector that needs no tuning and no guess of how many anomalies there are."""

from __future__ import annotations

import os
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from isthmus import persistence
from isthmus.apps.anomaly.calibration import Calibration
from isthmus.apps.anomaly.decisions import Cut, OperatingCurve, decide
from isthmus.apps.anomaly.ensemble import learn_ensemble
from isthmus.apps.anomaly.given import learn_given
from isthmus.apps.anomaly.health import check_scores
from isthmus.apps.anomaly.saving import restore, to_saved
from isthmus.data.rows import Rows
from isthmus.errors import SettingError
from isthmus.estimator import Autoencoder
from isthmus.inputs import check_input, learn_rows


class AnomalyDetector(OutlierMixin, BaseEstimator):
    """Find rows that do not belong, say how sure that is, and say why.

    Without ``autoencoder`` it learns by a recipe of its own: a quarter of the rows, those an isolation forest finds oddest, is
    set aside; eight small autoencoders, each on a half of what is left, give residuals; small samples give distances; every
    column gives the rarity of its values; the three tail probabilities are multiplied. Every training row is judged by the
    members that have not seen it, which calibrates the scores: a p-value of .01 is reached by one normal row in a hundred.

    Parameters
    ----------
    autoencoder : None, or an autoencoder, fitted or not, whose residuals and codes are to judge the rows. The rows ``fit``
        is given then calibrate it; of those a fitted one has learned from, the ones it held out.
    threshold : where ``predict`` cuts, fixed at fit: "fdr" (at most a share ``fdr`` of the flagged training rows is flagged
        wrongly; where none stands out, "alpha"), "alpha" (a share ``alpha`` of normal rows is flagged), "contamination" (that
        share of the training rows is flagged), or an anomaly score.
    fdr, alpha, contamination : what these rules ask for.
    novelty : are all training rows normal? Then none is set aside, neither in learning nor in calibration.
    random_state : the seed; numpy's and torch's own generators are never touched.

    Attributes
    ----------
    threshold_ : the anomaly score above which a row is flagged; ``offset_`` is minus it.
    cut_ : the threshold with what it costs, in numbers and words. ``calibration_``, ``operating_curve_`` : what it was
        chosen from.
    n_features_in_, codec_, judge_ : what was learned.

    >>> import numpy as np, isthmus as ist
    >>> X = np.random.default_rng(0).normal(size=(200, 4))
    >>> X[0] = 9
    >>> bool(ist.AnomalyDetector(random_state=0).fit(X).p_values(X[:1])[0] < 0.01)
    True
    """

    def __init__(
        self,
        autoencoder: Autoencoder | None = None,
        threshold: Any = "fdr",
        fdr: float = 0.05,
        alpha: float = 0.01,
        contamination: float | None = None,
        novelty: bool = False,
        random_state: Any = None,
    ) -> None:
        self.autoencoder = autoencoder
        self.threshold = threshold
        self.fdr = fdr
        self.alpha = alpha
        self.contamination = contamination
        self.novelty = novelty
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn what is usual in ``X`` and fix the threshold; ``y`` is ignored."""
        if self.random_state is None:  # check_random_state would draw from numpy's global generator
            rng = np.random.default_rng()
        else:
            rng = np.random.default_rng(int(check_random_state(self.random_state).randint(2**31 - 1)))
        if self.autoencoder is None:
            X = check_input(self, X, reset=True)
            learned = learn_rows(X, "columns")
            self.codec_ = learned.codec
            self.judge_, scores = learn_ensemble(X, learned, not self.novelty, rng)
        elif isinstance(self.autoencoder, Autoencoder):
            X = check_input(self, X, reset=True)
            self.codec_, self.judge_, scores = learn_given(self.autoencoder, X, not self.novelty, rng)
        else:
            raise SettingError(
                f"autoencoder={self.autoencoder!r} must be an isthmus Autoencoder, fitted or not, or None."
            )
        self.reading_: dict[str, Any] = {}  # how the command line read the file, for it to read others alike
        check_scores(scores)
        return self._calibrate(scores, "plain" if self.novelty else "robust")

    def recalibrate(self, X: Any, novelty: bool | None = None) -> Self:
        """Fix the threshold anew on rows that were not trained on, without training; ``novelty``: are all of them normal?"""
        scores = self.anomaly_score(X)
        check_scores(scores)
        return self._calibrate(scores, "plain" if (self.novelty if novelty is None else novelty) else "robust")

    def _calibrate(self, scores: np.ndarray, null: Any) -> Self:
        self.calibration_ = Calibration(scores, null)
        self.cut_: Cut = decide(self.calibration_, self.threshold, self.fdr, self.alpha, self.contamination)
        self.threshold_, self.offset_ = self.cut_.score, -self.cut_.score
        return self

    # -- using ------------------------------------------------------------------------------------------------------

    def anomaly_score(self, X: Any) -> np.ndarray:
        """Return (n,) how odd each row is; higher is odder."""
        return self.judge_.score(self._rows(X))

    def score_samples(self, X: Any) -> np.ndarray:
        """Return (n,) how normal each row is: minus :meth:`anomaly_score`, scikit-learn's sign."""
        return -self.anomaly_score(X)

    def decision_function(self, X: Any) -> np.ndarray:
        """Return (n,) how far each row is from being flagged; negative ones are."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> np.ndarray:
        """Return (n,) -1 for rows that are flagged and 1 for all others; no row's verdict depends on its neighbours."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def p_values(self, X: Any) -> np.ndarray:
        """Return (n,) how probable it is that a normal row is as odd as each; at least 1 / (rows of the calibration + 1)."""
        return self.calibration_.p_values(self.anomaly_score(X))

    def detect(self, X: Any, fdr: float | None = None) -> np.ndarray:
        """Return (n,) which rows of this batch to flag, so that at most a share ``fdr`` of them is flagged wrongly.

        Benjamini-Hochberg over the batch: what is flagged depends on all of its rows. ``predict`` cuts row by row.
        """
        return self.calibration_.detect(self.anomaly_score(X), self.fdr if fdr is None else fdr)

    @property
    def operating_curve_(self) -> OperatingCurve:
        """What every cut would cost and flag."""
        check_is_fitted(self)
        return OperatingCurve.of(self.calibration_, self.cut_)

    def _rows(self, X: Any) -> Rows:
        check_is_fitted(self)
        return self.codec_.view(check_input(self, X, reset=False))

    # -- keeping ----------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model folder: JSON and safetensors, the autoencoders as model folders within it."""
        check_is_fitted(self)
        persistence.write(to_saved(self), path)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "cut_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = True
        return tags


def _rebuild(saved: persistence.Saved) -> AnomalyDetector:
    detector = AnomalyDetector(**saved.config["params"])
    restore(detector, saved)
    return detector


persistence.register("detector", _rebuild)
