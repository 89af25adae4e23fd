"""What must be true of every world (shared/rotation.md, "What must be proved"), as judges for the explorer."""

from __future__ import annotations

from tests.model.explore import Property
from tests.model.scheme import Scheme, run
from tests.model.symbols import REFRESH, USED_LONG_AGO, VERIFY, Access, Process, Row, Token, World
from tests.model.world import Move


def is_never_refused(_world: World, move: Move) -> str | None:
    """1. Honest: no verdict is Reuse or anything else but a session, or that the tab should refresh."""
    outcome = move.outcome
    return outcome.kind if outcome is not None and outcome.kind not in ("ok", "try refresh") else None


def stays_signed_in(scheme: Scheme, servers: int = 2) -> Property:
    """1. Honest: no request is refused, and whatever is lost, a tab that is left alone gets in."""
    known: dict[tuple[Row | None, Access, Token], str | None] = {}

    def judge(world: World, move: Move) -> str | None:
        refusal = is_never_refused(world, move)
        if refusal is not None:
            return refusal
        following = move.world
        key = following.row, following.access, following.refresh
        if key not in known:
            known[key] = _refused_alone(scheme, *key, servers)
        return known[key]

    return judge


def _refused_alone(scheme: Scheme, row: Row | None, access: Access, refresh: Token, servers: int) -> str | None:
    """What a tab meets that calls, refreshes if it must, and calls again, at whatever servers; None: its session."""
    for server in range(servers):
        met = _call(scheme, row, access, server)
        if met == "ok":
            continue
        if met != "try refresh":
            return f"a tab alone is refused: {met}"
        for other in range(servers):
            following, outcome = run(scheme, row, Process(REFRESH, refresh, other))
            if outcome.access is None:
                return f"a tab alone is refused: {outcome.kind}"
            if any(_call(scheme, following, outcome.access, last) != "ok" for last in range(servers)):
                return "a tab alone is refused though it has refreshed"
    return None


def _call(scheme: Scheme, row: Row | None, access: Access, server: int) -> str:
    process = Process(VERIFY, access, server)
    return (scheme.look(process) or run(scheme, row, process)[1]).kind


def theft_is_noticed(rounds: int = 1) -> Property:
    """2. Theft: once each of the two has presented, in ``rounds`` refreshes, what he got after the copy, a verdict was
    Reuse. An own token that is refused without that verdict counts as presented."""

    def judge(_world: World, move: Move) -> str | None:
        theft = move.world.theft
        if theft is not None and min(theft.by_victim, theft.by_thief) >= rounds and move.world.row is not None:
            return f"both have refreshed {rounds} times with tokens of their own"
        return None

    return judge


def retires_the_parent(world: World, move: Move) -> str | None:
    """What the table says of first uses: one that is answered has been written, it ends the parent's life when the
    grace is over, and a branch that has lost is never renewed."""
    row, outcome, following = world.row, move.outcome, move.world.row
    if move.request is None or outcome is None or outcome.access is None or row is None or following is None:
        return None
    presented = move.request.process.presented
    if isinstance(presented, Token):
        is_retired = presented is row.line and row.used is not None and row.used >= USED_LONG_AGO
        return "a parent was refreshed though a child has been in use for long" if is_retired else None
    if presented.token.parent is row.line:
        return "a child's first use was answered and not written" if following.used is None else None
    return None if presented.token is row.line else "an access token of a branch that has lost was renewed"


def all_of(*properties: Property) -> Property:
    """Each of them."""

    def judge(world: World, move: Move) -> str | None:
        return next((fault for fault in (judge(world, move) for judge in properties) if fault is not None), None)

    return judge
