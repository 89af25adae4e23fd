"""What can happen next where a thief has copied the jar, or may do so at any moment.

Much more is allowed here than ever happens, so that a theft which is always found here is always found. The victim, as
the thief, may hold several pairs of tokens (the jar's, late answers', those of tabs that lag behind) and do with any of
them what he likes, whenever he likes; access tokens never expire; a server's clock may be a step behind. The thief
copies any pair of the victim's. So everything that honest tabs do (`world`) is among it, and neither jar nor network is
needed: a request that waits is one that is sent later.

A request is carried out whole here. That it may be interrupted between its store calls adds nothing: a write is a
compare-and-swap, it succeeds as if the row had just been loaded or else begins anew. (That it does so, `world` shows.)
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.model.normal import normalise
from tests.model.scheme import Scheme, run
from tests.model.symbols import (
    EXPIRED,
    FORGOTTEN,
    REFRESH,
    SKEW,
    STEP,
    VERIFY,
    Access,
    Outcome,
    Pair,
    Process,
    Request,
    Row,
    Theft,
    World,
)
from tests.model.world import Move, age_row, next_number, taken_numbers


class Stolen:
    """The game of a victim and a thief.

    ``bag``: how many pairs each of the two holds at once. ``rounds``: up to how many refreshes of each are counted.
    """

    def __init__(self, scheme: Scheme, bag: int = 2, rounds: int = 1, servers: int = 2) -> None:
        self.scheme, self.bag, self.rounds, self.servers = scheme, bag, rounds, servers

    def begin(self) -> World:
        """A user has just signed in."""
        begun = self.scheme.begin()
        pair = Pair(_lasting(begun.access), begun.refresh, 0)
        return World(begun.row, EXPIRED, FORGOTTEN, theft=Theft((pair,)))

    def moves(self, world: World) -> Iterator[Move]:
        """Everything that can happen next."""
        theft = world.theft
        assert theft is not None
        yield Move("pass", world._replace(row=age_row(world.row)))
        yield from self._acts(world, theft.victim, is_thief=False)
        yield from self._acts(world, theft.thief, is_thief=True)
        if not theft.thief:
            for index, pair in enumerate(theft.victim):
                yield Move("copy", world._replace(theft=theft._replace(thief=(pair,))), index=index)

    def settle(self, world: World) -> World:
        """Nothing waits here."""
        return world

    def name(self, world: World) -> World:
        """The one name of a world and all that are like it."""
        return normalise(world)

    def _acts(self, world: World, pairs: tuple[Pair, ...], *, is_thief: bool) -> Iterator[Move]:
        numbers = taken_numbers(world)
        for index, pair in enumerate(pairs):
            done: set[tuple[Row | None, Outcome]] = set()
            for process in self._processes(pair):
                row, outcome = run(self.scheme, world.row, process, next_number(numbers, process))
                # Access tokens last, so how long they would have does not tell one server from another.
                outcome = outcome._replace(access=outcome.access and _lasting(outcome.access))
                if (row, outcome) not in done:
                    done.add((row, outcome))
                    move = Move("act", world._replace(row=row), Request(0, process), index, outcome, is_thief)
                    yield from self._share(move, pairs)

    def _processes(self, pair: Pair) -> Iterator[Process]:
        for operation, presented in ((REFRESH, pair.refresh), (VERIFY, pair.access)):
            for server in range(self.servers):
                for started in range(2):
                    process = Process(operation, presented, server, started)
                    if self.scheme.look(process) is None:
                        yield process

    def _share(self, move: Move, pairs: tuple[Pair, ...]) -> Iterator[Move]:
        """Give what came of it to the one who did it."""
        outcome, index, theft = move.outcome, move.index, move.world.theft
        assert outcome is not None
        assert theft is not None
        if outcome.access is None:
            # What is refused has been presented all the same.
            yield _give(move, pairs, pairs[index].depth if _is_refresh(move) else 0)
        elif outcome.refresh is None:
            held = pairs[index]._replace(access=outcome.access)
            yield _give(move, (*pairs[:index], held, *pairs[index + 1 :]), 0)
        else:
            depth = pairs[index].depth
            got = Pair(outcome.access, outcome.refresh, min(depth + 1, self.rounds) if theft.thief else 0)
            for bag in self._bags(pairs, got):
                yield _give(move, bag, depth)

    def _bags(self, pairs: tuple[Pair, ...], got: Pair) -> Iterator[tuple[Pair, ...]]:
        """A bag with something new; where it is full, in place of anything else."""
        if len(pairs) < self.bag:
            yield (*pairs, got)
        else:
            for index in range(len(pairs)):
                yield (*pairs[:index], *pairs[index + 1 :], got)


def _is_refresh(move: Move) -> bool:
    return move.request is not None and move.request.process.operation == REFRESH


def _give(move: Move, bag: tuple[Pair, ...], depth: int) -> Move:
    theft = move.world.theft
    assert theft is not None
    if move.is_thief:
        theft = theft._replace(thief=bag, by_thief=max(theft.by_thief, depth))
    else:
        theft = theft._replace(victim=bag, by_victim=max(theft.by_victim, depth))
    return move._replace(world=move.world._replace(theft=theft))


def _lasting(access: Access) -> Access:
    return access._replace(left=SKEW + STEP)
