"""From samples to what is read: a table for the terminal, a section of RESULTS.md, an entry of results.json.

Each script hands its section to :func:`put_section`, which keeps it in ``bench/sections`` and makes RESULTS.md and
results.json anew of all that is there. Where two branches have both measured, git may not know how to merge those two
files: take either, then make them again by ``python bench/report.py``.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import quantiles
from typing import TYPE_CHECKING, Any

import environment

if TYPE_CHECKING:
    from contenders import Contender

TITLE = "Verification"
ORDER = ("Verification", "Instructions", "Requests", "Memory", "Storing", "Scale", "Faults", "Service", "Revocation")
"""The titles of all sections, as they stand in RESULTS.md."""
MEASURED = ("tallystick", "supertokens-python", "PyJWT", "joserfc", "cryptography", "msgspec")


# Describing


def describe_run(rounds: int, batch: int, *, is_pinned: bool, measured: Sequence[str] = MEASURED) -> dict[str, Any]:
    """When, where and of what."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "rounds": rounds,
        "batch": batch,
        "machine": {
            "cpu": _cpu_model(),
            "cores": os.cpu_count(),
            "architecture": platform.machine(),
            "system": platform.system(),
            "pinned_to_one_cpu": is_pinned,
            "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        },
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "openssl": _openssl(),
        "versions": {name: version(name) for name in measured},
        "commit": _commit(),
    }


def describe_token(token: str, payload: dict[str, Any]) -> dict[str, Any]:
    """What is verified."""
    return {"algorithm": "RS256", "key_bits": 2048, "bytes": len(token), "payload": payload}


def summarise(
    contender: Contender, samples: Sequence[float], floor: Sequence[float], refuses: dict[str, bool]
) -> dict[str, Any]:
    """Median and quartiles, of the times in µs and of their ratios to the floor's in the same round."""
    return {
        "id": contender.id,
        "name": contender.name,
        "set_up": contender.set_up,
        "returns": contender.returns,
        "us": _quartiles(samples),
        "ratio": _quartiles([mine / its for mine, its in zip(samples, floor, strict=True)]),
        "refuses": refuses,
    }


def _quartiles(samples: Sequence[float]) -> dict[str, float]:
    low, median, high = quantiles(samples, n=4, method="inclusive")
    return {"median": round(median, 3), "q1": round(low, 3), "q3": round(high, 3)}


def _cpu_model() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text("utf-8"), re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or "unknown"


def _openssl() -> str:
    from cryptography.hazmat.backends.openssl import backend  # noqa: PLC0415 - in the bench's environment alone

    return backend.openssl_version_text()


def _commit() -> str:
    """Of this checkout, and whether the library's sources differ from it."""
    head = _git("rev-parse", "--short", "HEAD")
    if not head:
        return "unknown"
    return f"{head} with changes in src" if _git("status", "--porcelain", "--", "src") else head


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(environment.ROOT), *arguments],  # noqa: S607 - the git that made the checkout
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return ""
    return done.stdout.strip()


# Writing


def as_text(section: dict[str, Any]) -> str:
    """For the terminal."""
    return "\n".join(
        [
            f"Verifying an RS256-2048 access token of {section['token']['bytes']} bytes; {section['rounds']} rounds of "
            f"{section['batch']} tokens each, interleaved",
            "",
            *table(_times(section)),
            "",
            "What each refuses",
            *table(_refusals(section)),
            "",
            *(f"{name}: {value}" for name, value in circumstances(section)),
            "",
            _HOW_SUPERTOKENS,
        ]
    )


def write(directory: Path, section: dict[str, Any]) -> None:
    """Put the section of :data:`TITLE` into both files."""
    put_section(directory, TITLE, section, _as_markdown(section))


def put_section(directory: Path, title: str, section: dict[str, Any], markdown: str) -> None:
    """Put one script's findings into ``directory``: into files of their own, of which the two that are read are made.

    ``markdown`` begins with ``## title``. Each script has a title of its own, so that none can overwrite another's; a
    new one takes its place in :data:`ORDER`.
    """
    own = directory / "sections"
    own.mkdir(exist_ok=True)
    name = _name_of(title)
    (own / f"{name}.json").write_text(_as_json(section), "utf-8")
    (own / f"{name}.md").write_text(markdown.rstrip() + "\n", "utf-8")
    assemble(directory)


def load_section(directory: Path, title: str) -> dict[str, Any]:
    """What a script found last, for one that measures anew only a part of it."""
    file = directory / "sections" / f"{_name_of(title)}.json"
    found: dict[str, Any] = json.loads(file.read_text("utf-8")) if file.exists() else {}
    return found


def assemble(directory: Path) -> None:
    """Make RESULTS.md and results.json of the sections."""
    own = directory / "sections"
    names = [name for name in map(_name_of, ORDER) if (own / f"{name}.md").exists()]
    if strangers := {path.stem for path in own.glob("*.md")} - set(names):
        raise SystemExit(f"sections that bench/report.py has no place for in ORDER: {', '.join(sorted(strangers))}")
    texts = [(own / f"{name}.md").read_text("utf-8") for name in names]
    (directory / "RESULTS.md").write_text("\n".join([_INTRODUCTION, *texts]), "utf-8")
    data = {name: json.loads((own / f"{name}.json").read_text("utf-8")) for name in names}
    (directory / "results.json").write_text(_as_json(data), "utf-8")


