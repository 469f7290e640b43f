"""A section of the report: what one use found, as sentences, tables and plots. Uses make them, the page shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from isthmus.apps.words import plain

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes


class Drawable(Protocol):
    """A display that can draw itself."""

    def plot(self, ax: Axes | None = None) -> Any: ...


class Figure(NamedTuple):
    """A plot of a section."""

    display: Drawable
    name: str
    """Of letters, digits and underscores; no two figures of a page share one."""
    label: str
    """What the plot shows, for those who cannot see it."""
    size: tuple[float, float] = (4.7, 2.3)
    """Width and height in inches."""


class Table(NamedTuple):
    """A table of a section; numbers are written with four significant digits, None as a dash."""

    caption: str
    header: tuple[str, ...]
    rows: Sequence[Sequence[Any]]


class Picture(NamedTuple):
    """Images shown one below the other, with a line of text."""

    images: tuple[np.ndarray, ...]
    """Each uint8, (h, w), (h, w, 3) or (h, w, 4)."""
    caption: str


@dataclass(frozen=True)
class Section:
    """What one use of a model found.

    >>> Section("Gaps", ("3 of 10 cells were filled.",), facts={"filled": 3}).to_dict()
    {'title': 'Gaps', 'sentences': ['3 of 10 cells were filled.'], 'tables': [], 'filled': 3}
    """

    title: str
    sentences: tuple[str, ...]
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    pictures: tuple[Picture, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)
    """What stands in report.json besides: the result's own ``to_dict()``."""

    def to_dict(self) -> dict[str, Any]:
        """Return title, sentences, tables and facts as plain data."""
        tables = [table._asdict() for table in self.tables]
        return plain({"title": self.title, "sentences": self.sentences, "tables": tables} | self.facts)
