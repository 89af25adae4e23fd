"""The guard before a store: turns, patience, and what happens when the store does not answer."""

import asyncio
import logging

import pytest
from sqlalchemy.exc import DataError, DBAPIError, OperationalError

from tallystick import GeneralError
from tallystick.service import guard as module
from tallystick.service.guard import LIMIT, Guard, is_unreachable
from tallystick.storage.interface import AsyncSessionStore
from tallystick.storage.memory import AsyncMemoryStore


class Store:
    """One whose answers the test decides on."""

    name = "a store"

    def __init__(self):
        self.errors = []
        self.calls = self.running = self.most = 0
        self.answers = asyncio.Event()
        self.answers.set()

    async def ask(self, answer: str = "answer") -> str:
        self.calls += 1
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.answers.wait()
            await asyncio.sleep(0)
            if self.errors:
                raise self.errors.pop()
            return answer
        finally:
            self.running -= 1

    async def open(self) -> str:
        await self.answers.wait()
        return "open"


@pytest.fixture
def store() -> Store:
    return Store()


async def refused(call) -> GeneralError:
    with pytest.raises(GeneralError) as error:
        await call
    assert error.value.reason == "store_failed"
    return error.value


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.0)


async def test_a_guarded_store_answers_as_the_store_does():
    store: AsyncSessionStore = Guard(1, 5).around(AsyncMemoryStore())
    await store.open()
    assert await store.load_session("public", "none") is None
    assert await store.load_keys("public") == []


async def test_what_is_no_coroutine_method_is_the_stores_own(store: Store):
    assert Guard(1, 5).around(store).name == "a store"


async def test_no_more_calls_are_at_the_store_than_may_be(store: Store):
    guarded = Guard(2, 5).around(store)
    assert await asyncio.gather(*(guarded.ask(n) for n in range(10))) == list(range(10))
    assert store.most == 2


async def test_a_call_that_gets_no_answer_is_refused_and_its_statement_finished(store: Store):
    guarded = Guard(1, 0.01).around(store)
    store.answers.clear()
    await refused(guarded.ask())
    assert store.running == 1
    await refused(guarded.ask())
    assert store.calls == 1  # its place is taken until the statement ends
    store.answers.set()
    assert await Guard(1, 5).around(store).ask() == "answer"
    assert store.running == 0


async def test_a_store_that_is_gone_costs_nothing_and_is_found_again_by_one_caller(
    store: Store, no_pause: None, caplog: pytest.LogCaptureFixture
):
    guard = Guard(50, 5)
    guarded = guard.around(store)
    store.errors = [ConnectionRefusedError("refused")] * LIMIT
    with caplog.at_level(logging.WARNING, "tallystick"):
        for _ in range(LIMIT):
            assert not guard.is_shut
            await refused(guarded.ask())
        assert guard.is_shut
        store.answers.clear()
        probe = asyncio.create_task(guarded.ask())
        await asyncio.sleep(0)
        for _ in range(20):
            error = await refused(guarded.ask())
            assert "was not asked" in error.message
        await asyncio.sleep(0)
        assert store.calls == LIMIT + 1
        store.answers.set()
        assert await probe == "answer"
    assert not guard.is_shut
    assert caplog.messages[0] == "the store failed in ask; failures since the last such line: 1"
    assert caplog.messages[-1] == "the store answers again"


async def test_between_two_probes_there_is_a_pause(store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "PAUSE", 3600.0)
    guarded = Guard(5, 5).around(store)
    store.errors = [ConnectionRefusedError("refused")] * LIMIT
    for _ in range(LIMIT + 5):
        await refused(guarded.ask())
    assert store.calls == LIMIT


async def test_what_the_store_cannot_keep_shuts_it_for_nobody(store: Store):
    guard = Guard(5, 5)
    store.errors = [DataError("INSERT", {}, ValueError("a NUL"))] * (LIMIT + 1)
    for _ in range(LIMIT + 1):
        await refused(guard.around(store).ask())
    assert not guard.is_shut


async def test_an_answer_begins_the_count_of_failures_anew(store: Store):
    guard = Guard(5, 5)
    for _ in range(LIMIT):
        store.errors = [TimeoutError()]
        await refused(guard.around(store).ask())
        await guard.around(store).ask()
    assert not guard.is_shut


async def test_an_error_of_ours_passes_as_it_is(store: Store):
    store.errors = [GeneralError("outdated", reason="schema_outdated")]
    with pytest.raises(GeneralError, match="outdated"):
        await Guard(1, 5).around(store).ask()


async def test_a_migration_may_take_its_time(store: Store):
    store.answers.clear()
    opening = asyncio.create_task(Guard(1, 0.001).around(store).open())
    await asyncio.sleep(0.01)
    store.answers.set()
    assert await opening == "open"


async def test_a_caller_that_goes_gives_its_turn_back(store: Store):
    guarded = Guard(1, 5).around(store)
    store.answers.clear()
    calls = [asyncio.create_task(guarded.ask()) for _ in range(3)]
    await asyncio.sleep(0)
    for call in calls:
        call.cancel()
    await asyncio.wait(calls)
    store.answers.set()
    assert await guarded.ask() == "answer"


def test_only_what_speaks_of_the_connection_is_a_store_that_cannot_be_reached():
    assert is_unreachable(OperationalError("SELECT", {}, ValueError()))
    assert is_unreachable(DBAPIError("SELECT", {}, ValueError(), connection_invalidated=True))
    assert not is_unreachable(DBAPIError("SELECT", {}, ValueError()))
    assert is_unreachable(TimeoutError())
    assert is_unreachable(ConnectionResetError())
    assert not is_unreachable(DataError("SELECT", {}, ValueError()))
    assert not is_unreachable(ValueError())
