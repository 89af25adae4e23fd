"""The explorer's commands: ``prove`` makes the table of all schemes, ``replay`` plays a trace again."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from tests.model.prove import all_jobs, describe, make_stories, make_table, run_all, schemes
from tests.model.script import parse_script
from tests.model.stage import Rehearsal, number_lines, play


def main() -> int:
    """Run a command; 1 where ours has a fault."""
    parser = argparse.ArgumentParser(prog="python -m tests.model", description=__doc__)
    commands = parser.add_subparsers(required=True)
    prove = commands.add_parser("prove", help="explore every scheme; some minutes")
    prove.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="side by side (default: %(default)s)")
    prove.set_defaults(command=_prove)
    replay = commands.add_parser("replay", help="play a trace from its text")
    replay.add_argument("file", type=Path, help="a trace as `prove` prints it; - is the standard input")
    replay.add_argument("--scheme", choices=schemes(), default="ours", help="on which scheme (default: %(default)s)")
    replay.set_defaults(command=_replay)
    arguments = parser.parse_args()
    code: int = arguments.command(arguments)
    return code


def _prove(arguments: argparse.Namespace) -> int:
    began, findings, jobs = time.monotonic(), [], all_jobs()
    for finding in run_all(jobs, arguments.processes):
        findings.append(finding)
        ending = finding.fault or "no fault"
        sys.stderr.write(
            f"[{len(findings)}/{len(jobs)}] {describe(finding.job)}: {ending}, {finding.states:,} states, "
            f"{finding.transitions:,} transitions, {finding.seconds:.0f} s\n"
        )
    print(f"\n{make_table(findings)}\n\n{make_stories(findings)}\n")  # noqa: T201
    states, transitions = sum(f.states for f in findings), sum(f.transitions for f in findings)
    seconds = time.monotonic() - began
    print(f"{states:,} states and {transitions:,} transitions in {seconds:.0f} s")  # noqa: T201
    faults = [finding for finding in findings if finding.job.scheme == "ours" and finding.fault]
    return 1 if faults else 0


def _replay(arguments: argparse.Namespace) -> int:
    text = sys.stdin.read() if str(arguments.file) == "-" else arguments.file.read_text("utf-8")
    try:
        actions = parse_script(text)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    print(number_lines(play(actions, Rehearsal(schemes()[arguments.scheme]))))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
