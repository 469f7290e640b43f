"""`isthmus encode`, `decode` and `reconstruct`: a saved model at work on files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isthmus.cli.options import Data, Json, Model, Out
from isthmus.cli.printing import print_json, print_text
from isthmus.cli.reading import Reading, autoencoder_of, numbers, read_like
from isthmus.errors import DataError

if TYPE_CHECKING:
    import numpy as np

    from isthmus.estimator import Autoencoder

_NAME = "file"
"""The column that says which picture a code belongs to."""


def encode(data: Data, model: Model, out: Out, json: Json = False) -> None:
    """Write the code of every row of DATA."""
    from isthmus.data import files

    spare_the_input(data, out)
    files.check_writable(out, "array")
    ae = autoencoder_of(model)
    X, _ = read_like(data, ae)
    codes = ae.transform(X)
    files.write(_code_table(ae, codes, X) if _holds_columns(out) else codes, out)
    tell(json, f"{len(codes):,} codes of {codes.shape[1]} numbers are in {out}", out, codes=list(codes.shape))


def spare_the_input(given: Path, out: Path) -> None:
    """Refuse to write over what is read: what was measured must not be lost to what was computed from it."""
    if out.exists() and given.exists() and out.samefile(given):
        raise DataError(f"{str(out)!r} is the input; give -o another name.")


def decode(
    codes: Annotated[
        Path, typer.Argument(metavar="CODES", help="Codes that `isthmus encode` wrote: CSV, Parquet or npy.")
    ],
    model: Model,
    out: Out,
    json: Json = False,
) -> None:
    """Write the rows that CODES stand for, in the units of your data."""
    from isthmus.data import files

    spare_the_input(codes, out)
    ae = autoencoder_of(model)
    check_place(out, ae.codec_.kind, folded=False)
    decoded = ae.inverse_transform(_read_codes(codes, ae))
    files.write(decoded, out)
    tell(json, f"{len(decoded):,} decoded rows are in {out}", out, rows=len(decoded))


def reconstruct(data: Data, model: Model, out: Out, json: Json = False) -> None:
    """Write every row of DATA after its passage through the code."""
    from dataclasses import replace

    from isthmus.data import Images, files

    spare_the_input(data, out)
    ae = autoencoder_of(model)
    reading = Reading.of(ae)
    check_place(out, ae.codec_.kind, folded=reading.window is not None)
    X, _ = read_like(data, ae)
    rebuilt = ae.reconstruct(X)
    if reading.window:
        rebuilt = _folded(rebuilt, X, reading)
    elif isinstance(rebuilt, Images) and isinstance(X, Images):
        rebuilt = replace(rebuilt, names=list(X.names))
    files.write(rebuilt, out)
    tell(json, f"{len(rebuilt):,} reconstructed rows are in {out}", out, rows=len(rebuilt))


def _holds_columns(out: Path) -> bool:
    return out.suffix.lower() not in (".npy", ".npz")


def check_place(out: Path, kind: str, folded: bool) -> None:
    """Refuse a place that cannot hold what is going to be written; windows that are not folded have three axes."""
    from isthmus.data import files

    if kind == "series" and not folded and _holds_columns(out):
        raise DataError(
            f"windows of a series are an array of three axes, which {str(out)!r} cannot hold; write to .npy."
        )
    files.check_writable(out, kind)


def _code_table(ae: Autoencoder, codes: np.ndarray, X: Any) -> Any:
    """Return codes as a table; those of picture files begin with the name of the file."""
    import pyarrow as pa

    from isthmus.data import Images

    names = {_NAME: pa.array(X.names)} if isinstance(X, Images) else {}
    columns = dict(zip(map(str, ae.get_feature_names_out()), codes.T, strict=True))
    return pa.table(names | {name: pa.array(column) for name, column in columns.items()})


def _read_codes(path: Path, ae: Autoencoder) -> np.ndarray:
    """Return the codes in a file: the columns called as this model calls them, else all but the file names."""
    from isthmus.data import files

    found = files.read(path)
    if not hasattr(found, "column_names"):
        return found
    names = [str(name) for name in ae.get_feature_names_out()]
    if not set(names) <= set(found.column_names):
        names = [name for name in found.column_names if name != _NAME]
    if len(names) != len(ae.get_feature_names_out()):
        raise DataError(
            f"{str(path)!r} has {len(names)} columns, but a code of this model has {len(ae.get_feature_names_out())} "
            "numbers; decode what isthmus encode wrote with the same model."
        )
    return numbers(found.select(names))


def _folded(windows: np.ndarray, X: Any, reading: Reading) -> Any:
    """Fold overlapping windows back into one series, under the names of its columns if it had any."""
    import pyarrow as pa

    from isthmus.data.series import average

    series = average(windows, len(X.values), reading.step)
    names = [name for name in reading.columns or reading.names if name not in reading.drop]
    if len(names) != series.shape[1]:
        return series
    return pa.table(dict(zip(names, (pa.array(column) for column in series.T), strict=True)))


def tell(as_json: bool, sentence: str, out: Path, **facts: Any) -> None:
    """Say what was written where."""
    if as_json:
        print_json({"out": str(out), **facts})
    else:
        print_text(sentence)
