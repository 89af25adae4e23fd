"""From the start of a worker to its end: reach the store, tell how things are, purge, stop."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Iterable
from logging import INFO, WARNING, getLogger
from typing import Final, Protocol

from tallystick.config import PUBLIC
from tallystick.errors import GeneralError
from tallystick.protocol.keyring import TIMELESS
from tallystick.service.guard import is_unreachable
from tallystick.storage.interface import AsyncSessionStore

READY: Final = "ready"
STARTING: Final = "starting"
STORE_FAILED: Final = "store_failed"
STOPPING: Final = "stopping"

FIRST_WAIT: Final = 2.0
"""How many seconds a start waits for the store before it listens all the same, and says that it is not ready."""

_LONGEST_PAUSE: Final = 5.0
_LOOK_EVERY: Final = 1.0
_logger = getLogger("tallystick.service")


class Core(Protocol):
    """What is begun and ended."""

    async def open(self) -> object:
        """Connect to the store, check its schema and have keys ready."""
        ...

    async def close(self) -> object:
        """Let go of everything."""
        ...


class StoreHealth:
    """The health of a worker, which is that of its store.

    ``store`` is asked through the guard; ``background`` runs from when the store was first reached to the end.
    """

    def __init__(
        self,
        core: Core,
        store: AsyncSessionStore,
        background: Callable[[], Awaitable[None]],
        *,
        clock: Callable[[], int],
    ) -> None:
        self._core = core
        self._store = store
        self._background = background
        self._clock = clock
        self._state = STARTING
        self._looked_at = 0.0
        self._opening: asyncio.Task[None] | None = None
        self._running: asyncio.Future[None] | None = None
        self._is_first = True
        self.is_open = False

    async def start(self) -> None:
        """Reach the store, or go on trying in the background. Raises :class:`GeneralError` for what time does not heal:
        an outdated schema, a missing driver."""
        self._opening = asyncio.create_task(self._open())
        done, _ = await asyncio.wait([self._opening], timeout=FIRST_WAIT)
        if done:
            await self._opening
        else:
            self._is_first = False  # now it listens: what is wrong with the store is for the operator to see and change
            _logger.warning("the store has not answered yet; going on to try")

    async def stop(self) -> None:
        """Stop what runs in the background, and let go of the store."""
        self._state, self.is_open = STOPPING, False
        for task in (self._opening, self._running):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, Exception):
                    await task
        await self._core.close()

    async def look(self) -> str:
        """``ready``; ``starting`` before the store was asked for the first time with success or without;
        ``store_failed`` as long as it gives no answer; ``stopping``."""
        if self.is_open and time.monotonic() - self._looked_at >= _LOOK_EVERY:
            self._looked_at = time.monotonic()
            try:
                await self._store.load_session(PUBLIC, "readiness")
                self._state = READY
            except Exception:
                self._state = STORE_FAILED
        return self._state

    async def key_ages(self) -> Iterable[tuple[str, float]]:
        """Of the public app's newest dynamic key."""
        if not self.is_open:
            return ()
        try:
            keys = await self._store.load_keys(PUBLIC)
        except Exception:
            return ()
        newest = next((key for key in keys if key.created_at != TIMELESS), None)
        return [] if newest is None else [(PUBLIC, (self._clock() - newest.created_at) / 1000)]

    async def _open(self) -> None:
        pause = 0.1
        while True:
            try:
                await self._core.open()
                break
            except Exception as error:
                if not _may_pass(error):
                    if self._is_first:
                        raise
                    _logger.error("the store cannot be used; going on to try", exc_info=error)
                elif self._state == STARTING:
                    _logger.warning("the store cannot be reached; going on to try", exc_info=error)
                self._state = STORE_FAILED
            # Not all instances at once, when the store comes back.
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - no secret
            pause = min(pause * 2, _LONGEST_PAUSE)
        _logger.log(WARNING if self._state == STORE_FAILED else INFO, "the store is reached: ready")
        self._state, self.is_open, self._looked_at = READY, True, time.monotonic()
        self._running = asyncio.ensure_future(self._background())


def _may_pass(error: BaseException) -> bool:
    """Whether to try again: a store that is down comes back, a schema that is too old stays so."""
    if isinstance(error, GeneralError):
        return error.reason == "store_failed"
    return is_unreachable(error)
