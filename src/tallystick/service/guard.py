"""Between the service and its store: how many calls at once, for how long, and what happens when it does not answer.

A store that is gone or slow must cost a request little and the service nothing. So a call waits for its turn and for
its answer together no longer than ``patience``; and when ``LIMIT`` calls in a row could not reach it, all others are
refused at once, but for one at a time that finds out whether the store is back. Whoever is refused gets
:class:`GeneralError` (``store_failed``), which says nothing about any session.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from functools import partial
from inspect import iscoroutinefunction
from logging import getLogger
from typing import Any, Final, TypeAlias, TypeVar, cast

from tallystick.errors import GeneralError, SessionError
from tallystick.service.throttle import Throttle

S = TypeVar("S")
T = TypeVar("T")
Method: TypeAlias = Callable[..., Coroutine[Any, Any, T]]

LIMIT: Final = 3
"""After how many failures in a row a store is taken to be gone. More than one: a single row may be locked."""

PAUSE: Final = 0.2
"""How many seconds pass between two attempts to reach a store that is gone."""

UNGUARDED: Final = frozenset({"open", "close", "wait_for_endings"})
"""A migration takes its time, and there is nothing to protect before it is over. Who waits to be told of something must
not take a turn from those who ask."""

_UNREACHABLE: Final = frozenset(
    {
        "sqlalchemy.OperationalError",
        "sqlalchemy.InterfaceError",
        "sqlalchemy.TimeoutError",
        "redis.ConnectionError",
        "redis.TimeoutError",
    }
)
"""By name, so that no driver is loaded to ask."""

_logger = getLogger("tallystick.store")


class Guard:
    """Of one worker, for all that it asks of its store.

    ``at_once``
        How many calls may be at the store.
    ``patience``
        For how many seconds one may take, with its wait for a turn.
    """

    def __init__(self, at_once: int, patience: float) -> None:
        self._turns = asyncio.Semaphore(at_once)
        self._patience = patience
        self._running: set[asyncio.Task[Any]] = set()  # the loop itself holds tasks only weakly
        self._failures = 0
        self._is_probing = False
        self._next_probe = 0.0
        self._failed = Throttle()

    @property
    def is_shut(self) -> bool:
        """Whether the store is taken to be gone."""
        return self._failures >= LIMIT

    def around(self, store: S) -> S:
        """The same store, with each of its coroutine methods guarded."""
        return cast("S", _Guarded(self, store))

    async def call(self, name: str, function: Method[Any], *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - a store's, as its method has it
        """Call the store. Raises :class:`GeneralError` (``store_failed``) where it gave no answer."""
        is_probe = self.is_shut
        if is_probe:
            self._begin_probe(name)
        try:
            answer = await self._ask(function, *args, **kwargs)
        except SessionError:
            raise
        except Exception as error:
            self._fail(name, error)
            raise GeneralError(
                f"the session store failed in {name}: {type(error).__name__}", reason="store_failed"
            ) from error
        else:
            if self._failures:
                self._recover()
            return answer
        finally:
            if is_probe:
                self._is_probing = False

    async def _ask(self, function: Method[T], *args: Any, **kwargs: Any) -> T:  # noqa: ANN401 - as above
        """The answer, or TimeoutError."""
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + self._patience
        if self._turns.locked():
            async with asyncio.timeout_at(ends_at):
                await self._turns.acquire()
        else:
            await self._turns.acquire()
        # Not cancelled when the time is over or whoever waits has gone: a statement that was begun is finished, and its
        # place taken until then. So a store that is stuck has no more than `at_once` calls to catch up with. All by
        # hand, as a timeout around a shield takes twice the processor time, for every call.
        task = loop.create_task(function(*args, **kwargs))
        self._running.add(task)
        is_over = loop.create_future()
        timer = loop.call_at(ends_at, _set, is_over)

        def end_turn(task: asyncio.Task[T]) -> None:
            timer.cancel()
            self._turns.release()
            self._running.discard(task)
            if not task.cancelled():
                task.exception()  # seen: where the caller has gone, asyncio would report it as never retrieved
            _set(is_over)

        task.add_done_callback(end_turn)
        await is_over
        if not task.done():
            raise TimeoutError
        return task.result()

    def _begin_probe(self, name: str) -> None:
        if self._is_probing or time.monotonic() < self._next_probe:
            raise GeneralError(f"the session store was not asked in {name}: it does not answer", reason="store_failed")
        self._is_probing = True

    def _fail(self, name: str, error: Exception) -> None:
        if is_unreachable(error):
            self._failures += 1
            self._next_probe = time.monotonic() + PAUSE
        if failures := self._failed.count():
            _logger.warning(
                "the store failed in %s; failures since the last such line: %d", name, failures, exc_info=error
            )

    def _recover(self) -> None:
        if self.is_shut:
            _logger.warning("the store answers again")
        self._failures = 0


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def is_unreachable(error: BaseException) -> bool:
    """Tell whether an error speaks of the store and not of what it was given: a value that it cannot keep must not
    shut the service for everyone."""
    if isinstance(error, OSError | TimeoutError) or getattr(error, "connection_invalidated", False):
        return True
    kinds = {f"{kind.__module__.partition('.')[0]}.{kind.__name__}" for kind in type(error).__mro__}
    return not kinds.isdisjoint(_UNREACHABLE)


class _Guarded:
    """A store whose methods go through a :class:`Guard`."""

    def __init__(self, guard: Guard, store: object) -> None:
        self._guard = guard
        self._store = store

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the store has
        value = getattr(self._store, name)
        if name in UNGUARDED or not iscoroutinefunction(value):
            return value
        guarded = partial(self._guard.call, name, value)
        self.__dict__[name] = guarded  # so that this is asked once for each method
        return guarded
