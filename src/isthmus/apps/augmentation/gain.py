"""Whether a classifier gains by augmentation: measured on rows that it has not seen, with an error, before anything is said."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import torch
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from isthmus import data
from isthmus.apps.augmentation.variations import check_dials, checked_labels, vary
from isthmus.apps.imputation.merging import as_table
from isthmus.apps.section import Section, Table
from isthmus.apps.synthesis.scores import FEW, GROWN, SMALL
from isthmus.apps.synthesis.synthesizer import Synthesizer
from isthmus.apps.words import percent, plain
from isthmus.data import frames
from isthmus.errors import DataError, SettingError
from isthmus.inputs import check_input

if TYPE_CHECKING:
    from isthmus.estimator import Autoencoder

ERRORS = 2.0
"""Standard errors that a gain must exceed before it is called one."""
LABEL = "label to be learned"
"""What the labels are called as a column of a table."""

Maker = Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]]
"""Training rows (m,) and a seed -> what is added to them: features (n, d) and labels (n,)."""


@dataclass(frozen=True)
class AugmentationGain:
    """Accuracy on held-out rows with and without what was added to the training rows."""

    without: float
    augmented: float
    error: float
    """The standard error of the gain, corrected for training rows that folds share (Nadeau & Bengio 2003)."""
    rows: int
    """Labelled rows."""
    added: int
    """How many samples were added to each training set."""
    splits: int
    """How often it was measured."""
    classifier: str

    @property
    def gain(self) -> float:
        """augmented - without."""
        return self.augmented - self.without

    @property
    def verdict(self) -> Literal["helps", "hurts", "unclear"]:
        """What the figures allow to say: "helps" and "hurts" are more than two standard errors off."""
        if abs(self.gain) <= ERRORS * self.error or self.gain == 0:
            return "unclear"
        return "helps" if self.gain > 0 else "hurts"

    @property
    def recommended(self) -> bool:
        """Whether to augment."""
        return self.verdict == "helps"

    def sentence(self) -> str:
        """Say what was measured, and what to do."""
        points = f"{100 * self.gain:+.1f} points, standard error {100 * self.error:.1f}"
        measured = (
            f"With {self.added:,} samples added, the accuracy of {self.classifier} on held-out rows went from "
            f"{percent(self.without)} to {percent(self.augmented)} ({points})"
        )
        advice = {
            "helps": "augmentation helps this classifier on this data.",
            "hurts": "it hurts. Do not augment.",
            "unclear": "no more than chance explains. Do not count on it: leave it out.",
        }
        return f"{measured}: {advice[self.verdict]}"

    def to_dict(self) -> dict[str, Any]:
        """Return every figure as plain data."""
        return plain(asdict(self) | {"gain": self.gain, "verdict": self.verdict})

    def section(self) -> Section:
        """Return the figures as a section of the report."""
        rows = [("without", self.without, None), ("with", self.augmented, None), ("gain", self.gain, self.error)]
        table = Table(f"{self.splits} splits of {self.rows:,} rows", ("", "accuracy", "standard error"), rows)
        return Section("Augmentation", (self.sentence(),), (table,), facts=self.to_dict())


def augmentation_gain(
    model: Autoencoder | Synthesizer,
    X: Any,
    y: Any,
    n: int | None = None,
    strength: float = 1.0,
    classifier: Any = None,
    folds: int = 5,
    repeats: int = 3,
    random_state: int = 0,
) -> AugmentationGain:
    """Measure what a classifier gains on held-out rows when its training rows are augmented.

    Parameters
    ----------
    model : a fitted ``Autoencoder``, whose variations (:func:`augment`) keep the labels of their sources; it never sees
        labels. Or a ``Synthesizer``, which is fitted anew to the training rows of every split, labels and all.
    n : how many samples are added to a training set; None adds as many as there are.
    classifier : of scikit-learn; None takes boosted trees for tables, a support vector machine for everything else.
    folds, repeats : of stratified cross-validation.

    >>> print(ist.augmentation_gain(ae, X, y).sentence())  # doctest: +SKIP
    """
    check_dials(n, strength)
    x, maker = _of_synthesizer(model, X) if isinstance(model, Synthesizer) else _of_autoencoder(model, X, strength)
    labels = checked_labels(y, len(x))
    if labels is None:
        raise SettingError("augmentation_gain needs y, a label of each row: it measures a classifier.")
    if classifier is None:
        classifier = usual_classifier(len(x), is_table=_is_table(model))
    make = maker(labels)
    pairs, sizes = [], []
    for train, test, seed in _splits(labels, folds, repeats, random_state):
        more_x, more_y = make(train, len(train) if n is None else n, seed)
        plainly = _anew(classifier).fit(x[train], labels[train])
        richly = _anew(classifier).fit(np.concatenate([x[train], more_x]), np.concatenate([labels[train], more_y]))
        pairs.append([(each.predict(x[test]) == labels[test]).mean() for each in (plainly, richly)])
        sizes.append((len(train), len(test), len(more_x)))
    scores, (trained, tested, added) = np.array(pairs), np.mean(sizes, 0)
    spread = float((scores[:, 1] - scores[:, 0]).std(ddof=1))
    error = spread * math.sqrt(1 / len(scores) + tested / trained)
    without, augmented = scores.mean(0)
    return AugmentationGain(
        float(without), float(augmented), error, len(x), round(added), len(scores), type(classifier).__name__
    )


def _splits(labels: np.ndarray, folds: int, repeats: int, seed: int) -> list[tuple[np.ndarray, np.ndarray, int]]:
    """Return training rows, held-out rows and a seed for every split."""
    from sklearn.model_selection import RepeatedStratifiedKFold

    if not hasattr(folds, "__index__") or folds < 2 or not hasattr(repeats, "__index__") or repeats < 1:
        raise SettingError(f"folds={folds!r} must be at least 2 and repeats={repeats!r} at least 1; try 5 and 3.")
    values, counts = np.unique(labels, return_counts=True)
    if len(values) < 2:
        raise DataError("y holds a single label; there is nothing to classify.")
    if counts.min() < folds:
        rare = values[counts.argmin()]
        raise DataError(
            f"label {str(rare)!r} has {counts.min()} rows, fewer than {folds} folds; leave it out, or take fewer."
        )
    splitter = RepeatedStratifiedKFold(n_splits=folds, n_repeats=repeats, random_state=seed)
    found = splitter.split(np.zeros((len(labels), 1)), labels)
    return [(train, test, seed + 1 + place) for place, (train, test) in enumerate(found)]


def _of_autoencoder(ae: Autoencoder, X: Any, strength: float) -> tuple[np.ndarray, Any]:
    """Return the rows as features, and what makes variations of some of them."""
    check_is_fitted(ae)
    X = check_input(ae, X, reset=False)
    rows = ae.codec_.encode(X)
    told = ae._condition(X, None, len(rows))
    x = rows.take(slice(None))[0].flatten(1).numpy()

    def maker(labels: np.ndarray) -> Any:
        def make(train: np.ndarray, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
            mine = None if told is None else told[torch.from_numpy(train)]
            rng = np.random.default_rng(seed)
            made, sources = vary(ae, rows.subset(train), mine, labels[train], n, strength, True, rng)
            return made.reshape(n, -1), labels[train][sources]

        return make

    return x, maker


def _of_synthesizer(model: Synthesizer, X: Any) -> tuple[np.ndarray, Any]:
    """Return the rows as features, and what synthesizes rows like some of them."""
    table = pa.table({c.dress.name: c.values for c in frames.columns_of(as_table(X))})
    codec = data.learn(table, scale="columns")
    x = codec.encode(table).take(slice(None))[0].numpy()

    def maker(labels: np.ndarray) -> Any:
        values, codes = np.unique(labels, return_inverse=True)
        named = pa.array([f"{code:04d}" for code in codes])
        whole = table.append_column(LABEL, named)

        def make(train: np.ndarray, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
            fitted = _anew(model).set_params(random_state=seed).fit(whole.take(train))
            drawn = fitted.sample(n, random_state=seed)
            which = np.array([int(code) for code in drawn[LABEL].to_pylist()])
            return codec.encode(drawn.drop_columns(LABEL)).take(slice(None))[0].numpy(), values[which]

        return make

    return x, maker


def _anew(model: Any) -> Any:
    """Return an unfitted copy."""
    return clone(model)


def _is_table(model: Any) -> bool:
    return isinstance(model, Synthesizer) or model.codec_.kind == "table"


def usual_classifier(rows: int, is_table: bool) -> Any:
    """Return the classifier that gains are measured with, unless one is given."""
    if not is_table:
        from sklearn.svm import SVC

        return SVC()
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(random_state=0, **GROWN, **(SMALL if rows <= FEW else {}))
