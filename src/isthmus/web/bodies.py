"""What a request brings: JSON, .npy, Arrow or Parquet -> arrays and Arrow tables, nothing unpickled nor unpacked blindly."""

# pyright: reportAttributeAccessIssue=false
# (pyarrow.compute makes its functions when it is imported, where no type checker sees them)

from __future__ import annotations

import io
import json
import math
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from isthmus.data.frames import is_text
from isthmus.web.refusals import Refused

JSON = "application/json"
NPY = "application/x-npy"
ARROW = "application/vnd.apache.arrow.stream"
ARROW_FILE = "application/vnd.apache.arrow.file"
PARQUET = "application/vnd.apache.parquet"
BINARY = (NPY, ARROW, ARROW_FILE, PARQUET)
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_KINDS = "biuf"
LARGEST, LARGEST_IN_CODES = 1e308, 3.4e38
"""The largest numbers that JSON may hold: of rows, which are read as float64, and of codes, which are float32."""
_LONGEST_HEADER = 10_000
_UNPACKED = 8
"""How many times larger than a body may be what it unpacks to."""


def read_binary(content_type: str, body: bytes, most_rows: int, most_bytes: int) -> np.ndarray | pa.Table:
    """Return the array or table of a body; how many rows and bytes it unpacks to is known before it is unpacked."""
    if content_type == NPY:
        return read_npy(body, most_rows)
    try:
        if content_type == PARQUET:
            table = _read_parquet(body, most_rows, most_bytes)
        else:
            table = _read_arrow(body, most_rows)
    except Refused:
        raise
    except Exception as error:  # what is not what it says it is makes decoders raise whatever they come across
        raise Refused(400, f"the body cannot be read as {content_type} ({_line(error)}); send it whole.") from error
    if table.num_rows == 0:
        raise Refused(422, "the table of the body has no rows; send at least one.")
    return _plain_text(table, most_bytes)


def read_npy(body: bytes, most_rows: int) -> np.ndarray:
    """Return the array of a .npy body, a view of its bytes."""
    source = io.BytesIO(body)
    try:
        version = np.lib.format.read_magic(source)
        if version not in _HEADERS:
            raise ValueError(f"version {version} is not known")
        shape, is_fortran, dtype = _HEADERS[version](source, max_header_size=_LONGEST_HEADER)
    except Exception as error:  # a header that is none is met by a parser of Python's, which raises many kinds
        raise Refused(400, f"the body is no .npy file ({_line(error)}); write it with numpy.save.") from error
    if dtype.hasobject:
        raise Refused(400, "the body holds pickled Python objects, which can run code; send an array of numbers.")
    if dtype.kind not in _KINDS:
        raise Refused(422, f"the body holds {dtype} values, not numbers; send floats or integers.")
    if not shape or shape[0] == 0:
        raise Refused(422, f"the array of the body has the shape {shape}; send at least one row.")
    _check_rows(shape[0], most_rows)
    start = source.tell()
    needed, found = math.prod(shape) * dtype.itemsize, len(body) - start
    if needed != found:
        raise Refused(400, f"the .npy body has {found} bytes of numbers where its header says {needed}; send it whole.")
    array = np.frombuffer(body, dtype, offset=start)
    array = array.reshape(shape, order="F" if is_fortran else "C")
    return array.astype(dtype.newbyteorder("="), copy=False)


def read_json(body: bytes, takes_booleans: bool = True) -> dict[str, Any]:
    """Return the object of a JSON body; ``takes_booleans`` is False where only numbers are expected, of which numpy would
    take a boolean for one.
    """
    try:
        found = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"the body is no JSON ({_line(error)}); send one JSON object.") from error
    if not isinstance(found, dict):
        raise Refused(422, "the body must be one JSON object, with the members that the API describes.")
    if not takes_booleans and (b"true" in body or b"false" in body):
        raise Refused(422, "the body holds booleans, and the model takes numbers; write 1 and 0.")
    return found


def array_of(values: Any, name: str, most_rows: int, largest: float) -> np.ndarray:
    """Return nested lists of numbers as an array; null is a gap, and none is larger than ``largest``."""
    if not isinstance(values, list) or not values:
        raise Refused(422, f"{name!r} must be a list of at least one row of numbers.")
    _check_rows(len(values), most_rows)
    try:
        array = np.asarray(values)
        if array.dtype.kind == "O":  # gaps, or numbers beyond 64 bits
            array = _with_gaps(array)
    except (ValueError, OverflowError) as error:
        raise Refused(422, f"the rows of {name!r} differ in length or hold no numbers; send rows alike.") from error
    if array.dtype.kind not in "iuf":
        raise Refused(422, f"{name!r} must hold numbers (null for a gap), not {_named(array)}.")
    array = array.astype(np.float64, copy=False)
    if (np.abs(array) > largest).any():
        raise Refused(422, f"{name!r} holds numbers beyond {largest:g}; give those that were meant.")
    return array


def table_of(values: Any, name: str, columns: dict[str, pa.DataType], most_rows: int) -> pa.Table:
    """Return a list of JSON objects, one a row, as a table whose columns have JSON's types, whatever is in them."""
    if not isinstance(values, list) or not values or not all(isinstance(row, dict) for row in values):
        raise Refused(422, f"{name!r} must be a list of at least one object, with a member for each column.")
    _check_rows(len(values), most_rows)
    for place, row in enumerate(values):
        if row.keys() != columns.keys():
            wrong = next((key for key in columns if key not in row), None)
            said = f"lacks the column {wrong!r}" if wrong is not None else "has columns that the model does not know"
            raise Refused(422, f"row {place} of {name!r} {said}; give {', '.join(columns)}, null for a gap.")
    return pa.table({key: _column(key, [row[key] for row in values], kind) for key, kind in columns.items()})


