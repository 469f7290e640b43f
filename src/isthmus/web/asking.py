"""What a request asks: its options, from the query, and its rows, from the body."""

# pyright: reportAttributeAccessIssue=false
# (pyarrow.compute makes its functions when it is imported, where no type checker sees them)

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from isthmus.web.bodies import BINARY, JSON, LARGEST, LARGEST_IN_CODES, array_of, read_binary, read_json, table_of
from isthmus.web.models import Served
from isthmus.web.refusals import Refused

MOST_STEPS = 1000
LARGEST_SEED = 2**32 - 1


@dataclass(frozen=True)
class Whole:
    """An option that is a whole number."""

    least: int
    most: int
    default: int | None
    explained: str

    def read(self, name: str, text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 20) or not self.least <= int(text) <= self.most:
            raise Refused(422, f"{name}={text!r:.40} must be a whole number from {self.least} to {self.most}.")
        return int(text)


@dataclass(frozen=True)
class Choice:
    """An option that is one of a few words."""

    words: tuple[str, ...]
    default: str
    explained: str

    def read(self, name: str, text: str) -> str:
        if text not in self.words:
            raise Refused(422, f"{name}={text!r:.40} is not known; use one of {', '.join(self.words)}.")
        return text


Option = Whole | Choice


def options_of(served: Served, verb: str, most_rows: int) -> dict[str, Option]:
    """Return the options that a verb takes in the query."""
    if verb == "sample":
        return {
            "n": Whole(1, most_rows, 1, "How many rows to draw."),
            "random_state": Whole(0, LARGEST_SEED, None, "The seed: same seed, same rows."),
        }
    if verb == "interpolate":
        return {
            "steps": Whole(2, MOST_STEPS, 9, "Rows of a walk, both ends included."),
            "path": Choice(("linear", "spherical"), "linear", "How codes are joined."),
        }
    if verb == "neighbours" and served.index is not None:
        return {"k": Whole(1, len(served.index), min(10, len(served.index)), "How many neighbours of each row.")}
    return {}


def members_of(served: Served, verb: str) -> tuple[tuple[str, ...], ...]:
    """Return the sets of members a JSON body may have, besides ``condition``."""
    if verb == "neighbours":
        return (("rows",), ("codes",))
    return ({"decode": ("codes",), "interpolate": ("a", "b"), "sample": ()}.get(verb, ("rows",)),)


@dataclass(frozen=True)
class Asked:
    """A request, understood."""

    options: dict[str, Any]
    rows: dict[str, Any]
    """Arrays and tables by what they are called in a JSON body."""
    condition: Any = None


