"""The judges with one thing in them changed: each verdict's condition flipped, dropped or widened.

A mutant is made of the source's own text, so that it fails to apply where the source has moved on.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from tallystick import flows
from tallystick.protocol import rotation
from tests.model.explore import Explored, Property, explore
from tests.model.ours import Product
from tests.model.properties import stays_signed_in, theft_is_noticed
from tests.model.symbols import World
from tests.model.table import is_as_the_table_says
from tests.model.theft import Stolen
from tests.model.world import Bounds, Honest, Move


class Mutant(NamedTuple):
    """What to change into what."""

    name: str
    old: str
    new: str


_LINE_KEPT = "return Replace() if _is(row.line, hash1) else Accept()"
_MARKED_ONCE = "_mark(row, now, rule) if row.used_at is None else None"
_IN_GRACE = "now - row.used_at <= rule.grace"
_STEP_USED = "used_at=now if rule.retirement is Retirement.AT_REFRESH else None,"

MUTANTS = (
    Mutant("an expired session is theft", "Standing.NOWHERE: Gone,", "Standing.NOWHERE: Reuse,"),
    Mutant(
        "a refresh finds nothing expired",
        "is_alive(row, now):\n        return Standing",
        "row:\n        return Standing",
    ),
    Mutant("the line is theft at once", "Standing.LINE: Reissue,", "Standing.LINE: Reuse,"),
    Mutant("the line advances", "Standing.LINE: Reissue,", "Standing.LINE: Advance,"),
    Mutant("the line never retires", "Standing.LINE_RETIRED: Reuse,", "Standing.LINE_RETIRED: Reissue,"),
    Mutant("a child is not made the line", "Standing.CHILD: Advance,", "Standing.CHILD: Reissue,"),
    Mutant("a child is theft", "Standing.CHILD: Advance,", "Standing.CHILD: Reuse,"),
    Mutant("a sibling is reissued", "Standing.SIBLING: Reuse,", "Standing.SIBLING: Reissue,"),
    Mutant("a sibling takes over", "Standing.SIBLING: Reuse,", "Standing.SIBLING: Advance,"),
    Mutant("a sibling is only refused", "Standing.SIBLING: Reuse,", "Standing.SIBLING: Gone,"),
    Mutant("an ancestor is reissued", "Standing.ANCESTOR: Reuse,", "Standing.ANCESTOR: Reissue,"),
    Mutant("an ancestor is only refused", "Standing.ANCESTOR: Reuse,", "Standing.ANCESTOR: Ahead,"),
    Mutant("a restored backup is theft", "Standing.AHEAD: Ahead,", "Standing.AHEAD: Reuse,"),
    Mutant("the grace is one moment shorter", _IN_GRACE, "now - row.used_at < rule.grace"),
    Mutant("the grace is dropped", "(rule.grace > 0 and", "(rule.grace < 0 and"),
    Mutant("the grace is doubled", _IN_GRACE, "now - row.used_at <= 2 * rule.grace"),
    Mutant("the former line is forgotten", "previous=row.line,", "previous=row.previous,"),
    Mutant("the new line has its use from the former", _STEP_USED, "used_at=row.used_at,"),
    Mutant("a first use is not marked", _MARKED_ONCE, "None"),
    Mutant("a losing sibling is replaced", _LINE_KEPT, "return Replace()"),
    Mutant("the line's own token is not replaced", _LINE_KEPT, "return Accept()"),
    Mutant(
        "the use of any token is marked",
        "_is(row.line, parent_hash1):\n        return Rep",
        "True:\n        return Rep",
    ),
)


@contextmanager
def put_in_place(mutant: Mutant) -> Iterator[None]:
    """Have the flows ask the mutant."""
    source = inspect.getsource(rotation)
    assert source.count(mutant.old) == 1, f"{mutant.name}: the source has no such text, or has it twice"
    names = dict(vars(rotation))
    # Functions and the table alone: the verdicts' classes must stay the ones that the flows know.
    tree = ast.parse(source.replace(mutant.old, mutant.new))
    kept = [part for part in tree.body if isinstance(part, ast.FunctionDef) or "VERDICTS" in ast.unparse(part)[:10]]
    exec(compile(ast.Module(kept, []), "<mutant>", "exec"), names)  # noqa: S102 - our own source
    originals = flows.judge_refresh, flows.judge_first_use
    flows.judge_refresh, flows.judge_first_use = names["judge_refresh"], names["judge_first_use"]
    try:
        yield
    finally:
        flows.judge_refresh, flows.judge_first_use = originals


def find_fault() -> Explored:
    """The first fault that an exploration finds, or none."""
    product = Product()
    found = explore(Stolen(product, bag=1), _both(theft_is_noticed(), is_as_the_table_says(product)))
    return found if found.fault else explore(Honest(product, Bounds(1)), stays_signed_in(product))


def _both(one: Property, other: Property) -> Property:
    def judge(world: World, move: Move) -> str | None:
        return one(world, move) or other(world, move)

    return judge
