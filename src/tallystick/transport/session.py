"""The session of one request: what it knows, and what it asks of the sessions (spec/fdi.md 3.7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from tallystick.config import PUBLIC, FeedSilence
from tallystick.errors import InvalidClaims, Unauthorised
from tallystick.protocol.access_token import RESERVED_CLAIMS, parse_access_token
from tallystick.protocol.claims import OverrideValidators, SessionClaim, SessionClaimValidator, check_claim
from tallystick.sessions import Sessions
from tallystick.transport.decisions import add_issuer, decide_creation, decide_verification
from tallystick.transport.dialogue import Dialogue, ask
from tallystick.transport.exchange import Exchange, OfRequest
from tallystick.transport.request import identify_client
from tallystick.transport.tokens import Method, attach_access_token, attach_created, clear
from tallystick.types import (
    HIDDEN,
    CreatedSession,
    FoundSession,
    Json,
    RegeneratedToken,
    SessionInfo,
    SessionInformation,
)

V = TypeVar("V")


class Held(msgspec.Struct, frozen=True, gc=False):
    """What a request's code holds of its session. No dataclass, as one is made for each request."""

    info: SessionInfo
    method: Method
    access_token: str
    front_token: str | None = None
    """None where the client has it already."""
    refresh_token: str | None = None
    anti_csrf_token: str | None = None

    def __repr__(self) -> str:
        return f"Held(info={self.info!r}, method={self.method!r})"

    __rich_repr__ = HIDDEN


def create(
    exchange: Exchange,
    user_id: str,
    jwt_payload: Mapping[str, Any] | None = None,
    session_data: Mapping[str, Any] | None = None,
    tenant_id: str = PUBLIC,
) -> Dialogue[Held]:
    """Begin a session for a user who has just signed in; the response carries its tokens. The session that the client
    has had before ends."""
    creation = decide_creation(exchange.request, exchange.policy)
    created = yield from ask(
        Sessions.create_new_session,
        user_id,
        add_issuer(jwt_payload, exchange.policy),
        session_data,
        tenant_id=tenant_id,
        enable_anti_csrf=creation.enable_anti_csrf,
        client=identify_client(exchange.request),
        replaces=creation.replaces,
    )
    exchange.add(creation.first)
    return hand_over_created(exchange, creation.method, created)


def verify(
    exchange: Exchange,
    session_required: bool = True,
    anti_csrf_check: bool | None = None,
    check_database: bool = False,
    override_global_claim_validators: OverrideValidators | None = None,
    on_feed_silence: FeedSilence | None = None,
) -> Dialogue[Held | None]:
    """Verify what the request brings; the response carries a replacement, if there is one. None where there is no
    session and none is required."""
    verification = decide_verification(
        exchange.request,
        exchange.policy,
        session_required=session_required,
        anti_csrf_check=anti_csrf_check,
    )
    if verification is None:
        return None
    found = yield from ask(
        Sessions.get_session,
        verification.access_token,
        verification.anti_csrf_token,
        verification.do_anti_csrf_check,
        check_database=check_database,
        override_global_claim_validators=override_global_claim_validators,
        on_feed_silence=on_feed_silence,
    )
    return _hand_over_found(exchange, verification.method, verification.access_token, found)


def end(exchange: Exchange, held: Held) -> Dialogue[None]:
    """End the session, and take the client's tokens away also where it was gone already (P-42)."""
    yield from ask(Sessions.revoke_session, held.info.handle)
    exchange.add(clear(held.method, exchange.policy))


def hand_over_created(exchange: Exchange, method: Method, created: CreatedSession) -> Held:
    """Have the response carry a new or refreshed session's tokens."""
    exchange.add(attach_created(created, method, exchange.policy))
    return Held(
        created.session,
        method,
        created.access_token.token,
        created.front_token,
        created.refresh_token.token,
        created.anti_csrf_token,
    )


def _hand_over_found(exchange: Exchange, method: Method, access_token: str, found: FoundSession) -> Held:
    """Have the response carry a verified session's replacement, if it has one."""
    if found.access_token is None or found.front_token is None:
        return Held(found.session, method, access_token)
    exchange.add(attach_access_token(found.access_token, found.front_token, method, exchange.policy))
    return Held(found.session, method, found.access_token.token, found.front_token)


class SessionContent(OfRequest, weakref=True):
    """Who is signed in, and with which tokens; and the dialogues of a session. Adapters hold these, awaited or not."""

    _exchange: Exchange
    _held: Held

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

    def _end(self) -> Dialogue[None]:
        return end(self._exchange, self._held)

    def _inform(self) -> Dialogue[SessionInformation]:
        found = yield from ask(Sessions.get_session_information, self.get_handle())
        if found is None:
            raise _gone()
        return found

    def _update_data(self, data: Mapping[str, Any]) -> Dialogue[None]:
        if not (yield from ask(Sessions.update_session_data, self.get_handle(), data)):
            raise _gone()

    def _merge(self, update: Mapping[str, Any]) -> Dialogue[None]:
        yield from self._show((yield from ask(Sessions.merge_into_jwt_payload, self.get_handle(), update)))

    def _fetch_and_set(self, claim: SessionClaim[Any]) -> Dialogue[None]:
        yield from self._show((yield from ask(Sessions.fetch_and_set_claim, self.get_handle(), claim)))

    def _set(self, claim: SessionClaim[Any], value: object) -> Dialogue[None]:
        yield from self._show((yield from ask(Sessions.set_claim_value, self.get_handle(), claim, value)))

    def _remove(self, claim: SessionClaim[Any]) -> Dialogue[None]:
        yield from self._show((yield from ask(Sessions.remove_claim, self.get_handle(), claim)))

    def _assert(self, validators: Sequence[SessionClaimValidator]) -> Dialogue[None]:
        """What was fetched before claims were refused is kept."""
        now = FoundSession(self._held.info, None)
        try:
            found = yield from ask(Sessions.assert_claims, now, self.get_access_token(), validators)
        except InvalidClaims as error:
            if error.found is None:
                raise
            self._take_found(error.found)
            raise InvalidClaims(error.errors) from error
        self._take_found(found)

    def _show(self, was_there: bool) -> Dialogue[None]:
        """Have the response carry a token that shows what has changed in the payload."""
        if not was_there:
            raise _gone()
        self._take((yield from ask(Sessions.regenerate_access_token, self.get_access_token())))

    def _take_found(self, found: FoundSession) -> None:
        self._take(RegeneratedToken(found.session, found.access_token, found.front_token))

    def _take(self, regenerated: RegeneratedToken) -> None:
        """Go on with another payload, and have the response carry the token with it, if there is one."""
        token, front_token = regenerated.access_token, regenerated.front_token
        self._held = replace(self._held, info=regenerated.session)
        if token is not None and front_token is not None:
            self._held = replace(self._held, access_token=token.token, front_token=front_token)
            self._exchange.add(attach_access_token(token, front_token, self._held.method, self._exchange.policy))


def _gone() -> Unauthorised:
    """The session of this very request has ended meanwhile."""
    return Unauthorised("the session has ended", reason="no_session")
