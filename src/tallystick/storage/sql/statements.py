"""The contract of :mod:`tallystick.storage.interface` as SQL.

Each step is one statement on a connection in AUTOCOMMIT: so it is atomic by itself, nothing can be left half done or
uncommitted, and it costs one round trip. Where one statement cannot do it, the step is a transaction, which takes its
locks before it looks. The statements are built once, here. A compare-and-swap is an UPDATE whose WHERE holds what is
expected; on PostgreSQL a racer that had to wait has its WHERE looked at again (READ COMMITTED).

What ends sessions writes their endings in the same transaction, on PostgreSQL in the same statement: see
:mod:`tallystick.storage.sql.endings`.

Where several rows go at once they are first locked in the order of their handles: two calls that delete the same
sessions in different orders would otherwise deadlock. SQLite has one writer at a time and no such clause. MySQL and
MariaDB pick the rows, locking them, and then delete them, in a transaction.
"""
# ruff: noqa: D103 - what each function promises is written in the interface, and only there

from __future__ import annotations

import hashlib
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    Connection,
    Select,
    Text,
    Update,
    and_,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy import cast as sql_cast
from sqlalchemy.engine import RootTransaction
from sqlalchemy.exc import IntegrityError
from sqlalchemy.sql.dml import ReturningDelete

from tallystick.storage.sql.direct import Direct, Lent
from tallystick.storage.sql.endings import CHANNEL, current_transaction, tell
from tallystick.storage.sql.mysql import is_mysql, named_lock
from tallystick.storage.sql.schema import endings, sessions, signing_keys, theft_events
from tallystick.types import Cause, KeyRow, LineStep, SessionRow, TheftEvent

HANDLES_AT_ONCE: Final = 500
"""Old SQLite takes 999 parameters in a statement."""
_NO_LIMIT: Final = 2**31 - 1

_row = sessions.c
_key = signing_keys.c
_theft = theft_events.c
_app_id: Final[BindParameter[str]] = bindparam("of_app_id")
_handle: Final[BindParameter[str]] = bindparam("of_handle")
_now: Final[BindParameter[int]] = bindparam("now")
_is_it: Final = and_(_row.app_id == _app_id, _row.handle == _handle)
_is_expected_line: Final = _row.line == bindparam("expected_line")
_is_alive: Final = and_(_row.expires_at > _now, _row.absolute_expires_at > _now)
_is_over: Final = or_(_row.expires_at <= _now, _row.absolute_expires_at <= _now)


def _of_user(in_tenant: bool) -> ColumnElement[bool]:
    of_user = and_(_row.app_id == _app_id, _row.user_id == bindparam("of_user_id"))
    return and_(of_user, _row.tenant_id == bindparam("of_tenant_id")) if in_tenant else of_user


_WHOSE: Final = (_row.handle, _row.user_id, _row.tenant_id)


@dataclass(frozen=True, slots=True)
class _Deletion:
    """Deleting the sessions that are picked: in one statement, on PostgreSQL in one with their endings; for MySQL and
    MariaDB the picking alone."""

    picked: Select[*tuple[Any, ...]]
    statement: ReturningDelete[*tuple[Any, ...]] = field(init=False)
    and_tell: Select[*tuple[Any, ...]] = field(init=False)

    def __post_init__(self) -> None:
        statement = _delete(self.picked)
        object.__setattr__(self, "statement", statement)
        object.__setattr__(self, "and_tell", _tell_too(statement))


def _delete(picked: Select[*tuple[Any, ...]]) -> ReturningDelete[*tuple[Any, ...]]:
    # As a CTE, PostgreSQL picks once; a plain subquery it may run again for each row, and then delete beyond a limit.
    # RETURNING also where only a number is wanted: sqlite3 counts no rows for a statement that begins with WITH.
    handles = select(picked.cte("picked").c.handle)
    return delete(sessions).where(_row.app_id == _app_id, _row.handle.in_(handles)).returning(*_WHOSE)


