"""The contract of :mod:`tallystick.storage.interface` as commands to Redis, once for both kinds of client.

A step is a generator, as the flows are: it yields what to ask and is sent the answers. What must be atomic is one
script on one session's slot. The indices are in other slots, so they are written beside it, in an order that a crash in
between cannot harm:

- A session is indexed after it was inserted. One that was never indexed was never acknowledged, so nobody has its
  tokens. What is indexed and has no session was there once, and is dropped when somebody comes across it: handles are
  never used again.
- A theft is indexed before it is recorded. What is indexed and was never recorded is passed over.
- An ending is told before the session is deleted, and a change before it is made. Who told of an ending and died has
  never said that it was done; what was to end is refused by all who follow the log, and can be ended again.
"""
# ruff: noqa: D103 - what each function promises is written in the interface, and only there

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeVar

from tallystick.errors import GeneralError
from tallystick.storage.redis import layout
from tallystick.storage.redis.client import WAIT_SECONDS
from tallystick.storage.redis.layout import (
    FIELDS,
    SLACK,
    endings_key,
    keys_key,
    lease_key,
    session_key,
    theft_key,
    thefts_key,
    user_key,
)
from tallystick.types import Cause, EndingsPage, KeyRow, LineStep, SessionRow, TheftEvent

T = TypeVar("T")

READS: Final = frozenset(
    {"GET", "HGET", "HMGET", "HVALS", "INFO", "XRANGE", "XREAD", "ZRANGE", "ZRANGEBYSCORE", "ZREVRANGE"}
)
SCANNED_AT_ONCE: Final = 500
LISTED_AT_ONCE: Final = 100
LEASE: Final = 3_600_000
"""For how long (ms) somebody has a lease at the most."""


@dataclass(frozen=True, slots=True)
class Script:
    """Run a script of ours; all keys are in one slot."""

    name: str
    keys: Sequence[str]
    args: Sequence[object]

    @property
    def needs_replicas(self) -> bool:
        """Whether replicas must confirm it, where they must at all."""
        return self.name != "read_endings"


@dataclass(frozen=True, slots=True)
class Scripts:
    """Run these, of which each is a step of its own, and send them together; a list of answers.

    An error of one is raised, though others were run, unless ``keeps_errors``: then it is its answer.
    """

    scripts: Sequence[Script]
    keeps_errors: bool = False


@dataclass(frozen=True, slots=True)
class Batch:
    """Run these commands, of which each is a step of its own; a list of answers.

    ``keeps_errors`` as above. Where replicas must confirm what is written, they must also have what these commands
    find, if ``is_verdict``: that there is nothing left to do is told on their word.
    """

    commands: Sequence[tuple[object, ...]]
    is_verdict: bool = False
    keeps_errors: bool = False

    @property
    def needs_replicas(self) -> bool:
        """The same."""
        return bool(self.commands) and (self.is_verdict or any(command[0] not in READS for command in self.commands))


@dataclass(frozen=True, slots=True)
class Scan:
    """Look on, from where the former answer left off (None: at the beginning), for keys of a pattern. The answer: where
    to go on (None: that was all), and keys."""

    pattern: str
    start: object


Ask: TypeAlias = Script | Scripts | Batch | Scan
Step: TypeAlias = Generator[Ask, Any, T]


def insert_session(row: SessionRow) -> Step[None]:
    if not (yield from _insert(row)):
        # Whoever inserted it may have died before it was indexed: as between two stores, where each brings it again.
        (identity,) = yield Batch([("HGET", session_key(row.app_id, row.handle), "i")])
        if identity is not None and layout.read_identity(identity).user_id == row.user_id:
            yield _index(row)
        raise KeyError(f"there is a session {row.handle} already")
    yield _index(row)


def insert_session_within(
    row: SessionRow, limit: int, evicts: bool, replaces: str | None, cause: Cause
) -> Step[list[str] | None]:
    """A user's index is in one slot, so it decides, in one script, who comes in and for whom there is no room."""
    found = yield from _sessions_of_user(row.app_id, row.user_id)
    uncounted = [handle for handle, (_, end) in found.items() if end <= cause.happened_at]
    spared = [*uncounted, *([] if replaces is None else [replaces])]
    if not (yield from _insert(row)):
        raise KeyError(f"there is a session {row.handle} already")
    args = [*_index_args(row), limit, int(evicts), *spared]
    over = yield Script("admit_session", [user_key(row.app_id, row.user_id)], args)
    if over is None:
        yield from _delete(row.app_id, [row.handle], [])  # nobody has its tokens
        return None
    gone = [*(handle.decode("utf-8") for handle in over), *([] if replaces is None else [replaces])]
    return (yield from _end(row.app_id, gone, cause))


