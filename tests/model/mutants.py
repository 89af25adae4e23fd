"""Wrong versions of the product's judge, made from its very source text, for the explorer to catch.

Only the functions and the table are executed anew, in a copy of their module: the classes stay the same, as the flows
match on them.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from tallystick.protocol import rotation


class Mutant(NamedTuple):
    """One change: each occurrence of ``old`` (there must be exactly one) becomes ``new``."""

    name: str
    old: str
    new: str


MUTANTS = (
    Mutant(
        "a refresh does not look whether the session is over",
        "if row is None or not is_alive(row, now):\n        return Standing.NOWHERE",
        "if row is None:\n        return Standing.NOWHERE",
    ),
    Mutant(
        "a first use does not look whether the session is over",
        "if row is None or not is_alive(row, now):\n        return Ended()\n    if _is(row.line, parent_hash1)",
        "if row is None:\n        return Ended()\n    if _is(row.line, parent_hash1)",
    ),
    Mutant(
        "every session is over",
        "if row is None or not is_alive(row, now):\n        return Standing.NOWHERE",
        "if row is None or is_alive(row, now):\n        return Standing.NOWHERE",
    ),
    Mutant("the line is not known", "if _is(row.line, token.hash1):", "if _is(row.previous, token.hash1):"),
    Mutant(
        "the line never retires",
        "return Standing.LINE if _is_open(row, now, rule) else Standing.LINE_RETIRED",
        "return Standing.LINE",
    ),
    Mutant(
        "the line retires while no child is used",
        "return Standing.LINE if _is_open(row, now, rule) else Standing.LINE_RETIRED",
        "return Standing.LINE_RETIRED if _is_open(row, now, rule) else Standing.LINE",
    ),
    Mutant(
        "there is no grace",
        "row.used_at is None or (rule.grace > 0 and now - row.used_at <= rule.grace)",
        "row.used_at is None",
    ),
    Mutant("the grace is a millisecond too short", "now - row.used_at <= rule.grace", "now - row.used_at < rule.grace"),
    Mutant("the grace is twice as long", "now - row.used_at <= rule.grace", "now - row.used_at <= 2 * rule.grace"),
    Mutant("a child is not known", "if _is(row.line, token.parent_hash1):", "if _is(None, token.parent_hash1):"),
    Mutant("a child is theft", "Standing.CHILD: Advance", "Standing.CHILD: Reuse"),
    Mutant("a sibling is a child", "Standing.SIBLING: Reuse", "Standing.SIBLING: Advance"),
    Mutant("an ancestor gets another child", "Standing.ANCESTOR: Reuse", "Standing.ANCESTOR: Reissue"),
    Mutant("an ancestor is only refused", "Standing.ANCESTOR: Reuse", "Standing.ANCESTOR: Gone"),
    Mutant(
        "an ancestor is taken for a token from the future",
        "token.generation <= row.generation",
        "token.generation > row.generation",
    ),
    Mutant("an advance leaves the line where it was", "line=hash_again(token.hash1)", "line=row.line"),
    Mutant("an advance does not count the generation", "generation=token.generation", "generation=row.generation"),
    Mutant(
        "an advance does not forget the use of the last child",
        "used_at=now if rule.retirement is Retirement.AT_REFRESH else None",
        "used_at=row.used_at",
    ),
    Mutant(
        "a refresh counts as the use of a child",
        "rule.retirement is Retirement.AT_REFRESH and row.used_at is None",
        "row.used_at is None",
    ),
    Mutant("a use is written as of long ago", "return Mark(now, ", "return Mark(now - 2 * rule.grace, "),
    Mutant(
        "a use ends the session",
        "return Mark(now, slide(now, rule.refresh_validity, row.absolute_expires_at))",
        "return Mark(now, now)",
    ),
    Mutant(
        "a first use is not written", "Replace(_mark(row, now, rule) if row.used_at is None else None)", "Replace()"
    ),
    Mutant(
        "every use is written",
        "Replace(_mark(row, now, rule) if row.used_at is None else None)",
        "Replace(_mark(row, now, rule))",
    ),
    Mutant("a lost branch is renewed", "return Replace() if _is(row.line, hash1) else Accept()", "return Replace()"),
)


def mutate(mutant: Mutant) -> dict[str, Callable[..., Any]]:
    """The judges that the flows call, by their names, with the change in them."""
    source = inspect.getsource(rotation)
    if source.count(mutant.old) != 1:
        raise ValueError(f"{mutant.name}: {source.count(mutant.old)} places instead of one have {mutant.old!r}")
    changed = ast.parse(source.replace(mutant.old, mutant.new))
    changed.body = [node for node in changed.body if isinstance(node, ast.FunctionDef) or _is_table(node)]
    namespace = dict(vars(rotation))
    exec(compile(changed, f"<{mutant.name}>", "exec"), namespace)  # noqa: S102 - our own source
    return {name: namespace[name] for name in ("judge_refresh", "judge_first_use")}


def _is_table(node: ast.stmt) -> bool:
    return isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == "VERDICTS"
