"""The store's own statements, run by PostgreSQL's own load generator on the same table."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import filling
import psycopg
from sqlalchemy.dialects.postgresql import psycopg as dialect
from sqlalchemy.sql.expression import ClauseElement

from tallystick.storage.sql import statements
from tallystick.types import SessionRow
from tests.servers import find_postgres_programs

OPERATIONS = ("load", "refresh", "list", "create", "purge")
PURGED_AT_ONCE = 1000

_STATEMENTS: dict[str, ClauseElement] = {
    "load": statements._LOAD_SESSION.statement,
    "refresh": statements._ADVANCE_LINE.statement,
    "list": statements._LIST_HANDLES_OF_USER[False].statement,
    "create": statements._INSERT_SESSION,
    "purge": statements._PURGE_SESSIONS.statement,
}


def run(url: str, operation: str, size: int, clients: int, seconds: int) -> float:
    """How long one operation takes a client, in µs of the clock: clients * seconds / operations."""
    return run_statement(
        url, _statement(operation, size, ":i"), size, clients, seconds, is_counted=operation == "purge"
    )


def run_statement(url: str, statement: str, size: int, clients: int, seconds: int, *, is_counted: bool) -> float:
    """The same of a statement in which ``:i`` is the number of a session; for so many seconds, or so many times."""
    with tempfile.TemporaryDirectory() as directory:
        script = Path(directory) / "script.sql"
        script.write_text(f"\\set i random(1, {size})\n{statement};\n", "utf-8")
        command = [find_postgres_programs() / "pgbench", "-n", "-M", "prepared", "-c", str(clients), "-j", "2"]
        # A purge is asked for a few times only: there is only so much to purge.
        length = ["-t" if is_counted else "-T", str(seconds)]
        done = subprocess.run([*command, *length, "-f", script, url], capture_output=True, text=True, check=False)
    found = re.search(r"tps = ([\d.]+)", done.stdout)
    if done.returncode or found is None:
        raise RuntimeError(
            f"pgbench failed at {statement[:40]} ({done.returncode}):\n{done.stdout[-1000:]}{done.stderr[-1000:]}"
        )
    return clients * 1e6 / float(found[1])


def buffers(url: str, operation: str, size: int, samples: int) -> float:
    """How many of PostgreSQL's pages one operation touches, in the mean."""
    total = 0
    with psycopg.connect(url, autocommit=True) as connection:
        for sample in range(samples):
            number = 1 + sample * 7919 % size
            plan: Any = connection.execute(
                f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {_statement(operation, size, str(number))}"
            ).fetchone()
            answer = plan[0] if isinstance(plan[0], list) else json.loads(plan[0])
            total += sum(answer[0]["Plan"][f"Shared {kind} Blocks"] for kind in ("Hit", "Read"))
    return total / samples


def purge_by(condition: str) -> str:
    """The purging statement, had it this condition."""
    return (
        "WITH picked AS (SELECT handle FROM tallystick_sessions WHERE app_id = 'public' AND "
        f"{condition} LIMIT {PURGED_AT_ONCE} FOR UPDATE SKIP LOCKED) DELETE FROM tallystick_sessions "
        "WHERE app_id = 'public' AND handle IN (SELECT handle FROM picked) RETURNING handle"
    )


def counters(url: str) -> tuple[int, int, int]:
    """How many rows were updated ever, how many of them heap-only, and how many bytes went to the log ahead."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT pg_stat_force_next_flush()")
        found: Any = connection.execute(
            "SELECT n_tup_upd, n_tup_hot_upd, wal_bytes::bigint FROM pg_stat_user_tables, pg_stat_wal "
            "WHERE relname = 'tallystick_sessions'"
        ).fetchone()
    updated, in_place, written = found
    return updated, in_place, written


def size_of(url: str, relation: str) -> int:
    """In bytes."""
    with psycopg.connect(url, autocommit=True) as connection:
        found: Any = connection.execute("SELECT pg_relation_size(%s::regclass)", (relation,)).fetchone()
    return int(found[0])


def _statement(operation: str, size: int, number: str) -> str:
    """The statement with the values of the session of a number, where the store would bind its parameters."""
    users = max(1, size // filling.SESSIONS_OF_A_USER)
    text_of = {"number": f"({number})::bigint::text", "line": f"convert_to(md5('l' || ({number})::bigint), 'UTF8')"}
    moment = filling.LIFE // filling.MOMENTS
    end = f"{filling.NOW + filling.LIFE} + mod({number}, {filling.MOMENTS}) * {moment}::bigint"
    values = {
        "of_app_id": "'public'",
        "of_handle": f"md5({text_of['number']})::uuid::text",
        "of_user_id": f"'user-' || ({number})::bigint % {users}",
        "now": str(filling.NOW),
        "at_most": str(PURGED_AT_ONCE),
        "expected_line": text_of["line"],
        "app_id": "'public'",
        "tenant_id": "'public'",
        "handle": "gen_random_uuid()",
        "user_id": f"'user-' || ({number})::bigint % {users}",
    }
    moving = {
        "generation": "2",
        "line": text_of["line"],
        "previous": text_of["line"],
        "used_at": "NULL",
        # As of refreshes at different moments: the index on this, where there is one, would have to follow.
        "expires_at": f"{end} + floor(random() * 1000000)::bigint",
        "refreshed_at": str(filling.NOW),
        "user_agent": "NULL",
        "address": "NULL",
    }
    rest = {
        "nonce": "'\\x00112233445566778899aabbccddeeff'::bytea",
        "jwt_payload": f"'{filling.JSON}'",
        "session_data": f"'{filling.JSON}'",
        "created_at": str(filling.NOW),
        "absolute_expires_at": str(filling.NOW + 3 * filling.LIFE),
    }
    known = values | moving | rest | {f"new_{name}": value for name, value in moving.items()}
    given = list(SessionRow.__struct_fields__) if operation == "create" else None
    compiled = str(_STATEMENTS[operation].compile(dialect=dialect.dialect(), column_keys=given))
    return re.sub(r"%\((\w+)\)s(?:::\w+(?: VARYING)?)?", lambda match: known[match[1]], compiled)
