"""The feed of endings as a stream of server-sent events, for apps that verify access tokens by themselves.

One reader for each app looks at the log, as a facade's own feed does, and all streams of the app are told what it saw:
an event ``ending`` for each, and an event ``current`` after each look. That one says how many seconds after the request
for the stream had arrived the look *began*. From this a client can tell how old its knowledge is at the most, however
long the event was on its way: the look began no earlier than so many seconds after the request was sent.

A stream ends after a minute, and its client comes again with the last event's id: so a key that was withdrawn is of no
use for longer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass, field
from logging import getLogger
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from tallystick.errors import GeneralError
from tallystick.service import wire
from tallystick.service.answers import Answer, Refusal
from tallystick.storage.interface import AsyncSessionStore
from tallystick.storage.places import read_number
from tallystick.types import Ending

if TYPE_CHECKING:
    from tallystick.service.requests import Request

PATH: Final = "/tallystick/endings"
STOP: Final = "tallystick.stop"
"""In the ASGI scope of a stream: what ends it, for whoever stops the server."""

INTERVAL: Final = 0.5
"""In seconds: how often the log is looked at where the store tells of nothing, and so also the heartbeat."""
STREAM_SECONDS: Final = 60.0
STREAMS: Final = 1000
"""Of a worker, at once."""

_PAGE: Final = 1000
_BEHIND: Final = 500
"""How many looks a stream may be behind before it is ended."""
_LINGER: Final = 30.0
"""For how many seconds a reader goes on that nobody listens to: they come again each minute."""
_STUCK: Final = 5.0
_HEADERS: Final = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # or nginx keeps events back until there are many
)
_logger = getLogger("tallystick.service")
_encode: Final = msgspec.json.Encoder().encode


class Stream(Answer):
    """A response whose body comes in parts, until the client is gone or the service stops."""

    def __init__(self, parts: AsyncGenerator[bytes]) -> None:
        super().__init__(200, b"", _HEADERS)
        self.parts = parts


class _News(NamedTuple):
    """A page of the log, as one reader has seen it."""

    endings: list[Ending]
    place: str
    begun_at: float | None
    """When the look began that this page is the last of; None for any other page."""


@dataclass(eq=False)
class _Follower:
    news: asyncio.Queue[_News] = field(default_factory=lambda: asyncio.Queue(_BEHIND))
    is_behind: bool = False


class _Reader:
    """Looks at one app's log as long as there is somebody to tell."""

    def __init__(
        self, store: AsyncSessionStore, app_id: str, steady: Callable[[], float], observe: Callable[[str, int], object]
    ) -> None:
        self._store = store
        self._observe = observe
        self._app_id = app_id
        self._steady = steady
        self._place: str | None = None
        self._followers: set[_Follower] = set()
        self._has_failed = False
        self.needed_at = steady()
        self.has_looked = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    def join(self) -> _Follower:
        """Be told of all that is written from now on."""
        follower = _Follower()
        self._followers.add(follower)
        return follower

    def leave(self, follower: _Follower) -> None:
        """Be told no more."""
        self._followers.discard(follower)
        self.needed_at = self._steady()

    def is_behind(self, place: str) -> bool:
        """Whether a place is one of a log that was there before this one, as far as that can be seen: those that are
        numbers only grow."""
        return read_number(place) > read_number(self._place)

    async def run(self) -> None:
        while self._followers or self._steady() < self.needed_at + _LINGER:
            try:
                await self._look()
                async with asyncio.timeout(INTERVAL + _STUCK):
                    await self._store.wait_for_endings(self._app_id, self._place or "", INTERVAL)
            except Exception as error:
                if not self._has_failed:
                    _logger.warning("the feed of endings is silent: %s", type(error).__name__)
                    self._observe("ending_log_silent", 1)
                self._has_failed = True
                await asyncio.sleep(INTERVAL)

    async def _look(self) -> None:
        begun_at, is_last = self._steady(), False
        while not is_last:
            page = await self._store.read_endings(self._app_id, self._place, _PAGE)
            self._place, is_last = page.place, page.is_last
            self._tell(_News(page.endings, page.place, begun_at if is_last else None))
        self.has_looked.set()
        if self._has_failed:
            self._has_failed = False
            _logger.warning("the feed of endings goes on")

    def _tell(self, news: _News) -> None:
        for follower in tuple(self._followers):
            try:
                follower.news.put_nowait(news)
            except asyncio.QueueFull:
                follower.is_behind = True
                self._followers.discard(follower)


