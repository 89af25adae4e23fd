"""For the tests of apps: a clock that you move, signed-in clients, a thief, a network that loses answers.

::

    clock = FakeClock.from_now()
    sessions = AsyncSessions("memory://", clock=clock)
    client = sign_in(TestClient(make_app(sessions)), sessions, "ada")
    clock.advance(timedelta(hours=1))

pytest finds the fixtures ``tallystick_clock``, ``tallystick_sessions`` and ``tallystick_async_sessions`` by itself.
"""

from __future__ import annotations

import hashlib
import time
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING, Final, Self

from tallystick.testing.clients import HeldAnswer, hold_answer, sign_in, steal

if TYPE_CHECKING:
    from tallystick.testing.contract import StoreContract

__all__ = ["START", "FakeClock", "HeldAnswer", "SeededEntropy", "StoreContract", "hold_answer", "sign_in", "steal"]

START: Final = 1_700_000_000_000
"""Where a fake clock begins: 2023-11-14T22:13:20Z, in ms since the epoch."""


def __getattr__(name: str) -> type[StoreContract]:
    """``StoreContract`` needs pytest, which the rest does not."""
    if name != "StoreContract":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from tallystick.testing.contract import StoreContract  # noqa: PLC0415 - see above

    return StoreContract


class FakeClock:
    """A clock that moves only when it is told to. Call it for the present, in ms since the epoch."""

    def __init__(self, start: int = START) -> None:
        self._now = start

    @classmethod
    def from_now(cls) -> Self:
        """A clock that begins at the present. For clients that keep cookies: they drop those that are over by the real
        clock."""
        return cls(time.time_ns() // 1_000_000)

    @property
    def now(self) -> int:
        """The present, in ms since the epoch."""
        return self._now

    def advance(self, by: timedelta) -> None:
        """Move on by a duration, whole milliseconds of it; a negative one moves back."""
        self._now += by // timedelta(milliseconds=1)

    def __call__(self) -> int:
        return self._now

    def __repr__(self) -> str:
        return f"FakeClock({self._now})"


class SeededEntropy:
    """Bytes that look random and are the same in each run with the same seed.

    For tests alone, never in production: whoever knows the seed can make every token.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._calls = count()

    def __call__(self, size: int) -> bytes:
        """``size`` bytes, others at each call."""
        return hashlib.shake_256(f"{self._seed}/{next(self._calls)}".encode("ascii")).digest(size)
