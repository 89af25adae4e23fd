"""What a moving store does, as generators that ask one of the two stores after another."""
# ruff: noqa: D103 - what most of these promise is written in the interface, and only there

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Concatenate, Final, ParamSpec, TypeAlias, TypeVar

from tallystick.errors import GeneralError
from tallystick.storage.interface import SessionStore, TenantStore
from tallystick.types import Cause, LineStep, SessionRow, TheftEvent

T = TypeVar("T")
R = TypeVar("R")
P = ParamSpec("P")

BROUGHT_AT_ONCE: Final = 1000
"""How many sessions a purge brings over."""

_ALWAYS: Final = 0
"""An instant at which everything is alive."""

_BROUGHT: Final = Cause("revoked", 0, 0)
"""Of what is deleted from the old store, whose log of endings nobody follows."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One step of one of the stores."""

    is_new: bool
    method: str
    args: tuple[object, ...] = field(repr=False)


Step: TypeAlias = Generator[Ask, Any, T]


def _new(method: Callable[Concatenate[Any, P], R], *args: P.args, **kwargs: P.kwargs) -> Step[R]:
    answer: R = yield Ask(True, method.__name__, (*args, *kwargs.values()))
    return answer


def _old(method: Callable[Concatenate[Any, P], R], *args: P.args, **kwargs: P.kwargs) -> Step[R]:
    answer: R = yield Ask(False, method.__name__, (*args, *kwargs.values()))
    return answer


def marks_of(app_id: str) -> str:
    """The app under which the marks of an app's ended sessions are kept; its id is one that no app has."""
    return f"ended-{hashlib.sha256(app_id.encode()).hexdigest()[:40]}"


# Bringing


def bring_session(app_id: str, handle: str) -> Step[SessionRow | None]:
    """The session as it is in the new store, brought there first if need be; None where there is none, or no more."""
    row = yield from _new(SessionStore.load_session, app_id, handle)
    if row is None:
        there = yield from _old(SessionStore.load_session, app_id, handle)
        if there is None:  # it never was, or somebody has brought it meanwhile
            row = yield from _new(SessionStore.load_session, app_id, handle)
        else:
            row = yield from _keep(there)
            yield from _old(SessionStore.delete_sessions, app_id, [handle], _BROUGHT)
    if row is None or (yield from _is_marked(app_id, handle)):
        return None
    return row


def bring_sessions(app_id: str, handles: Sequence[str]) -> Step[list[SessionRow]]:
    rows: list[SessionRow] = []
    for handle in dict.fromkeys(handles):
        row = yield from bring_session(app_id, handle)
        rows += [] if row is None else [row]
    return rows


def carry_sessions(rows: Sequence[SessionRow]) -> Step[None]:
    """Bring these, which are in the old store and of one app, and take them out of it together. Meanwhile they are in
    both, where the new store and its marks decide."""
    for row in rows:
        yield from _keep(row)
    if rows:
        yield from _old(SessionStore.delete_sessions, rows[0].app_id, [row.handle for row in rows], _BROUGHT)


def _keep(there: SessionRow) -> Step[SessionRow | None]:
    row: SessionRow | None = there
    for is_last in (False, False, True):
        try:
            yield from _new(SessionStore.insert_session, there)
        except Exception:
            # The stores' errors have nothing in common, so what went wrong is told by what is there.
            row = yield from _new(SessionStore.load_session, there.app_id, there.handle)
            if row is None and not (yield from _is_marked(there.app_id, there.handle)):
                # It cannot be kept; or another has kept it, and a third evicted it just now and has still to mark it.
                if is_last:
                    raise
                row = there
                continue
        break
    return row


def _bring_user(app_id: str, user_id: str) -> Step[None]:
    for handle in (yield from _old(SessionStore.list_handles_of_user, app_id, user_id, None, _ALWAYS)):
        yield from bring_session(app_id, handle)


def bring_some(app_id: str, limit: int) -> Step[int]:
    """At most about so many; how many there were to bring."""
    brought, place = 0, None
    while brought < limit:
        page, place = yield from _old(SessionStore.list_sessions, app_id, place, limit)
        yield from carry_sessions(page)
        brought += len(page)
        if place is None:
            break
    return brought


# Ending


def _is_marked(app_id: str, handle: str) -> Step[bool]:
    return (yield from _new(SessionStore.load_session, marks_of(app_id), handle)) is not None


