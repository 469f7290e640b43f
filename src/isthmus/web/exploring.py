"""The explorer page and what it asks for: every answer is one call of :class:`isthmus.apps.exploring.Exploration`."""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Callable
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from isthmus.apps.exploring import Exploration
from isthmus.apps.exploring.previews import previews
from isthmus.apps.words import plain
from isthmus.web.answers import COLUMNS, Answer, as_container
from isthmus.web.batching import joined
from isthmus.web.bodies import NPY, read_json
from isthmus.web.refusals import Refused

STATIC = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/explorer.js": ("explorer.js", "text/javascript; charset=utf-8"),
    "/explorer.css": ("explorer.css", "text/css; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
"""The page itself; it holds nothing of the model, and is open to those who do not know the key."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data: blob:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
MOST_PREVIEWS = 200
"""So many samples are shown at once, at most."""
_SUFFIX = re.compile(r"\.[a-z0-9]{1,8}(\.gz)?\Z")

Read = Callable[[Path], Any]


class Explorer:
    """What is explored, behind the turn of the service: one thread computes."""

    def __init__(self, exploration: Exploration, title: str, read: Read | None = None) -> None:
        """``read`` returns the rows in a file as the data was read; None takes no files."""
        self.exploration, self.title, self.read = exploration, title, read
        self.router = APIRouter(include_in_schema=False)
        for path, (name, kind) in STATIC.items():
            self.router.add_api_route(path, partial(_static, name, kind), methods=["GET"])
        get, post = ("GET",), ("POST",)
        for path, endpoint, methods in (
            ("/explore", self.facts, get),
            ("/explore/points", self.points, get),
            ("/explore/colours", self.colours, post),
            ("/explore/values", self.values, post),
            ("/explore/rows/{row:int}", self.row, get),
            ("/explore/decode", self.decode, post),
            ("/explore/place", self.place, post),
            ("/explore/walk", self.walk, post),
            ("/explore/sample", self.sample, post),
            ("/explore/kept", self.kept, post),
            ("/explore/odd", self.odd, post),
            ("/explore/neighbours", self.neighbours, post),
            ("/explore/search", self.search, post),
            ("/explore/health", self.health, get),
        ):
            self.router.add_api_route(path, endpoint, methods=list(methods))

    # -- the map ----------------------------------------------------------------------------------------------------

    async def facts(self, request: Request) -> Response:
        return await self._json(request, lambda: {"title": self.title, "takes_files": self.read is not None} | self._facts())

    def _facts(self) -> dict[str, Any]:
        return self.exploration.to_dict() | {"drawn_from": self.exploration.drawn_from}

    async def points(self, request: Request) -> Response:
        return _columns(self.exploration.points)

    async def colours(self, request: Request) -> Response:
        name = await self._name(request)
        return await self._json(request, lambda: self.exploration.colours[name].to_dict())

    async def values(self, request: Request) -> Response:
        name = await self._name(request)
        values = await self._computed(request, lambda: self.exploration.colours[name].values)
        return _columns(values[:, None])

    async def _name(self, request: Request) -> str:
        name = (await _asked(request, "name"))["name"]
        if name not in self.exploration.colours:
            raise Refused(422, f"{name!r:.80} is nothing to colour by; there are {', '.join(self.exploration.colours)}.")
        return name

    # -- rows and codes ---------------------------------------------------------------------------------------------

    async def row(self, request: Request, row: int) -> Response:
        return await self._json(request, lambda: self.exploration.row(row).to_dict())

    async def decode(self, request: Request) -> Response:
        codes = _codes((await _asked(request, "codes"))["codes"], self.exploration.codes.shape[1])
        return await self._json(request, lambda: self._decoded(codes))

    def _decoded(self, codes: np.ndarray) -> dict[str, Any]:
        shown = [each.to_dict() for each in self.exploration.decode(codes)]
        return {"shown": shown, "codes": plain(codes), "points": plain(self.exploration.map.place(codes))}

    async def place(self, request: Request) -> Response:
        asked = await _asked(request, "point", "row")
        point, row = _codes([asked["point"]], 2)[0], _maybe(asked["row"])
        return await self._json(request, lambda: self._decoded(self.exploration.code_at(point.tolist(), row)[None]))

    # -- uses -------------------------------------------------------------------------------------------------------

    async def walk(self, request: Request) -> Response:
        asked = await _asked(request, "start", "end", "steps", "path")
        steps = _whole(asked, "steps", 2, MOST_PREVIEWS)

        def walked() -> dict[str, Any]:
            walk = self.exploration.walk(asked["start"], asked["end"], steps, asked["path"])
            codes = walk.codes[0]
            shown = [each.to_dict() for each in previews(self.exploration.ae, walk.samples)]
            return {"shown": shown, "points": plain(self.exploration.map.place(codes)), "places": plain(walk.places)}

        return await self._json(request, walked)

    async def sample(self, request: Request) -> Response:
        asked = await _asked(request, "n", "seed")
        n, seed = _whole(asked, "n", 1, MOST_PREVIEWS), _whole(asked, "seed", 0, 2**32 - 1)

        def drawn() -> dict[str, Any]:
            return {"shown": [s.to_dict() for s in previews(self.exploration.ae, self.exploration.sample(n, seed))]}

        return await self._json(request, drawn)

    async def kept(self, request: Request) -> Response:
        """Draw again what was kept - the same seed draws the same rows - and hand it out as a file."""
        kept = (await _asked(request, "kept"))["kept"]
        if not isinstance(kept, list) or not 0 < len(kept) <= 10_000:
            raise Refused(422, "'kept' must be a list of samples that were drawn: {seed, n, place}.")
        wanted: dict[tuple[int, int], list[int]] = {}
        for each in kept:
            if not isinstance(each, dict):
                raise Refused(422, "'kept' must be a list of samples that were drawn: {seed, n, place}.")
            n = _whole(each, "n", 1, MOST_PREVIEWS)
            wanted.setdefault((_whole(each, "seed", 0, 2**32 - 1), n), []).append(_whole(each, "place", 0, n - 1))
        body, kind, name = await self._computed(request, lambda: self._file(wanted))
        return Response(body, media_type=kind, headers={"content-disposition": f'attachment; filename="{name}"'})

    def _file(self, wanted: dict[tuple[int, int], list[int]]) -> tuple[bytes, str, str]:
        drawn = [self.exploration.drawn(places, n, seed) for (seed, n), places in wanted.items()]
        rows = joined([as_container(each) for each in drawn])
        if not isinstance(rows, pa.Table):
            return Answer({"rows": rows}, "rows").written(NPY)[0], NPY, "samples.npy"
        from pyarrow import csv

        sink = pa.BufferOutputStream()
        csv.write_csv(rows, sink)
        return sink.getvalue().to_pybytes(), "text/csv; charset=utf-8", "samples.csv"

    async def odd(self, request: Request) -> Response:
        threshold = (await _asked(request, "threshold"))["threshold"]
        if threshold is None:
            return await self._json(request, lambda: self.exploration.oddities.to_dict())
        if not isinstance(threshold, (int, float)) or isinstance(threshold, bool):
            raise Refused(422, f"threshold={threshold!r:.40} must be a score.")
        return await self._json(request, lambda: self.exploration.oddities.at(float(threshold)))

    async def neighbours(self, request: Request) -> Response:
        asked = await _asked(request, "row", "codes", "k")
        row, k = _maybe(asked["row"]), _whole(asked, "k", 1, MOST_PREVIEWS)
        codes = None if row is not None else _codes(asked["codes"], self.exploration.codes.shape[1])
        return await self._json(request, lambda: self._near(self.exploration.neighbours(row, k, codes=codes)))

    async def search(self, request: Request) -> Response:
        """Look up the first row of an uploaded file."""
        if self.read is None:
            raise Refused(422, "this page was opened without a way to read files; isthmus explore takes them.")
        given = request.query_params.get("name", "").lower()
        suffix = _SUFFIX.search(given)
        if suffix is None:
            raise Refused(422, "the name of the file must end in what it is: .png, .csv, .npy, ..")
        k = _whole({"k": _number(request.query_params.get("k", "8"))}, "k", 1, MOST_PREVIEWS)
        body = await request.body()

        def found() -> dict[str, Any]:
            rows = self._uploaded(body, suffix[0])
            codes = self.exploration.ae.transform(rows)[:1]
            asked = self.exploration.first(rows)
            return {"asked": previews(self.exploration.ae, asked)[0].to_dict()} | self._near(
                self.exploration.neighbours(k=k, codes=codes)
            )

        return await self._json(request, found)

    def _uploaded(self, body: bytes, suffix: str) -> Any:
        assert self.read is not None, "asked before"
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"upload{suffix}"
            path.write_bytes(body)
            return self.read(path)

    def _near(self, found: Any) -> dict[str, Any]:
        rows = found.positions[0].tolist()
        shown = [each.to_dict() for each in self.exploration.shown(rows)]
        return {"rows": rows, "distances": plain(found.distances[0]), "metric": found.metric, "shown": shown}

    async def health(self, request: Request) -> Response:
        return await self._json(request, lambda: self.exploration.health)

    # -- computing --------------------------------------------------------------------------------------------------

    async def _json(self, request: Request, call: Callable[[], Any]) -> Response:
        return JSONResponse(await self._computed(request, call))

    async def _computed(self, request: Request, call: Callable[[], Any]) -> Any:
        """Compute in the thread of the service, when it is our turn."""
        engine = request.app.state.engine
        try:
            async with asyncio.timeout(engine.settings.limits.seconds), engine.turn:
                return await engine.turn.run(call)
        except TimeoutError:
            raise Refused(504, f"that took longer than {engine.settings.limits.seconds:g} seconds; try it again.") from None


async def _static(name: str, kind: str) -> Response:
    content = (files("isthmus.web") / "static" / name).read_bytes()
    return Response(content, media_type=kind, headers={"content-security-policy": POLICY})


async def _asked(request: Request, *names: str) -> dict[str, Any]:
    given = read_json(await request.body())
    if given.keys() != set(names):
        raise Refused(422, f"the body must have the members {', '.join(names)}, and no other.")
    return given


def _columns(array: np.ndarray) -> Response:
    """Hand out an array as bare columns: float32 as they are, float64 where a figure is read off them."""
    kind = "<f4" if array.dtype == np.float32 else "<f8"
    body = np.asfortranarray(array, kind).tobytes("F")
    return Response(body, media_type=COLUMNS, headers={"x-shape": f"{array.shape[0]},{array.shape[1]}", "x-type": kind})


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


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else None
