"""What filling the gaps of a table gave: the table, what it is worth column by column, draws and intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from isthmus.apps.section import Section, Table
from isthmus.apps.words import percent, plain


@dataclass(frozen=True)
class ColumnResult:
    """How well a column can be filled, measured on observed cells that were hidden from those who filled them."""

    name: str
    kind: str
    """ "number" or "category"."""
    gaps: int
    """How many cells were filled."""
    error: float | None
    """Of numbers the root mean squared error in standard deviations, of categories the share of wrong answers."""
    plain_error: float | None
    """The same for the mean, or the most frequent category."""
    judged: int
    """On how many hidden cells; of a column that follows from others, where those are missing as well."""
    follows: Sequence[str] = ()
    """The columns from which this one follows: each of their values goes with one of its own."""

    @property
    def gain(self) -> float | None:
        """Which share of the error of the mean or mode is saved; None where there is nothing to save."""
        return None if not self.plain_error or self.error is None else 1 - self.error / self.plain_error

    def sentence(self) -> str:
        """Say what filling this column is worth."""
        if not self.follows:
            return self._sentence()
        given = " or ".join(map(repr, self.follows))
        return f"{self.name!r} follows from {given}; where that is missing, too: {self._sentence()}"

    def _sentence(self) -> str:
        typical = "mean" if self.kind == "number" else "most frequent value"
        if self.gain is None:
            return f"{self.name!r}: too few cells to say how well it can be filled."
        if self.gain < 0.005:
            return f"{self.name!r} can be filled no better than by its {typical}."
        return f"{self.name!r} can be filled {percent(self.gain)} better than by its {typical}."


@dataclass(frozen=True, eq=False)
class Imputation:
    """A table without gaps, and how far it can be trusted. Observed cells are what they were, in every table here."""

    table: Any
    """Each gap holds its expected value, or its most probable category."""
    low: Any
    """The same table with the lower end of an interval in the gaps of numbers and dates; None unless draws were asked for."""
    high: Any
    coverage: float
    """How probable it is that an interval holds the cell that is missing. Intervals are central; the expected value of a
    lopsided number may lie beyond one."""
    draws: tuple[Any, ...]
    """Tables whose gaps are drawn together, row by row, from what the rest of the row allows (multiple imputation)."""
    columns: tuple[ColumnResult, ...]

    @property
    def filled(self) -> int:
        """How many cells were filled."""
        return sum(column.gaps for column in self.columns)

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as plain data, without the tables."""
        columns = [asdict(column) | {"gain": column.gain} for column in self.columns]
        return plain({"filled": self.filled, "draws": len(self.draws), "coverage": self.coverage, "columns": columns})

    def section(self) -> Section:
        """Return what the report shows."""
        rows: Sequence[Sequence[Any]] = [
            (column.name, column.gaps, column.error, column.plain_error, column.judged) for column in self.columns
        ]
        header = ("column", "filled", "error", "error of mean or mode", "judged on")
        caption = "Errors on hidden cells: numbers in standard deviations, categories as the share of wrong answers."
        told = [column.sentence() for column in self.columns if column.gaps]
        return Section(
            "Filling gaps",
            (f"{self.filled:,} cells were filled.", *told),
            (Table(caption, header, rows),),
            facts=self.to_dict(),
        )