def load_session(app_id: str, handle: str) -> Step[SessionRow | None]:
    # A refresh may have nothing to write, and is then acknowledged by what it has found.
    (values,) = yield Batch([("HMGET", session_key(app_id, handle), *FIELDS)], is_verdict=True)
    return layout.read_session(values)


def load_sessions(app_id: str, handles: Sequence[str]) -> Step[list[SessionRow]]:
    found: list[SessionRow | None] = []
    wanted = list(dict.fromkeys(handles))
    for start in range(0, len(wanted), SCANNED_AT_ONCE):
        keys = [session_key(app_id, handle) for handle in wanted[start : start + SCANNED_AT_ONCE]]
        found += map(layout.read_session, (yield Batch([("HMGET", key, *FIELDS) for key in keys])))
    return [row for row in found if row is not None]


def advance_line(app_id: str, handle: str, expected_line: bytes, step: LineStep) -> Step[bool]:
    return bool((yield _advance(app_id, handle, expected_line, step)))


def advance_lines(app_id: str, moves: Sequence[tuple[str, bytes, LineStep]]) -> Step[set[str]]:
    answers = yield Scripts([_advance(app_id, *each) for each in moves], keeps_errors=True)
    return {handle for (handle, *_), answer in zip(moves, answers, strict=True) if answer == 1}


def _advance(app_id: str, handle: str, expected_line: bytes, step: LineStep) -> Script:
    args = [expected_line, _keep_for(step.expires_at - step.refreshed_at), *layout.write_step(step)]
    return Script("advance_line", [session_key(app_id, handle)], args)


def mark_used(app_id: str, handle: str, expected_line: bytes, used_at: int, expires_at: int) -> Step[bool]:
    return bool((yield _mark(app_id, handle, expected_line, used_at, expires_at)))


def mark_all_used(app_id: str, marks: Sequence[tuple[str, bytes, int, int]]) -> Step[set[str]]:
    answers = yield Scripts([_mark(app_id, *each) for each in marks], keeps_errors=True)
    return {handle for (handle, *_), answer in zip(marks, answers, strict=True) if answer == 1}


def _mark(app_id: str, handle: str, expected_line: bytes, used_at: int, expires_at: int) -> Script:
    args = [expected_line, _keep_for(expires_at - used_at), used_at, expires_at]
    return Script("mark_used", [session_key(app_id, handle)], args)


def update_jwt_payload(
    app_id: str, handle: str, jwt_payload: str, now: int, expected: str | None = None, cause: Cause | None = None
) -> Step[bool]:
    if cause is not None:
        yield from _tell(app_id, [handle], cause)
    args = [now, "p", jwt_payload, *([] if expected is None else [expected])]
    return bool((yield Script("update_text", [session_key(app_id, handle)], args)))


def update_session_data(app_id: str, handle: str, session_data: str, now: int) -> Step[bool]:
    return bool((yield Script("update_text", [session_key(app_id, handle)], [now, "d", session_data])))


def delete_sessions(app_id: str, handles: Sequence[str], cause: Cause) -> Step[list[str]]:
    return (yield from _end(app_id, list(dict.fromkeys(handles)), cause))


def delete_sessions_of_user(app_id: str, user_id: str, tenant_id: str | None, cause: Cause) -> Step[list[str]]:
    found = yield from _sessions_of_user(app_id, user_id, is_verdict=True)
    wanted = [handle for handle, (tenant, _) in found.items() if tenant_id in (None, tenant)]
    return (yield from _end(app_id, wanted, cause))


def list_handles_of_user(app_id: str, user_id: str, tenant_id: str | None, now: int) -> Step[list[str]]:
    found = yield from _sessions_of_user(app_id, user_id)
    return [handle for handle, (tenant, end) in found.items() if tenant_id in (None, tenant) and end > now]


def purge_sessions(app_id: str, now: int, limit: int) -> Step[int]:
    """Redis forgets sessions by itself, an hour after their end. This looks at each that it has not forgotten yet."""
    purged, place = 0, None
    while True:
        place, keys = yield Scan(layout.sessions_pattern(app_id), place)
        ends = yield Batch([("HMGET", key, "i", "x", "a") for key in keys])
        over = [layout.read_identity(i).handle for i, x, a in ends if i is not None and min(int(x), int(a)) <= now]
        purged += len((yield from _delete(app_id, over[: limit - purged], [now])))
        if purged >= limit or place is None:
            return purged


