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
from tests.servers import find_postgres_programs

OPERATIONS = ("load", "refresh", "list", "create", "purge")
PURGED_AT_ONCE = 1000

_STATEMENTS: dict[str, ClauseElement] = {
    "load": statements._LOAD_SESSION,
    "refresh": statements._ADVANCE_LINE,
    "list": statements._LIST_HANDLES_OF_USER[False],
    "create": statements._INSERT_SESSION,
    "purge": statements._PURGE_SESSIONS.statement,
}


def run(url: str, operation: str, size: int, clients: int, seconds: int) -> float:
    """How long one operation takes a client, in µs of the clock: clients * seconds / operations."""
    with tempfile.TemporaryDirectory() as directory:
        script = Path(directory) / "script.sql"
        script.write_text(f"\\set i random(1, {size})\n{_statement(operation, size, ':i')};\n", "utf-8")
        command = [find_postgres_programs() / "pgbench", "-n", "-M", "prepared", "-c", str(clients), "-j", "2"]
        # A purge is asked for a few times only: there is only so much to purge.
        length = ["-t", str(seconds)] if operation == "purge" else ["-T", str(seconds)]
        done = subprocess.run([*command, *length, "-f", script, url], capture_output=True, text=True, check=False)
    found = re.search(r"tps = ([\d.]+)", done.stdout)
    if done.returncode or found is None:
        raise RuntimeError(f"pgbench failed at {operation}:\n{done.stderr[-2000:]}")
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


def _statement(operation: str, size: int, number: str) -> str:
    """The statement with the values of the session of a number, where the store would bind its parameters."""
    users = max(1, size // filling.SESSIONS_OF_A_USER)
    text_of = {"number": f"({number})::bigint::text", "line": f"convert_to(md5('l' || ({number})::bigint), 'UTF8')"}
    end = filling.NOW + filling.LIFE
    agent = "'Mozilla/5.0 (X11; Linux x86_64; rv:140.0)'"
    values = {
        "of_app_id": "'public'",
        "of_handle": f"md5({text_of['number']})",
        "of_user_id": f"'user-' || ({number})::bigint % {users}",
        "now": str(filling.NOW),
        "at_most": str(PURGED_AT_ONCE),
        "expected_line": text_of["line"],
        "app_id": "'public'",
        "tenant_id": "'public'",
        "handle": "md5(random()::text || clock_timestamp()::text)",
        "user_id": f"'user-' || ({number})::bigint % {users}",
    }
    moving = {
        "generation": "2",
        "line": text_of["line"],
        "previous": text_of["line"],
        "used_at": "NULL",
        "expires_at": str(end),
        "refreshed_at": str(filling.NOW),
        "user_agent": agent,
        "address": "'192.0.2.77'",
    }
    rest = {
        "nonce": "'\\x00112233445566778899aabbccddeeff'::bytea",
        "jwt_payload": f"'{filling.JSON}'",
        "session_data": f"'{filling.JSON}'",
        "created_at": str(filling.NOW),
        "absolute_expires_at": str(end + filling.LIFE),
    }
    known = values | moving | rest | {f"new_{name}": value for name, value in moving.items()}
    compiled = str(_STATEMENTS[operation].compile(dialect=dialect.dialect()))
    return re.sub(r"%\((\w+)\)s(?:::\w+(?: VARYING)?)?", lambda match: known[match[1]], compiled)
