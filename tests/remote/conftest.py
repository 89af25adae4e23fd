"""Facades whose sessions a core keeps."""

import asyncio
from collections.abc import Iterator

import pytest

from tallystick.testing import FakeClock
from tests.remote.cores import Board, RemoteFacades, Scripted, run_board
from tests.unit.facades import KINDS


@pytest.fixture(scope="session")
def board() -> Iterator[Board]:
    with run_board() as started:
        yield started


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=KINDS)
def facades(request, clock, board) -> Iterator[RemoteFacades]:
    with asyncio.Runner() as runner:
        made = RemoteFacades(request.param, clock, runner, board)
        yield made
        made.close()


@pytest.fixture
def sessions(facades):
    return facades.make(tenants=["t1"])


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    server = Scripted()
    server.start()
    yield server
    server.stop()
