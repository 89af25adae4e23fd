"""The sequences where a core keeps the sessions: what is checked here, and what the core is asked.

The core judges refresh tokens, first uses and the state of sessions. Access tokens are verified here, with the keys
that the core publishes; that is all there is to the usual request, and it asks nobody. The names are those of
``flows``.

What the interface has no words for is refused, or left out where nothing depends on it: the client of a session and
when it was last refreshed are not kept; two merges at once may lose one (there is no compare-and-swap).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NoReturn

from tallystick import issuing
from tallystick.calls import Flow, ask, later
from tallystick.config import AntiCsrf, FeedSilence
from tallystick.core_deployment import CoreDeployment
from tallystick.errors import BadInput, GeneralError, TokenTheftDetected, TryRefreshToken, Unauthorised
from tallystick.flows import check_id_refresh_token, must_ask, no_session, optional_tenant
from tallystick.protocol import cdi
from tallystick.protocol import input as given
from tallystick.protocol.access_token import AccessToken, UnknownKey, parse_access_token
from tallystick.protocol.anti_csrf import check_anti_csrf
from tallystick.protocol.cdi import CoreSession, CoreToken, Reply
from tallystick.protocol.core_token import read_jwks
from tallystick.protocol.front_token import make_front_token_of
from tallystick.protocol.size import check_fits
from tallystick.protocol.token_versions import tenant_of
from tallystick.storage.interface import Core
from tallystick.types import (
    OMITTED,
    ClientInfo,
    CookieTokenInfo,
    CoreAnswer,
    CoreRequest,
    CreatedSession,
    FoundSession,
    Json,
    RegeneratedToken,
    SessionInfo,
    SessionInformation,
    TheftEvent,
    TokenInfo,
)
from tallystick.verified_tokens import copy_json

MAX_REFRESH_TOKEN: Final = 8192
"""Characters. A core's refresh tokens are its own affair, but no core's are as long."""

_UUID: Final = "00000000-0000-4000-8000-000000000000"
_LONGEST_USER: Final = "\x01" * given.MAX_USER_ID
"""As JSON has it: six bytes a character."""


# Create


def create(
    d: CoreDeployment,
    user_id: object,
    jwt_payload: object,
    session_data: object,
    *,
    tenant_id: object,
    enable_anti_csrf: bool,
    client: object = None,
    replaces: object = None,
) -> Flow[CreatedSession]:
    """Begin a session, then end the one that ``replaces`` is of."""
    given.check_client(client, d.config)
    user, tenant = given.check_user_id(user_id), given.check_tenant_id(tenant_id)
    payload = given.check_jwt_payload(jwt_payload)
    data = given.check_session_data(session_data, d.config.max_session_data_bytes)
    check_fits(user, f"{_UUID}_{tenant}", tenant, payload, longest_anti_csrf=len(_UUID))
    if enable_anti_csrf and d.config.anti_csrf is not AntiCsrf.VIA_TOKEN:
        raise BadInput(
            "with a core, enable_anti_csrf needs anti_csrf=AntiCsrf.VIA_TOKEN in the settings: each refresh has to say "
            "whether the session goes on with it, and what does not know would leave it out",
            reason="bad_anti_csrf",
        )
    replaced = yield from _find_replaced(d, replaces)
    yield from _renew_keys_meanwhile(d, d.clock())  # so that the first request with a token need not wait for them
    request = cdi.ask_to_create(tenant, user, payload, data, enable_anti_csrf=bool(enable_anti_csrf))
    created = _issue(d, (yield from _ask(request)))
    if replaced is not None:
        yield from _remove([replaced])
    return created


def _find_replaced(d: CoreDeployment, access_token: object) -> Flow[str | None]:
    if access_token is None:
        return None
    try:
        return (yield from _open(d, access_token, d.keys.open_expired, d.clock())).handle
    except TryRefreshToken:
        return None


# Verify


def verify(
    d: CoreDeployment,
    access_token: object,
    anti_csrf_token: object,
    id_refresh_token: object,
    *,
    do_anti_csrf_check: bool,
    check_database: bool,
    on_feed_silence: FeedSilence | None = None,
) -> Flow[FoundSession]:
    """Verify an access token here, and by the core where it is a token's first use, or asked for, or where the
    feed of endings leaves it to the core."""
    now = d.clock()
    check_id_refresh_token(id_refresh_token)
    token = yield from _open(d, access_token, d.keys.open, now)
    if do_anti_csrf_check:
        check_anti_csrf(token.anti_csrf_token, anti_csrf_token)
    asks = bool(check_database)
    if token.parent_hash1 is None:
        asks = asks or must_ask(d, token, on_feed_silence)
        if not asks:
            return issuing.find(token, copy_json(token.jwt_payload))
    reply = yield from _ask(cdi.ask_to_verify(str(access_token), check_database=asks))
    match reply:
        case Reply(status="OK", session=CoreSession() as session, access_token=fresh):
            cookie, front_token = _show(d, fresh)
            return FoundSession(_describe(session), cookie, front_token, token.anti_csrf_token is not None)
        case Reply(status="UNAUTHORISED"):
            raise no_session()
        case Reply(status="TRY_REFRESH_TOKEN"):
            raise TryRefreshToken("the core does not take the access token", reason="bad_token")
        case _:
            raise cdi.no_core()


def verify_alone(
    d: CoreDeployment,
    access_token: object,
    anti_csrf_token: object,
    id_refresh_token: object,
    do_anti_csrf_check: bool,
) -> FoundSession | None:
    """The same where nobody has to be asked, which is nearly always, without the cost of a flow. None where it takes
    :func:`verify`."""
    if id_refresh_token is not OMITTED:
        check_id_refresh_token(id_refresh_token)
    now = d.clock()
    if not access_token or not d.keys.are_usable(now) or d.keys.want_renewal(now):
        return None
    token = d.keys.open(access_token, now)
    if not isinstance(token, AccessToken) or token.parent_hash1 is not None:
        return None
    view = d.view
    if view is not None and (now >= view.stale_at or d.steady() > view.fresh_until or token.handle in view.marks):
        return None
    if view is not None and now > token.created_at + view.remembers:
        return None
    expected = token.anti_csrf_token
    if do_anti_csrf_check and expected is not None:
        check_anti_csrf(expected, anti_csrf_token)
    return issuing.find(token, copy_json(token.jwt_payload))


def _open(
    d: CoreDeployment, text: object, opener: Callable[[object, int], AccessToken | UnknownKey], now: int
) -> Flow[AccessToken]:
    """Open an access token, if need be with a key that the core has made meanwhile."""
    if text is None or text == "":
        raise TryRefreshToken("there is no access token", reason="missing_token")
    yield from _see_to_keys(d, now)
    opened = opener(text, now)
    if isinstance(opened, UnknownKey) and not d.keys.were_just_read(now):
        yield from _read_keys(d, now)
        opened = opener(text, now)
    if isinstance(opened, UnknownKey):
        raise TryRefreshToken("the core knows no key of the access token's", reason="unknown_key")
    return opened


# Refresh


def refresh(
    d: CoreDeployment,
    refresh_token: object,
    anti_csrf_token: object,
    *,
    enable_anti_csrf: bool | None = None,
    client: object = None,
) -> Flow[CreatedSession]:
    """Have the core judge a refresh token. Where it says theft, the session is ended here, as the interface leaves that
    to its clients (spec/cdi.md 2.4).

    The token is the core's own, so whether the session has anti-CSRF cannot be read from it: ``enable_anti_csrf`` None
    means yes where a token is given or the settings say so.
    """
    side = given.check_client(client, d.config)
    if not isinstance(refresh_token, str) or not refresh_token or not _is_token(refresh_token):
        raise Unauthorised("this is no refresh token", reason="bad_token")
    is_via_token = d.config.anti_csrf is AntiCsrf.VIA_TOKEN
    enables = (anti_csrf_token is not None or is_via_token) if enable_anti_csrf is None else bool(enable_anti_csrf)
    if anti_csrf_token is not None and not enables:
        raise BadInput(
            "a core checks the anti-CSRF token only where the session goes on with one: leave out enable_anti_csrf, or "
            "the token",
            reason="bad_anti_csrf",
        )
    presented = anti_csrf_token if isinstance(anti_csrf_token, str) else None
    reply = yield from _ask(cdi.ask_to_refresh(refresh_token, presented, enable_anti_csrf=enables))
    match reply:
        case Reply(status="UNAUTHORISED"):
            raise Unauthorised("the core does not take the refresh token, or there is no such session")
        case Reply(status="TOKEN_THEFT_DETECTED", session=CoreSession() as session):
            yield from _remove([session.handle])
            event = _describe_theft(d, session, side)
            raise TokenTheftDetected(session.handle, session.user_id, reason=event.kind, event=event)
        case _:
            return _issue(d, reply)


def _is_token(text: str) -> bool:
    return len(text) <= MAX_REFRESH_TOKEN and text.isascii() and text.isprintable()


def _describe_theft(d: CoreDeployment, session: CoreSession, presenter: ClientInfo) -> TheftEvent:
    return TheftEvent(
        app_id=d.config.app_id,
        tenant_id=tenant_of(session.handle),
        session_handle=session.handle,
        user_id=session.user_id,
        kind="reuse",
        presented_generation=None,
        line_generation=None,
        detected_at=d.clock(),
        presenter_user_agent=presenter.user_agent,
        presenter_address=presenter.address,
        holder_user_agent=None,
        holder_address=None,
    )


def list_thefts(d: CoreDeployment, user_id: object, limit: object) -> Flow[list[TheftEvent]]:
    """Refused: the interface has no such list."""
    yield from ()
    _not_over_cdi(
        "theft events cannot be listed",
        "pass on_token_theft=... to be told of those that this app meets; tallystick thefts lists those that are kept "
        "in the store of a tallystick core",
    )


# Revoke and list


def revoke(d: CoreDeployment, handles: object) -> Flow[list[str]]:
    """End sessions, expired or not. The handles of those that were there, in the order given."""
    wanted = list(dict.fromkeys(filter(given.could_be_handle, given.check_handles(handles))))
    if not wanted:
        return []
    ended = set((yield from _remove(wanted)))
    return [handle for handle in wanted if handle in ended]


def revoke_user(d: CoreDeployment, user_id: object, tenant_id: object) -> Flow[list[str]]:
    """End all living sessions of a user, in one tenant or (None) in all."""
    user, tenant = given.check_user_id(user_id), optional_tenant(tenant_id)
    reply = yield from _ask(cdi.ask_to_remove_user(user, tenant))
    return _listed(reply.session_handles_revoked)


def list_user(d: CoreDeployment, user_id: object, tenant_id: object) -> Flow[list[str]]:
    """The handles of a user's living sessions, in the core's order."""
    user, tenant = given.check_user_id(user_id), optional_tenant(tenant_id)
    reply = yield from _ask(cdi.ask_for_user(user, tenant))
    return _listed(reply.session_handles)


def purge(d: CoreDeployment) -> Flow[int]:
    """Nothing: a core deletes by itself what is over."""
    yield from ()
    return 0


def _remove(handles: list[str]) -> Flow[list[str]]:
    try:
        reply = yield from _ask(cdi.ask_to_remove(handles))
    except BadInput as error:
        if not cdi.is_unknown_place(error):
            raise
        # One of them names a tenant that is not there (spec/cdi.md 2.7), so there is no such session. Which one, the
        # core does not say.
        if len(handles) == 1:
            return []
        ended: list[str] = []
        for handle in handles:
            ended += yield from _remove([handle])
        return ended
    return _listed(reply.session_handles_revoked)


def _listed(handles: list[str] | None) -> list[str]:
    if handles is None:
        raise cdi.no_core()
    return handles


# Look up and update, by handle


def load(d: CoreDeployment, handle: object) -> Flow[SessionInformation | None]:
    """What the core knows of a living session, or None."""
    name = given.check_handle(handle)
    if not given.could_be_handle(name):
        return None
    request = cdi.ask_for_session(name)
    try:
        known = cdi.read_information(request, (yield from _send(request)))
    except BadInput as error:
        if not cdi.is_unknown_place(error):
            raise
        return None
    if known is None:
        return None
    return SessionInformation(
        session_handle=known.session_handle,
        user_id=known.user_id,
        tenant_id=known.tenant_id,
        expiry=known.expiry,
        time_created=known.time_created,
        jwt_payload=known.jwt_payload,
        session_data=known.session_data,
        time_refreshed=None,
        user_agent=None,
        address=None,
    )


def update_data(d: CoreDeployment, handle: object, data: object) -> Flow[bool]:
    """Replace a session's data; false if there is no such session."""
    checked = given.check_session_data(data, d.config.max_session_data_bytes)
    name = given.check_handle(handle)
    return given.could_be_handle(name) and (yield from _put(cdi.ask_to_put_data(name, checked)))


