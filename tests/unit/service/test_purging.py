"""The schedule of the purge: one at a time, again and again, whatever goes wrong."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from tallystick.service.purging import lease_of, purge_on_schedule
from tallystick.storage.memory import AsyncMemoryStore


class Database:
    """Two workers share it: so it has one lease."""

    def __init__(self):
        self.is_leased = False
        self.purging = self.most = self.purges = 0
        self.counts: list[int] = []
        self.is_enough = asyncio.Event()

    @asynccontextmanager
    async def hold_lease(self, name: str) -> AsyncGenerator[bool]:
        assert name == "purge"
        if self.is_leased:
            yield False
            return
        self.is_leased = True
        try:
            yield True
        finally:
            self.is_leased = False

    def note(self, count: int) -> None:
        self.counts.append(count)
        if len(self.counts) == 8:
            self.is_enough.set()

    async def purge(self) -> int:
        self.purges += 1
        self.purging += 1
        self.most = max(self.most, self.purging)
        await asyncio.sleep(0.005)
        self.purging -= 1
        if self.purges % 3 == 0:
            raise OSError("the database is gone")
        return self.purges


async def test_of_several_workers_one_purges_at_a_time_and_a_failure_ends_nothing(caplog: pytest.LogCaptureFixture):
    database = Database()
    lease = lease_of(database, "purge")
    workers = [asyncio.create_task(purge_on_schedule(database.purge, lease, 0.001, database.note)) for _ in range(4)]
    async with asyncio.timeout(20):
        await database.is_enough.wait()
    for worker in workers:
        worker.cancel()
    await asyncio.wait(workers)
    assert database.most == 1
    assert 3 not in database.counts
    assert "the purge failed, and is tried again at its next time" in caplog.messages


async def test_a_store_that_nobody_shares_needs_no_lease():
    async with lease_of(AsyncMemoryStore(), "purge")() as is_ours:
        assert is_ours
