"""The rotation of refresh tokens: THE table (shared/rotation.md).

A refresh hands out a new *child* each time. Children of one parent are *siblings*, all of them good, until one of
them is *presented for a refresh*: that one becomes the *line*, and from then on only it and its descendants are good.
Honest tabs share one cookie jar, which ends up with one sibling, so they never present two. A thief and his victim
hold two different ones, so the second of them to refresh gives the theft away. The parent retires a short *grace*
after a child was first *used*; before any use it can be refreshed again at any time, so a lost answer costs nothing.

Where a presented token of generation n can stand, for a row at generation g, and what follows from it::

    standing       the token is                                         verdict
    ─────────────  ───────────────────────────────────────────────────  ───────
    NOWHERE        of a session that is missing or over                 Gone
    LINE           the line; no child used, or within the grace         Reissue
    LINE_RETIRED   the line; a child was used, the grace is over        Reuse
    CHILD          a child of the line                                  Advance
    SIBLING        a child of the line's parent, but not the line       Reuse
    ANCESTOR       any other with n <= g                                Reuse
    AHEAD          any other with n > g (a restored backup)             Ahead

Both functions are pure and total: every row, token and instant has exactly one verdict.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeAlias

from tallystick.config import Retirement
from tallystick.protocol.encoding import hash_again
from tallystick.protocol.liveness import is_alive, slide
from tallystick.types import LineStep, SessionRow


@dataclass(frozen=True, slots=True)
class Rule:
    """What a deployment chooses about the rotation. Durations in ms."""

    grace: int
    """For how long the line may still be refreshed after a child of it was first used. 0: not at all."""
    refresh_validity: int
    """How far each step of the rotation moves the session's end."""
    retirement: Retirement = Retirement.ON_FIRST_USE


@dataclass(frozen=True, slots=True)
class Mark:
    """What the first use of a child writes, if nobody has written it yet."""

    used_at: int
    expires_at: int


class Standing(StrEnum):
    """Where a refresh token stands in its session's rotation."""

    NOWHERE = "nowhere"
    LINE = "line"
    LINE_RETIRED = "retired"
    CHILD = "child"
    SIBLING = "sibling"
    ANCESTOR = "ancestor"
    AHEAD = "ahead"


@dataclass(frozen=True, slots=True)
class Gone:
    """There is no session any more: UNAUTHORISED."""


@dataclass(frozen=True, slots=True)
class Reissue:
    """Mint one more child of the line. ``mark`` is None where the row does not change, as it is on first use."""

    mark: Mark | None = None


@dataclass(frozen=True, slots=True)
class Advance:
    """One compare-and-swap on the line makes the token the line; then mint a child of it."""

    step: LineStep


@dataclass(frozen=True, slots=True)
class Reuse:
    """Theft: revoke the session. ``kind`` is the standing that shows it."""

    kind: Standing


@dataclass(frozen=True, slots=True)
class Ahead:
    """The row is older than the token: refuse, alert, revoke nothing."""


Verdict: TypeAlias = Gone | Reissue | Advance | Reuse | Ahead

VERDICTS: Final[dict[Standing, type[Verdict]]] = {
    Standing.NOWHERE: Gone,
    Standing.LINE: Reissue,
    Standing.LINE_RETIRED: Reuse,
    Standing.CHILD: Advance,
    Standing.SIBLING: Reuse,
    Standing.ANCESTOR: Reuse,
    Standing.AHEAD: Ahead,
}
"""The table. :func:`judge_refresh` adds to each verdict what it needs to be carried out."""


@dataclass(frozen=True, slots=True)
class Presented:
    """A rightly tagged refresh token, as far as the rotation cares: its generation and the two hashes."""

    generation: int
    hash1: str = field(repr=False)
    parent_hash1: str | None = field(repr=False)


def stand(row: SessionRow | None, token: Presented, now: int, rule: Rule) -> Standing:
    """Find where ``token`` stands. ``row`` is None where the session is missing."""
    if row is None or not is_alive(row, now):
        return Standing.NOWHERE
    if _is(row.line, token.hash1):
        return Standing.LINE if _is_open(row, now, rule) else Standing.LINE_RETIRED
    if _is(row.line, token.parent_hash1):
        return Standing.CHILD
    if _is(row.previous, token.parent_hash1):
        return Standing.SIBLING
    return Standing.ANCESTOR if token.generation <= row.generation else Standing.AHEAD