def update_payload(d: CoreDeployment, handle: object, payload: object) -> Flow[bool]:
    """Replace a session's JWT payload; false if there is no such session."""
    checked, name = given.check_jwt_payload(payload), given.check_handle(handle)
    if not given.could_be_handle(name):
        return False
    try:
        check_fits(_LONGEST_USER, name, tenant_of(name), checked, longest_anti_csrf=len(_UUID))
    except BadInput:
        # It would fit no user's token, or only that of one with a shorter name.
        known = yield from load(d, name)
        if known is None:
            return False
        check_fits(known.user_id, name, known.tenant_id, checked, longest_anti_csrf=len(_UUID))
    return (yield from _put(cdi.ask_to_put_payload(name, checked)))


def merge_payload(d: CoreDeployment, handle: object, update: object, *, tells: bool = True) -> Flow[bool]:
    """Merge into a session's JWT payload; null removes a key. False if there is no such session. Whom it tells is for
    the core to say."""
    checked = given.check_jwt_payload(update)
    known = yield from load(d, handle)
    if known is None:
        return False
    merged = given.merge_payload(known.jwt_payload, checked)
    check_fits(known.user_id, known.session_handle, known.tenant_id, merged, longest_anti_csrf=len(_UUID))
    if merged == known.jwt_payload:
        return True
    return (yield from _put(cdi.ask_to_put_payload(known.session_handle, merged)))


