"""Telling the app of a theft, apart from the request that showed it.

What the app does about it may be slow (a mail), may fail and may never return; the client whose request it was learns
nothing of that and never waits for it.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import isawaitable, iscoroutinefunction
from logging import getLogger
from threading import BoundedSemaphore, Thread
from typing import TYPE_CHECKING, Final, TypeAlias

from tallystick.errors import GeneralError

if TYPE_CHECKING:
    from asyncio import Task

    from tallystick.types import TheftEvent

TheftHandler: TypeAlias = Callable[["TheftEvent"], object]
"""Called with each theft, once. With :class:`~tallystick.AsyncSessions` it may be a coroutine function."""

AT_ONCE: Final = 16
"""How many calls of a handler may run at a time. Beyond that it hangs, and is not called."""

_FAILED: Final = "on_token_theft failed for session %s"
_logger = getLogger("tallystick")


class Notifier:
    """Calls a handler in a thread of its own, which does not keep the process from ending."""

    def __init__(self, handler: TheftHandler | None) -> None:
        if handler is not None and not callable(handler):
            raise GeneralError(f"on_token_theft is no function: {type(handler).__name__}", reason="bad_config")
        self._handler = handler
        self._free = BoundedSemaphore(AT_ONCE)

    def notify(self, event: TheftEvent) -> None:
        """Have the handler called, and do not wait for it."""
        if self._handler is None:
            return
        if not self._free.acquire(blocking=False):
            _logger.error("on_token_theft not called for %s: %d calls still run", event.session_handle, AT_ONCE)
            return
        try:
            self._start(self._handler, event)
        except Exception:
            self._free.release()
            _logger.exception("on_token_theft could not be called for session %s", event.session_handle)

    def _start(self, handler: TheftHandler, event: TheftEvent) -> None:
        Thread(target=self._call, args=(handler, event), name="tallystick-theft", daemon=True).start()

    def _call(self, handler: TheftHandler, event: TheftEvent) -> None:
        try:
            handler(event)
        except Exception:
            _logger.exception(_FAILED, event.session_handle)
        finally:
            self._free.release()


class SyncNotifier(Notifier):
    """For synchronous code, which has no event loop to await anything in."""

    def __init__(self, handler: TheftHandler | None) -> None:
        super().__init__(handler)
        if is_async(handler):
            raise GeneralError(
                "on_token_theft is a coroutine function, which Sessions cannot await: pass a plain one",
                reason="bad_config",
            )


class AsyncNotifier(Notifier):
    """For asynchronous code: a coroutine function becomes a task, a plain one has a thread, as it may block."""

    def __init__(self, handler: TheftHandler | None) -> None:
        super().__init__(handler)
        self._running: set[Task[None]] = set()  # the loop itself holds tasks only weakly

    def _start(self, handler: TheftHandler, event: TheftEvent) -> None:
        if not is_async(handler):
            super()._start(handler, event)
            return
        from asyncio import create_task  # noqa: PLC0415 - synchronous programs load no event loop

        task = create_task(self._await(handler, event))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _await(self, handler: TheftHandler, event: TheftEvent) -> None:
        try:
            outcome = handler(event)
            if isawaitable(outcome):
                await outcome
        except Exception:
            _logger.exception(_FAILED, event.session_handle)
        finally:
            self._free.release()


def is_async(handler: object) -> bool:
    """Tell whether calling it gives a coroutine."""
    call = getattr(handler, "__call__", None)  # noqa: B004 - an object's own method, which may be async
    return iscoroutinefunction(handler) or iscoroutinefunction(call)
