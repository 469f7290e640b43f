"""`isthmus sample` and `interpolate`: new rows out of a saved model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isthmus.cli.options import Data, Json, Model, Out, RandomState
from isthmus.cli.reading import as_autoencoder, autoencoder_of, read_like
from isthmus.cli.synthesizing import Balance, Where, draw_rows
from isthmus.cli.using import check_place, spare_the_input, tell
from isthmus.errors import DataError, SettingError

if TYPE_CHECKING:
    from isthmus.estimator import Autoencoder


def sample(
    model: Model,
    out: Out,
    n: Annotated[int, typer.Option("-n", "--samples", metavar="N", help="How many.")] = 100,
    sampler: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="auto, prior, mixture, flow or aggregated; the model's own if left out."),
    ] = None,
    condition: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN=VALUE", help="What a conditional model is told, or its label; repeatable."),
    ] = None,
    like: Annotated[
        Path | None, typer.Option(metavar="DATA", help="Draw from where these rows lie, and nowhere else.")
    ] = None,
    where: Where = None,
    balance: Balance = None,
    random_state: RandomState = None,
    json: Json = False,
) -> None:
    """Write new rows, in the columns and units of your data.

    Of a synthesizer (`isthmus synthesize --save`), --where and --balance say which rows.
    """
    from isthmus import Synthesizer, load, sample_like
    from isthmus.data import files

    loaded = load(model)
    if isinstance(loaded, Synthesizer):
        if sampler is not None or condition or like is not None:
            raise SettingError("a synthesizer is told by --where; leave out --sampler, --condition and --like.")
        draw_rows(loaded, out, n, where, balance, random_state, json)
        return
    if where or balance:
        raise SettingError(
            f"{str(model)!r} is a saved {type(loaded).__name__}; --where and --balance need a synthesizer: "
            "isthmus synthesize DATA -o OUT --save MODEL."
        )
    ae = as_autoencoder(loaded, model)
    check_place(out, ae.codec_.kind, folded=False)
    if sampler is not None:
        ae.set_params(sampler=sampler)
    told = _told(ae, condition)
    if like is None:
        drawn = ae.sample(n, random_state, told)
    else:
        spare_the_input(like, out)
        drawn = sample_like(ae, read_like(like, ae)[0], n, random_state, told)
    files.write(drawn, out)
    tell(json, f"{n:,} samples are in {out}", out, rows=n)


def interpolate(
    data: Data,
    model: Model,
    out: Out,
    rows: Annotated[
        list[str], typer.Option("--rows", metavar="A,B", help="From which row to which, counted from 0; repeatable.")
    ],
    steps: Annotated[int, typer.Option(metavar="N", help="Rows of a walk, both ends included.")] = 9,
    path: Annotated[str, typer.Option(metavar="NAME", help="linear or spherical.")] = "linear",
    json: Json = False,
) -> None:
    """Write the rows between two rows of DATA, walk after walk."""
    from isthmus import interpolate as walk
    from isthmus.data import files

    spare_the_input(data, out)
    ae = autoencoder_of(model)
    check_place(out, ae.codec_.kind, folded=False)
    X, _ = read_like(data, ae)
    count = len(ae.codec_.view(X))
    ends = [_ends(pair, count) for pair in rows]
    found = walk(ae, *(_picked(ae, X, list(side)) for side in zip(*ends, strict=True)), steps=steps, path=path)  # pyright: ignore[reportArgumentType] - a name the library checks
    files.write(found.samples, out)
    tell(json, f"{len(ends):,} walks of {steps} steps are in {out}", out, walks=len(ends), steps=steps)


def _told(ae: Autoencoder, given: list[str] | None) -> Any:
    """Return what --condition says: a label, or a value for each column."""
    if not given:
        return None
    if ae.condition_ is None or ae.condition_.columns is None:
        return given[0]
    pairs = [text.partition("=") for text in given]
    if any(not equals for _, equals, _ in pairs):
        raise SettingError(f"--condition {given[0]!r} names no column; write {ae.condition_.columns[0]}=VALUE.")
    return {name: _value(text) for name, _, text in pairs}


def _value(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _ends(pair: str, count: int) -> tuple[int, int]:
    """Return the two rows that "A,B" names, of so many there are."""
    parts = pair.split(",")
    if len(parts) != 2 or not all(part.strip().isdigit() for part in parts):
        raise SettingError(f"--rows {pair!r} must name two rows, as in --rows 0,5.")
    first, last = (int(part) for part in parts)
    if max(first, last) >= count:
        raise DataError(f"--rows {pair!r}: the data has the rows 0 to {count - 1}.")
    return first, last


def _picked(ae: Autoencoder, X: Any, rows: list[int]) -> Any:
    """Return some rows of what was read."""
    import numpy as np

    from isthmus.data import Images, Series

    if hasattr(X, "column_names"):
        return X.take(rows)
    if isinstance(X, Images):
        return replace(X, pixels=X.pixels[rows], names=[X.names[row] for row in rows])
    if isinstance(X, Series):
        values = np.asarray(X.values).reshape(len(X.values), -1)
        return np.stack([values[row * X.step : row * X.step + X.length] for row in rows])
    return X[rows]
