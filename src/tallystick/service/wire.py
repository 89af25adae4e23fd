"""The Core Driver Interface's own names: what requests hold and what answers hold. Camel case lives here alone.

``read_*`` takes a request apart by the rules of :mod:`tallystick.service.fields`, and raises :class:`Refusal` where
that does not work; ``write_*`` puts an answer together. Which version has which field: spec/cdi.md 1.1.5 and chapter 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from tallystick.errors import TokenTheftDetected
from tallystick.service import fields
from tallystick.service.answers import Refusal
from tallystick.service.settings import CoreSettings
from tallystick.service.versions import Cdi
from tallystick.types import (
    HIDDEN,
    CookieTokenInfo,
    CreatedSession,
    Ending,
    FoundSession,
    Json,
    RegeneratedToken,
    SessionInfo,
    SessionInformation,
    TokenInfo,
)

OK: Final = {"status": "OK"}
UNKNOWN_USER: Final = {"status": "UNKNOWN_USER_ID_ERROR"}

REUSE_SUBTYPES: Final = {"retired": "RECENT_PREV", "sibling": "ORPHANED_BRANCH", "ancestor": "STALE_LINEAGE"}
"""What CDI 5.6 calls the kinds of reuse."""
RECENT: Final = frozenset({"retired", "sibling"})
"""Those that configuration may have answered as UNAUTHORISED."""


# Requests


class Creation(msgspec.Struct, frozen=True, gc=False):
    """What is asked of a create."""

    user_id: str
    jwt_payload: Json
    session_data: Json
    enable_anti_csrf: bool
    static_key: bool | None
    access_token_validity: int | None


def read_creation(body: Json, cdi: Cdi) -> Creation:
    """``POST /recipe/session``."""
    dynamic = None if cdi.is_before_kids else fields.find_flag(body, "useDynamicSigningKey")
    return Creation(
        fields.need_text(body, "userId"),
        fields.need_object(body, "userDataInJWT"),
        fields.need_object(body, "userDataInDatabase"),
        fields.need_flag(body, "enableAntiCsrf"),
        None if dynamic is None else not dynamic,
        _read_validity(body, cdi),
    )


class Verification(msgspec.Struct, frozen=True, gc=False):
    """What is asked of a verify."""

    access_token: str
    anti_csrf_token: str | None
    do_anti_csrf_check: bool
    check_database: bool | None

    def __repr__(self) -> str:
        return f"Verification(check_database={self.check_database})"

    __rich_repr__ = HIDDEN


def read_verification(body: Json, cdi: Cdi) -> Verification:
    """``POST /recipe/session/verify``."""
    access_token = fields.need_text(body, "accessToken")
    do_check = fields.need_flag(body, "doAntiCsrfCheck")
    is_enabled = fields.need_flag(body, "enableAntiCsrf")
    return Verification(
        access_token,
        fields.find_text(body, "antiCsrfToken"),
        do_check and is_enabled,
        None if cdi.is_before_kids else fields.need_flag(body, "checkDatabase"),
    )


class Refreshing(msgspec.Struct, frozen=True, gc=False):
    """What is asked of a refresh."""

    refresh_token: str
    anti_csrf_token: str | None
    enable_anti_csrf: bool
    static_key: bool | None
    access_token_validity: int | None

    def __repr__(self) -> str:
        return f"Refreshing(enable_anti_csrf={self.enable_anti_csrf})"

    __rich_repr__ = HIDDEN


def read_refreshing(body: Json, cdi: Cdi) -> Refreshing:
    """``POST /recipe/session/refresh``."""
    refresh_token = fields.need_text(body, "refreshToken")
    dynamic: bool | None = None
    if cdi.is_strict:
        dynamic = fields.need_flag(body, "useDynamicSigningKey")
    elif cdi.names_tenant:
        dynamic = fields.find_flag(body, "useDynamicSigningKey")
    return Refreshing(
        refresh_token,
        fields.find_text(body, "antiCsrfToken"),
        fields.need_flag(body, "enableAntiCsrf"),
        None if dynamic is None else not dynamic,
        _read_validity(body, cdi),
    )


def _read_validity(body: Json, cdi: Cdi) -> int | None:
    return fields.find_whole(body, "accessTokenValidity") if cdi.is_stateless else None


def read_regeneration(body: Json) -> tuple[str, Json | None]:
    """``POST /recipe/session/regenerate``: the access token, and the payload or None for the stored one."""
    return fields.need_text(body, "accessToken"), fields.find_object(body, "userDataInJWT")


def read_payload_update(body: Json) -> tuple[str, Json]:
    """``PUT /recipe/jwt/data``."""
    return fields.need_text(body, "sessionHandle"), fields.need_object(body, "userDataInJWT")


def read_data_update(body: Json) -> tuple[str, Json]:
    """``PUT /recipe/session/data``."""
    return fields.need_text(body, "sessionHandle"), fields.need_object(body, "userDataInDatabase")


def read_handle(query: dict[str, str]) -> str:
    """``GET /recipe/session`` and its like."""
    return fields.need_parameter(query, "sessionHandle")


def read_user(query: dict[str, str]) -> str:
    """``GET /user/id`` and its like."""
    return fields.need_parameter(query, "userId")


def read_listing(query: dict[str, str]) -> tuple[str, bool]:
    """``GET /recipe/session/user``: whose sessions, and whether those of all tenants. There are no linked accounts, so
    their flag changes nothing."""
    return fields.need_parameter(query, "userId"), fields.is_set(query, "fetchAcrossAllTenants")


class Removal(msgspec.Struct, frozen=True, gc=False):
    """What is asked of a removal: exactly one of a user and handles."""

    user_id: str | None
    handles: list[str]
    is_across_tenants: bool


def read_removal(body: Json) -> Removal:
    """``POST /recipe/session/remove``."""
    if ("userId" in body) == ("sessionHandles" in body):
        raise Refusal(400, "Invalid JSON input - use one of userId or sessionHandles array")
    across = fields.find_flag(body, "revokeAcrossAllTenants")
    linked = fields.find_flag(body, "revokeSessionsForLinkedAccounts")
    if "userId" in body:
        return Removal(fields.need_text(body, "userId"), [], across is not False)
    if across is not None or linked is not None:
        raise Refusal(400, "Invalid JSON input - revokeAcrossAllTenants and its like go with userId")
    return Removal(None, fields.need_texts(body, "sessionHandles"), True)


def read_user_removal(body: Json) -> str:
    """``POST /user/remove``."""
    fields.find_flag(body, "removeAllLinkedAccounts")
    return fields.need_text(body, "userId")


# Answers


def write_token(info: TokenInfo | CookieTokenInfo) -> Json:
    """A token with its times."""
    return {"token": info.token, "expiry": info.expiry, "createdTime": info.created_time}


def write_session(session: SessionInfo, cdi: Cdi, recipe_user_id: str | None = None) -> Json:
    """A session, with the fields of a version."""
    fields_ = {"handle": session.handle, "userId": session.user_id, "userDataInJWT": session.jwt_payload}
    if cdi.names_recipe_user:
        fields_["recipeUserId"] = session.user_id if recipe_user_id is None else recipe_user_id
    if cdi.names_tenant:
        fields_["tenantId"] = session.tenant_id
    return fields_


def write_created(created: CreatedSession, cdi: Cdi, key_info: Json) -> Json:
    """The outcome of a create, or (without key information) of a refresh."""
    answer = {
        "status": "OK",
        "session": write_session(created.session, cdi),
        "accessToken": write_token(created.access_token),
        "refreshToken": write_token(created.refresh_token),
        **key_info,
    }
    if cdi.is_before_kids:
        answer["idRefreshToken"] = write_token(created.id_refresh_token)
    if created.anti_csrf_token is not None:
        answer["antiCsrfToken"] = created.anti_csrf_token
    return answer


def write_found(session: Json, access_token: CookieTokenInfo | None, key_info: Json) -> Json:
    """The outcome of a verify or a regenerate."""
    answer = {"status": "OK", "session": session, **key_info}
    if access_token is not None:
        answer["accessToken"] = write_token(access_token)
    return answer


def write_unauthorised(message: str) -> Json:
    """There is no such session."""
    return {"status": "UNAUTHORISED", "message": message}


def write_try_refresh(message: str, key_info: Json) -> Json:
    """The access token does not do."""
    return {"status": "TRY_REFRESH_TOKEN", "message": message, **key_info}


def write_theft(theft: TokenTheftDetected, cdi: Cdi, *, is_masked: bool) -> Json:
    """A theft; with ``is_masked``, as the client is told of one that may be none."""
    subtype = {"recentTokenReuseSubtype": REUSE_SUBTYPES[theft.reason]} if cdi.is_stateless else {}
    if is_masked:
        return {**write_unauthorised("the refresh token was used before"), **subtype}
    session = {"handle": theft.session_handle, "userId": theft.user_id, "recipeUserId": theft.user_id}
    return {"status": "TOKEN_THEFT_DETECTED", "session": session, **subtype}


def write_information(known: SessionInformation, cdi: Cdi) -> Json:
    """What is known of a session."""
    answer = {
        "status": "OK",
        "sessionHandle": known.session_handle,
        "userId": known.user_id,
        "expiry": known.expiry,
        "timeCreated": known.time_created,
        "userDataInJWT": known.jwt_payload,
        "userDataInDatabase": known.session_data,
    }
    if cdi.names_tenant:
        answer["tenantId"] = known.tenant_id
    if cdi.names_recipe_user:
        answer["recipeUserId"] = known.user_id
    return answer


def write_handles(handles: Sequence[str]) -> Json:
    """A user's sessions."""
    return {"status": "OK", "sessionHandles": handles}


