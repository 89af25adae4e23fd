"""Breadth first through all worlds: the shortest way to a fault, or the proof that within the bounds there is none."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from tests.model.normal import normalise
from tests.model.scheme import Scheme
from tests.model.symbols import World
from tests.model.world import Bounds, Move, begin, moves, settle

Property: TypeAlias = Callable[[World, Move], str | None]
"""What is wrong with a move out of a world, or None."""


class Fault(NamedTuple):
    """What went wrong, and the worlds that lead there."""

    what: str
    path: list[World]


class Explored(NamedTuple):
    states: int
    transitions: int
    fault: Fault | None


def explore(
    scheme: Scheme,
    bounds: Bounds,
    judge: Property,
    is_over: Callable[[Move], bool] = lambda move: move.world.row is None,
    progress: Callable[[int, int], None] | None = None,
) -> Explored:
    """Visit every world that can be reached, until ``judge`` finds a fault. What ``is_over`` goes no further."""
    start = normalise(begin(scheme, bounds))
    came_from: dict[World, World | None] = {start: None}
    waiting = deque([start])
    transitions = 0
    while waiting:
        world = waiting.popleft()
        for move in moves(world, scheme, bounds):
            transitions += 1
            following = normalise(settle(move.world, scheme, bounds))
            what = judge(world, move)
            if what is not None:
                return Explored(len(came_from), transitions, Fault(what, _path(came_from, world, following)))
            if following not in came_from:
                came_from[following] = world
                if not is_over(move):
                    waiting.append(following)
        if progress is not None:
            progress(len(came_from), len(waiting))
    return Explored(len(came_from), transitions, None)


def _path(came_from: dict[World, World | None], world: World, last: World) -> list[World]:
    path, before = [last], world
    at: World | None = before
    while at is not None:
        path.append(at)
        at = came_from[at]
    return path[::-1]
