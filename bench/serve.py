"""What a session adds to a request, and what signed-in users weigh: `make bench`, or `python bench/serve.py --help`."""

from __future__ import annotations

import argparse
import json
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import environment
import picture
import report

HERE = Path(__file__).resolve().parent
ROUNDS, BATCH, QUICK_ROUNDS = 25, 100, 5
HTTP_REQUESTS = 60
USERS = 12_000
"""Signed in twice; what the second time adds is what each further user weighs."""
ALL_USERS = 100_000
MEASURED = (
    "tallystick",
    "starlette",
    "fastapi",
    "flask",
    "django",
    "djangorestframework",
    "supertokens-python",
    "fastapi-users",
    "flask-jwt-extended",
    "Flask-Session",
    "djangorestframework-simplejwt",
    "PyJWT",
    "joserfc",
    "uvicorn",
    "waitress",
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a table."""

    name: str
    subject: str
    kind: str = "seen"


def _tallystick(framework: str) -> tuple[Entry, ...]:
    subject = f"{framework}_tallystick"
    return (
        Entry("tallystick, route without a session", subject, "plain"),
        Entry("tallystick, seen before", subject, "seen"),
        Entry("tallystick, fresh token", subject, "fresh"),
    )


FRAMEWORKS: dict[str, tuple[Entry, ...]] = {
    "Starlette": (
        Entry("bare", "starlette_bare"),
        *_tallystick("starlette"),
        Entry("Starlette's SessionMiddleware", "starlette_sessions"),
    ),
    "FastAPI": (
        Entry("bare", "fastapi_bare"),
        Entry("bare, with an empty dependency", "fastapi_dependency"),
        *_tallystick("fastapi"),
        Entry("supertokens-python", "fastapi_supertokens"),
        Entry("fastapi-users", "fastapi_users"),
        Entry("PyJWT in a dependency", "fastapi_pyjwt"),
        Entry("joserfc in a dependency", "fastapi_joserfc"),
    ),
    "Flask": (
        Entry("bare", "flask_bare"),
        *_tallystick("flask"),
        Entry("Flask's own session", "flask_own"),
        Entry("Flask-Session", "flask_session"),
        Entry("flask-jwt-extended, RS256", "flask_jwt_extended_rs256"),
        Entry("flask-jwt-extended, HS256", "flask_jwt_extended_hs256"),
    ),
    "Django, WSGI": (
        Entry("bare", "django_wsgi_bare"),
        *_tallystick("django_wsgi"),
        Entry("Django's sessions, database", "django_wsgi_database"),
        Entry("Django's sessions, cache", "django_wsgi_cache"),
        Entry("Django's sessions, signed cookies", "django_wsgi_signed_cookies"),
    ),
    "Django, ASGI": (Entry("bare", "django_asgi_bare"), *_tallystick("django_asgi")),
    "Django REST framework": (
        Entry("bare", "drf_bare"),
        *_tallystick("drf"),
        Entry("simplejwt", "drf_simplejwt"),
        Entry("simplejwt, stateless user", "drf_simplejwt_stateless"),
    ),
}

WEIGHED = (
    Entry("tallystick, on SQLite", "flask_tallystick"),
    Entry("Django's sessions, database (SQLite)", "django_wsgi_database"),
    Entry("Django's sessions, cache (LocMemCache)", "django_wsgi_cache"),
    Entry("Django's sessions, signed cookies", "django_wsgi_signed_cookies"),
    Entry("Flask-Session (files)", "flask_session"),
    Entry("Flask's own session", "flask_own"),
    Entry("Starlette's SessionMiddleware", "starlette_sessions"),
    Entry("flask-jwt-extended, HS256", "flask_jwt_extended_hs256"),
    Entry("simplejwt, stateless user", "drf_simplejwt_stateless"),
)


def main() -> None:
    options = _parse_arguments()
    environment.enter(renew=options.renew)
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    wanted = options.frameworks or list(FRAMEWORKS)
    results = [_measure(name, FRAMEWORKS[name], rounds) for name in wanted]
    requests = {
        **report.describe_run(rounds, BATCH, is_pinned=False, measured=MEASURED),
        "frameworks": results,
    }
    print("\n".join(_describe_requests(requests)))
    sections = [("Requests", requests, _describe_requests(requests))]
    if not options.quick and not options.frameworks:
        weights = _weigh_all()
        print("\n".join(_describe_weights(weights)))
        sections.append(("Memory", weights, _describe_weights(weights)))
    if options.quick or options.frameworks:
        print("\nA look: nothing was written.")
        return
    for title, section, lines in sections:
        report.put_section(HERE, title, section, "\n".join([f"## {title}", "", *lines, ""]))
    picture.draw(HERE)
    print("\nWritten: RESULTS.md, results.json and requests.svg")


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Measure what a session adds to a request in each framework, in process and over HTTP, and what "
        "100,000 signed-in users weigh, side by side with other libraries.",
    )
    parser.add_argument("frameworks", nargs="*", metavar="FRAMEWORK", help=f"of {', '.join(FRAMEWORKS)} (all)")
    parser.add_argument("--quick", action="store_true", help="a look; writes nothing")
    parser.add_argument("--rounds", type=int, help=f"how often each one has its turn ({ROUNDS})")
    parser.add_argument("--renew", action="store_true", help="make bench/.venv anew, with the newest peers")
    options = parser.parse_args()
    if unknown := set(options.frameworks) - set(FRAMEWORKS):
        parser.error(f"no such framework: {', '.join(sorted(unknown))}")
    if options.rounds is not None and options.rounds < 2:
        parser.error("--rounds: quartiles need at least 2")
    return options


class Hand:
    """A worker, and how to tell it what to do."""

    def __init__(self, process: subprocess.Popen[str], name: str) -> None:
        self._process, self._name = process, name
        self._read()

    def ask(self, what: str, *arguments: Any) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([what, arguments]) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self._name} has ended with {self._process.wait()}; what it said is above")
        return json.loads(line)


@contextmanager
def _hire(name: str) -> Iterator[Hand]:
    command = [sys.executable, str(HERE / "worker.py"), name]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Hand(process, name)
        finally:
            process.kill()


def _measure(framework: str, entries: Sequence[Entry], rounds: int) -> dict[str, Any]:
    """All entries in turn, in random order, so that whatever else the machine does falls on all alike."""
    print(f"{framework} ...", file=sys.stderr, flush=True)
    dice = random.Random(20)  # noqa: S311 - an order, no secret
    samples: dict[str, list[float]] = {entry.name: [] for entry in entries}
    with ExitStack() as stack:
        hands = {name: stack.enter_context(_hire(name)) for name in {entry.subject for entry in entries}}
        for entry in entries:
            if entry.kind == "fresh":
                hands[entry.subject].ask("prepare", (rounds + 1) * BATCH)
        order = list(entries)
        for turn in range(rounds + 1):
            dice.shuffle(order)
            for entry in order:
                spent = hands[entry.subject].ask("time", entry.kind, BATCH)
                if turn:
                    samples[entry.name].append(spent / 1000)
        http = _measure_http({entry.name: hands[entry.subject] for entry in entries if entry.kind == "seen"})
    bare = samples["bare"]
    return {
        "name": framework,
        "entries": [
            {
                "name": entry.name,
                "set_up": _set_up(entry.subject),
                "us": _quartiles(samples[entry.name]),
                "added_us": _quartiles([mine - its for mine, its in zip(samples[entry.name], bare, strict=True)]),
                "http": http.get(entry.name),
            }
            for entry in entries
        ],
    }


def _set_up(subject: str) -> str:
    """What the builder's docstring says, in one line."""
    from worker import SUBJECTS  # noqa: PLC0415 - in the bench's environment alone

    return " ".join((SUBJECTS[subject].__doc__ or "").split())


def _quartiles(samples: Sequence[float]) -> dict[str, float]:
    low, middle, high = quantiles(samples, n=4, method="inclusive")
    return {"median": round(middle, 2), "q1": round(low, 2), "q3": round(high, 2)}


def _measure_http(hands: dict[str, Hand]) -> dict[str, dict[str, float]]:
    """Requests by one client on one kept connection, in turns: µs of the clock, and of the server's processor time."""
    clients = {name: Client(**hand.ask("serve")) for name, hand in hands.items()}
    walls: dict[str, list[float]] = {name: [] for name in hands}
    spent: dict[str, list[float]] = {name: [] for name in hands}
    for _ in range(6):
        for name, client in clients.items():
            client.get()
            before = hands[name].ask("spent")
            walls[name] += [client.get() for _ in range(HTTP_REQUESTS)]
            spent[name].append((hands[name].ask("spent") - before) / HTTP_REQUESTS / 1000)
    for client in clients.values():
        client.close()
    return {name: {"us": round(median(walls[name]), 1), "cpu_us": round(median(spent[name]), 1)} for name in hands}


class Client:
    """One client with one connection."""

    def __init__(self, port: int, headers: Sequence[tuple[str, str]]) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        given = "".join(f"{name}: {value}\r\n" for name, value in headers)
        self._request = f"GET /me HTTP/1.1\r\nhost: localhost\r\naccept: application/json\r\n{given}\r\n".encode()

    def get(self) -> float:
        """How long it took, in µs."""
        begun = time.perf_counter()
        self._socket.sendall(self._request)
        answer = b""
        while b"}" not in answer:  # the body is a small JSON object, and no header has a brace
            part = self._socket.recv(65536)
            if not part:
                raise SystemExit(f"the server has closed the connection after {answer!r}")
            answer += part
        took = time.perf_counter() - begun
        if not answer.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"the server answered {answer!r}")
        return took * 1e6

    def close(self) -> None:
        self._socket.close()


