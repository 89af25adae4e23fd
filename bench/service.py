"""The core HTTP service beside the Java core's figures: `make bench-service`, or
`.venv/bin/python bench/service.py --help`."""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]  # for the servers of the tests

import http_load
import report
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tallystick.edges import new_private_key
from tallystick.protocol.signing import load_signer
from tests.servers import pick_free_port, run_postgres

PROGRAM = Path(sys.executable).with_name("tallystick")
SECRET = secrets.token_urlsafe(48)
TITLE = "Service"
STORES = ("sqlite", "postgresql")
OPERATIONS = ("create", "refresh", "verify", "verify with database")
CONNECTIONS = (1, 16)
START_SECONDS = 30
STARTS = 5
SIGNATURES = 50

JAVA = {
    ("create", 1): 286,
    ("create", 16): 667,
    ("refresh", 1): 111,
    ("refresh", 16): 308,
    ("verify", 1): 2668,
    ("verify", 16): 5778,
    ("verify with database", 1): 1503,
    ("verify with database", 16): 3928,
}
"""Requests a second of the Java core 12.1.1 on PostgreSQL 15 with fsync, on 2 cores shared with the load generator,
warmed up; measured once, on a machine of this kind (issue 5). It took 390 to 520 MB and started in 2.5 to 3.9 s."""
TARGETS = {"create": 2, "refresh": 5, "verify": 1, "verify with database": 1}
"""How many times the Java core's requests a second are asked for."""


def main() -> None:
    options = _parse_arguments()
    results: list[dict[str, Any]] = []
    starts: dict[str, Any] = {}
    signatures: list[float] = []
    runs = len(options.stores) * len(options.workers) * len(OPERATIONS) * len(CONNECTIONS)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("service", total=runs)
        for store in options.stores:
            with _database(store) as url:
                starts[store] = [_time_start(url) for _ in range(STARTS)]
                for workers in options.workers:
                    for operation in OPERATIONS:
                        for connections in CONNECTIONS:
                            words = f"{store}, {workers} worker(s), {operation}, {connections} connection(s)"
                            progress.update(task, description=words)
                            found = _measure(url, operation, connections, workers, options)
                            results.append({"store": store, "workers": workers} | found)
                            signatures.append(_time_signature())
                            progress.advance(task)
    measured = ("tallystick", "SQLAlchemy", "psycopg", "uvicorn", "uvloop", "httptools", "msgspec", "cryptography")
    section = {
        **report.describe_run(1, 1, is_pinned=False, measured=measured),
        "seconds": options.seconds,
        "results": results,
        "start_seconds": starts,
        "signature_us": median(signatures),
    }
    lines = _describe(section)
    print("\n".join(lines))
    if options.write:
        report.put_section(Path(__file__).parent, TITLE, section, "\n".join([f"## {TITLE}", "", *lines, ""]))


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Run `tallystick serve` and measure what it answers. Servers are started on loopback and thrown "
        "away; SQLite and PostgreSQL wait for the disk.",
    )
    parser.add_argument("--stores", type=lambda text: text.split(","), default=list(STORES), help=",".join(STORES))
    parser.add_argument("--workers", type=_numbers, default=[1, 2], help="comma-separated (1,2)")
    parser.add_argument("--seconds", type=float, default=5, help="for each measurement (5)")
    parser.add_argument("--quick", action="store_true", help="a look, in under a minute; writes nothing")
    options = parser.parse_args()
    if unknown := set(options.stores) - set(STORES):
        parser.error(f"no such store: {', '.join(sorted(unknown))}")
    if options.quick:
        options.seconds, options.workers = 1, [1]
    options.write = not options.quick
    return options


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _time_signature() -> float:
    """Processor time of one RSA signature, in µs: what each new access token costs at the least, and a measure of how
    quick the machine is at this moment."""
    signer = load_signer("RS256", new_private_key("RS256"))
    begun = time.process_time()
    for _ in range(SIGNATURES):
        signer.sign(b"the text of a token")
    return (time.process_time() - begun) / SIGNATURES * 1e6


