"""The usual request: it brings one access token, plainly, and nobody has to be asked about it.

Nearly all requests are like that, so nothing is done for them that need not be: no dialogue, no list of all cookies, no
policy where the method is safe. Whatever is not plain is left to :func:`tallystick.transport.session.verify`, which
knows all cases; so nothing is decided here that is decided otherwise there.
"""

from __future__ import annotations

from tallystick.aio import AsyncSessions
from tallystick.config import AntiCsrf
from tallystick.errors import SessionError
from tallystick.protocol.access_token import parse_access_token
from tallystick.sessions import Sessions
from tallystick.transport.cookies import ID_REFRESH_COOKIE, MAX_COOKIE_HEADER
from tallystick.transport.decisions import WITHOUT_TOKENS, needs_anti_csrf
from tallystick.transport.exchange import Exchange
from tallystick.transport.session import Held
from tallystick.transport.tokens import Method, parse_bearer
from tallystick.types import OMITTED


class UsualRequests:
    """How an app verifies its usual requests. Made once, of what its settings say."""

    __slots__ = ("_assigned", "_is_classic", "_name", "_takes_bearer", "_takes_cookie", "_verify_alone")

    def __init__(self, sessions: Sessions | AsyncSessions) -> None:
        config = sessions.config
        self._verify_alone = sessions.verify_alone
        self._name = config.access_cookie
        self._assigned = f"{self._name}="
        self._is_classic = config.is_classic
        self._takes_bearer = config.token_transfer_method != "cookie"
        self._takes_cookie = config.token_transfer_method != "header"

    def verify(self, exchange: Exchange, anti_csrf_check: bool | None) -> Held | None:
        """What a request holds; None where it is not a usual one. Raises :class:`SessionError` as ``verify`` does."""
        request = exchange.request
        verb = request.method
        if self._is_classic or verb in WITHOUT_TOKENS:
            return None
        usual = self.find_token(*request.credentials())
        if usual is None:
            return None
        method, text = usual
        if needs_anti_csrf(verb, method, anti_csrf_check) and exchange.policy.anti_csrf is not AntiCsrf.NONE:
            return None
        try:
            found = self._verify_alone(text, None, OMITTED, False)
        except SessionError as error:
            if parse_access_token(text) is None:
                return None  # of some other system (P-57), or a cookie that is quoted or percent-encoded
            exchange.note(error)
            raise
        return None if found is None else Held(found.session, method, text)

    def find_token(self, cookies: str | None, authorization: str | None) -> tuple[Method, str] | None:
        """The token of a Cookie header and an Authorization header, and how it came. Whether it is one of ours is yet
        to be seen.

        A cookie is cut out where it stands. Its name again, the old marker's, or anything but a ``"; "`` in front of it
        is for a parser to make sense of.
        """
        found = None
        if cookies:
            before, _, rest = cookies.partition(self._assigned)
            found, _, after = rest.partition(";")
            if before or after:
                if len(cookies) > MAX_COOKIE_HEADER or (found and before and before[-2:] != "; "):
                    return None
                others = f"{before};{after}"
                if self._name in others or ID_REFRESH_COOKIE in others:
                    return None
        bearer = None if authorization is None else parse_bearer(authorization)
        if bearer is not None:
            return ("header", bearer) if self._takes_bearer else None
        return ("cookie", found) if found and self._takes_cookie else None
