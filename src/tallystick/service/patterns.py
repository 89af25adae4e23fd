"""Regular expressions that others write and that every request runs: none may keep a worker busy.

Python's engine tries one way after another to match, and a pattern such as ``(a+)+`` has more ways than a machine has
years. So the ways are counted, from above, before a pattern is taken, by how many characters each of them takes, as an
address has few: a choice has those of its branches together, a sequence the product, and a repetition those of each
number of rounds. A way that comes to nothing in the midst of a pattern costs as much as one that gets to its end, so
what counts is the place up to which there are most.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from importlib import import_module
from itertools import zip_longest
from typing import Any, Final, NamedTuple, TypeAlias

LONGEST_ADDRESS: Final = 45
"""Characters in the text of an IP address, at the most: IPv6 that ends in IPv4. No repetition has more rounds."""

MOST_WAYS: Final = 1_000_000
"""Four numbers with points between, each written with a plus, are 111,959; what people pass on to each other for IPv6,
with all of its abbreviations, 784,573. So many take a worker some 50 ms, if it comes to the worst, and that once for
each address."""

MAX_CHARACTERS: Final = 1000
_REMEMBERED: Final = 10_000
"""For how many addresses and patterns it is remembered whether they match."""

# The library's own parser: it alone knows for certain what a pattern means to it.
_parse: Final = import_module("re._parser").parse


_Counts: TypeAlias = tuple[int, ...]
"""How many ways take no character, one character, two, and so on."""


class _Ways(NamedTuple):
    """The ways through a part of a pattern, and those up to the place in it where they are most."""

    through: _Counts
    into: _Counts


_NOTHING: Final = _Ways((1,), (1,))
_CHARACTER: Final = _Ways((0, 1), (0, 1))
_ONE_CHARACTER: Final = frozenset({"LITERAL", "NOT_LITERAL", "ANY", "IN"})


@lru_cache(_REMEMBERED)
def matches(pattern: str, address: str) -> bool:
    """Whether an address as a whole matches a pattern that was checked."""
    return re.fullmatch(pattern, address) is not None


def check_pattern(pattern: str) -> None:
    """Raise :class:`ValueError` for what is no regular expression, or one that could take long for an IP address."""
    if len(pattern) > MAX_CHARACTERS:
        raise ValueError("too long")
    try:
        re.compile(pattern)
        _ways_of(_parse(pattern))
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError("not a regular expression") from error


def _ways_of(sequence: Iterable[tuple[Any, Any]]) -> _Ways:
    through: _Counts = (1,)
    into: _Counts = (0,)
    for kind, about in sequence:
        part = _ways_of_part(str(kind), about)
        into = _larger(into, _product(through, part.into))
        through = _product(through, part.through)
    return _Ways(through, _larger(through, into))


def _ways_of_part(kind: str, about: Any) -> _Ways:  # noqa: ANN401 - as the parser has it, of each kind another
    match kind:
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            fewest, most, inner = about
            return _ways_of_rounds(int(fewest), int(most), _ways_of(inner))
        case "BRANCH":
            return _either(*map(_ways_of, about[1]))
        case "SUBPATTERN":
            return _ways_of(about[3])
        case "ATOMIC_GROUP":
            return _ways_of(about)
        case "ASSERT" | "ASSERT_NOT":
            return _Ways((1,), (sum(_ways_of(about[1]).into),))
        case "GROUPREF_EXISTS":
            return _either(_ways_of(about[1]), _ways_of(about[2] or ()))
        case _:
            return _CHARACTER if kind in _ONE_CHARACTER else _NOTHING


def _ways_of_rounds(fewest: int, most: int, one: _Ways) -> _Ways:
    """What is empty may be repeated too, so each round counts."""
    if fewest > LONGEST_ADDRESS:
        raise ValueError("too many rounds, and so too many ways to match")
    so_far: _Counts = (1,)
    into: _Counts = (0,)
    through: _Counts = (1,) if fewest == 0 else (0,)
    for rounds in range(1, min(most, LONGEST_ADDRESS) + 1):
        into = _sum(into, _product(so_far, one.into))
        so_far = _product(so_far, one.through)
        if rounds >= fewest:
            through = _sum(through, so_far)
    return _Ways(through, _larger(through, into))


def _either(*branches: _Ways) -> _Ways:
    return _Ways(_sum(*(each.through for each in branches)), _sum(*(each.into for each in branches)))


def _product(first: _Counts, second: _Counts) -> _Counts:
    products = [0] * min(len(first) + len(second) - 1, LONGEST_ADDRESS + 1)
    for length, ways in enumerate(first):
        if ways:
            for more, each in enumerate(second[: len(products) - length]):
                products[length + more] += ways * each
    return _checked(products)


def _sum(*counts: _Counts) -> _Counts:
    return _checked(map(sum, zip_longest(*counts, fillvalue=0)))


def _larger(one: _Counts, other: _Counts) -> _Counts:
    return _checked(map(max, zip_longest(one, other, fillvalue=0)))


def _checked(counts: Iterable[int]) -> _Counts:
    checked = tuple(counts)
    if sum(checked) > MOST_WAYS:
        raise ValueError("too many ways to match")
    return checked
