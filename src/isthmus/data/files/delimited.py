"""Delimited text (CSV and its relatives) -> Arrow table: delimiter, header and types are found in the text itself.

bytes -> first lines -> Plan(delimiter, names, where the rows begin) -> columns of text -> typed columns
"""

# pyright: reportAttributeAccessIssue=false
# (pyarrow.compute makes its functions when it is imported, where no type checker sees them)

from __future__ import annotations

import csv
import gzip
import re
import warnings
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from ...errors import DataError, DataWarning

GAPS = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None")
_DELIMITERS = ("\t", ";", ",", "|")  # at equal fit, the one that is rarer inside numbers and text
_BLANKS = " "
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_SAMPLE_BYTES, _SAMPLE_LINES = 1 << 18, 100


class Plan(NamedTuple):
    """How to read the text."""

    delimiter: str
    names: list[str]
    start: int
    """The byte at which the first row of values begins."""


def read_delimited(
    path: Path,
    *,
    gaps: Sequence[str] = (),
    header: bool | Literal["auto"] = "auto",
    columns: Sequence[str] | None = None,
) -> pa.Table:
    """Read delimited text as an Arrow table of integers, floats, booleans, dates, timestamps and text."""
    raw = _bytes_of(path)
    markers = (*GAPS, *(gap.strip() for gap in gaps))
    plan = _plan(path, raw, markers, header, columns)
    if plan.delimiter == _BLANKS:
        raw, plan = _single_blanks(raw[plan.start :]), plan._replace(start=0)
    text = _text_columns(path, raw, plan)
    if text.num_rows == 0:
        raise DataError(f"the file {str(path)!r} has no rows below its header; give it at least one row of values.")
    null_values = pa.array(sorted(set(markers)), pa.large_string())
    return pa.table([_typed(column, null_values) for column in text.columns], names=plan.names)


def _bytes_of(path: Path) -> bytes:
    raw = path.read_bytes()
    if raw[:2] == b"\x1f\x8b":
        try:
            raw = gzip.decompress(raw)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(f"the file {str(path)!r} is not a whole gzip file ({error}); copy it again.") from error
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return raw.decode("utf-16").encode()
    raw = raw.removeprefix(b"\xef\xbb\xbf")
    try:
        raw.decode()
    except UnicodeDecodeError:
        if b"\x00" in raw[:_SAMPLE_BYTES]:
            raise DataError(f"the file {str(path)!r} is not text; rename it to the extension of its kind.") from None
        warnings.warn(f"the file {str(path)!r} is not UTF-8; it was read as Latin-1.", DataWarning, stacklevel=4)
        return raw.decode("latin-1").encode()
    return raw


def _plan(
    path: Path, raw: bytes, markers: Sequence[str], header: bool | Literal["auto"], columns: Sequence[str] | None
) -> Plan:
    """Find delimiter, names and the beginning of the rows in the first lines."""
    lines = _first_lines(raw)
    if not any(line.strip() for line in lines):
        raise DataError(f"the file {str(path)!r} holds nothing but blank lines; was it written to the end?")
    delimiter, width = _delimiter([line for line in lines if line.strip()])
    remarks = 0
    while not lines[remarks].strip() or (
        width > 1 and remarks + 1 < len(lines) and len(_cells(lines[remarks], delimiter)) == 1
    ):
        remarks += 1
    if any(line.strip() for line in lines[:remarks]):
        shown = next(line.strip() for line in lines if line.strip())
        warnings.warn(
            f"{path.name}: {remarks} line(s) above the table were skipped ({shown!r}).", DataWarning, stacklevel=4
        )
    first = _cells(lines[remarks], delimiter)
    named = _has_names(first, markers, columns) if header == "auto" else header
    start = sum(len(line.encode()) for line in lines[: remarks + named])
    return Plan(delimiter, _names(path, first, named, columns), start)


def _first_lines(raw: bytes) -> list[str]:
    """Return the first lines with their ends; a line that the sample cuts off is dropped."""
    sample = raw[:_SAMPLE_BYTES]
    if len(sample) < len(raw) and b"\n" in sample:
        sample = sample[: sample.rindex(b"\n") + 1]
    # Not splitlines, which would also cut at form feeds and other rare separators inside a cell.
    return re.findall(r"[^\n]*\n|[^\n]+", sample.decode(errors="ignore"))[:_SAMPLE_LINES]


def _delimiter(lines: list[str]) -> tuple[str, int]:
    """Return the delimiter that cuts most lines into the same number of cells, and that number."""
    best, share = (",", 1), 0.0
    for delimiter in (*_DELIMITERS, _BLANKS):
        width, times = Counter(len(_cells(line, delimiter)) for line in lines).most_common(1)[0]
        enough = 0.9 if delimiter == _BLANKS else 0.0  # sentences have blanks too, but not equally many
        if width > 1 and times / len(lines) > max(share, enough):
            best, share = (delimiter, width), times / len(lines)
    return best


