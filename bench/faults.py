"""What is lost when servers die: `.venv/bin/python bench/faults.py` runs tests/faults and keeps what they count."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import report

ROOT = Path(__file__).resolve().parent.parent
TITLE = "Faults"
COUNTED = re.compile(
    r"(?P<fault>.+): (\d+) sign-ins, (\d+) refreshes, (\d+) revocations, (\d+) errors, "
    r"(\d+) lost sessions, (\d+) lost revocations; longest error ([\d.]+ s)"
)
HEAD = (
    "what happens",
    "sign-ins",
    "refreshes",
    "revocations",
    "errors",
    "longest",
    "sessions lost",
    "revocations lost",
)


def main() -> None:
    parser = argparse.ArgumentParser(description="Run tests/faults with real servers, and keep what they count.")
    parser.add_argument("--log", type=Path, help="the output of such a run, instead of a new one")
    options = parser.parse_args()
    output = options.log.read_text("utf-8") if options.log else _run()
    rows = []
    for match in filter(None, map(COUNTED.fullmatch, output.splitlines())):
        fault, *counts, sessions, revocations, longest = match.groups()
        rows.append((fault, *counts, longest, sessions, revocations))
    section: dict[str, Any] = {
        **report.describe_run(1, 1, is_pinned=False, measured=("tallystick", "SQLAlchemy", "psycopg", "redis")),
        "counted": [dict(zip(HEAD, row, strict=True)) for row in rows],
    }
    lines = [
        f"## {TITLE}",
        "",
        "Four clients sign in, refresh and sign out without a pause while a real server is killed (`kill -9`), or its "
        'connections are. Each error was `GeneralError` (`store_failed`, 503), the slowest after "longest". '
        "Afterwards every acknowledged sign-in, refresh and revocation is looked for, and what is lost counted. "
        "Where something is, it is what the store's settings allow to be lost: see docs/how-to/use-redis.md.",
        "",
        *report.table([HEAD, *rows], is_markdown=True),
        "",
        *report.table([("", ""), *report.circumstances(section)], is_markdown=True),
    ]
    print("\n".join(lines))
    report.put_section(Path(__file__).parent, TITLE, section, "\n".join(lines) + "\n")


def _run() -> str:
    command = [sys.executable, "-m", "pytest", "-q", "tests/faults"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stdout[-4000:])
    return done.stdout


if __name__ == "__main__":
    main()
