"""What can happen next in a world: every move of tabs, network, servers, clocks and a thief.

The honest part: tabs share one cookie jar and know of each other only through it: no lock. A tab may send what the jar
holds: a refresh if some server would refuse the access token by now (as browser SDKs do, which look whether another
tab has refreshed meanwhile; spec/fdi.md 2.10), else a call of the API. A call that needs no store call changes nothing,
so only a first use is a move. An answer that arrives writes its cookies to the jar. Two servers with one store, the
second one's clock ahead, take requests up in any order and interleave at each store call.

Whatever can go wrong may do so any number of times. A request, once sent, may be carried out any number of times until
it is too old, or never; a server at work may go on at any time, or never (it has died), or as if it were two. So nothing
that a request does takes it out of the network, and sending one, or loading a row for it, narrows down nothing that may
happen later: it is done at once (:func:`settle`) and is no move. What is left to choose: which request writes to the
row, which answers set out (one for each of ``tabs`` at a time; all others are lost), when each arrives, when time moves.

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

from tests.model.scheme import Scheme
from tests.model.symbols import (
    DEAD,
    EXPIRED,
    REFRESH,
    STEP,
    TAB,
    THIEF,
    USED_LONG_AGO,
    VERIFY,
    Access,
    Answer,
    Loot,
    Outcome,
    Process,
    Request,
    Row,
    Theft,
    Token,
    World,
    tokens_of,
)


class Bounds(NamedTuple):
    """How large a world to look at."""

    tabs: int
    """How many answers may be on their way at once, all others being lost."""
    servers: int = 2
    has_thief: bool = False
    bag: int = 3
    """How many pairs of tokens a thief keeps at once."""
    rounds: int = 1
    """Up to how many refreshes of each of the two are counted after a theft."""
    patience: int = 1
    """How many steps of time an exchange may outlive."""


class Move(NamedTuple):
    """One thing that can happen, what the world is afterwards, and how a request ended by it, if one did."""

    name: str
    """``write``, ``answer``, ``arrive``, ``pass``, ``copy``, ``loot`` or ``drop``."""
    world: World
    request: Request | None = None
    """The one that a server went on with."""
    index: int = -1
    """Of the answer that arrives, or of the loot that is dropped."""
    is_answered: bool = False
    """Whether somebody will get the answer."""
    outcome: Outcome | None = None


Note: TypeAlias = Callable[[Request, Request | None], None]
"""Is told of each request that comes to be in the network, and of the one that it was before."""


def begin(scheme: Scheme, bounds: Bounds) -> World:
    """A user has just signed in."""
    begun = scheme.begin()
    return settle(World(begun.row, begun.access, begun.refresh), scheme, bounds)


def moves(world: World, scheme: Scheme, bounds: Bounds) -> Iterator[Move]:
    """Everything that can happen next. The worlds are still to be settled."""
    taken = taken_numbers(world)
    for request in world.network:
        for process in taken_up(request, bounds):
            yield from _carry_out(world, request, process, next_number(taken, process), scheme, bounds)
    for index, answer in enumerate(world.answers):
        yield Move("arrive", _arrive(world, index, answer), index=index)
    yield Move("pass", pass_time(world, bounds))
    if not bounds.has_thief:
        return
    if world.theft is None:
        yield Move("copy", world._replace(theft=Theft((Loot(world.access, world.refresh, 0),))))
    elif len(world.theft.bag) == bounds.bag:
        for index in range(len(world.theft.bag)):
            yield Move("drop", world._replace(theft=_without_loot(world.theft, index)), index=index)


# What is done at once


def settle(world: World, scheme: Scheme, bounds: Bounds, note: Note | None = None) -> World:
    """Send what may be sent, and let the servers do all that does not change the row."""
    found = dict.fromkeys(world.network)
    waiting = list(found)

    def add(request: Request, before: Request | None) -> None:
        if request not in found:
            found[request] = None
            waiting.append(request)
            if note is not None:
                note(request, before)

    for sent in _sendable(world, scheme, bounds):
        add(sent, None)
    taken, theft = taken_numbers(world), world.theft
    while waiting:
        request = waiting.pop()
        for process in taken_up(request, bounds):
            if scheme.look(process) is not None:
                continue
            row, stage = scheme.step(world.row, process, next_number(taken, process))
            if row != world.row:
                continue
            if isinstance(stage, Process):
                if stage.answers:
                    add(request._replace(process=stage), request)
                elif request.process.answers:
                    # It has lost a race for good, as no line comes back, and is where the request was at first.
                    del found[request]
            elif theft is not None and stage.kind == "ok":
                theft = _count(theft, request)
    return world._replace(network=tuple(found), theft=theft)


def _sendable(world: World, scheme: Scheme, bounds: Bounds) -> Iterator[Request]:
    looks = [scheme.look(Process(VERIFY, world.access, server)) for server in range(bounds.servers)]
    if None in looks:
        yield Request(TAB, 0, 0, Process(VERIFY, world.access))
    if any(look is not None and look.kind == "try refresh" for look in looks):
        yield Request(TAB, 0, world.depth, Process(REFRESH, world.refresh))
    for loot in world.theft.bag if world.theft else ():
        yield Request(THIEF, 0, loot.depth, Process(REFRESH, loot.refresh))
        if any(scheme.look(Process(VERIFY, loot.access, server)) is None for server in range(bounds.servers)):
            yield Request(THIEF, 0, 0, Process(VERIFY, loot.access))


@cache
def taken_up(request: Request, bounds: Bounds) -> tuple[Process, ...]:
    """The request as it is at each server that may go on with it."""
    process = request.process
    if process.server >= 0:
        return (process,)
    ages = range(min(request.age, 1) + 1)
    return tuple(process._replace(server=n, started=age) for n in range(bounds.servers) for age in ages)


# Servers


def _carry_out(
    world: World, request: Request, process: Process, number: int, scheme: Scheme, bounds: Bounds
) -> Iterator[Move]:
    if scheme.look(process) is not None:
        return
    row, stage = scheme.step(world.row, process, number)
    done = request._replace(process=process)
    if isinstance(stage, Process):
        if row != world.row:
            following = request._replace(process=stage)
            yield Move("write", world._replace(row=row, network=(*world.network, following)), done)
        return
    written = world._replace(row=row)
    if written.theft is not None and stage.kind == "ok":
        written = written._replace(theft=_count(written.theft, request))
    if row != world.row or stage.kind != "ok":
        yield Move("write", written, done, outcome=stage)
    if stage.access is None:
        return
    if request.holder == TAB and len(world.answers) < bounds.tabs:
        depth = min(request.depth + 1, bounds.rounds) if world.theft is not None else 0
        answer = Answer(request.age, depth, stage.access, stage.refresh)
        answered = written._replace(answers=(*world.answers, answer))
        yield Move("answer", answered, done, is_answered=True, outcome=stage)
    if request.holder == THIEF and stage.refresh is not None and len(_bag_of(written)) < bounds.bag:
        loot = Loot(stage.access, stage.refresh, min(request.depth + 1, bounds.rounds))
        yield Move("loot", _into_bag(written, loot), done, is_answered=True, outcome=stage)


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
    numbers = taken.get(process.presented, ())  # type: ignore[arg-type]
    return next(number for number in range(len(numbers) + 1) if number not in numbers)


def _arrive(world: World, index: int, answer: Answer) -> World:
    arrived = world._replace(access=answer.access, answers=world.answers[:index] + world.answers[index + 1 :])
    return arrived if answer.refresh is None else arrived._replace(refresh=answer.refresh, depth=answer.depth)


# Time


def pass_time(world: World, bounds: Bounds, note: Note | None = None) -> World:
    """One step later. What is too old will never arrive."""
    aged = []
    for request in world.network:
        if request.age < bounds.patience:
            aged.append(_age_request(request))
            if note is not None:
                note(aged[-1], request)
    theft = world.theft
    return world._replace(
        row=None if world.row is None else _age_row(world.row),
        access=_age_access(world.access),
        network=tuple(aged),
        answers=tuple(
            answer._replace(age=answer.age + 1, access=_age_access(answer.access))
            for answer in world.answers
            if answer.age < bounds.patience
        ),
        theft=theft and theft._replace(bag=tuple(x._replace(access=_age_access(x.access)) for x in theft.bag)),
    )


def _age_request(request: Request) -> Request:
    process = request.process
    presented = process.presented
    aged = process._replace(
        presented=_age_access(presented) if isinstance(presented, Access) else presented,
        started=process.started if process.server < 0 else process.started + 1,
        answers=tuple(_age_row(answer) if isinstance(answer, Row) else answer for answer in process.answers),
    )
    return request._replace(age=request.age + 1, process=aged)


def _age_row(row: Row) -> Row:
    if row.used is None and row.ends is None:
        return row
    used = None if row.used is None else min(row.used + STEP, USED_LONG_AGO)
    return row._replace(used=used, ends=None if row.ends is None else row.ends - STEP)


def _age_access(access: Access) -> Access:
    left = access.left - STEP
    return EXPIRED if left <= DEAD else access._replace(left=left)


# The thief


def _bag_of(world: World) -> tuple[Loot, ...]:
    return () if world.theft is None else world.theft.bag


def _into_bag(world: World, loot: Loot) -> World:
    assert world.theft is not None
    return world._replace(theft=world.theft._replace(bag=(*world.theft.bag, loot)))


def _without_loot(theft: Theft, index: int) -> Theft:
    return theft._replace(bag=theft.bag[:index] + theft.bag[index + 1 :])


def _count(theft: Theft, request: Request) -> Theft:
    """A token of ``request.depth`` has been accepted from one of the two."""
    if request.process.operation != REFRESH:
        return theft
    if request.holder == THIEF:
        return theft._replace(by_thief=max(theft.by_thief, request.depth))
    return theft._replace(by_victim=max(theft.by_victim, request.depth))
