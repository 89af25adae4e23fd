"""How soon a revoked session is refused everywhere, what knowing it costs each verification, and how much memory.

``make bench-revocation`` takes a million sessions and eight verifying processes on each store (``--sessions``,
``--processes``, ``--stores`` for others); ``--quick`` takes less than half a minute. Its last line has the figures; it
exits with 1 where a session was accepted later than the lease after its revocation. A full run writes RESULTS.md.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import tracemalloc
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]  # for the servers of the tests

import filling
import report

from tallystick import Config, Sessions
from tallystick.protocol.revocation import RevocationView
from tallystick.storage.opening import open_store
from tallystick.types import Ending
from tests.mariadb_servers import run_mariadb
from tests.redis_servers import run_redis
from tests.revocation.fleet import Fleet
from tests.servers import run_postgres

LEASE_MS = Config().feed_lease.total_seconds() * 1000
STORES = ("sqlite", "postgresql", "redis", "mariadb")
TITLE = "Revocation"
BATCH = 20
"""So many sessions at a time are verified, over and over, and then revoked one after another."""
A_SECOND = 40
SECRET = "x" * 48
POSTGRES = {"shared_buffers": "1GB", "max_wal_size": "8GB"}
MARIADB = ("innodb_buffer_pool_size = 2147483648", "innodb_log_file_size = 1073741824")
"""So that a million sessions are made in a minute or so, and not in six."""


def main() -> None:
    options = _parse()
    if options.quick:
        options.stores, options.sessions, options.processes, options.revocations = ("sqlite", "postgresql"), 2000, 2, 40
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None  # before we load it ourselves
    cost = measure_cost(50 if options.quick else 300)
    memory = measure_memory(20_000 if options.quick else 200_000)
    delays = {}
    for store in options.stores:
        print(f"{store}: {options.sessions:,} sessions, {options.processes} verifying processes ...", flush=True)
        with run_store(store) as url:
            began = time.monotonic()
            fill(url, options.sessions)
            filled = time.monotonic()
            delays[store] = measure_delays(url, options)
            took = f"filled in {filled - began:.0f} s, measured in {time.monotonic() - filled:.0f} s"
        print(f"  {_one(delays[store])} ({took})", flush=True)
    section = {"delays": delays, "cost": cost, "memory": memory, "options": _plain(options)}
    if not options.quick and not options.no_results:
        section["run"] = report.describe_run(options.revocations, 1, is_pinned=False, measured=("tallystick",))
        section["run"]["machine"]["load_average"] = load and round(load, 2)
        report.put_section(ROOT / "bench", TITLE, section, as_markdown(section))
    late = sum(found["late"] for found in delays.values())
    figures = "; ".join(f"{store} {_one(found)}" for store, found in delays.items())
    print(
        f"{figures}; verification {cost['without']:.2f} µs without the feed, {cost['empty']:.2f} with it, "
        f"{cost['full']:.2f} with 100,000 entries; {memory:.0f} MB per million entries; {late} late"
    )
    sys.exit(1 if late else 0)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two stores, few sessions, two processes")
    parser.add_argument("--sessions", type=int, default=1_000_000, help="how many others there are (%(default)s)")
    parser.add_argument("--processes", type=int, default=8, help="how many verify (%(default)s)")
    parser.add_argument("--revocations", type=int, default=400, help=f"how many, at {A_SECOND} a second (%(default)s)")
    parser.add_argument("--stores", nargs="+", choices=STORES, default=STORES)
    parser.add_argument("--no-results", action="store_true", help="print only")
    return parser.parse_args()


def _plain(options: argparse.Namespace) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(options).items()}


@contextmanager
def run_store(name: str) -> Iterator[str]:
    if name == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            yield f"sqlite:///{folder}/sessions.db"
    elif name == "postgresql":
        with run_postgres(**POSTGRES) as server:
            yield server.url
    elif name == "redis":
        with run_redis() as server:
            yield server.url
    else:
        with run_mariadb() as server:
            for setting in MARIADB:
                filling.execute(server.url, f"SET GLOBAL {setting}")
            yield server.url


def measure_delays(url: str, options: argparse.Namespace) -> dict[str, Any]:
    with Fleet(url, options.processes) as fleet:
        for start in range(0, options.revocations, BATCH):
            pairs = fleet.sign_in(min(BATCH, options.revocations - start))
            began = time.monotonic()
            for number, pair in enumerate(pairs):
                time.sleep(max(0.0, began + number / A_SECOND - time.monotonic()))
                fleet.revoke(*pair)
            fleet.wait(60)
        ms = [max(0.0, delay) * 1000 for delay in fleet.delays()]
    return {
        "p50": ms[len(ms) // 2],
        "p99": ms[len(ms) * 99 // 100],
        "max": ms[-1],
        "count": len(ms),
        "late": sum(delay > LEASE_MS for delay in ms),
    }


def fill(url: str, count: int) -> None:
    """Keep so many sessions, which nobody uses."""
    store = open_store(url, migrate=True)
    store.open()
    store.close()
    filling.fill(url, 1, count, count, end=filling.NOW + filling.LIFE, on_step=lambda _made: None)
    filling.settle(url)


def measure_cost(rounds: int) -> dict[str, float]:
    """Medians of turns of 200 verifications each, in turn, of a token that was seen before."""
    contenders = {
        "without": Sessions("memory://", secret=SECRET),
        "empty": Sessions("memory://", secret=SECRET, instant_revocation=True).open(),
        "full": Sessions("memory://", secret=SECRET, instant_revocation=True).open(),
    }
    contenders["full"]._deployment.view.apply(_endings(100_000), contenders["full"]._deployment.steady())
    tokens = {
        name: one.create_new_session("user", {"role": "a"}).access_token.token for name, one in contenders.items()
    }
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, sessions in contenders.items():
            verify, token = sessions.get_session, tokens[name]
            began = time.perf_counter()
            for _ in range(200):
                verify(token)
            samples[name].append((time.perf_counter() - began) / 200 * 1e6)
    for sessions in contenders.values():
        sessions.close()
    return {name: median(found) for name, found in samples.items()}


def _endings(count: int) -> Iterator[Ending]:
    return (Ending(str(uuid.uuid4()), "user", "public", "revoked", 0, 0) for _ in range(count))


def measure_memory(count: int) -> float:
    """In MB for a million entries, handles and all."""
    view = RevocationView(lease=2, keeps=3900)
    tracemalloc.start()
    view.apply(_endings(count), 0)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return used / len(view)


def _one(found: dict[str, Any]) -> str:
    return f"p50 {found['p50']:.1f} p99 {found['p99']:.1f} max {found['max']:.1f} ms"


def as_markdown(section: dict[str, Any]) -> str:
    options, cost, run = section["options"], section["cost"], section["run"]
    rows = [
        "| {} | {:.1f} | {:.1f} | {:.1f} | {:,} | {} |".format(
            store, *(found[name] for name in ("p50", "p99", "max", "count", "late"))
        )
        for store, found in section["delays"].items()
    ]
    head = ["| store | p50 ms | p99 ms | max ms | refusals | late |", "| --- | ---: | ---: | ---: | ---: | ---: |"]
    paragraphs = [
        "From the return of `revoke_session` to the last verification that began and accepted the session, in any of "
        f"{options['processes']} processes that verify all the while, with {options['sessions']:,} other sessions in "
        f"the store; {options['revocations']} revocations at {A_SECOND} a second; `instant_revocation` with its "
        "defaults. A delay of 0: nobody accepted it any more when the call returned. SQLite and MariaDB are looked at "
        "every 500 ms. *Late* is later than the lease of 2 s.",
        "\n".join([*head, *rows]),
        f"A verification of a token that was seen before takes {cost['without']:.2f} µs without the feed, "
        f"{cost['empty']:.2f} µs with it, {cost['full']:.2f} µs with 100,000 entries in the view (medians, in turn). "
        f"A view takes {section['memory']:.0f} MB for each million entries.",
        f"{run['date']}; {run['machine']['cpu']}, {run['machine']['cores']} cores for all of it, load average "
        f"{run['machine']['load_average']}; {run['python']}; commit {run['commit']}.",
    ]
    return "\n\n".join([f"## {TITLE}", *paragraphs])


if __name__ == "__main__":
    main()
