"""The cookie jars of test clients: httpx's (and so Starlette's and FastAPI's), Flask's, and Django's."""

from __future__ import annotations

from http.cookies import SimpleCookie
from typing import Any, Protocol, TypeAlias, TypeVar

from tallystick.config import Config

Place: TypeAlias = tuple[str, str]
"""A cookie's name and path."""
C = TypeVar("C")


class Jar(Protocol):
    """A client's cookies of ours, by name and path, and the headers that it always sends."""

    def read(self) -> dict[Place, str]:
        """The cookies of ours that it holds."""
        ...

    def set(self, place: Place, value: str) -> None:
        """Put one into the jar."""
        ...

    def remove(self, place: Place) -> None:
        """Take one out; no-op where it is not there."""
        ...

    def always_send(self, name: str, value: str) -> None:
        """Send a header with every request."""
        ...

    def request(self, method: str, path: str) -> Any:  # noqa: ANN401 - as the client has it
        """Make a request; the client's own response."""
        ...


def open_jar(client: Any, config: Config) -> Jar:  # noqa: ANN401 - of whatever framework
    """A client's jar. Raises :class:`TypeError` for what is no test client."""
    if hasattr(getattr(client, "cookies", None), "jar"):
        return _HttpxJar(client, config)
    if hasattr(client, "set_cookie") and hasattr(client, "get_cookie"):
        return _FlaskJar(client, config)
    if isinstance(getattr(client, "cookies", None), SimpleCookie):
        return _DjangoJar(client, config)
    raise TypeError(
        f"a test client is needed: of httpx, Starlette, FastAPI, Flask, Django or DRF; not {type(client).__name__}"
    )


class _Base:
    def __init__(self, client: Any, config: Config) -> None:  # noqa: ANN401 - see above
        self.client = client
        self.domain = config.cookie_domain
        self.places: list[Place] = [
            (config.access_cookie, config.access_token_path),
            (config.refresh_cookie, config.refresh_cookie_path),
            ("sIdRefreshToken", config.access_token_path),
        ]


class _HttpxJar(_Base):
    @property
    def host(self) -> str:
        """As the standard library's jar spells the host that a response comes from."""
        host = self.domain or str(self.client.base_url.host)
        return host if "." in host else f"{host}.local"

    def read(self) -> dict[Place, str]:
        return {
            (cookie.name, cookie.path): cookie.value
            for cookie in self.client.cookies.jar
            if (cookie.name, cookie.path) in self.places
        }

    def set(self, place: Place, value: str) -> None:
        self.client.cookies.set(place[0], value, domain=self.host, path=place[1])

    def remove(self, place: Place) -> None:
        for cookie in list(self.client.cookies.jar):
            if (cookie.name, cookie.path) == place:
                self.client.cookies.jar.clear(cookie.domain, cookie.path, cookie.name)

    def always_send(self, name: str, value: str) -> None:
        self.client.headers[name] = value

    def request(self, method: str, path: str) -> Any:  # noqa: ANN401
        return self.client.request(method, path)


class _FlaskJar(_Base):
    def read(self) -> dict[Place, str]:
        found = {place: self.client.get_cookie(place[0], **self._where(place)) for place in self.places}
        return {place: cookie.value for place, cookie in found.items() if cookie is not None}

    def set(self, place: Place, value: str) -> None:
        self.client.set_cookie(place[0], value, **self._where(place))

    def remove(self, place: Place) -> None:
        self.client.delete_cookie(place[0], **self._where(place))

    def always_send(self, name: str, value: str) -> None:
        self.client.environ_base[_in_environ(name)] = value

    def request(self, method: str, path: str) -> Any:  # noqa: ANN401
        return self.client.open(path, method=method)

    def _where(self, place: Place) -> dict[str, str]:
        return {"domain": (self.domain or "localhost").removeprefix("."), "path": place[1]}


class _DjangoJar(_Base):
    def read(self) -> dict[Place, str]:
        return {
            place: self.client.cookies[place[0]].value
            for place in self.places
            if place[0] in self.client.cookies and self.client.cookies[place[0]].value
        }

    def set(self, place: Place, value: str) -> None:
        self.client.cookies[place[0]] = value
        self.client.cookies[place[0]]["path"] = place[1]

    def remove(self, place: Place) -> None:
        self.client.cookies.pop(place[0], None)

    def always_send(self, name: str, value: str) -> None:
        self.client.defaults[_in_environ(name)] = value

    def request(self, method: str, path: str) -> Any:  # noqa: ANN401
        return self.client.generic(method, path)


def _in_environ(name: str) -> str:
    return "HTTP_" + name.upper().replace("-", "_")
