"""From the worlds that lead to a fault, or to anywhere, the script of how to get there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tests.model.script import Act, Action, Arrive, Copy, Pass, Send, Work
from tests.model.stage import Rehearsal, Stage
from tests.model.symbols import Answer, Process, Request, Token, World
from tests.model.theft import Stolen
from tests.model.world import Honest, Move


class _Event(NamedTuple):
    """Something in the past of a request: its sending, or a step of its server."""

    at: int
    """After how many moves."""
    process: Process | None
    """At which server; None for the sending."""


def script_of(path: Sequence[World], game: Honest | Stolen) -> list[Action]:
    """The script of a way through a game: ``path`` are the names of the worlds on it."""
    return _theft_script(path, game) if isinstance(game, Stolen) else _HonestTrace(path, game).script()


def _find(game: Honest | Stolen, world: World, name: World) -> Move:
    """The move out of a world, whatever its tokens are called, into the world of that name."""
    for move in game.moves(world):
        if game.name(game.settle(move.world)) == name:
            return move
    raise AssertionError("worlds of one name have different futures: normalise takes too much for equal")


class _HonestTrace:
    """Walks along a path again without renaming anything, and remembers where each request came from: what is done at
    once in a game is told when it was done, and only if something came of it."""

    def __init__(self, path: Sequence[World], game: Honest) -> None:
        self._path, self._game = path, game
        self._events: list[tuple[int, int, Action]] = []
        self._requests = 0
        self._sent_as: list[tuple[Answer, int]] = []

    def script(self) -> list[Action]:
        """The actions in order."""
        world, past = self._begin()
        for at, name in enumerate(self._path[1:], 1):
            move = _find(self._game, world, name)
            world, past = self._follow(world, move, past, at)
        # What happens at once stands behind the move that it follows upon, and sorting leaves it there.
        return _renumber([action for *_, action in sorted(self._events, key=lambda event: event[:2])])

    def _begin(self) -> tuple[World, dict[Request, tuple[_Event, ...]]]:
        past: dict[Request, tuple[_Event, ...]] = {}
        world = self._game.settle(self._game.begin()._replace(network=()), self._noter(past, 0))
        return world, past

    def _noter(self, past: dict[Request, tuple[_Event, ...]], at: int):
        def note(request: Request, before: Request | None) -> None:
            if before is None:
                past[request] = (_Event(at, None),)
            else:
                past[request] = (*past[before], _Event(at, request.process))

        return note

    def _follow(
        self, world: World, move: Move, past: dict[Request, tuple[_Event, ...]], at: int
    ) -> tuple[World, dict[Request, tuple[_Event, ...]]]:
        match move.name:
            case "pass":
                self._add(at, 0, Pass())
                aged: dict[Request, tuple[_Event, ...]] = {}
                following = self._game.pass_time(world, lambda new, old: aged.__setitem__(new, past[old]))
                self._age_answers(following)
                past = aged
            case "arrive":
                self._arrive(at, world.answers[move.index])
                following = move.world
            case _:
                following = move.world
                past = past | self._carry_out(at, move, past, world)
        return self._game.settle(following, self._noter(past, at)), past

    def _carry_out(
        self, at: int, move: Move, past: dict[Request, tuple[_Event, ...]], world: World
    ) -> dict[Request, tuple[_Event, ...]]:
        request = move.request
        assert request is not None
        waiting = request if request.process.answers else request._replace(process=_untaken(request.process))
        history = (*past[waiting], _Event(at, request.process))
        if move.outcome is None:
            new = set(move.world.network) - set(world.network)
            return dict.fromkeys(new, history)
        self._tell(history, request)
        if move.name == "answer":
            self._sent_as.append((move.world.answers[-1], self._requests))
        return {}

    def _tell(self, history: Sequence[_Event], request: Request) -> None:
        self._requests += 1
        number = self._requests
        for event in history:
            # What is done at once comes after the move that made it possible, hence the 1.
            order = 0 if event is history[-1] else 1
            process = event.process
            if process is None:
                self._add(event.at, order, Send(number, request.process.operation))
            else:
                late = process.started if event is history[1] else 0
                self._add(event.at, order, Work(number, process.server, late))

    def _arrive(self, at: int, answer: Answer) -> None:
        entry = next(entry for entry in self._sent_as if entry[0] == answer)
        self._sent_as.remove(entry)
        self._add(at, 0, Arrive(entry[1]))

    def _age_answers(self, following: World) -> None:
        """Answers keep their order when time passes, and what is too old is gone."""
        fresh = [entry for entry in self._sent_as if entry[0].age < self._game.bounds.patience]
        self._sent_as = [(new, number) for new, (_, number) in zip(following.answers, fresh, strict=True)]

    def _add(self, at: int, order: int, action: Action) -> None:
        self._events.append((at, order, action))


def _renumber(actions: list[Action]) -> list[Action]:
    """Requests have the numbers of the order in which they are sent."""
    numbers: dict[int, int] = {}
    for action in actions:
        if isinstance(action, Send):
            numbers[action.number] = len(numbers) + 1
    return [
        action._replace(number=numbers[action.number]) if isinstance(action, Send | Work | Arrive) else action
        for action in actions
    ]


def _untaken(process: Process) -> Process:
    return process._replace(server=-1, started=0)


def _theft_script(path: Sequence[World], game: Stolen) -> list[Action]:
    """Played while it is written, as the stage gives the names."""
    world, actions, stage = game.begin(), [], Stage(Rehearsal(game.scheme))
    names: dict[Token, str] = {}
    for name in path[1:]:
        move = _find(game, world, name)
        action = _theft_action(world, move, names)
        actions.append(action)
        said = stage.play(action)
        if move.outcome is not None and move.outcome.refresh is not None:
            names[move.outcome.refresh] = said.rpartition(", ")[2]
        world = move.world
    return actions


def _theft_action(world: World, move: Move, names: dict[Token, str]) -> Action:
    theft = world.theft
    assert theft is not None
    if move.name == "pass":
        return Pass()
    pair = (theft.thief if move.is_thief else theft.victim)[move.index]
    name = names.get(pair.refresh, "R0")
    if move.name == "copy":
        return Copy(name)
    assert move.request is not None
    process = move.request.process
    return Act("thief" if move.is_thief else "victim", process.operation, name, process.server, process.started)
