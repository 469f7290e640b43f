"""How good codes are as features: beside principal components, UMAP where it is installed, and shuffled codes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from isthmus.apps.displays import CodeMapDisplay
from isthmus.apps.evidence import Evidence, gather_evidence
from isthmus.apps.features.measures import Target, in_data, mean_and_error, preserved, principal_codes, trustworthiness
from isthmus.apps.section import Figure, Section, Table
from isthmus.apps.words import percent, plain
from isthmus.errors import DataError, SettingError

if TYPE_CHECKING:
    import pyarrow as pa

    from isthmus.estimator import Autoencoder

MOST_NEIGHBOURS = 2000
"""Neighbourhoods are compared on at most so many rows: all their distances are taken."""
TESTED = 1 / 3
"""The share of rows a probe is tested on, where none were held out."""


@dataclass(frozen=True)
class Representation:
    """What one representation of the rows is worth."""

    name: str
    width: int
    """Numbers a row."""
    linear: float | None
    """Accuracy of a linear classifier of y, or R² of a ridge regression; None where no y was given."""
    neighbours: float | None
    """The same of the five nearest neighbours."""
    preserved: float
    """The mean share of a row's k nearest in the data that are among its k nearest here."""
    trustworthiness: float
    """How few of the nearest here are far away in the data (Venna & Kaski 2001); 1 is best, about 0.5 is chance."""


@dataclass(frozen=True)
class CodeQuality:
    """Codes beside other representations of the same rows."""

    representations: tuple[Representation, ...]
    """The codes, PCA of as many numbers, UMAP where it is installed, and the codes in another order: what chance scores."""
    measure: str | None
    """What the probes are measured in: "accuracy", "R²", or None without y."""
    gain: float | None
    """What the linear probe gains on codes over PCA."""
    gain_error: float | None
    """The standard error of that, over the tested rows."""
    tested: int
    """Rows the probes were tested on; they learned from others."""
    compared: int
    """Rows whose neighbourhoods were compared."""
    k: int
    scope: str
    """Which rows these are."""
    map: CodeMapDisplay

    def to_dict(self) -> dict[str, Any]:
        """Return every figure as plain data."""
        return plain({name: value for name, value in asdict(self).items() if name != "map"})

    def to_table(self) -> pa.Table:
        """Return one row a representation."""
        import pyarrow as pa

        return pa.Table.from_pylist([plain(asdict(each)) for each in self.representations])

    @property
    def sentences(self) -> tuple[str, ...]:
        """What the figures say."""
        codes, pca, null = self.representations[0], self.representations[1], self.representations[-1]
        said = []
        if self.gain is not None and self.gain_error is not None:
            firm = "more" if self.gain > 2 * self.gain_error else "less" if self.gain < -2 * self.gain_error else None
            verdict = (
                "within two standard errors, no difference" if firm is None else f"{firm} beyond two standard errors"
            )
            said.append(
                f"A linear probe reaches {codes.linear:.3f} ({self.measure}) on the codes and {pca.linear:.3f} on PCA: "
                f"{self.gain:+.3f} ± {self.gain_error:.3f} on {self.tested:,} rows, {verdict}; on shuffled codes it reaches "
                f"{null.linear:.3f}."
            )
        said.append(
            f"Of a row's {self.k} nearest neighbours in the data {percent(codes.preserved)} are among its nearest by code, "
            f"{percent(pca.preserved)} by PCA, {percent(null.preserved)} by chance."
        )
        return (*said, self.scope)

    def section(self) -> Section:
        """Return a section of the report."""
        header = ("", "numbers", "linear probe", "5 neighbours", "neighbours kept", "trustworthiness")
        rows = [tuple(asdict(each).values()) for each in self.representations]
        caption = f"neighbourhoods of {self.compared:,} rows" + (
            "" if self.measure is None else f", probes ({self.measure}) on {self.tested:,} rows they did not learn from"
        )
        figure = Figure(self.map, "feature_map", "Every row as a point: its code, coloured by what is to be told.")
        return Section(
            "Codes as features", self.sentences, (Table(caption, header, rows),), (figure,), facts=self.to_dict()
        )