class Endings:
    """The streams of one worker."""

    def __init__(
        self, store: AsyncSessionStore, steady: Callable[[], float], observe: Callable[[str, int], object]
    ) -> None:
        self._store = store
        self._steady = steady
        self._observe = observe
        self._readers: dict[str, _Reader] = {}
        self._streams = 0

    async def open(self, app_id: str, cursor: str | None) -> Stream:
        """A stream from a place in the log on; from its beginning (``""``); or (None) from now on."""
        arrived_at = self._steady()
        if self._streams >= STREAMS:
            self._observe("request_refused", 1)
            raise Refusal(503, "Too many streams are open", ((b"retry-after", b"1"),))
        reader = self._reader(app_id)
        try:
            # Only then are all later endings among what it tells.
            async with asyncio.timeout(_STUCK):
                await reader.has_looked.wait()
        except TimeoutError:
            raise GeneralError("the log of endings cannot be read", reason="store_failed") from None
        return Stream(self._tell(reader, app_id, cursor, arrived_at))

    async def close(self) -> None:
        """End all readers."""
        tasks = [reader.task for reader in self._readers.values() if reader.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _reader(self, app_id: str) -> _Reader:
        reader = self._readers.get(app_id)
        if reader is None:
            reader = self._readers[app_id] = _Reader(self._store, app_id, self._steady, self._observe)
            reader.task = asyncio.create_task(reader.run())
            reader.task.add_done_callback(lambda _: self._readers.pop(app_id, None))
        reader.needed_at = self._steady()
        return reader

    async def _tell(self, reader: _Reader, app_id: str, cursor: str | None, arrived_at: float) -> AsyncGenerator[bytes]:
        if cursor is not None and reader.is_behind(cursor):
            cursor = ""
        self._streams += 1
        self._observe("ending_stream_opened", 1)
        # First to listen, then to catch up: what comes twice does no harm, what is missing would.
        follower = reader.join()
        try:
            yield b"retry: 500\n\n"
            begun_at = self._steady()
            # Twice: whatever place the first look began at, the second begins where one has ended.
            for _ in range(0 if cursor is None else 2):
                begun_at, is_last = self._steady(), False
                while not is_last:
                    page = await self._store.read_endings(app_id, cursor or None, _PAGE)
                    cursor, is_last = page.place, page.is_last
                    yield _write(_News(page.endings, page.place, None), arrived_at)
            if cursor is not None:
                yield _write(_News([], cursor, begun_at), arrived_at)
            ends_at = arrived_at + STREAM_SECONDS
            with suppress(TimeoutError):
                while not (follower.is_behind and follower.news.empty()):
                    async with asyncio.timeout(max(ends_at - self._steady(), 0)):
                        news = await follower.news.get()
                    self._observe("ending_told", len(news.endings))
                    yield _write(news, arrived_at)
        finally:
            reader.leave(follower)
            self._streams -= 1


def _write(news: _News, arrived_at: float) -> bytes:
    """As server-sent events. The place comes with the end of a look alone, as no other is one to go on from."""
    parts = [b"event: ending\ndata: %s\n\n" % _encode(wire.write_ending(ending)) for ending in news.endings]
    if news.begun_at is not None and news.begun_at >= arrived_at:
        current = _encode(wire.write_current(news.begun_at - arrived_at))
        parts.append(b"event: current\nid: %s\ndata: %s\n\n" % (news.place.encode(), current))
    return b"".join(parts)


async def follow(request: Request) -> Answer:
    """``GET``: the stream."""
    request.check_public_tenant()
    return await request.service.endings.open(request.app.app_id, wire.read_cursor(request.query(), request.last_event))


def tell_of(request: Request) -> Answer:
    """``HEAD``: that there is such a stream."""
    request.check_public_tenant()
    return Answer(200, b"", _HEADERS)


async def send_stream(
    stream: Stream,
    scope: MutableMapping[str, Any],
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
) -> None:
    """Send its parts until there are no more, the client is gone, or the server is stopped."""
    is_stopped = asyncio.Event()
    scope[STOP] = is_stopped.set
    await send({"type": "http.response.start", "status": stream.status, "headers": list(stream.headers)})

    async def pass_on() -> None:
        async for part in stream.parts:
            if part:
                await send({"type": "http.response.body", "body": part, "more_body": True})

    async def await_leaving() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    tasks = [asyncio.create_task(each) for each in (pass_on(), await_leaving(), is_stopped.wait())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await stream.parts.aclose()
    await send({"type": "http.response.body", "body": b""})