def _tell_too(deleting: ReturningDelete[*tuple[Any, ...]]) -> Select[*tuple[Any, ...]]:
    gone = deleting.cte("gone")
    cause: list[BindParameter[Any]] = [bindparam(name) for name in ("kind", "happened_at", "forget_at")]
    rows = select(_app_id, gone.c.handle, gone.c.user_id, gone.c.tenant_id, *cause, current_transaction)
    names = ("app_id", "handle", "user_id", "tenant_id", "kind", "happened_at", "forget_at", "transaction_id")
    told = insert(endings).from_select(names, rows, include_defaults=False).cte("told")
    # One transaction notifies of the same thing once, however often it is asked to.
    return select(gone.c.handle, func.pg_notify(CHANNEL, sql_cast(_app_id, Text))).add_cte(told)


def _delete_in_order(condition: ColumnElement[bool]) -> _Deletion:
    return _Deletion(select(*_WHOSE).where(condition).order_by(_row.handle).with_for_update())


_INSERT_SESSION: Final = insert(sessions)
_ADD_SESSION: Final = Direct(_INSERT_SESSION, SessionRow.__struct_fields__)
WHOLE_ROWS: Final = select(*(column for column in sessions.c if column.computed is None))
_LOAD_SESSION: Final = Direct(WHOLE_ROWS.where(_is_it), ("of_app_id", "of_handle"))
ARE_THEY: Final = and_(_row.app_id == _app_id, _row.handle.in_(bindparam("handles", expanding=True)))
_BEYOND: Final = (
    select(_row.handle)
    .where(_of_user(False), _is_alive, _row.handle.not_in(bindparam("spared", expanding=True)))
    .order_by(_row.created_at.desc(), _row.handle.desc())
    # SQLite knows no OFFSET without a LIMIT.
    .limit(_NO_LIMIT)
    .offset(bindparam("room"))
)
"""The sessions of a user for which there is no room: all but the newest."""
_TAKE_TURN: Final = select(func.pg_advisory_xact_lock(bindparam("turn", type_=BigInteger)))
_ADVANCE_LINE: Final = Direct(
    update(sessions)
    .where(_is_it, _is_expected_line)
    .values({name: bindparam(f"new_{name}") for name in LineStep.__struct_fields__}),
    ("of_app_id", "of_handle", "expected_line", *(f"new_{name}" for name in LineStep.__struct_fields__)),
)
_MARK_USED: Final = Direct(
    update(sessions)
    .where(_is_it, _is_expected_line, _row.used_at.is_(None))
    .values(used_at=bindparam("new_used_at"), expires_at=bindparam("new_expires_at")),
    ("of_app_id", "of_handle", "expected_line", "new_used_at", "new_expires_at"),
)
_UPDATE_JWT_PAYLOAD: Final = update(sessions).where(_is_it, _is_alive).values(jwt_payload=bindparam("new_jwt_payload"))
_SWAP_JWT_PAYLOAD: Final = _UPDATE_JWT_PAYLOAD.where(_row.jwt_payload == bindparam("expected"))
_UPDATE_SESSION_DATA: Final = (
    update(sessions).where(_is_it, _is_alive).values(session_data=bindparam("new_session_data"))
)
_DELETE_SESSIONS: Final = _delete_in_order(ARE_THEY)
_DELETE_SESSIONS_OF_USER: Final = {in_tenant: _delete_in_order(_of_user(in_tenant)) for in_tenant in (False, True)}
_LIST_HANDLES_OF_USER: Final = {
    in_tenant: Direct(
        select(_row.handle).where(_of_user(in_tenant), _is_alive).order_by(_row.created_at, _row.handle),
        ("of_app_id", "of_user_id", "now", *(("of_tenant_id",) if in_tenant else ())),
    )
    for in_tenant in (False, True)
}
_PURGE_SESSIONS: Final = _Deletion(
    select(*_WHOSE)
    .where(_row.app_id == _app_id, _row.expiry_day <= _now, _is_over)
    # Oldest first, which is the order of the index: PostgreSQL would else read the table from its beginning for each
    # batch, past all that is alive, as soon as it believes that much is over.
    .order_by(_row.expiry_day)
    .limit(bindparam("at_most"))
    # What someone else is at is left for the next purge: a purge never waits, so it is part of no deadlock.
    .with_for_update(skip_locked=True)
)
_LIST_SESSIONS: Final = (
    WHOLE_ROWS.where(_row.app_id == _app_id, _row.handle > bindparam("after"))
    .order_by(_row.handle)
    .limit(bindparam("at_most"))
)
_DELETE_PICKED: Final = delete(sessions).where(ARE_THEY)
_WHOSE_IT_IS: Final = select(*_WHOSE).where(_is_it)
_INSERT_THEFT: Final = insert(theft_events)
_of_app: Final = _theft.app_id == _app_id
_LOAD_THEFTS: Final = (
    select(theft_events)
    .where(_of_app)
    .order_by(_theft.detected_at.desc(), _theft.session_handle)
    .limit(bindparam("at_most"))
)
_LOAD_THEFTS_OF_USER: Final = _LOAD_THEFTS.where(_theft.user_id == bindparam("of_user_id"))
_PURGE_THEFTS: Final = delete(theft_events).where(_of_app, _theft.detected_at < bindparam("detected_before"))
_LOAD_KEYS: Final = select(signing_keys).where(_key.app_id == _app_id).order_by(_key.sequence.desc())
_INSERT_KEY: Final = insert(signing_keys)
_newest = signing_keys.alias("newest")
# A table of its own: MySQL does not look into the one from which it deletes.
_last = select(func.max(_newest.c.sequence).label("sequence")).where(_newest.c.app_id == _app_id).subquery("last")
_PURGE_KEYS: Final = delete(signing_keys).where(
    _key.app_id == _app_id,
    _key.created_at < bindparam("created_before"),
    _key.sequence < select(_last.c.sequence).scalar_subquery(),
)


