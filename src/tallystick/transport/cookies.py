"""Cookies, read with their duplicates and written out whole (RFC 6265bis)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import formatdate
from typing import Final
from urllib.parse import quote, unquote

from tallystick.config import SameSite, milliseconds
from tallystick.types import CookieTokenInfo, TokenInfo

ID_REFRESH_COOKIE: Final = "sIdRefreshToken"
"""Of interfaces before FDI 1.16: it says that there is a session."""

MAX_COOKIE_HEADER: Final = 64 * 1024
"""A longer Cookie header is not read: no browser sends one (a hundred cookies of full size, RFC 6265bis 5.6)."""

_LONGEST_LIFE: Final = milliseconds(timedelta(days=400))

_EPOCH: Final = "Thu, 01 Jan 1970 00:00:00 GMT"


@dataclass(frozen=True, slots=True)
class Cookie:
    """One ``Set-Cookie``. An empty value clears the cookie; ``expires_at`` in ms. Always HttpOnly."""

    name: str
    value: str = field(repr=False)
    path: str
    domain: str | None
    expires_at: int
    is_secure: bool
    same_site: SameSite
    is_partitioned: bool = False

    @property
    def place(self) -> tuple[str, str, str | None]:
        """What makes two cookies one to a browser."""
        return self.name, self.path, self.domain

    @property
    def coded_value(self) -> str:
        """The value as it is sent."""
        return quote(self.value, safe="")

    @property
    def attributes(self) -> dict[str, str | None]:
        """The attributes in their order; None for those without a value. Dates are always GMT (spec/fdi.md P-16)."""
        attributes: dict[str, str | None] = {"Path": self.path}
        if self.domain is not None:
            attributes["Domain"] = self.domain
        # Rounded up, so that a token never outlives its cookie by a fraction of a second (P-21).
        attributes["Expires"] = formatdate(-(-self.expires_at // 1000), usegmt=True) if self.value else _EPOCH
        attributes["HttpOnly"] = None
        if self.is_secure:
            attributes["Secure"] = None
        attributes["SameSite"] = self.same_site.capitalize()
        if self.is_partitioned:
            attributes["Partitioned"] = None
        return attributes

    def render(self) -> str:
        """The header's value."""
        said = (name if value is None else f"{name}={value}" for name, value in self.attributes.items())
        return "; ".join([f"{self.name}={self.coded_value}", *said])


def end_of_cookie(token: TokenInfo | CookieTokenInfo) -> int:
    """When a token's cookie goes, in ms: with the token, or before, as browsers keep none for longer than 400 days
    (spec/fdi.md P-17)."""
    return min(token.expiry, token.created_time + _LONGEST_LIFE)


def read_cookie(header: str | None, name: str) -> list[str]:
    """All values that a Cookie header has under ``name``, percent-decoded, empty ones left out.

    More than one means that the browser holds cookies of several paths or domains, which ordinary parsers hide.
    """
    if header is None or len(header) > MAX_COOKIE_HEADER or name not in header:
        return []
    return [value for key, value in _split(header) if key == name and value]


def _split(header: str) -> list[tuple[str, str]]:
    # By find, which looks for one letter eight at a time: `split` goes letter by letter, through a whole token.
    pairs: list[tuple[str, str]] = []
    begin, length = 0, len(header)
    while begin < length:
        end = header.find(";", begin)
        if end < 0:
            end = length
        equals = header.find("=", begin, end)
        if equals >= 0:
            value = header[equals + 1 : end].strip().strip('"')
            pairs.append((header[begin:equals].strip(), unquote(value) if "%" in value else value))
        begin = end + 1
    return pairs
