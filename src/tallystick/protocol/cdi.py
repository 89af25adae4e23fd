"""The Core Driver Interface as its client speaks it: requests made and answers read (spec/cdi.md 2, version 5.4).

This is the only place on the client's side that knows the wire's names.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from tallystick.config import PUBLIC
from tallystick.errors import BadInput, GeneralError
from tallystick.types import HIDDEN, CoreAnswer, CoreRequest, Ending, EndingKind, Json

VERSION: Final = "5.4"
"""The version that is spoken: that of today's SDKs (spec/cdi.md 1.1.4)."""
JWKS: Final = CoreRequest("GET", "/.well-known/jwks.json")
VERSIONS: Final = CoreRequest("GET", "/apiversion")
FEED: Final = CoreRequest("HEAD", "/tallystick/endings")
"""No part of the interface: cores of our own have it (docs/reference/core-api.md)."""

_UNKNOWN_PLACE: Final = "AppId or tenantId not found"
_EXCERPT: Final = 200
_HOLDS_TOKENS: Final = frozenset({"verify", "refresh", "regenerate"})


class CoreToken(msgspec.Struct, rename="camel"):
    """A token with its times, in ms."""

    token: str
    expiry: int
    created_time: int

    def __repr__(self) -> str:
        return f"CoreToken(expiry={self.expiry}, created_time={self.created_time})"

    __rich_repr__ = HIDDEN


class CoreSession(msgspec.Struct, rename="camel"):
    """A session, as far as an answer tells of it."""

    handle: str
    user_id: str
    tenant_id: str = PUBLIC
    jwt_payload: Json = msgspec.field(default_factory=dict[str, Any], name="userDataInJWT")


class Reply(msgspec.Struct, rename="camel"):
    """What an answer says. Which of it there is depends on the endpoint and on ``status``."""

    status: str
    session: CoreSession | None = None
    access_token: CoreToken | None = None
    refresh_token: CoreToken | None = None
    anti_csrf_token: str | None = None
    session_handles: list[str] | None = None
    session_handles_revoked: list[str] | None = None

    def __repr__(self) -> str:
        return f"Reply(status={self.status!r})"

    __rich_repr__ = HIDDEN


class Information(msgspec.Struct, rename="camel"):
    """What the core knows of a session."""

    session_handle: str
    user_id: str
    expiry: int
    time_created: int
    jwt_payload: Json = msgspec.field(name="userDataInJWT")
    session_data: Json = msgspec.field(name="userDataInDatabase")
    tenant_id: str = PUBLIC


class _Versions(msgspec.Struct):
    versions: list[str]


class _Ending(msgspec.Struct, rename="camel"):
    handle: str
    user_id: str
    tenant_id: str
    kind: EndingKind
    happened_at: int
    forget_at: int
    payload_digest: str | None = None


class _Current(msgspec.Struct, rename="camel"):
    seconds_since_request: float


_decode_ending: Final = msgspec.json.Decoder(_Ending).decode
_decode_current: Final = msgspec.json.Decoder(_Current).decode
_decode_reply: Final = msgspec.json.Decoder(Reply).decode
_decode_information: Final = msgspec.json.Decoder(Information).decode
_decode_versions: Final = msgspec.json.Decoder(_Versions).decode


# Requests


def ask_to_create(tenant: str, user: str, payload: Json, data: Json, *, enable_anti_csrf: bool) -> CoreRequest:
    """Begin a session."""
    body = {
        "userId": user,
        "userDataInJWT": payload,
        "userDataInDatabase": data,
        "enableAntiCsrf": enable_anti_csrf,
        "useDynamicSigningKey": True,
    }
    return _post(f"/{tenant}/recipe/session", body, may_repeat=False)


def ask_to_verify(access_token: str, *, check_database: bool) -> CoreRequest:
    """Verify an access token whose signature and anti-CSRF token have been checked."""
    body = {
        "accessToken": access_token,
        "doAntiCsrfCheck": False,
        "enableAntiCsrf": False,
        "checkDatabase": check_database,
    }
    return _post("/recipe/session/verify", body)


def ask_to_refresh(refresh_token: str, anti_csrf_token: str | None, *, enable_anti_csrf: bool) -> CoreRequest:
    """Exchange a refresh token."""
    body: Json = {
        "refreshToken": refresh_token,
        "enableAntiCsrf": enable_anti_csrf,
        "useDynamicSigningKey": True,
    }
    if anti_csrf_token is not None:
        body["antiCsrfToken"] = anti_csrf_token
    return _post("/recipe/session/refresh", body)


def ask_to_regenerate(access_token: str, payload: Json | None) -> CoreRequest:
    """Give an access token another payload; None keeps the stored one."""
    body: Json = {"accessToken": access_token}
    if payload is not None:
        body["userDataInJWT"] = payload
    return _post("/recipe/session/regenerate", body)


def ask_to_remove(handles: list[str]) -> CoreRequest:
    """End sessions."""
    return _post("/recipe/session/remove", {"sessionHandles": handles})


def ask_to_remove_user(user: str, tenant: str | None) -> CoreRequest:
    """End a user's sessions, in one tenant or (None) in all."""
    body = {"userId": user, "revokeAcrossAllTenants": tenant is None, "revokeSessionsForLinkedAccounts": True}
    return _post(f"{_prefix(tenant)}/recipe/session/remove", body)


