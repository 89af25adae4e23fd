"""How soon a revoked session is refused everywhere, whatever befalls; how soon its connections close; what knowing it
costs each verification, and how much memory.

``make bench-revocation`` takes a million sessions and eight verifying processes on each store (``--sessions``,
``--processes``, ``--stores`` for others); ``--quick`` takes less than half a minute. Its last line has the figures; it
exits with 1 where a session was accepted, or a connection open, later than the lease after its revocation. A full run
writes RESULTS.md; one of some ``--parts`` keeps what is there of the others.
"""

from __future__ import annotations

import argparse
import os
import subprocess
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
from tests.revocation.sockets import measure_closings
from tests.servers import run_postgres

LEASE_MS = Config().feed_lease.total_seconds() * 1000
STORES = ("sqlite", "postgresql", "redis", "mariadb")
PARTS = ("cost", "memory", "delays", "sockets", "faults")
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
        options.sockets, options.parts = 200, [part for part in options.parts if part != "faults"]
    measured = {part: _measure(part, options) for part in options.parts}
    if not options.quick and not options.no_results:
        section = {**report.load_section(ROOT / "bench", TITLE), **measured}
        report.put_section(ROOT / "bench", TITLE, section, as_markdown(section))
    late = sum(count_late(part, found) for part, found in measured.items())
    print("; ".join([*(_figures(part, found) for part, found in measured.items()), f"{late} late"]))
    sys.exit(1 if late else 0)