def _mark(row: SessionRow) -> Step[bool]:
    """Tell whether it is this mark that ends the session. It stays for as long as the session could have lasted."""
    app_id = marks_of(row.app_id)
    mark = replace(
        row,
        app_id=app_id,
        user_id=row.handle[:128],  # not the user's: a mark is found by its handle, and in nobody's list
        line=bytes(32),
        previous=None,
        used_at=None,
        nonce=bytes(16),
        jwt_payload="{}",
        session_data="{}",
        expires_at=row.absolute_expires_at,
        refreshed_at=row.created_at,
        user_agent=None,
        address=None,
    )
    try:
        yield from _new(SessionStore.insert_session, mark)
    except Exception:
        if (yield from _new(SessionStore.load_session, app_id, row.handle)) is None:
            raise
        return False
    return True


def end_sessions(app_id: str, handles: Sequence[str], cause: Cause) -> Step[list[str]]:
    ended: list[str] = []
    for handle in dict.fromkeys(handles):
        row = yield from bring_session(app_id, handle)
        is_ours = row is not None and (yield from _mark(row))
        # Also where somebody has marked it and died: then its ending has not been told yet.
        yield from _new(SessionStore.delete_sessions, app_id, [handle], cause)
        if is_ours:
            ended.append(handle)
    return ended


def end_sessions_of_user(app_id: str, user_id: str, tenant_id: str | None, cause: Cause) -> Step[list[str]]:
    yield from _bring_user(app_id, user_id)
    handles = yield from _new(SessionStore.list_handles_of_user, app_id, user_id, tenant_id, _ALWAYS)
    return (yield from end_sessions(app_id, handles, cause))


def record_theft(event: TheftEvent, cause: Cause) -> Step[bool]:
    row = yield from bring_session(event.app_id, event.session_handle)
    if row is None or not (yield from _mark(row)):
        return False
    return (yield from _new(SessionStore.record_theft, event, cause))


# The rest of the contract


def insert_session_within(
    row: SessionRow, limit: int, evicts: bool, replaces: str | None, cause: Cause
) -> Step[list[str] | None]:
    yield from _bring_user(row.app_id, row.user_id)
    for handle in (row.handle, *([] if replaces is None else [replaces])):
        yield from bring_session(row.app_id, handle)
    deleted = yield from _new(SessionStore.insert_session_within, row, limit, evicts, replaces, cause)
    if deleted is None:
        return None
    told: list[str] = []
    for handle in deleted:
        # Who was evicted is known only now. Of what a slow process keeps once more, the mark tells.
        if (yield from _mark(replace(row, handle=handle))):
            told.append(handle)
    return told


def advance_line(app_id: str, handle: str, expected_line: bytes, step: LineStep) -> Step[bool]:
    if (yield from _new(SessionStore.advance_line, app_id, handle, expected_line, step)):
        return True
    if (yield from _old(SessionStore.load_session, app_id, handle)) is None:
        # Somebody may have brought it between the two; then a second try is the first that counts.
        return (yield from _new(SessionStore.advance_line, app_id, handle, expected_line, step))
    if (yield from bring_session(app_id, handle)) is None:
        return False
    return (yield from _new(SessionStore.advance_line, app_id, handle, expected_line, step))


def mark_used(app_id: str, handle: str, expected_line: bytes, used_at: int, expires_at: int) -> Step[bool]:
    if (yield from bring_session(app_id, handle)) is None:
        return False
    return (yield from _new(SessionStore.mark_used, app_id, handle, expected_line, used_at, expires_at))


def update_jwt_payload(
    app_id: str, handle: str, jwt_payload: str, now: int, expected: str | None, cause: Cause | None
) -> Step[bool]:
    if (yield from bring_session(app_id, handle)) is None:
        return False
    return (yield from _new(SessionStore.update_jwt_payload, app_id, handle, jwt_payload, now, expected, cause))


def update_session_data(app_id: str, handle: str, session_data: str, now: int) -> Step[bool]:
    if (yield from bring_session(app_id, handle)) is None:
        return False
    return (yield from _new(SessionStore.update_session_data, app_id, handle, session_data, now))


def list_handles_of_user(app_id: str, user_id: str, tenant_id: str | None, now: int) -> Step[list[str]]:
    yield from _bring_user(app_id, user_id)
    handles = yield from _new(SessionStore.list_handles_of_user, app_id, user_id, tenant_id, now)
    return (yield from _without_marked(app_id, handles))


