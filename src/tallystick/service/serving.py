"""``tallystick serve``: from settings to processes that listen.

One process answers by itself. Several share the listening sockets: a worker that dies takes its own connections with it
and nothing that waits in a socket's queue, and is replaced.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from ipaddress import ip_address
from logging import getLogger
from pathlib import Path
from typing import Final

from uvicorn import Config, Server

from tallystick.errors import GeneralError
from tallystick.protocol.derivation import derive_all
from tallystick.service.connection import BoundedConnection
from tallystick.service.edge import Edge
from tallystick.service.journal import set_up_logging
from tallystick.service.metrics import DIRECTORY_VARIABLE
from tallystick.service.settings import CoreSettings
from tallystick.service.supervisor import Supervisor, heed_hangup
from tallystick.service.worker import make_worker, open_stores
from tallystick.storage.opening import is_ephemeral

BACKLOG: Final = 2048
"""How many connections wait to be accepted: those of a worker that has died, too."""

KEEP_ALIVE_SECONDS: Final = 75
"""Longer than the clients' own: whoever closes an idle connection first must not be the one who is written to."""

_logger = getLogger("tallystick.service")


@dataclass(frozen=True, slots=True)
class Launch:
    """All that a worker is given; it crosses the border of a process."""

    settings: CoreSettings
    secret: tuple[str, ...] = field(repr=False)


def serve(settings: CoreSettings, *, is_throw_away: bool = False) -> int:
    """Serve until told to stop; the exit code. ``is_throw_away`` takes a database and a secret for this run alone.

    Raises :class:`GeneralError` for what can be told before: no secret, a bad URL, a port that is taken.
    """
    with ExitStack() as stack:
        if settings.dev:
            _check_loopback(settings.host)
        if is_throw_away:
            settings = stack.enter_context(_throw_away(settings))
        launch = Launch(settings, find_secret(settings))
        _check(launch)
        sockets = bind(settings.host, settings.port)
        stack.callback(_close, sockets)
        set_up_logging(settings.log_level)
        _logger.info("listening on %s", ", ".join(_address_of(each) for each in sockets))
        if settings.workers == 1:
            return _serve_alone(launch, sockets)
        stack.enter_context(_metrics_directory())
        return _serve_by_several(launch, sockets)


def find_secret(settings: CoreSettings) -> tuple[str, ...]:
    """The deployment's secrets, newest first. Raises :class:`GeneralError` (``no_secret``) where there is none."""
    text = settings.secret or ""
    if settings.secret_file is not None:
        try:
            text = Path(settings.secret_file).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise GeneralError(
                f"secret_file {settings.secret_file} cannot be read: {type(error).__name__}", reason="no_secret"
            ) from error
    found = tuple(text.split())
    if found:
        return found
    raise GeneralError(
        "a secret is needed: run `tallystick secret` once, keep what it prints, and set it as TALLYSTICK_SECRET or put "
        "it into a file and pass --secret-file. All instances on one store need the same. Just to try it: --dev",
        reason="no_secret",
    )


def bind(host: str, port: int) -> list[socket.socket]:
    """Sockets on all addresses of ``host``: a client that looks up ``localhost`` may take either."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise GeneralError(f"host {host!r} cannot be looked up: {error}", reason="bad_config") from error
    sockets: list[socket.socket] = []
    for family, address in dict.fromkeys((family, address) for family, _, _, _, address in found):
        try:
            sockets.append(_listen(family, address))
        except OSError as error:
            if family == socket.AF_INET6 and len(found) > 1:
                continue  # of a machine that has IPv6 in its hosts file alone
            _close(sockets)
            raise GeneralError(
                f"cannot listen on port {port} of {host}: {error.strerror}. Choose another with --port or --host",
                reason="bad_config",
            ) from error
    return sockets


def _listen(family: int, address: tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def _close(sockets: Sequence[socket.socket]) -> None:
    for each in sockets:
        each.close()


def _address_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _check(launch: Launch) -> None:
    """What would fail in each worker is told here, once."""
    derive_all(launch.secret, "public")
    settings = launch.settings
    if is_ephemeral(settings.url) and settings.workers > 1:
        raise GeneralError("sessions in memory are not shared by several workers: use a file", reason="bad_config")
    open_stores(settings)


@contextmanager
def _throw_away(settings: CoreSettings) -> Generator[CoreSettings]:
    """A database and a secret for this run alone."""
    home = tempfile.mkdtemp(prefix="tallystick-dev-")
    try:
        url = f"sqlite:///{home}/dev.db"
        yield replace(settings, url=url, moving_from=None, secret=secrets.token_urlsafe(48), secret_file=None)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _check_loopback(host: str) -> None:
    try:
        is_loopback = ip_address(host).is_loopback
    except ValueError:
        is_loopback = host.lower() == "localhost"
    if not is_loopback:
        raise GeneralError(
            f"--dev listens on this machine only, and {host} is not it: leave out --host, or --dev",
            reason="bad_config",
        )


@contextmanager
def _metrics_directory() -> Generator[None]:
    """Where the workers' counts are added up; see :mod:`tallystick.service.metrics`."""
    home = tempfile.mkdtemp(prefix="tallystick-metrics-")
    os.environ[DIRECTORY_VARIABLE] = home
    try:
        yield
    finally:
        del os.environ[DIRECTORY_VARIABLE]
        shutil.rmtree(home, ignore_errors=True)


def make_app(launch: Launch) -> Edge:
    """The ASGI app of one worker, made in its own process."""
    set_up_logging(launch.settings.log_level)
    return make_worker(launch.settings, launch.secret)


def _uvicorn(launch: Launch) -> Config:
    return Config(
        partial(make_app, launch),
        factory=True,
        http=BoundedConnection,
        loop="uvloop" if sys.platform != "win32" else "asyncio",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        # Whoever connects is the caller: to believe a header would let anyone past ip_allow_regex.
        proxy_headers=False,
        server_header=False,
        date_header=True,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=launch.settings.shutdown_timeout,
    )


def _serve_alone(launch: Launch, sockets: list[socket.socket]) -> int:
    server = Server(_uvicorn(launch))
    # uvicorn raises a signal again when it has stopped, and by SIGTERM's own nature nothing would be put in order then.
    signal.signal(signal.SIGTERM, _end)
    heed_hangup(_stop)
    with contextlib.suppress(KeyboardInterrupt, _Stopped):
        server.run(sockets)
    return 0


class _Stopped(BaseException):
    """Told to stop."""


def _end(_signal: int, _frame: object) -> None:
    raise _Stopped


def _stop(_signal: int, _frame: object) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def _serve_by_several(launch: Launch, sockets: list[socket.socket]) -> int:
    work = partial(_work, launch, sockets)
    return Supervisor(work, launch.settings.workers, launch.settings.shutdown_timeout).run()


def _work(launch: Launch, sockets: list[socket.socket]) -> None:
    """What each of several workers does."""
    # What a terminal says goes to all of its processes; the supervisor's word is what counts.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    heed_hangup(signal.SIG_IGN)
    raise SystemExit(_serve_alone(launch, sockets))
