"""Lines of a log that must not flood it."""

from __future__ import annotations

import time
from typing import Final

_EVERY: Final = 1.0
"""Of how many seconds one line tells."""


class Throttle:
    """Counts what happens, to be told of in a line a second."""

    def __init__(self) -> None:
        self._told_at = -_EVERY
        self._untold = 0

    def count(self) -> int:
        """One more: how many there were since the last line where it is time for the next, else 0."""
        now = time.monotonic()
        self._untold += 1
        if now - self._told_at < _EVERY:
            return 0
        found, self._untold, self._told_at = self._untold, 0, now
        return found
