"""What stands between the network and the application: keys, limits, request ids, logs, headers."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from isthmus.web.metrics import Metrics
from isthmus.web.refusals import Refused

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

log = logging.getLogger("isthmus.web")
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
_LINGER = 1.0
"""Seconds for which the rest of a refused body is read and forgotten, so that the client gets to read the answer."""
OPEN = ("/healthz", "/readyz")
"""Paths that need no key and count towards no limit."""
HEADERS = {
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


@dataclass(frozen=True)
class Limits:
    """What one client may ask of the service."""

    body: int = 64 * 2**20
    """Bytes of a request."""
    rows: int = 100_000
    """Rows of a request, and of what it asks for."""
    requests: int = 256
    """Requests in flight; those beyond are told to come back."""
    seconds: float = 60.0
    """For an answer."""
    arrival: float = 15.0
    """Seconds for the head of a request to arrive, and as many for its body."""


class Guard:
    """An ASGI application around another: lets through what is allowed, and writes down what became of it."""

    def __init__(
        self, app: Any, limits: Limits, metrics: Metrics, key: str | None, hosts: frozenset[str] | None
    ) -> None:
        """``key`` None asks for none; ``hosts`` are the names it answers to, None any."""
        self.app, self.limits, self.metrics, self.hosts = app, limits, metrics, hosts
        self._key = None if key is None else hashlib.sha256(key.encode()).digest()
        self.draining = False
        self.open: frozenset[str] = frozenset(OPEN)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        headers = {name.lower(): value.decode("latin1") for name, value in scope["headers"]}
        exchange = Exchange(self, scope, headers, receive, send)
        self.metrics.in_flight += 1
        try:
            self._admit(scope, headers)
            await self.app(scope, exchange.receive, exchange.send)
        except Refused as refused:
            await exchange.refuse(refused)
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception as error:
            exchange.error = error
            await exchange.refuse(Refused(500, "something unexpected went wrong; the log of the server knows more."))
        finally:
            self.metrics.in_flight -= 1
            exchange.note()

    def _admit(self, scope: MutableMapping[str, Any], headers: dict[bytes, str]) -> None:
        """Refuse before anything is read."""
        self._check_host(headers)
        if scope["path"] in self.open:
            return
        if self._key is not None and not self._knows(headers):
            raise Refused(401, "the key is missing or wrong; send it as Authorization: Bearer KEY.", _ASK)
        if self.metrics.in_flight > self.limits.requests:
            raise Refused(503, "too many requests are in flight; come back in a second.", {"retry-after": "1"})
        if headers.get(b"content-encoding", "identity").lower() != "identity":
            raise Refused(415, "compressed bodies are not taken; send it as it is.")
        length = headers.get(b"content-length", "0")
        if not length.isdigit() or int(length) > self.limits.body:
            raise Refused(413, f"the body has {length:.20} bytes, and at most {self.limits.body:,} are taken.")

    def _check_host(self, headers: dict[bytes, str]) -> None:
        """Refuse what a page of another site sends through the browser of somebody on this machine."""
        if self.hosts is None:
            return
        if _name(headers.get(b"host", "")) not in self.hosts:
            raise Refused(421, "this service answers on this machine alone; call it by 127.0.0.1 or localhost.")
        origin = headers.get(b"origin")
        if origin is not None and _name(origin.partition("://")[2]) not in self.hosts:
            raise Refused(403, "pages of other sites may not use this service.")

    def _knows(self, headers: dict[bytes, str]) -> bool:
        kind, _, given = headers.get(b"authorization", "").partition(" ")
        given = given.strip() if kind.lower() == "bearer" else headers.get(b"x-api-key", "")
        assert self._key is not None, "there is a key to compare with"
        # digests are of one length, so that the time of the comparison says nothing about the key
        return hmac.compare_digest(hashlib.sha256(given.encode("latin1", "replace")).digest(), self._key)


_ASK = {"www-authenticate": "Bearer"}


def _name(host: str) -> str:
    """Return the host without its port, in lower case."""
    host = host.lower()
    return host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]


class Exchange:
    """One request and its answer, as the guard sees them."""

    def __init__(
        self, guard: Guard, scope: MutableMapping[str, Any], headers: dict[bytes, str], receive: Receive, send: Send
    ) -> None:
        self.guard, self.scope, self._receive, self._send = guard, scope, receive, send
        given = headers.get(b"x-request-id", "")
        self.id = given if _ID.match(given) else secrets.token_hex(8)
        self.start, self.status, self.got, self.sent = time.perf_counter(), 0, 0, 0
        self.error: Exception | None = None
        self._whole = False
        scope["isthmus"] = self.facts = {"model": "", "verb": ""}

    async def receive(self) -> Message:
        """Hand on the body piece by piece, as long as it is neither too large nor too slow."""
        left = self.guard.limits.arrival - (time.perf_counter() - self.start)
        if self._whole:  # what is waited for now is the end of the connection
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), max(left, 0.001))
        except TimeoutError:
            raise Refused(
                408, f"the body took longer than {self.guard.limits.arrival:g} seconds; send it again."
            ) from None
        self.got += len(message.get("body", b""))
        self._whole = not message.get("more_body", False)
        if self.got > self.guard.limits.body:
            raise Refused(413, f"the body has more than the {self.guard.limits.body:,} bytes that are taken.")
        return message

    async def send(self, message: Message) -> None:
        """Hand on the answer, with the headers that every answer has."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            names = {name.lower() for name, _ in message["headers"]}
            extra = [(n.encode(), v.encode()) for n, v in HEADERS.items() if n.encode() not in names]
            extra.append((b"x-request-id", self.id.encode()))
            if self.guard.draining:
                extra.append((b"connection", b"close"))
            message["headers"] = [*message["headers"], *extra]
        else:
            self.sent += len(message.get("body", b""))
        await asyncio.wait_for(self._send(message), self.guard.limits.seconds)

    async def refuse(self, refused: Refused) -> None:
        """Answer with one sentence, unless an answer has begun."""
        if self.status:
            return
        body = json.dumps({"error": refused.sentence, "request_id": self.id}).encode()
        unread = not self._whole and self.scope["method"] in ("POST", "PUT", "PATCH")
        headers = {"content-type": "application/json", "content-length": str(len(body))} | refused.headers
        if unread:
            headers["connection"] = "close"
        start = [(name.encode(), value.encode()) for name, value in headers.items()]
        await self.send({"type": "http.response.start", "status": refused.status, "headers": start})
        await self.send({"type": "http.response.body", "body": body, "more_body": unread})
        if unread:
            await self._forget_the_rest()
            await self.send({"type": "http.response.body", "body": b""})

    async def _forget_the_rest(self) -> None:
        try:
            async with asyncio.timeout(_LINGER):
                while (message := await self._receive())["type"] == "http.request" and message.get("more_body"):
                    pass
        except TimeoutError:
            pass

    def note(self) -> None:
        """Count the request, and write one line about it."""
        seconds = time.perf_counter() - self.start
        facts = self.facts
        self.guard.metrics.answered(facts["model"], facts["verb"], self.status, seconds)
        level = logging.ERROR if self.error is not None else logging.INFO
        if log.isEnabledFor(level):
            said = {
                "event": "request",
                "request_id": self.id,
                "method": self.scope["method"],
                "path": self.scope["path"],
                **{name: value for name, value in facts.items() if value != ""},
                "status": self.status,
                "ms": round(1000 * seconds, 3),
                "bytes_in": self.got,
                "bytes_out": self.sent,
            }
            log.log(level, said, exc_info=self.error)
