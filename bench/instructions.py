"""How many instructions a verification takes, and a request: `make bench`, or `python bench/instructions.py --help`.

The figure that no other process and no clock disturbs: counted by valgrind (callgrind), in the process and without a
store. Two runs, of which one verifies more tokens than the other; what differs is the verifications'.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import pickle
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import environment
import report

TITLE = "Instructions"
FEW, MANY = 100, 400
SEEN = 10
"""Tokens that come again and again."""
SECRET = "a secret for the bench alone: it protects nothing"
PAYLOAD = {"iss": "https://api.example.com/auth", "roles": ["editor", "reviewer"], "plan": "team", "locale": "en-GB"}

NAMES = {
    "bare": "cryptography, bare",
    "sync_seen": "tallystick Sessions, seen before",
    "async_seen": "tallystick AsyncSessions, seen before",
    "sync_fresh": "tallystick Sessions, fresh token",
    "async_fresh": "tallystick AsyncSessions, fresh token",
}
REQUESTS = {
    "starlette_bare": "Starlette, bare",
    "starlette_seen": "Starlette, tallystick, seen before",
    "starlette_fresh": "Starlette, tallystick, fresh token",
    "fastapi_dependency": "FastAPI, bare, with an empty dependency",
    "fastapi_seen": "FastAPI, tallystick, seen before",
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Count the instructions of a verification, and of a request, with valgrind's callgrind, in some "
        "four minutes."
    )
    parser.add_argument("--quick", action="store_true", help="only show the figures; writes nothing")
    parser.add_argument("--run", nargs=3, metavar=("FILE", "WHAT", "COUNT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    environment.enter(renew=False)
    if options.run:
        _run(Path(options.run[0]), options.run[1], int(options.run[2]))
        return
    if shutil.which("valgrind") is None:
        print("bench/instructions.py: valgrind is not on this machine, so no instructions were counted")
        return
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "tokens"
        file.write_bytes(pickle.dumps(_make_tokens()))
        wanted = [*NAMES, *REQUESTS]
        runs = [(what, count) for what in wanted for count in (FEW, MANY)]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            counts = dict(zip(runs, pool.map(lambda run: _count(file, *run), runs), strict=True))
    found = {what: round((counts[what, MANY] - counts[what, FEW]) / (MANY - FEW)) for what in wanted}
    section = {**report.describe_run(2, MANY, is_pinned=False), "instructions": found}
    print("\n".join(report.table(_rows(found))))
    if not options.quick:
        report.put_section(environment.HERE, TITLE, section, _as_markdown(section))


def _make_tokens() -> tuple[list[Any], list[str]]:
    """The signing keys, as a store has them, and tokens that they have signed."""
    from tallystick import Sessions  # noqa: PLC0415 - in the bench's environment alone
    from tallystick.storage.memory import MemoryStore  # noqa: PLC0415

    store = MemoryStore()
    sessions = Sessions(store, secret=SECRET).open()
    tokens = [sessions.create_new_session(f"user-{n:08}", PAYLOAD).access_token.token for n in range(MANY)]
    return store.load_keys(sessions.config.app_id), tokens


def _count(file: Path, what: str, count: int) -> int:
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", sys.executable, __file__]
    done = subprocess.run(
        [*command, "--run", str(file), what, str(count)],
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or found is None:
        raise SystemExit(f"valgrind could not count {what}:\n{done.stderr[-2000:]}")
    return int(found[1])


def _run(file: Path, what: str, count: int) -> None:
    """Under valgrind: all is made ready alike, then ``count`` tokens are verified."""
    rows, tokens = pickle.loads(file.read_bytes())  # noqa: S301 - what this script has just written
    if what in REQUESTS:
        _serve(rows, what, (tokens[:SEEN] * (count // SEEN) if what.endswith("_seen") else tokens)[:count])
        return
    prepared, verify = _prepare(rows, tokens)
    given: dict[str, list[Any]] = {"bare": prepared, "seen": tokens[:SEEN] * (count // SEEN)}
    inputs = given.get(what.rpartition("_")[2], tokens)[:count]
    gc.collect()
    gc.freeze()
    gc.disable()
    asyncio.run(_await_each(verify[what], inputs)) if what.startswith("async") else _call_each(verify[what], inputs)


def _prepare(rows: list[Any], tokens: list[str]) -> tuple[list[Any], dict[str, Callable[[Any], Any]]]:
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15  # noqa: PLC0415
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415

    from tallystick import AsyncSessions, Sessions  # noqa: PLC0415
    from tallystick.protocol.encoding import decode_base64url  # noqa: PLC0415
    from tallystick.storage.memory import AsyncMemoryStore, MemoryStore  # noqa: PLC0415

    store = MemoryStore()
    for row in rows:
        store.insert_key(row)
    sessions = Sessions(store, secret=SECRET).open()
    async_sessions = AsyncSessions(AsyncMemoryStore(store), secret=SECRET)
    asyncio.run(async_sessions.open())
    public = sessions._deployment.keys.ring.keys[0].signer._public
    padding, digest = PKCS1v15(), SHA256()
    parts = [token.rpartition(".") for token in tokens]
    prepared = [(decode_base64url(signature), signed.encode("ascii")) for signed, _, signature in parts]
    return prepared, {
        "bare": lambda pair: public.verify(*pair, padding, digest),
        "sync_seen": sessions.get_session,
        "sync_fresh": sessions.get_session,
        "async_seen": async_sessions.get_session,
        "async_fresh": async_sessions.get_session,
    }


def _serve(rows: list[Any], what: str, tokens: list[str]) -> None:
    """Requests in the process, each with a token in its cookie; also to the app that does not look at it."""
    import apps_asgi  # noqa: PLC0415 - in the bench's environment alone
    from calling import PATH  # noqa: PLC0415
    from subject import cookie  # noqa: PLC0415

    build = apps_asgi.SUBJECTS.get(what)
    if build is None:
        build = partial(getattr(apps_asgi, f"{what.partition('_')[0]}_tallystick"), _open_async(rows))
    caller = build().caller
    requests = [(PATH, cookie("sAccessToken", token)) for token in tokens]
    gc.collect()
    gc.freeze()
    gc.disable()
    caller.time(requests)


def _open_async(rows: list[Any]) -> Any:
    """Sessions with these signing keys."""
    from tallystick import AsyncSessions  # noqa: PLC0415
    from tallystick.storage.memory import AsyncMemoryStore, MemoryStore  # noqa: PLC0415

    store = MemoryStore()
    for row in rows:
        store.insert_key(row)
    sessions = AsyncSessions(AsyncMemoryStore(store), secret=SECRET)
    asyncio.run(sessions.open())
    return sessions


def _call_each(verify: Callable[[Any], Any], inputs: list[Any]) -> None:
    for one in inputs:
        verify(one)


async def _await_each(verify: Callable[[Any], Any], inputs: list[Any]) -> None:
    for one in inputs:
        await verify(one)


def _rows(found: dict[str, int]) -> list[tuple[str, ...]]:
    rows = [
        (name, f"{found[what]:,}", f"{found[what] - found['bare']:,}" if what.endswith("fresh") else "")
        for what, name in NAMES.items()
    ]
    bare: dict[str, int] = {}
    for what, name in REQUESTS.items():
        base = bare.setdefault(what.partition("_")[0], found[what])  # the first of each framework
        rows.append((name, f"{found[what]:,}", f"{found[what] - base:,}" if found[what] != base else ""))
    return [("", "instructions", "beside the signature, or the bare app"), *rows]


def _as_markdown(section: dict[str, Any]) -> str:
    lines = [
        f"## {TITLE}",
        "",
        "What one verification of the same token takes, and one request that brings it, counted by valgrind: no other "
        "process and no clock disturbs it, so that two commits can be compared on any machine. It is no measure of "
        "time beside other libraries, as valgrind keeps OpenSSL from the processor's newest instructions.",
        "",
        *report.table(_rows(section["instructions"]), is_markdown=True),
        "",
        f"{section['python']}; {report.name_versions(section)}; tallystick at {section['commit']}.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
