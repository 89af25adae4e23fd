"""The one name of a world: worlds that differ only in what nobody can notice become equal. See `symbols`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.model.symbols import FORGOTTEN, SKEW, STEP, Access, Answer, Request, Row, Token, World, token, tokens_of

_STRAY = 60
"""The number of every child that is known by its access token alone: it can never be the line."""
_FAR = 2
"""Generations further apart than this are as good as this far apart: tokens so old are dead."""


def normalise(world: World) -> World:
    """The world with its tokens renamed, and sorted where order says nothing."""
    generations = _generations(world)
    ordered = _sort(world, generations)
    names = _names(ordered, generations)
    is_named = all(old is new for old, new in names.items())
    if not is_named or any(old != new for old, new in generations.items()):
        ordered = _rename(ordered, names, generations)
    return _sort_network(ordered)


def _generations(world: World) -> dict[int, int]:
    present = {t.generation for t in tokens_of(world)}
    if world.row is not None:
        present.add(world.row.generation)
    present.discard(FORGOTTEN.generation)
    mapped: dict[int, int] = {}
    before = after = 0
    for generation in sorted(present):
        # Generation 0 is the first token's, which alone has no parent.
        after += min(generation - before, 1 if after == 0 else _FAR)
        mapped[generation] = after
        before = generation
    return mapped


# Sorting: by what a thing is, never by its tokens' names


def _sort(world: World, generations: dict[int, int]) -> World:
    row = world.row
    line, previous = (None, None) if row is None else (row.line, row.previous)

    def describe(t: Token) -> int:
        where = (t is line) + 2 * (t is previous) + 4 * (t is world.refresh)
        above = (t.parent is line) + 2 * (t.parent is previous) + 4 * (t.parent is world.refresh)
        return generations.get(t.generation, -1) * 64 + where * 8 + above

    answers = tuple(sorted(world.answers, key=lambda answer: _answer_key(answer, describe)))
    network = tuple(sorted(world.network, key=lambda request: _request_key(request, describe)))
    if world.theft is None:
        return world._replace(answers=answers, network=network)
    bag = sorted(world.theft.bag, key=lambda x: (x.depth, describe(x.refresh), *_access_key(x.access, describe)))
    return world._replace(answers=answers, network=network, theft=world.theft._replace(bag=tuple(bag)))


def _sort_network(world: World) -> World:
    """Two requests that were not alike may be so now; and those with names are sorted by their names."""

    def name(t: Token) -> int:
        above = -1 if t.parent is None else t.parent.number
        return (t.generation * 64 + t.number) * 64 + above

    longest: dict[Request, int] = {}
    for request in world.network:
        alike, left = _shorten(request)
        longest[alike] = max(left, longest.get(alike, left))
    once = [_lengthen(alike, left) for alike, left in longest.items()]
    return world._replace(network=tuple(sorted(once, key=lambda request: _request_key(request, name))))


def _answer_key(answer: Answer, describe: Callable[[Token], int]) -> list[int]:
    refresh = -1 if answer.refresh is None else describe(answer.refresh)
    return [answer.age, answer.depth, refresh, *_access_key(answer.access, describe)]


def _request_key(request: Request, describe: Callable[[Token], int]) -> list[int]:
    process = request.process
    key = [request.holder, request.age, request.depth, process.operation, process.server, process.started]
    presented = process.presented
    key += [describe(presented)] if isinstance(presented, Token) else _access_key(presented, describe)
    for answer in process.answers:
        if isinstance(answer, Row):
            previous = -1 if answer.previous is None else describe(answer.previous)
            key += describe(answer.line), previous, -99 if answer.used is None else answer.used
        else:
            key.append(-100 - bool(answer))
    return key


def _access_key(access: Access, describe: Callable[[Token], int]) -> tuple[int, int, int]:
    return access.left, access.is_marked, describe(access.token)


# Renaming


def _holdable(world: World) -> set[Token]:
    """The tokens that are, were or may yet be a line: those of rows, of the jar, in flight or in a bag."""
    found = {world.refresh}
    rows = [world.row]
    for request in world.network:
        rows += [answer for answer in request.process.answers if isinstance(answer, Row)]
        if isinstance(request.process.presented, Token):
            found.add(request.process.presented)
    for row in rows:
        if row is not None:
            found.add(row.line)
            if row.previous is not None:
                found.add(row.previous)
    found.update(answer.refresh for answer in world.answers if answer.refresh is not None)
    if world.theft is not None:
        found.update(loot.refresh for loot in world.theft.bag)
    return found


def _names(world: World, generations: dict[int, int]) -> dict[Token, Token]:
    holdable = _holdable(world)
    names = {FORGOTTEN: FORGOTTEN}
    children: dict[tuple[int, Token | None], int] = {}

    def name(t: Token) -> Token:
        if t not in names:
            parent = t.parent
            above = None if parent is None else (name(parent) if parent in holdable else FORGOTTEN)
            generation = generations[t.generation]
            number = children.get((generation, above), 0) if t in holdable else _STRAY
            if t in holdable:
                children[generation, above] = number + 1
            names[t] = token(generation, above, number)
        return names[t]

    for mentioned in tokens_of(world):
        name(mentioned)
    return names


def _shorten(request: Request) -> tuple[Request, int]:
    """A request without the life of the access token that it presents, and that life, as far as the request can live to
    see it. Of two that differ in this alone, the one that lives longer can do all that the other can."""
    process = request.process
    if isinstance(process.presented, Token):
        return request, 0
    left = min(process.presented.left, SKEW + STEP * (1 - request.age))
    return request._replace(process=process._replace(presented=process.presented._replace(left=0))), left


def _lengthen(request: Request, left: int) -> Request:
    process = request.process
    if isinstance(process.presented, Token):
        return request
    return request._replace(process=process._replace(presented=process.presented._replace(left=left)))


def _rename(world: World, names: dict[Token, Token], generations: dict[int, int]) -> World:
    def rename(value: Any) -> Any:
        if isinstance(value, Token):
            return names[value]
        if isinstance(value, Row):
            previous = None if value.previous is None else names[value.previous]
            return Row(generations.get(value.generation, -1), names[value.line], previous, value.used, value.ends)
        if not isinstance(value, tuple):
            return value
        parts = map(rename, value)
        return type(value)._make(parts) if hasattr(value, "_make") else tuple(parts)

    renamed: World = rename(world)
    return renamed
