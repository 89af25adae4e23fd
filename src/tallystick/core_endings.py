"""A core's stream of endings, read as the log of a store is: what thread and task of a feed follow.

What may be taken for the beginning of a look at the log, on this machine's clock? Not when its event arrives, as that
may have been on its way for as long as the network, a proxy or a stopped process liked. But the core says how many
seconds after our request had *arrived* the look began, and the request arrived after we began to send it. So the look
began no earlier than that many seconds after we began to ask: by true time, and by our steady clock too, as far as the
two clocks go equally fast. They need not, quite: steady clocks are put right by slowing them down and speeding them up,
by 500 ppm at the most, so twice that of both together is taken off (:data:`DRIFT`). How late an event is makes our
knowledge older and never newer than it is; and as each stream is dated anew, nothing adds up.

By that rule a look may come out as begun in the future: then our clock stood still for a while, as a virtual machine's
does that is moved, or the core's ran ahead. Such a stream is dropped, and another one dated by the clock as it is now.

A page is the last one when a look has come that began, by that rule, after the first page since the last such one was
asked for: word for word what :meth:`~tallystick.storage.interface.SessionStore.read_endings` promises.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Final, Protocol

from tallystick.calls import Call, drive, drive_async
from tallystick.errors import GeneralError
from tallystick.protocol import cdi
from tallystick.protocol.revocation import NEVER
from tallystick.types import Ending, EndingsPage

DRIFT: Final = 0.001
LONGEST_EVENT: Final = 1024 * 1024
"""In bytes; the longest have a cursor of a thousand numbers."""


class Line(Protocol):
    """One stream at a time, of one of a core's hosts, for synchronous code."""

    def dial(self, path: str, last_event: str) -> int:
        """Ask the hosts in turn for a stream; the status of the first that gives an answer that counts. Raises
        :class:`GeneralError` (``store_failed``) where none does."""
        ...

    def receive(self) -> bytes:
        """Some bytes of the stream; none where it has come to its end. Raises :class:`GeneralError` (``store_failed``)
        where it is cut, or silent."""
        ...

    def hang_up(self) -> None:
        """Drop the stream."""
        ...

    def close(self) -> None:
        """Let go of all connections."""
        ...


class AsyncLine(Protocol):
    """The same for asynchronous code."""

    async def dial(self, path: str, last_event: str) -> int: ...

    async def receive(self) -> bytes: ...

    async def hang_up(self) -> None: ...

    async def close(self) -> None: ...


class Events:
    """What one stream has told. ``asked_at`` is when its request began to be sent."""

    def __init__(self, asked_at: float) -> None:
        self._asked_at = asked_at
        self._rest = b""
        self.endings: list[Ending] = []
        """Those that nobody has taken yet."""
        self.looked_at = NEVER
        """When the last look began that has been told of to its end, at the earliest."""
        self.place: str | None = None
        """Where it ended."""

    def take(self, data: bytes, now: float) -> None:
        """Read on. Raises :class:`GeneralError` for what is no such stream, and for one that runs ahead of time."""
        *events, self._rest = (self._rest + data).split(b"\n\n")
        if len(self._rest) > LONGEST_EVENT:
            raise cdi.no_core()
        for event in events:
            match cdi.read_event(event):
                case Ending() as ending:
                    self.endings.append(ending)
                case (float() as seconds, str() as place):
                    looked_at = self._asked_at + seconds * (1 - DRIFT)
                    if looked_at > now:
                        raise GeneralError("the core's clock and ours do not go equally fast", reason="store_failed")
                    self.looked_at, self.place = max(self.looked_at, looked_at), place
                case _:
                    pass


class _Log:
    """What both kinds have in common."""

    def __init__(self, steady: Callable[[], float]) -> None:
        self._steady = steady
        self._events: Events | None = None
        self._wanted_at: float | None = None
        """After when the look must have begun that makes a page the last one."""

    def _read(self, after: str | None) -> Generator[Call, Any, EndingsPage]:
        if self._wanted_at is None:
            self._wanted_at = self._steady()
        place = after or ""
        try:
            while True:
                if self._events is None:
                    asked_at = self._steady()
                    cdi.check_feed((yield Call("dial", (cdi.FEED.path, place))))
                    self._events = Events(asked_at)
                events = self._events
                data: bytes = yield Call("receive")
                if not data:
                    yield from self._end(events)
                    continue
                events.take(data, self._steady())
                place = events.place or place
                is_last = events.looked_at > self._wanted_at
                if events.endings or is_last:
                    endings, events.endings = events.endings, []
                    if is_last:
                        self._wanted_at = None
                    return EndingsPage(endings, place, is_last)
        except Exception:
            self._events = self._wanted_at = None
            yield Call("hang_up")
            raise

    def _end(self, events: Events) -> Generator[Call, Any, None]:
        """As streams do after a while. One that ends before it has told of anything is no reason to ask at once."""
        if events.looked_at == NEVER:
            raise GeneralError("the core's stream of endings ended before it began", reason="store_failed")
        self._events = None
        yield Call("hang_up")


class CoreLog(_Log):
    """For synchronous code."""

    def __init__(self, line: Line, steady: Callable[[], float]) -> None:
        super().__init__(steady)
        self._line = line

    def read_endings(self, app_id: str, after: str | None, limit: int) -> EndingsPage:
        """As a store has it; which app it is stands in the line's URL, and how long a page is is for the core to
        say. It waits until there is something to tell."""
        return drive(self._read(after), lambda call: getattr(self._line, call.method)(*call.args))

    def wait_for_endings(self, app_id: str, after: str, seconds: float) -> None:
        """Nothing, as it is the reading that waits."""

    def close(self) -> None:
        """Let go of the line."""
        self._line.close()


class AsyncCoreLog(_Log):
    """For asynchronous code."""

    def __init__(self, line: AsyncLine, steady: Callable[[], float]) -> None:
        super().__init__(steady)
        self._line = line

    async def read_endings(self, app_id: str, after: str | None, limit: int) -> EndingsPage:
        """See :meth:`CoreLog.read_endings`."""

        async def answer(call: Call) -> Any:  # noqa: ANN401 - a line's, as its method has it
            return await getattr(self._line, call.method)(*call.args)

        return await drive_async(self._read(after), answer)

    async def wait_for_endings(self, app_id: str, after: str, seconds: float) -> None:
        """Nothing, as it is the reading that waits."""

    async def close(self) -> None:
        """Let go of the line."""
        await self._line.close()