def write_removed(handles: Sequence[str]) -> Json:
    """The sessions that are gone now."""
    return {"status": "OK", "sessionHandlesRevoked": handles}


def write_data(known: SessionInformation) -> Json:
    """A session's data."""
    return {"status": "OK", "userDataInDatabase": known.session_data}


def write_payload(known: SessionInformation) -> Json:
    """A session's JWT payload."""
    return {"status": "OK", "userDataInJWT": known.jwt_payload}


def write_key_info(public_key: str, expires_at: int, listed: list[Json] | None) -> Json:
    """The signing keys, for clients that verify by them without a key's id."""
    info: Json = {"jwtSigningPublicKey": public_key, "jwtSigningPublicKeyExpiryTime": expires_at}
    if listed is not None:
        info["jwtSigningPublicKeyList"] = listed
    return info


def write_key(public_key: str, expires_at: int, created_at: int) -> Json:
    """One of the list."""
    return {"publicKey": public_key, "expiryTime": expires_at, "createdAt": created_at}


def write_handshake(key_info: Json, blacklisting: bool, access_validity: int, refresh_validity: int) -> Json:
    """``POST /recipe/handshake``; validities in ms."""
    return {
        "status": "OK",
        **key_info,
        "accessTokenBlacklistingEnabled": blacklisting,
        "accessTokenValidity": access_validity,
        "refreshTokenValidity": refresh_validity,
    }


