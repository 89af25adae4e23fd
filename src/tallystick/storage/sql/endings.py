"""The log of endings in SQL: written in the transaction that ends the sessions, read so that none is skipped.

A number that counts up is no place to go on from: a transaction may draw 7 and be committed after the one that drew 8,
and who has seen 8 would never look for 7 again. So what a place is depends on the database.

- SQLite has one writer at a time. What it numbers is committed in that order, and a number is a place.
- PostgreSQL tells which transactions are finished. A place is such a snapshot, and what comes next is what was written
  by transactions that were not finished in it. Nothing waits for anybody: a transaction that is left open for an hour,
  ours or a stranger's, delays no other one's endings.
- MySQL and MariaDB tell no such thing. A place is the highest number that was seen and the numbers below it that were
  not: each is a transaction that is still open, or one that was undone. They are asked for each time, the newest
  :data:`OPEN_AT_MOST` of them, however many others have come since. A row of a stranger's app is read too, as it would
  look like one of them.

The place also names the server: its log may have lost what its predecessor had, so after a failover the log is read
from the beginning. On PostgreSQL a replica, which lags behind, refuses to be read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from itertools import islice, pairwise
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Connection,
    Select,
    Text,
    bindparam,
    cast,
    delete,
    func,
    insert,
    literal_column,
    or_,
    select,
    text,
)
from sqlalchemy.types import UserDefinedType

from tallystick.storage.places import read_number
from tallystick.storage.sql.mysql import is_mysql
from tallystick.storage.sql.schema import endings
from tallystick.types import Cause, Ending, EndingsPage

OPEN_AT_MOST: Final = 1000
CHANNEL: Final = "tallystick"
"""Where PostgreSQL notifies of endings; what it says is the app."""

_SNAPSHOT_TEXT: Final = re.compile(r"\d{1,20}:\d{1,20}:[\d,]*")
_NUMBERS_TEXT: Final = re.compile(r"\d{1,19}(,\d{1,19})*")

_row = endings.c
_COLUMNS: Final = (
    _row.handle,
    _row.user_id,
    _row.tenant_id,
    _row.kind,
    _row.happened_at,
    _row.forget_at,
    _row.payload_digest,
)
_of_app: Final = _row.app_id == bindparam("of_app_id")
_limit: Final = bindparam("at_most", type_=BigInteger)


class _Snapshot(UserDefinedType[str]):
    cache_ok = True

    def get_col_spec(self, **_options: object) -> str:
        return "txid_snapshot"


def _snapshot(name: str) -> Any:  # noqa: ANN401 - a cast of a cast
    return cast(cast(bindparam(name), Text), _Snapshot())


current_transaction: Final = func.txid_current(type_=BigInteger)
"""On PostgreSQL, what an ending is marked with."""

_INSERT: Final = insert(endings)
_NOTIFY: Final = select(func.pg_notify(CHANNEL, cast(bindparam("of_app_id"), Text)))
_PURGE: Final = delete(endings).where(_of_app, _row.forget_at <= bindparam("now"))

_SERVER_POSTGRES: Final = (
    literal_column("extract(epoch FROM pg_postmaster_start_time())::text", Text).label("server"),
    literal_column("txid_current_snapshot()::text", Text).label("current"),
    literal_column("pg_is_in_recovery()", Boolean).label("is_replica"),
)
_ALWAYS: Final = select(literal_column("1", BigInteger)).subquery()
_SERVER_MYSQL: Final = text("SELECT CONCAT(@@server_id, '-', @@hostname)")
_AFTER_NUMBER: Final = (
    select(_row.sequence, *_COLUMNS)
    .where(_of_app, _row.sequence > bindparam("after"))
    .order_by(_row.sequence)
    .limit(_limit)
)
_AFTER_NUMBER_OR_OPEN: Final = (
    select(_row.sequence, *_COLUMNS, _row.app_id)
    .where(or_(_row.sequence > bindparam("after"), _row.sequence.in_(bindparam("open", expanding=True))))
    .order_by(_row.sequence)
    .limit(_limit)
)


def _in_snapshot(*, has_old: bool, has_begun: bool) -> Select[*tuple[Any, ...]]:
    """What was finished in the ``new`` snapshot and not in the ``old`` one, page by page; with the server's state, in
    one statement, as all processes are told at the same moment. Where it has not begun, the new snapshot is this
    statement's own, in which all is finished that it sees."""
    condition = _of_app
    if has_old:
        condition &= _row.transaction_id >= func.txid_snapshot_xmin(_snapshot("old"))
        condition &= ~func.txid_visible_in_snapshot(_row.transaction_id, _snapshot("old"))
    if has_begun:
        condition &= func.txid_visible_in_snapshot(_row.transaction_id, _snapshot("new"))
        condition &= _row.sequence > bindparam("reached", type_=BigInteger)
    found = select(*_SERVER_POSTGRES, _row.sequence, *_COLUMNS).select_from(_ALWAYS.outerjoin(endings, condition))
    # Of two changes of one session the later one has drawn the higher number, as it had to wait for the row.
    return found.order_by(_row.sequence).limit(_limit)


