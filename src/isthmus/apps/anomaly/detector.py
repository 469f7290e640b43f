"""The anomaly detector: a scikit-learn outlier detector that needs no tuning and no guess of how many anomalies there are."""

from __future__ import annotations

import os
from numbers import Integral
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from isthmus import persistence
from isthmus.apps.anomaly.calibration import Calibration, check_share
from isthmus.apps.anomaly.decisions import Cut, OperatingCurve, decide
from isthmus.apps.anomaly.ensemble import PRUNED, learn_ensemble
from isthmus.apps.anomaly.findings import Findings, find
from isthmus.apps.anomaly.given import learn_given
from isthmus.apps.anomaly.health import check_extremes, check_finite, check_rows, check_scores
from isthmus.apps.anomaly.pictures import find_regions
from isthmus.apps.anomaly.reasons import find_reasons
from isthmus.apps.anomaly.saving import restore, to_saved
from isthmus.apps.anomaly.sections import page_of
from isthmus.apps.anomaly.series import PointScores, by_point, learn_series, points_from
from isthmus.apps.anomaly.streams import Drift, learn_on, measure_drift, reference_of, renewed
from isthmus.apps.anomaly.verdicts import Verdicts
from isthmus.apps.page import Page
from isthmus.data import Series
from isthmus.data.rows import Rows
from isthmus.errors import DataError, SettingError
from isthmus.estimator import Autoencoder
from isthmus.inputs import check_input, learn_rows


