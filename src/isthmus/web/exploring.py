"""What the explorer asks for: every answer is one call of :class:`isthmus.apps.exploring.Exploration`."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from isthmus.apps.exploring import Exploration
from isthmus.apps.exploring.colours import Colour
from isthmus.apps.exploring.previews import previews
from isthmus.apps.retrieval import Neighbours
from isthmus.apps.words import plain
from isthmus.web.answers import COLUMNS, Answer, as_container
from isthmus.web.batching import joined
from isthmus.web.bodies import JSON, NPY, read_json
from isthmus.web.refusals import Refused

MOST_PREVIEWS = 200
"""So many samples are shown at once, at most."""
_SUFFIX = re.compile(r"\.[a-z0-9]{1,8}(\.gz)?\Z")
_ROW = re.compile(r"rows/([0-9]{1,15})\Z")

Read = Callable[[Path], Any]


class Reply(NamedTuple):
    """One answer: what, of which media type, and as a file of which name."""

    content: bytes
    kind: str
    name: str | None = None


class Explorer:
    """What is explored, as questions and answers: over HTTP on the page, through the kernel in a notebook."""

    def __init__(self, exploration: Exploration, title: str, read: Read | None = None) -> None:
        """``read`` returns the rows in a file as the data was read; None takes no files."""
        self.exploration, self.title, self.read = exploration, title, read
        self._looked = {"": self.facts, "points": self.points, "health": self.health}
        self._asked = {
            each.__name__: each
            for each in (
                self.colours,
                self.values,
                self.decode,
                self.place,
                self.walk,
                self.sample,
                self.kept,
                self.odd,
                self.neighbours,
            )
        }

    def answer(self, path: str, body: bytes | None = None, query: Mapping[str, str] | None = None) -> Reply:
        """Answer what is asked at a path; ``body`` None looks, any other asks. A question that makes no sense is refused."""
        if path == "search" and body is not None:
            return self.search(body, query or {})
        if body is not None and path in self._asked:
            return self._asked[path](body)
        if body is None and path in self._looked:
            return self._looked[path]()
        row = _ROW.match(path)
        if row is None or body is not None:
            raise Refused(404, f"the explorer knows no {path!r:.80}.")
        return _json(self.exploration.row(int(row[1])).to_dict())

    # -- the map ----------------------------------------------------------------------------------------------------

    def facts(self) -> Reply:
        found = self.exploration.to_dict() | {"drawn_from": self.exploration.drawn_from}
        return _json({"title": self.title, "takes_files": self.read is not None} | found)

    def points(self) -> Reply:
        return _columns(self.exploration.points)

    def colours(self, body: bytes) -> Reply:
        return _json(self._colour(body).to_dict())

    def values(self, body: bytes) -> Reply:
        return _columns(self._colour(body).values[:, None])

    def _colour(self, body: bytes) -> Colour:
        name, known = _members(body, "name")["name"], self.exploration.colours
        if not isinstance(name, str) or name not in known:
            raise Refused(422, f"{name!r:.80} is nothing to colour by; there are {', '.join(known)}.")
        return known[name]

    # -- rows and codes ---------------------------------------------------------------------------------------------

    def decode(self, body: bytes) -> Reply:
        return _json(self._decoded(_codes(_members(body, "codes")["codes"], self.exploration.codes.shape[1])))

    def place(self, body: bytes) -> Reply:
        asked = _members(body, "point", "row")
        point = _codes([asked["point"]], 2)[0].tolist()
        return _json(self._decoded(self.exploration.code_at(point, _maybe(asked["row"]))[None]))

    def _decoded(self, codes: np.ndarray) -> dict[str, Any]:
        shown = [each.to_dict() for each in self.exploration.decode(codes)]
        return {"shown": shown, "codes": plain(codes), "points": plain(self.exploration.map.place(codes))}

    # -- uses -------------------------------------------------------------------------------------------------------

    def walk(self, body: bytes) -> Reply:
        asked = _members(body, "start", "end", "steps", "path")
        steps = _whole(asked, "steps", 2, MOST_PREVIEWS)
        walk = self.exploration.walk(asked["start"], asked["end"], steps, asked["path"])
        points = plain(self.exploration.map.place(walk.codes[0]))
        return _json({"shown": self._previews(walk.samples), "points": points, "places": plain(walk.places)})

    def sample(self, body: bytes) -> Reply:
        asked = _members(body, "n", "seed")
        n, seed = _whole(asked, "n", 1, MOST_PREVIEWS), _whole(asked, "seed", 0, 2**32 - 1)
        return _json({"shown": self._previews(self.exploration.sample(n, seed))})

    def kept(self, body: bytes) -> Reply:
        """Draw again what was kept - the same seed draws the same rows - and hand it out as a file."""
        kept = _members(body, "kept")["kept"]
        if (
            not isinstance(kept, list)
            or not 0 < len(kept) <= 10_000
            or not all(isinstance(each, dict) for each in kept)
        ):
            raise Refused(422, "'kept' must be a list of samples that were drawn: {seed, n, place}.")
        wanted: dict[tuple[int, int], list[int]] = {}
        for each in kept:
            n, seed = _whole(each, "n", 1, MOST_PREVIEWS), _whole(each, "seed", 0, 2**32 - 1)
            wanted.setdefault((seed, n), []).append(_whole(each, "place", 0, n - 1))
        drawn = [self.exploration.drawn(places, n, seed) for (seed, n), places in wanted.items()]
        return _file(joined([as_container(each) for each in drawn]), "samples")

    def odd(self, body: bytes) -> Reply:
        threshold = _members(body, "threshold")["threshold"]
        if threshold is None:
            return _json(self.exploration.oddities.to_dict())
        if not isinstance(threshold, (int, float)) or isinstance(threshold, bool):
            raise Refused(422, f"threshold={threshold!r:.40} must be a score.")
        return _json(self.exploration.oddities.at(float(threshold)))

    def neighbours(self, body: bytes) -> Reply:
        asked = _members(body, "row", "codes", "k")
        row, k = _maybe(asked["row"]), _whole(asked, "k", 1, MOST_PREVIEWS)
        codes = None if row is not None else _codes(asked["codes"], self.exploration.codes.shape[1])
        return _json(self._near(self.exploration.neighbours(row, k, codes=codes)))

    def search(self, body: bytes, query: Mapping[str, str]) -> Reply:
        """Look up the first row of an uploaded file, whose name says what it is."""
        if self.read is None:
            raise Refused(422, "this page was opened without a way to read files; isthmus explore takes them.")
        suffix = _SUFFIX.search(query.get("name", "").lower())
        if suffix is None:
            raise Refused(422, "the name of the file must end in what it is: .png, .csv, .npy, ..")
        k = query.get("k", "8")
        k = _whole({"k": int(k) if k.isascii() and k.isdigit() and len(k) < 9 else k}, "k", 1, MOST_PREVIEWS)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"upload{suffix[0]}"
            path.write_bytes(body)
            rows = self.read(path)
        asked = self.exploration.first(rows)
        near = self._near(self.exploration.neighbours(k=k, x=asked))
        return _json({"asked": self._previews(asked)[0]} | near)

    def health(self) -> Reply:
        return _json(self.exploration.health)

    def _previews(self, samples: Any) -> list[dict[str, Any]]:
        return [each.to_dict() for each in previews(self.exploration.ae, samples)]

    def _near(self, found: Neighbours) -> dict[str, Any]:
        rows = found.positions[0].tolist()
        shown = [each.to_dict() for each in self.exploration.shown(rows)]
        return {"rows": rows, "distances": plain(found.distances[0]), "metric": found.metric, "shown": shown}


def _json(found: Any) -> Reply:
    return Reply(json.dumps(found, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode(), JSON)


def _columns(array: np.ndarray) -> Reply:
    """Hand out an array as bare columns: float32 as they are, float64 where a figure is read off them."""
    kind = "<f4" if array.dtype == np.float32 else "<f8"
    return Reply(np.asfortranarray(array, kind).tobytes("F"), COLUMNS)


def _file(rows: np.ndarray | pa.Table, stem: str) -> Reply:
    """Write rows as the file that fits them: .npy, or .csv for a table."""
    if not isinstance(rows, pa.Table):
        return Reply(Answer({"rows": rows}, "rows").written(NPY)[0], NPY, f"{stem}.npy")
    from pyarrow import csv

    sink = pa.BufferOutputStream()
    csv.write_csv(rows, sink)
    return Reply(sink.getvalue().to_pybytes(), "text/csv; charset=utf-8", f"{stem}.csv")


def _members(body: bytes, *names: str) -> dict[str, Any]:
    given = read_json(body)
    if given.keys() != set(names):
        raise Refused(422, f"the body must have the members {', '.join(names)}, and no other.")
    return given


def _codes(values: Any, size: int) -> np.ndarray:
    try:
        codes = np.asarray(values, np.float32)
    except (ValueError, TypeError) as error:
        raise Refused(422, f"codes must be rows of {size} numbers.") from error
    if codes.ndim != 2 or codes.shape[1] != size or not 0 < len(codes) <= MOST_PREVIEWS or not np.isfinite(codes).all():
        raise Refused(422, f"codes must be 1 to {MOST_PREVIEWS} rows of {size} finite numbers.")
    return codes


def _whole(given: dict[str, Any], name: str, least: int, most: int) -> int:
    value = given.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise Refused(422, f"{name}={value!r:.40} must be a whole number from {least} to {most}.")
    return value


def _maybe(row: Any) -> int | None:
    if row is not None and (not isinstance(row, int) or isinstance(row, bool)):
        raise Refused(422, f"row={row!r:.40} must be a whole number, or null.")
    return row
