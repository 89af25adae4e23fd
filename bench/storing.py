"""What an operation costs the client in the driver, and in our store above it: `.venv/bin/python bench/storing.py`."""

from __future__ import annotations

import argparse
import gc
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import quantiles
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]  # for the servers of the tests

import filling
import psycopg
import report

from tallystick import Sessions
from tallystick.storage.opening import open_store
from tallystick.types import SessionRow
from tests.servers import run_postgres

TITLE = "Storing"
ROUNDS, BATCH, SESSIONS = 25, 100, 1000
COLUMNS = SessionRow.__struct_fields__
STEP = ("generation", "line", "previous", "used_at", "expires_at", "refreshed_at", "user_agent", "address")
OPERATIONS = ("load", "create", "refresh")
ALGORITHMS = ("RS256", "ES256", "EdDSA")

Run = Callable[[int], object]


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Measure the processor time that one operation takes its client: the bare driver with one "
        "connection, our store on the same statement, and the whole of a sign-in and a refresh by algorithm."
    )
    parser.add_argument("--quick", action="store_true", help="a look; writes nothing")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"how often each has its turn ({ROUNDS})")
    options = parser.parse_args()
    stores = []
    for name, serve in (("sqlite", _serve_sqlite), ("postgresql", _serve_postgres)):
        with serve() as (url, connect):
            stores.append({"name": name, "operations": _measure_store(url, connect, options.rounds)})
    section = {
        **report.describe_run(
            options.rounds, BATCH, is_pinned=False, measured=("tallystick", "SQLAlchemy", "psycopg", "cryptography")
        ),
        "stores": stores,
        "algorithms": _measure_algorithms(options.rounds),
    }
    lines = _describe(section)
    print("\n".join(lines))
    if not options.quick:
        report.put_section(report.environment.HERE, TITLE, section, "\n".join([f"## {TITLE}", "", *lines, ""]))


@contextmanager
def _serve_sqlite() -> Iterator[tuple[str, Callable[[], Any]]]:
    with tempfile.TemporaryDirectory() as directory:
        path = f"{directory}/sessions.db"
        yield f"sqlite:///{path}", lambda: sqlite3.connect(path, isolation_level=None)


@contextmanager
def _serve_postgres() -> Iterator[tuple[str, Callable[[], Any]]]:
    with run_postgres() as server:
        plain = server.url.replace("postgresql+psycopg://", "postgresql://")
        yield server.url, lambda: psycopg.connect(plain, autocommit=True)


def _measure_store(url: str, connect: Callable[[], Any], rounds: int) -> dict[str, Any]:
    store = open_store(url, migrate=True)
    store.open()
    for number in range(1, SESSIONS + 1):
        store.insert_session(filling.row_of(number, SESSIONS))
    connection = connect()
    ours = _with_store(store)
    theirs = _with_driver(connection, "?" if isinstance(connection, sqlite3.Connection) else "%s")
    samples = _take_turns(
        {(who, what): run for who, found in (("store", ours), ("driver", theirs)) for what, run in found.items()},
        rounds,
    )
    connection.close()
    store.close()
    return {
        what: {
            "driver_us": _quartiles(samples["driver", what]),
            "store_us": _quartiles(samples["store", what]),
            "ratio": _quartiles(
                [mine / its for mine, its in zip(samples["store", what], samples["driver", what], strict=True)]
            ),
        }
        for what in OPERATIONS
    }


def _with_store(store: Any) -> dict[str, Run]:
    def refresh(number: int) -> None:
        step = filling.step_of(number, random.getrandbits(20))
        store.advance_line(filling.APP, filling.handle_of(number), filling.line_of(number), step)

    return {
        "load": lambda number: store.load_session(filling.APP, filling.handle_of(number)),
        "create": lambda number: store.insert_session(_new_row(number)),
        "refresh": refresh,
    }


