"""Several worker processes on the same sockets: start them, replace those that die, stop them.

uvicorn has a supervisor too. It asks each worker whether it is well and waits for the answer, and meanwhile sees
neither that one has died nor that it is told to stop: where a worker dies while it starts, for as long as its health
check may take. This one waits for all of these at once, and asks nobody.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from logging import getLogger
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from types import FrameType
from typing import Final

from uvicorn.config import STARTUP_FAILURE

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
SLACK_SECONDS: Final = 5.0
"""How much longer than it should need a worker has to stop before it is killed."""
YOUNG_SECONDS: Final = 5.0
"""A worker that dies younger is replaced no sooner than :data:`PAUSE_SECONDS` later, or it might go on for ever."""
PAUSE_SECONDS: Final = 1.0

_spawn: Final = multiprocessing.get_context("spawn")  # a fork would copy threads' locks and open connections
_logger = getLogger("tallystick.service")


def heed_hangup(handler: Callable[[int, FrameType | None], object] | signal.Handlers) -> None:
    """Have what a terminal says when it is closed heard by this handler; not where nobody is to hear it (``nohup``),
    nor where there is no such thing."""
    hangup = getattr(signal, "SIGHUP", None)
    if hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN:
        signal.signal(hangup, handler)


class Supervisor:
    """``work`` is run in each of ``count`` processes, and must be fit to be sent to them. ``stop_seconds`` is how long
    one may need to stop."""

    def __init__(self, work: Callable[[], None], count: int, stop_seconds: float) -> None:
        self._work = work
        self._count = count
        self._stop_seconds = stop_seconds
        self._workers: dict[SpawnProcess, float] = {}
        self._is_stopping = False
        self._bell, self._bell_end = socket.socketpair()

    def run(self) -> int:
        """Return when told to stop by a signal, or when a worker cannot start; the exit code."""
        for each in STOP_SIGNALS:
            signal.signal(each, self._note_stop)
        heed_hangup(self._note_stop)
        for _ in range(self._count):
            self._start()
        code = 0
        while not self._is_stopping and not code:
            wait([self._bell_end, *(worker.sentinel for worker in self._workers)])
            code = self._replace_dead()
        self._stop()
        self._bell.close()
        self._bell_end.close()
        return code

    def _note_stop(self, _signal: int, _frame: object) -> None:
        self._is_stopping = True
        self._bell.send(b"!")

    def _start(self) -> None:
        worker = _spawn.Process(target=_run_worker, args=(self._work,))
        worker.start()
        self._workers[worker] = time.monotonic()

    def _replace_dead(self) -> int:
        """The exit code where a worker could not start, else 0: what is wrong with one is wrong with all."""
        for worker, started_at in list(self._workers.items()):
            if self._is_stopping or worker.is_alive():
                continue
            del self._workers[worker]
            if worker.exitcode == STARTUP_FAILURE:
                return STARTUP_FAILURE
            _logger.warning("worker %d died (%s), and is replaced", worker.pid, _tell_end(worker.exitcode))
            if time.monotonic() - started_at < YOUNG_SECONDS:
                wait([self._bell_end], PAUSE_SECONDS)
            if not self._is_stopping:
                self._start()
        return 0

    def _stop(self) -> None:
        for worker in self._workers:
            worker.terminate()
        deadline = time.monotonic() + self._stop_seconds + SLACK_SECONDS
        for worker in self._workers:
            worker.join(max(0.0, deadline - time.monotonic()))
            if worker.is_alive():
                _logger.error("worker %d did not stop, and is killed", worker.pid)
                worker.kill()
                worker.join()


def _tell_end(code: int | None) -> str:
    if code is not None and code < 0:
        return f"signal {-code}"
    return f"exit code {code}"


def _run_worker(work: Callable[[], None]) -> None:
    threading.Thread(target=_follow_parent, daemon=True).start()
    work()


def _follow_parent() -> None:
    """A worker whose supervisor has been killed stops: it would hold the port, and nobody could stop it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
