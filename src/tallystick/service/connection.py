"""A connection of a client, with bounds that uvicorn does not set: on the head of a request, and on its coming."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tallystick.service.endings import STOP

MAX_HEAD_BYTES: Final = 16 * 1024
"""Of the request line and all headers. A Java core has half of that (spec/cdi.md 1.5.2)."""

HEAD_SECONDS: Final = 10.0
"""How long the head of a request may take to arrive."""


class JoinedWrites(asyncio.Transport):
    """A transport that sends the head of an answer together with its body, which uvicorn writes one after the other:
    one packet instead of two, and one system call, which is a tenth of what a verification takes. What nothing follows
    goes with the event loop's next turn."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._transport = transport
        self._loop = loop
        self._held: bytes | None = None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._held is None:
            self._held = bytes(data)
            self._loop.call_soon(self._let_go)
        else:
            held, self._held = self._held, None
            self._transport.write(held + data)

    def close(self) -> None:
        self._let_go()
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def _let_go(self) -> None:
        if self._held is not None:
            held, self._held = self._held, None
            self._transport.write(held)


class BoundedConnection(HttpToolsProtocol):
    """Refuses a head that is too large with 400, and hangs up on one that does not come to its end.
    When the server stops, it ends a stream, which would go on."""

    _head_bytes = 0
    _came_before = 0
    """How much of a head, at the most, has come in one piece with the end of the request before it."""
    _piece = 0
    _is_in_head = True
    _has_begun = False
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.transport = JoinedWrites(transport, self.loop)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._piece = len(data)
        if self._is_in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._is_in_head and self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The head of the request is too large.")
        # Nearly always the whole head has come at once, and needs no timer.
        if self._has_begun and self._head_timer is None:
            self._await_head()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._has_begun = True

    def on_headers_complete(self) -> None:
        self._is_in_head = self._has_begun = False
        self._forget_head()
        if self._head_bytes + self._came_before > MAX_HEAD_BYTES and self._size_of_head() > MAX_HEAD_BYTES:
            raise ValueError("the head is too large")  # which uvicorn answers with 400
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._is_in_head = True
        self._head_bytes, self._came_before = 0, self._piece
        super().on_message_complete()

    def shutdown(self) -> None:
        super().shutdown()
        # There is no cycle before the first request.
        stop: Callable[[], object] | None = getattr(self.cycle, "scope", {}).get(STOP)
        if stop is not None:
            stop()

    def _size_of_head(self) -> int:
        """Exactly: a part of a body may have come with it."""
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._hang_up)

    def _forget_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _hang_up(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()