def _measure(part: str, options: argparse.Namespace) -> dict[str, Any]:
    """One part, and the circumstances in which it was measured."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None  # before we load it ourselves
    found: dict[str, Any]
    match part:
        case "cost":
            found = measure_cost(50 if options.quick else 300)
        case "memory":
            found = {"mb": measure_memory(20_000 if options.quick else 200_000)}
        case "delays":
            found = {"stores": {store: measure_store(store, options) for store in options.stores}}
            found |= {name: getattr(options, name) for name in ("processes", "sessions", "revocations")}
        case "sockets":
            found = measure_sockets(options.sockets)
        case _:
            found = {"counted": count_faults()}
    run = report.describe_run(1, 1, is_pinned=False, measured=("tallystick",))
    run["machine"]["load_average"] = load and round(load, 2)
    return {**found, "run": run}


def count_late(part: str, found: dict[str, Any]) -> int:
    """How many acceptances, or connections, were late. A test that counts any has failed already."""
    match part:
        case "delays":
            return sum(store["late"] for store in found["stores"].values())
        case "sockets":
            return int(found["late"])
        case _:
            return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two stores, few sessions, two processes")
    parser.add_argument("--sessions", type=int, default=1_000_000, help="how many others there are (%(default)s)")
    parser.add_argument("--processes", type=int, default=8, help="how many verify (%(default)s)")
    parser.add_argument("--revocations", type=int, default=400, help=f"how many, at {A_SECOND} a second (%(default)s)")
    parser.add_argument("--sockets", type=int, default=5000, help="how many are open (%(default)s)")
    parser.add_argument("--stores", nargs="+", choices=STORES, default=STORES)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="(default: all)")
    parser.add_argument("--no-results", action="store_true", help="print only")
    return parser.parse_args()


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


def measure_store(store: str, options: argparse.Namespace) -> dict[str, Any]:
    print(f"{store}: {options.sessions:,} sessions, {options.processes} verifying processes ...", flush=True)
    with run_store(store) as url:
        began = time.monotonic()
        fill(url, options.sessions)
        filled = time.monotonic()
        found = measure_delays(url, options)
        took = f"filled in {filled - began:.0f} s, measured in {time.monotonic() - filled:.0f} s"
    print(f"  {_one(found)} ({took})", flush=True)
    return found


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


def measure_sockets(count: int) -> dict[str, Any]:
    print(f"postgresql: {count:,} WebSockets of a user ...", flush=True)
    with run_postgres() as server:
        closings = measure_closings(server.url, count)
    ms = [max(0.0, delay) * 1000 for delay in closings.delays]
    late = sum(delay > LEASE_MS for delay in ms)
    return {"count": count, "p50": ms[count // 2], "max": ms[-1], "late": late, "opened_in": closings.took}


def count_faults() -> dict[str, str]:
    """What the tests of faults count, by what was done."""
    print("the tests of faults ...", flush=True)
    command = [sys.executable, "-m", "pytest", "-q", "tests/revocation/test_faults.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stdout[-4000:])
    return dict(line.split(": ", 1) for line in done.stdout.splitlines() if " late acceptances, " in line)


def fill(url: str, count: int) -> None:
    """Keep so many sessions, which nobody uses."""
    store = open_store(url, migrate=True)
    store.open()
    store.close()
    filling.fill(url, 1, count, count, end=filling.NOW + filling.LIFE, on_step=lambda _made: None)
    filling.settle(url)


def measure_cost(rounds: int) -> dict[str, float]:
    """Medians of turns of 100 verifications each of a token that was seen before, in µs of processor time, and of what
    the feed adds in a round: clock speeds differ from one second to the next, and both turns of a round have the
    same."""
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
            began = time.thread_time_ns()
            for _ in range(100):
                verify(token)
            samples[name].append((time.thread_time_ns() - began) / 100 / 1000)
    for sessions in contenders.values():
        sessions.close()
    added = [empty - without for empty, without in zip(samples["empty"], samples["without"], strict=True)]
    return {name: median(found) for name, found in samples.items()} | {"added": median(added)}


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


def _figures(part: str, found: dict[str, Any]) -> str:
    match part:
        case "cost":
            return (
                f"verification {found['without']:.2f} µs without the feed, {found['empty']:.2f} with it, "
                f"{found['full']:.2f} with 100,000 entries"
            )
        case "memory":
            return f"{found['mb']:.0f} MB per million entries"
        case "delays":
            return "; ".join(f"{store} {_one(its)}" for store, its in found["stores"].items())
        case "sockets":
            return f"{found['count']:,} WebSockets closed, p50 {found['p50']:.0f} max {found['max']:.0f} ms"
        case _:
            return f"{len(found['counted'])} faults"


def as_markdown(section: dict[str, Any]) -> str:
    delays, cost, sockets = section["delays"], section["cost"], section["sockets"]
    names = ("p50", "p99", "max", "count", "late")
    rows = [
        "| {} | {:.1f} | {:.1f} | {:.1f} | {:,} | {} |".format(store, *(found[name] for name in names))
        for store, found in delays["stores"].items()
    ]
    head = ["| store | p50 ms | p99 ms | max ms | refusals | late |", "| --- | ---: | ---: | ---: | ---: | ---: |"]
    faults = [("what happens", "counted"), *section["faults"]["counted"].items()]
    paragraphs = [
        "From the return of `revoke_session` to the last verification that began and accepted the session, in any of "
        f"{delays['processes']} processes that verify all the while, with {delays['sessions']:,} other sessions in "
        f"the store; {delays['revocations']} revocations at {A_SECOND} a second; `instant_revocation` with its "
        "defaults. A delay of 0: nobody accepted it any more when the call returned. SQLite and MariaDB are looked at "
        "every 500 ms. *Late* is later than the lease of 2 s.",
        "\n".join([*head, *rows]),
        f"A verification of a token that was seen before takes {cost['without']:.2f} µs without the feed, "
        f"{cost['empty']:.2f} µs with it, {cost['full']:.2f} µs with 100,000 entries in the view (medians, in turn); "
        f"in the median of the rounds the feed adds {cost['added']:.2f} µs. "
        f"A view takes {section['memory']['mb']:.0f} MB for each million entries.",
        f"{sockets['count']:,} WebSockets of one user, open in one process of uvicorn (opened in "
        f"{sockets['opened_in']:.0f} s), are closed after `revoke_all_sessions_for_user` has returned: half of them "
        f"within {sockets['p50']:.0f} ms, the last after {sockets['max']:.0f} ms, {sockets['late']} late. PostgreSQL; "
        "server and client on the same cores.",
        "What befalls the feed, and what was accepted later than the lease after its revocation, of all that processes "
        "verified without a pause (tests/revocation):",
        "\n".join(report.table(faults, is_markdown=True)),
        "\n".join(f"- {part}: {_circumstances(section[part]['run'])}" for part in PARTS),
    ]
    return "\n\n".join([f"## {TITLE}", *paragraphs]) + "\n"


def _circumstances(run: dict[str, Any]) -> str:
    machine = run["machine"]
    return (
        f"{run['date']}; {machine['cpu']}, {machine['cores']} cores for all of it, load average "
        f"{machine['load_average']}; {run['python']}; commit {run['commit']}"
    )


if __name__ == "__main__":
    main()
