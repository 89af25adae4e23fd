"""The state diagram of docs/explanation/rotation.md, drawn by asking the code itself.

``python -m tests.docs.rotation_diagram`` prints it. Each arrow is a verdict of ``judge_refresh`` or ``judge_first_use``
on a row in that state; nothing is written down twice.
"""

from dataclasses import replace

from tallystick.config import Retirement
from tallystick.protocol.encoding import hash_again, hash_token
from tallystick.protocol.rotation import (
    Advance,
    Ahead,
    Gone,
    Presented,
    Reissue,
    Replace,
    Reuse,
    Rule,
    Verdict,
    judge_first_use,
    judge_refresh,
)
from tallystick.types import SessionRow

NOW = 1_700_000_000_000
RULE = Rule(grace=10_000, refresh_validity=10**9, retirement=Retirement.ON_FIRST_USE)
ANCESTOR, PARENT, LINE, CHILD, SIBLING = (
    hash_token(name) for name in ("ancestor", "parent", "line", "child", "sibling")
)

UNUSED = SessionRow(
    app_id="public",
    tenant_id="public",
    handle="handle",
    user_id="user",
    generation=2,
    line=hash_again(LINE),
    previous=hash_again(PARENT),
    used_at=None,
    nonce=bytes(16),
    jwt_payload="{}",
    session_data="{}",
    created_at=NOW,
    expires_at=NOW + 10**9,
    absolute_expires_at=NOW + 10**10,
    refreshed_at=NOW,
)
STATES = {
    "unused": UNUSED,
    "used": replace(UNUSED, used_at=NOW),
    "retired": replace(UNUSED, used_at=NOW - RULE.grace - 1),
    "ended": None,
}
NAMES = {
    "unused": "no child of the line used",
    "used": "a child used, the grace runs",
    "retired": "the line is retired",
    "ended": "no session",
}
TOKENS = {
    "the line": Presented(2, LINE, PARENT),
    "a child": Presented(3, CHILD, LINE),
    "a sibling": Presented(2, SIBLING, PARENT),
    "an ancestor": Presented(1, PARENT, ANCESTOR),
    "a newer one": Presented(5, CHILD, SIBLING),
}


def state_after(state: str, verdict: Verdict) -> str:
    """Where the row is after the verdict was carried out."""
    if isinstance(verdict, Advance):
        return "unused" if verdict.step.used_at is None else "used"
    return "ended" if isinstance(verdict, Reuse) else state


def arrows() -> dict[tuple[str, str], dict[str, list[str]]]:
    """From and to: per verdict, the tokens that get it. Ahead and Gone change nothing, and are left out."""
    found: dict[tuple[str, str], dict[str, list[str]]] = {}
    for state, row in STATES.items():
        for name, token in TOKENS.items():
            verdict = judge_refresh(row, token, NOW, RULE)
            if isinstance(verdict, Ahead | Gone):
                continue
            of_pair = found.setdefault((state, state_after(state, verdict)), {})
            of_pair.setdefault(type(verdict).__name__, []).append(name)
    return found


def draw() -> str:
    """The diagram, in Mermaid's language."""
    use = judge_first_use(UNUSED, CHILD, LINE, NOW, RULE)
    assert isinstance(use, Replace)
    assert use.mark is not None
    lines = ["stateDiagram-v2", "    direction LR", *(f"    {state} : {name}" for state, name in NAMES.items())]
    lines.append("    [*] --> unused : sign-in")
    for (source, target), verdicts in arrows().items():
        label = "<br/>".join(f"{', '.join(tokens)} → {verdict}" for verdict, tokens in verdicts.items())
        lines.append(f"    {source} --> {target} : {label}")
    lines += ["    unused --> used : first use of a child", "    used --> retired : the grace is over"]
    return "\n".join(lines)


def kinds_drawn() -> set[type]:
    """The verdicts that occur, to see that none was left out."""
    return {type(judge_refresh(row, token, NOW, RULE)) for row in STATES.values() for token in TOKENS.values()}


ALL_KINDS = {Gone, Reissue, Advance, Reuse, Ahead}

if __name__ == "__main__":
    print(draw())  # noqa: T201
