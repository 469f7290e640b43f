"""The explorer page: its files, and the questions it asks, each in its turn."""

from __future__ import annotations

import asyncio
from functools import partial
from importlib.resources import files

from fastapi import APIRouter, Request, Response

from isthmus.web.exploring import Explorer
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


def explorer_page(explorer: Explorer) -> APIRouter:
    """Return the routes of the page."""
    router = APIRouter(include_in_schema=False)
    for path, (name, kind) in STATIC.items():
        router.add_api_route(path, partial(_static, name, kind), methods=["GET"])

    async def endpoint(request: Request, path: str = "") -> Response:
        body = await request.body() if request.method == "POST" else None
        engine = request.app.state.engine
        answer = partial(explorer.answer, path, body, dict(request.query_params))
        try:
            async with asyncio.timeout(engine.settings.limits.seconds), engine.turn:
                content, kind, name = await engine.turn.run(answer)
        except TimeoutError:
            raise Refused(
                504, f"that took longer than {engine.settings.limits.seconds:g} seconds; try it again."
            ) from None
        headers = {} if name is None else {"content-disposition": f'attachment; filename="{name}"'}
        return Response(content, media_type=kind, headers=headers)

    router.add_api_route("/explore", endpoint, methods=["GET"])
    router.add_api_route("/explore/{path:path}", endpoint, methods=["GET", "POST"])
    return router


async def _static(name: str, kind: str) -> Response:
    content = (files("isthmus.web") / "static" / name).read_bytes()
    return Response(content, media_type=kind, headers={"content-security-policy": POLICY})
