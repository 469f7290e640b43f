"""`isthmus impute`: fill the gaps of a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from isthmus.cli.options import Data, Gaps, Header, Json, Out, Seed
from isthmus.cli.printing import print_json, print_text
from isthmus.errors import DataError, SettingError

_Model = Annotated[
    Path | None,
    typer.Option(
        "-m",
        "--model",
        metavar="MODEL",
        help="An imputer, or an autoencoder, that was saved; without it DATA itself is learned from.",
    ),
]
_Draws = Annotated[
    int,
    typer.Option(min=0, metavar="N", help="Draw N tables besides, as OUT-1, OUT-2 ..; intervals as OUT-low, OUT-high."),
]
_Save = Annotated[Path | None, typer.Option(metavar="MODEL", help="Keep what was learned in this folder.")]


def impute(
    data: Data,
    out: Out,
    model: _Model = None,
    draws: _Draws = 0,
    save: _Save = None,
    gaps: Gaps = None,
    header: Header = None,
    random_state: Seed = None,
    json: Json = False,
) -> None:
    """Write DATA with every gap filled, and say how well each column could be."""
    from isthmus.data import files

    if out.exists() and data.exists() and out.samefile(data):
        raise DataError(f"{str(out)!r} is the input; give -o another name.")
    X = files.read(data, gaps=tuple(gaps or ()), header="auto" if header is None else header)
    kind = "table" if hasattr(X, "column_names") else "array"
    if kind == "array" and getattr(X, "ndim", 0) != 2:
        raise DataError(f"{str(data)!r} holds no table of rows and columns; impute fills tables.")
    places = [out, *(_beside(out, each) for each in _names(draws))]
    for place in places:
        files.check_writable(place, kind)
    imputer = _imputer(model, X, random_state)
    if save is not None:
        imputer.save(save)
    result = imputer.impute(X, draws=draws, random_state=random_state)
    tables = [result.table, *([result.low, result.high, *result.draws] if draws else [])]
    for place, table in zip(places, tables, strict=True):
        files.write(table, place)
    if json:
        print_json({"out": [str(place) for place in places], **result.to_dict()})
        return
    for column in result.columns:
        if column.gaps:
            print_text(column.sentence())
    print_text(f"{result.filled:,} cells were filled; the table is in {out}")


def _imputer(model: Path | None, X: Any, random_state: int | None) -> Any:
    """Return the saved imputer, one around the saved autoencoder, or one fitted on the table."""
    from isthmus import Autoencoder, Imputer, load

    if model is None:
        return Imputer(random_state=random_state).fit(X)
    loaded = load(model)
    if isinstance(loaded, Imputer):
        return loaded
    if not isinstance(loaded, Autoencoder):
        raise SettingError(f"{str(model)!r} is a saved {type(loaded).__name__}; give an imputer or an autoencoder.")
    return Imputer(autoencoder=loaded).fit(X)


def _names(draws: int) -> list[str]:
    return ["low", "high", *map(str, range(1, draws + 1))] if draws else []


def _beside(out: Path, name: str) -> Path:
    return out.with_name(f"{out.stem}-{name}{out.suffix}")