def _cells(line: str, delimiter: str) -> list[str]:
    if delimiter == _BLANKS:
        return line.split()
    return [
        cell.strip() for cell in next(csv.reader([line.strip("\r\n")], delimiter=delimiter, skipinitialspace=True), [])
    ]


def _has_names(first: list[str], markers: Sequence[str], columns: Sequence[str] | None) -> bool:
    if columns is not None and first == list(columns):
        return True
    # An empty cell is no gap here: tables written with their row numbers leave that name empty.
    return not any(_NUMBER.fullmatch(cell) or (cell and cell in markers) for cell in first)


def _names(path: Path, first: list[str], named: bool, columns: Sequence[str] | None) -> list[str]:
    if named:
        names = [cell or f"column_{i + 1}" for i, cell in enumerate(first)]
        twice = [name for name, times in Counter(names).items() if times > 1]
        if twice:
            raise DataError(f"column {twice[0]!r} appears {names.count(twice[0])} times in {str(path)!r}; rename one.")
        return names
    if columns is None:
        return [f"column_{i + 1}" for i in range(len(first))]
    if len(columns) != len(first):
        raise DataError(
            f"the file {str(path)!r} has {len(first)} columns and no header, but {len(columns)} names were expected; "
            "give it the same columns."
        )
    return list(columns)


def _text_columns(path: Path, raw: bytes, plan: Plan) -> pa.Table:
    """Read every column as text: types are decided on whole columns, not on the first block of rows."""
    odd: list[arrow_csv.InvalidRow] = []

    def note(row: arrow_csv.InvalidRow) -> str:
        odd.append(row)
        return "error"

    body = pa.py_buffer(memoryview(raw)[plan.start :])
    if len(body) == 0 or not bytes(body[:4096]).strip():
        return pa.table([pa.array([], pa.large_string()) for _ in plan.names], names=plan.names)
    quoted = b'"' in raw
    try:
        return arrow_csv.read_csv(
            body,
            read_options=arrow_csv.ReadOptions(column_names=plan.names, block_size=1 << 22),
            parse_options=arrow_csv.ParseOptions(
                delimiter=plan.delimiter, newlines_in_values=quoted, invalid_row_handler=note
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(plan.names, pa.large_string()), strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid as error:
        if not odd:
            raise DataError(f"the file {str(path)!r} cannot be read as a table: {error}") from error
        text = odd[0].text
        line = raw.count(b"\n", 0, raw.find(text.encode())) + 1
        raise DataError(
            f"line {line} of {str(path)!r} has {odd[0].actual_columns} cells where {odd[0].expected_columns} were "
            f"expected ({text[:60]!r}); mend that line."
        ) from error


def _single_blanks(raw: bytes) -> bytes:
    """Reduce every run of blanks to one, and drop those at the ends of lines."""
    return re.sub(rb"(?m)^ +| +(?=\r?$)", b"", re.sub(rb"[ \t]+", b" ", raw))


def _typed(column: pa.ChunkedArray, null_values: pa.Array) -> pa.ChunkedArray:
    """Give a column of text the narrowest type that all of its cells fit: int64, float64, bool, date, time or text."""
    text = pc.utf8_trim_whitespace(column)
    gaps = pc.is_in(text, value_set=null_values)
    if pc.any(gaps).as_py():
        text = pc.if_else(gaps, pa.scalar(None, pa.large_string()), text)
    present = text.drop_null()
    if len(present) == 0:
        return pa.chunked_array([pa.nulls(len(text))])
    # 00123 is a code, not the number 123.
    if _any_match(present, r"^[+-]?0[0-9xX]"):
        return text
    first = present[0].as_py()
    for kind, pattern in _TYPES:
        if pattern.match(first):
            try:
                return text.cast(kind)
            except pa.ArrowInvalid:
                continue
    if re.match(r"[+-]?\d+,\d+$", first) and not _any_match(present, r"[^0-9,+-]"):
        return _with_decimal_comma(text)
    return text


_TYPES = (
    (pa.int64(), re.compile(r"[+-]?\d+$")),
    (pa.float64(), re.compile(r"[+-]?(\.?\d|inf)", re.IGNORECASE)),
    (pa.date32(), re.compile(r"\d{4}-\d\d-\d\d$")),
    (pa.timestamp("us"), re.compile(r"\d{4}-\d\d-\d\d")),
    (pa.timestamp("us", "UTC"), re.compile(r"\d{4}-\d\d-\d\d")),
    (pa.timestamp("ns"), re.compile(r"\d{4}-\d\d-\d\d")),
    (pa.bool_(), re.compile(r"(true|false)$", re.IGNORECASE)),
)


def _with_decimal_comma(text: pa.ChunkedArray) -> pa.ChunkedArray:
    try:
        return pc.replace_substring(text, ",", ".").cast(pa.float64())
    except pa.ArrowInvalid:
        return text


def _any_match(text: pa.ChunkedArray, pattern: str) -> bool:
    return bool(pc.any(pc.match_substring_regex(text, pattern)).as_py())