_IN_SNAPSHOT: Final = {
    (has_old, has_begun): _in_snapshot(has_old=has_old, has_begun=has_begun)
    for has_old in (False, True)
    for has_begun in (False, True)
}


def tell(connection: Connection, app_id: str, ended: Sequence[Any], cause: Cause) -> None:
    """Write of each of these sessions that ``cause`` was its end, in the transaction that there is."""
    if not ended:
        return
    values = asdict(cause) | {"app_id": app_id}
    rows = [{"handle": row.handle, "user_id": row.user_id, "tenant_id": row.tenant_id, **values} for row in ended]
    if connection.dialect.name == "postgresql":
        connection.execute(_INSERT.values(transaction_id=current_transaction), rows)
        connection.execute(_NOTIFY, {"of_app_id": app_id})
    else:
        connection.execute(_INSERT, rows)


def read_endings(connection: Connection, app_id: str, after: str | None, limit: int) -> EndingsPage:
    """See the interface, and the top of this module for what a place is."""
    if is_mysql(connection):
        return _read_mysql(connection, app_id, after, limit)
    if connection.dialect.name == "postgresql":
        return _read_postgres(connection, app_id, after, limit)
    reached = read_number(after)
    values = {"of_app_id": app_id, "after": reached, "at_most": limit}
    rows: Sequence[Any] = connection.execute(_AFTER_NUMBER, values).all()
    place = str(rows[-1][0] if rows else reached)
    return EndingsPage([Ending(*row[1:]) for row in rows], place, len(rows) < limit)


def purge_endings(connection: Connection, app_id: str, now: int) -> int:
    """See the interface."""
    return connection.execute(_PURGE, {"of_app_id": app_id, "now": now}).rowcount


def _read_postgres(connection: Connection, app_id: str, after: str | None, limit: int) -> EndingsPage:
    then, old, new, reached = _parse_snapshots(after)
    values = {"of_app_id": app_id, "at_most": limit, "old": old, "new": new, "reached": reached}
    rows: Sequence[Any] = connection.execute(_IN_SNAPSHOT[old is not None, new is not None], values).all()
    server, current, is_replica = rows[0][:3]
    if is_replica:
        raise RuntimeError("this PostgreSQL server is a replica, which may not have seen the latest endings")
    if then not in (None, server):
        return _read_postgres(connection, app_id, None, limit)
    found = [row[3:] for row in rows if row.sequence is not None]
    is_last = len(found) < limit
    now = new or current
    parts = [server, now] if is_last else [server, old or "", now, found[-1][0]]
    return EndingsPage([Ending(*row[1:]) for row in found], "/".join(map(str, parts)), is_last)


def _parse_snapshots(place: str | None) -> tuple[str | None, str | None, str | None, int]:
    """The server; the old snapshot; and, on the way from it to the new one, that, and how far we have come. Of a place
    that another kind of store gave, which was here before this one: nothing."""
    match (place or "").split("/"):
        case [then, old] if _SNAPSHOT_TEXT.fullmatch(old):
            return then, old, None, 0
        case [then, old, new, reached] if _SNAPSHOT_TEXT.fullmatch(new):
            return then, old or None, new, read_number(reached)
        case _:
            return None, None, None, 0


def _read_mysql(connection: Connection, app_id: str, after: str | None, limit: int) -> EndingsPage:
    server = connection.execute(_SERVER_MYSQL).scalar_one()
    name, _, seen = (after or "").rpartition("/")
    highest, still_open = _parse_numbers(seen) if name == server and _NUMBERS_TEXT.fullmatch(seen) else (0, [])
    values = {"after": highest, "open": still_open, "at_most": limit}
    rows: Sequence[Any] = connection.execute(_AFTER_NUMBER_OR_OPEN, values).all()
    place = f"{server}/{_write_numbers(rows, highest, still_open)}"
    return EndingsPage([Ending(*row[1:-1]) for row in rows if row.app_id == app_id], place, len(rows) < limit)


def _parse_numbers(text: str) -> tuple[int, list[int]]:
    highest, *still_open = map(int, text.split(","))
    return highest, still_open


def _write_numbers(rows: Sequence[Any], highest: int, still_open: Sequence[int]) -> str:
    come = {row.sequence for row in rows}
    left = [number for number in still_open if number not in come]
    skipped = _skipped(sorted(number for number in come if number > highest), highest)
    return ",".join(map(str, [max(come | {highest}), *[*left, *skipped][-OPEN_AT_MOST:]]))


def _skipped(come: Sequence[int], highest: int) -> list[int]:
    """The newest numbers above ``highest`` that were passed over. By what has come, not number by number: one that is
    still open may lie before thousands that are not."""
    gaps = reversed(list(pairwise([highest, *come])))
    return list(islice((number for low, high in gaps for number in range(high - 1, low, -1)), OPEN_AT_MOST))[::-1]
