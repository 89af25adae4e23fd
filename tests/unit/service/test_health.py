"""From the start of a worker to its end: what it waits for, what it gives up on, and what it says meanwhile."""

import asyncio

import pytest
from sqlalchemy.exc import OperationalError

from tallystick import GeneralError
from tallystick.service import health as module
from tallystick.service.health import StoreHealth
from tallystick.storage.memory import AsyncMemoryStore


class Core:
    """Opens as the test says: with errors first, and not before it may."""

    def __init__(self, *errors: Exception):
        self.errors = list(errors)
        self.may_open = asyncio.Event()
        self.may_open.set()
        self.is_closed = False

    async def open(self) -> None:
        await self.may_open.wait()
        if self.errors:
            raise self.errors.pop(0)

    async def close(self) -> None:
        self.is_closed = True


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(module, "_LONGEST_PAUSE", 0.001)


@pytest.fixture
async def background() -> asyncio.Event:
    return asyncio.Event()


def make(core: Core, running: asyncio.Event) -> StoreHealth:
    async def run() -> None:
        running.set()
        await asyncio.Event().wait()

    return StoreHealth(core, AsyncMemoryStore(), run, clock=lambda: 0)


async def test_a_store_that_is_there_is_ready_at_once_and_what_runs_beside_it_ends_with_it(background: asyncio.Event):
    core = Core()
    health = make(core, background)
    assert (await health.look(), health.is_open) == ("starting", False)
    await health.start()
    assert (await health.look(), health.is_open) == ("ready", True)
    await background.wait()
    await health.stop()
    assert (await health.look(), health.is_open, core.is_closed) == ("stopping", False, True)


async def test_a_store_that_is_down_is_looked_for_until_it_is_back(background: asyncio.Event):
    core = Core(OperationalError("SELECT", {}, ValueError()), ConnectionRefusedError())
    health = make(core, background)
    await health.start()
    async with asyncio.timeout(20):
        await background.wait()
    assert await health.look() == "ready"
    await health.stop()


async def test_what_time_does_not_heal_ends_the_start(background: asyncio.Event):
    health = make(Core(GeneralError("run tallystick migrate", reason="schema_outdated")), background)
    with pytest.raises(GeneralError, match="run tallystick migrate"):
        await health.start()


async def test_what_shows_later_is_told_and_tried_again(background: asyncio.Event, caplog: pytest.LogCaptureFixture):
    core = Core(GeneralError("run tallystick migrate", reason="schema_outdated"))
    core.may_open.clear()
    health = make(core, background)
    await health.start()
    assert await health.look() == "starting"
    core.may_open.set()
    async with asyncio.timeout(20):
        await background.wait()
    assert await health.look() == "ready"
    assert "the store cannot be used; going on to try" in caplog.messages
    await health.stop()


async def test_a_store_that_stops_answering_is_told_and_has_no_keys(
    background: asyncio.Event, monkeypatch: pytest.MonkeyPatch
):
    health = make(Core(), background)
    await health.start()

    async def fail(*_: object) -> None:
        raise GeneralError("gone", reason="store_failed")

    monkeypatch.setattr(AsyncMemoryStore, "load_session", fail)
    monkeypatch.setattr(AsyncMemoryStore, "load_keys", fail)
    monkeypatch.setattr(module, "_LOOK_EVERY", 0.0)
    assert await health.look() == "store_failed"
    assert await health.key_ages() == ()
    monkeypatch.undo()
    monkeypatch.setattr(module, "_LOOK_EVERY", 0.0)
    assert await health.look() == "ready"
    await health.stop()
