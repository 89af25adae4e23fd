"""From a session's row, what its client gets: tokens, their times and their cookies' attributes.

Nothing here asks the store. The only thing drawn is the random id of a refresh token.
"""

from __future__ import annotations

from tallystick.config import Config, Retirement
from tallystick.deployment import Deployment
from tallystick.errors import BadInput, Unauthorised
from tallystick.protocol.access_token import AccessToken
from tallystick.protocol.anti_csrf import mint_anti_csrf_token
from tallystick.protocol.front_token import make_front_token
from tallystick.protocol.input import decode_json
from tallystick.protocol.keyring import SigningKey
from tallystick.protocol.liveness import slide
from tallystick.protocol.refresh_token import ID_BYTES, RefreshToken, mint_refresh_token
from tallystick.protocol.token_versions import PROTECTED_FIELD
from tallystick.types import (
    CookieTokenInfo,
    CreatedSession,
    FoundSession,
    Json,
    RegeneratedToken,
    SessionInfo,
    SessionInformation,
    SessionRow,
    TokenInfo,
)


def mint_first(d: Deployment, handle: str, nonce: bytes, *, has_anti_csrf: bool) -> RefreshToken:
    """A new session's first refresh token."""
    has_static_key = d.static_key is True
    return _mint(d, handle, nonce, 0, None, has_anti_csrf=has_anti_csrf, has_static_key=has_static_key)


def mint_child(d: Deployment, row: SessionRow, parent: RefreshToken, *, has_anti_csrf: bool) -> RefreshToken:
    """One more child of ``parent``."""
    generation = parent.generation + 1
    has_static_key = parent.has_static_key if d.static_key is None else d.static_key
    return _mint(
        d,
        row.handle,
        row.nonce,
        generation,
        parent.hash1,
        has_anti_csrf=has_anti_csrf,
        has_static_key=has_static_key,
    )


def issue(d: Deployment, row: SessionRow, refresh_token: RefreshToken, key: SigningKey, now: int) -> CreatedSession:
    """All that a client gets with ``refresh_token``. Raises :class:`Unauthorised` (``reserved_claim``) where the
    payload, put there for an older version of access tokens, has a claim that is the session's own in this one."""
    payload = decode_json(row.jwt_payload)
    if _has_reserved(d, payload):
        raise Unauthorised(PROTECTED_FIELD, reason="reserved_claim")
    anti_csrf_token = (
        mint_anti_csrf_token(d.secrets[0].anti_csrf, refresh_token.text) if refresh_token.has_anti_csrf else None
    )
    # Where nobody sees the first use there is nothing to mark (shared/rotation.md, AT_REFRESH).
    marked = d.rule.retirement is Retirement.ON_FIRST_USE
    token = AccessToken(
        handle=row.handle,
        user_id=row.user_id,
        tenant_id=row.tenant_id,
        created_at=_whole_second(now),
        expires_at=_access_expiry(d, row, now),
        refresh_hash1=refresh_token.hash1,
        parent_hash1=refresh_token.parent_hash1 if marked else None,
        anti_csrf_token=anti_csrf_token,
        jwt_payload=payload,
    )
    expiry = slide(now, d.inactivity_limit, row.absolute_expires_at)
    return CreatedSession(
        session=SessionInfo(row.handle, row.user_id, payload, row.tenant_id),
        access_token=_access_cookie(d, token, key),
        refresh_token=make_refresh_cookie(d.config, refresh_token.text, expiry, now),
        # Random and never checked: its presence alone says that there is a session (spec/cdi.md 3.5).
        id_refresh_token=TokenInfo(d.new_uuid(), expiry, now),
        anti_csrf_token=anti_csrf_token,
        front_token=make_front_token(token),
    )


def find(token: AccessToken, jwt_payload: Json) -> FoundSession:
    """A verified session whose access token stays as it is."""
    session = SessionInfo(token.handle, token.user_id, jwt_payload, token.tenant_id)
    return FoundSession(session, None, None, token.anti_csrf_token is not None)


