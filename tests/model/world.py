"""What can happen next in an honest world: every move of tabs, network, servers and clocks.

Tabs share one cookie jar and know of each other only through it: no lock. A tab may send what the jar holds: a refresh
if some server would refuse the access token by now (as browser SDKs do, which look whether another tab has refreshed
meanwhile; spec/fdi.md 2.10), else a call of the API. A call that needs no store call changes nothing, so only a first
use is a move. An answer that arrives writes its cookies to the jar. Two servers with one store, the second one's clock
ahead, take requests up in any order and interleave at each store call.

Whatever can go wrong may do so any number of times. A request, once sent, may be carried out any number of times until
it is too old, or never; a server at work may go on at any time, or never (it has died), or as if it were two. So
nothing that a request does takes it out of the network, and sending one, or loading a row for it, narrows down nothing
that may happen later: it is done at once (:func:`settle`) and is no move. What is left to choose: which request writes
to the row, which answers set out (one for each of ``tabs`` at a time; all others are lost), when each arrives, when
time moves.

Time moves in steps. An exchange outlives one step at the most, from the sending of the request to the arrival of its
answer, and a server may have read its clock before that step and ask the store after it. Grace and access tokens are
just long enough for that (:mod:`tests.model.symbols`): an exchange and the clocks' difference fit into the grace, *two*
exchanges and the clocks' difference into an access token's life. Two, because a tab may send its request just before
another tab's late answer arrives, and that answer's token must not expire before the request is answered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple, TypeAlias

from tests.model.normal import normalise
from tests.model.scheme import Scheme
from tests.model.symbols import (
    DEAD,
    EXPIRED,
    REFRESH,
    STEP,
    USED_LONG_AGO,
    VERIFY,
    Access,
    Answer,
    Outcome,
    Process,
    Request,
    Row,
    Token,
    World,
    tokens_of,
)


class Bounds(NamedTuple):
    """How large a world to look at."""

    tabs: int
    """How many answers may be on their way at once, all others being lost."""
    servers: int = 2
    patience: int = 1
    """How many steps of time an exchange may outlive."""


class Move(NamedTuple):
    """One thing that can happen, what the world is afterwards, and how a request ended by it, if one did."""

    name: str
    """``write``, ``answer``, ``arrive`` or ``pass``; with a thief ``act``, ``pass`` or ``copy``."""
    world: World
    request: Request | None = None
    """The one that a server went on with."""
    index: int = -1
    """Of the answer that arrives; with a thief, of the pair that is used or copied."""
    outcome: Outcome | None = None
    is_thief: bool = False


Note: TypeAlias = Callable[[Request, Request | None], None]
"""Is told of each request that comes to be in the network, and of the one that it was before."""


class Honest:
    """The game that honest tabs play, see above."""

    def __init__(self, scheme: Scheme, bounds: Bounds) -> None:
        self.scheme, self.bounds = scheme, bounds

    def begin(self) -> World:
        """A user has just signed in."""
        begun = self.scheme.begin()
        return self.settle(World(begun.row, begun.access, begun.refresh))

    def moves(self, world: World) -> Iterator[Move]:
        """Everything that can happen next. What comes of it is still to be settled."""
        taken = taken_numbers(world)
        for request in world.network:
            for process in taken_up(request, self.bounds.servers):
                if self.scheme.look(process) is None:
                    yield from self._carry_out(world, request._replace(process=process), taken)
        for index, answer in enumerate(world.answers):
            yield Move("arrive", _arrive(world, index, answer), index=index)
        yield Move("pass", self.pass_time(world))

    def settle(self, world: World, note: Note | None = None) -> World:
        """Send what may be sent, and let the servers do all that does not change the row."""
        found = dict.fromkeys(world.network)
        waiting = list(found)

        def add(request: Request, before: Request | None) -> None:
            if request not in found:
                found[request] = None
                waiting.append(request)
                if note is not None:
                    note(request, before)

        for sent in self._sendable(world):
            add(sent, None)
        taken = taken_numbers(world)
        while waiting:
            request = waiting.pop()
            for process in taken_up(request, self.bounds.servers):
                if self.scheme.look(process) is not None:
                    continue
                row, stage = self.scheme.step(world.row, process, next_number(taken, process))
                if row != world.row or isinstance(stage, Outcome):
                    continue
                if stage.answers:
                    add(request._replace(process=stage), request)
                elif request.process.answers:
                    # It has lost a race, for good as no line comes back, and is where the request was at first.
                    del found[request]
        return world._replace(network=tuple(found))

    def name(self, world: World) -> World:
        """The one name of a world and all that are like it."""
        return normalise(world)

    def _sendable(self, world: World) -> Iterator[Request]:
        looks = [self.scheme.look(Process(VERIFY, world.access, server)) for server in range(self.bounds.servers)]
        if None in looks:
            yield Request(0, Process(VERIFY, world.access))
        if any(look is not None and look.kind == "try refresh" for look in looks):
            yield Request(0, Process(REFRESH, world.refresh))

    def _carry_out(self, world: World, request: Request, taken: dict[Token | None, set[int]]) -> Iterator[Move]:
        row, stage = self.scheme.step(world.row, request.process, next_number(taken, request.process))
        written = world._replace(row=row)
        if isinstance(stage, Process):
            if row != world.row:
                network = (*world.network, request._replace(process=stage))
                yield Move("write", written._replace(network=network), request)
            return
        if row != world.row or stage.kind != "ok":
            yield Move("write", written, request, outcome=stage)
        if stage.access is not None and len(world.answers) < self.bounds.tabs:
            answer = Answer(request.age, stage.access, stage.refresh)
            yield Move("answer", written._replace(answers=(*world.answers, answer)), request, outcome=stage)

    def pass_time(self, world: World, note: Note | None = None) -> World:
        """One step later. What is too old will never arrive."""
        aged = []
        for request in world.network:
            if request.age < self.bounds.patience:
                aged.append(_age_request(request))
                if note is not None:
                    note(aged[-1], request)
        return world._replace(
            row=age_row(world.row),
            access=age_access(world.access),
            network=tuple(aged),
            answers=tuple(
                answer._replace(age=answer.age + 1, access=age_access(answer.access))
                for answer in world.answers
                if answer.age < self.bounds.patience
            ),
        )


@cache
def taken_up(request: Request, servers: int) -> tuple[Process, ...]:
    """The request as it is at each server that may go on with it."""
    process = request.process
    if process.server >= 0:
        return (process,)
    ages = range(min(request.age, 1) + 1)
    return tuple(process._replace(server=server, started=age) for server in range(servers) for age in ages)


def taken_numbers(world: World) -> dict[Token | None, set[int]]:
    """The numbers of the children that the world mentions, by their parents."""
    taken: dict[Token | None, set[int]] = {}
    for child in tokens_of(world):
        taken.setdefault(child.parent, set()).add(child.number)
    return taken


def next_number(taken: dict[Token | None, set[int]], process: Process) -> int:
    """The smallest number that no child of the token presented has, so that those of forgotten ones are used again."""
    if process.operation != REFRESH:
        return 0
    assert isinstance(process.presented, Token)
    numbers = taken.get(process.presented, set())
    return next(number for number in range(len(numbers) + 1) if number not in numbers)


def _arrive(world: World, index: int, answer: Answer) -> World:
    refresh = world.refresh if answer.refresh is None else answer.refresh
    answers = world.answers[:index] + world.answers[index + 1 :]
    return world._replace(access=answer.access, refresh=refresh, answers=answers)


# Ageing


def age_row(row: Row | None) -> Row | None:
    """A row one step later."""
    if row is None or (row.used is None and row.ends is None):
        return row
    used = None if row.used is None else min(row.used + STEP, USED_LONG_AGO)
    return row._replace(used=used, ends=None if row.ends is None else row.ends - STEP)


def age_access(access: Access) -> Access:
    """An access token one step later."""
    left = access.left - STEP
    return EXPIRED if left <= DEAD else access._replace(left=left)


def age_process(process: Process) -> Process:
    """A server at work, or a request on its way to one, one step later."""
    presented = process.presented
    return process._replace(
        presented=age_access(presented) if isinstance(presented, Access) else presented,
        started=process.started if process.server < 0 else process.started + 1,
        answers=tuple(age_row(answer) if isinstance(answer, Row) else answer for answer in process.answers),
    )


def _age_request(request: Request) -> Request:
    return Request(request.age + 1, age_process(request.process))