def _weigh_all() -> dict[str, Any]:
    weighed = []
    for entry in WEIGHED:
        print(f"weighing {entry.name} ...", file=sys.stderr, flush=True)
        with _hire(entry.subject) as hand:
            none, once, twice = hand.ask("grow", 100), hand.ask("grow", USERS), hand.ask("grow", USERS)
        taken = {
            # What further users add is what the second half has added: a cache that is full has stopped growing.
            where: round(twice[where] - none[where] + (twice[where] - once[where]) * (ALL_USERS / USERS - 2))
            for where in ("process", "store")
        }
        weighed.append({"name": entry.name, **taken})
    return {**report.describe_run(1, USERS, is_pinned=False, measured=MEASURED), "weighed": weighed}


# Describing


def _describe_requests(section: dict[str, Any]) -> list[str]:
    lines = [
        "A whole request in the process: the app is called as its server calls it, with the headers of a browser and, "
        "where there is a session, its token. A route asks who is signed in and says so in JSON. Each set-up has a "
        f"process of its own; {section['rounds']} rounds, in each of which everybody has one turn of "
        f"{section['batch']} requests in random order; processor time. *Added* is to the framework alone in the same "
        "round. Over HTTP: uvicorn or waitress on loopback, one client on one kept connection; *server* is the "
        "server's processor time.",
        "",
    ]
    for framework in section["frameworks"]:
        lines += [f"### {framework['name']}", "", *report.table(_request_rows(framework), is_markdown=True), ""]
        lines += ["<details><summary>Set-ups</summary>", ""]
        said = {entry["name"]: entry["set_up"] for entry in framework["entries"]}
        lines += [f"- {name}: {text}" for name, text in said.items()]
        lines += ["", "</details>", ""]
    return [*lines, *report.table([("", ""), *report.circumstances(section)], is_markdown=True)]