def ask_for_user(user: str, tenant: str | None) -> CoreRequest:
    """The handles of a user's sessions, in one tenant or (None) in all."""
    everywhere = "true" if tenant is None else "false"
    query = (("userId", user), ("fetchAcrossAllTenants", everywhere), ("fetchSessionsForAllLinkedAccounts", "true"))
    return CoreRequest("GET", f"{_prefix(tenant)}/recipe/session/user", query)


def ask_for_session(handle: str) -> CoreRequest:
    """What is known of a session."""
    return CoreRequest("GET", "/recipe/session", (("sessionHandle", handle),))


def ask_to_put_data(handle: str, data: Json) -> CoreRequest:
    """Replace a session's data."""
    return _put("/recipe/session/data", {"sessionHandle": handle, "userDataInDatabase": data})


def ask_to_put_payload(handle: str, payload: Json) -> CoreRequest:
    """Replace a session's JWT payload."""
    return _put("/recipe/jwt/data", {"sessionHandle": handle, "userDataInJWT": payload})


def _post(path: str, body: Json, *, may_repeat: bool = True) -> CoreRequest:
    return CoreRequest("POST", path, body=msgspec.json.encode(body), may_repeat=may_repeat)


def _put(path: str, body: Json) -> CoreRequest:
    return CoreRequest("PUT", path, body=msgspec.json.encode(body))


def _prefix(tenant: str | None) -> str:
    return "" if tenant is None else f"/{tenant}"


# Answers


def read_reply(request: CoreRequest, answer: CoreAnswer) -> Reply:
    """What the core says. Raises :class:`GeneralError` where it says that it was asked wrongly, or is no core."""
    check_answer(request, answer)
    try:
        return _decode_reply(answer.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise no_core() from None


def read_information(request: CoreRequest, answer: CoreAnswer) -> Information | None:
    """What the core knows of a session; None where there is none. Raises as :func:`read_reply`."""
    if read_reply(request, answer).status != "OK":
        return None
    try:
        return _decode_information(answer.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise no_core() from None


def check_versions(answer: CoreAnswer) -> None:
    """Refuse a core that does not speak our version of the interface, or does not take our key."""
    check_answer(VERSIONS, answer)
    try:
        versions = _decode_versions(answer.body).versions
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise no_core() from None
    if VERSION not in versions:
        raise _unsupported()


def check_answer(request: CoreRequest, answer: CoreAnswer) -> None:
    """Raise what an answer other than 200 means. The texts are those of spec/cdi.md 1."""
    if answer.status == 200:
        return
    text = answer.body[: 8 * _EXCERPT].decode("utf-8", "replace")
    if answer.status == 401:
        raise GeneralError(
            "the core does not take this API key, or wants one: pass api_key=... (or set TALLYSTICK_API_KEY) as in "
            "the core's api_keys",
            reason="bad_api_key",
        )
    if answer.status == 400 and text.startswith(_UNKNOWN_PLACE):
        raise _unknown_place()
    if answer.status == 400 and "cdi-version" in text:
        raise _unsupported()
    if answer.status == 404 or 300 <= answer.status < 400:
        raise no_core()
    # What answers a request with tokens in it might quote them.
    is_quiet = request.path.rpartition("/")[2] in _HOLDS_TOKENS
    said = "" if is_quiet else ": " + "".join(filter(str.isprintable, text))[:_EXCERPT]
    raise GeneralError(
        f"the core refused {request.method} {request.path} with status {answer.status}{said}", reason="core_refused"
    )


def check_feed(status: int) -> None:
    """Raise what it means that there is no stream of endings."""
    if status in (404, 405):
        raise GeneralError(
            "this core has no stream of endings, as those of tallystick have, so instant_revocation does not work with "
            "it: leave that out, and use check_database or a shorter access_token_validity",
            reason="no_feed",
        )
    check_answer(FEED, CoreAnswer(status))


def read_event(text: bytes) -> Ending | tuple[float, str] | None:
    """One server-sent event of the stream of endings: an ending; or after how many seconds a look at the log began that
    has been told of to its end, and the place where it ended. None for anything else."""
    fields = {name: value for name, _, value in (line.partition(b": ") for line in text.split(b"\n"))}
    data = fields.get(b"data", b"")
    try:
        match fields.get(b"event"):
            case b"ending":
                told = _decode_ending(data)
                return Ending(
                    told.handle,
                    told.user_id,
                    told.tenant_id,
                    told.kind,
                    told.happened_at,
                    told.forget_at,
                    told.payload_digest,
                )
            case b"current":
                return _decode_current(data).seconds_since_request, fields[b"id"].decode("ascii")
            case _:
                return None
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError):
        raise no_core() from None


def is_unknown_place(error: BadInput) -> bool:
    """Tell whether the core has no such app, or no such tenant of it."""
    return error.reason == "unknown_tenant"


def _unknown_place() -> BadInput:
    return BadInput(
        "the core has no such app or no such tenant: make it there first (PUT /recipe/multitenancy/tenant/v2), or see "
        "what the URL, app_id and tenant_id say",
        reason="unknown_tenant",
    )


def no_core() -> GeneralError:
    """What is said of something that does not answer as a core does."""
    return GeneralError(
        "what answers at this URL is no core, or not one of this interface: see host, port and path", reason="no_core"
    )


def _unsupported() -> GeneralError:
    return GeneralError(
        f"the core does not speak version {VERSION} of its interface, which all from 2025 on do: bring it up to date, "
        "or see its supertokens_max_cdi_version",
        reason="unsupported_core",
    )
