"""Very many sessions, quickly: made inside the database where it can count, each told by its number alone."""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import create_engine, text

from tallystick.storage.redis.layout import session_key, user_key, write_session
from tallystick.types import LineStep, SessionRow

SESSIONS_OF_A_USER = 4
PER_STEP = 100_000
LIFE = 100 * 86_400_000
MOMENTS = 8640
"""Sessions end at so many moments, one after another, within :data:`LIFE`."""
NOW = time.time_ns() // 1_000_000
APP = "public"
JSON = '{"text":"' + "x" * 189 + '"}'
"""200 bytes of it, and a session has two."""

_COLUMNS = (
    "app_id, tenant_id, handle, user_id, generation, line, previous, used_at, nonce, jwt_payload, session_data, "
    "created_at, expires_at, absolute_expires_at, refreshed_at, user_agent, address"
)
_SELECT = (
    "'public', 'public', {handle}, {user}, 1, {line}, {previous}, NULL, {nonce}, '{json}', '{json}', "
    f"{NOW}, {{end}} + {{moment}} * {LIFE // MOMENTS}, {NOW + 3 * LIFE}, {NOW}, NULL, NULL"
)


_UUID_PARTS = ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12))


def handle_of(number: int) -> str:
    return str(UUID(_md5(f"{number}")))


def user_of(number: int, size: int) -> str:
    return f"user-{number % max(1, size // SESSIONS_OF_A_USER)}"


def line_of(number: int) -> bytes:
    return _md5(f"l{number}").encode("ascii")


