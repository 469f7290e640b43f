"""The server: uvicorn, with an end that loses nothing and patience that ends."""

# pyright: reportAttributeAccessIssue=false
# (which protocol uvicorn has depends on what is installed, which no type checker sees)

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from typing import Any

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from isthmus.web.guard import Guard

log = logging.getLogger("isthmus.web")
GRACE = 0.5
"""Once told to stop, the service listens on for so many seconds, while every answer says that it is the last of its connection;
then for as many it keeps idle connections open, on which a request may be on its way."""


def run(guard: Guard, host: str, port: int, ready: Any = None) -> None:
    """Serve until a signal says stop; ``ready(host, port)`` is called once requests are taken."""
    config = uvicorn.Config(
        guard,
        host=host,
        port=port,
        http=patient(guard.limits.arrival),
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        ws="none",
        timeout_keep_alive=75,
        timeout_graceful_shutdown=int(guard.limits.seconds) + 1,
    )
    with contextlib.suppress(KeyboardInterrupt):  # it has been heeded by then
        Server(config, guard, ready).run()


class Server(uvicorn.Server):
    """A server that answers what has reached it before it ends."""

    def __init__(self, config: uvicorn.Config, guard: Guard, ready: Any) -> None:
        super().__init__(config)
        self._guard, self._ready = guard, ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and self._ready is not None:
            bound = self.servers[0].sockets[0].getsockname()
            self._ready(bound[0], bound[1])

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._guard.draining = True  # from here on every answer says that it is the last of its connection
        log.info({"event": "stopping", "in_flight": self._guard.metrics.in_flight})
        # a timer is due after whoever waits has been accepted, in the same turn of the loop: what comes between is reset
        asyncio.get_running_loop().call_later(GRACE, self._listen_no_more)
        await asyncio.sleep(2 * GRACE)
        await super().shutdown(sockets)
        log.info({"event": "stopped"})

    def _listen_no_more(self) -> None:
        for server in self.servers:
            server.close()


def patient(seconds: float) -> type[asyncio.Protocol]:
    """Return uvicorn's protocol, which ends a connection whose request has not arrived after so long."""

    class Patient(AutoHTTPProtocol):  # pyright: ignore[reportGeneralTypeIssues, reportUntypedBaseClass] - chosen by what is installed
        _waits: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._wait()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.cycle is not None and not self.cycle.response_complete:
                self._rest()
            elif self._waits is None:
                self._wait()

        def connection_lost(self, exc: Exception | None) -> None:
            self._rest()
            super().connection_lost(exc)

        def _wait(self) -> None:
            self._waits = self.loop.call_later(seconds, self._give_up)

        def _rest(self) -> None:
            if self._waits is not None:
                self._waits.cancel()
                self._waits = None

        def _give_up(self) -> None:
            self._waits = None
            if not self.transport.is_closing() and (self.cycle is None or self.cycle.response_complete):
                self.transport.close()

    return Patient
