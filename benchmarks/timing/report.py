"""One case as a table for people, and as JSON for programs."""

from __future__ import annotations

import math
import sys
from dataclasses import asdict, dataclass, field
from typing import Any

Cell = str | float | None


@dataclass
class Report:
    """What a case has found."""

    case: str
    title: str
    columns: list[str]
    rows: list[list[Cell]] = field(default_factory=list)
    """The first cell is a name; None stands for what was not measured, infinity for "never"."""
    notes: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    """Who did not take part, and why."""
    rounds: dict[str, Any] = field(default_factory=dict)
    """Every single measurement, by name."""

    def show(self) -> None:
        """Print the table, what it means, and who is missing."""
        lines = [self.columns, *[[text(cell) for cell in row] for row in self.rows]]
        widths = [max(len(line[place]) for line in lines) for place in range(len(self.columns))]
        print(f"\n{self.title}\n" + "-" * min(len(self.title), 100))
        for line in lines:
            print(
                "  ".join([line[0].ljust(widths[0]), *[c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True)]])
            )
        for note in self.notes:
            print(f"  {note}")
        for reason in dict.fromkeys(self.skipped.values()):
            names = [name for name, why in self.skipped.items() if why == reason]
            print(f"  skipped: {'; '.join(names)}: {reason}")
        sys.stdout.flush()

    def to_json(self) -> dict[str, Any]:
        """Return everything; numbers that JSON does not know become None."""
        return _plain(asdict(self))


def text(cell: Cell) -> str:
    """Return three digits of a number."""
    if cell is None:
        return "-"
    if isinstance(cell, str):
        return cell
    if math.isinf(cell):
        return "never"
    size = abs(cell)
    places = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
    return f"{cell:.2g}" if 0 < size < 0.01 else f"{cell:,.{places}f}"


def span(values: list[float]) -> str:
    """Return the least and the most."""
    return f"{text(min(values))}..{text(max(values))}"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
