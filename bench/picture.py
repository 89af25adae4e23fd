"""A picture of the results for the README: what a session adds to a request. `python bench/picture.py` draws it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import environment

TITLE = "Added to a request by a session, in µs (less is better)"
WIDTH, LEFT, BAR, GAP, HEAD = 760, 300, 16, 6, 34
OURS, THEIRS, PAPER, INK, SOFT = "#2f7d5b", "#9aa5b1", "#ffffff", "#1f2933", "#52606d"
FONT = "font-family='system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif'"


def draw(directory: Path) -> None:
    """Write requests.svg, of what results.json has."""
    results = json.loads((directory / "results.json").read_text("utf-8"))
    if "requests" in results:
        (directory / "requests.svg").write_text(_draw(results["requests"]["frameworks"]), "utf-8")


def _draw(frameworks: list[dict[str, Any]]) -> str:
    groups = [(one["name"], [entry for entry in one["entries"] if not _is_left_out(entry)]) for one in frameworks]
    groups = [(name, entries) for name, entries in groups if entries]
    most = max(entry["added_us"]["median"] for _, entries in groups for entry in entries)
    scale = (WIDTH - LEFT - 70) / most
    parts: list[str] = []
    y = HEAD + 14
    for name, entries in groups:
        parts.append(
            f"<text x='16' y='{y + 12}' {FONT} font-size='13' font-weight='600' fill='{INK}'>{escape(name)}</text>"
        )
        y += BAR + GAP
        for entry in sorted(entries, key=lambda entry: entry["added_us"]["median"]):
            parts += _bar(entry, y, scale)
            y += BAR + GAP
        y += GAP * 2
    return "\n".join(
        [
            f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {y}' role='img'>",
            f"<title>{escape(TITLE)}</title>",
            f"<rect width='{WIDTH}' height='{y}' rx='8' fill='{PAPER}'/>",
            f"<text x='16' y='26' {FONT} font-size='15' font-weight='700' fill='{INK}'>{escape(TITLE)}</text>",
            *parts,
            "</svg>\n",
        ]
    )


def _is_left_out(entry: dict[str, Any]) -> bool:
    """Bare apps, and routes without a session."""
    return "bare" in entry["name"] or "without a session" in entry["name"]


def _bar(entry: dict[str, Any], y: int, scale: float) -> list[str]:
    value = max(entry["added_us"]["median"], 0)
    colour = OURS if entry["name"].startswith("tallystick") else THEIRS
    length = max(value * scale, 1)
    return [
        f"<text x='{LEFT - 8}' y='{y + 12}' text-anchor='end' {FONT} font-size='12' fill='{SOFT}'>"
        f"{escape(entry['name'])}</text>",
        f"<rect x='{LEFT}' y='{y}' width='{length:.1f}' height='{BAR}' rx='3' fill='{colour}'/>",
        f"<text x='{LEFT + length + 6:.1f}' y='{y + 12}' {FONT} font-size='12' fill='{INK}'>{value:.0f}</text>",
    ]


if __name__ == "__main__":
    draw(environment.HERE)
