"""`isthmus report`, `info` and `variants`: what a model is and how good it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isthmus.catalogue import FAMILIES, LEARNS_FROM, VARIANTS
from isthmus.cli.options import Json, Model
from isthmus.cli.printing import (
    blank,
    command,
    print_facts,
    print_json,
    print_notes,
    print_scores,
    print_table,
    print_text,
)
from isthmus.cli.reading import Reading, read_like
from isthmus.errors import DataError, ModelFileError, SettingError

if TYPE_CHECKING:
    from isthmus.apps.page import Page
    from isthmus.estimator import Autoencoder

MOST_COLUMNS = 30
"""More columns than these are left to --json."""


def report(
    model: Model,
    data: Annotated[Path | None, typer.Argument(metavar="[DATA]", help="Rows to show examples of and to map.")] = None,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="OUT", help="The page to write, .html.")] = Path(
        "report.html"
    ),
    color_by: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Colour the map by this column of DATA.")
    ] = None,
    json: Json = False,
) -> None:
    """Write a page that says how good a model is, and its facts as JSON."""
    from isthmus import load
    from isthmus.apps.report import report as make_report
    from isthmus.estimator import Autoencoder

    if out.suffix.lower() not in (".html", ".htm"):
        raise DataError(f"a report is a page, but {str(out)!r} does not end in .html; give it a name that does.")
    if color_by is not None and data is None:
        raise DataError("--color-by names a column of DATA; give the data too.")
    ae = load(model)
    if not isinstance(ae, Autoencoder):
        _report_use(ae, model, data, out, color_by, json)
        return
    X, table = (None, None) if data is None else read_like(data, ae)
    found = make_report(ae, X, None if color_by is None else _column(table, color_by, data), color_by)
    found.save(out)
    if json:
        facts = str(out.with_suffix(".json"))
        print_json({"report": str(out), "facts": facts, "summary": found.summary, "scope": found.scope})
        return
    print_text(found.summary)
    print_text(found.scope, "dim")
    blank()
    print_facts({"report": str(out), "facts": str(out.with_suffix(".json"))})


def info(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="The folder of a saved model.")], json: Json = False
) -> None:
    """Say what a saved model is and how good it is."""
    from isthmus import load
    from isthmus.apps.displays import rivals
    from isthmus.apps.page import setting_text
    from isthmus.apps.report import report as make_report
    from isthmus.estimator import Autoencoder

    ae = load(model)
    if not isinstance(ae, Autoencoder):
        _print_use(ae, model, json)
        return
    found = make_report(ae)
    if json:
        facts = found.to_dict()
        wanted = ("title", "summary", "data", "scores", "health", "settings")
        print_json({"model": str(model), **{name: facts[name] for name in wanted}, "reading": Reading.of(ae).to_json()})
        return
    print_text(f"{found.title[0].upper()}{found.title[1:]}", "bold")
    print_text(found.summary)
    blank()
    print_scores(ae.scores_, rivals(ae.code_size_))
    blank()
    _print_schema(ae, found.data)
    print_text("Settings", "bold")
    print_facts({name: setting_text(value) for name, value in ae.settings_.items()})
    blank()
    print_facts({"next": command("encode", "DATA", "-m", model, "-o", "codes.csv")})


def _report_use(used: Any, model: Path, data: Path | None, out: Path, color_by: str | None, json: bool) -> None:
    """Write the page of a saved model that is no single autoencoder."""
    if color_by is not None:
        raise SettingError(f"--color-by colours the codes of an autoencoder; {model} is a saved {type(used).__name__}.")
    page = _page(used, model, None if data is None else read_like(data, used)[0])
    page.save(out)
    if json:
        print_json({"report": str(out), "facts": str(out.with_suffix(".json")), "summary": page.summary})
        return
    print_text(page.summary)
    blank()
    print_facts({"report": str(out), "facts": str(out.with_suffix(".json"))})


def _print_use(used: Any, model: Path, json: bool) -> None:
    """Say what a saved model is that is no single autoencoder: the sentences and tables of its page."""
    page = _page(used, model, None)
    if json:
        print_json({"model": str(model), **page.to_dict(), "reading": Reading.of(used).to_json()})
        return
    print_text(page.title, "bold")
    print_text(page.summary)
    for section in page.sections:
        blank()
        print_text(section.title, "bold")
        for sentence in section.sentences:
            print_text(sentence)
        for table in section.tables:
            print_table(table)


def _page(used: Any, model: Path, X: Any) -> Page:
    if not hasattr(used, "report"):
        raise ModelFileError(f"{model} is a saved {type(used).__name__}, which has no page; load it in Python.")
    return used.report(X)


def variants(json: Json = False) -> None:
    """List the variants of the catalogue and their options."""
    if json:
        entries = [entry._asdict() | {"options": [option._asdict() for option in entry.options]} for entry in VARIANTS]
        print_json({"variants": entries})
        return
    for family, entry in ((family, entry) for family, entries in FAMILIES.items() for entry in entries):
        if entry is FAMILIES[family][0]:
            print_facts({"family": family})
            blank()
        print_text(entry.name, "bold")
        print_text(f"{entry.summary}; {entry.source}", indent=2)
        print_text(f"for: {entry.use}", indent=2)
        if entry.inputs != "any":
            print_text(f"learns from: {LEARNS_FROM[entry.inputs]}", indent=2)
        for option in entry.options:
            print_text(f"--option {option.name}={_shown(option.default)}  {option.help}", "dim", 2)
        blank()
    print_facts({"use": "isthmus fit DATA -o MODEL --variant NAME"})


def _column(table: Any, name: str, data: Path | None) -> Any:
    """Return a column of the file, as values to colour by."""
    if table is None or name not in table.column_names:
        known = f"; it has {', '.join(table.column_names)}" if table is not None else ""
        raise DataError(f"there is no column {name!r} in {str(data)!r}{known}.")
    return table[name].to_numpy()


def _print_schema(ae: Autoencoder, data: dict[str, Any]) -> None:
    """Print the columns that the model expects, and what was done to them."""
    if not data["columns"]:
        return
    print_text("Columns", "bold")
    shown = data["columns"][:MOST_COLUMNS]
    print_facts({each["name"]: f"{each['kind']}{', with gaps' if each['gaps'] else ''}" for each in shown})
    if len(data["columns"]) > MOST_COLUMNS:
        print_text(f"and {len(data['columns']) - MOST_COLUMNS} more; isthmus info --json lists all", "dim")
    print_notes(data["notes"])
    blank()


def _shown(default: Any) -> str:
    return ",".join(map(str, default)) if isinstance(default, tuple) else str(default)
