"""From a URL to a client of redis-py, with time limits on everything that waits."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from tallystick.errors import GeneralError

AT_ONCE: Final = 50
"""How many steps of a store are under way at the most, and how many connections there are to each server."""

WAIT_SECONDS: Final = 5
"""How long to wait for a connection, or for an answer."""

IDLE_SECONDS: Final = 10
"""A connection that was idle for longer is tried before it is used."""

_MOST_REPLICAS: Final = 100
_SENTINEL_PORT: Final = 26379
_URL: Final = re.compile(r"(redis|rediss|valkey|valkeys)(\+cluster|\+sentinel)?://(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class WaitRule:
    """By how many replicas, and how soon (``WAIT``), each step must be confirmed."""

    replicas: int
    milliseconds: int


def split_wait_rule(url: str) -> tuple[str, WaitRule | None]:
    """A URL without our own parameters, ``wait_replicas`` and ``wait_timeout`` (seconds), and what they say. Raises
    :class:`GeneralError` (``bad_url``)."""
    base, _, query = url.partition("?")
    parameters = dict(parse_qsl(query, keep_blank_values=True))
    replicas, timeout = parameters.pop("wait_replicas", None), parameters.pop("wait_timeout", None)
    if replicas is None and timeout is None:
        return url, None
    try:
        rule = WaitRule(int(replicas or ""), round(float(timeout or "1") * 1000))
    except (ValueError, OverflowError):
        raise _bad_wait_rule() from None
    # Well within the time for an answer: that ends a connection, and says nothing.
    if not 1 <= rule.replicas <= _MOST_REPLICAS or not 1 <= rule.milliseconds < WAIT_SECONDS * 1000:
        raise _bad_wait_rule()
    return base + (f"?{urlencode(parameters)}" if parameters else ""), rule


def make_client(url: str, *, is_async: bool) -> Any:  # noqa: ANN401 - redis-py's four clients have no common type
    """A client for ``redis://``, ``redis+cluster://`` or ``redis+sentinel://`` (``rediss`` for TLS; ``valkey`` is the
    same). Raises :class:`GeneralError`: ``missing_driver`` or ``bad_url``."""
    library = _load_library(is_async)
    match = _URL.fullmatch(url)
    if match is None:
        raise _bad_url()
    scheme = match[1].replace("valkey", "redis")
    plain = f"{scheme}://{match[3]}"
    try:
        if match[2] == "+cluster":
            return _make_cluster(library, plain)
        if match[2] == "+sentinel":
            return _make_sentinel(library, plain, has_tls=scheme == "rediss")
        pool = library.BlockingConnectionPool.from_url(plain, timeout=WAIT_SECONDS, **_options(library))
        return library.Redis.from_pool(pool)
    except (ValueError, TypeError):
        # Not chained: the cause could quote a password.
        raise _bad_url() from None


def is_cluster(url: str) -> bool:
    """Whether a client for this URL is one of a cluster."""
    match = _URL.fullmatch(url)
    return match is not None and match[2] == "+cluster"


def check_url(url: str) -> None:
    """Raise what :func:`make_client` would, as far as that can be told without connecting, as a cluster's client does
    at once."""
    _load_library(is_async=True)
    match = _URL.fullmatch(url)
    if match is None or not _has_plain_place(url):
        raise _bad_url()
    if match[2] != "+cluster":
        make_client(url, is_async=True)


def _has_plain_place(url: str) -> bool:
    """Whether user and password end where the parts of a URL say so: with a / or # in it that was not written as %XX, a
    piece of a password would be taken for a host or a path, be asked for and be shown."""
    parts = urlsplit(url)
    return "@" not in parts.path + parts.fragment + ("" if "@" in parts.netloc else parts.query)


def list_clients(client: Any) -> list[Any]:  # noqa: ANN401
    """A client, and those by which it asks Sentinels, which it does not close itself."""
    manager = getattr(getattr(client, "connection_pool", None), "sentinel_manager", None)
    return [client, *(() if manager is None else manager.sentinels)]


def name_server(url: str) -> str:
    """A URL to show to people: without a password."""
    parts = urlsplit(url)
    hosts = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{hosts}{parts.path}"


def _load_library(is_async: bool) -> Any:  # noqa: ANN401
    try:
        import redis  # noqa: PLC0415
        import redis.asyncio  # noqa: PLC0415
    except ImportError as error:
        raise GeneralError(
            'the driver redis is not installed: pip install "tallystick[redis]"', reason="missing_driver"
        ) from error
    return redis.asyncio if is_async else redis


def _make_cluster(library: Any, url: str) -> Any:  # noqa: ANN401
    # A cluster's client sends again by itself what a failing or moving server has not answered, so each step must bear
    # to be done twice; all do.
    options = _options(library)
    del options["retry"]
    # A step that finds its node gone asks another one for the cluster's new state before it lets go of its connection.
    options["max_connections"] = 2 * AT_ONCE
    return library.RedisCluster.from_url(url, **options)


def _make_sentinel(library: Any, url: str, *, has_tls: bool) -> Any:  # noqa: ANN401
    parts = urlsplit(url)
    path = parts.path.strip("/").split("/")
    if not path[0]:
        raise _bad_url()
    credentials, _, hosts = parts.netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    servers = [_split_host(host) for host in hosts.split(",")]
    options = _options(library) | {"ssl": has_tls, "username": user or None, "password": password or None}
    if len(path) > 1:
        options["db"] = int(path[1])
    return library.sentinel.Sentinel(servers, **_options(library)).master_for(path[0], **options)


def _split_host(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":") if ":" in text else (text, "", str(_SENTINEL_PORT))
    if not host:
        raise _bad_url()
    return host, int(port)


def _options(library: Any) -> dict[str, Any]:  # noqa: ANN401
    return {
        "max_connections": AT_ONCE,
        "socket_timeout": WAIT_SECONDS,
        "socket_connect_timeout": WAIT_SECONDS,
        "health_check_interval": IDLE_SECONDS,
        "retry": _no_retry(library),
    }


def _no_retry(library: Any) -> Any:  # noqa: ANN401
    """A time-out says nothing of what was done, and an insertion that is done again finds itself in its own way."""
    from redis.backoff import NoBackoff  # noqa: PLC0415

    return library.retry.Retry(NoBackoff(), 0)


def _bad_url() -> GeneralError:
    return GeneralError(
        "the Redis URL is not understood; such are redis://:password@host:6379/0, redis+cluster://host:6379 and "
        "redis+sentinel://host:26379,host:26379/service (in user and password, write special characters as %XX)",
        reason="bad_url",
    )


def _bad_wait_rule() -> GeneralError:
    return GeneralError(
        "of a Redis URL, wait_replicas is how many replicas must confirm each step (1 or more), and wait_timeout for "
        f"how many seconds to wait for them (1 by default, and less than {WAIT_SECONDS})",
        reason="bad_url",
    )
