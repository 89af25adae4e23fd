"""Fixtures that pytest finds by itself where Tallystick is installed. Nothing is imported until one is asked for."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tallystick import AsyncSessions, Sessions
    from tallystick.testing import FakeClock

SECRET = "for tests alone, and long enough"


@pytest.fixture
def tallystick_clock() -> FakeClock:
    """A clock that begins at the present and moves only when it is told to."""
    from tallystick.testing import FakeClock  # noqa: PLC0415 - not for tests that do not ask

    return FakeClock.from_now()


@pytest.fixture
def tallystick_sessions(tallystick_clock: FakeClock) -> Generator[Sessions]:
    """``Sessions`` in memory, on ``tallystick_clock``, new for each test."""
    from tallystick import Sessions  # noqa: PLC0415 - see above

    with Sessions("memory://", secret=SECRET, clock=tallystick_clock, algorithm="EdDSA") as sessions:
        yield sessions


@pytest.fixture
def tallystick_async_sessions(tallystick_clock: FakeClock) -> AsyncSessions:
    """``AsyncSessions`` in memory, on ``tallystick_clock``, new for each test."""
    from tallystick import AsyncSessions  # noqa: PLC0415 - see above

    return AsyncSessions("memory://", secret=SECRET, clock=tallystick_clock, algorithm="EdDSA")
