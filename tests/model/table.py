"""What each request must come to, by the tables of shared/rotation.md: told once more, on symbols, for the mutants.

That no honest user is logged out and no thief is missed does not pin every line of the tables: a parent that never
retired would do for both. So whatever the victim and the thief could present is also held against the line of the table
that is about it.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.model.explore import Property
from tests.model.scheme import Scheme, run
from tests.model.symbols import GRACE, REFRESH, SKEW, STEP, VERIFY, Access, Process, Row, Token, World
from tests.model.world import Move

_OVER = -2 * STEP


def is_as_the_table_says(scheme: Scheme, servers: int = 2) -> Property:
    """A judge for the game of a thief: each request that could be made in a world, alone."""
    begun = scheme.begin().row
    known: set[tuple[Row, Process]] = set()

    def judge(world: World, _move: Move) -> str | None:
        row = world.row
        if row is None:
            return None
        for process in _processes(world, servers):
            if (row, process) in known or scheme.look(process) is not None:
                continue
            known.add((row, process))
            fault = _judge(scheme, row, process, begun)
            if fault is not None:
                return fault
        return None

    return judge


def _processes(world: World, servers: int) -> Iterator[Process]:
    assert world.theft is not None
    for pair in (*world.theft.victim, *world.theft.thief):
        for server in range(servers):
            for started in range(2):
                yield Process(REFRESH, pair.refresh, server, started)
                yield Process(VERIFY, pair.access, server, started)


def _judge(scheme: Scheme, row: Row, process: Process, begun: Row) -> str | None:
    after, outcome = run(scheme, row, process)
    presented = process.presented
    if isinstance(presented, Access):
        is_replaced = outcome.access is not None and not outcome.access.is_marked
        seen = outcome.kind, "replaced" if is_replaced else "as it is", _what_became(row, after, None)
        return _compare(_use(row, presented), seen)
    fault = _compare(_refresh(row, process, presented), (outcome.kind, _what_became(row, after, presented)))
    return fault or _look_aside(scheme, row, presented, begun)


def _refresh(row: Row, process: Process, presented: Token) -> tuple[str, str]:
    """The verdict, and what becomes of the row."""
    now = SKEW * process.server - STEP * process.started
    if presented is row.line:
        is_retired = row.used is not None and row.used + now > GRACE
        return ("theft (retired)", "gone") if is_retired else ("ok", "same")
    if presented.parent is row.line:
        return "ok", "moved"
    if presented.parent is not None and presented.parent is row.previous:
        return "theft (sibling)", "gone"
    return ("theft (ancestor)", "gone") if presented.generation <= row.generation else ("unauthorised (ahead)", "same")


def _use(row: Row, access: Access) -> tuple[str, str, str]:
    """Whether the access token is replaced, and whether the use is marked."""
    is_of_line = access.token.parent is row.line
    is_replaced = is_of_line or access.token is row.line
    becomes = "marked" if is_of_line and row.used is None else "same"
    return "ok", "replaced" if is_replaced else "as it is", becomes


def _what_became(row: Row, after: Row | None, presented: Token | None) -> str:
    if after is None:
        return "gone"
    if after == row:
        return "same"
    if after.line is presented and after.previous is row.line and after.used is None:
        return "moved"
    is_marked = row.used is None and after.used is not None and after._replace(used=None) == row
    return "marked" if is_marked else "otherwise"


def _look_aside(scheme: Scheme, row: Row, presented: Token, begun: Row) -> str | None:
    """What the game has no move for: an expired session, and a store that was restored from a backup."""
    if run(scheme, row._replace(ends=_OVER), Process(REFRESH, presented, 0))[1].kind != "unauthorised (no_session)":
        return "an expired session is not gone"
    if presented.generation > 1:
        following, outcome = run(scheme, begun, Process(REFRESH, presented, 0))
        if outcome.kind != "unauthorised (ahead)" or following != begun:
            return f"a restored backup is {outcome.kind}"
    return None


def _compare(expected: tuple[str, ...], seen: tuple[str, ...]) -> str | None:
    return None if expected == seen else f"{', '.join(seen)}; but the table says {', '.join(expected)}"
