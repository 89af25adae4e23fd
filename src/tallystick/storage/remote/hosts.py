"""The hosts of a core: where they are, whose turn it is, and which of them have not answered lately."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import count
from typing import Final
from urllib.parse import urlsplit

from tallystick.errors import GeneralError

REST_SECONDS: Final = 5.0
"""For how long a host that could not be reached, or did not answer in time, is asked after all others only."""

MAX_HOSTS: Final = 32

_PUBLIC: Final = "public"
_SEPARATORS: Final = re.compile(r"[,;\s]+")  # SuperTokens SDKs separate hosts with semicolons
_PATH: Final = re.compile(r"(/[A-Za-z0-9._~-]+)*/?")


@dataclass(frozen=True, slots=True)
class Host:
    """One host of a core. ``name`` is for people."""

    base: str
    """What stands before each path."""
    name: str


def parse_hosts(urls: str, app_id: str) -> tuple[Host, ...]:
    """The hosts of ``http://core1:3567,http://core2:3567/prefix``, for one app. Raises :class:`GeneralError`
    (``bad_url``)."""
    hosts = tuple(dict.fromkeys(_parse_host(url, app_id) for url in _SEPARATORS.split(urls) if url))
    if not 0 < len(hosts) <= MAX_HOSTS:
        raise _bad_url(f"there must be 1 to {MAX_HOSTS} hosts, not {len(hosts)}")
    return hosts


def _parse_host(url: str, app_id: str) -> Host:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _bad_url("one of them is not understood") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise _bad_url("each host has its own http:// or https:// before it")
    if "@" in parts.netloc:
        # Not quoted: it may be a password.
        raise _bad_url("a core knows no user and password; its key goes into api_key")
    if parts.query or parts.fragment or not _PATH.fullmatch(parts.path):
        raise _bad_url("after the port there may be a path, and nothing else")
    path = parts.path.rstrip("/")
    if app_id != _PUBLIC:
        if "/appid-" in path:
            raise _bad_url("the URL names an app, and so does app_id: say it once")
        path = f"{path}/appid-{app_id}"
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    name = host if port is None else f"{host}:{port}"
    return Host(f"{parts.scheme}://{name}{path}", name)


def _bad_url(why: str) -> GeneralError:
    return GeneralError(
        f"the core's URL is not understood: {why}. Such are http://core:3567, "
        "http://core1:3567,http://core2:3567 and https://sessions.example.com/appid-shop",
        reason="bad_url",
    )


class Hosts:
    """The hosts, in turn. Threads may share it: the worst that a race does is that two of them begin with one host."""

    def __init__(self, hosts: tuple[Host, ...]) -> None:
        self.all = hosts
        self._turns = count()
        self._resting: dict[Host, float] = {}

    def order(self, now: float) -> list[Host]:
        """All of them, beginning with the one whose turn it is; those at rest come last. ``now`` in seconds."""
        first = next(self._turns) % len(self.all)
        turned = self.all[first:] + self.all[:first]
        return sorted(turned, key=lambda host: self._resting.get(host, now) > now)

    def rest(self, host: Host, now: float) -> None:
        """This one could not be reached."""
        self._resting[host] = now + REST_SECONDS

    def wake(self, host: Host) -> None:
        """This one has answered."""
        self._resting.pop(host, None)
