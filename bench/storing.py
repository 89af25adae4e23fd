"""What an operation costs the client in the driver, and in our store above it: `.venv/bin/python bench/storing.py`."""

from __future__ import annotations

import argparse
import gc
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]  # for the servers of the tests

import bare
import filling
import load
import report

from tallystick import Sessions
from tallystick.storage.interface import SessionStore
from tallystick.storage.opening import open_store
from tests.servers import run_postgres

TITLE = "Storing"
ROUNDS, BATCH, SESSIONS = 25, 100, 1000
OPERATIONS = ("load", "list", "create", "refresh")
ALGORITHMS = ("RS256", "ES256", "EdDSA")

Run = Callable[[int], object]


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Measure the processor time that one operation takes its client: the bare driver with its own "
        "pool, our store on the same statement, and the whole of a sign-in and a refresh by algorithm."
    )
    parser.add_argument("--quick", action="store_true", help="a look; writes nothing")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"how often each has its turn ({ROUNDS})")
    options = parser.parse_args()
    stores = []
    for name, serve in (("sqlite", _serve_sqlite), ("postgresql", _serve_postgres)):
        with serve() as url:
            stores.append({"name": name, "operations": _measure_store(url, options.rounds)})
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
def _serve_sqlite() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as directory:
        yield f"sqlite:///{directory}/sessions.db"


@contextmanager
def _serve_postgres() -> Iterator[str]:
    with run_postgres() as server:
        yield server.url


def _measure_store(url: str, rounds: int) -> dict[str, Any]:
    store = open_store(url, migrate=True)
    store.open()
    for number in range(1, SESSIONS + 1):
        store.insert_session(filling.row_of(number, SESSIONS))
    with bare.calls(url, SESSIONS, 1) as theirs:
        samples = _take_turns(_in_turn(store, theirs), rounds)
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


def _in_turn(store: SessionStore, theirs: dict[str, Run]) -> dict[Any, Run]:
    ours = {what: load.call(store, what, SESSIONS) for what in OPERATIONS}
    return {(who, what): found[what] for who, found in (("store", ours), ("driver", theirs)) for what in OPERATIONS}


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
        "The processor time that a statement takes its client: psycopg with its own pool, and sqlite3, which has "
        "none, with the statement as text, and our store, which takes a connection from SQLAlchemy's pool for each "
        f"and makes an object of the row. The same table; {section['rounds']} rounds of {section['batch']}, in turns. "
        "Waiting is not counted.",
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
