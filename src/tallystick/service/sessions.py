"""The endpoints of sessions (spec/cdi.md chapter 2): each asks a flow, and puts its outcome into the wire's words."""

from __future__ import annotations

from typing import Final

from tallystick import flows, issuing
from tallystick.calls import Flow
from tallystick.edges import report
from tallystick.errors import TokenTheftDetected, TryRefreshToken, Unauthorised
from tallystick.protocol import input as given
from tallystick.protocol.rotation import is_of_line
from tallystick.protocol.token_versions import Opened
from tallystick.service import wire
from tallystick.service.answers import Refusal
from tallystick.service.apps import App, check_anti_csrf_strictly
from tallystick.service.requests import Request
from tallystick.types import CreatedSession, FoundSession, Json, RegeneratedToken, SessionInformation

NO_SESSION: Final = "there is no such session, or it is over"


def create(request: Request) -> Flow[Json]:
    """``POST /recipe/session``."""
    app, cdi = request.app, request.cdi
    created = yield from begin(request, wire.read_creation(request.json(), cdi))
    return wire.write_created(created, cdi, (yield from app.key_info(cdi)))


def begin(request: Request, asked: wire.Creation) -> Flow[CreatedSession]:
    """Begin a session."""
    app, cdi = request.app, request.cdi
    static_key = not app.settings.access_token_signing_key_dynamic if cdi.is_before_kids else asked.static_key
    created = yield from flows.create(
        app.deployment_for_new(cdi, static_key, asked.access_token_validity),
        asked.user_id,
        asked.jwt_payload,
        asked.session_data,
        tenant_id=request.tenant_id,
        enable_anti_csrf=asked.enable_anti_csrf,
    )
    request.observe("session_created", 1)
    return created


def verify(request: Request) -> Flow[Json]:
    """``POST /recipe/session/verify``."""
    app, cdi = request.app, request.cdi
    if cdi.is_stateless:
        request.check_public_tenant()
    asked = wire.read_verification(request.json(), cdi)
    try:
        if cdi.is_stateless:
            session, is_behind = yield from _verify_statelessly(app, asked)
            answer = wire.write_found(wire.write_session(session.session, cdi), None, {})
            if is_behind is not None:
                answer |= wire.write_update_available(is_behind)
        else:
            found = yield from check(app, asked)
            key_info = yield from app.key_info(cdi)
            answer = wire.write_found(wire.write_session(found.session, cdi), found.access_token, key_info)
    except Unauthorised as error:
        return wire.write_unauthorised(error.message)
    except TryRefreshToken as error:
        return wire.write_try_refresh(error.message, (yield from app.key_info(cdi)))
    request.observe("session_verified", 1)
    return answer


def check(app: App, asked: wire.Verification) -> Flow[FoundSession]:
    """Verify an access token as before CDI 5.6: its first use after a refresh is written down, and it is replaced."""
    opened = yield from _open(app, asked)
    token = opened.token
    if (token.parent_hash1 is None or opened.key is None) and not _asks_store(app, asked):
        return issuing.find(token, token.jwt_payload)
    found = yield from flows.verify_in_store(app.deployment_as(opened), token, app.deployment.clock())
    if found.access_token is not None:
        return found
    # The payload of the token that goes on to be used, though the stored one may be newer (spec/cdi.md 2.3).
    return issuing.find(token, token.jwt_payload)


def _verify_statelessly(app: App, asked: wire.Verification) -> Flow[tuple[FoundSession, bool | None]]:
    """Verify an access token and write nothing. The second of the answer: whether the stored payload is another one,
    where the store was asked."""
    opened = yield from _open(app, asked)
    token = opened.token
    if not _asks_store(app, asked):
        return issuing.find(token, token.jwt_payload), None
    row = yield from flows.load_alive(app.deployment, token.handle, app.deployment.clock())
    if row is None or not is_of_line(row, token.refresh_hash1, token.parent_hash1, token.created_at):
        raise Unauthorised("there is no such session, or its refresh tokens have moved on without this one")
    return issuing.find(token, token.jwt_payload), row.jwt_payload != given.encode_json(token.jwt_payload)


def _open(app: App, asked: wire.Verification) -> Flow[Opened]:
    opened = yield from app.open(asked.access_token)
    if asked.do_anti_csrf_check:
        check_anti_csrf_strictly(opened.token, asked.anti_csrf_token)
    return opened


def _asks_store(app: App, asked: wire.Verification) -> bool:
    return app.settings.access_token_blacklisting if asked.check_database is None else asked.check_database


def refresh(request: Request) -> Flow[Json]:
    """``POST /recipe/session/refresh``."""
    try:
        refreshed = yield from renew(request, wire.read_refreshing(request.json(), request.cdi))
    except Unauthorised as error:
        return wire.write_unauthorised(error.message)
    except TokenTheftDetected as theft:
        behaviour = request.app.settings.recent_token_reuse_behaviour
        is_masked = request.cdi.is_stateless and behaviour == "UNAUTHORISED" and theft.reason in wire.RECENT
        return wire.write_theft(theft, request.cdi, is_masked=is_masked)
    return wire.write_created(refreshed, request.cdi, {})


