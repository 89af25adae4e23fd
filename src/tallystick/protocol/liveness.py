"""When a session is over.

Two clocks (NIST SP 800-63B-4 section 5.2): ``expires_at`` slides with use, ``absolute_expires_at`` never moves, and the
session ends with the first of them. One rule serves everywhere: at the very millisecond of its end it is over.
"""

from __future__ import annotations

from tallystick.types import SessionRow


def is_alive(row: SessionRow, now: int) -> bool:
    """Tell whether the session may still be used at ``now``."""
    return now < row.expires_at and now < row.absolute_expires_at


def slide(now: int, validity: int, absolute_expires_at: int) -> int:
    """The end of a session that is put to use at ``now``: ``validity`` later, but never past the absolute end."""
    return min(now + validity, absolute_expires_at)