def write_versions(names: list[str]) -> dict[str, Any]:
    """``GET /apiversion``: the one answer without a status, besides a key set."""
    return {"versions": names}


def write_update_available(is_behind: bool) -> Json:
    """Whether the stored payload is another than the token's."""
    return {"payloadUpdateAvailable": is_behind}


# JWTs

UNSUPPORTED_ALGORITHM: Final = {"status": "UNSUPPORTED_ALGORITHM_ERROR"}


class JwtRequest(msgspec.Struct, frozen=True, gc=False):
    """What is asked of a plain JWT. ``validity`` in seconds."""

    issuer: str
    payload: Json
    validity: int
    has_static_key: bool


def read_jwt(body: Json, cdi: Cdi) -> JwtRequest | None:
    """``POST /recipe/jwt``; None for an algorithm that is not supported."""
    algorithm = fields.need_text(body, "algorithm")
    issuer = fields.need_text(body, "jwksDomain")
    payload = fields.need_object(body, "payload")
    validity = fields.need_whole(body, "validity")
    if validity <= 0:
        raise Refusal(400, "validity must be greater than or equal to 0")
    if validity > MAX_VALIDITY:
        raise Refusal(400, f"validity must be at most {MAX_VALIDITY} seconds")
    static = None if cdi.is_before_kids else fields.find_flag(body, "useStaticSigningKey")
    if algorithm.upper() != "RS256":
        return None
    return JwtRequest(issuer, payload, validity, static is not False)


MAX_VALIDITY: Final = 10**15
"""In seconds: test suites give milliseconds here, so that years have five digits (spec/cdi.md 2.11)."""


def write_jwt(text: str) -> Json:
    """A plain JWT."""
    return {"status": "OK", "jwt": text}


# Small ones

NO_TELEMETRY: Final = {"exists": False}
NOT_ALLOWED: Final = {"status": "NOT_ALLOWED"}


def read_cursor(query: dict[str, str], last_event: bytes | None) -> str | None:
    """Where a stream of endings is to go on; ``""`` for the beginning of the log, None for now."""
    if last_event is None:
        return query.get("after")
    return last_event.decode("ascii", "replace").strip()


def write_ending(ending: Ending) -> Json:
    """An ending, as a stream has it."""
    written: Json = {
        "handle": ending.handle,
        "userId": ending.user_id,
        "tenantId": ending.tenant_id,
        "kind": ending.kind,
        "happenedAt": ending.happened_at,
        "forgetAt": ending.forget_at,
    }
    if ending.payload_digest is not None:
        written["payloadDigest"] = ending.payload_digest
    return written