def renew(request: Request, asked: wire.Refreshing, *, is_compared: bool = True) -> Flow[CreatedSession]:
    """Exchange a refresh token. An anti-CSRF token is compared where the caller says that there is to be one, unless
    the caller could not know."""
    app, cdi = request.app, request.cdi
    try:
        refreshed = yield from flows.refresh(
            app.deployment_for_new(cdi, asked.static_key, asked.access_token_validity),
            asked.refresh_token,
            (asked.anti_csrf_token or "") if asked.enable_anti_csrf and is_compared else None,
            enable_anti_csrf=asked.enable_anti_csrf,
        )
    except TokenTheftDetected as theft:
        report(theft)
        request.observe("token_theft", 1)
        if theft.event is not None:
            request.observe("session_revoked", 1)
        raise
    except Unauthorised as error:
        report(error)
        raise
    request.observe("session_refreshed", 1)
    return refreshed


def regenerate(request: Request) -> Flow[Json]:
    """``POST /recipe/session/regenerate``."""
    regenerated = yield from change_payload(request)
    if isinstance(regenerated, Unauthorised):
        return wire.write_unauthorised(regenerated.message)
    return wire.write_found(wire.write_session(regenerated.session, request.cdi), regenerated.access_token, {})


def change_payload(request: Request) -> Flow[RegeneratedToken | Unauthorised]:
    """Give an access token another payload, and its session too."""
    text, payload = wire.read_regeneration(request.json())
    app = request.app
    try:
        opened = yield from app.open_expired(text)
        if payload is not None:
            payload = given.check_jwt_payload(payload, opened.version.reserved)
        d = app.deployment_as(opened)
        return (yield from flows.regenerate_opened(d, opened.token, payload, d.clock()))
    except TryRefreshToken as error:
        # There is no status for it among the answers: callers regenerate what they have just verified.
        raise Refusal(400, error.message) from None
    except Unauthorised as error:
        return error


def look_up(request: Request) -> Flow[Json]:
    """``GET /recipe/session``."""
    known = yield from _load(request)
    return wire.write_unauthorised(NO_SESSION) if known is None else wire.write_information(known, request.cdi)


def look_up_data(request: Request) -> Flow[Json]:
    """``GET /recipe/session/data``."""
    known = yield from _load(request)
    return wire.write_unauthorised(NO_SESSION) if known is None else wire.write_data(known)


def look_up_payload(request: Request) -> Flow[Json]:
    """``GET /recipe/jwt/data``."""
    known = yield from _load(request)
    return wire.write_unauthorised(NO_SESSION) if known is None else wire.write_payload(known)


def _load(request: Request) -> Flow[SessionInformation | None]:
    return flows.load(request.app.deployment, wire.read_handle(request.query()))


def update_data(request: Request) -> Flow[Json]:
    """``PUT /recipe/session/data``."""
    handle, data = wire.read_data_update(request.json())
    is_done = yield from flows.update_data(request.app.deployment, handle, data)
    return wire.OK if is_done else wire.write_unauthorised(NO_SESSION)


def update_payload(request: Request) -> Flow[Json]:
    """``PUT /recipe/jwt/data``. What is reserved is so in the token version of the request (spec/cdi.md 2.9)."""
    handle, payload = wire.read_payload_update(request.json())
    is_done = yield from flows.update_payload(request.app.deployment_for(request.cdi), handle, payload)
    return wire.OK if is_done else wire.write_unauthorised(NO_SESSION)


def list_handles(request: Request) -> Flow[Json]:
    """``GET /recipe/session/user``."""
    user_id, is_across = wire.read_listing(request.query())
    if is_across:
        request.check_app_specific()
    if not given.could_be_user(user_id):
        return wire.write_handles([])
    tenant = None if is_across else request.tenant_id
    return wire.write_handles((yield from flows.list_user(request.app.deployment, user_id, tenant)))


def remove(request: Request) -> Flow[Json]:
    """``POST /recipe/session/remove``."""
    asked = wire.read_removal(request.json())
    if asked.user_id is not None and asked.is_across_tenants:
        request.check_app_specific()
    return wire.write_removed((yield from end(request, asked)))


def end(request: Request, asked: wire.Removal) -> Flow[list[str]]:
    """End sessions: those of a user, or those named. The handles of those that there were."""
    d = request.app.deployment
    if asked.user_id is None:
        ended = yield from flows.revoke(d, asked.handles)
    elif given.could_be_user(asked.user_id):
        tenant = None if asked.is_across_tenants else request.tenant_id
        ended = yield from flows.revoke_user(d, asked.user_id, tenant)
    else:
        ended = []
    request.observe("session_revoked", len(ended))
    return ended


def remove_user(request: Request) -> Flow[Json]:
    """``POST /user/remove``: all that is kept of a user here are sessions."""
    request.check_app_specific()
    yield from end(request, wire.Removal(wire.read_user_removal(request.json()), [], True))
    return wire.OK
