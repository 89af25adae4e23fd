"""What is lost when servers die: `.venv/bin/python bench/faults.py` runs tests/faults and keeps what they count."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import report

ROOT = Path(__file__).resolve().parent.parent
TITLE = "Faults"
HEAD = ("what happens", "counted while it does, and lost after it")


def main() -> None:
    parser = argparse.ArgumentParser(description="Run tests/faults with real servers, and keep what they count.")
    parser.add_argument("--log", type=Path, help="the output of such a run, instead of a new one")
    options = parser.parse_args()
    output = options.log.read_text("utf-8") if options.log else _run()
    counted = dict(line.split(": ", 1) for line in output.splitlines() if ": " in line and ("sign-ins, " in line))
    section: dict[str, Any] = {
        **report.describe_run(1, 1, is_pinned=False, measured=("tallystick", "SQLAlchemy", "psycopg", "redis")),
        "counted": counted,
    }
    lines = [
        f"## {TITLE}",
        "",
        "Four clients sign in, refresh and sign out without a pause while a real server is killed (`kill -9`), or its "
        "connections are. Each error was `GeneralError` (`store_failed`, 503). Afterwards every acknowledged sign-in, "
        "refresh and revocation is looked for.",
        "",
        *report.table([HEAD, *counted.items()], is_markdown=True),
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
