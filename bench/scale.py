"""What operations cost with ten thousand sessions, a million, ten million: `make bench-scale`, or
`.venv/bin/python bench/scale.py --help`."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]  # for the servers of the tests

import filling
import load
import pgbench
import report
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tallystick.storage.interface import SessionStore
from tallystick.storage.opening import open_store
from tests.mariadb_servers import run_mariadb
from tests.redis_servers import run_redis
from tests.servers import run_postgres

TITLE = "Scale"
STORES = ("sqlite", "postgresql", "mariadb", "redis")
CLIENTS = 16
EXPLAINED = 50
PURGES = 10
PURGES_BY_INDEX = 3
CLIENTS_BESIDE_A_PURGE = 4
OVER = filling.NOW - filling.LIFE - 1000
"""Where a session's end is from here on, it is over now."""
POSTGRES = {"shared_buffers": "4GB", "max_wal_size": "8GB"}
"""As for a machine of 16 GB."""
INDEX = "ix_tallystick_sessions_app_id_expiry_day"
INDEXES = {
    "on the day of expires_at": (
        "app_id, expiry_day",
        "expiry_day <= {now} AND expires_at <= {now} ORDER BY expiry_day",
    ),
    "on expires_at": ("app_id, expires_at", "expires_at <= {now} ORDER BY expires_at"),
    "none": (None, "expires_at <= {now}"),
}
"""What could be indexed for purging, and the condition of a purge by it."""

_progress = Progress(
    TextColumn("{task.description}"),
    BarColumn(),
    MofNCompleteColumn(),
    TimeRemainingColumn(),
    console=Console(stderr=True),
)


def main() -> None:
    options = _parse_arguments()
    results: list[dict[str, Any]] = []
    extras: dict[str, Any] = {}
    with _progress:
        for name in options.stores:
            sizes = [size for size in options.sizes if size <= options.most or name == "postgresql"]
            for size in sizes:
                with _server(name) as url:
                    results.append(_measure(name, url, size, options.seconds))
                    if name == "postgresql" and size == max(s for s in sizes if s <= options.most):
                        extras = _measure_postgresql(url, size, options)
    kept = report.load_section(Path(__file__).parent, TITLE) if options.write else {}
    run = report.describe_run(1, options.seconds, is_pinned=False, measured=("tallystick", "SQLAlchemy", "psycopg"))
    section = {
        **{name: kept[name] for name in ("purge_under_load", "index") if name in kept},
        **run,
        "clients": CLIENTS,
        "seconds": options.seconds,
        "results": _merge(kept, run, results),
        **extras,
    }
    lines = _describe(section)
    print("\n".join(lines))
    if options.write:
        report.put_section(Path(__file__).parent, TITLE, section, "\n".join([f"## {TITLE}", "", *lines, ""]) + "\n")