def regenerate(d: CoreDeployment, access_token: object, jwt_payload: object) -> Flow[RegeneratedToken]:
    """Give an access token another payload, and the session too; None keeps the stored one. The core does not look at
    the token's signature (spec/cdi.md 2.5), so it is verified here first."""
    payload = None if jwt_payload is None else given.check_jwt_payload(jwt_payload)
    token = yield from _open(d, access_token, d.keys.open_expired, d.clock())
    if payload is not None:
        check_fits(token.user_id, token.handle, token.tenant_id, payload, longest_anti_csrf=len(_UUID))
    match (yield from _ask(cdi.ask_to_regenerate(str(access_token), payload))):
        case Reply(status="OK", session=CoreSession() as session, access_token=fresh):
            return RegeneratedToken(_describe(session), *_show(d, fresh))
        case Reply(status="UNAUTHORISED"):
            raise no_session()
        case _:
            raise cdi.no_core()


def _put(request: CoreRequest) -> Flow[bool]:
    try:
        return (yield from _ask(request)).status == "OK"
    except BadInput as error:
        if not cdi.is_unknown_place(error):
            raise
        return False


# Keys


def jwks(d: CoreDeployment) -> Flow[Json]:
    """The core's public keys, as it publishes them."""
    yield from _see_to_keys(d, d.clock())
    return copy_json(d.keys.verified.keys.document)


