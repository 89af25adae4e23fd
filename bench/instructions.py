"""How many instructions a verification takes, and a request: `make bench`, or `python bench/instructions.py --help`.

The figure that no other process and no clock disturbs: counted by valgrind (callgrind), in the process and without a
store. A process says where a count begins and ends by a call that nothing else makes; at each, callgrind writes down
what it has counted.
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
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import environment
import report

TITLE = "Instructions"
WARM, COUNT = 50, 100
"""Tokens that are verified before the count begins, when the interpreter has seen what it can adapt to, and within."""
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
    "starlette_other": "Starlette, bare, another route",
    "starlette_plain": "Starlette, tallystick, that route, without a session",
    "starlette_seen": "Starlette, tallystick, seen before",
    "starlette_fresh": "Starlette, tallystick, fresh token",
    "fastapi_dependency": "FastAPI, bare, with an empty dependency",
    "fastapi_seen": "FastAPI, tallystick, seen before",
    "fastapi_fresh": "FastAPI, tallystick, fresh token",
    "flask_bare": "Flask, bare",
    "flask_other": "Flask, bare, another route",
    "flask_plain": "Flask, tallystick, that route, without a session",
    "flask_seen": "Flask, tallystick, seen before",
    "flask_fresh": "Flask, tallystick, fresh token",
    "django_wsgi_bare": "Django, WSGI, bare",
    "django_wsgi_other": "Django, WSGI, bare, another route",
    "django_wsgi_plain": "Django, WSGI, tallystick, that route, without a session",
    "django_wsgi_seen": "Django, WSGI, tallystick, seen before",
    "django_wsgi_fresh": "Django, WSGI, tallystick, fresh token",
    "django_asgi_bare": "Django, ASGI, bare",
    "django_asgi_other": "Django, ASGI, bare, another route",
    "django_asgi_plain": "Django, ASGI, tallystick, that route, without a session",
    "django_asgi_seen": "Django, ASGI, tallystick, seen before",
    "django_asgi_fresh": "Django, ASGI, tallystick, fresh token",
    "drf_bare": "Django REST framework, bare",
    "drf_other": "Django REST framework, bare, another route",
    "drf_plain": "Django REST framework, tallystick, that route, without a session",
    "drf_seen": "Django REST framework, tallystick, seen before",
    "drf_fresh": "Django REST framework, tallystick, fresh token",
}
KINDS = ("plain", "seen", "fresh")
"""Of requests to an app with Tallystick."""
AWAITED = ("starlette_tallystick", "fastapi_tallystick", "django_asgi_tallystick")
VERIFICATION = "verification"
MARK = os.getppid
"""What nothing else calls, and what the C library has a function of the same name for."""
Prepare = Callable[[str, list[str]], Callable[[], object]]
"""What is to be counted, and tokens; what does it to all of them."""
MEASURED = (*report.MEASURED, "starlette", "fastapi", "flask", "django", "djangorestframework")


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Count the instructions of a verification, and of a request in each framework, with valgrind's "
        "callgrind, in some four minutes."
    )
    parser.add_argument("only", nargs="*", metavar="WHAT", help=f"of {', '.join((*NAMES, *REQUESTS))} (all)")
    parser.add_argument("--quick", action="store_true", help="only show the figures; writes nothing")
    parser.add_argument("--run", nargs=2, metavar=("FILE", "PROCESS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    wanted = options.only or [*NAMES, *REQUESTS]
    if unknown := set(wanted) - {*NAMES, *REQUESTS}:
        parser.error(f"there is no {', '.join(sorted(unknown))} to count")
    environment.enter(renew=False)
    if options.run:
        _run(Path(options.run[0]), options.run[1], wanted)
        return
    if shutil.which("valgrind") is None:
        print("bench/instructions.py: valgrind is not on this machine, so no instructions were counted")
        return
    found = _count_all(wanted)
    section = {**report.describe_run(1, COUNT, is_pinned=False, measured=MEASURED), "instructions": found}
    print("\n".join(report.table(_rows(found))))
    if not options.quick and not options.only:
        report.put_section(environment.HERE, TITLE, section, _as_markdown(section))


def _count_all(wanted: Sequence[str]) -> dict[str, int]:
    processes: dict[str, list[str]] = {}
    for what in wanted:
        processes.setdefault(_process_of(what), []).append(what)
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "tokens"
        file.write_bytes(pickle.dumps(_make_tokens()))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            counted = list(pool.map(lambda item: _count(file, *item), processes.items()))
    together = {what: count for counts in counted for what, count in counts.items()}
    return {what: together[what] for what in wanted}


def _process_of(what: str) -> str:
    """Each app has a process of its own, as Django has but one in each."""
    framework, _, kind = what.rpartition("_")
    if what in NAMES:
        return VERIFICATION
    return f"{framework}_tallystick" if kind in KINDS else f"{framework}_bare" if kind == "other" else what


def _make_tokens() -> tuple[list[Any], list[str]]:
    """The signing keys, as a store has them, and tokens that they have signed."""
    from tallystick import Sessions  # noqa: PLC0415 - in the bench's environment alone
    from tallystick.storage.memory import MemoryStore  # noqa: PLC0415

    store = MemoryStore()
    sessions = Sessions(store, secret=SECRET).open()
    tokens = [sessions.create_new_session(f"user-{n:08}", PAYLOAD).access_token.token for n in range(WARM + COUNT)]
    return store.load_keys(sessions.config.app_id), tokens


def _count(file: Path, process: str, wanted: Sequence[str]) -> dict[str, int]:
    """What one of each takes. Callgrind writes a file at each mark: every second one is of what was to be counted."""
    out = file.with_name(process)
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", f"--dump-before={MARK.__name__}"]
    done = subprocess.run(
        [*command, sys.executable, __file__, "--run", str(file), process, *wanted],
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    dumps = [out.with_name(f"{out.name}.{2 * number}") for number in range(1, len(wanted) + 1)]
    if done.returncode or not all(dump.exists() for dump in dumps):
        raise SystemExit(f"valgrind could not count {process}:\n{done.stderr[-2000:]}")
    return {what: round(_total(dump) / COUNT) for what, dump in zip(wanted, dumps, strict=True)}


def _total(dump: Path) -> int:
    found = re.search(r"^(?:summary|totals): (\d+)", dump.read_text("utf-8"), re.MULTILINE)
    if found is None:
        raise SystemExit(f"callgrind wrote no total into {dump.name}")
    return int(found[1])


# Under valgrind


def _run(file: Path, process: str, wanted: Sequence[str]) -> None:
    rows, tokens = pickle.loads(file.read_bytes())  # noqa: S301 - what this script has just written
    prepare = _open_facades(rows) if process == VERIFICATION else _open_app(rows, process)
    for what in wanted:
        is_seen = what.endswith("seen")
        warm = prepare(what, tokens[:SEEN] * (WARM // SEEN) if is_seen else tokens[:WARM])
        counted = prepare(what, tokens[:SEEN] * (COUNT // SEEN) if is_seen else tokens[WARM:])
        gc.collect()
        gc.freeze()
        gc.disable()
        warm()
        gc.collect()
        MARK()
        counted()
        gc.collect()  # what requests have left in cycles is theirs, too
        MARK()
        gc.enable()


def _open_facades(rows: list[Any]) -> Prepare:
    """Verifications, by the library and by the facades."""
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15  # noqa: PLC0415
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415

    from tallystick import AsyncSessions, Sessions  # noqa: PLC0415
    from tallystick.protocol.encoding import decode_base64url  # noqa: PLC0415
    from tallystick.storage.memory import AsyncMemoryStore  # noqa: PLC0415

    store = _store_with(rows)
    loop = asyncio.new_event_loop()
    sessions = Sessions(store, secret=SECRET).open()
    async_sessions = AsyncSessions(AsyncMemoryStore(store), secret=SECRET)
    loop.run_until_complete(async_sessions.open())
    public = sessions._deployment.keys.ring.keys[0].signer._public
    padding, digest = PKCS1v15(), SHA256()

    def verify_each(pairs: list[tuple[bytes, bytes]]) -> None:
        for signature, signed in pairs:
            public.verify(signature, signed, padding, digest)

    def get_each(tokens: list[str]) -> None:
        for token in tokens:
            sessions.get_session(token)

    async def await_each(tokens: list[str]) -> None:
        for token in tokens:
            await async_sessions.get_session(token)

    def prepare(what: str, tokens: list[str]) -> Callable[[], object]:
        if what.startswith("async"):
            return partial(loop.run_until_complete, await_each(tokens))
        if what.startswith("sync"):
            return partial(get_each, tokens)
        parts = [token.rpartition(".") for token in tokens]
        pairs = [(decode_base64url(signature), signed.encode("ascii")) for signed, _, signature in parts]
        return partial(verify_each, pairs)

    return prepare


def _open_app(rows: list[Any], process: str) -> Prepare:
    """Requests in the process, each with a token in its cookie; also to the app that does not look at it."""
    from calling import PATH, PLAIN  # noqa: PLC0415 - in the bench's environment alone
    from subject import cookie  # noqa: PLC0415
    from worker import SUBJECTS  # noqa: PLC0415

    from tallystick.storage.memory import AsyncMemoryStore  # noqa: PLC0415

    store: Any = _store_with(rows)
    if process in AWAITED:
        store = AsyncMemoryStore(store)
    subject = SUBJECTS[process](store) if process.endswith("_tallystick") else SUBJECTS[process]()

    def prepare(what: str, tokens: list[str]) -> Callable[[], object]:
        path = PLAIN if what.endswith(("_other", "_plain")) else PATH
        return partial(subject.caller.time, [(path, cookie("sAccessToken", token)) for token in tokens])

    return prepare


def _store_with(rows: list[Any]) -> Any:
    """A store with these signing keys."""
    from tallystick.storage.memory import MemoryStore  # noqa: PLC0415

    store = MemoryStore()
    for row in rows:
        store.insert_key(row)
    return store


# For the reader


def _rows(found: dict[str, int]) -> list[tuple[str, ...]]:
    rows = [
        (name, f"{found[what]:,}", _beside(found, what, "bare") if what.endswith("fresh") else "")
        for what, name in NAMES.items()
        if what in found
    ]
    first: dict[str, str] = {}
    for what, name in REQUESTS.items():
        framework, _, kind = what.rpartition("_")
        base = first.setdefault(framework, what)  # the first of each framework is the bare one
        if what in found:
            rows.append(
                (name, f"{found[what]:,}", _beside(found, what, f"{framework}_other" if kind == "plain" else base))
            )
    return [("", "instructions", "beside the signature, or the bare app"), *rows]


def _beside(found: dict[str, int], what: str, base: str) -> str:
    return f"{found[what] - found[base]:,}" if base in found and base != what and not what.endswith("_other") else ""


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