def code_quality(ae: Autoencoder, X: Any, y: Any = None, k: int = 10, random_state: int = 0) -> CodeQuality:
    """Measure what the codes of a fitted autoencoder are worth as features.

    Where X is what ``ae`` was trained on, probes learn from the rows it learned from and are tested on its held-out ones;
    other rows are split at random, two thirds to learn from. Of more than 10,000 rows a random sample is used.

    Parameters
    ----------
    y : what a probe is to tell, one value a row: classes (text, booleans, at most 20 whole numbers) or numbers.
    k : how many nearest neighbours make a neighbourhood, in scaled units, a gap counting as the mean.

    >>> print(*ist.code_quality(ae, X, y).sentences, sep="\\n")  # doctest: +SKIP
    """
    check_is_fitted(ae)
    evidence = gather_evidence(ae, X)
    train, test = split(evidence, random_state)
    if not hasattr(k, "__index__") or k < 1:
        raise SettingError(f"k={k!r} must be a whole number of at least 1.")
    compared = test if len(test) >= 20 * k else np.arange(len(evidence.codes))
    compared = np.random.default_rng(random_state).permutation(compared)[:MOST_NEIGHBOURS]
    if k >= len(compared) / 2:
        raise DataError(
            f"k={k} neighbours are half of the {len(compared)} rows or more; use k={max(1, (len(compared) - 1) // 4)}."
        )
    target = None if y is None else Target(_of_rows(y, evidence), train, test)
    x, pca = in_data(ae, evidence.rows), principal_codes(ae, evidence.rows)
    rng = np.random.default_rng(random_state)
    spaces: dict[str, Callable[[], np.ndarray]] = {
        "codes": lambda: evidence.codes,
        f"PCA-{pca.shape[1]}": lambda: pca,
        f"UMAP-{pca.shape[1]}": lambda: _umap(x, pca.shape[1], random_state),
        "shuffled codes": lambda: rng.permutation(evidence.codes),
    }
    if find_spec("umap") is None:
        del spaces[f"UMAP-{pca.shape[1]}"]
    found, credits = [], []
    for name, space in spaces.items():
        z = space()
        credits.append(None if target is None else target.linear(z))
        near = None if target is None else float(target.neighbours(z).mean())
        found.append(
            Representation(
                name,
                z.shape[1],
                None if credits[-1] is None else float(credits[-1].mean()),
                near,
                preserved(x[compared], z[compared], k),
                trustworthiness(x[compared], z[compared], k),
            )
        )
    gain = (None, None) if target is None else mean_and_error(credits[0] - credits[1])
    name = None if y is None else str(getattr(y, "name", None) or "y")
    return CodeQuality(
        tuple(found),
        None if target is None else target.measure,
        *gain,
        0 if target is None else len(test),
        len(compared),
        int(k),
        _scope(evidence),
        CodeMapDisplay.from_evidence(evidence, y, name),
    )


def split(evidence: Evidence, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return which rows a probe learns from and which it is tested on."""
    count = len(evidence.codes)
    if evidence.source == "held_out":
        test = evidence.judged
        train = np.setdiff1d(np.arange(count), test)
    else:
        order = np.random.default_rng(seed).permutation(count)
        cut = round(TESTED * count)
        train, test = np.sort(order[cut:]), np.sort(order[:cut])
    if min(len(train), len(test)) < 2:
        raise DataError(f"{count} rows are too few to learn a probe from and to test it on; give at least 6.")
    return train, test


def _of_rows(y: Any, evidence: Evidence) -> np.ndarray:
    values = np.asarray(y)
    if len(values) != evidence.total:
        raise DataError(f"y has {len(values)} values, but X has {evidence.total} rows; give one value a row.")
    return values[evidence.positions]


def _umap(x: np.ndarray, width: int, seed: int) -> np.ndarray:
    from umap import UMAP  # pyright: ignore[reportMissingImports] - taken along where it is installed

    return np.asarray(UMAP(n_components=width, random_state=seed).fit_transform(x))


def _scope(evidence: Evidence) -> str:
    """Say which rows these are."""
    count, sample = (
        len(evidence.codes),
        "" if len(evidence.codes) == evidence.total else f", a random sample of {evidence.total:,}",
    )
    if evidence.source == "new":
        return f"Measured on {count:,} rows the model has not learned from{sample}."
    if evidence.source == "training":
        return (
            f"Measured on {count:,} rows the model has learned from, without their y{sample}; expect less on new ones."
        )
    return f"Measured on the {len(evidence.judged):,} rows held out of training, of {count:,}{sample}."