def _name_of(title: str) -> str:
    return title.lower().replace(" ", "-")


def _as_json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _as_markdown(section: dict[str, Any]) -> str:
    token = section["token"]
    lines = [
        f"## {TITLE}",
        "",
        f"One RS256-2048 access token of {token['bytes']} bytes, in the process, without network or database. "
        f"{section['rounds']} rounds; in each, everybody has one turn of {section['batch']} tokens, in random order, "
        "all in one process. A sample is the mean of one turn, in processor time. The ratio is to the floor "
        "of the same round.",
        "",
        *table(_times(section), is_markdown=True),
        "",
        "The floor is the bare signature check: nobody who checks the signature can be faster. *Fresh* is a token that "
        "the contender has never seen, *seen before* one that it verified a moment ago. The peers are given fresh "
        "tokens; they remember none.",
        "",
        "### What each one checks",
        "",
        "Tried, not taken from documentation: every contender was given each of these tokens, signed with the right "
        "key except for the first. (`signed as RS512`: PKCS1v15 with SHA-512 and a header that says so, though the key "
        "is published for RS256: is the algorithm bound to the key, or does the token choose? Only whoever holds the "
        "private key can make one.)",
        "",
        *table(_refusals(section), is_markdown=True),
        "",
        "### Set-ups",
        "",
        *table(_set_ups(section), is_markdown=True),
        "",
        _HOW_SUPERTOKENS,
        "",
        "### Circumstances",
        "",
        *table([("", ""), *circumstances(section)], is_markdown=True),
        "",
        "The token's payload, beside the nine claims of every session: "
        f"`{json.dumps(token['payload'], separators=(',', ':'))}`.",
        "",
    ]
    return "\n".join(lines) + "\n"


_INTRODUCTION = """# Results

Written by the scripts in this directory, each its own section. Times are of one machine on one day: compare the ratios.
Where a peer is faster, it stands there.
"""

_HOW_SUPERTOKENS = (
    "supertokens-python asks no core here: its JWKS cache (`recipe/session/jwks.py`, `cached_keys`) is filled with "
    "Tallystick's public keys, exactly as it does itself with its core's answer; both use the same token layout "
    "(version 5). It reaches the signature through PyJWT."
)

Row = tuple[str, ...]


def _times(section: dict[str, Any]) -> list[Row]:
    rows = [
        (
            one["name"],
            f"{one['us']['median']:.1f}",
            f"{one['us']['q1']:.1f} to {one['us']['q3']:.1f}",
            f"{one['ratio']['median']:.2f}",
            f"{one['ratio']['q1']:.2f} to {one['ratio']['q3']:.2f}",
        )
        for one in sorted(section["contenders"], key=lambda one: one["us"]["median"])
    ]
    return [("", "median µs", "quartiles", "ratio to floor", "quartiles"), *rows]


def _refusals(section: dict[str, Any]) -> list[Row]:
    """One line for contenders that differ only in how they are called."""
    seen: dict[str, dict[str, bool]] = {}
    for one in section["contenders"]:
        name = "tallystick" if one["id"].startswith("tallystick") else one["name"]
        assert seen.setdefault(name, one["refuses"]) == one["refuses"], f"{name} refuses differently, sync and async"
    probes = list(section["contenders"][0]["refuses"])
    words = {True: "refused", False: "accepted"}
    return [("", *probes), *((name, *(words[refuses[what]] for what in probes)) for name, refuses in seen.items())]


def _set_ups(section: dict[str, Any]) -> list[Row]:
    return [("", "set-up", "gives back"), *((c["name"], c["set_up"], c["returns"]) for c in section["contenders"])]


def circumstances(section: dict[str, Any]) -> list[Row]:
    machine = section["machine"]
    pinned = ", the bench on one of them" if machine["pinned_to_one_cpu"] else ""
    return [
        ("date", section["date"]),
        ("machine", f"{machine['cpu']}, {machine['cores']} cores{pinned}; {machine['architecture']}"),
        ("system", f"{machine['system']}, load average at the end {machine['load_average']}"),
        ("Python", f"{section['python']}, {section['openssl']}"),
        ("versions", name_versions(section)),
        ("tallystick's commit", section["commit"]),
    ]


def name_versions(section: dict[str, Any]) -> str:
    """What was measured, each with its version."""
    return ", ".join(f"{name} {number}" for name, number in section["versions"].items())


def table(rows: Sequence[Row], *, is_markdown: bool = False) -> Iterable[str]:
    """The first row is the head; columns of numbers stand to the right."""
    numeric = [all(_is_number(row[i]) for row in rows[1:]) for i in range(len(rows[0]))]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    cells = [
        [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ]
        for row in rows
    ]
    if not is_markdown:
        return [(" " * 3).join(row).rstrip() for row in cells]
    if sum(widths) > 110:  # aligned, it would only be harder to read
        cells, widths = [[cell.strip() for cell in row] for row in cells], [3] * len(widths)
    rule = ["-" * (width - 1) + (":" if right else "-") for width, right in zip(widths, numeric, strict=True)]
    return ["| " + " | ".join(row) + " |" for row in [cells[0], rule, *cells[1:]]]


def _is_number(text: str) -> bool:
    return text[:1].isdigit()


if __name__ == "__main__":
    assemble(environment.HERE)