def prepare(d: CoreDeployment) -> Flow[None]:
    """See that the core is there, speaks our version, takes our key, and has keys of its own; and tells of endings,
    if they are to be followed."""
    cdi.check_versions((yield from _send(cdi.VERSIONS)))
    if d.view is not None:
        cdi.check_feed((yield from _send(cdi.FEED)).status)
    yield from _read_keys(d, d.clock())


def running(d: CoreDeployment) -> object:
    """Whoever looks for new keys."""
    return d.keys.renewal


def _see_to_keys(d: CoreDeployment, now: int) -> Flow[None]:
    """Have keys that are good enough; new ones are fetched while nobody waits, as far as that can be."""
    if d.keys.are_usable(now):
        yield from _renew_keys_meanwhile(d, now)
    else:
        yield from _read_keys(d, now)


def _renew_keys_meanwhile(d: CoreDeployment, now: int) -> Flow[None]:
    """See that keys are read if it is time. Nobody waits for it."""
    if d.keys.want_renewal(now):
        d.keys.renewing_since = now
        d.keys.renewal = yield from later("reading the core's public keys", lambda: _renew_keys(d, now))


def _renew_keys(d: CoreDeployment, now: int) -> Flow[None]:
    try:
        yield from _read_keys(d, now)
    finally:
        d.keys.end_renewal(now)


