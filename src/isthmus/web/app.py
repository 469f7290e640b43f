"""The application: one route for each verb of each model, and what operators ask for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from starlette.exceptions import HTTPException

from isthmus import __version__
from isthmus.threads import keep_to
from isthmus.web.answers import Answer, chosen
from isthmus.web.asking import Asked, Reader, kind_of
from isthmus.web.batching import Batcher, Turn
from isthmus.web.describing import DESCRIPTION, described, documented, facts_of, path_of
from isthmus.web.guard import Guard, Limits
from isthmus.web.metrics import Metrics
from isthmus.web.models import QUEUED, Served
from isthmus.web.refusals import Refused, refusal

LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})


@dataclass(frozen=True)
class Settings:
    """How the service behaves."""

    key: str | None = None
    """What clients must know; None asks for nothing."""
    hosts: frozenset[str] | None = LOOPBACK
    """The names it answers to; None any."""
    limits: Limits = field(default_factory=Limits)
    batching: bool = True
    """Are requests that wait together computed together?"""
    threads: int = 1
    """How many threads compute a batch."""


class Engine:
    """The models and their queues. One thread computes; requests wait their turn, and together where they can."""

    def __init__(self, served: Sequence[Served], settings: Settings) -> None:
        self.settings, self.metrics = settings, Metrics()
        self.models = {each.name: each for each in served}
        self.turn = Turn(partial(keep_to, settings.threads))
        self._queues = {
            (name, verb): Batcher(
                partial(each.compute, verb), self.turn, partial(self.metrics.computed, name, verb), settings.batching
            )
            for name, each in self.models.items()
            for verb in {*each.verbs} & {*QUEUED}
        }

    async def answer(self, served: Served, verb: str, asked: Asked) -> Answer:
        """Return the answer to a request, or say that it took too long."""
        try:
            async with asyncio.timeout(self.settings.limits.seconds):
                return await self._answer(served, verb, asked)
        except TimeoutError:
            raise Refused(
                504, f"the answer took longer than {self.settings.limits.seconds:g} seconds; ask for less."
            ) from None

    async def _answer(self, served: Served, verb: str, asked: Asked) -> Answer:
        options, rows, told = asked.options, asked.rows, asked.condition
        if verb == "sample":
            return await self._alone(served, verb, partial(served.sample, condition=told, **options))
        if verb == "interpolate":
            walk = partial(served.interpolate, rows["a"], rows["b"], condition=told, **options)
            return await self._alone(served, verb, walk)
        if verb == "neighbours":
            codes = rows["codes"] if "codes" in rows else await self._queued(served, "encode", rows["rows"], told)
            return await self._alone(served, verb, partial(served.neighbours, codes, options["k"]))
        return served.answer(verb, await self._queued(served, verb, next(iter(rows.values())), told))

    async def _queued(self, served: Served, verb: str, rows: Any, told: Any) -> Any:
        if told is not None:
            return await self._alone(served, verb, partial(served.compute, verb, rows, told))
        kind = kind_of(served, "codes" if verb == "decode" else "rows", rows)
        return await self._queues[served.name, verb](rows, kind)

    async def _alone(self, served: Served, verb: str, call: Callable[[], Any]) -> Any:
        async with self.turn:
            start = time.perf_counter()
            found = await self.turn.run(call)
        self.metrics.computed(served.name, verb, 1, time.perf_counter() - start)
        return found


def create_app(served: Sequence[Served], settings: Settings | None = None, routers: Sequence[APIRouter] = ()) -> Guard:
    """Return the ASGI application that serves some models; ``routers`` add pages or endpoints of their own.

    >>> app = create_app([Served("digits", ist.load("digits")).prepared()])  # doctest: +SKIP
    """
    settings = settings or Settings()
    engine = Engine(served, settings)
    app = FastAPI(
        title="Isthmus",
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,  # its page would fetch scripts from elsewhere
        redoc_url=None,
        separate_input_output_schemas=False,
    )
    app.state.engine = engine
    app.openapi = cache(lambda: documented(FastAPI.openapi(app), served, settings.key is not None))
    guard = Guard(app, settings.limits, engine.metrics, settings.key, settings.hosts)
    _add_operations(app, guard, engine)
    for each in served:
        for verb in each.verbs:
            _add_verb(app, engine, each, verb)
    for router in routers:
        app.include_router(router)
    for kind in (HTTPException, Exception):
        app.add_exception_handler(kind, _hand_on)
    return guard


def _add_verb(app: FastAPI, engine: Engine, served: Served, verb: str) -> None:
    limits = engine.settings.limits
    reader = Reader(served, verb, limits.rows, limits.body)

    async def endpoint(request: Request) -> Response:
        facts = request.scope["isthmus"]
        facts["model"], facts["verb"] = served.name, verb
        form = chosen(request.headers.get("accept", ""))
        body = await request.body()
        asked = reader.read(request.query_params.multi_items(), request.headers.get("content-type", ""), body)
        answer = await engine.answer(served, verb, asked)
        content, headers = await _written(answer, form)
        return Response(content, media_type=form, headers=headers)

    described_as = described(served, verb, limits, engine.settings.key is not None)
    app.add_api_route(path_of(served, verb), endpoint, methods=["POST"], **described_as)


async def _written(answer: Answer, form: str) -> tuple[bytes, dict[str, str]]:
    if answer.size > 100_000:  # long enough to keep others waiting
        return await asyncio.to_thread(answer.written, form)
    return answer.written(form)


def _add_operations(app: FastAPI, guard: Guard, engine: Engine) -> None:
    """Add what is asked about the service itself."""

    @app.get("/healthz", summary="Is the process alive?", tags=["operation"])
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get(
        "/readyz",
        summary="Does it take requests?",
        tags=["operation"],
        responses={503: {"description": "Not any more."}},
    )
    async def readyz() -> dict[str, str]:
        if guard.draining:
            raise Refused(503, "the service is about to stop; ask another one.")
        return {"status": "ready"}

    @app.get(
        "/metrics",
        summary="What was counted, as Prometheus reads it",
        tags=["operation"],
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def metrics() -> Response:
        return Response(engine.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/v1/models", summary="Which models there are, and what they can do", tags=["models"])
    async def models() -> dict[str, list[dict[str, Any]]]:
        return {"models": [facts_of(each) for each in engine.models.values()]}


async def _hand_on(request: Request, error: Exception) -> Response:
    """Let the guard say it: one place writes every refusal."""
    if isinstance(error, HTTPException):
        if error.status_code == 404:
            raise Refused(404, f"there is nothing at {request.url.path!r:.120}; /v1/models lists what there is.")
        if error.status_code == 405:
            takes = {name.lower(): value for name, value in (error.headers or {}).items()}.get("allow", "POST")
            raise Refused(405, f"{request.method:.20} is not taken here; use {takes}.", {"allow": takes})
        raise Refused(error.status_code, f"{error.detail}.", dict(error.headers or {}))
    refused = refusal(error)
    if refused is None:
        raise error
    raise refused from error
