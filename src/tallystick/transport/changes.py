"""What a response must be told: cookies to set, headers to set. Collected as a value and applied once, at the end."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from tallystick.transport.cookies import Cookie

EXPOSE: Final = "access-control-expose-headers"
ANTI_CSRF: Final = "anti-csrf"
FRONT_TOKEN: Final = "front-token"
ACCESS_HEADER: Final = "st-access-token"
REFRESH_HEADER: Final = "st-refresh-token"


@dataclass(frozen=True, slots=True)
class Changes:
    """Cookies and headers for a response. A header with None is taken away again."""

    cookies: tuple[Cookie, ...] = ()
    headers: tuple[tuple[str, str | None], ...] = field(default=(), repr=False)

    def __bool__(self) -> bool:
        return bool(self.cookies or self.headers)

    def then(self, later: Changes) -> Changes:
        """Both, and where they speak of the same cookie or header, the later one (spec/fdi.md P-44)."""
        if not self:
            return later
        cookies = {cookie.place: cookie for cookie in (*self.cookies, *later.cookies)}
        headers = dict((*self.headers, *later.headers))
        return Changes(tuple(cookies.values()), tuple(headers.items()))

    def apply_to(self, headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """A response's headers with these changes made."""
        return [*self.merge_into(headers), *(("set-cookie", cookie.render()) for cookie in self.cookies)]

    def merge_into(self, headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """The same without the cookies, for a framework that keeps those apart.

        Session headers are set, not added (P-34), and named in ``Access-Control-Expose-Headers`` together with what the
        app exposes already: without that a page of another origin cannot see them (spec/fdi.md 1.4).
        """
        ours = dict(self.headers)
        kept: list[tuple[str, str]] = []
        exposed: list[str] = []
        for name, value in headers:
            lower = name.lower()
            if lower == EXPOSE:
                exposed += [part.strip() for part in value.split(",")]
            elif lower not in ours and not (self and lower == "cache-control"):
                kept.append((name, value))
        set_now = [(name, value) for name, value in ours.items() if value is not None]
        exposed += [name for name, _ in set_now]
        names = {name.lower(): name for name in reversed(exposed) if name}
        kept += set_now
        if names:
            kept.append((EXPOSE, ", ".join(reversed(names.values()))))
        if self:
            # Whatever the app says of the route: a shared cache must not hand one user's tokens to another, nor the
            # browser's own give old ones back (P-61).
            kept.append(("cache-control", "no-store"))
        return kept


NO_CHANGES: Final = Changes()
