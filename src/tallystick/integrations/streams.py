"""WebSockets and event streams in any ASGI app: they end when their session does.

A WebSocket's session is had as a request's is; from then on the middleware watches it::

    @app.websocket("/ws")
    async def ws(websocket: WebSocket, session: Annotated[Session, Depends(verify_session())]) -> None:
        await websocket.accept()

An event stream says so itself::

    return StreamingResponse(until_session_ends(request, events()), media_type="text/event-stream")
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import ExitStack, suppress
from typing import Any, Final, TypeAlias, TypeVar

from tallystick.errors import SessionError
from tallystick.integrations.watching import Watches
from tallystick.transport.exchange import Exchange
from tallystick.transport.streams import ENDED, Closing, decide_closing

T = TypeVar("T")

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ChangeHeaders: TypeAlias = Callable[[Message], None]

_PATIENCE: Final = 1.0
"""For how many seconds a client that reads nothing keeps its connection from being let go of."""


class Connection:
    """One WebSocket, between the server and the app."""

    def __init__(
        self, exchange: Exchange, watches: Watches, receive: Receive, send: Send, change_headers: ChangeHeaders
    ) -> None:
        self._exchange = exchange
        self._watches = watches
        self._receive = receive
        self._send = send
        self._change_headers = change_headers
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._held = ExitStack()
        self._watched: set[str] = set()
        self._closer: asyncio.Task[None] | None = None
        self._receiving: asyncio.Future[Message] | None = None
        self._has_begun = self._is_accepted = self._is_closed = False

    def watch(self, handle: str) -> None:
        """Close the connection when this session ends."""
        if handle in self._watched:
            return
        self._watched.add(handle)
        self._held.enter_context(self._watches.watch(handle, self._ended))
        if self._closer is None:
            self._closer = asyncio.create_task(self._close_at_the_end(), name="tallystick-close")

    async def receive(self) -> Message:
        """What the client sends next, or that it is gone. A call that is cancelled loses nothing."""
        if self._receiving is None:
            self._receiving = asyncio.ensure_future(self._receive())
        await _first_of(self._receiving, self._ended)
        if self._ended.done():
            return {"type": "websocket.disconnect", "code": ENDED.code, "reason": ENDED.reason}
        message, self._receiving = self._receiving.result(), None
        self._has_begun = True
        return message

    async def send(self, message: Message) -> None:
        """Send what the app sends. Raises :class:`ConnectionError` once the session has ended, as the ASGI
        specification has it for a client that is gone."""
        if self._ended.done():
            raise ConnectionError("the session of this WebSocket has ended")
        if message["type"] == "websocket.accept":
            self._is_accepted = True
            self._change_headers(message)
        if message["type"] == "websocket.close":
            self._is_closed = True
        await self._send(message)

    async def refuse(self, error: SessionError) -> None:
        """Answer an error of the app: open the connection only to close it, as browsers tell pages no more than a close
        code."""
        self._exchange.answer(error)
        closing = decide_closing(error)
        if self._is_closed or self._ended.done():
            return
        if not self._has_begun:
            await self.receive()
        if closing is not None and not self._is_accepted:
            await self.send({"type": "websocket.accept"})
        await self._close(closing or ENDED)

    async def release(self) -> None:
        """Stop watching. Where the app has heard of the session's end first, the client hears of it before the server
        lets go of the connection."""
        self._held.close()
        try:
            if self._ended.done() and self._closer is not None:
                await asyncio.wait([self._closer], timeout=_PATIENCE)
        finally:
            for task in (self._closer, self._receiving):
                if task is not None and not task.done():
                    task.cancel()
                    with suppress(asyncio.CancelledError):
                        await task

    async def _close_at_the_end(self) -> None:
        await self._ended
        if not self._is_closed:
            await self._close(ENDED)

    async def _close(self, closing: Closing) -> None:
        self._is_closed = True
        with suppress(OSError):  # the client has gone meanwhile
            await self._send({"type": "websocket.close", "code": closing.code, "reason": closing.reason})


async def end_with(watches: Watches, handle: str, events: AsyncIterable[T]) -> AsyncIterator[T]:
    """What ``events`` has, until it or the session ends."""
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    source = aiter(events)
    upcoming: asyncio.Future[T] | None = None
    with watches.watch(handle, ended):
        try:
            while True:
                upcoming = asyncio.ensure_future(anext(source))
                await _first_of(upcoming, ended)
                if ended.done():
                    return
                try:
                    event = upcoming.result()
                except StopAsyncIteration:
                    return
                yield event
        finally:
            if upcoming is not None and not upcoming.done():
                upcoming.cancel()
                with suppress(asyncio.CancelledError, StopAsyncIteration):
                    await upcoming
            close = getattr(source, "aclose", None)
            if close is not None:
                await close()


async def _first_of(*futures: asyncio.Future[Any]) -> None:
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