def write_current(seconds: float) -> Json:
    """That all is told that was in the log so many seconds after the request had arrived."""
    return {"secondsSinceRequest": round(seconds, 6)}


def read_process_id(query: dict[str, str]) -> str:
    """``GET /config``."""
    return fields.need_parameter(query, "pid")


def write_statistics(at_minute: int, averages: list[float], peaks: list[float]) -> Json:
    """``GET /requests/stats``."""
    return {
        "status": "OK",
        "atMinute": at_minute,
        "averageRequestsPerSecond": averages,
        "peakRequestsPerSecond": peaks,
    }


# The first interface (spec/cdi-1.0.md). ``deviceDriverInfo``, which it sends along, is passed over.


def read_first_creation(body: Json, enable_anti_csrf: bool) -> Creation:
    """``POST /session``."""
    user_id = fields.need_text(body, "userId")
    payload, data = fields.need_object(body, "userDataInJWT"), fields.need_object(body, "userDataInDatabase")
    return Creation(user_id, payload, data, enable_anti_csrf, None, None)


def read_first_verification(body: Json, enable_anti_csrf: bool) -> Verification:
    """``POST /session/verify``."""
    do_check = fields.need_flag(body, "doAntiCsrfCheck")
    return Verification(
        fields.need_text(body, "accessToken"),
        fields.find_text(body, "antiCsrfToken"),
        do_check and enable_anti_csrf,
        None,
    )


def read_first_refreshing(body: Json, enable_anti_csrf: bool) -> Refreshing:
    """``POST /session/refresh``."""
    token = fields.need_text(body, "refreshToken")
    return Refreshing(token, fields.find_text(body, "antiCsrfToken"), enable_anti_csrf, None, None)


def read_first_removal(body: Json) -> Removal:
    """``DELETE /session``."""
    if ("userId" in body) == ("sessionHandle" in body):
        raise Refusal(400, "Invalid JSON input - use one of userId or sessionHandle")
    if "userId" in body:
        return Removal(fields.need_text(body, "userId"), [], True)
    return Removal(None, [fields.need_text(body, "sessionHandle")], True)


def write_first_created(created: CreatedSession, settings: CoreSettings, key_info: Json) -> Json:
    """The outcome of a create, or (without key information) of a refresh."""
    answer = {
        "status": "OK",
        "session": _write_first_session(created.session),
        "accessToken": _write_cookie(created.access_token, settings, settings.access_token_path),
        "refreshToken": _write_cookie(created.refresh_token, settings, settings.refresh_api_path),
        "idRefreshToken": _write_cookie(created.id_refresh_token, settings, settings.access_token_path),
        **key_info,
    }
    if created.anti_csrf_token is not None:
        answer["antiCsrfToken"] = created.anti_csrf_token
    return answer


def write_first_found(found: FoundSession | RegeneratedToken, settings: CoreSettings, key_info: Json) -> Json:
    """The outcome of a verify or a regenerate."""
    answer = {"status": "OK", "session": _write_first_session(found.session), **key_info}
    if found.access_token is not None:
        answer["accessToken"] = _write_cookie(found.access_token, settings, settings.access_token_path)
    return answer


def write_first_removed(count: int) -> Json:
    """How many sessions are gone now."""
    return {"status": "OK", "numberOfSessionsRevoked": count}


def write_first_handshake(settings: CoreSettings, key_info: Json) -> Json:
    """``POST /handshake``."""
    return {
        "status": "OK",
        **key_info,
        **_write_domain("cookieDomain", settings),
        "cookieSecure": settings.cookie_secure,
        "cookieSameSite": settings.cookie_same_site,
        "accessTokenPath": settings.access_token_path,
        "refreshTokenPath": settings.refresh_api_path,
        "idRefreshTokenPath": settings.access_token_path,
        "enableAntiCsrf": settings.enable_anti_csrf,
        "accessTokenBlacklistingEnabled": settings.access_token_blacklisting,
        "sessionExpiredStatusCode": settings.session_expired_status_code,
    }


def _write_first_session(session: SessionInfo) -> Json:
    return {"handle": session.handle, "userId": session.user_id, "userDataInJWT": session.jwt_payload}


def _write_cookie(info: TokenInfo | CookieTokenInfo, settings: CoreSettings, path: str) -> Json:
    return {
        **write_token(info),
        **_write_domain("domain", settings),
        "cookiePath": path,
        "cookieSecure": settings.cookie_secure,
        "sameSite": settings.cookie_same_site,
    }


def _write_domain(name: str, settings: CoreSettings) -> Json:
    # Without one, a cookie belongs to the host alone, and the field is left out.
    return {} if settings.cookie_domain is None else {name: settings.cookie_domain}
