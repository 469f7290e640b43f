"""What follows from a score, a threshold and a calibration, whatever is judged."""

from __future__ import annotations

from typing import Any

import numpy as np

from isthmus.apps.anomaly.calibration import Calibration


class Verdicts:
    """scikit-learn's ways of asking a detector that knows ``anomaly_score``, and its p-values."""

    calibration_: Calibration
    offset_: float

    def anomaly_score(self, X: Any) -> np.ndarray:
        """Return (n,) how odd each sample is; higher is odder."""
        raise NotImplementedError

    def score_samples(self, X: Any) -> np.ndarray:
        """Return (n,) how normal each sample is: minus :meth:`anomaly_score`, scikit-learn's sign."""
        return -self.anomaly_score(X)

    def decision_function(self, X: Any) -> np.ndarray:
        """Return (n,) how far each sample is from being flagged; negative ones are."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> np.ndarray:
        """Return (n,) -1 for samples that are flagged and 1 for all others; none's verdict depends on its neighbours."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def p_values(self, X: Any) -> np.ndarray:
        """Return (n,) how probable it is that a normal sample is as odd; at least 1 / (those that calibrate + 1)."""
        return self.calibration_.p_values(self.anomaly_score(X))
