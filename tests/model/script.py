"""A trace as a list of actions, each of which is one line of text, and the text is enough to play it again.

A script knows nothing of symbols. What a client has is named when it gets it (``R0`` is the first refresh token,
``R1a`` the first child of a token of generation 0), and the text says by these names what is sent. What follows a dash
is what came of it: it is written when the script is played, and not read.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

OPERATIONS = ("refresh", "call")
"""In the order of :data:`~tests.model.symbols.REFRESH` and ``VERIFY``."""


class Pass(NamedTuple):
    """One step of time."""


class Send(NamedTuple):
    """A tab sends what the jar holds."""

    number: int
    operation: int


class Work(NamedTuple):
    """A server takes a request up, if it has not yet, and makes its next store call."""

    number: int
    server: int
    late: int
    """How many steps of time ago the server read its clock; counts only where it takes the request up."""


class Arrive(NamedTuple):
    """An answer reaches its tab."""

    number: int


class Copy(NamedTuple):
    """A thief copies the tokens that came with this refresh token."""

    name: str


class Act(NamedTuple):
    """The victim or the thief sends a token and gets the answer at once."""

    who: str
    operation: int
    name: str
    """Of the refresh token, or of the one that the access token came with."""
    server: int
    late: int


Action: TypeAlias = Pass | Send | Work | Arrive | Copy | Act

PASS = "a step of time passes"
_LATE = r"(?:, which read its clock (\d+) steps? before)?"
_PATTERNS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], Action]], ...] = (
    (re.compile(PASS), lambda _: Pass()),
    (re.compile(r"a tab sends request (\d+): (refresh|call)"), lambda m: Send(int(m[1]), OPERATIONS.index(m[2]))),
    (
        re.compile(rf"server (\d+){_LATE} works on request (\d+)"),
        lambda m: Work(int(m[3]), int(m[1]) - 1, int(m[2] or 0)),
    ),
    (re.compile(r"the answer to request (\d+) arrives"), lambda m: Arrive(int(m[1]))),
    (re.compile(r"a thief copies (\w+)"), lambda m: Copy(m[1])),
    (
        re.compile(rf"the (victim|thief) sends (\w+) to server (\d+){_LATE}: (refresh|call)"),
        lambda m: Act(m[1], OPERATIONS.index(m[5]), m[2], int(m[3]) - 1, int(m[4] or 0)),
    ),
)


def format_action(action: Action) -> str:
    """The action's line."""
    match action:
        case Pass():
            return PASS
        case Send(number, operation):
            return f"a tab sends request {number}: {OPERATIONS[operation]}"
        case Work(number, server, late):
            return f"server {server + 1}{_say_late(late)} works on request {number}"
        case Arrive(number):
            return f"the answer to request {number} arrives"
        case Copy(name):
            return f"a thief copies {name}"
        case Act(who, operation, name, server, late):
            return f"the {who} sends {name} to server {server + 1}{_say_late(late)}: {OPERATIONS[operation]}"


def parse_script(text: str) -> list[Action]:
    """The actions of a text, one a line; empty lines and what stands behind a dash are passed over. Raises ValueError
    with the line that is none."""
    lines = (line.split(" - ", 1)[0].strip() for line in text.splitlines())
    return [_parse_line(line) for line in lines if line]


def _parse_line(line: str) -> Action:
    # A line may be numbered, as it is where a trace is printed.
    bare = re.sub(r"^\d+\.\s+", "", line)
    for pattern, build in _PATTERNS:
        match = pattern.fullmatch(bare)
        if match is not None:
            return build(match)
    raise ValueError(f"this is no line of a trace: {line!r}")


def _say_late(late: int) -> str:
    return f", which read its clock {late} step{'s' * (late > 1)} before" if late else ""
