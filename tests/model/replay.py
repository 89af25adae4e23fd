"""Traces of the explorer, played again on the facades with a real store: every answer must be the same.

A trace is a walk through the game of a victim and a thief, in which requests are carried out whole. Some are the
shortest ways to each thing that can come of a request, the others are drawn at random, with a seed.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

from tallystick import SessionError, TokenTheftDetected, TryRefreshToken, Unauthorised
from tallystick.testing import FakeClock
from tests.model.ours import Product
from tests.model.symbols import GRACE, REFRESH, SKEW, STEP, Access, Outcome, Pair, Token, World
from tests.model.theft import Stolen
from tests.model.world import Move

WALKS, STEPS, SEED = 200, 16, 7
BAG = 3

SETTINGS: dict[str, Any] = {
    "algorithm": "EdDSA",
    "grace": timedelta(seconds=GRACE),
    "access_token_validity": timedelta(days=1),  # as in the game they never expire
}


class Trace:
    """The moves from a sign-in on, and what each led to."""

    def __init__(self, begin: World, moves: tuple[Move, ...]) -> None:
        self.begin, self.moves = begin, moves

    def __len__(self) -> int:
        return len(self.moves)


def draw_traces() -> list[Trace]:
    """The critical ones, then the sample."""
    game = Stolen(Product(), bag=BAG)
    return [*_critical(game), *_walks(game)]


def _critical(game: Stolen) -> Iterator[Trace]:
    """The shortest trace to each kind of outcome of each operation, for victim and thief."""
    begin = game.begin()
    wanted: set[tuple[object, ...]] = set()
    seen, waiting = {game.name(begin)}, deque([(begin, ())])
    while waiting and len(seen) < 5000:
        world, path = waiting.popleft()
        for move in game.moves(world):
            key = _kind(move)
            trace = (*path, move)
            if key not in wanted:
                wanted.add(key)
                yield Trace(begin, trace)
            name = game.name(move.world)
            if move.world.row is not None and name not in seen:
                seen.add(name)
                waiting.append((move.world, trace))


def _kind(move: Move) -> tuple[object, ...]:
    if move.request is None or move.outcome is None:
        return (move.name,)
    process = move.request.process
    is_replaced = move.outcome.access is not None
    return process.operation, process.server, process.started, move.outcome.kind, is_replaced, move.is_thief


def _walks(game: Stolen) -> Iterator[Trace]:
    dice = random.Random(SEED)  # noqa: S311 - a sample, no secret
    for _ in range(WALKS):
        world = begin = game.begin()
        moves: list[Move] = []
        while len(moves) < STEPS and world.row is not None:
            move = dice.choice(list(game.moves(world)))
            moves.append(move)
            world = move.world
        yield Trace(begin, tuple(moves))


class Player:
    """Plays a trace on a facade, whose calls ``await_`` turns into their results."""

    def __init__(self, sessions: Any, clock: FakeClock, await_: Callable[[Any], Any]) -> None:
        self._sessions, self._clock, self._await = sessions, clock, await_
        self._refreshes: dict[Token, str] = {}
        self._accesses: dict[tuple[Access, Token], str] = {}

    def play(self, trace: Trace) -> list[tuple[str, str]]:
        """What was expected and what came, where they differ."""
        created = self._await(self._sessions.create_new_session("user"))
        assert trace.begin.theft is not None
        (pair,) = trace.begin.theft.victim
        self._refreshes = {pair.refresh: created.refresh_token.token}
        self._accesses = {_key(pair): created.access_token.token}
        world, wrong = trace.begin, []
        for move in trace.moves:
            if move.name == "pass":
                self._clock.advance(timedelta(seconds=STEP))
            elif move.outcome is not None:
                came = self._act(world, move)
                if came != move.outcome.kind:
                    wrong.append((move.outcome.kind, came))
            world = move.world
        return wrong

    def _act(self, world: World, move: Move) -> str:
        assert world.theft is not None
        assert move.request is not None
        assert move.outcome is not None
        pair = (world.theft.thief if move.is_thief else world.theft.victim)[move.index]
        process = move.request.process
        skew = timedelta(seconds=SKEW * process.server - STEP * process.started)
        self._clock.advance(skew)
        try:
            if process.operation == REFRESH:
                result = self._await(self._sessions.refresh_session(self._refreshes[pair.refresh]))
            else:
                result = self._await(self._sessions.get_session(self._accesses[_key(pair)]))
        except SessionError as error:
            return _name(error)
        finally:
            self._clock.advance(-skew)
        return self._keep(pair, move.outcome, result)

    def _keep(self, pair: Pair, outcome: Outcome, result: Any) -> str:
        if (outcome.access is None) != (result.access_token is None):
            return "ok, but for the replacement"
        if outcome.access is not None:
            refresh = pair.refresh if outcome.refresh is None else outcome.refresh
            self._accesses[outcome.access, refresh] = result.access_token.token
        if outcome.refresh is not None:
            self._refreshes[outcome.refresh] = result.refresh_token.token
        return "ok"


def _key(pair: Pair) -> tuple[Access, Token]:
    return pair.access, pair.refresh


def _name(error: SessionError) -> str:
    match error:
        case TokenTheftDetected():
            return f"theft ({error.reason})"
        case TryRefreshToken():
            return "try refresh"
        case Unauthorised():
            return f"unauthorised ({error.reason})"
    return f"broken ({error.reason})"