def end_of(number: int, first: int = NOW + LIFE) -> int:
    return first + number % MOMENTS * (LIFE // MOMENTS)


def row_of(number: int, size: int) -> SessionRow:
    """What the database makes of the number, too."""
    return SessionRow(
        app_id=APP,
        tenant_id="public",
        handle=handle_of(number),
        user_id=user_of(number, size),
        generation=1,
        line=line_of(number),
        previous=line_of(number),
        used_at=None,
        nonce=line_of(number)[:16],
        jwt_payload=JSON,
        session_data=JSON,
        created_at=NOW,
        expires_at=end_of(number),
        absolute_expires_at=NOW + 3 * LIFE,
        refreshed_at=NOW,
    )


def step_of(number: int, count: int) -> LineStep:
    """A refresh that can be repeated: the line stays, everything else is written."""
    line = line_of(number)
    return LineStep(
        generation=count,
        line=line,
        previous=line,
        used_at=None,
        expires_at=end_of(number) + count,
        refreshed_at=NOW + count,
    )


def fill(url: str, first: int, last: int, size: int, *, end: int, on_step: Callable[[int], None]) -> None:
    """Keep the sessions of these numbers, the first of which is over at ``end``, and the others later."""
    backend = url.partition(":")[0]
    for low, high in _steps(first, last):
        if backend == "sqlite":
            _fill_sqlite(url, low, high, size, end)
        elif backend == "redis":
            _fill_redis(url, low, high, size, end)
        else:
            _fill_server(url, low, high, size, end)
        on_step(high - low + 1)


def settle(url: str) -> None:
    """What the database would do by itself after a while."""
    if url.startswith("postgresql"):
        _execute(url, "VACUUM (ANALYZE) tallystick_sessions")
        _execute(url, "CHECKPOINT")
    elif url.startswith("mariadb"):
        _execute(url, "ANALYZE TABLE tallystick_sessions")
    elif url.startswith("sqlite"):
        _execute(url, "PRAGMA wal_checkpoint(TRUNCATE)")


def bytes_of(url: str, empty: int) -> dict[str, int]:
    """What all sessions take, in bytes; ``empty`` is what the store took without them."""
    if url.startswith("postgresql"):
        heap = int(_ask(url, "SELECT pg_table_size('tallystick_sessions')"))
        return {"rows": heap, "indexes": int(_ask(url, "SELECT pg_indexes_size('tallystick_sessions')"))}
    if url.startswith("mariadb"):
        where = "FROM information_schema.tables WHERE table_name = 'tallystick_sessions' AND table_schema = DATABASE()"
        rows, indexes = (int(_ask(url, f"SELECT {column} {where}")) for column in ("data_length", "index_length"))
        return {"rows": rows, "indexes": indexes}
    return {"all": footprint(url) - empty}


def footprint(url: str) -> int:
    """Of the SQLite file, or Redis's memory."""
    if url.startswith("sqlite"):
        path = Path(url.removeprefix("sqlite:///"))
        return path.stat().st_size if path.exists() else 0
    import redis  # noqa: PLC0415 - the one store's driver

    return int(redis.Redis.from_url(url).info("memory")["used_memory"]) if url.startswith("redis") else 0


def execute(url: str, statement: str) -> None:
    """Run one statement on a server."""
    _execute(url, statement)


def _steps(first: int, last: int) -> Iterator[tuple[int, int]]:
    for low in range(first, last + 1, PER_STEP):
        yield low, min(low + PER_STEP - 1, last)


def _fill_server(url: str, low: int, high: int, size: int, end: int) -> None:
    users = max(1, size // SESSIONS_OF_A_USER)
    if url.startswith("postgresql"):
        made = {
            "handle": "md5(i::text)::uuid",
            "moment": f"mod(i, {MOMENTS})::bigint",
            "user": f"'user-' || mod(i, {users})",
            "line": "convert_to(md5('l' || i), 'UTF8')",
            "previous": "convert_to(md5('l' || i), 'UTF8')",
            "nonce": "convert_to(left(md5('l' || i), 16), 'UTF8')",
        }
        source = f"generate_series({low}, {high}) AS i"
    else:
        made = {
            "handle": f"CONCAT_WS('-', {', '.join(f'SUBSTR(MD5(seq), {at}, {length})' for at, length in _UUID_PARTS)})",
            "moment": f"MOD(seq, {MOMENTS})",
            "user": f"CONCAT('user-', MOD(seq, {users}))",
            "line": "MD5(CONCAT('l', seq))",
            "previous": "MD5(CONCAT('l', seq))",
            "nonce": "LEFT(MD5(CONCAT('l', seq)), 16)",
        }
        source = f"seq_{low}_to_{high}"
    _execute(url, f"INSERT INTO tallystick_sessions ({_COLUMNS}) SELECT {_selected(made, end)} FROM {source}")


def _fill_sqlite(url: str, low: int, high: int, size: int, end: int) -> None:
    made = {
        "handle": "handle(i)",
        "moment": f"i % {MOMENTS}",
        "user": f"'user-' || i % {max(1, size // SESSIONS_OF_A_USER)}",
        "line": "CAST(md5('l' || i) AS BLOB)",
        "previous": "CAST(md5('l' || i) AS BLOB)",
        "nonce": "CAST(substr(md5('l' || i), 1, 16) AS BLOB)",
    }
    count = f"WITH RECURSIVE c(i) AS (VALUES({low}) UNION ALL SELECT i + 1 FROM c WHERE i < {high})"
    statement = f"{count} INSERT INTO tallystick_sessions ({_COLUMNS}) SELECT {_selected(made, end)} FROM c"
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        connection.create_function("handle", 1, handle_of, deterministic=True)
        connection.create_function("md5", 1, lambda value: _md5(str(value)), deterministic=True)
        connection.execute(statement)
    connection.close()


def _fill_redis(url: str, low: int, high: int, size: int, end: int) -> None:
    import redis  # noqa: PLC0415 - the one store's driver

    client = redis.Redis.from_url(url)
    for start in range(low, high + 1, 1000):
        pipeline = client.pipeline(transaction=False)
        for number in range(start, min(start + 1000, high + 1)):
            row = replace(row_of(number, size), expires_at=end_of(number, end))
            key, index = session_key(APP, row.handle), user_key(APP, row.user_id)
            pipeline.execute_command("HSET", key, *write_session(row))
            pipeline.pexpire(key, 3 * LIFE)
            pipeline.zadd(index, {row.handle: row.created_at})
            pipeline.pexpire(index, 3 * LIFE)
        pipeline.execute()
    client.close()


def _selected(made: dict[str, str], end: int) -> str:
    return _SELECT.format(json=JSON, end=end, **made)


def _ask(url: str, statement: str) -> Any:
    engine = create_engine(_with_driver(url), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        answer = connection.execute(text(statement)).scalar()
    engine.dispose()
    return answer


def _execute(url: str, statement: str) -> None:
    engine = create_engine(_with_driver(url), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()


def _with_driver(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return {"postgresql": "postgresql+psycopg", "mariadb": "mariadb+pymysql"}.get(scheme, scheme) + "://" + rest


def _md5(value: str) -> str:
    return hashlib.md5(value.encode("ascii"), usedforsecurity=False).hexdigest()
