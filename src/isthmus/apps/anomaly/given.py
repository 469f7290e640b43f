"""Judging rows by an autoencoder of the user's: what it cannot rebuild, and how far the code lies from other codes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone

from isthmus.apps.anomaly.bags import halves, seen
from isthmus.apps.anomaly.cells import Columns
from isthmus.apps.anomaly.ensemble import prune
from isthmus.apps.anomaly.health import check_autoencoder, check_rows
from isthmus.apps.anomaly.judge import Head, Judge
from isthmus.apps.anomaly.neighbours import BAGS, MOST, Neighbours
from isthmus.apps.anomaly.residuals import Residuals
from isthmus.data.codec import Codec
from isthmus.data.fingerprint import fingerprint
from isthmus.data.rows import DenseRows, Rows
from isthmus.errors import DataError, SettingError
from isthmus.estimator import Autoencoder
from isthmus.inference import map_rows
from isthmus.inputs import learn_rows
from isthmus.layout import Layout
from isthmus.model import Model
from isthmus.resolution import scale_for
from isthmus.splitting import FEWEST_TO_HOLD_OUT, split

CALIBRATION = 0.25
"""The share of the rows that an autoencoder which is yet to be fitted does not learn from."""


class CodeDistance:
    """How far the code of a row lies from the nearest codes in small samples; one column for the whole row."""

    def __init__(self, model: Model, spread: np.ndarray, neighbours: Neighbours | None = None) -> None:
        self.model, self.spread = model, spread
        """``spread`` (numbers of a code,) is the standard deviation of each; distances are in units of it."""
        self._neighbours = neighbours

    @classmethod
    def learn(cls, model: Model, rows: Rows, bags: Sequence[np.ndarray], known: np.ndarray) -> CodeDistance:
        """Keep the codes of the bags; ``known`` are the positions of the rows the model has learned from."""
        values = _codes(model, rows)
        head = cls(model, values[known].std(0).astype(np.float32))
        head._neighbours = Neighbours.learn(head._scaled(values), Columns.of(Layout((values.shape[1],))), bags)
        return head

    @property
    def neighbours(self) -> Neighbours:
        assert self._neighbours is not None, "learned or restored"
        return self._neighbours

    def codes(self, rows: Rows) -> DenseRows:
        """Return the codes of rows, in units of their spread."""
        return self._scaled(_codes(self.model, rows))

    def of(self, rows: Rows, seen: np.ndarray | None = None) -> np.ndarray:
        return self.neighbours.of(self.codes(rows), seen).sum(1, keepdims=True)

    def _scaled(self, values: np.ndarray) -> DenseRows:
        return DenseRows(values / np.where(self.spread > 0, self.spread, 1))


def _codes(model: Model, rows: Rows) -> np.ndarray:
    found = map_rows(lambda batch: model.encode(batch).embedding, rows, model)
    return found.reshape(len(found), -1)


class Begun(NamedTuple):
    """A fitted autoencoder, the rows, and which of them it learned from, and which calibrate."""

    autoencoder: Autoencoder
    rows: Rows
    learned: np.ndarray
    calibrating: np.ndarray


def learn_given(
    autoencoder: Autoencoder, X: Any, prunes: bool, rng: np.random.Generator
) -> tuple[Codec, Judge, np.ndarray]:
    """Return codec and judge by an autoencoder, fitted where it is not, and the scores of the rows that calibrate it."""
    ae, rows, known, calibrating = (_met if hasattr(autoencoder, "model_") else _fit)(autoencoder, X, prunes, rng)
    check_rows(rows)
    columns, n = Columns.of_codec(ae.codec_), len(rows)
    overlap = getattr(rows, "overlap", 0) if known is calibrating else 0  # else windows between them are left out
    residual = Residuals([ae], columns)
    residuals = residual.settle(rows, calibrating, None)
    bags = halves(known, BAGS, MOST, rng, overlap)
    distance = CodeDistance.learn(ae.model_, rows, bags, known)
    check_autoencoder(ae, distance.spread)
    heads: dict[str, Head] = {"residual": residual, "code": distance}
    found = {"residual": residuals[calibrating], "code": distance.of(rows, seen(bags, n, overlap))[calibrating]}
    judge = Judge.settle(heads, found, np.arange(len(calibrating)), columns)
    return ae.codec_, judge, judge.combine_references(found)


def _met(autoencoder: Autoencoder, X: Any, prunes: bool, rng: np.random.Generator) -> Begun:
    """Take a fitted autoencoder; of the rows it has learned from, those it held out calibrate, of all others, all do."""
    if autoencoder.condition_ is not None and autoencoder.condition_.columns is None:
        raise SettingError(
            "A model conditioned on labels cannot judge rows whose labels it is not told; fit one without."
        )
    rows = autoencoder.codec_.encode(X)
    everyone = np.arange(len(rows))
    if fingerprint(rows) != autoencoder.fingerprint_:
        return Begun(autoencoder, rows, everyone, everyone)
    held_out = autoencoder.held_out_
    if not len(held_out):
        raise DataError(
            "The autoencoder has learned from every one of these rows, so they cannot say what is usual for others; fit it "
            "with validation_fraction above 0, or fit the detector on rows that it has not learned from."
        )
    return Begun(autoencoder, rows, np.setdiff1d(everyone, held_out), held_out)


def _fit(autoencoder: Autoencoder, X: Any, prunes: bool, rng: np.random.Generator) -> Begun:
    """Fit a copy on rows that look normal, and keep others for calibration, normal or not."""
    learned = learn_rows(X, scale_for(autoencoder.scale, autoencoder.reconstruction))
    n = len(learned.rows)
    known, calibrating = split(learned.rows, np.arange(n), CALIBRATION, int(rng.integers(2**31 - 1)))
    if not len(calibrating):
        raise DataError(
            f"{n} rows are too few to learn from some and calibrate on others; give at least {FEWEST_TO_HOLD_OUT}."
        )
    if prunes:
        known = known[prune(learned.rows.subset(known), rng)]
    weight = np.zeros(n)
    weight[known] = 1
    ae: Any = clone(autoencoder)
    ae.set_params(random_state=int(rng.integers(2**31 - 1))).fit(X, sample_weight=weight)
    return Begun(ae, ae.codec_.encode(X), known, calibrating)