@contextmanager
def _database(name: str) -> Iterator[str]:
    """As an operator would have it: what is acknowledged is on the disk."""
    if name == "sqlite":
        with tempfile.TemporaryDirectory(prefix="tallystick-bench-") as directory:
            yield f"sqlite:///{directory}/sessions.db"
    else:
        with run_postgres(is_durable=True) as server:
            yield server.url


@contextmanager
def _service(url: str, workers: int) -> Iterator[tuple[int, int, float]]:
    """Its port, its process, and how long it took to say that it is ready."""
    port = pick_free_port()
    command = [PROGRAM, "serve", url, "--port", str(port), "--workers", str(workers)]
    environment = os.environ | {"TALLYSTICK_SECRET": SECRET}
    begun = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        while not _is_ready(port):
            if process.poll() is not None or time.perf_counter() - begun > START_SECONDS:
                raise SystemExit("the service did not start")
            time.sleep(0.005)
        yield port, process.pid, time.perf_counter() - begun
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=2):
            return True
    except OSError:
        return False


def _time_start(url: str) -> float:
    with _service(url, 1) as (_, _, seconds):
        return seconds


def _measure(url: str, operation: str, connections: int, workers: int, options: argparse.Namespace) -> dict[str, Any]:
    """In a service of its own, so that none inherits another's memory."""
    with _service(url, workers) as (port, pid, _):
        found = http_load.run(port, operation, connections, options.seconds, lambda: _processor_time(pid))
        return {
            "operation": operation,
            "connections": connections,
            "per_second": found.per_second,
            "p50_ms": found.p50_ms,
            "p99_ms": found.p99_ms,
            "cpu_us": found.cpu_us,
            "client_us": found.client_us,
            "megabytes": max(_megabytes(each) for each in _family(pid)),
        }


def _family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
    return [pid, *map(int, children)]


def _processor_time(pid: int) -> float:
    total = 0
    for each in _family(pid):
        fields = Path(f"/proc/{each}/stat").read_text("ascii").rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def _megabytes(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


def _describe(section: dict[str, Any]) -> list[str]:
    results = section["results"]
    starts = ", ".join(
        f"{name} {min(seconds):.2f} to {max(seconds):.2f} s" for name, seconds in section["start_seconds"].items()
    )
    return [
        "`tallystick serve`, asked as supertokens-node asks (CDI 5.4), by a load generator on the same cores. Each "
        f"connection has one request after another for {section['seconds']:g} s after a warm-up, in a service of its "
        "own. SQLite and PostgreSQL wait for the disk. CPU is the service's own, without the database's and the load "
        f"generator's; memory is the largest process's highest. {http_load.TOKENS} access tokens are verified in turn, "
        "so a worker has seen most of them before, as it is with an app's users.",
        "",
        *report.table(_rows(results), is_markdown=True),
        "",
        "The Java core: 12.1.1 on PostgreSQL 15 with fsync, warmed up, on 2 cores shared with the load generator, "
        "measured once on a machine of this kind; it took 390 to 520 MB and started in 2.5 to 3.9 s. *Times* is ours "
        "by its, on PostgreSQL.",
        "",
        f"One RSA signature took {section['signature_us']:.0f} µs of processor time in the same minutes (median): that "
        "much of what *create* and *refresh* cost is not for the service to save.",
        "",
        f"From the command to `/ready`, {STARTS} times each: {starts}.",
        "",
        *report.table([("", ""), *report.circumstances(section)], is_markdown=True),
    ]


def _rows(results: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    head = (
        "",
        "store",
        "workers",
        "connections",
        "requests/s",
        "Java core",
        "times",
        "p50 ms",
        "p99 ms",
        "CPU µs",
        "MB",
    )
    rows = [head]
    for each in results:
        key = each["operation"], each["connections"]
        java = JAVA[key] if each["store"] == "postgresql" else None
        rows.append(
            (
                each["operation"],
                each["store"],
                str(each["workers"]),
                str(each["connections"]),
                f"{each['per_second']:,.0f}",
                f"{java:,}" if java else "",
                f"{each['per_second'] / java:.1f}" if java else "",
                f"{each['p50_ms']:.2f}",
                f"{each['p99_ms']:.2f}",
                f"{each['cpu_us']:,.0f}",
                f"{each['megabytes']:.0f}",
            )
        )
    return rows


if __name__ == "__main__":
    main()