def insert_session(connection: Connection | Lent, row: SessionRow) -> None:
    _ADD_SESSION.count(connection, _values(row))


def insert_session_within(
    connection: Connection, row: SessionRow, limit: int, evicts: bool, replaces: str | None, cause: Cause
) -> list[str] | None:
    """The row first: with it SQLite's write transaction begins, so that nobody else writes until the end."""
    spared = [row.handle] if replaces is None else [row.handle, replaces]
    beyond = _user(row.app_id, row.user_id, None) | {"now": cause.happened_at, "room": limit - 1, "spared": spared}
    with _begin_turn(connection, row) as transaction:
        connection.execute(_INSERT_SESSION, _values(row))
        over = list(connection.execute(_BEYOND, beyond).scalars())
        if over and not evicts:
            transaction.rollback()
            return None
        gone = over if replaces is None else [*over, replaces]
        return delete_sessions(connection, row.app_id, gone, cause) if gone else []


@contextmanager
def _begin_turn(connection: Connection, row: SessionRow) -> Generator[RootTransaction]:
    """On a server two transactions do not see each other's new rows, so those of one user go one after another."""
    with ExitStack() as until_committed, _begin(connection) as transaction:
        if is_mysql(connection):
            until_committed.enter_context(named_lock(connection, "user", row.app_id, row.user_id))
        elif connection.dialect.name == "postgresql":
            _take_turn(connection, row)
        yield transaction


@contextmanager
def _one_transaction(connection: Connection) -> Generator[None]:
    """Unless there is one already. On SQLite as a writer from the first: who reads before may be refused to write."""
    if connection.in_transaction():
        yield
        return
    with _begin(connection):
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        yield


def _begin(connection: Connection) -> RootTransaction:
    # On a server each statement must see what was committed while the transaction waited for its turn; SQLite has
    # SERIALIZABLE and nothing else.
    level = "SERIALIZABLE" if connection.dialect.name == "sqlite" else "READ COMMITTED"
    return connection.execution_options(isolation_level=level).begin()


