"""The session of one request: what it knows without asking the store (spec/fdi.md 3.7)."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from tallystick.errors import InvalidClaims, SessionError, Unauthorised
from tallystick.protocol.access_token import RESERVED_CLAIMS, parse_access_token
from tallystick.protocol.claims import SessionClaim, check_claim
from tallystick.transport.exchange import Exchange
from tallystick.transport.tokens import Method, attach_access_token, attach_created, clear
from tallystick.types import CreatedSession, FoundSession, Json, RegeneratedToken, SessionInfo

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Held:
    """What a request's code holds of its session."""

    info: SessionInfo
    access_token: str = field(repr=False)
    front_token: str | None = field(default=None, repr=False)
    """None where the client has it already."""
    refresh_token: str | None = field(default=None, repr=False)
    anti_csrf_token: str | None = field(default=None, repr=False)


class SessionContent:
    """Who is signed in, and with which tokens. Adapters add what needs the store, awaited or not."""

    def __init__(self, exchange: Exchange, method: Method, held: Held) -> None:
        self._exchange = exchange
        self._method: Method = method
        self._held = held

    def get_handle(self) -> str:
        """The session's handle. It is no secret."""
        return self._held.info.handle

    def get_user_id(self) -> str:
        """Who is signed in."""
        return self._held.info.user_id

    def get_recipe_user_id(self) -> str:
        """The same as :meth:`get_user_id`: Tallystick links no accounts."""
        return self._held.info.user_id

    def get_tenant_id(self) -> str:
        """The tenant that the session belongs to."""
        return self._held.info.tenant_id

    def get_access_token(self) -> str:
        """The access token as it is now: the one to replace the client's, where there is one."""
        return self._held.access_token

    def get_access_token_payload(self) -> Json:
        """All claims of the access token, the session's own and the app's."""
        claims: Json = parse_access_token(self._held.access_token) or {}
        own: Json = {name: claims[name] for name in RESERVED_CLAIMS if name in claims}
        return {**own, **self._held.info.jwt_payload}

    def get_jwt_payload(self) -> Json:
        """The app's own claims alone."""
        return dict(self._held.info.jwt_payload)

    def get_claim_value(self, claim: SessionClaim[V]) -> V | None:
        """A claim's value in the payload; None where there is none."""
        return check_claim(claim).get_value_from_payload(self._held.info.jwt_payload)

    def get_all_session_tokens_dangerously(self) -> dict[str, Any]:
        """The tokens themselves, for code that hands them over by other ways. Never log what this returns."""
        return {
            "accessToken": self._held.access_token,
            "accessAndFrontTokenUpdated": self._held.front_token is not None,
            "refreshToken": self._held.refresh_token,
            "frontToken": self._held.front_token,
            "antiCsrfToken": self._held.anti_csrf_token,
        }

    def __repr__(self) -> str:
        return f"{type(self).__name__}(handle={self._held.info.handle!r})"

    def _take(self, regenerated: RegeneratedToken) -> None:
        """Go on with another payload, and have the response carry the token with it, if there is one."""
        token, front_token = regenerated.access_token, regenerated.front_token
        self._held = replace(self._held, info=regenerated.session)
        if token is not None and front_token is not None:
            self._held = replace(self._held, access_token=token.token, front_token=front_token)
            self._exchange.add(attach_access_token(token, front_token, self._method, self._exchange.policy))

    def _found(self) -> FoundSession:
        """The session as it is now, for a check of its claims."""
        return FoundSession(self._held.info, None)

    def _take_found(self, found: FoundSession) -> None:
        """Go on with the session as a check of its claims has left it."""
        self._take(RegeneratedToken(found.session, found.access_token, found.front_token))

    @contextmanager
    def _noted(self) -> Generator[None, None, None]:
        """What an error clears is cleared whoever answers it; what was fetched before claims were refused is kept."""
        try:
            yield
        except InvalidClaims as error:
            if error.found is None:
                raise
            self._take_found(error.found)
            raise InvalidClaims(error.errors) from error
        except SessionError as error:
            self._exchange.note(error)
            raise

    def _clear(self) -> None:
        """Have the response take the client's tokens away, also where the session was gone already (P-42)."""
        self._exchange.add(clear(self._method, self._exchange.policy))


def hand_over_created(exchange: Exchange, method: Method, created: CreatedSession) -> Held:
    """Have the response carry a new or refreshed session's tokens."""
    exchange.add(attach_created(created, method, exchange.policy))
    return Held(
        created.session,
        created.access_token.token,
        created.front_token,
        created.refresh_token.token,
        created.anti_csrf_token,
    )


def hand_over_found(exchange: Exchange, method: Method, access_token: str, found: FoundSession) -> Held:
    """Have the response carry a verified session's replacement, if it has one."""
    if found.access_token is None or found.front_token is None:
        return Held(found.session, access_token)
    exchange.add(attach_access_token(found.access_token, found.front_token, method, exchange.policy))
    return Held(found.session, found.access_token.token, found.front_token)


def gone() -> Unauthorised:
    """The session of this very request has ended meanwhile."""
    return Unauthorised("the session has ended", reason="no_session")