def find_and_replace(d: Deployment, row: SessionRow, token: AccessToken, key: SigningKey, now: int) -> FoundSession:
    """A verified session with a replacement: fresh, without the parent's mark, with the stored payload."""
    fresh = _reissue(token, decode_json(row.jwt_payload), now, _access_expiry(d, row, now), None)
    if _has_reserved(d, fresh.jwt_payload):
        raise BadInput(PROTECTED_FIELD, reason="reserved_claim")
    session = SessionInfo(token.handle, token.user_id, fresh.jwt_payload, token.tenant_id)
    return FoundSession(
        session,
        _access_cookie(d, fresh, key),
        make_front_token(fresh),
        token.anti_csrf_token is not None,
    )


def regenerate(d: Deployment, token: AccessToken, payload: Json, key: SigningKey | None, now: int) -> RegeneratedToken:
    """``token`` with another payload, but its own expiry and mark. Without a key, no token."""
    session = SessionInfo(token.handle, token.user_id, payload, token.tenant_id)
    if key is None:
        return RegeneratedToken(session, None)
    fresh = _reissue(token, payload, now, token.expires_at, token.parent_hash1)
    if _has_reserved(d, payload):
        raise BadInput(PROTECTED_FIELD, reason="reserved_claim")
    return RegeneratedToken(session, _access_cookie(d, fresh, key), make_front_token(fresh))


def describe(row: SessionRow) -> SessionInformation:
    """What the store knows, for the app."""
    return SessionInformation(
        session_handle=row.handle,
        user_id=row.user_id,
        tenant_id=row.tenant_id,
        expiry=min(row.expires_at, row.absolute_expires_at),
        time_created=row.created_at,
        jwt_payload=decode_json(row.jwt_payload),
        session_data=decode_json(row.session_data),
        time_refreshed=row.refreshed_at,
        user_agent=row.user_agent,
        address=row.address,
    )


def _mint(
    d: Deployment,
    handle: str,
    nonce: bytes,
    generation: int,
    parent_hash1: str | None,
    *,
    has_anti_csrf: bool,
    has_static_key: bool,
) -> RefreshToken:
    return mint_refresh_token(
        keys=d.secrets[0],
        nonce=nonce,
        handle=handle,
        generation=generation,
        token_id=d.entropy(ID_BYTES),
        parent_hash1=parent_hash1,
        has_anti_csrf=has_anti_csrf,
        has_static_key=has_static_key,
    )


def _has_reserved(d: Deployment, payload: Json) -> bool:
    return not payload.keys().isdisjoint(d.token_version.reserved)


def _reissue(token: AccessToken, payload: Json, now: int, expires_at: int, parent_hash1: str | None) -> AccessToken:
    return AccessToken(
        handle=token.handle,
        user_id=token.user_id,
        tenant_id=token.tenant_id,
        created_at=_whole_second(now),
        expires_at=expires_at,
        refresh_hash1=token.refresh_hash1,
        parent_hash1=parent_hash1,
        anti_csrf_token=token.anti_csrf_token,
        jwt_payload=payload,
    )


def make_access_cookie(config: Config, text: str, expiry: int, created_time: int) -> CookieTokenInfo:
    """An access token with the attributes of its cookie."""
    path = config.access_token_path
    return CookieTokenInfo(text, expiry, created_time, path, _is_secure(config), config.cookie_domain)


def make_refresh_cookie(config: Config, text: str, expiry: int, created_time: int) -> CookieTokenInfo:
    """A refresh token with the attributes of its cookie."""
    path = config.refresh_cookie_path
    return CookieTokenInfo(text, expiry, created_time, path, _is_secure(config), config.cookie_domain)


def _access_cookie(d: Deployment, token: AccessToken, key: SigningKey) -> CookieTokenInfo:
    return make_access_cookie(d.config, d.token_version.mint(token, key), token.expires_at, token.created_at)


def _is_secure(config: Config) -> bool:
    """Where neither the setting nor the API's domain tells: yes, as it is the app that may know better."""
    return config.secure is not False


def _access_expiry(d: Deployment, row: SessionRow, now: int) -> int:
    """In whole seconds, and never past the session's absolute end."""
    end = slide(_whole_second(now), d.access_token_validity, row.absolute_expires_at)
    return _whole_second(end)


def _whole_second(instant: int) -> int:
    return instant // 1000 * 1000
