"""Breadth first through all worlds: the shortest way to a fault, or the proof that within the bounds there is none."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol, TypeAlias

from tests.model.symbols import World
from tests.model.world import Move


class Game(Protocol):
    """Which worlds there are: :class:`~tests.model.world.Honest` or :class:`~tests.model.theft.Stolen`."""

    def begin(self) -> World: ...

    def moves(self, world: World) -> Iterator[Move]: ...

    def settle(self, world: World) -> World: ...

    def name(self, world: World) -> World: ...


Property: TypeAlias = Callable[[World, Move], str | None]
"""What is wrong with a move out of a world, or None."""
Progress: TypeAlias = Callable[[int, int], None]
"""Is told now and then of how many states are known, and how many of them are still to be visited."""

TELL_EVERY = 1000


class Fault(NamedTuple):
    """What went wrong, and the worlds that lead there."""

    what: str
    path: list[World]


class Explored(NamedTuple):
    """What there was to see."""

    states: int
    transitions: int
    fault: Fault | None


def explore(game: Game, judge: Property, progress: Progress | None = None) -> Explored:
    """Visit every world that can be reached, until ``judge`` finds a fault. Where the session has ended is an end."""
    start = game.name(game.begin())
    came_from: dict[World, World | None] = {start: None}
    waiting = deque([start])
    transitions = visited = 0
    while waiting:
        world = waiting.popleft()
        visited += 1
        for move in game.moves(world):
            transitions += 1
            following = game.name(game.settle(move.world))
            what = judge(world, move)
            if what is not None:
                return Explored(len(came_from), transitions, Fault(what, _path(came_from, world, following)))
            if following not in came_from:
                came_from[following] = world
                if following.row is not None:
                    waiting.append(following)
        if progress is not None and visited % TELL_EVERY == 0:
            progress(len(came_from), len(waiting))
    return Explored(len(came_from), transitions, None)


def _path(came_from: dict[World, World | None], world: World, last: World) -> list[World]:
    path = [last]
    at: World | None = world
    while at is not None:
        path.append(at)
        at = came_from[at]
    return path[::-1]
