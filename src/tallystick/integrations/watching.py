"""Watches the sessions of what stays open, one watch for each session of a process."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from logging import getLogger

from tallystick.aio import AsyncSessions
from tallystick.errors import SessionError

_logger = getLogger("tallystick")


class Watches:
    """Tells all who hold a session when it has ended: revoked, or over."""

    def __init__(self, sessions: AsyncSessions) -> None:
        self._sessions = sessions
        self._watches: dict[str, _Watch] = {}

    def __len__(self) -> int:
        return len(self._watches)

    @contextmanager
    def watch(self, handle: str, ended: asyncio.Future[None]) -> Generator[None]:
        """Resolve ``ended`` as soon as it is seen that the session has ended."""
        found = self._watches.get(handle)
        if found is None:
            found = self._watches[handle] = _Watch(self._sessions, handle)
        found.waiting.add(ended)
        try:
            yield
        finally:
            found.waiting.discard(ended)
            if not found.waiting and self._watches.get(handle) is found:
                del self._watches[handle]
                found.task.cancel()


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
        while True:
            await asyncio.sleep(interval)
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
        for ended in self.waiting:
            if not ended.done():
                ended.set_result(None)
