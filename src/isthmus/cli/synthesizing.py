"""`isthmus synthesize` and `augment`: rows that could have stood in a table, and variations of given samples."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isthmus.cli.options import Data, Gaps, Header, Json, Model, Out, Seed
from isthmus.cli.printing import print_json, print_text
from isthmus.cli.reading import Reading, read_like
from isthmus.cli.using import check_place, spare_the_input, tell
from isthmus.errors import DataError, SettingError

if TYPE_CHECKING:
    import numpy as np

    from isthmus.apps.synthesis import Synthesizer

Where = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COLUMN=WISH",
        help="What every row must be: a value, A|B for one of several, LOW..HIGH for a number (either end may be left "
        "out), nothing for a gap; repeatable.",
    ),
]
Balance = Annotated[str | None, typer.Option(metavar="COLUMN", help="Draw each category of this column equally often.")]


def synthesize(
    data: Data,
    out: Out,
    n: Annotated[
        int | None, typer.Option("-n", "--samples", metavar="N", help="How many rows; as many as DATA has if left out.")
    ] = None,
    where: Where = None,
    balance: Balance = None,
    held_out: Annotated[
        Path | None,
        typer.Option(metavar="DATA", help="Rows that are not learned from: judge the synthetic ones by them."),
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="A column to be known from the others, for --held-out.")
    ] = None,
    save: Annotated[
        Path | None, typer.Option(metavar="MODEL", help="Keep what was learned in this folder, for `isthmus sample`.")
    ] = None,
    gaps: Gaps = None,
    header: Header = None,
    random_state: Seed = None,
    json: Json = False,
) -> None:
    """Learn the table DATA, and write rows that could have stood in it."""
    from isthmus import Synthesizer, synthetic_quality
    from isthmus.data import files

    for given in (data, held_out):
        if given is not None:
            spare_the_input(given, out)
    reading = Reading(gaps=tuple(gaps or ()), header="auto" if header is None else header)
    X = files.read(data, gaps=reading.gaps, header=reading.header)
    if not hasattr(X, "column_names") and getattr(X, "ndim", 0) != 2:
        raise DataError(f"{str(data)!r} holds no table of rows and columns; for images and series use fit and sample.")
    files.check_writable(out, "table" if hasattr(X, "column_names") else "array")
    judges = None if held_out is None else files.read(held_out, gaps=reading.gaps, header=reading.header)
    synthesizer = Synthesizer(random_state=random_state).fit(X)
    if save is not None:
        synthesizer.save(save)
    drawn = draw_rows(
        synthesizer, out, len(X) if n is None else n, where, balance, random_state, json and judges is None
    )
    if judges is None:
        return
    quality = synthetic_quality(X, judges, drawn, target)
    if json:
        print_json({"out": str(out), "rows": len(drawn), **quality.to_dict()})
        return
    for sentence in quality.sentences:
        print_text(sentence)


def draw_rows(
    synthesizer: Synthesizer,
    out: Path,
    n: int,
    where: list[str] | None,
    balance: str | None,
    random_state: int | None,
    json: bool,
) -> Any:
    """Draw rows, write them, say so, and return them."""
    from isthmus.data import files

    files.check_writable(out, "array" if synthesizer.is_array_ else "table")
    drawn = synthesizer.sample(n, _wishes(synthesizer, where), balance, random_state)
    files.write(drawn, out)
    tell(json, f"{n:,} synthetic rows are in {out}", out, rows=n)
    return drawn


def augment(
    data: Data,
    model: Model,
    out: Out,
    n: Annotated[
        int | None, typer.Option("-n", "--samples", metavar="N", help="How many; one of each sample if left out.")
    ] = None,
    strength: Annotated[
        float, typer.Option(metavar="X", help="1 moves as far as posterior or neighbours say, 0 nowhere.")
    ] = 1.0,
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN|FILE",
            help="A column of DATA that the model was not trained on, or a file of one label a row: variations stay within "
            "a label, and what a classifier gains by them is measured.",
        ),
    ] = None,
    random_state: Seed = None,
    json: Json = False,
) -> None:
    """Write variations of the samples in DATA, and say whether a classifier gains by them."""
    from isthmus import Autoencoder, augmentation_gain, load
    from isthmus import augment as vary
    from isthmus.data import files

    spare_the_input(data, out)
    ae = load(model)
    if not isinstance(ae, Autoencoder):
        raise SettingError(
            f"{str(model)!r} is a saved {type(ae).__name__}; give an autoencoder, as `isthmus fit` writes."
        )
    check_place(out, ae.codec_.kind, folded=False)
    X, whole = read_like(data, ae)
    y = None if labels is None else _labels(labels, whole, ae.codec_.feature_names)
    found = vary(ae, X, n, strength, y, random_state=random_state)
    samples = found.samples
    if y is not None and hasattr(samples, "column_names"):
        samples = samples.append_column(_name(labels), _as_column(y[found.sources]))
    files.write(samples, out)
    told = "Nobody has measured whether a classifier gains by them: give --labels."
    facts: dict[str, Any] = {"out": str(out), "samples": len(found.sources), "sources": found.sources.tolist()}
    if y is not None:
        gain = augmentation_gain(ae, X, y, n, strength, random_state=random_state or 0)
        told, facts["gain"] = gain.sentence(), gain.to_dict()
    if json:
        print_json(facts)
        return
    print_text(f"{len(found.sources):,} variations are in {out}")
    print_text(told)


def _wishes(synthesizer: Synthesizer, where: list[str] | None) -> dict[str, Any] | None:
    """Return what --where says as the library takes it."""
    if not where:
        return None
    columns = {column.name: column for column in synthesizer.learned_.coding.columns}
    wishes: dict[str, Any] = {}
    for text in where:
        name, equals, wish = text.partition("=")
        if not equals:
            raise SettingError(f"--where {text!r} names no wish; write COLUMN=VALUE, as in --where 'income=>50K'.")
        column = columns.get(name)
        low, dots, high = wish.partition("..")
        if column is not None and column.number and dots:
            wishes[name] = (low or None, high or None)
        else:
            each = wish.split("|") if "|" in wish else [wish]
            wishes[name] = [value or None for value in each]
    return wishes


def _labels(labels: str, whole: Any, known: list[str] | None) -> np.ndarray:
    """Return the labels that --labels names: a column of the data, or a file."""
    import numpy as np

    from isthmus.data import files

    if whole is not None and labels in whole.column_names:
        if labels in (known or []):
            raise SettingError(
                f"the model was trained on the column {labels!r}, so that its variations know it; fit one with "
                f"--drop {labels}."
            )
        return np.array(whole[labels].to_pylist(), object).astype(str)
    if not Path(labels).exists():
        has = "" if whole is None else f"; the data has {', '.join(whole.column_names)}"
        raise DataError(f"--labels {labels!r} is no column of the data and no file{has}.")
    found = files.read(Path(labels))
    values = found.columns[0].to_pylist() if hasattr(found, "column_names") else np.asarray(found).ravel().tolist()
    return np.array(values, object).astype(str)


def _name(labels: str | None) -> str:
    return Path(labels or "label").stem


def _as_column(labels: np.ndarray) -> Any:
    import pyarrow as pa

    return pa.array(labels.tolist())