def judge_refresh(row: SessionRow | None, token: Presented, now: int, rule: Rule) -> Verdict:
    """Give the verdict on a refresh with ``token`` at ``now``."""
    standing = stand(row, token, now, rule)
    verdict = VERDICTS[standing]
    if verdict is Reuse:
        return Reuse(standing)
    if row is not None and verdict is Reissue:
        return Reissue(_mark_at_refresh(row, now, rule))
    if row is not None and verdict is Advance:
        return Advance(_step(row, token, now, rule))
    return Ahead() if verdict is Ahead else Gone()


@dataclass(frozen=True, slots=True)
class Ended:
    """The session is missing or over: UNAUTHORISED."""


@dataclass(frozen=True, slots=True)
class Accept:
    """The access token is good as it is, until it expires."""


@dataclass(frozen=True, slots=True)
class Replace:
    """The access token is good; give the client one without the parent's mark, once ``mark`` is written (None: nothing
    is to be written)."""

    mark: Mark | None = None


Use: TypeAlias = Ended | Accept | Replace


def judge_first_use(row: SessionRow | None, hash1: str, parent_hash1: str, now: int, rule: Rule) -> Use:
    """Give the verdict on the use of an access token that still carries its parent's mark.

    ``hash1`` is that of the refresh token it came with, ``parent_hash1`` that of the one it was handed out for. A
    child of the line is marked as used (once) and replaced; so is a token whose child has become the line meanwhile.
    Any other lost its race to a sibling or is older, and is accepted as it is until it expires: a fresh one would
    prolong what a thief may hold.
    """
    if row is None or not is_alive(row, now):
        return Ended()
    if _is(row.line, parent_hash1):
        return Replace(_mark(row, now, rule) if row.used_at is None else None)
    return Replace() if _is(row.line, hash1) else Accept()


def judge_database_check(row: SessionRow | None, jwt_payload: str, now: int) -> Use:
    """Give the verdict on an access token without a mark, where the caller wants the store's word too.

    ``jwt_payload`` is the token's own, as JSON text: where the stored one has changed, the token is replaced.
    """
    if row is None or not is_alive(row, now):
        return Ended()
    return Accept() if row.jwt_payload == jwt_payload else Replace()


def is_of_line(row: SessionRow, hash1: str, parent_hash1: str | None, created_at: int) -> bool:
    """Tell whether an access token belongs to what the session's refresh tokens have come to, for those who look at it
    and write nothing (spec/cdi.md 4.3).

    ``hash1`` is that of the refresh token it came with. Where neither that nor its parent is known, the token's age
    (``created_at``, in whole seconds) tells: what was handed out since the line last moved was handed out for it. So a
    sibling's token that was made within the very second of that is still let through.
    """
    is_known = any(_is(hash2, each) for hash2 in (row.line, row.previous) for each in (hash1, parent_hash1))
    return is_known or created_at >= row.refreshed_at // 1000 * 1000


def _is(hash2: bytes | None, hash1: str | None) -> bool:
    if hash2 is None or hash1 is None:
        return False
    return hmac.compare_digest(hash2, hash_again(hash1))


def _is_open(row: SessionRow, now: int, rule: Rule) -> bool:
    # With no grace a child's use retires the line within the same millisecond too.
    return row.used_at is None or (rule.grace > 0 and now - row.used_at <= rule.grace)


def _mark(row: SessionRow, now: int, rule: Rule) -> Mark:
    return Mark(now, slide(now, rule.refresh_validity, row.absolute_expires_at))


def _mark_at_refresh(row: SessionRow, now: int, rule: Rule) -> Mark | None:
    starts_now = rule.retirement is Retirement.AT_REFRESH and row.used_at is None
    return _mark(row, now, rule) if starts_now else None


def _step(row: SessionRow, token: Presented, now: int, rule: Rule) -> LineStep:
    return LineStep(
        generation=token.generation,
        line=hash_again(token.hash1),
        previous=row.line,
        used_at=now if rule.retirement is Retirement.AT_REFRESH else None,
        expires_at=slide(now, rule.refresh_validity, row.absolute_expires_at),
        refreshed_at=now,
    )
