"""Steps for several sessions in one statement: what that takes once is nearly what it would take for each."""
# ruff: noqa: D103 - what each function promises is written in the interface, and only there

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, cast

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    LargeBinary,
    String,
    Text,
    any_,
    bindparam,
    func,
    select,
    true,
    update,
)
from sqlalchemy.types import TypeEngine

from tallystick.storage.sql.direct import Direct, Lent
from tallystick.storage.sql.schema import sessions
from tallystick.storage.sql.statements import ARE_THEY, HANDLES_AT_ONCE, WHOLE_ROWS
from tallystick.types import LineStep, SessionRow

BATCHED: Final = {
    ("postgresql", "psycopg"): frozenset({"load_session", "advance_line", "mark_used"}),
    ("sqlite", "aiosqlite"): frozenset({"load_session"}),
}
"""See :class:`~tallystick.storage.interface.AsyncBatchingStore`; by dialect and driver."""

_row = sessions.c
_of_app: Final = _row.app_id == bindparam("of_app_id")
_array_of_handles = bindparam("handles", type_=ARRAY(Text))
_LOAD_PART: Final = WHOLE_ROWS.where(ARE_THEY)
_LOAD: Final = {
    "postgresql": Direct(WHOLE_ROWS.where(_of_app, _row.handle == any_(_array_of_handles)), ("of_app_id", "handles")),
    "sqlite": Direct(
        WHOLE_ROWS.where(_of_app, _row.handle.in_(select(func.json_each(bindparam("handles")).table_valued("value")))),
        ("of_app_id", "handles"),
    ),
}
"""However many they are, the text is the same: it is rendered once, and the database may keep it prepared."""


def _type_of(name: str) -> TypeEngine[Any]:
    # Not as short as the column: a cast would cut it off without a word.
    return Text() if isinstance(_row[name].type, String) else _row[name].type


def _swap(names: Iterable[str], condition: ColumnElement[bool]) -> Direct:
    """For PostgreSQL: write these columns of sessions whose lines are as expected. The handles of those."""
    given = ("handle", "expected_line", *names)
    steps = (
        func.unnest(
            _array_of_handles,
            bindparam("expected_lines", type_=ARRAY(LargeBinary)),
            *(bindparam(f"new_{name}", type_=ARRAY(_type_of(name))) for name in names),
        )
        .table_valued(*given, name="steps", joins_implicitly=True)
        .render_derived()
    )
    free = (
        select(*steps.c)
        .where(_of_app, _row.handle == steps.c.handle, _row.line == steps.c.expected_line, condition)
        # Who waits for nobody holds nobody up, and is part of no deadlock.
        .with_for_update(skip_locked=True, of=sessions)
        .cte("free")
    )
    return Direct(
        update(sessions)
        .where(_of_app, _row.handle == free.c.handle)
        .values({name: free.c[name] for name in names})
        .returning(_row.handle),
        ("of_app_id", "handles", "expected_lines", *(f"new_{name}" for name in names)),
    )


_ADVANCE: Final = _swap(LineStep.__struct_fields__, true())
_MARK: Final = _swap(("used_at", "expires_at"), _row.used_at.is_(None))


def load_sessions(connection: Connection | Lent, app_id: str, handles: Sequence[str]) -> list[SessionRow]:
    wanted = list(dict.fromkeys(handles))
    dialect = connection.dialect.name
    if dialect not in _LOAD:
        return _load_in_parts(cast("Connection", connection), app_id, wanted)
    values = {"of_app_id": app_id, "handles": json.dumps(wanted) if dialect == "sqlite" else wanted}
    return [SessionRow(*each) for each in _LOAD[dialect].fetch_all(connection, values)]


def _load_in_parts(connection: Connection, app_id: str, wanted: Sequence[str]) -> list[SessionRow]:
    found: list[SessionRow] = []
    for start in range(0, len(wanted), HANDLES_AT_ONCE):
        values = {"of_app_id": app_id, "handles": wanted[start : start + HANDLES_AT_ONCE]}
        found += [SessionRow(*each) for each in connection.execute(_LOAD_PART, values)]
    return found


def advance_lines(connection: Connection | Lent, app_id: str, moves: Sequence[tuple[str, bytes, LineStep]]) -> set[str]:
    handles, lines, news = zip(*moves, strict=True)
    new = {f"new_{name}": [getattr(step, name) for step in news] for name in LineStep.__struct_fields__}
    return _carry_out(_ADVANCE, connection, app_id, handles, lines, new)


def mark_all_used(connection: Connection | Lent, app_id: str, marks: Sequence[tuple[str, bytes, int, int]]) -> set[str]:
    handles, lines, used, ends = zip(*marks, strict=True)
    return _carry_out(
        _MARK, connection, app_id, handles, lines, {"new_used_at": list(used), "new_expires_at": list(ends)}
    )


def _carry_out(
    swap: Direct,
    connection: Connection | Lent,
    app_id: str,
    handles: Iterable[str],
    lines: Iterable[bytes],
    new: Mapping[str, object],
) -> set[str]:
    values = {"of_app_id": app_id, "handles": list(handles), "expected_lines": list(lines), **new}
    return {handle for (handle,) in swap.fetch_all(connection, values)}
