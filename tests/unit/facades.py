"""One face for both facades, so that one suite runs on the two."""

import asyncio
from inspect import iscoroutine

from tallystick import AsyncSessions, Sessions
from tallystick.storage.memory import AsyncMemoryStore, MemoryStore
from tallystick.testing import SeededEntropy
from tests.unit.workshop import SECRET

KINDS = ["sync", "async"]


class Awaited:
    """An AsyncSessions whose every call is awaited on the spot."""

    def __init__(self, sessions: AsyncSessions, runner: asyncio.Runner) -> None:
        self._sessions, self._runner = sessions, runner

    def __getattr__(self, name):
        attribute = getattr(self._sessions, name)
        if not callable(attribute):
            return attribute

        def call(*args, **options):
            answer = attribute(*args, **options)
            return self._runner.run(_await(answer)) if iscoroutine(answer) else answer

        return call

    def __repr__(self) -> str:
        return repr(self._sessions)


async def _await(coroutine):
    return await coroutine


class Facades:
    """Makes facades of one kind."""

    def __init__(self, kind: str, clock, runner: asyncio.Runner) -> None:
        self.kind, self.clock, self.runner, self._seed = kind, clock, runner, 0

    def make(self, url="memory://", *, secret=SECRET, **settings):
        self._seed += 1
        settings = {"algorithm": "EdDSA", "clock": self.clock, "entropy": SeededEntropy(self._seed), **settings}
        if self.kind == "sync":
            return Sessions(url, secret=secret, **settings)
        url = AsyncMemoryStore(url) if isinstance(url, MemoryStore) else url
        return Awaited(AsyncSessions(url, secret=secret, **settings), self.runner)
