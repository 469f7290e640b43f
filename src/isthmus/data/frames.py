"""Tables of any family (pandas, polars, pyarrow) <-> one Arrow array per column, and the dress each column wore.

table -> columns_of -> Column(dress, values)      values: canonical Arrow, gaps are nulls, no dictionaries
values, dress -> assemble -> table                 same family, names, dtypes, categories
"""

# pyright: reportAttributeAccessIssue=false
# (pyarrow.compute makes its functions when it is imported, where no type checker sees them)

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import narwhals as nw
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from ..errors import DataError

# Arrow's nullable stand-in for numpy dtypes that cannot hold a gap.
_NULLABLE = {
    **{f"int{bits}": f"Int{bits}" for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": f"UInt{bits}" for bits in (8, 16, 32, 64)},
    "bool": "boolean",
}


@dataclass(frozen=True)
class Dress:
    """How a column looked to the user, in plain JSON: enough to dress restored values the same way."""

    label: str | int | float | bool
    """The column name as the user wrote it (pandas allows numbers)."""
    arrow: Any
    """Arrow type, see type_to_json."""
    native: str | None = None
    """The pandas or polars dtype, where Arrow's type alone does not determine it."""
    categories: list[Any] | None = None
    """Every category of a categorical dtype, used or not, in its order."""
    categories_dtype: str | None = None
    nan_gaps: bool = False
    """True when gaps were NaN in a family that tells NaN from null."""

    @property
    def name(self) -> str:
        return str(self.label)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Column(NamedTuple):
    """One column of a table as canonical Arrow values, and its dress."""

    dress: Dress
    values: pa.Array


def family_of(X: Any) -> str:
    """Return "pandas", "polars" or "pyarrow" (which also stands for every other family)."""
    if nw.dependencies.is_pandas_dataframe(X):
        return "pandas"
    if nw.dependencies.is_polars_dataframe(X) or nw.dependencies.is_polars_lazyframe(X):
        return "polars"
    return "pyarrow"


def labels_of(X: Any) -> list[Any]:
    """Return the column names as the user wrote them; duplicates are a DataError."""
    labels = list(X.column_names if isinstance(X, pa.Table) else X.columns)
    names = [str(label) for label in labels]
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise DataError(f"column {twice[0]!r} appears {names.count(twice[0])} times; give every column its own name.")
    for label in labels:
        if isinstance(label, tuple):
            raise DataError(f"column {label!r} has a name of several levels; join them into one text first.")
    return labels


def columns_of(X: Any) -> Iterator[Column]:
    """Yield the columns of a table in order, each converted to Arrow only when asked for."""
    for label, series in zip(labels_of(X), native_columns(X), strict=True):
        yield column(label, series)


def canonical(values: pa.Array) -> pa.Array:
    """Decode dictionaries, use one text type, and turn NaN into null."""
    if pt.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if is_text(values.type):
        return values.cast(pa.large_string())
    if pt.is_floating(values.type):
        nan = pc.is_nan(values)
        if pc.any(nan).as_py():
            values = pc.if_else(nan, pa.scalar(None, values.type), values)
    return values


def is_text(kind: pa.DataType) -> bool:
    """Say whether a column of this type holds text, in any of Arrow's three forms of it."""
    return pt.is_string(kind) or pt.is_large_string(kind) or str(kind) == "string_view"


def is_time(kind: pa.DataType) -> bool:
    """Say whether a column of this type holds dates, timestamps, times of day or durations."""
    return pt.is_temporal(kind)


def length_of(X: Any) -> int:
    """Return the number of rows of a table."""
    return X.num_rows if isinstance(X, pa.Table) else len(X)


def assemble(columns: list[tuple[Dress, pa.Array]], family: str, learned: str, index: Any = None) -> Any:
    """Build a table of ``family``; dtypes of the family it was ``learned`` from are restored exactly."""
    if family != "pyarrow" and importlib.util.find_spec(family) is None:
        family = "pyarrow"
    if family == "pandas":
        return _pandas_frame(columns, exact=learned == "pandas", index=index)
    dressed = [_dressed(dress, values) for dress, values in columns]
    table = pa.table(dressed, names=[dress.name for dress, _ in columns])
    return _polars_frame(table, columns, exact=learned == "polars") if family == "polars" else table


def type_to_json(kind: pa.DataType) -> Any:
    """Write an Arrow type as plain JSON."""
    if pt.is_dictionary(kind):
        return {
            "dictionary": type_to_json(kind.value_type),
            "index": str(kind.index_type),
            "ordered": bool(kind.ordered),
        }
    if pt.is_timestamp(kind) and kind.tz is not None:
        return {"timestamp": kind.unit, "tz": kind.tz}
    if pt.is_decimal(kind):
        return {"decimal": [kind.precision, kind.scale], "bits": kind.bit_width}
    return str(kind)


def type_from_json(state: Any) -> pa.DataType:
    """Read an Arrow type from what type_to_json gave."""
    if isinstance(state, str):
        return pa.type_for_alias(state)
    if "dictionary" in state:
        index = pa.type_for_alias(state["index"])
        return pa.dictionary(index, type_from_json(state["dictionary"]), state["ordered"])
    if "timestamp" in state:
        return pa.timestamp(state["timestamp"], state["tz"])
    make = {32: pa.decimal32, 64: pa.decimal64, 128: pa.decimal128, 256: pa.decimal256}[state["bits"]]
    return make(*state["decimal"])


def native_columns(X: Any) -> Iterator[Any]:
    """Yield the columns of a table as they are; nothing is converted yet."""
    if isinstance(X, pa.Table):
        yield from (column.unify_dictionaries() for column in X.columns)
        return
    yield from nw.from_native(X, eager_only=True).iter_columns()


def column(label: Any, series: Any) -> Column:
    """Convert one native column to Arrow and note its dress."""
    label = label.item() if hasattr(label, "item") else label  # numpy numbers as pandas labels
    if isinstance(series, pa.ChunkedArray):
        native, categories_dtype, raw = None, None, series.combine_chunks()
    else:
        native, categories_dtype = _native_dtype(series)
        raw = _arrow(label, series)
    if isinstance(raw, pa.ChunkedArray):  # joined tables come in pieces
        raw = raw.unify_dictionaries().combine_chunks()
    if isinstance(raw, pa.ChunkedArray):
        raise DataError(f"column {str(label)!r} holds more than 2 GiB of text; leave it out.")
    categories = None
    if pt.is_dictionary(raw.type):
        categories = canonical(raw.dictionary).to_pylist()
    _refuse_unknown(str(label), raw.type, categories)
    return Column(
        Dress(label, type_to_json(raw.type), native, categories, categories_dtype, _gaps_are_nan(raw)), canonical(raw)
    )


def _arrow(label: Any, series: nw.Series) -> pa.Array | pa.ChunkedArray:
    try:
        return series.to_arrow()
    except (pa.ArrowException, TypeError, ValueError) as error:
        value, row = _odd_one(series.to_list())
        raise DataError(
            f"column {str(label)!r} mixes kinds of values (row {row} holds {value!r}); make it all numbers or all text."
        ) from error


def _odd_one(values: list[Any]) -> tuple[Any, int]:
    """Return the first value, and its row, whose type differs from the first that is not missing."""
    present = [(value, row) for row, value in enumerate(values) if str(value) not in ("None", "nan", "<NA>", "NaT")]
    first = type(present[0][0])
    return next(((value, row) for value, row in present if type(value) is not first), present[0])


def _native_dtype(series: nw.Series) -> tuple[str | None, str | None]:
    """Return the dtype of a column, and of its categories, as text where Arrow's type does not say it."""
    native = series.to_native()
    if series.implementation.is_polars():
        return ("Enum", None) if isinstance(series.dtype, nw.Enum) else (None, None)
    if not series.implementation.is_pandas():
        return None, None
    dtype = native.dtype
    kind = type(dtype).__name__
    if kind == "CategoricalDtype":
        return "category", _pandas_dtype_name(dtype.categories.dtype)
    return _pandas_dtype_name(dtype), None


def _pandas_dtype_name(dtype: Any) -> str:
    kind = type(dtype).__name__
    if kind == "ArrowDtype":
        return "ArrowDtype"
    if kind == "StringDtype":
        # Two string dtypes exist, told apart by what a gap is: NaN ("str") or NA ("string").
        return "str" if str(dtype) == "str" else f"string[{dtype.storage}]"
    return str(dtype)


def _gaps_are_nan(raw: pa.Array) -> bool:
    """Say whether every gap is a NaN; where nulls occur too, null is what a gap comes back as."""
    return pt.is_floating(raw.type) and raw.null_count == 0 and bool(pc.any(pc.is_nan(raw)).as_py())


def _refuse_unknown(name: str, kind: pa.DataType, categories: list[Any] | None) -> None:
    value = kind.value_type if pt.is_dictionary(kind) else kind
    known = (pt.is_integer, pt.is_floating, pt.is_decimal, pt.is_boolean, pt.is_temporal, pt.is_null, is_text)
    if not any(test(value) for test in known) or pt.is_interval(value):
        raise DataError(f"column {name!r} holds {value} values, which have no place in a table; convert or drop it.")
    plain = (pt.is_integer, pt.is_floating, pt.is_boolean, pt.is_null, is_text)
    if categories is not None and not any(test(value) for test in plain):
        raise DataError(f"the categories of column {name!r} are {value} values; turn them into text first.")


def _dressed(dress: Dress, values: pa.Array) -> pa.Array:
    """Cast canonical values to the Arrow type of the dress."""
    kind = type_from_json(dress.arrow)
    if pt.is_dictionary(kind):
        categories = pa.array(dress.categories or [], _canonical_type(kind.value_type))
        codes = pc.index_in(values, value_set=categories).cast(kind.index_type)
        return pa.DictionaryArray.from_arrays(codes, categories.cast(kind.value_type), ordered=kind.ordered)
    if dress.nan_gaps:
        values = pc.fill_null(values, pa.scalar(float("nan"), values.type))
    return values.cast(kind)


def _canonical_type(kind: pa.DataType) -> pa.DataType:
    return pa.large_string() if is_text(kind) else kind


def _polars_frame(table: pa.Table, columns: list[tuple[Dress, pa.Array]], exact: bool) -> Any:
    import polars as pl

    frame: Any = pl.from_arrow(table)
    enums: dict[Any, Any] = {
        dress.name: pl.Enum(dress.categories or []) for dress, _ in columns if exact and dress.native == "Enum"
    }
    return frame.cast(enums) if enums else frame


def _pandas_frame(columns: list[tuple[Dress, pa.Array]], exact: bool, index: Any) -> Any:
    import pandas as pd

    series = []
    for dress, values in columns:
        made = _pandas_series(dress, values) if exact and dress.native else _dressed(dress, values).to_pandas()
        series.append(made if index is None else made.set_axis(index))
    frame = pd.concat(series, axis=1) if series else pd.DataFrame(index=index)
    frame.columns = pd.Index([dress.label for dress, _ in columns])
    return frame


def _pandas_series(dress: Dress, values: pa.Array) -> Any:
    """Restore the exact pandas dtype; numpy integers and booleans become nullable only if a gap must be shown."""
    import pandas as pd

    if dress.native == "category":
        kind = type_from_json(dress.arrow)
        names = dress.categories or []
        codes = pc.index_in(values, value_set=pa.array(names, _canonical_type(kind.value_type)))
        categories = pd.Index(names, dtype=dress.categories_dtype)
        codes = pc.fill_null(codes, -1).to_numpy(zero_copy_only=False)
        return pd.Series(pd.Categorical.from_codes(codes, categories=categories, ordered=kind.ordered))
    if dress.native == "ArrowDtype":
        return pd.Series(_dressed(dress, values), dtype=pd.ArrowDtype(type_from_json(dress.arrow)))
    name = dress.native or "object"
    if values.null_count:
        name = _NULLABLE.get(name, name)
    dtype: Any = pd.api.types.pandas_dtype(name)
    if hasattr(dtype, "__from_arrow__"):
        return pd.Series(dtype.__from_arrow__(_dressed(dress, values)))
    dressed = _dressed(dress, values)
    # By way of Python objects, because Arrow would hand integers with gaps over as floats.
    return pd.Series(dressed.to_pylist(), dtype=object) if name == "object" else dressed.to_pandas().astype(dtype)
