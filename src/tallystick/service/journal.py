"""What the service logs: one JSON object a line, on stdout.

A request's line has its endpoint and not its path, where anything might stand; no header, no body, no user id. What
others log passes through as it is, with its errors' types and places: an error's own words may hold values, so they are
told only where they are about the connection to the store.
"""

from __future__ import annotations

import asyncio
import logging
import re
import sys
import time
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import lru_cache
from random import getrandbits
from traceback import extract_tb
from typing import Any, Final

import msgspec

from tallystick.errors import SessionError
from tallystick.service.guard import is_unreachable

REQUEST_ID: Final[ContextVar[str | None]] = ContextVar("tallystick_request_id", default=None)
"""Of the request that the running task answers."""

LEVELS: Final = {
    "DEBUG": logging.DEBUG,
    "INFO": logging.INFO,
    "WARN": logging.WARNING,
    "ERROR": logging.ERROR,
    "NONE": logging.CRITICAL + 1,
}

_GIVEN_ID: Final = re.compile(rb"[A-Za-z0-9._:-]{1,64}")
"""Too short for a token, should one get into the header by mistake."""
_AT_ONCE: Final = 4096
"""So many bytes go to a pipe unmixed, at least (POSIX has 512 for PIPE_BUF, Linux this)."""
_DEEPEST: Final = 3
"""How many places of an error are told, innermost first."""
_encode: Final = msgspec.json.Encoder().encode


def choose_request_id(given: bytes | None) -> str:
    """The caller's id of a request, if it is a fit one, else a new one."""
    if given is not None and _GIVEN_ID.fullmatch(given):
        return given.decode()
    return f"{getrandbits(64):016x}"


class Journal:
    """Writes the lines. ``write`` takes one with its line break."""

    def __init__(self, level: str, write: Callable[[bytes], object] | None = None) -> None:
        self._write = write or Gathered(_write_stdout).write
        self._has_requests = LEVELS[level] <= logging.INFO

    def note_request(
        self, request_id: str, method: str, endpoint: str | None, status: int, seconds: float, cdi_version: str | None
    ) -> None:
        """The line of a request that has been answered. ``status`` is 0 where the caller has gone before."""
        if not self._has_requests:
            return
        line = {
            "at": _instant(time.time()),
            "level": "info",
            "event": "request",
            "request": request_id,
            "method": method,
            "endpoint": endpoint,
            "status": status,
            "ms": round(seconds * 1000, 2),
        }
        if cdi_version is not None:
            line["cdi"] = cdi_version
        self._write(_encode(line) + b"\n")


class Gathered:
    """Writes the lines of one turn of the event loop in one go: a system call for each is a tenth of what a
    verification takes."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._lines = b""

    def write(self, line: bytes) -> None:
        if not self._lines:
            asyncio.get_running_loop().call_soon(self._write_all)
        elif len(self._lines) + len(line) > _AT_ONCE:
            self._write_all()
        self._lines += line

    def _write_all(self) -> None:
        if self._lines:
            lines, self._lines = self._lines, b""
            self._write(lines)


class _Handler(logging.Handler):
    """Of all that is logged in the process."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        super().__init__()
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._write(_encode(_describe(record)) + b"\n")
        except Exception:
            self.handleError(record)


def set_up_logging(level: str, write: Callable[[bytes], object] | None = None) -> None:
    """Let all of the process's loggers write such lines, and nothing else."""
    logging.basicConfig(handlers=[_Handler(write or _write_stdout)], level=LEVELS[level], force=True)
    for chatty in ("uvicorn", "alembic"):
        logging.getLogger(chatty).setLevel(max(LEVELS[level], logging.WARNING))  # what they tell of is told by us
    logging.captureWarnings(True)


def _describe(record: logging.LogRecord) -> dict[str, Any]:
    line: dict[str, Any] = {
        "at": _instant(record.created),
        "level": "warn" if record.levelno == logging.WARNING else record.levelname.lower(),
        "event": "log",
        "logger": record.name,
        "message": record.getMessage(),
    }
    request_id = REQUEST_ID.get()
    if request_id is not None:
        line["request"] = request_id
    error = record.exc_info[1] if record.exc_info else None
    if error is not None:
        line["error"] = describe_error(error)
    return line


def describe_error(error: BaseException) -> list[dict[str, Any]]:
    """An error and its causes, without the values in them."""
    chain: list[dict[str, Any]] = []
    current: BaseException | None = error
    while current is not None and len(chain) < _DEEPEST:
        kind = type(current)
        said: dict[str, Any] = {"type": f"{kind.__module__}.{kind.__qualname__}"}
        if isinstance(current, SessionError):
            said["message"] = current.message
        elif is_unreachable(current):
            said["message"] = str(getattr(current, "orig", None) or current).partition("\n")[0][:300]
        frames = extract_tb(current.__traceback__)[-_DEEPEST:]
        said["at"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in reversed(frames)]
        chain.append(said)
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return chain


def _instant(seconds: float) -> str:
    whole, part = divmod(int(seconds * 1000), 1000)
    return f"{_whole_second(whole)}.{part:03d}Z"


@lru_cache(maxsize=2)
def _whole_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().removesuffix("+00:00")


def _write_stdout(line: bytes) -> None:
    # One write of whole lines: workers share the stream, and short writes to a pipe do not mix.
    stream = sys.stdout.buffer
    stream.write(line)
    stream.flush()