def _column(name: str, values: list[Any], kind: pa.DataType) -> pa.Array:
    as_json, allowed = _in_json(kind)
    for place, value in enumerate(values):
        if value is not None and not allowed(value):
            raise Refused(
                422, f"column {name!r} holds {value!r:.60} in row {place}, where {as_json} values were learned."
            )
    try:
        made = pa.array(values, as_json)
        return made.cast(kind) if pt.is_temporal(kind) else made
    except (pa.ArrowException, ValueError, OverflowError) as error:
        raise Refused(422, f"column {name!r} cannot be read as {kind} ({_line(error)}); correct it.") from error


def _in_json(kind: pa.DataType) -> tuple[pa.DataType, Callable[[Any], bool]]:
    """Return how values of an Arrow type come in JSON, and which are."""
    if pt.is_boolean(kind):
        return pa.bool_(), lambda value: isinstance(value, bool)
    if is_text(kind) or (pt.is_temporal(kind) and not pt.is_duration(kind)):
        return pa.large_string(), lambda value: isinstance(value, str)
    number = pa.int64() if pt.is_duration(kind) else pa.float64()
    return number, lambda value: type(value) in (int, float) and abs(value) <= LARGEST


def _with_gaps(array: np.ndarray) -> np.ndarray:
    for value in array.ravel():
        if value is not None and type(value) not in (int, float):
            raise ValueError(f"{value!r:.40} is no number")
    return array.astype(np.float64)


def _named(array: np.ndarray) -> str:
    return {"b": "booleans", "U": "text"}.get(array.dtype.kind, "anything else")


def _check_rows(rows: int, most: int) -> None:
    if rows > most:
        raise Refused(413, f"the request has {rows:,} rows, and at most {most:,} are taken at once; send it in parts.")


def _read_parquet(body: bytes, most_rows: int, most_bytes: int) -> pa.Table:
    import pyarrow.parquet as pq

    schema = pq.read_schema(io.BytesIO(body))
    texts = [field.name for field in schema if is_text(field.type) or pt.is_binary(field.type)]
    file = pq.ParquetFile(io.BytesIO(body), read_dictionary=texts)
    about = file.metadata
    _check_rows(about.num_rows, most_rows)
    groups = [about.row_group(i) for i in range(about.num_row_groups)]
    if sum(group.total_byte_size for group in groups) > most_bytes or about.num_rows != sum(g.num_rows for g in groups):
        raise Refused(413, "the Parquet body unpacks to more than may be sent; send it in parts.")
    if about.num_rows * max(1, about.num_columns) * 8 > _UNPACKED * most_bytes:
        raise Refused(413, "the Parquet body unpacks to more than may be sent; send it in parts.")
    return file.read()


def _read_arrow(body: bytes, most_rows: int) -> pa.Table:
    """Read an Arrow stream, or a file, which holds one; every message is looked at before it is decoded."""
    content = body[8:] if body[:6] == b"ARROW1" else body
    source, rows = pa.BufferReader(content), 0
    while True:
        try:
            message = pa.ipc.read_message(source)
        except EOFError:
            break
        if message.type in ("record batch", "dictionary"):
            count, is_packed = _record_batch(memoryview(message.metadata), message.type == "dictionary")
            if is_packed:
                raise Refused(415, "the Arrow body is compressed; write it with compression=None, or send Parquet.")
            rows += count
            _check_rows(rows, most_rows)
    reader = pa.ipc.open_stream(content)
    for field in reader.schema:
        if pt.is_nested(field.type) or "run_end" in str(field.type):
            raise Refused(422, f"column {field.name!r} holds {field.type} values, which have no place in a table.")
    table = reader.read_all()
    table.validate(full=True)
    return table


def _record_batch(message: memoryview, is_dictionary: bool) -> tuple[int, bool]:
    """Return the length of a record batch, and whether it is compressed, from its flatbuffer (format/Message.fbs)."""
    root = struct.unpack_from("<I", message, 0)[0]
    batch = _follow(message, root, 2)
    if is_dictionary:
        batch = _follow(message, batch, 1)
    place = _field(message, batch, 0)
    length = 0 if place is None else struct.unpack_from("<q", message, place)[0]
    return length, _field(message, batch, 3) is not None


def _field(message: memoryview, table: int, number: int) -> int | None:
    """Return where a field of a flatbuffer table lies; None where it has its default."""
    vtable = table - struct.unpack_from("<i", message, table)[0]
    if 4 + 2 * number >= struct.unpack_from("<H", message, vtable)[0]:
        return None
    offset = struct.unpack_from("<H", message, vtable + 4 + 2 * number)[0]
    return table + offset if offset else None


def _follow(message: memoryview, table: int, number: int) -> int:
    place = _field(message, table, number)
    if place is None:
        raise IndexError("a message has no header")
    return place + struct.unpack_from("<I", message, place)[0]


def _plain_text(table: pa.Table, most_bytes: int) -> pa.Table:
    """Write dictionaries of text out as text, where that is not more than a body may hold."""
    for place, field in enumerate(table.schema):
        if not pt.is_dictionary(field.type):
            continue
        column = table.column(place).unify_dictionaries()
        if is_text(field.type.value_type):
            sizes = (
                pc.sum(pc.binary_length(chunk.dictionary).take(chunk.indices)).as_py() or 0 for chunk in column.chunks
            )
            if sum(sizes) > most_bytes:
                raise Refused(413, f"the text of column {field.name!r} unpacks to more than may be sent; send less.")
        table = table.set_column(place, field.name, column.cast(field.type.value_type))
    return table


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number; write null for a gap")


def _line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return (lines[0] if lines else type(error).__name__)[:200].rstrip(".")
