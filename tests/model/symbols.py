"""What the explorer's worlds are made of: tokens, rows and exchanges as small values without a byte of cryptography.

Two worlds that no judge can tell apart should be one state. So generations count from the oldest token that anybody
still holds, a parent that nobody holds is :data:`FORGOTTEN`, children are numbered in the order in which the world
mentions them, times are seconds before or after the present, cut off where they no longer matter, and exchanges are
sorted. That makes the space finite though nothing bounds the number of refreshes. :func:`normalise` does all of it.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

STEP: Final = 5
"""How many seconds one step of time is. An exchange may outlive one of them."""
SKEW: Final = 5
"""How many seconds the second server's clock is ahead of the first one's."""
GRACE: Final = STEP + SKEW
ACCESS_LIFE: Final = 2 * STEP + SKEW

USED_LONG_AGO: Final = GRACE + 2 * STEP
"""From here on the grace is over, also for a server that read its clock a step ago."""
DEAD: Final = -2 * STEP
"""Where an access token's remaining life is cut off: expired, also by a clock of a step ago."""

REFRESH: Final = 0
VERIFY: Final = 1


class Token:
    """A refresh token. Equal ones are one object, see :func:`token`."""

    __slots__ = ("generation", "number", "parent")

    def __init__(self, generation: int, parent: Token | None, number: int) -> None:
        self.generation, self.parent, self.number = generation, parent, number

    def __repr__(self) -> str:
        above = "" if self.parent is None else f" of {self.parent!r}"
        return "forgotten" if self is FORGOTTEN else f"R{self.generation}.{self.number}{above}"

    def __reduce__(self) -> tuple[Any, ...]:
        return token, (self.generation, self.parent, self.number)


_known: dict[tuple[int, Token | None, int], Token] = {}


def token(generation: int, parent: Token | None, number: int) -> Token:
    """The one token of this place in the family; ``parent`` None is a session's first."""
    key = generation, parent, number
    found = _known.get(key)
    if found is None:
        found = _known[key] = Token(*key)
    return found


FORGOTTEN: Final = token(-1, None, 0)
"""A token that nobody holds and that is no part of the row: nothing can ever be equal to it."""
ROOT: Final = token(0, None, 0)
"""A session's first token."""


class Access(NamedTuple):
    """An access token: the refresh token it came with, whether it bears its parent's mark, its life in seconds."""

    token: Token
    is_marked: bool
    left: int


class Row(NamedTuple):
    """The rotation's part of a session's row; ``used`` is how many seconds ago, ``ends`` None unless it is soon."""

    generation: int
    line: Token
    previous: Token | None
    used: int | None
    ends: int | None = None


class Process(NamedTuple):
    """A server at work on one request, as a value: whoever begins anew and feeds it the answers is where it was."""

    operation: int
    presented: Token | Access
    server: int = -1
    """Which one; -1 while the request is on its way."""
    started: int = 0
    """How many steps of time ago it read its clock."""
    answers: tuple[Any, ...] = ()
    """What the store has answered so far."""


class Outcome(NamedTuple):
    """How a request ended: ``ok``, ``try refresh``, ``unauthorised``, ``theft (kind)`` or ``broken (reason)``."""

    kind: str
    access: Access | None = None
    refresh: Token | None = None


class Request(NamedTuple):
    """What a tab has sent, and how far a server has come with it."""

    age: int
    """How many steps of time it has lived through since it was sent."""
    process: Process


class Answer(NamedTuple):
    """An answer on its way to a tab; ``age`` counts from the sending of the request."""

    age: int
    access: Access
    refresh: Token | None


class Pair(NamedTuple):
    """Two tokens that came together, in the hands of a victim or of a thief."""

    access: Access
    refresh: Token
    depth: int
    """By how many refreshes of the holder's own, since the theft, he came by it."""


class Theft(NamedTuple):
    """What each of the two has, and how far he has come since the copy: the depth of the last token accepted."""

    victim: tuple[Pair, ...]
    thief: tuple[Pair, ...] = ()
    by_victim: int = 0
    by_thief: int = 0


class World(NamedTuple):
    """Everything: the row (None: the session has ended), the cookie jar, and what is in flight.

    In a scene with a thief the jar and the network are empty, and ``theft`` is all there is besides the row."""

    row: Row | None
    access: Access
    refresh: Token
    network: tuple[Request, ...] = ()
    """A set: any of it may be carried out, again and again, until it is too old."""
    answers: tuple[Answer, ...] = ()
    theft: Theft | None = None


def tokens_of(world: World) -> list[Token]:
    """Every refresh token that the world mentions, in a fixed order, some of them several times."""
    found = [world.refresh]
    if world.row is not None:
        found += _tokens_of_row(world.row)
    found.append(world.access.token)
    for answer in world.answers:
        found.append(answer.access.token)
        if answer.refresh is not None:
            found.append(answer.refresh)
    for request in world.network:
        presented = request.process.presented
        found.append(presented if isinstance(presented, Token) else presented.token)
        for known in request.process.answers:
            if isinstance(known, Row):
                found += _tokens_of_row(known)
    if world.theft is not None:
        for pair in (*world.theft.victim, *world.theft.thief):
            found += pair.access.token, pair.refresh
    return found


def _tokens_of_row(row: Row) -> list[Token]:
    return [row.line] if row.previous is None else [row.line, row.previous]


EXPIRED: Final = Access(FORGOTTEN, False, DEAD)
"""All expired access tokens are alike."""
