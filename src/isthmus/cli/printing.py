"""What commands print: calm text for people, or one JSON object for machines."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

WIDTH = 80
MOST_NOTES = 6


def console() -> Console:
    """Return a console on standard output, made anew so that it follows redirection; wide terminals get no wide lines."""
    out = Console(highlight=False)
    return out if out.width <= WIDTH else Console(highlight=False, width=WIDTH)


def print_json(value: dict[str, Any]) -> None:
    """Print one JSON object."""
    print(json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False))


def print_text(text: str, style: str = "", indent: int = 0) -> None:
    """Print a paragraph, wrapped at words; what looks like markup in it is left as it is."""
    _show(Padding(Text(text, style=style), (0, 0, 0, indent)))


def print_notes(notes: Sequence[str]) -> None:
    """Print what was done to the data, a sentence each."""
    for note in notes[:MOST_NOTES]:
        print_text(f"- {note}", "dim", 2)
    if len(notes) > MOST_NOTES:
        print_text(f"- and {len(notes) - MOST_NOTES} more (isthmus info lists them)", "dim", 2)


def print_facts(facts: dict[str, str]) -> None:
    """Print names and values in two columns."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(name, Text(value))
    _show(table)


def print_scores(scores: dict[str, Any], labels: dict[str, str]) -> None:
    """Print how good the model is, beside PCA and the mean."""
    from isthmus.apps.words import percent

    has_labels = scores["model"]["accuracy"] is not None
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    table.add_column(f"on {scores['rows']:,} {'held-out' if scores['held_out'] else 'training'} rows", min_width=24)
    for title in ("squared error", "explained", *(["right"] if has_labels else [])):
        table.add_column(title, justify="right")
    for rival, label in labels.items():
        score = scores[rival]
        cells = [label, f"{score['squared_error']:.4g}", percent(score["explained"])]
        cells += [percent(score["accuracy"])] if has_labels else []
        table.add_row(*cells, style="bold" if rival == "model" else "")
    _show(table)


def print_table(section_table: Any) -> None:
    """Print a table of a section of the report."""
    from isthmus.apps.page import cell_text

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False, title_justify="left")
    for name in section_table.header:
        table.add_column(name, overflow="fold")
    for row in section_table.rows:
        table.add_row(*(Text(cell_text(cell)) for cell in row))
    if section_table.caption:
        print_text(section_table.caption, "dim")
    _show(table)


def _show(what: RenderableType) -> None:
    """Print without the blanks that fill a line to its end."""
    out = console()
    with out.capture() as captured:
        out.print(what)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))


def command(verb: str, *words: str | Path) -> str:
    """Return a command as it can be typed here: by the path of the program where the shell would not find its name."""
    called, program = Path(sys.argv[0]), ["isthmus"]
    if not shutil.which("isthmus"):
        program = [os.path.relpath(called)] if called.name == "isthmus" else ["python", "-m", "isthmus"]
    return shlex.join([*program, verb, *(str(word) for word in words)])


def blank() -> None:
    """Print an empty line."""
    print()