class AnomalyDetector(Verdicts, OutlierMixin, BaseEstimator):
    """Find rows that do not belong, say how sure that is, and say why.

    Without ``autoencoder`` it learns by a recipe of its own: a third of the rows, those an isolation forest, then distances and
    rarities find oddest, is set aside; eight small autoencoders, each on a half of what is left, give residuals; small samples
    give distances; every column gives the rarity of its values; the three tail probabilities are multiplied. Every training row
    is judged by the members that have not seen it, which calibrates the scores: a p-value of .01 is reached by one normal row
    in a hundred.

    Parameters
    ----------
    autoencoder : None, or an autoencoder, fitted or not, whose residuals and codes are to judge the rows. The rows ``fit``
        is given then calibrate it; of those a fitted one has learned from, the ones it held out.
    threshold : where ``predict`` cuts, fixed at fit: "alpha" (a share ``alpha`` of rows like those of the calibration is
        flagged), "contamination" (that share of the training rows is flagged), an anomaly score, or "fdr" (at most a share
        ``fdr`` of what is flagged is flagged wrongly). The training rows alone cannot show which share of them is odd, so that
        at fit "fdr" is "alpha"; it is itself in ``recalibrate(X, batch)`` and, batch by batch, in ``detect``.
    fdr, alpha, contamination : what these rules ask for.
    novelty : are all training rows normal? Then none is set aside in learning. If some are odd all the same, or ``novelty``
        is False and some are, p-values are too large, never too small, until clean rows ``recalibrate`` them.
    random_state : the seed; numpy's and torch's own generators are never touched.

    Attributes
    ----------
    threshold_ : the anomaly score above which a row is flagged; ``offset_`` is minus it.
    cut_ : the threshold with what it costs, in numbers and words. ``calibration_``, ``operating_curve_`` : what it was
        chosen from.
    training_scores_ : the anomaly score of each row that calibrates, by members that have not seen it; not saved.
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
        stride = 1
        if self.autoencoder is None:
            X = check_input(self, X, reset=True)
            learned = learn_rows(X, "columns")
            self.codec_ = learned.codec
            check_rows(learned.rows)
            if isinstance(X, Series):
                self.judge_, scores, stride = learn_series(X, learned, not self.novelty, rng)
            else:
                self.judge_, scores = learn_ensemble(X, learned, not self.novelty, rng)
                check_extremes(scores, learned.rows, self.judge_.columns)
        elif isinstance(self.autoencoder, Autoencoder):
            X = check_input(self, X, reset=True)
            self.codec_, self.judge_, scores = learn_given(self.autoencoder, X, not self.novelty, rng)
        else:
            raise SettingError(
                f"autoencoder={self.autoencoder!r} must be an isthmus Autoencoder, fitted or not, or None."
            )
        self.reading_: dict[str, Any] = {}  # how the command line read the file, for it to read others alike
        self.training_scores_ = scores
        rows = self.codec_.view(X)
        self.reference_ = reference_of(rows, self.judge_.columns, rng)
        self.n_seen_ = len(rows)
        if self.codec_.kind == "series":
            self.point_calibration_ = Calibration(self._by_point(scores, stride * self._step_of(X)))
        return self._calibrate(scores, None)

    def partial_fit(self, X: Any, y: Any = None) -> Self:
        """Go on with rows that came later; the first call is ``fit``.

        The rows are scored as they come, before anything has seen them. These scores enter the calibration, each for a random
        older one when there are 10,000, and the threshold is fixed anew. Then the rows - unless ``novelty`` the least odd
        three quarters of them - enter the samples that distances are measured to and the frequencies of values, in the
        share they have among all rows so far. Autoencoders, scales and codec stay: when :meth:`drift` says that rows are no
        longer what they learned from, ``fit`` again.
        """
        if not hasattr(self, "cut_"):
            return self.fit(X)
        rng = np.random.default_rng([self.n_seen_, len(self.calibration_.scores)])
        rows = self._rows(X)
        scores = self.judge_.score(rows)
        usual = np.arange(len(rows)) if self.novelty else np.flatnonzero(self.calibration_.p_values(scores) > PRUNED)
        if self.codec_.kind == "series":
            points = self._by_point(scores, self._step_of(X))
            self.point_calibration_ = Calibration(renewed(self.point_calibration_.scores, points, rng))
        self._calibrate(renewed(self.calibration_.scores, scores, rng), self.batch_)
        if len(usual):
            learn_on(self.judge_, rows.subset(usual), self.n_seen_, rng)
        self.n_seen_ += len(rows)
        return self

    def drift(self, X: Any, alpha: float = 0.01) -> Drift:
        """Return whether rows are still like those ``fit`` was given: their scores, and their columns one by one."""
        check_share("alpha", alpha)
        rows = self._rows(X)
        names = list(self.judge_.columns.names) or list(map(str, getattr(self, "feature_names_in_", [])))
        names = names or [f"column {i}" for i in range(self.judge_.columns.number)]
        return measure_drift(self.reference_, self.judge_, self.calibration_, names, rows, alpha)

    def recalibrate(self, X: Any, batch: Any = None) -> Self:
        """Fix p-values and threshold anew on normal rows ``X`` that were not trained on, without training.

        ``batch``: unlabelled rows such as will be judged; they tell threshold="fdr" how many anomalies to expect, and
        threshold="contamination" where they lie.
        """
        scores = self.anomaly_score(X)
        if self.codec_.kind == "series":
            self.point_calibration_ = Calibration(self._by_point(scores, self._step_of(X)))
        return self._calibrate(scores, None if batch is None else self.anomaly_score(batch))

    def _calibrate(self, scores: np.ndarray, batch: np.ndarray | None) -> Self:
        check_scores(scores)
        calibration = Calibration(scores)
        self.cut_: Cut = decide(calibration, self.threshold, self.fdr, self.alpha, self.contamination, batch)
        self.calibration_, self.batch_ = calibration, None if batch is None else np.sort(batch)
        self.threshold_, self.offset_ = self.cut_.score, -self.cut_.score
        return self

    # -- using ------------------------------------------------------------------------------------------------------

    def anomaly_score(self, X: Any) -> np.ndarray:
        """Return (n,) how odd each row is; higher is odder."""
        rows = self._rows(X)
        return check_finite(self.judge_.score(rows))

    def detect(self, X: Any, fdr: float | None = None, smoothed: bool = False) -> np.ndarray:
        """Return (n,) which rows of this batch to flag, so that at most a share ``fdr`` of them is flagged wrongly.

        Benjamini-Hochberg over the batch: what is flagged depends on all of its rows. ``predict`` cuts row by row.
        ``smoothed`` finds more where few rows calibrate: ranks are broken at random (Vovk 2005). The promise holds as before,
        but of rows between the same two calibrating scores, or above all, chance flags some, by their place in the batch.
        """
        scores = self.anomaly_score(X)
        rng = np.random.default_rng([self.n_seen_, len(scores)]) if smoothed else None
        return self.calibration_.detect(scores, self.fdr if fdr is None else fdr, rng)

    def explain(self, X: Any, top: int = 3) -> Any:
        """Say for each row which ``top`` columns make it odd, what they hold, and what rows like it hold there.

        Of images: a heat map and the worst region (:mod:`isthmus.apps.anomaly.pictures`).
        """
        check_is_fitted(self)
        if isinstance(top, bool) or not isinstance(top, Integral) or top < 1:
            raise SettingError(f"top={top!r} must be how many columns to name, at least 1.")
        X = check_input(self, X, reset=False)
        if self.codec_.kind == "images":
            return find_regions(self, self.codec_.view(X))
        return find_reasons(self, X, self.codec_.view(X), int(top))

    def findings(self, X: Any, fdr: float | None = None) -> Findings:
        """Return scores, p-values, verdicts and reasons, as arrays, a table and sentences; ``fdr`` as in :meth:`detect`."""
        check_is_fitted(self)
        return find(self, X, fdr)

    def report(self, X: Any = None) -> Page:
        """Return a page that says what stands out in ``X`` and why, what every cut would cost, and what was learned."""
        check_is_fitted(self)
        return page_of(self) if X is None else page_of(self, find(self, X), X)

    def point_scores(self, series: Any) -> PointScores:
        """Return how odd every point of a series is, with p-values, and what each channel adds.

        ``series`` is a Series, or an array (points, channels) that is cut as in training.
        """
        check_is_fitted(self)
        if self.codec_.kind != "series":
            raise DataError(
                f"The detector has learned from {self.codec_.kind}, which have no points in time; fit it on an "
                "isthmus.Series(values, length)."
            )
        if not isinstance(series, Series):
            series = Series(series, self.codec_.layout.shape[0], self._step_of(series))
        rows = self._rows(series)
        return points_from(self.judge_, rows, len(series.values), series.length, series.step, self.point_calibration_)

    @property
    def operating_curve_(self) -> OperatingCurve:
        """What every cut would cost and flag."""
        check_is_fitted(self)
        return OperatingCurve.of(self.calibration_, self.cut_, self.batch_)

    def _by_point(self, scores: np.ndarray, step: int) -> np.ndarray:
        return by_point(scores, self.codec_.layout.shape[0], step)

    def _step_of(self, X: Any) -> int:
        codec: Any = self.codec_
        return X.step if isinstance(X, Series) else codec.step

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
