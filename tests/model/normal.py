"""The one name of a world: worlds that differ only in what nobody can notice become equal. See `symbols`."""

from __future__ import annotations

from collections.abc import Callable

from tests.model.symbols import (
    FORGOTTEN,
    SKEW,
    STEP,
    Access,
    Answer,
    Pair,
    Request,
    Row,
    Token,
    World,
    token,
    tokens_of,
)

_STRAY = 60
"""The number of every child that is known by its access token alone: it can never be the line."""
_DEAD = token(0, FORGOTTEN, 0)
"""All tokens that can never be a line again, see :func:`_is_dead`."""
_FAR = 2
"""Generations further apart than this are as good as this far apart: tokens so old are dead."""


def normalise(world: World) -> World:
    """The world with its tokens renamed, and sorted where order says nothing."""
    lines = _lines(world)
    generations = _generations(world, lines)
    ordered = _sort(world, generations)
    names = _names(ordered, lines, generations)
    is_named = all(old is new for old, new in names.items())
    if not is_named or any(old != new for old, new in generations.items()):
        ordered = _rename(ordered, names, generations)
    return _sort_network(ordered)


def _lines(world: World) -> set[Token]:
    """What the row says is the line or was it before, and what some server still believes to be so."""
    rows = [world.row]
    for request in world.network:
        rows += [answer for answer in request.process.answers if isinstance(answer, Row)]
    lines = {line for row in rows if row is not None for line in (row.line, row.previous) if line is not None}
    lines.discard(FORGOTTEN)
    return lines


def _is_dead(t: Token, world: World, lines: set[Token]) -> bool:
    """Whether a token is neither a line nor a line's child, and not ahead: it will never be either."""
    return t not in lines and t.parent not in lines and (world.row is None or t.generation <= world.row.generation)


def _generations(world: World, lines: set[Token]) -> dict[int, int]:
    present = {t.generation for t in tokens_of(world) if not _is_dead(t, world, lines)}
    if world.row is not None:
        present.add(world.row.generation)
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

    def bag(pairs: tuple[Pair, ...]) -> tuple[Pair, ...]:
        return tuple(sorted(pairs, key=lambda x: (x.depth, describe(x.refresh), *_access_key(x.access, describe))))

    theft = world.theft._replace(victim=bag(world.theft.victim), thief=bag(world.theft.thief))
    return world._replace(answers=answers, network=network, theft=theft)


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
    return [answer.age, refresh, *_access_key(answer.access, describe)]


def _request_key(request: Request, describe: Callable[[Token], int]) -> list[int]:
    process = request.process
    key = [request.age, process.operation, process.server, process.started]
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
    """The refresh tokens that somebody has, or that are in flight."""
    found = {world.refresh}
    for request in world.network:
        if isinstance(request.process.presented, Token):
            found.add(request.process.presented)
    found.update(answer.refresh for answer in world.answers if answer.refresh is not None)
    if world.theft is not None:
        found.update(pair.refresh for pair in (*world.theft.victim, *world.theft.thief))
    return found


def _names(world: World, lines: set[Token], generations: dict[int, int]) -> dict[Token, Token]:
    holdable = _holdable(world) | lines
    names = {FORGOTTEN: FORGOTTEN}
    children: dict[tuple[int, Token | None], int] = {}

    def name(t: Token) -> Token:
        if t not in names:
            names[t] = _DEAD if _is_dead(t, world, lines) else rename(t)
        return names[t]

    def rename(t: Token) -> Token:
        above = None if t.parent is None else (name(t.parent) if t.parent in holdable else FORGOTTEN)
        if above is _DEAD:
            above = FORGOTTEN
        generation = generations[t.generation]
        if t not in holdable:
            return token(generation, above, _STRAY)
        number = children.get((generation, above), 0)
        children[generation, above] = number + 1
        return token(generation, above, number)

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
    def row(old: Row) -> Row:
        previous = None if old.previous is None else names[old.previous]
        return Row(generations.get(old.generation, -1), names[old.line], previous, old.used, old.ends)

    def access(old: Access) -> Access:
        return Access(names[old.token], old.is_marked, old.left)

    def request(old: Request) -> Request:
        process = old.process
        presented = process.presented
        renamed = process._replace(
            presented=names[presented] if isinstance(presented, Token) else access(presented),
            answers=tuple(row(answer) if isinstance(answer, Row) else answer for answer in process.answers),
        )
        return Request(old.age, renamed)

    def answer(old: Answer) -> Answer:
        return Answer(old.age, access(old.access), None if old.refresh is None else names[old.refresh])

    def bag(old: tuple[Pair, ...]) -> tuple[Pair, ...]:
        # Two pairs that are alike now are no better than one.
        return tuple(dict.fromkeys(Pair(access(pair.access), names[pair.refresh], pair.depth) for pair in old))

    theft = world.theft
    return World(
        None if world.row is None else row(world.row),
        access(world.access),
        names[world.refresh],
        tuple(map(request, world.network)),
        tuple(map(answer, world.answers)),
        None if theft is None else theft._replace(victim=bag(theft.victim), thief=bag(theft.thief)),
    )