def _take_turn(connection: Connection, row: SessionRow) -> None:
    """The lock goes with the transaction. Two users who share a number wait for each other, and nothing worse."""
    digest = hashlib.sha256(f"tallystick\0{row.app_id}\0{row.user_id}".encode()).digest()
    connection.execute(_TAKE_TURN, {"turn": int.from_bytes(digest[:8], signed=True)})


def _values(row: SessionRow | TheftEvent | KeyRow) -> dict[str, object]:
    """By column. What dataclasses have for it copies deeply, and takes ten times as long."""
    return {name: getattr(row, name) for name in row.__dataclass_fields__}


def load_session(connection: Connection | Lent, app_id: str, handle: str) -> SessionRow | None:
    found = _LOAD_SESSION.fetch(connection, _it(app_id, handle))
    return None if found is None else SessionRow(*found)


def advance_line(connection: Connection | Lent, app_id: str, handle: str, expected_line: bytes, step: LineStep) -> bool:
    new = {f"new_{name}": getattr(step, name) for name in LineStep.__struct_fields__}
    return _ADVANCE_LINE.count(connection, _it(app_id, handle) | {"expected_line": expected_line} | new) == 1


def mark_used(
    connection: Connection | Lent,
    app_id: str,
    handle: str,
    expected_line: bytes,
    used_at: int,
    expires_at: int,
) -> bool:
    new = {"new_used_at": used_at, "new_expires_at": expires_at}
    return _MARK_USED.count(connection, _it(app_id, handle) | {"expected_line": expected_line} | new) == 1


def update_jwt_payload(
    connection: Connection,
    app_id: str,
    handle: str,
    jwt_payload: str,
    now: int,
    expected: str | None = None,
    cause: Cause | None = None,
) -> bool:
    values = _it(app_id, handle) | {"new_jwt_payload": jwt_payload, "now": now}
    statement = _UPDATE_JWT_PAYLOAD
    if expected is not None:
        statement, values = _SWAP_JWT_PAYLOAD, values | {"expected": expected}
    if cause is None:
        return _swap(connection, statement, values)
    with _one_transaction(connection):
        if not _swap(connection, statement, values):
            return False
        tell(connection, app_id, connection.execute(_WHOSE_IT_IS, _it(app_id, handle)).all(), cause)
        return True


def update_session_data(connection: Connection, app_id: str, handle: str, session_data: str, now: int) -> bool:
    values = _it(app_id, handle) | {"new_session_data": session_data, "now": now}
    return _swap(connection, _UPDATE_SESSION_DATA, values)


def delete_sessions(connection: Connection, app_id: str, handles: Sequence[str], cause: Cause) -> list[str]:
    """Beyond :data:`HANDLES_AT_ONCE` handles, each so many are one step of their own; on MySQL and MariaDB, where a
    step may be begun again, all are one."""
    wanted = sorted(set(handles))
    deleted: list[str] = []
    with _one_transaction(connection) if is_mysql(connection) else nullcontext():
        for start in range(0, len(wanted), HANDLES_AT_ONCE):
            some = wanted[start : start + HANDLES_AT_ONCE]
            deleted += _end(connection, _DELETE_SESSIONS, {"of_app_id": app_id, "handles": some}, cause)
    return deleted


def delete_sessions_of_user(
    connection: Connection, app_id: str, user_id: str, tenant_id: str | None, cause: Cause
) -> list[str]:
    deletion = _DELETE_SESSIONS_OF_USER[tenant_id is not None]
    return _end(connection, deletion, _user(app_id, user_id, tenant_id), cause)


def list_handles_of_user(
    connection: Connection | Lent, app_id: str, user_id: str, tenant_id: str | None, now: int
) -> list[str]:
    statement = _LIST_HANDLES_OF_USER[tenant_id is not None]
    values = _user(app_id, user_id, tenant_id) | {"now": now}
    return [handle for (handle,) in statement.fetch_all(connection, values)]


def purge_sessions(connection: Connection, app_id: str, now: int, limit: int) -> int:
    values = {"of_app_id": app_id, "now": now, "at_most": limit}
    return len(_delete_picked(connection, _PURGE_SESSIONS, values))