def list_sessions(app_id: str, after: str | None, limit: int) -> Step[tuple[list[SessionRow], str | None]]:
    place = None if after is None else _parse_place(after)
    place, keys = yield Scan(layout.sessions_pattern(app_id), place)
    found = yield Batch([("HMGET", key, *FIELDS) for key in keys])
    rows = [row for row in map(layout.read_session, found) if row is not None]
    return rows, None if place is None else "{}:{}".format(*place)


def put_sessions(rows: Sequence[SessionRow], now: int) -> Step[None]:
    """Indexed first: who dies in between leaves entries that are dropped. A session that is there and was not indexed
    would be passed over by the next copy."""
    for start in range(0, len(rows), SCANNED_AT_ONCE):
        some = rows[start : start + SCANNED_AT_ONCE]
        yield Scripts([_index(row) for row in some])
        yield Scripts([_put(row, now) for row in some])


def record_theft(event: TheftEvent, cause: Cause) -> Step[bool]:
    app_id, handle = event.app_id, event.session_handle
    if not (yield from _tell(app_id, [handle], cause)):
        return False
    yield Batch([("ZADD", thefts_key(app_id), "NX", event.detected_at, handle)])
    keys = [session_key(app_id, handle), theft_key(app_id, handle)]
    if not (yield Script("record_theft", keys, [layout.write_theft(event)])):
        return False
    yield Batch([("ZREM", user_key(app_id, event.user_id), handle)])
    return True


def load_thefts(app_id: str, user_id: str | None, limit: int) -> Step[list[TheftEvent]]:
    found: list[TheftEvent] = []
    start = 0
    while len(found) < limit:
        (handles,) = yield Batch([("ZREVRANGE", thefts_key(app_id), start, start + LISTED_AT_ONCE - 1)])
        values = yield Batch([("GET", theft_key(app_id, handle.decode("utf-8"))) for handle in handles])
        events = [layout.read_theft(value) for value in values if value is not None]
        found += [event for event in events if user_id in (None, event.user_id)]
        if len(handles) < LISTED_AT_ONCE:
            break
        start += LISTED_AT_ONCE
    return sorted(found, key=lambda event: (-event.detected_at, event.session_handle))[:limit]


def purge_thefts(app_id: str, detected_before: int) -> Step[int]:
    (handles,) = yield Batch([("ZRANGEBYSCORE", thefts_key(app_id), "-inf", f"({detected_before}")])
    if not handles:
        return 0
    deleted = yield Batch([("DEL", theft_key(app_id, handle.decode("utf-8"))) for handle in handles])
    yield Batch([("ZREM", thefts_key(app_id), *handles)])
    return sum(deleted)


def read_endings(app_id: str, after: str | None, limit: int) -> Step[EndingsPage]:
    """A place is a server's replication id and an entry's. A server that has taken over has another one: then the log
    is read from the beginning, as it may have lost what its predecessor had."""
    then, _, reached = (after or "").rpartition("/")
    server, entries = yield Script("read_endings", [endings_key(app_id)], [then, reached or "0-0", limit])
    endings = [layout.read_ending(fields[1]) for _, fields in entries]
    if entries:
        reached = entries[-1][0].decode("ascii")
    elif server.decode("ascii") != then:
        reached = "0-0"
    return EndingsPage(endings, f"{server.decode('ascii')}/{reached}", len(entries) < limit)


def wait_for_endings(app_id: str, after: str, seconds: float) -> Step[None]:
    wait = min(int(seconds * 1000), WAIT_SECONDS * 500)  # well within the time for an answer
    yield Batch(
        [("XREAD", "COUNT", 1, "BLOCK", max(wait, 1), "STREAMS", endings_key(app_id), after.rpartition("/")[2])]
    )


def purge_endings(app_id: str, now: int) -> Step[int]:
    """The log is also trimmed by all who write to it."""
    log, start, purged = endings_key(app_id), "-", 0
    while True:
        (entries,) = yield Batch([("XRANGE", log, start, "+", "COUNT", SCANNED_AT_ONCE)])
        old = [entry for entry, fields in entries if layout.read_ending(fields[b"e"]).forget_at <= now]
        if old:
            (deleted,) = yield Batch([("XDEL", log, *old)])
            purged += deleted
        if len(entries) < SCANNED_AT_ONCE:
            return purged
        start = "(" + entries[-1][0].decode("ascii")


def load_keys(app_id: str) -> Step[list[KeyRow]]:
    (values,) = yield Batch([("HVALS", keys_key(app_id))])
    return sorted(map(layout.read_key, values), key=lambda row: -row.sequence)


