"""What must be true of every world (shared/rotation.md, "What must be proved"), as judges for the explorer."""

from __future__ import annotations

from tests.model.explore import Property
from tests.model.scheme import Scheme, run
from tests.model.symbols import REFRESH, VERIFY, Access, Process, Row, Token, World
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
        if _call(scheme, row, access, server) == "ok":
            continue
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
    """2. Theft: never have both refreshed ``rounds`` times with what they got after the copy, and no verdict was Reuse."""

    def judge(_world: World, move: Move) -> str | None:
        theft = move.world.theft
        if theft is not None and min(theft.by_victim, theft.by_thief) >= rounds and move.world.row is not None:
            return f"both have refreshed {rounds} times with tokens of their own"
        return None

    return judge