def _with_driver(connection: Any, mark: str) -> dict[str, Run]:
    """The same statements, as somebody would write them for this driver."""
    table, cursor = "tallystick_sessions", connection.cursor()
    load = f"SELECT {', '.join(COLUMNS)} FROM {table} WHERE app_id = {mark} AND handle = {mark}"
    create = f"INSERT INTO {table} ({', '.join(COLUMNS)}) VALUES ({', '.join([mark] * len(COLUMNS))})"
    assigned = ", ".join(f"{name} = {mark}" for name in STEP)
    advance = f"UPDATE {table} SET {assigned} WHERE app_id = {mark} AND handle = {mark} AND line = {mark}"

    def refresh(number: int) -> None:
        step = filling.step_of(number, random.getrandbits(20))
        values = [getattr(step, name) for name in STEP]
        cursor.execute(advance, (*values, filling.APP, filling.handle_of(number), filling.line_of(number)))

    def insert(number: int) -> None:
        row = _new_row(number)
        cursor.execute(create, tuple(getattr(row, name) for name in COLUMNS))

    return {
        "load": lambda number: cursor.execute(load, (filling.APP, filling.handle_of(number))).fetchone(),
        "create": insert,
        "refresh": refresh,
    }


def _new_row(number: int) -> SessionRow:
    return replace(filling.row_of(number, SESSIONS), handle=f"{random.getrandbits(128):032x}")


def _measure_algorithms(rounds: int) -> list[dict[str, Any]]:
    """A sign-in, a refresh and the verification of a token not seen before, without a database."""
    runs: dict[Any, Run] = {}
    for algorithm in ALGORITHMS:
        sessions = Sessions("memory://", secret="x" * 40, algorithm=algorithm, verified_token_cache=0).open()
        first = sessions.create_new_session("user", filling_payload())
        runs |= {
            (algorithm, "create"): lambda n, s=sessions: s.create_new_session(f"user-{n}", filling_payload()),
            (algorithm, "refresh"): lambda _n, s=sessions, t=first.refresh_token.token: s.refresh_session(t),
            (algorithm, "verify"): lambda _n, s=sessions, t=first.access_token.token: s.get_session(t),
        }
    samples = _take_turns(runs, rounds)
    return [
        {
            "algorithm": algorithm,
            **{what: _quartiles(samples[algorithm, what]) for what in ("create", "refresh", "verify")},
        }
        for algorithm in ALGORITHMS
    ]


def filling_payload() -> dict[str, Any]:
    return {"roles": ["editor", "reviewer"], "plan": "team", "locale": "en-GB"}


def _take_turns(runs: dict[Any, Run], rounds: int) -> dict[Any, list[float]]:
    """In random order; µs of this thread's processor time for one."""
    dice, order = random.Random(20), list(runs)  # noqa: S311 - an order, no secret
    samples: dict[Any, list[float]] = {key: [] for key in runs}
    for turn in range(rounds + 1):
        dice.shuffle(order)
        for key in order:
            numbers = [random.randint(1, SESSIONS) for _ in range(BATCH)]  # noqa: S311 - as above
            gc.collect()
            begun = time.thread_time_ns()
            for number in numbers:
                runs[key](number)
            spent = time.thread_time_ns() - begun
            if turn:
                samples[key].append(spent / BATCH / 1000)
    return samples


def _quartiles(samples: Sequence[float]) -> dict[str, float]:
    low, middle, high = quantiles(samples, n=4, method="inclusive")
    return {"median": round(middle, 2), "q1": round(low, 2), "q3": round(high, 2)}


def _describe(section: dict[str, Any]) -> list[str]:
    head = ("store", "operation", "driver µs", "our store µs", "ratio", "quartiles")
    rows = [
        (
            store["name"],
            what,
            f"{found['driver_us']['median']:.0f}",
            f"{found['store_us']['median']:.0f}",
            f"{found['ratio']['median']:.2f}",
            f"{found['ratio']['q1']:.2f} to {found['ratio']['q3']:.2f}",
        )
        for store in section["stores"]
        for what, found in store["operations"].items()
    ]
    signed = [
        (one["algorithm"], *(f"{one[what]['median']:.0f}" for what in ("create", "refresh", "verify")))
        for one in section["algorithms"]
    ]
    return [
        "The processor time that a statement takes its client: sqlite3 and psycopg with one connection and the "
        "statement as text, and our store, which takes a connection from SQLAlchemy's pool for each. The same "
        f"statements on the same table; {section['rounds']} rounds of {section['batch']}, in turns. Waiting is not "
        "counted.",
        "",
        *report.table([head, *rows], is_markdown=True),
        "",
        "A sign-in, a refresh (a reissue, which writes nothing) and the verification of a token not seen before, µs, "
        "with the sessions in memory: what the algorithm costs whoever signs, and whoever verifies.",
        "",
        *report.table([("algorithm", "create", "refresh", "verify"), *signed], is_markdown=True),
        "",
        *report.table([("", ""), *report.circumstances(section)], is_markdown=True),
    ]


if __name__ == "__main__":
    main()