def insert_key(row: KeyRow) -> Step[bool]:
    (was_kept,) = yield Batch([("HSETNX", keys_key(row.app_id), row.sequence, layout.write_key(row))])
    return bool(was_kept)


def purge_keys(app_id: str, created_before: int) -> Step[int]:
    rows = yield from load_keys(app_id)
    old = [row.sequence for row in rows if row.created_at < created_before]
    deleted: int = yield Script("purge_keys", [keys_key(app_id)], old)
    return deleted


def take_lease(name: str, holder: str) -> Step[bool]:
    """A lock of all that share the store. Who dies without giving it back has it until its time is over."""
    (is_taken,) = yield Batch([("SET", lease_key(name), holder, "NX", "PX", LEASE)])
    return bool(is_taken)


def give_back_lease(name: str, holder: str) -> Step[None]:
    yield Script("release_lease", [lease_key(name)], [holder])


def _insert(row: SessionRow) -> Step[bool]:
    keep = _keep_for(min(row.expires_at, row.absolute_expires_at) - row.refreshed_at)
    args = [keep, *layout.write_session(row)]
    return bool((yield Script("insert_session", [session_key(row.app_id, row.handle)], args)))


def _put(row: SessionRow, now: int) -> Script:
    keep = _keep_for(min(row.expires_at, row.absolute_expires_at) - now)
    return Script("put_session", [session_key(row.app_id, row.handle)], [keep, *layout.write_session(row)])


def _parse_place(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,4}):(\d{1,20})", text)
    if match is None:
        raise GeneralError("this place is not one that Redis gave", reason="bad_place")
    return int(match[1]), int(match[2])


def _index(row: SessionRow) -> Script:
    return Script("index_session", [user_key(row.app_id, row.user_id)], _index_args(row))


def _index_args(row: SessionRow) -> list[object]:
    life = row.absolute_expires_at - row.created_at
    return [row.created_at, row.handle, _keep_for(life), row.created_at - life - SLACK]


def _end(app_id: str, handles: Sequence[str], cause: Cause) -> Step[list[str]]:
    """End those of these sessions that are there. There is no other function that ends sessions which are not over."""
    return (yield from _delete(app_id, (yield from _tell(app_id, handles, cause)), []))


def _tell(app_id: str, handles: Sequence[str], cause: Cause) -> Step[list[str]]:
    """Write into the log of endings, of those sessions that are there; which those are."""
    found = yield Batch([("HGET", session_key(app_id, handle), "i") for handle in handles], is_verdict=True)
    there = [layout.read_identity(identity) for identity in found if identity is not None]
    for start in range(0, len(there), SCANNED_AT_ONCE):
        some = [layout.write_ending(identity, cause) for identity in there[start : start + SCANNED_AT_ONCE]]
        keep = _keep_for(cause.forget_at - cause.happened_at)
        yield Script("tell_endings", [endings_key(app_id)], [keep, *some])
    return [identity.handle for identity in there]


def _delete(app_id: str, handles: Sequence[str], conditions: Sequence[object]) -> Step[list[str]]:
    """Delete each of these, by a script of its own; those that were there."""
    deleted: list[str] = []
    forgotten: list[tuple[object, ...]] = []
    for handle in handles:
        identity = yield Script("delete_session", [session_key(app_id, handle)], conditions)
        if identity is not None:
            deleted.append(handle)
            forgotten.append(("ZREM", user_key(app_id, layout.read_identity(identity).user_id), handle))
    yield Batch(forgotten)
    return deleted


def _sessions_of_user(app_id: str, user_id: str, *, is_verdict: bool = False) -> Step[dict[str, tuple[str, int]]]:
    """Of each session its tenant and its end, oldest first."""
    index = user_key(app_id, user_id)
    (members,) = yield Batch([("ZRANGE", index, 0, -1)], is_verdict)
    handles = [member.decode("utf-8") for member in members]
    found = yield Batch([("HMGET", session_key(app_id, handle), "i", "x", "a") for handle in handles], is_verdict)
    gone = [handle for handle, (identity, _, _) in zip(handles, found, strict=True) if identity is None]
    yield Batch([("ZREM", index, *gone)] if gone else [])
    return {
        handle: (layout.read_identity(identity).tenant_id, min(int(x), int(a)))
        for handle, (identity, x, a) in zip(handles, found, strict=True)
        if identity is not None
    }


def _keep_for(duration: int) -> int:
    return max(duration, 0) + SLACK
