"""The other schemes of shared/rotation.md's table, each a judge of a few lines, in the same explorer as ours.

They are atomic: one transaction a request. A row's ``line`` is the token that the scheme holds to be the current one,
``used`` when it last changed hands.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from tests.model.scheme import Begun
from tests.model.symbols import (
    ACCESS_LIFE,
    FORGOTTEN,
    GRACE,
    REFRESH,
    ROOT,
    SKEW,
    STEP,
    Access,
    Outcome,
    Process,
    Row,
    Token,
    token,
)

Judge: TypeAlias = Callable[[Row, Token, Token, int], tuple[Row, Token] | None]
"""From a row, the token presented, a new child of it and the server's clock: the row and the token to hand out, or None
for theft."""


def any_reuse_is_theft(row: Row, presented: Token, child: Token, clock: int) -> tuple[Row, Token] | None:
    """RFC 9700 section 4.14.2: each refresh replaces the token."""
    return (_move(row, child, presented, clock), child) if presented is row.line else None


def child_takes_over_when_used(row: Row, presented: Token, child: Token, clock: int) -> tuple[Row, Token] | None:
    """SuperTokens core up to CDI 5.5 (spec/cdi.md 4.4); the first use is in :class:`Model`."""
    if presented is row.line:
        return row, child
    return (_move(row, presented, row.line, clock), child) if presented.parent is row.line else None


def retries_displace_the_child(row: Row, presented: Token, child: Token, clock: int) -> tuple[Row, Token] | None:
    """SuperTokens core 12.1, CDI 5.6 (spec/cdi.md 4.5), with our grace in place of its 30 seconds."""
    if presented is row.line:
        return _move(row, child, presented, clock), child
    if presented is row.previous and _is_in_grace(row, clock):
        return row._replace(generation=child.generation, line=child), child
    return None


def retries_get_the_same_successor(row: Row, presented: Token, child: Token, clock: int) -> tuple[Row, Token] | None:
    """A successor that is derived from its parent, or an answer that is replayed."""
    successor = token(child.generation, presented, 0)
    if presented is row.line or (presented is row.previous and _is_in_grace(row, clock)):
        return row, successor
    return (_move(row, presented, row.line, clock), successor) if presented.parent is row.line else None


class Model:
    """A scheme made of a judge."""

    def __init__(self, name: str, judge: Judge, *, is_promoted_by_use: bool = False) -> None:
        self.name, self._judge, self._is_promoted_by_use = name, judge, is_promoted_by_use

    def begin(self) -> Begun:
        return Begun(Row(0, ROOT, None, None), Access(FORGOTTEN, False, ACCESS_LIFE), ROOT)

    def look(self, process: Process) -> Outcome | None:
        if process.operation == REFRESH:
            return None
        assert isinstance(process.presented, Access)
        if process.presented.left < _clock(process):
            return Outcome("try refresh")
        return None if process.presented.is_marked else Outcome("ok")

    def step(self, row: Row | None, process: Process, number: int) -> tuple[Row | None, Process | Outcome]:
        if row is None:
            return None, Outcome("unauthorised (no_session)")
        presented, clock = process.presented, _clock(process)
        if isinstance(presented, Access):
            return self._use(row, presented, clock)
        verdict = self._judge(row, presented, token(presented.generation + 1, presented, number), clock)
        if verdict is None:
            return None, Outcome("theft (reuse)")
        row, child = verdict
        marked = child if self._is_promoted_by_use else FORGOTTEN
        return row, Outcome("ok", Access(marked, self._is_promoted_by_use, ACCESS_LIFE + clock), child)

    def _use(self, row: Row, access: Access, clock: int) -> tuple[Row, Outcome]:
        """The first use of an access token; spec/cdi.md 4.2."""
        if access.token.parent is row.line:
            row = _move(row, access.token, row.line, clock)
        if access.token is not row.line:
            return row, Outcome("ok")
        return row, Outcome("ok", Access(FORGOTTEN, False, ACCESS_LIFE + clock))


OTHERS = (
    Model("rotate at refresh, any reuse is theft (OAuth BCP)", any_reuse_is_theft),
    Model(
        "the child takes over when first used (SuperTokens core, CDI <= 5.5)",
        child_takes_over_when_used,
        is_promoted_by_use=True,
    ),
    Model("rotate at refresh, grace, each retry displaces the last child (CDI 5.6)", retries_displace_the_child),
    Model("every retry gets the same successor", retries_get_the_same_successor),
)


def _move(row: Row, line: Token, previous: Token, clock: int) -> Row:
    return row._replace(generation=line.generation, line=line, previous=previous, used=-clock)


def _clock(process: Process) -> int:
    """The server's clock, in seconds from the present."""
    return SKEW * process.server - STEP * process.started


def _is_in_grace(row: Row, clock: int) -> bool:
    return row.used is not None and row.used + clock <= GRACE
