"""How good a synthetic table is, beside real rows, copies and independent columns."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from isthmus.apps.section import Section, Table
from isthmus.apps.synthesis.scores import (
    MOST_COMPARED,
    Plain,
    as_numbers,
    closest_share,
    copies,
    detection,
    pairs,
    shapes,
    taught,
)
from isthmus.apps.words import percent, plain
from isthmus.errors import DataError

FEWEST = 30
"""Rows of a side below which no figure means anything."""
ERRORS = 3
"""Standard errors beyond which nearness to training rows is called copying."""


@dataclass(frozen=True)
class Fidelity:
    """The figures of one table."""

    name: str
    shapes: float
    """How alike single columns are to held-out rows, 1 at best; independent columns have it too."""
    pairs: float
    """How alike pairs of columns are, 1 at best."""
    detection: float
    """The AUC with which boosted trees tell held-out rows from these; 0.5 at best."""
    taught: float | None
    """How well trees taught by these rows know the target of held-out ones (AUC, accuracy or R2); None without a target."""
    closest: float
    """Share of rows nearer to a training row than to a held-out one; 0.5 where nothing is copied."""
    copies: float
    """Share of exact copies of training rows, less that of held-out rows."""


@dataclass(frozen=True)
class SyntheticQuality:
    """The figures of synthetic rows, and of what they should be set beside.

    Copies of training rows have every figure perfect but the last two, independent columns the shapes: read them together.
    """

    synthetic: Fidelity
    real: Fidelity
    """The training rows themselves, as seen from held-out rows: what is left by chance. Its nearness means nothing."""
    bootstrap: Fidelity
    """Training rows drawn with replacement."""
    independent: Fidelity
    """Every column drawn by itself."""
    target: str | None
    closest_error: float
    """The standard error of ``closest`` if nothing is copied."""

    def to_dict(self) -> dict[str, Any]:
        """Return every figure as plain data."""
        return plain(asdict(self))

    @property
    def copied(self) -> bool:
        """Whether rows are nearer to training rows than chance explains."""
        return self.synthetic.closest - 0.5 > ERRORS * self.closest_error

    @property
    def sentences(self) -> tuple[str, ...]:
        """What the figures mean."""
        ours, real, apart = self.synthetic, self.real, self.independent
        lines = [
            f"Boosted trees tell synthetic from held-out rows with an AUC of {ours.detection:.2f} (training rows "
            f"{real.detection:.2f}, independent columns {apart.detection:.2f}).",
            f"Pairs of columns are alike by {ours.pairs:.3f} (training rows {real.pairs:.3f}, independent columns "
            f"{apart.pairs:.3f}).",
        ]
        if ours.taught is not None and real.taught is not None:
            lines.append(
                f"Taught by synthetic rows, trees know {self.target!r} of held-out rows by {ours.taught:.3f}; taught by real "
                f"ones, {real.taught:.3f}."
            )
        near = f"{percent(ours.closest)} of the rows are nearer to a training row than to a held-out one"
        lines.append(
            f"{near}, more than chance explains: training rows shine through."
            if self.copied
            else f"{near}, where {percent(0.5)} means that nothing is copied."
        )
        return tuple(lines)

    def section(self) -> Section:
        """Return the figures as a section of the report."""
        header = ("", "column shapes", "pair trends", "told from real", "teaches", "nearer to training", "copies")
        rows = [
            (f.name, f.shapes, f.pairs, f.detection, f.taught, f.closest, f.copies)
            for f in (self.real, self.synthetic, self.bootstrap, self.independent)
        ]
        table = Table("Against rows that nobody has learned from", header, rows)
        return Section("Synthetic rows", self.sentences, (table,), facts=self.to_dict())


def synthetic_quality(
    real: Any, held_out: Any, synthetic: Any, target: str | None = None, random_state: Any = 0
) -> SyntheticQuality:
    """Judge a synthetic table by rows that nobody has learned from.

    Parameters
    ----------
    real : the rows that were learned from.
    held_out : rows of the same table that were not.
    synthetic : the rows to be judged; at best as many as ``real``.
    target : a column that trees taught by synthetic rows shall know of held-out ones.

    >>> quality = ist.synthetic_quality(train, test, ist.Synthesizer().fit(train).sample(len(train)))  # doctest: +SKIP
    """
    found = as_numbers([real, held_out, synthetic])
    for what, rows in zip(("real", "held_out", "synthetic"), found.tables, strict=True):
        if len(rows) < FEWEST:
            raise DataError(f"{what} has {len(rows)} rows, too few to judge by; give at least {FEWEST}.")
    if target is not None and str(target) not in found.names:
        raise DataError(f"there is no column {target!r} to know; the tables have {', '.join(found.names)}.")
    place = None if target is None else found.names.index(str(target))
    rng = np.random.default_rng(random_state)
    train, held, ours = (rows[rng.permutation(len(rows))] for rows in found.tables)
    again = train[rng.integers(len(train), size=len(train))]
    apart = np.stack([rng.permutation(column) for column in train.T], 1)
    judged = {"synthetic": ours, "training rows": train, "bootstrap": again, "independent columns": apart}
    first, second, third, fourth = (_fidelity(name, rows, train, held, found, place) for name, rows in judged.items())
    error = 1 / math.sqrt(4 * min(len(ours), MOST_COMPARED))
    return SyntheticQuality(first, second, third, fourth, None if target is None else str(target), error)


def _fidelity(
    name: str, rows: np.ndarray, train: np.ndarray, held: np.ndarray, found: Plain, target: int | None
) -> Fidelity:
    return Fidelity(
        name,
        shapes(held, rows, found.number),
        pairs(held, rows, found.number),
        detection(held, rows, found.number),
        None if target is None else taught(rows, held, found.number, target),
        closest_share(train, held, rows, found.number),
        copies(train, held, rows),
    )