def _merge(kept: dict[str, Any], run: dict[str, Any], results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What was measured of other stores and sizes stays, and says when."""
    measured = {(result["store"], result["size"]) for result in results}
    every = [{**result, "measured": _when(run)} for result in results]
    for result in kept.get("results", []):
        if (result["store"], result["size"]) not in measured:
            every.append({"measured": _when(kept), **result})
    return sorted(every, key=lambda result: (STORES.index(result["store"]), result["size"]))


def _when(run: dict[str, Any]) -> str:
    return f"{run['date']}, load average {run['machine']['load_average']} at the end"


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Fill each store with sessions and measure what each operation costs, beside pgbench running the "
        "same statements on the same table. Servers are started on loopback and thrown away.",
    )
    parser.add_argument("--sizes", type=_numbers, default=[10**4, 10**6], help="comma-separated (10000,1000000)")
    parser.add_argument("--most", type=int, default=10**6, help="for stores other than PostgreSQL (1000000)")
    parser.add_argument("--stores", type=lambda text: text.split(","), default=list(STORES), help=",".join(STORES))
    parser.add_argument("--seconds", type=int, default=4, help="for each measurement (4)")
    parser.add_argument("--expired", type=int, default=10**6, help="sessions purged under load (1000000)")
    parser.add_argument("--quick", action="store_true", help="a look, in under a minute; writes nothing")
    options = parser.parse_args()
    if unknown := set(options.stores) - set(STORES):
        parser.error(f"no such store: {', '.join(sorted(unknown))}")
    if options.quick:
        options.sizes, options.seconds, options.expired = [1000, 10_000], 1, 10_000
    options.write = not options.quick
    return options


def _numbers(text: str) -> list[int]:
    return sorted(int(part) for part in text.split(","))


@contextmanager
def _server(name: str) -> Iterator[str]:
    """An empty store as an operator would have it: what is acknowledged is on the disk."""
    if name == "sqlite":
        with tempfile.TemporaryDirectory(prefix="tallystick-scale-") as directory:
            yield f"sqlite:///{directory}/sessions.db"
    elif name == "postgresql":
        with run_postgres(is_durable=True, **POSTGRES) as server:
            yield server.url
    elif name == "mariadb":
        with run_mariadb(is_durable=True) as server:
            yield server.url
    else:
        with run_redis("--appendonly", "yes", "--appendfsync", "everysec") as server:
            yield server.url


def _measure(name: str, url: str, size: int, seconds: int) -> dict[str, Any]:
    store = open_store(url, migrate=True)
    store.open()
    empty = filling.footprint(url)
    _fill(f"{name}, {size:,} sessions", url, 1, size, size)
    filling.settle(url)
    taken = {what: round(count / size) for what, count in filling.bytes_of(url, empty).items()}
    operations: dict[str, Any] = {}
    for operation in ("load", "refresh", "list", "create"):
        found = load.run(url, operation, size, CLIENTS, lambda: time.sleep(seconds))
        if name in ("postgresql", "sqlite"):
            found["driver_us"] = load.run(url, operation, size, CLIENTS, lambda: time.sleep(seconds), is_bare=True)[
                "us"
            ]
        if name == "postgresql":
            found["pgbench_us"] = pgbench.run(url, operation, size, CLIENTS, seconds)
            found["buffers"] = pgbench.buffers(url, operation, size, EXPLAINED)
        operations[operation] = found
    expired = 2 * PURGES * pgbench.PURGED_AT_ONCE
    _fill(f"{name}, {expired:,} expired", url, size + 1, size + expired, size, end=OVER)
    operations["purge"] = {"us": _time_purges(store)}
    if name == "postgresql":
        operations["purge"]["pgbench_us"] = pgbench.run(url, "purge", size, 1, PURGES)
    store.close()
    return {"store": name, "size": size, "bytes": taken, "operations": operations}


def _measure_postgresql(url: str, size: int, options: argparse.Namespace) -> dict[str, Any]:
    """How much a purge disturbs refreshes, and what an index for purging costs them."""
    first = 10 * size
    _fill("expired, to be purged under load", url, first, first + options.expired - 1, size, end=OVER)
    filling.settle(url)
    clients = CLIENTS_BESIDE_A_PURGE
    quiet = load.run(url, "refresh", size, clients, lambda: time.sleep(2 * options.seconds))
    told = ""

    def purge() -> None:
        nonlocal told
        command = [Path(sys.executable).with_name("tallystick"), "purge", url]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip().rpartition(": ")[2]

    begun = time.perf_counter()
    disturbed = load.run(url, "refresh", size, clients, purge)
    took = time.perf_counter() - begun
    filling.execute(url, f"DROP INDEX {INDEX}")
    return {
        "purge_under_load": {"size": size, "told": told, "took_s": took, "quiet": quiet, "disturbed": disturbed},
        "index": {"size": size, **{name: _measure_index(name, url, size, options.seconds) for name in INDEXES}},
    }


def _measure_index(name: str, url: str, size: int, seconds: int) -> dict[str, float]:
    columns, condition = INDEXES[name]
    if columns:
        filling.execute(url, f"CREATE INDEX measured ON tallystick_sessions ({columns})")
    filling.settle(url)
    before = pgbench.counters(url)
    refresh = pgbench.run(url, "refresh", size, CLIENTS, 2 * seconds)
    refreshes, in_place, written = (now - then for now, then in zip(pgbench.counters(url), before, strict=True))
    expired = 2 * PURGES_BY_INDEX * pgbench.PURGED_AT_ONCE
    _fill("expired", url, 100 * size, 100 * size + expired - 1, size, end=OVER)
    filling.settle(url)
    purge = pgbench.purge_by(condition.format(now=filling.NOW))
    found = {
        "refresh_us": refresh,
        "heap_only": in_place / refreshes,
        "wal_bytes": written / refreshes,
        "purge_us": pgbench.run_statement(url, purge, size, 1, PURGES_BY_INDEX, is_counted=True)
        / pgbench.PURGED_AT_ONCE,
        "bytes": pgbench.size_of(url, "measured") / size if columns else 0,
    }
    filling.execute(url, f"DELETE FROM tallystick_sessions WHERE expires_at <= {filling.NOW}")
    if columns:
        filling.execute(url, "DROP INDEX measured")
    return found


def _fill(what: str, url: str, first: int, last: int, size: int, *, end: int = filling.NOW + filling.LIFE) -> None:
    task = _progress.add_task(what, total=last - first + 1)
    filling.fill(url, first, last, size, end=end, on_step=lambda count: _progress.update(task, advance=count))


def _time_purges(store: SessionStore) -> float:
    """What one session costs in a purge by thousands, in µs."""
    times = []
    for _ in range(PURGES):
        begun = time.perf_counter()
        purged = store.purge_sessions(filling.APP, filling.NOW, pgbench.PURGED_AT_ONCE)
        times.append((time.perf_counter() - begun) * 1e6 / max(purged, 1))
    return median(times)


# Describing


def _describe(section: dict[str, Any]) -> list[str]:
    lines = [
        f"{section['clients']} clients in {load.PROCESSES} processes, each with one operation after another, "
        f"{section['seconds']} s for each figure; "
        "each row with 200 + 200 bytes of JSON, and no client's user agent and address; "
        "server and clients share the machine. *Time* is what an operation "
        "takes a client; *driver*, what it takes with psycopg and its pool, or with sqlite3, and nothing above it. "
        "pgbench runs the very same statement on the same table, prepared, in C. What is acknowledged "
        "is on the disk first, except in Redis (append-only file, flushed each second).",
        "",
        *report.table(_operations(section["results"]), is_markdown=True),
        "",
        "The aim was 1.5 times pgbench's time. Purging, where the database does the work, keeps to it. The other "
        "operations do not, and neither does the bare driver: its clients are Python too, and *client CPU* is what "
        "they need of the same two cores that the server has. What grows with the table is the pages touched, by one "
        "for each level of a B-tree.",
        "",
        *report.table(_bytes(section["results"]), is_markdown=True),
        "",
    ]
    if "purge_under_load" in section:
        lines += _describe_purge(section["purge_under_load"]) + _describe_index(section["index"])
    return lines + list(report.table([("", ""), *report.circumstances(section)], is_markdown=True))


def _operations(results: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    head = (
        "store",
        "sessions",
        "operation",
        "a second",
        "time µs",
        "p99 µs",
        "client CPU µs",
        "driver µs",
        "pgbench µs",
        "ratio",
    )
    rows = []
    for result in results:
        for name, found in result["operations"].items():
            beside = found.get("pgbench_us")
            if beside and name == "purge":
                beside /= pgbench.PURGED_AT_ONCE
            rows.append(
                (
                    result["store"],
                    f"{result['size']:,}",
                    name if name != "purge" else "purge, per session",
                    f"{found['per_second']:,.0f}" if "per_second" in found else "",
                    f"{found['us']:,.0f}",
                    f"{found['p99_us']:,.0f}" if "p99_us" in found else "",
                    f"{found['cpu_us']:,.0f}" if "cpu_us" in found else "",
                    f"{found['driver_us']:,.0f}" if "driver_us" in found else "",
                    f"{beside:,.0f}" if beside else "",
                    f"{found['us'] / beside:.2f}" if beside else "",
                )
            )
    return [(*head, "pages touched"), *((*row, pages) for row, pages in zip(rows, _pages(results), strict=True))]


def _pages(results: list[dict[str, Any]]) -> list[str]:
    found = [operation.get("buffers") for result in results for operation in result["operations"].values()]
    return ["" if pages is None else f"{pages:.1f}" for pages in found]


def _bytes(results: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    rows = [
        (
            result["store"],
            f"{result['size']:,}",
            f"{sum(result['bytes'].values()):,}",
            ", ".join(f"{what} {count:,}" for what, count in result["bytes"].items()),
            result["measured"],
        )
        for result in results
    ]
    return [("store", "sessions", "bytes a session", "of which", "measured"), *rows]


def _describe_purge(found: dict[str, Any]) -> list[str]:
    rows = [
        (name, *(f"{one[key]:,.0f}" for key in ("per_second", "p50_us", "p99_us", "max_us")))
        for name, one in (("alone", found["quiet"]), ("during the purge", found["disturbed"]))
    ]
    return [
        f"`tallystick purge` beside refreshes by {CLIENTS_BESIDE_A_PURGE} clients, PostgreSQL with "
        f"{found['size']:,} living sessions: {found['told']} in {found['took_s']:.0f} s.",
        "",
        *report.table([("refreshes", "a second", "p50 µs", "p99 µs", "longest µs"), *rows], is_markdown=True),
        "",
    ]


def _describe_index(found: dict[str, Any]) -> list[str]:
    rows = [
        (
            name,
            f"{found[name]['refresh_us']:,.0f}",
            f"{found[name]['heap_only']:.0%}",
            f"{found[name]['wal_bytes']:,.0f}",
            f"{found[name]['purge_us']:,.0f}",
            f"{found[name]['bytes']:.1f}",
        )
        for name in INDEXES
    ]
    head = ("index", "refresh µs", "heap-only", "WAL bytes a refresh", "purge µs", "bytes a session")
    return [
        f"An index for purging, PostgreSQL with {found['size']:,} sessions: what each costs a refresh and what it "
        f"spares a purge (pgbench; {CLIENTS} clients refresh; a purge is of {pgbench.PURGED_AT_ONCE:,}, per session).",
        "",
        *report.table([head, *rows], is_markdown=True),
        "",
        "Taken: the day. Every refresh moves `expires_at`, so an index on it takes one more entry at each, and none of "
        "them can be heap-only. The day moves once a day at the most and is the same for many rows, which PostgreSQL "
        "keeps in less room, and it finds what is over without reading the table. Without an index each batch reads "
        "the table up to the first rows that are over.",
        "",
    ]


if __name__ == "__main__":
    main()
