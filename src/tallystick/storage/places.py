"""Places in a log whose entries have numbers."""

from __future__ import annotations

import re
from typing import Final

_NUMBER: Final = re.compile(r"\d{1,18}", re.ASCII)


def read_number(place: str | None) -> int:
    """The number in a place; 0, from where all is read, for what is none, such as a place that another kind of store
    gave."""
    return int(place) if place is not None and _NUMBER.fullmatch(place) else 0
