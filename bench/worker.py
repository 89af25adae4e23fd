"""One subject in a process of its own, which does as it is told: a line of JSON on its input, one on its output.

Frameworks have settings of a process (Django above all), and what one has loaded must not weigh on another.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apps_asgi
import apps_django
import apps_wsgi
from calling import PATH, PLAIN, Headers
from subject import Subject

SUBJECTS: dict[str, Callable[..., Subject]] = {**apps_asgi.SUBJECTS, **apps_wsgi.SUBJECTS, **apps_django.SUBJECTS}
KEPT = 100
"""Clients whose requests come again and again."""
AT_ONCE = 500


class Worker:
    """What it can be told."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._known: list[Headers] = list(subject.sign_in(KEPT))
        self._new: list[Headers] = []

    def prepare(self, count: int) -> None:
        """Sign in so many clients who have made no request yet."""
        self._new += self._subject.sign_in(count)

    def time(self, kind: str, count: int) -> int:
        """The ns of one request: ``plain`` asks for no session, ``seen`` brings what was brought before, ``fresh`` what
        was not."""
        if kind == "fresh":
            clients, self._new = self._new[:count], self._new[count:]
        else:
            clients = self._known[:count]
        requests = [(PLAIN if kind == "plain" else PATH, headers) for headers in clients]
        if kind != "fresh":
            self._subject.caller.time(requests)
        gc.collect()
        gc.freeze()
        spent = self._subject.caller.time(requests)
        gc.unfreeze()
        return spent // len(requests)

    def serve(self) -> dict[str, Any]:
        """Serve over HTTP; the port, and the headers of a client."""
        return {"port": self._subject.caller.serve(), "headers": self._known[0]}

    def spent(self) -> int:
        """The processor time of this process, in ns."""
        return time.process_time_ns()

    def grow(self, count: int) -> dict[str, int]:
        """Sign in so many clients, each of whom makes a request; what the process and the store take then."""
        for begun in range(0, count, AT_ONCE):
            clients = self._subject.sign_in(min(AT_ONCE, count - begun))
            self._subject.caller.time([(PATH, headers) for headers in clients])
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
        return {"process": pages * os.sysconf("SC_PAGE_SIZE"), "store": self._subject.stored_bytes()}


def main() -> None:
    # What a library prints must not be taken for an answer.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    worker = Worker(SUBJECTS[sys.argv[1]]())
    print("null", file=answers, flush=True)
    for line in sys.stdin:
        name, arguments = json.loads(line)
        print(json.dumps(getattr(worker, name)(*arguments)), file=answers, flush=True)


if __name__ == "__main__":
    main()
