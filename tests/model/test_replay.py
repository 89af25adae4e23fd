"""The same traces on every store, through both facades: the same answers. A further store joins by its name."""

import asyncio
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tallystick import AsyncSessions, Sessions
from tallystick.storage.memory import AsyncMemoryStore
from tallystick.testing import FakeClock
from tests.model.replay import SETTINGS, WALKS, Player, Trace, draw_traces
from tests.servers import make_database

SECRET = "a-secret-for-the-traces-that-is-long-enough"
STORES = ("memory", "sqlite", "postgresql", "mariadb", "redis", "redis-cluster")


@cache
def traces() -> list[Trace]:
    return draw_traces()


@pytest.fixture(params=STORES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    match request.param:
        case "memory":
            yield "memory://"
        case "sqlite":
            yield f"sqlite:///{tmp_path / 'sessions.db'}"
        case "postgresql":
            with make_database(request.getfixturevalue("postgres_url")) as made:
                yield made
        case "mariadb":
            yield request.getfixturevalue("mariadb_database")
        case name:
            yield request.getfixturevalue(f"{name.replace('-', '_')}_url")


def test_there_are_hundreds_and_all_that_can_happen_is_among_them():
    outcomes = {move.outcome.kind for trace in traces() for move in trace.moves if move.outcome is not None}
    assert outcomes == {"ok", "theft (retired)", "theft (sibling)", "theft (ancestor)"}
    assert len(traces()) >= WALKS + 10


def test_a_synchronous_facade_answers_as_the_explorer_says(url: str):
    clock = FakeClock()
    with Sessions(url, secret=SECRET, migrate=True, clock=clock, **SETTINGS) as sessions:
        player = Player(sessions, clock, lambda result: result)
        assert [wrong for trace in traces() if (wrong := player.play(trace))] == []


def test_an_asynchronous_facade_answers_as_the_explorer_says(url: str):
    clock = FakeClock()
    store = AsyncMemoryStore() if url == "memory://" else url
    with asyncio.Runner() as runner:
        sessions = AsyncSessions(store, secret=SECRET, migrate=True, clock=clock, **SETTINGS)
        player = Player(sessions, clock, runner.run)
        assert [wrong for trace in traces() if (wrong := player.play(trace))] == []
        runner.run(sessions.close())
