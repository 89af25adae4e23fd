"""What has become slower: `python bench/compare.py OLD NEW`, two results.json of one machine, or of two commits.

Times are compared by their ratio to what stood still (the bare signature check, the framework alone), as no two runs
find the machine alike; instructions as they are.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import report

THRESHOLD = 10
"""Percent. Less is noise, except for instructions."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Compare two results of the bench: each a results.json, or a commit of this repository. Ends with "
        "1 where something of ours has become slower.",
    )
    parser.add_argument("old", metavar="OLD")
    parser.add_argument("new", metavar="NEW", nargs="?", default=str(report.environment.HERE / "results.json"))
    parser.add_argument("--threshold", type=float, default=THRESHOLD, help=f"percent that count ({THRESHOLD})")
    options = parser.parse_args()
    old, new = (dict(_figures(_load(name, parser))) for name in (options.old, options.new))
    both = [name for name in new if name in old]
    if not both:
        parser.error("the two have no figure in common")
    rows = [(name, old[name], new[name], (new[name] / old[name] - 1) * 100) for name in both]
    print("\n".join(report.table([("", "old", "new", "change"), *(_row(*row) for row in rows)])))
    slower = [name for name, _, _, change in rows if change > options.threshold and "tallystick" in name]
    print(f"\n{len(slower)} of ours slower by more than {options.threshold:g} %" + "".join(f"\n  {n}" for n in slower))
    raise SystemExit(1 if slower else 0)


def _load(name: str, parser: argparse.ArgumentParser) -> dict[str, Any]:
    if Path(name).is_file():
        return json.loads(Path(name).read_text("utf-8"))
    shown = subprocess.run(
        ["git", "-C", str(report.environment.ROOT), "show", f"{name}:bench/results.json"],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    if shown.returncode:
        parser.error(f"{name} is neither a file nor a commit that has bench/results.json")
    return json.loads(shown.stdout)


def _figures(results: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """The name of each figure, and what it is."""
    for one in results.get("verification", {}).get("contenders", ()):
        yield f"verification: {one['name']}, to the floor", one["ratio"]["median"]
    for what, count in results.get("instructions", {}).get("instructions", {}).items():
        whose = "" if what.endswith(("bare", "dependency")) else "tallystick "
        yield f"instructions: {whose}{what.replace('_', ', ')}", count
    for framework in results.get("requests", {}).get("frameworks", ()):
        bare = next(one for one in framework["entries"] if one["name"] == "bare")["us"]["median"]
        for one in framework["entries"]:
            if one["name"] != "bare":
                yield f"request: {framework['name']}, {one['name']}, to the bare app", one["us"]["median"] / bare
    for one in results.get("memory", {}).get("weighed", ()):
        yield f"memory: {one['name']}, MB", max(one["process"] + one["store"], 1) / 1e6


def _row(name: str, old: float, new: float, change: float) -> tuple[str, ...]:
    def show(value: float) -> str:
        return f"{value:,.0f}" if value >= 1000 else f"{value:.2f}"

    return name, show(old), show(new), f"{change:+.1f} %"


if __name__ == "__main__":
    main()
