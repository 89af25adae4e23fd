"""A request and its reply as bytes and text, and what must hold of every reply whatever it answers."""

import json
from base64 import b64decode
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import unquote

OUR_COOKIES = ("sAccessToken", "sRefreshToken", "sIdRefreshToken")
TOKEN_HEADERS = ("st-access-token", "st-refresh-token", "front-token", "anti-csrf", "id-refresh-token")
Headers = list[tuple[str, str]]


@dataclass(frozen=True)
class SetCookie:
    """One Set-Cookie header, taken apart."""

    name: str
    value: str
    attributes: dict[str, str]

    @property
    def path(self) -> str:
        return self.attributes["path"]

    @property
    def expires_at(self) -> int:
        return int(parsedate_to_datetime(self.attributes["expires"]).replace(tzinfo=UTC).timestamp()) * 1000


def parse_set_cookie(text: str) -> SetCookie:
    first, *rest = text.split("; ")
    name, _, value = first.partition("=")
    attributes = {key.lower(): value for key, _, value in (part.partition("=") for part in rest)}
    return SetCookie(name, unquote(value), attributes)


@dataclass(frozen=True)
class Reply:
    """What came back. Header names are in lower case."""

    status: int
    headers: Headers
    chunks: list[bytes] = field(default_factory=list)

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def header(self, name: str) -> str | None:
        """The one value of a header; None where there is none."""
        values = [value for key, value in self.headers if key == name]
        assert len(values) <= 1, f"{name} is there {len(values)} times"
        return values[0] if values else None

    @property
    def exposed(self) -> list[str]:
        return [name.strip() for name in (self.header("access-control-expose-headers") or "").split(",") if name]

    @property
    def cookies(self) -> dict[str, SetCookie]:
        """Our cookies, by name. Each is set once at the most (P-44)."""
        found = [parse_set_cookie(value) for key, value in self.headers if key == "set-cookie"]
        ours = {cookie.name: cookie for cookie in found if cookie.name in OUR_COOKIES}
        assert len(ours) == sum(cookie.name in OUR_COOKIES for cookie in found), "a cookie is set twice"
        return ours

    @property
    def session_headers(self) -> dict[str, str]:
        return {name: value for name in TOKEN_HEADERS if (value := self.header(name)) is not None}

    @property
    def is_silent(self) -> bool:
        """Whether it leaves the client's tokens alone."""
        return not self.cookies and not self.session_headers

    @property
    def clears_cookies(self) -> bool:
        return self._is_cleared("sAccessToken") and self._is_cleared("sRefreshToken")

    @property
    def clears_headers(self) -> bool:
        return self.header("st-access-token") == "" and self.header("st-refresh-token") == ""

    @property
    def clears_everything(self) -> bool:
        return self.clears_cookies and self.clears_headers and self.header("front-token") == "remove"

    def _is_cleared(self, name: str) -> bool:
        return name in self.cookies and self.cookies[name].value == "" and self.cookies[name].expires_at == 0

    @property
    def front_token(self) -> Any:
        text = self.header("front-token")
        assert text not in (None, "remove")
        return json.loads(b64decode(text or "", validate=True))


def tokens_of(reply: Reply) -> set[str]:
    """The secrets that a reply hands out: the front token's content is known to the page, its text still is not for
    bodies."""
    values = [cookie.value for cookie in reply.cookies.values()]
    values += [value for value in reply.session_headers.values() if value != "remove"]
    return {value for value in values if value}


def check_reply(reply: Reply, secrets: Iterable[str]) -> None:
    """What holds of every reply: tokens are only where they belong (ASVS V3.3.4), and our cookies are whole."""
    elsewhere = [value for name, value in reply.headers if name not in (*TOKEN_HEADERS, "set-cookie")]
    said = "\n".join([*elsewhere, reply.body.decode("latin-1")])
    for secret in {*secrets, *tokens_of(reply)}:
        assert secret not in said, "a token stands in a body or in a header that is not for it"
    for cookie in reply.cookies.values():
        assert "httponly" in cookie.attributes
        assert cookie.path.startswith("/")
        assert cookie.attributes["samesite"] in ("Lax", "Strict", "None")
        assert "expires" in cookie.attributes
        assert len(cookie.name) + len(cookie.value) <= 4096
    for name in reply.session_headers:
        assert name in [other.lower() for other in reply.exposed], (
            f"{name} is not exposed, so a page of another origin cannot see it"
        )
    assert len(reply.exposed) == len({name.lower() for name in reply.exposed}), "a name is exposed twice"
    if not reply.is_silent:
        assert reply.header("cache-control") == "no-store"
    assert b"Traceback" not in reply.body
