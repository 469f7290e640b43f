"""Rows that do not belong, for a threshold that is moved."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from isthmus.apps.anomaly.detector import AnomalyDetector
from isthmus.apps.anomaly.findings import Findings, find
from isthmus.apps.words import plain
from isthmus.errors import DataWarning
from isthmus.estimator import Autoencoder

BARS = 60
MOST_LISTED = 40
FARTHEST = 1.5
"""The axis ends at so many times the way from the lowest score to the threshold; the last bar holds all beyond."""


@dataclass(frozen=True)
class Oddities:
    """What a detector says of the rows, and what another threshold would."""

    findings: Findings
    warned: tuple[str, ...] = ()
    """What the detector warned of."""

    @classmethod
    def of(cls, model: Autoencoder | AnomalyDetector, X: Any, seed: int = 0) -> Oddities:
        """Judge the rows of X: by a detector as it is, by an autoencoder as ``isthmus detect X -m MODEL`` does."""
        with warnings.catch_warnings(record=True) as caught:  # whoever looks at a page sees no warnings of a program
            warnings.simplefilter("always", DataWarning)
            found = _judged(model, X, seed)
        return cls(found, tuple(str(each.message) for each in caught if issubclass(each.category, DataWarning)))

    @property
    def scores(self) -> np.ndarray:
        """(n,) higher is odder."""
        return self.findings.scores

    @property
    def threshold(self) -> float:
        """Where the detector cuts by itself."""
        return self.findings.cut.score

    @property
    def sentences(self) -> list[str]:
        """What the detector warned of, and what it found."""
        return [*self.warned, *self.findings.sentences]

    def histogram(self) -> tuple[np.ndarray, np.ndarray]:
        """Return counts (bars,) and edges (bars + 1,) of the scores; what lies beyond the last edge is in the last bar."""
        low, high = float(self.scores.min()), float(self.scores.max())
        reach = self.threshold - low
        if np.isfinite(reach) and self.threshold > np.median(self.scores):
            high = min(high, low + FARTHEST * reach)
            if reach < 3 * (high - low):
                high = max(high, low + 1.05 * reach)  # the threshold is on the axis, though nothing lies beyond it
        edges = np.linspace(low, high if high > low else low + 1.0, BARS + 1)
        return np.histogram(np.minimum(self.scores, edges[-1]), edges)[0], edges

    def at(self, threshold: float) -> dict[str, Any]:
        """Return what a threshold flags, what that costs, and the oddest rows with their reasons."""
        found = self.findings
        flags = self.scores > threshold
        return plain(
            {
                "threshold": threshold,
                "flagged": int(flags.sum()),
                "false_alarm_rate": float(found.calibration.false_alarm_rate(threshold)),
                "rows": [
                    {
                        "row": place,
                        "name": found.label(place),
                        "anomaly_score": found.scores[place],
                        "p_value": found.p_values[place],
                        "flag": bool(flags[place]),
                        "reasons": [str(reason) for reason in found.reasons.get(place, ())],
                    }
                    for place in map(int, found.order[:MOST_LISTED])
                ],
            }
        )

    def to_dict(self) -> dict[str, Any]:
        """Return histogram, threshold and what it flags."""
        counts, edges = self.histogram()
        found = self.findings
        shown = {"counts": counts, "edges": edges, "noun": found.noun, "sentences": self.sentences}
        return plain(shown | {"cut": self.threshold}) | self.at(self.threshold)


def _judged(model: Autoencoder | AnomalyDetector, X: Any, seed: int) -> Findings:
    if isinstance(model, AnomalyDetector):
        return find(model, X)
    detector = AnomalyDetector(model, random_state=seed).fit(X)
    fresh = detector.training_scores_
    return find(detector, X, scores=fresh if len(fresh) == len(X) else None)
