"""What the explorer asks of a scheme of rotation: ours, by the product's own code, or a small model of another."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from tests.model.symbols import Access, Outcome, Process, Row, Token

_MANY = 10
"""Store calls: more than any request makes that nobody disturbs."""


class Begun(NamedTuple):
    """A session at its beginning."""

    row: Row
    access: Access
    refresh: Token


class Scheme(Protocol):
    """One way to rotate refresh tokens."""

    name: str

    def begin(self) -> Begun:
        """A new session."""
        ...

    def look(self, process: Process) -> Outcome | None:
        """What comes of a request without asking the store; None where the store is asked."""
        ...

    def step(self, row: Row | None, process: Process, number: int) -> tuple[Row | None, Process | Outcome]:
        """Let a server make its next call of the store, which holds ``row``, and go on up to the one after that or to
        the end. A token that it mints is child ``number`` of the one presented."""
        ...


def run(scheme: Scheme, row: Row | None, process: Process, number: int = 0) -> tuple[Row | None, Outcome]:
    """Carry out a request while nothing else happens."""
    stage: Process | Outcome = process
    for _ in range(_MANY):
        row, stage = scheme.step(row, stage, number)
        if isinstance(stage, Outcome):
            return row, stage
    return row, Outcome("broken (it never ends)")
