"""`isthmus features`, `latent-dims` and `map`: what codes are worth as features, how long to make them, how they look."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isthmus.cli.options import Columns, Data, Drop, Gaps, Json, Model, Out, RandomState, Step, Window
from isthmus.cli.printing import blank, print_facts, print_json, print_table, print_text
from isthmus.cli.reading import Reading, autoencoder_of, read_like, read_whole
from isthmus.cli.using import spare_the_input, tell
from isthmus.errors import DataError, SettingError

if TYPE_CHECKING:
    from isthmus.apps.section import Section
    from isthmus.estimator import Autoencoder

_Label = Annotated[
    str | None, typer.Option(metavar="COLUMN", help="A column of DATA that a probe is to tell from the codes.")
]
_Page = Annotated[Path | None, typer.Option("--report", metavar="PAGE", help="Write a page, .html, as well.")]
_PICTURES = (".png", ".svg", ".pdf")


def features(
    data: Data,
    model: Model,
    label: _Label = None,
    neighbours: Annotated[int, typer.Option("-k", min=1, metavar="N", help="How many make a neighbourhood.")] = 10,
    report: _Page = None,
    json: Json = False,
) -> None:
    """Say what the codes of DATA are worth as features, beside PCA and chance."""
    from isthmus import code_quality

    ae = autoencoder_of(model)
    X, table = read_like(data, ae)
    y = None if label is None else _column(table, label, data)
    found = code_quality(ae, X, y, k=neighbours)
    _show(found.section(), found.to_dict(), ae, X, report, json)


def latent_dims(
    data: Data,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="OUT", help="Write the curve there: CSV or Parquet.")
    ] = None,
    dims: Annotated[
        str | None, typer.Option(metavar="A,B,..", help="The sizes to try; 1, 2, 3, 4, 6, 8, .. else.")
    ] = None,
    label: _Label = None,
    effort: Annotated[
        str, typer.Option(metavar="NAME", help="quick, default or thorough: how long to train.")
    ] = "quick",
    gaps: Gaps = None,
    columns: Columns = None,
    drop: Drop = None,
    window: Window = None,
    step: Step = None,
    random_state: RandomState = 0,
    report: _Page = None,
    json: Json = False,
) -> None:
    """Train codes of several sizes on DATA, and say how long one should be."""
    from isthmus import Autoencoder, latent_dim_curve
    from isthmus.data import files

    if out is not None:
        spare_the_input(data, out)
        files.check_writable(out, "table")
    left_out = (*_names(drop), *([] if label is None else [label]))
    reading = Reading(tuple(gaps or ()), columns=_names(columns), drop=left_out, window=window, step=step or 1)
    X, table, _ = read_whole(data, reading)
    y = None if label is None else _column(table, label, data)
    form = Autoencoder(effort=effort, verbose=False)
    found = latent_dim_curve(X, y, _sizes(dims), form, random_state=random_state or 0)
    if out is not None:
        files.write(found.to_table(), out)
    facts = found.to_dict() | ({} if out is None else {"out": str(out)})
    _show(found.section(), facts, found.best_model, X, report, json)


def draw_map(
    data: Data,
    model: Model,
    out: Out,
    method: Annotated[str, typer.Option(metavar="NAME", help="auto, pca, autoencoder, tsne or umap.")] = "auto",
    color_by: Annotated[str | None, typer.Option(metavar="COLUMN", help="Colour the picture by this column.")] = None,
    random_state: RandomState = 0,
    json: Json = False,
) -> None:
    """Lay the rows of DATA out on a map: a table of points, or a picture (.png, .svg, .pdf)."""
    from isthmus import code_map
    from isthmus.data import files

    spare_the_input(data, out)
    is_picture = out.suffix.lower() in _PICTURES
    if not is_picture:
        files.check_writable(out, "table")
    ae = autoencoder_of(model)
    X, table = read_like(data, ae)
    y = None if color_by is None else _column(table, color_by, data)
    found = code_map(ae, X, y, method, random_state or 0)
    if is_picture:
        figure = found.display().plot().figure_
        figure.savefig(out, dpi=150)
    else:
        files.write(found.to_table(), out)
    facts = {name: value for name, value in found.to_dict().items() if name not in ("points", "rows")}
    tell(json, f"{' '.join(found.sentences)} It is in {out}", out, **facts)


def _show(section: Section, facts: dict[str, Any], ae: Autoencoder, X: Any, page: Path | None, json: bool) -> None:
    """Print what was found, and write the page that was asked for."""
    if page is not None:
        from isthmus.apps.report import report as make_report

        if page.suffix.lower() not in (".html", ".htm"):
            raise DataError(f"a report is a page, but {str(page)!r} does not end in .html; give it a name that does.")
        make_report(ae, X, sections=[section]).save(page)
    if json:
        print_json(facts | ({} if page is None else {"report": str(page)}))
        return
    for sentence in section.sentences:
        print_text(sentence)
    for each in section.tables:
        blank()
        print_table(each)
    if page is not None:
        blank()
        print_facts({"report": str(page)})


def _column(table: Any, name: str, data: Path) -> Any:
    """Return a column of the file, with its name."""
    if table is None or name not in table.column_names:
        known = f"; it has {', '.join(table.column_names)}" if table is not None else ", which has no named columns"
        raise DataError(f"there is no column {name!r} in {str(data)!r}{known}.")
    column = table[name]
    if column.null_count:
        raise DataError(
            f"column {name!r} has {column.null_count} gaps, and a row without a label teaches nothing; leave those rows out."
        )
    return column.to_numpy()


def _names(given: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in given.split(",")) if given else ()


def _sizes(given: str | None) -> list[int] | None:
    """Return the sizes that "1,2,4" names."""
    if given is None:
        return None
    if not all(size.strip().isdigit() for size in given.split(",")):
        raise SettingError(f"--dims {given!r} must be whole numbers, as in --dims 1,2,4,8.")
    return [int(size) for size in given.split(",")]
