"""Telling the app of each session that ends, in the order in which they do.

It is told by a thread or a task of its own, one at a time: a handler that is slow holds up nobody but itself.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from inspect import isawaitable
from logging import getLogger
from threading import Lock, Thread
from typing import TYPE_CHECKING, Final, TypeAlias

from tallystick.errors import GeneralError
from tallystick.feeds import Feed
from tallystick.notices import is_async

if TYPE_CHECKING:
    from asyncio import Task

    from tallystick.types import Ending

EndHandler: TypeAlias = Callable[["Ending"], object]
"""Called with each session that ends. With :class:`~tallystick.AsyncSessions` it may be a coroutine function."""

WAITING_AT_MOST: Final = 100_000
"""How many endings wait for a handler that is slow; beyond that the oldest are not told."""

_FAILED: Final = "on_session_end failed for session %s"
_logger = getLogger("tallystick")


class EndTeller:
    """Calls a handler in a thread of its own, which lives while there is something to tell."""

    def __init__(self, handler: EndHandler, *, may_be_async: bool) -> None:
        if not callable(handler):
            raise GeneralError(f"on_session_end is no function: {type(handler).__name__}", reason="bad_config")
        self._is_async = is_async(handler)
        if self._is_async and not may_be_async:
            raise GeneralError(
                "on_session_end is a coroutine function, which Sessions cannot await: pass a plain one",
                reason="bad_config",
            )
        self._handler = handler
        self._waiting: deque[Ending] = deque()
        self._lock = Lock()
        self._teller: int | None = None
        """The process whose thread or task tells, if any: a fork of it has none."""
        self._task: Task[None] | None = None

    def tell(self, ending: Ending) -> None:
        """Have the handler called, and do not wait for it."""
        with self._lock:
            if len(self._waiting) >= WAITING_AT_MOST:
                dropped = self._waiting.popleft()
                _logger.error("on_session_end not called for %s: %d wait", dropped.handle, WAITING_AT_MOST)
            self._waiting.append(ending)
            if self._teller == os.getpid():
                return
            self._teller = os.getpid()
        if self._is_async:
            from asyncio import create_task  # noqa: PLC0415 - synchronous programs load no event loop

            self._task = create_task(self._tell_all_async())
        else:
            Thread(target=self._tell_all, name="tallystick-endings", daemon=True).start()

    def _next(self) -> Ending | None:
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._teller = None
            return None

    def _tell_all(self) -> None:
        while (ending := self._next()) is not None:
            try:
                self._handler(ending)
            except Exception:
                _logger.exception(_FAILED, ending.handle)
            except BaseException:
                self._break_off()
                raise

    async def _tell_all_async(self) -> None:
        while (ending := self._next()) is not None:
            try:
                outcome = self._handler(ending)
                if isawaitable(outcome):
                    await outcome
            except Exception:
                _logger.exception(_FAILED, ending.handle)
            except BaseException:
                self._break_off()
                raise

    def _break_off(self) -> None:
        """The thread or the task ends here, as the handler wants it or the event loop is left: the next ending has
        another one told."""
        with self._lock:
            self._teller = None


def follow_endings(feed: Feed | None, handler: EndHandler | None, *, may_be_async: bool) -> None:
    """Have a handler told of what the feed brings. Raises :class:`GeneralError` (``bad_config``) for one that does not
    do, or that would never be told."""
    if handler is None:
        return
    teller = EndTeller(handler, may_be_async=may_be_async)
    if feed is None:
        raise GeneralError("on_session_end needs instant_revocation=True, by which it is told", reason="bad_config")
    feed.listen(teller.tell)