def _read_keys(d: CoreDeployment, now: int) -> Flow[None]:
    answer: CoreAnswer = yield from ask(Core.send_shared, cdi.JWKS)
    cdi.check_answer(cdi.JWKS, answer)
    keys = read_jwks(answer.body)
    if keys is None:
        raise cdi.no_core()
    d.keys.take(keys, answer.max_age, now)


# What is said in several places


def _send(request: CoreRequest) -> Flow[CoreAnswer]:
    return (yield from ask(Core.send, request))


def _ask(request: CoreRequest) -> Flow[Reply]:
    return cdi.read_reply(request, (yield from _send(request)))


def _issue(d: CoreDeployment, reply: Reply) -> CreatedSession:
    match reply:
        case Reply(
            status="OK",
            session=CoreSession() as session,
            access_token=CoreToken() as access,
            refresh_token=CoreToken() as refresh_token,
        ):
            cookie, front_token = _show_token(d, access)
            expiry, created = refresh_token.expiry, refresh_token.created_time
            return CreatedSession(
                session=_describe(session),
                access_token=cookie,
                refresh_token=issuing.make_refresh_cookie(d.config, refresh_token.token, expiry, created),
                # The core makes none since CDI 2.21. Its presence alone says that there is a session.
                id_refresh_token=TokenInfo(d.new_uuid(), expiry, created),
                anti_csrf_token=reply.anti_csrf_token,
                front_token=front_token,
            )
        case _:
            raise cdi.no_core()


def _show(d: CoreDeployment, token: CoreToken | None) -> tuple[CookieTokenInfo | None, str | None]:
    return (None, None) if token is None else _show_token(d, token)


def _show_token(d: CoreDeployment, token: CoreToken) -> tuple[CookieTokenInfo, str]:
    """A token that the core has just made, and the front token that goes with it."""
    claims = parse_access_token(token.token)
    if claims is None:
        raise cdi.no_core()
    cookie = issuing.make_access_cookie(d.config, token.token, token.expiry, token.created_time)
    return cookie, make_front_token_of(claims)


def _describe(session: CoreSession) -> SessionInfo:
    return SessionInfo(session.handle, session.user_id, session.jwt_payload, session.tenant_id)


def _not_over_cdi(what: str, instead: str) -> NoReturn:
    raise GeneralError(
        f"{what} where a core keeps the sessions, as its interface has no words for it: {instead}",
        reason="not_over_cdi",
    )