@dataclass(frozen=True)
class Reader:
    """Reads requests for one verb of one model."""

    served: Served
    verb: str
    most_rows: int
    most_bytes: int

    def read(self, query: list[tuple[str, str]], content_type: str, body: bytes) -> Asked:
        """Return what is asked, or refuse it in one sentence."""
        options = self._options(query)
        kind = content_type.partition(";")[0].strip().lower()
        if not body and self.verb == "sample":
            return self._checked(Asked(options, {}))
        if not body:
            raise Refused(400, f"the body is empty; send {self._wanted()}.")
        if kind == JSON or not kind:
            return self._checked(self._of_json(options, body))
        if kind not in BINARY:
            raise Refused(415, f"a body of the type {kind!r:.80} is not taken; send {', '.join((JSON, *BINARY))}.")
        if self.verb == "sample":
            raise Refused(415, "sample takes a JSON body, or none.")
        return self._checked(self._of_binary(options, read_binary(kind, body, self.most_rows, self.most_bytes)))

    def _options(self, query: list[tuple[str, str]]) -> dict[str, Any]:
        known = options_of(self.served, self.verb, self.most_rows)
        found: dict[str, Any] = {name: option.default for name, option in known.items()}
        seen: set[str] = set()
        for name, text in query:
            if name not in known or name in seen:
                said = "is given twice" if name in seen else "is not known"
                raise Refused(422, f"the option {name!r:.40} {said}; {self.verb} takes {', '.join(known) or 'none'}.")
            found[name] = known[name].read(name, text)
            seen.add(name)
        return found

    def _of_json(self, options: dict[str, Any], body: bytes) -> Asked:
        served = self.served
        has_booleans = served.columns is not None and self.verb != "decode"
        given = read_json(body, has_booleans or served.is_conditional)
        condition = given.pop("condition", None) if served.is_conditional else None
        allowed = members_of(served, self.verb)
        if given.keys() not in [set(names) for names in allowed]:
            raise Refused(422, f"the body has the members {sorted(given)!r:.120}; send {self._wanted()}.")
        return Asked(options, {name: self._rows(name, values) for name, values in given.items()}, condition)

    def _rows(self, name: str, values: Any) -> Any:
        columns = self.served.columns
        if name == "codes" or columns is None:
            return array_of(values, name, self.most_rows, LARGEST_IN_CODES if name == "codes" else LARGEST)
        return table_of(values, name, columns, self.most_rows)

    def _of_binary(self, options: dict[str, Any], found: np.ndarray | pa.Table) -> Asked:
        if isinstance(found, pa.Table):
            found = found.replace_schema_metadata(None)
            found = found.drop_columns([name for name in found.column_names if name.startswith("__index_level_")])
            if self.verb == "decode" or self.served.columns is None:
                found = _numbers(found)
        if self.verb == "decode":
            return Asked(options, {"codes": found})
        if self.verb != "interpolate":
            return Asked(options, {"rows": found})
        half, odd = divmod(len(found), 2)
        if odd:
            raise Refused(422, f"the body has {len(found)} rows; interpolate walks from its first half to its second.")
        return Asked(options, {"a": found[:half], "b": found[half:]})

    def _checked(self, asked: Asked) -> Asked:
        """Refuse answers that would be larger than any body may be."""
        if self.verb not in ("sample", "decode", "interpolate"):
            return asked
        count = asked.options.get("n") or len(next(iter(asked.rows.values()))) * asked.options.get("steps", 1)
        numbers = count * self.served.codec.layout.size
        if numbers * 4 > self.most_bytes:
            raise Refused(413, f"the answer would hold {numbers:,} numbers, more than may be sent; ask for fewer rows.")
        return asked

    def _wanted(self) -> str:
        sets = members_of(self.served, self.verb)
        told = ' and, if you like, "condition"' if self.served.is_conditional else ""
        return (
            "an object with "
            + " or ".join(" and ".join(f'"{n}"' for n in names) or "no members" for names in sets)
            + told
        )


def kind_of(served: Served, name: Literal["rows", "codes"], rows: Any) -> Any:
    """Return what rows must have in common to be computed together; None for rows that the library may refuse."""
    if isinstance(rows, pa.Table):
        if served.columns is None or set(rows.column_names) != set(served.columns):
            return None
        floats = (column for column in rows.columns if pt.is_floating(column.type))
        return None if any(pc.any(pc.is_inf(column)).as_py() for column in floats) else rows.schema
    shape = (served.code_size,) if name == "codes" else served.sample_shape
    if rows.shape[1:] != shape or np.isinf(rows).any() or (name == "codes" and np.isnan(rows).any()):
        return None
    return rows.dtype.str


def _numbers(table: pa.Table) -> np.ndarray:
    """Return a table of numbers as an array (rows, columns); gaps are NaN."""
    for field in table.schema:
        if not (pt.is_integer(field.type) or pt.is_floating(field.type) or pt.is_null(field.type)):
            raise Refused(422, f"column {field.name!r} holds {field.type}, where numbers are needed; leave it out.")
    columns = [column.cast("float64").to_numpy() for column in table.columns]
    return np.column_stack(columns) if columns else np.empty((table.num_rows, 0))
