"""How a file is read: chosen at fit, kept in the model, and done the same way ever after."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from isthmus.errors import DataError, SettingError

if TYPE_CHECKING:
    import pyarrow as pa

    from isthmus.apps.anomaly.detector import AnomalyDetector
    from isthmus.estimator import Autoencoder

    Model = Autoencoder | AnomalyDetector


class Reading(NamedTuple):
    """The reading options of a model, and the column names of the file it was trained on."""

    gaps: tuple[str, ...] = ()
    header: bool | Literal["auto"] = "auto"
    columns: tuple[str, ...] = ()
    """Only these columns; all when empty."""
    drop: tuple[str, ...] = ()
    window: int | None = None
    """Read the rows as a series, seen through windows of so many points."""
    step: int = 1
    names: tuple[str, ...] = ()
    """All columns of the training file, in order: what a file without a header is read by."""

    def to_json(self) -> dict[str, Any]:
        return {name: list(value) if isinstance(value, tuple) else value for name, value in self._asdict().items()}

    @classmethod
    def of(cls, ae: Model) -> Reading:
        """Return how the training file of a loaded model was read; a model fitted in Python has no such file."""
        state: dict[str, Any] = getattr(ae, "reading_", {})
        known: dict[str, Any] = {}
        for name, value in state.items():
            if name in cls._fields:  # a model may come from a version with other options
                known[name] = tuple(value) if isinstance(value, list) else value
        return cls(**known)


def autoencoder_of(model: Path) -> Autoencoder:
    """Load an autoencoder; a folder that holds another use of one is refused."""
    from isthmus import load

    return as_autoencoder(load(model), model)


def as_autoencoder(loaded: Any, model: Path) -> Autoencoder:
    """Return what the folder held, if it is an autoencoder."""
    from isthmus.estimator import Autoencoder

    if not isinstance(loaded, Autoencoder):
        raise SettingError(
            f"{str(model)!r} is a saved {type(loaded).__name__}; give an autoencoder, as `isthmus fit` writes."
        )
    return loaded


def read_training(path: Path, reading: Reading) -> tuple[Any, Reading]:
    """Read a file to train on; return what is in it, and the reading with the names of its columns."""
    X, _, reading = read_whole(path, reading)
    return X, reading


def read_whole(path: Path, reading: Reading) -> tuple[Any, Any, Reading]:
    """Read a file to train on; return what to learn from, all columns of the file if it has any, and the reading."""
    from isthmus.data import files

    X = files.read(path, gaps=reading.gaps, header=reading.header)
    if not hasattr(X, "column_names"):
        if reading.columns or reading.drop:
            raise DataError(f"{str(path)!r} has no named columns to choose from; leave out --columns and --drop.")
        return _as_series(X, reading), None, reading
    reading = reading._replace(names=tuple(X.column_names))
    for name in (*reading.columns, *reading.drop):
        if name not in reading.names:
            raise DataError(f"there is no column {name!r} in {str(path)!r}; it has {', '.join(reading.names)}.")
    if reading.window is not None:
        reading = reading._replace(drop=(*reading.drop, *_times(X, (*reading.columns, *reading.drop))))
    wanted = [name for name in reading.columns or reading.names if name not in reading.drop]
    if not wanted:
        raise DataError("--columns and --drop leave no column to learn from; drop fewer.")
    return _as_series(X.select(wanted), reading), X, reading


def read_like(path: Path, ae: Model) -> tuple[Any, Any]:
    """Read a file as the model's training file was read; return the data, and all columns of the file if it has any."""
    from isthmus.data import files

    codec, reading = ae.codec_, Reading.of(ae)
    hints = reading.names or tuple(codec.feature_names or ()) or None
    X = files.read(path, gaps=reading.gaps, header=reading.header, columns=hints, layout=codec.layout)
    if not hasattr(X, "column_names"):
        return _as_series(X, reading), None
    if codec.kind == "table":
        return _known_columns(X, codec.feature_names or [], reading), X
    chosen = [name for name in reading.columns or X.column_names if name not in reading.drop]
    table = X.select([name for name in chosen if name in X.column_names])
    return (_as_series(table, reading) if reading.window else numbers(table)), X


def numbers(table: pa.Table) -> Any:
    """Return a table of numbers as an array (rows, columns); gaps are NaN."""
    import numpy as np
    import pyarrow.types as pt

    for field in table.schema:
        if not (pt.is_integer(field.type) or pt.is_floating(field.type) or pt.is_null(field.type)):
            raise DataError(f"column {field.name!r} holds {field.type}, where numbers are needed; leave it out.")
    columns = [column.cast("float64").to_numpy() for column in table.columns]
    return np.column_stack(columns) if columns else np.empty((table.num_rows, 0))


def _known_columns(table: pa.Table, names: list[str], reading: Reading) -> pa.Table:
    """Keep the columns that the model knows; say which others there are, unless they were left out at fit too."""
    import warnings

    from isthmus.errors import DataWarning

    missing = [name for name in names if name not in table.column_names]
    if missing:
        raise DataError(
            f"the data has no column {missing[0]!r}{f' (and {len(missing) - 1} more)' if len(missing) > 1 else ''}, which "
            f"the model was trained on; it has {', '.join(table.column_names)}."
        )
    unknown = [name for name in table.column_names if name not in names and name not in reading.names]
    if unknown:
        listed = ", ".join(map(repr, unknown[:5])) + (f" and {len(unknown) - 5} more" if len(unknown) > 5 else "")
        warnings.warn(f"columns unknown to the model were not read: {listed}.", DataWarning, stacklevel=3)
    return table.select(names)


def _times(table: pa.Table, named: tuple[str, ...]) -> list[str]:
    """Return the columns of times, which order a series and are no channel of it; those that were ``named`` stay."""
    import warnings

    import pyarrow.types as pt

    from isthmus.errors import DataWarning

    found = [field.name for field in table.schema if pt.is_temporal(field.type) and field.name not in named]
    if found:
        said = "holds times" if len(found) == 1 else "hold times"
        warnings.warn(
            f"{', '.join(map(repr, found))} {said}: it orders the rows and is not learned.", DataWarning, stacklevel=3
        )
    return found


def _as_series(X: Any, reading: Reading) -> Any:
    """See the rows of a table or array through windows, where that was asked for."""
    if reading.window is None:
        return X
    from isthmus.data import Series

    values = numbers(X) if hasattr(X, "column_names") else X
    return Series(values, length=reading.window, step=reading.step)