def _request_rows(framework: dict[str, Any]) -> list[tuple[str, ...]]:
    rows = [
        (
            entry["name"],
            f"{entry['us']['median']:.1f}",
            f"{entry['added_us']['median']:.1f}",
            f"{entry['added_us']['q1']:.1f} to {entry['added_us']['q3']:.1f}",
            f"{entry['http']['us']:.0f}" if entry["http"] else "",
            f"{entry['http']['cpu_us']:.0f}" if entry["http"] else "",
        )
        for entry in framework["entries"]
    ]
    return [("", "median µs", "added µs", "quartiles", "HTTP µs", "server µs"), *rows]


def _describe_weights(section: dict[str, Any]) -> list[str]:
    rows = [
        (one["name"], f"{max(one['process'], 0) / 1e6:,.1f}", f"{one['store'] / 1e6:,.1f}")
        for one in section["weighed"]
    ]
    return [
        f"What {ALL_USERS:,} signed-in users take, each of whom has made one request: MB of the server's memory, and "
        f"of its store on disk. Measured with {USERS:,} users and with twice as many, and continued in a straight "
        "line. Where nothing is kept of a session, it cannot be ended before its token expires: so it "
        "is with PyJWT, joserfc and fastapi-users' JWT too. supertokens-python leaves its sessions to its core.",
        "",
        *report.table([("", "process MB", "store MB"), *rows], is_markdown=True),
        "",
        *report.table([("", ""), *report.circumstances(section)], is_markdown=True),
    ]


if __name__ == "__main__":
    main()
