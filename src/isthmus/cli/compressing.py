"""`isthmus compress`, `decompress`, `verify` and `inspect`: files that are truly smaller."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from isthmus.cli.options import Data, Effort, Gaps, Header, Json, Out, RandomState
from isthmus.cli.printing import print_facts, print_json, print_table, print_text
from isthmus.cli.using import spare_the_input
from isthmus.errors import DataError, SettingError

_File = Annotated[Path, typer.Argument(metavar="FILE", help="A file that `isthmus compress` wrote.")]
_Model = Annotated[
    Path | None,
    typer.Option("-m", "--model", metavar="MODEL", help="A saved compressor: its models need not be learned."),
]
_Reader = Annotated[
    Path | None,
    typer.Option("-m", "--model", metavar="MODEL", help="The compressor, for files that only name its model."),
]
_Bounds = list[str] | None


def compress(
    data: Data,
    out: Out,
    abs: Annotated[
        _Bounds,
        typer.Option("--abs", metavar="E|COLUMN=E", help="The largest error; of one column of a table; repeatable."),
    ] = None,
    rel: Annotated[
        _Bounds, typer.Option("--rel", metavar="E|COLUMN=E", help="The largest error as a share of the range.")
    ] = None,
    pointwise_rel: Annotated[
        float | None, typer.Option(metavar="E", help="The largest error of a number as a share of itself.")
    ] = None,
    latent: Annotated[bool, typer.Option("--latent", help="Codes alone: smallest, and no bound.")] = False,
    model: _Model = None,
    save: Annotated[Path | None, typer.Option(metavar="MODEL", help="Keep what was learned in this folder.")] = None,
    engines: Annotated[str, typer.Option(metavar="A,B", help="auto, classical (learn nothing), or names.")] = "auto",
    embed: Annotated[bool, typer.Option("--embed/--no-embed", help="Should the file carry its model?")] = True,
    compare: Annotated[bool, typer.Option("--compare", help="Show what other codecs make of the same data.")] = False,
    gaps: Gaps = None,
    header: Header = None,
    effort: Effort = None,
    random_state: RandomState = None,
    json: Json = False,
) -> None:
    """Write DATA to a smaller file that gives every value back: exactly, or within a bound."""
    from isthmus import Compressor, load

    spare_the_input(data, out)
    X = _read(data, gaps, header)
    bounds = {
        "abs": _bound("--abs", abs),
        "rel": _bound("--rel", rel),
        "pointwise_rel": pointwise_rel,
        "latent": latent,
    }
    if model is None:
        names = engines if "," not in engines else [name.strip() for name in engines.split(",")]
        compressor = Compressor(
            **bounds, engines=names, effort=effort or "default", embed=embed, random_state=random_state
        ).fit(X)
    else:
        if any(value for value in bounds.values()):
            raise SettingError(f"the bound is part of {str(model)!r}; leave it out, or compress without -m.")
        compressor = load(model)
        if not isinstance(compressor, Compressor):
            raise SettingError(f"{str(model)!r} holds a {type(compressor).__name__}; give a compressor.")
        compressor.embed = embed
    if save is not None:
        compressor.save(save)
    account = compressor.compress(X, out)
    assert not isinstance(account, bytes)
    beside = compressor.compare(X) if compare else None
    if json:
        found = {} if beside is None else {"compare": beside.to_dict()}
        print_json({"out": str(out), **account.to_dict(), **found})
        return
    print_text(f"{account.raw:,} bytes of values are {account.total:,} in {out}: {account.ratio:.2f} times smaller")
    parts = ("payload", "model", "escapes", "texts", "header", "schema", "frames", "index")
    print_facts({name: f"{getattr(account, name):,}" for name in parts if getattr(account, name)})
    if account.distance is not None:
        print_text(account.loss())
    print_text(account.verdict())
    if beside is not None:
        section = beside.section()
        print_table(section.tables[0])
        print_text(section.sentences[0])


def decompress(
    file: _File,
    out: Out,
    model: _Reader = None,
    rows: Annotated[str | None, typer.Option(metavar="A:B", help="Only rows A to B (from 0; B excluded).")] = None,
    salvage: Annotated[
        bool, typer.Option("--salvage", help="Of a damaged file, write the chunks that are whole.")
    ] = False,
    json: Json = False,
) -> None:
    """Write the data in FILE as a table, array or folder of pictures."""
    from isthmus.apps.compression.archive import Archive
    from isthmus.data import files

    spare_the_input(file, out)
    problems: list[str] = []
    with Archive(file, _models(model)) as archive:
        if salvage:
            X, problems = archive.salvage()
        elif rows is None and out.suffix == ".npy" and archive.to_npy(out):
            X = None
        else:
            X = archive.read(*_rows(rows, len(archive)))
        total = len(archive) if X is None else len(X)
    if X is not None:
        files.write(_content(X), out)
    if json:
        print_json({"out": str(out), "rows": total, "problems": problems})
        return
    for problem in problems:
        print_text(problem)
    print_text(f"{total:,} rows are in {out}")


def verify(file: _File, model: _Reader = None, json: Json = False) -> None:
    """Decode FILE and compare every chunk with its checksums; name what is damaged."""
    from isthmus.apps.compression.archive import Archive

    with Archive(file, _models(model)) as archive:
        problems, rows, chunks = archive.verify(), len(archive), len(archive.places)
    if json:
        print_json({"file": str(file), "rows": rows, "chunks": chunks, "problems": problems})
    for problem in [] if json else problems:
        print_text(problem)
    if problems:
        raise DataError(f"{str(file)!r} is damaged: {problems[0]}")
    if not json:
        print_text(
            f"{file} is whole: {rows:,} rows in {chunks:,} chunk{'s' * (chunks != 1)} decode to what was written"
        )


def inspect(file: _File, json: Json = False) -> None:
    """Say what FILE holds, decoding nothing."""
    from isthmus.apps.compression.archive import Archive

    with Archive(file) as archive:
        facts = archive.describe()
    if json:
        print_json(facts)
        return
    form = facts.pop("form")
    shown = {name: str(value) if not isinstance(value, int) else f"{value:,}" for name, value in facts.items()}
    if form["form"] == "table":
        shown["columns"] = ", ".join(plan["name"] for plan in form["schema"]["plans"])
    else:
        shown |= {
            "values": f"{form['dtype']} {form['shape']}",
            "bound": f"{form['bound']['kind']} {form['bound']['value']:g}",
        }
    print_facts(shown)


def _read(data: Path, gaps: list[str] | None, header: bool | None) -> Any:
    import numpy as np

    from isthmus.apps.compression.pictures import read_exactly
    from isthmus.data import files

    if (
        data.is_dir()
        and data.suffix.lower() != ".zarr"
        and not any(data.glob("*zarr*"))
        and not (data / ".zarray").exists()
    ):
        return read_exactly(data)
    if data.suffix.lower() == ".npy" and data.is_file():
        try:
            return np.load(data, mmap_mode="r", allow_pickle=False)  # chunk by chunk from the disk
        except ValueError:
            pass  # no array, or an empty one: the reader says so in a sentence
    return files.read(data, gaps=tuple(gaps or ()), header="auto" if header is None else header)


def _content(X: Any) -> Any:
    from isthmus.data import Series

    return X.values if isinstance(X, Series) else X


def _bound(flag: str, given: _Bounds) -> float | dict[str, float] | None:
    """Return one number, or one for each column that is named."""
    if not given:
        return None
    pairs = [text.rpartition("=") for text in given]
    try:
        numbers = {name: float(value) for name, _, value in pairs}
    except ValueError as error:
        raise SettingError(f"{flag} {given[0]!r} is no number, nor COLUMN=NUMBER.") from error
    if ("" in numbers and len(numbers) > 1) or len(numbers) < len(given):
        raise SettingError(f"{flag} is given for all columns and for some, or twice; give it once for each.")
    return numbers.get("", numbers)


def _rows(text: str | None, total: int) -> tuple[int, int]:
    if text is None:
        return 0, total
    start, colon, stop = text.partition(":")
    try:
        found = int(start or 0), int(stop) if stop else total
    except ValueError as error:
        raise SettingError(
            f"--rows {text!r} must be two whole numbers with a colon between, such as 100:200."
        ) from error
    if not colon or not 0 <= found[0] <= found[1]:
        raise SettingError(f"--rows {text!r} must be two rising numbers with a colon between, such as 100:200.")
    return found


def _models(model: Path | None) -> dict[str, bytes] | None:
    from isthmus.apps.compression.fleet import models_in

    return None if model is None else models_in(model)
