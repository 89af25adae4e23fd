"""Watches the sessions of what stays open, one watch for each session of a process.

Where the app follows the feed of endings, that says which have ended, and the store is asked only when a session would
be over by itself; also where the feed is silent, as often as without it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from contextlib import contextmanager
from logging import getLogger
from typing import Final

from tallystick.aio import AsyncSessions
from tallystick.errors import SessionError
from tallystick.types import Ending

_LOOKED_AT_ANYWAY: Final = 60.0
"""How often (s) a session is looked at of which the feed says nothing: the clocks of app and machine may differ."""

_logger = getLogger("tallystick")


class Watches:
    """Tells all who hold a session when it has ended: revoked, or over."""

    def __init__(self, sessions: AsyncSessions) -> None:
        self._sessions = sessions
        self._watches: dict[str, _Watch] = {}
        if sessions.feed is not None:
            sessions.feed.listen(self._hear)

    def __len__(self) -> int:
        return len(self._watches)

    @contextmanager
    def watch(self, handle: str, ended: asyncio.Future[None]) -> Generator[None]:
        """Resolve ``ended`` as soon as it is seen that the session has ended."""
        found = self._watches.get(handle)
        if found is None:
            found = self._watches[handle] = _Watch(self._sessions, handle)
        found.waiting.add(ended)
        feed = self._sessions.feed
        if feed is not None and feed.has_ended(handle):
            found.end()  # between its verification and now
        try:
            yield
        finally:
            found.waiting.discard(ended)
            if not found.waiting and self._watches.get(handle) is found:
                del self._watches[handle]
                found.task.cancel()

    def _hear(self, ending: Ending) -> None:
        found = self._watches.get(ending.handle)
        if found is not None:
            found.end()


class _Watch:
    def __init__(self, sessions: AsyncSessions, handle: str) -> None:
        self._sessions = sessions
        self._handle = handle
        self.waiting: set[asyncio.Future[None]] = set()
        self.task = asyncio.create_task(self._run(), name="tallystick-watch")

    async def _run(self) -> None:
        config = self._sessions.config
        interval = config.stream_check_interval.total_seconds()
        loop = asyncio.get_running_loop()
        seen = loop.time()
        # While the store cannot be asked, a session counts for as long as an access token would.
        patience = config.access_token_validity.total_seconds()
        over_at = 0.0
        while True:
            await asyncio.sleep(interval)
            if await self._is_heard_of(loop.time() < over_at):
                seen = loop.time()
                continue
            try:
                known = await self._sessions.get_session_information(self._handle)
            except SessionError as error:
                _logger.warning("whether an open connection's session still is cannot be told: %s", error.reason)
                if loop.time() - seen <= patience:
                    continue
                known = None
            if known is None:
                break
            seen = loop.time()
            over_at = seen + min(known.expiry / 1000 - time.time(), _LOOKED_AT_ANYWAY)
        self.end()

    async def _is_heard_of(self, is_young: bool) -> bool:
        """Whether the feed would have said that the session has ended."""
        feed = self._sessions.feed
        if feed is None:
            return False
        await feed.ensure()
        return is_young and feed.is_fresh

    def end(self) -> None:
        """Tell all who wait for it."""
        for ended in self.waiting:
            if not ended.done():
                ended.set_result(None)
