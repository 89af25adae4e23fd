"""How many requests there were, minute by minute, for ``GET /requests/stats`` (spec/cdi.md 1.6.4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

MINUTES: Final = 24 * 60
"""A day is looked back upon."""
UNKNOWN: Final = -1.0
"""Of a minute before the process was there."""


class Statistics:
    """Counts the requests of this process."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._second = clock() // 1000
        self._in_second = 0
        self._in_minute = 0
        self._peak = 0
        self._averages: list[float] = [UNKNOWN] * MINUTES
        self._peaks: list[float] = [UNKNOWN] * MINUTES

    def count(self) -> None:
        """Count one."""
        second = self._clock() // 1000
        if second != self._second:
            self._move_to(second)
        self._in_second += 1
        self._in_minute += 1

    def read(self) -> tuple[int, list[float], list[float]]:
        """The minute that is going on, as its place in the day's ring, and of each place the average and the greatest
        number of requests in a second."""
        self._move_to(self._clock() // 1000)
        return (self._second // 60) % MINUTES, list(self._averages), list(self._peaks)

    def _move_to(self, second: int) -> None:
        self._peak = max(self._peak, self._in_second)
        minute, last = second // 60, self._second // 60
        if minute != last:
            self._averages[last % MINUTES] = self._in_minute / 60
            self._peaks[last % MINUTES] = float(self._peak)
            for quiet in range(max(last + 1, minute - MINUTES), minute):
                self._averages[quiet % MINUTES] = self._peaks[quiet % MINUTES] = 0.0
            self._in_minute = self._peak = 0
        if second != self._second:
            self._in_second = 0
        self._second = second