def list_sessions(
    connection: Connection, app_id: str, after: str | None, limit: int
) -> tuple[list[SessionRow], str | None]:
    values = {"of_app_id": app_id, "after": after or "", "at_most": limit}
    page = [SessionRow(*found) for found in connection.execute(_LIST_SESSIONS, values)]
    return page, page[-1].handle if len(page) == limit else None


def put_sessions(connection: Connection, rows: Sequence[SessionRow], now: int) -> None:
    with _begin(connection):
        for start in range(0, len(rows), HANDLES_AT_ONCE):
            some = sorted(rows[start : start + HANDLES_AT_ONCE], key=lambda row: row.handle)
            handles = [row.handle for row in some]
            connection.execute(_DELETE_PICKED, {"of_app_id": some[0].app_id, "handles": handles})
            connection.execute(_INSERT_SESSION, [_values(row) for row in some])


def record_theft(connection: Connection, event: TheftEvent, cause: Cause) -> bool:
    with _one_transaction(connection):
        was_there = bool(delete_sessions(connection, event.app_id, [event.session_handle], cause))
        if was_there:
            connection.execute(_INSERT_THEFT, _values(event))
        return was_there


def load_thefts(connection: Connection, app_id: str, user_id: str | None, limit: int) -> list[TheftEvent]:
    statement = _LOAD_THEFTS if user_id is None else _LOAD_THEFTS_OF_USER
    values = {"of_app_id": app_id, "of_user_id": user_id, "at_most": limit}
    return [TheftEvent(*found) for found in connection.execute(statement, values)]


def purge_thefts(connection: Connection, app_id: str, detected_before: int) -> int:
    values = {"of_app_id": app_id, "detected_before": detected_before}
    return connection.execute(_PURGE_THEFTS, values).rowcount


def load_keys(connection: Connection, app_id: str) -> list[KeyRow]:
    return [KeyRow(*found) for found in connection.execute(_LOAD_KEYS, {"of_app_id": app_id})]


def insert_key(connection: Connection, row: KeyRow) -> bool:
    try:
        connection.execute(_INSERT_KEY, _values(row))
    except IntegrityError:
        return False
    return True


def purge_keys(connection: Connection, app_id: str, created_before: int) -> int:
    values = {"of_app_id": app_id, "created_before": created_before}
    return connection.execute(_PURGE_KEYS, values).rowcount


def _end(connection: Connection, deletion: _Deletion, values: Mapping[str, object], cause: Cause) -> list[str]:
    """Delete sessions with their endings. There is no other function that ends sessions which are not over."""
    if connection.dialect.name == "postgresql":
        values = {**values, "kind": cause.kind, "happened_at": cause.happened_at, "forget_at": cause.forget_at}
        return list(connection.execute(deletion.and_tell, values).scalars())
    with _one_transaction(connection):
        gone = _delete_picked(connection, deletion, values)
        tell(connection, str(values["of_app_id"]), gone, cause)
    return [row.handle for row in gone]


def _delete_picked(connection: Connection, deletion: _Deletion, values: Mapping[str, object]) -> Sequence[Any]:
    if not is_mysql(connection):
        return connection.execute(deletion.statement, values).all()
    with _one_transaction(connection):
        gone = connection.execute(deletion.picked, values).all()
        if gone:
            handles = [row.handle for row in gone]
            connection.execute(_DELETE_PICKED, {"of_app_id": values["of_app_id"], "handles": handles})
        return gone


def _it(app_id: str, handle: str) -> dict[str, object]:
    return {"of_app_id": app_id, "of_handle": handle}


def _user(app_id: str, user_id: str, tenant_id: str | None) -> dict[str, object]:
    return {"of_app_id": app_id, "of_user_id": user_id, "of_tenant_id": tenant_id}


def _swap(connection: Connection, statement: Update, values: dict[str, object]) -> bool:
    return connection.execute(statement, values).rowcount == 1
