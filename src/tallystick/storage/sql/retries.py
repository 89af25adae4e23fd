"""Steps that a database breaks off so that another may go on, and undoes: they are begun again.

MySQL and MariaDB do so to resolve a deadlock; PostgreSQL does too, and where transactions are serializable, as they are
in CockroachDB or by a setting, to whoever comes second.
"""

from __future__ import annotations

import random
import time
from typing import Final

from sqlalchemy.exc import DBAPIError

GIVE_UP_SECONDS: Final = 5
"""For how long a step is begun again."""

_LONGEST_PAUSE: Final = 0.05
_PASSING_NUMBERS: Final = frozenset(
    {
        1213,  # ER_LOCK_DEADLOCK
        1205,  # ER_LOCK_WAIT_TIMEOUT
        1020,  # ER_CHECKREAD: MariaDB's innodb_snapshot_isolation, on an engine of the app's own
    }
)
_PASSING_STATES: Final = frozenset(
    {
        "40001",  # serialization_failure
        "40P01",  # deadlock_detected
    }
)


class Retries:
    """How often one step was begun again, and for how long."""

    def __init__(self) -> None:
        self._deadline = time.monotonic() + GIVE_UP_SECONDS

    def pause_after(self, error: DBAPIError) -> float:
        """How many seconds to wait before the step is begun again. Raises the error where that is no use."""
        if not _is_passing(error) or time.monotonic() > self._deadline:
            raise error
        # At random, so that those who met do not meet again.
        return random.uniform(0, _LONGEST_PAUSE)  # noqa: S311 - no secret


def _is_passing(error: DBAPIError) -> bool:
    """Told by MySQL's number, or by the SQLSTATE that drivers of PostgreSQL give."""
    arguments: tuple[object, ...] = getattr(error.orig, "args", ())
    state: object = getattr(error.orig, "sqlstate", None)
    return state in _PASSING_STATES or (bool(arguments) and arguments[0] in _PASSING_NUMBERS)