def _without_marked(app_id: str, handles: Sequence[str]) -> Step[list[str]]:
    marks = {mark.handle for mark in (yield from _new(SessionStore.load_sessions, marks_of(app_id), handles))}
    return [handle for handle in handles if handle not in marks]


def purge_sessions(app_id: str, now: int, limit: int) -> Step[int]:
    """Bring some over, so that moving comes to an end by itself; then purge the new store, and its old marks."""
    yield from bring_some(app_id, BROUGHT_AT_ONCE)
    yield from _new(SessionStore.purge_sessions, marks_of(app_id), now, limit)
    return (yield from _new(SessionStore.purge_sessions, app_id, now, limit))


def list_sessions(app_id: str, after: str | None, limit: int) -> Step[tuple[list[SessionRow], str | None]]:
    """The old store's first: what is brought over meanwhile is found in the new one."""
    side, _, place = (after or "old:").partition(":")
    if side not in ("old", "new"):
        raise GeneralError("this place is not one that a moving store gave", reason="bad_place")
    listing = _old if side == "old" else _new
    page, next_place = yield from listing(SessionStore.list_sessions, app_id, place or None, limit)
    left = set((yield from _without_marked(app_id, [row.handle for row in page])))
    rows = [row for row in page if row.handle in left]
    if next_place is not None:
        return rows, f"{side}:{next_place}"
    return rows, "new:" if side == "old" else None


def put_sessions(rows: Sequence[SessionRow], now: int) -> Step[None]:
    yield from _new(SessionStore.put_sessions, rows, now)
    for row in rows:
        yield from _old(SessionStore.delete_sessions, row.app_id, [row.handle], _BROUGHT)


def load_thefts(app_id: str, user_id: str | None, limit: int) -> Step[list[TheftEvent]]:
    found = yield from _new(SessionStore.load_thefts, app_id, user_id, limit)
    found = found + (yield from _old(SessionStore.load_thefts, app_id, user_id, limit))
    return sorted(found, key=lambda event: (-event.detected_at, event.session_handle))[:limit]


def purge_thefts(app_id: str, detected_before: int) -> Step[int]:
    purged = yield from _new(SessionStore.purge_thefts, app_id, detected_before)
    return purged + (yield from _old(SessionStore.purge_thefts, app_id, detected_before))


def bring_keys(app_id: str) -> Step[None]:
    there = {row.sequence: row for row in (yield from _new(SessionStore.load_keys, app_id))}
    for row in reversed((yield from _old(SessionStore.load_keys, app_id))):
        if there.get(row.sequence, row) != row:
            raise GeneralError(
                f"the new store has signing keys of {app_id} that are not the old one's: an app has been "
                "running on it. Move into an empty store",
                reason="bad_target",
            )
        if row.sequence not in there:
            yield from _new(SessionStore.insert_key, row)


def check_apart(handle: str) -> Step[None]:
    """What is brought is deleted where it was, so that one store by two names would be emptied."""
    app_id = marks_of("")  # of no app
    probe = SessionRow(
        app_id=app_id,
        tenant_id="",
        handle=handle,
        user_id="",
        generation=0,
        line=bytes(32),
        previous=None,
        used_at=None,
        nonce=bytes(16),
        jwt_payload="{}",
        session_data="{}",
        created_at=0,
        expires_at=1,
        absolute_expires_at=1,
        refreshed_at=0,
        user_agent=None,
        address=None,
    )
    yield from _new(SessionStore.insert_session, probe)
    is_one = (yield from _old(SessionStore.load_session, app_id, handle)) is not None
    yield from _new(SessionStore.delete_sessions, app_id, [handle], _BROUGHT)
    yield from _new(SessionStore.purge_endings, app_id, 1)
    if is_one:
        raise GeneralError("the old and the new store are the same one: nothing was moved", reason="bad_url")


def bring_tenants() -> Step[None]:
    """A core's apps and tenants, all at once: they are few."""
    for row in (yield from _old(TenantStore.list_tenants, None)):
        yield from _new(TenantStore.insert_tenant, row)


def delete_tenants(app_id: str, tenant_id: str | None) -> Step[bool]:
    """From the old store first: what is there would be brought again by the next process that starts."""
    yield from _old(TenantStore.delete_tenants, app_id, tenant_id)
    return (yield from _new(TenantStore.delete_tenants, app_id, tenant_id))
