"""Regular expressions that others write and that every request runs: none may keep a worker busy.

Python's engine tries one way after another to match, and a pattern such as ``(a+)+`` has more ways than a machine has
years. So the ways are counted, from above, before a pattern is taken: a choice has those of its branches together, a
sequence the product, and a repetition those of each number of rounds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib import import_module
from typing import Any, Final

LONGEST_ADDRESS: Final = 45
"""Characters in the text of an IP address, at the most: IPv6 that ends in IPv4. No repetition has more rounds."""

MOST_WAYS: Final = 5_000_000
"""Four numbers with points between, each written with a plus, are four millions and a half, in theory."""

MAX_CHARACTERS: Final = 1000

# The library's own parser: it alone knows for certain what a pattern means to it.
_parse: Final = import_module("re._parser").parse


def check_pattern(pattern: str) -> None:
    """Raise :class:`ValueError` for what is no regular expression, or one that could take long for an IP address."""
    if len(pattern) > MAX_CHARACTERS:
        raise ValueError("too long")
    try:
        re.compile(pattern)
        ways = _ways_of(_parse(pattern))
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError("not a regular expression") from error
    if ways > MOST_WAYS:
        raise ValueError("too many ways to match")


def _ways_of(sequence: Iterable[tuple[Any, Any]]) -> int:
    ways = 1
    for kind, about in sequence:
        ways = min(ways * _ways_of_part(str(kind), about), MOST_WAYS + 1)
    return ways


def _ways_of_part(kind: str, about: Any) -> int:  # noqa: ANN401 - as the parser has it, of each kind another
    match kind:
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            fewest, most, inner = about
            return _ways_of_rounds(int(fewest), int(most), _ways_of(inner))
        case "BRANCH":
            return sum(map(_ways_of, about[1]))
        case "SUBPATTERN":
            return _ways_of(about[3])
        case "ATOMIC_GROUP":
            return _ways_of(about)
        case "ASSERT" | "ASSERT_NOT":
            return _ways_of(about[1])
        case "GROUPREF_EXISTS":
            return _ways_of(about[1]) + _ways_of(about[2] or ())
        case _:
            return 1


def _ways_of_rounds(fewest: int, most: int, of_one: int) -> int:
    """No fewer than the rounds there must be, as what is empty may be repeated too."""
    if fewest > LONGEST_ADDRESS:
        return MOST_WAYS + 1
    ways: int = sum(of_one**rounds for rounds in range(fewest, min(most, LONGEST_ADDRESS) + 1))
    return max(ways, fewest * of_one)
