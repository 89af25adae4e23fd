"""Every sequence, once: what create, verify, refresh, revoke and the rest ask of the store, and in which order.

A flow judges nothing itself, it carries out what ``protocol`` says. It reads the clock once, so that one operation
happens at one instant. Lost races are judged anew, :data:`ATTEMPTS` times at the most.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from tallystick import issuing
from tallystick.calls import Flow, ask
from tallystick.config import FeedSilence, milliseconds
from tallystick.core_deployment import CoreDeployment
from tallystick.deployment import Deployment
from tallystick.errors import GeneralError, TokenTheftDetected, TooManySessions, TryRefreshToken, Unauthorised
from tallystick.key_flows import ATTEMPTS, open_token, prove_secrets, signing_key
from tallystick.protocol import input as given
from tallystick.protocol.access_token import AccessToken
from tallystick.protocol.anti_csrf import check_anti_csrf, check_anti_csrf_at_refresh, mint_anti_csrf_token
from tallystick.protocol.encoding import hash_again
from tallystick.protocol.liveness import is_alive, slide
from tallystick.protocol.refresh_token import NONCE_BYTES, RefreshToken, open_envelope
from tallystick.protocol.revocation import FeedVerdict, digest_payload, judge_feed
from tallystick.protocol.rotation import (
    Accept,
    Advance,
    Ahead,
    Ended,
    Gone,
    Mark,
    Presented,
    Reissue,
    Reuse,
    Standing,
    judge_database_check,
    judge_first_use,
    judge_refresh,
)
from tallystick.protocol.size import check_fits
from tallystick.storage.interface import SessionStore
from tallystick.types import (
    OMITTED,
    Cause,
    ClientInfo,
    CreatedSession,
    FoundSession,
    Json,
    RegeneratedToken,
    SessionInfo,
    SessionInformation,
    SessionRow,
    TheftEvent,
)
from tallystick.verified_tokens import copy_json

PURGE_BATCH: Final = 1000


# Create


def create(
    d: Deployment,
    user_id: object,
    jwt_payload: object,
    session_data: object,
    *,
    tenant_id: object,
    enable_anti_csrf: bool,
    client: object = None,
    replaces: object = None,
) -> Flow[CreatedSession]:
    """Begin a session. Everything is checked before the store is asked.

    ``replaces`` is the access token that the client has presented, if any: if it is a genuine one, expired or not, its
    session ends with this one's beginning (ASVS V7.2.4).
    """
    now, side = d.clock(), given.check_client(client, d.config)
    user, tenant = given.check_user_id(user_id), given.check_tenant_id(tenant_id)
    payload = given.check_jwt_payload(jwt_payload, d.token_version.reserved)
    data = given.check_session_data(session_data, d.config.max_session_data_bytes)
    handle, nonce = d.new_handle(tenant), d.entropy(NONCE_BYTES)
    check_fits(user, handle, tenant, payload)
    key = yield from signing_key(d, now, is_static=d.static_key is True)
    first = issuing.mint_first(d, handle, nonce, has_anti_csrf=bool(enable_anti_csrf))
    absolute_expires_at = now + d.absolute_lifetime
    row = SessionRow(
        app_id=d.app_id,
        tenant_id=tenant,
        handle=handle,
        user_id=user,
        generation=first.generation,
        line=hash_again(first.hash1),
        previous=None,
        used_at=None,
        nonce=nonce,
        jwt_payload=given.encode_json(payload),
        session_data=given.encode_json(data),
        created_at=now,
        expires_at=slide(now, d.inactivity_limit, absolute_expires_at),
        absolute_expires_at=absolute_expires_at,
        refreshed_at=now,
        user_agent=side.user_agent,
        address=side.address,
    )
    created = issuing.issue(d, row, first, key, now)
    replaced = yield from _find_replaced(d, replaces, now)
    yield from _keep(d, row, replaced, now)
    return created


def _keep(d: Deployment, row: SessionRow, replaced: str | None, now: int) -> Flow[None]:
    limit = d.config.max_sessions_per_user
    if limit is None:
        yield from ask(SessionStore.insert_session, row)
        if replaced is not None:
            yield from ask(SessionStore.delete_sessions, d.app_id, [replaced], d.cause("sign_in", now))
        return
    evicts = d.config.session_limit_policy == "evict_oldest"
    cause = d.cause("sign_in", now)
    if (yield from ask(SessionStore.insert_session_within, row, limit, evicts, replaced, cause)) is None:
        raise TooManySessions(limit)


def _find_replaced(d: Deployment, access_token: object, now: int) -> Flow[str | None]:
    """The handle in a token of ours. A token that is not must neither end a session nor stand in a sign-in's way."""
    if access_token is None:
        return None
    try:
        return (yield from open_token(d, access_token, d.keys.open_expired, now)).handle
    except TryRefreshToken:
        return None


# Verify


def verify(
    d: Deployment,
    access_token: object,
    anti_csrf_token: object,
    id_refresh_token: object,
    *,
    do_anti_csrf_check: bool,
    check_database: bool,
    on_feed_silence: FeedSilence | None = None,
) -> Flow[FoundSession]:
    """Verify an access token. The usual one needs no store call at all. ``on_feed_silence`` None: as the settings
    say."""
    now = d.clock()
    check_id_refresh_token(id_refresh_token)
    token = yield from open_token(d, access_token, d.keys.open, now)
    if do_anti_csrf_check:
        check_anti_csrf(token.anti_csrf_token, anti_csrf_token)
    if token.parent_hash1 is None and not (check_database or must_ask(d, token, on_feed_silence)):
        return issuing.find(token, copy_json(token.jwt_payload))
    return (yield from verify_in_store(d, token, now))


def must_ask(d: Deployment | CoreDeployment, token: AccessToken, silence: FeedSilence | None) -> bool:
    """Whether the feed of endings leaves it to the store. Raises :class:`Unauthorised`, or :class:`GeneralError`
    (``feed_silent``) where that is what the app wants."""
    view = d.view
    if view is None:
        return False
    if (now := d.clock()) > token.created_at + view.remembers:
        return True
    is_fresh, silence = view.is_fresh(now, d.steady()), silence or d.config.on_feed_silence
    payload = token.jwt_payload
    match judge_feed(
        view, token.handle, lambda: digest_payload(given.encode_json(payload)), silence, is_fresh=is_fresh
    ):
        case FeedVerdict.ENDED:
            raise no_session()
        case FeedVerdict.SILENT:
            raise GeneralError("whether the session has ended cannot be told at the moment", reason="feed_silent")
        case verdict:
            return verdict is FeedVerdict.ASK


def verify_alone(
    d: Deployment, access_token: object, anti_csrf_token: object, id_refresh_token: object, do_anti_csrf_check: bool
) -> FoundSession | None:
    """The same where nobody has to be asked, which is nearly always, without the cost of a flow. None where it takes
    :func:`verify`."""
    if id_refresh_token is not OMITTED:
        check_id_refresh_token(id_refresh_token)
    now = d.clock()
    try:
        token = d.keys.verified.open(access_token, d.secrets, now) if access_token else None
    except TryRefreshToken as error:
        if error.reason != "unknown_key" or d.keys.ring.has_key_at(now):
            raise
        return None  # our secret may be the wrong one: see prove_secrets
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
    session = SessionInfo(token.handle, token.user_id, copy_json(token.jwt_payload), token.tenant_id)
    return FoundSession(session, None, None, expected is not None)


def check_id_refresh_token(id_refresh_token: object) -> None:
    """Raise :class:`Unauthorised` where the client says that it has no session."""
    if id_refresh_token is None or id_refresh_token == "":
        raise Unauthorised("there is no id-refresh token, so there is no session", reason="no_id_refresh_token")


def verify_in_store(d: Deployment, token: AccessToken, now: int) -> Flow[FoundSession]:
    """What the store says of a token that is good by itself."""
    for _ in range(ATTEMPTS):
        row = yield from ask(SessionStore.load_session, d.app_id, token.handle)
        if token.parent_hash1 is None:
            verdict = judge_database_check(row, given.encode_json(token.jwt_payload), now)
        else:
            verdict = judge_first_use(row, token.refresh_hash1, token.parent_hash1, now, d.rule)
        if row is None or isinstance(verdict, Ended):
            raise no_session()
        if isinstance(verdict, Accept):
            return issuing.find(token, given.decode_json(row.jwt_payload))
        if (yield from _write(row, verdict.mark)):
            key = yield from signing_key(d, now, is_static=d.static_key is True)
            return issuing.find_and_replace(d, row, token, key, now)
    raise _contended()


def _write(row: SessionRow, mark: Mark | None) -> Flow[bool]:
    """Write the mark, if there is one; false where the row has moved on meanwhile."""
    if mark is None:
        return True
    return (yield from ask(SessionStore.mark_used, row.app_id, row.handle, row.line, mark.used_at, mark.expires_at))


# Refresh


def refresh(
    d: Deployment,
    refresh_token: object,
    anti_csrf_token: object,
    *,
    enable_anti_csrf: bool | None = None,
    client: object = None,
) -> Flow[CreatedSession]:
    """Carry out the verdict on a refresh token (shared/rotation.md).

    ``enable_anti_csrf`` None keeps the session as it was created.
    """
    now, side = d.clock(), given.check_client(client, d.config)
    try:
        envelope = open_envelope(refresh_token, d.secrets)
    except Unauthorised:
        yield from prove_secrets(d, now)
        raise
    if envelope.token.has_anti_csrf:
        expected = mint_anti_csrf_token(envelope.keys.anti_csrf, envelope.token.text)
        check_anti_csrf_at_refresh(expected, anti_csrf_token)
    has_anti_csrf = envelope.token.has_anti_csrf if enable_anti_csrf is None else bool(enable_anti_csrf)
    for _ in range(ATTEMPTS):
        row = yield from ask(SessionStore.load_session, d.app_id, envelope.token.handle)
        if row is None:
            raise no_session()
        token = envelope.open(row.nonce)
        moved = yield from _carry_out_refresh(d, row, token, side, now)
        if moved is not None:
            child = issuing.mint_child(d, moved, token, has_anti_csrf=has_anti_csrf)
            key = yield from signing_key(d, now, is_static=child.has_static_key)
            return issuing.issue(d, moved, child, key, now)
    raise _contended()


def _carry_out_refresh(
    d: Deployment, row: SessionRow, token: RefreshToken, side: ClientInfo, now: int
) -> Flow[SessionRow | None]:
    """The row as it is after the verdict, or None where another caller was faster."""
    presented = Presented(token.generation, token.hash1, token.parent_hash1)
    match judge_refresh(row, presented, now, d.rule):
        case Reissue(mark):
            return row if (yield from _write(row, mark)) else None
        case Advance(step):
            step = replace(step, user_agent=side.user_agent, address=side.address)
            won = yield from ask(SessionStore.advance_line, row.app_id, row.handle, row.line, step)
            return row if won else None
        case Reuse(kind):
            event = _describe_theft(row, presented, kind, side, now)
            is_first = yield from ask(SessionStore.record_theft, event, d.cause("theft", now))
            raise TokenTheftDetected(row.handle, row.user_id, reason=kind.value, event=event if is_first else None)
        case Ahead():
            raise Unauthorised(
                "the refresh token is newer than its session: was the store restored from a backup?",
                reason="ahead",
            )
        case Gone():
            raise no_session()


def _describe_theft(
    row: SessionRow, presented: Presented, kind: Standing, presenter: ClientInfo, now: int
) -> TheftEvent:
    return TheftEvent(
        app_id=row.app_id,
        tenant_id=row.tenant_id,
        session_handle=row.handle,
        user_id=row.user_id,
        kind=kind.value,
        presented_generation=presented.generation,
        line_generation=row.generation,
        detected_at=now,
        presenter_user_agent=presenter.user_agent,
        presenter_address=presenter.address,
        holder_user_agent=row.user_agent,
        holder_address=row.address,
    )


def list_thefts(d: Deployment, user_id: object, limit: object) -> Flow[list[TheftEvent]]:
    """The latest theft events, newest first: a user's, or (None) all."""
    user = None if user_id is None else given.check_user_id(user_id)
    return (yield from ask(SessionStore.load_thefts, d.app_id, user, given.check_limit(limit)))


# Revoke and list


def revoke(d: Deployment, handles: object) -> Flow[list[str]]:
    """End sessions, expired or not. The handles of those that were there, in the order given."""
    wanted = list(dict.fromkeys(filter(given.could_be_handle, given.check_handles(handles))))
    if not wanted:
        return []
    cause = d.cause("revoked", d.clock())
    deleted = set((yield from ask(SessionStore.delete_sessions, d.app_id, wanted, cause)))
    return [handle for handle in wanted if handle in deleted]


def revoke_user(d: Deployment, user_id: object, tenant_id: object) -> Flow[list[str]]:
    """End all sessions of a user, in one tenant or (None) in all."""
    user, tenant = given.check_user_id(user_id), optional_tenant(tenant_id)
    cause = d.cause("revoked", d.clock())
    return (yield from ask(SessionStore.delete_sessions_of_user, d.app_id, user, tenant, cause))


def list_user(d: Deployment, user_id: object, tenant_id: object) -> Flow[list[str]]:
    """The handles of a user's living sessions, oldest first."""
    user, tenant = given.check_user_id(user_id), optional_tenant(tenant_id)
    return (yield from ask(SessionStore.list_handles_of_user, d.app_id, user, tenant, d.clock()))


def purge(d: Deployment) -> Flow[int]:
    """Delete what is over, in batches, the signing keys that are retired, the theft events that are old enough and the
    endings that nobody needs any more. How many sessions there were."""
    now, purged = d.clock(), 0
    while True:
        batch = yield from ask(SessionStore.purge_sessions, d.app_id, now, PURGE_BATCH)
        purged += batch
        if batch < PURGE_BATCH:
            break
    yield from ask(SessionStore.purge_keys, d.app_id, now - d.schedule.lifetime)
    yield from ask(SessionStore.purge_thefts, d.app_id, now - milliseconds(d.config.theft_retention))
    yield from ask(SessionStore.purge_endings, d.app_id, now)
    return purged


def sweep(app_id: str, tenant_id: str | None, cause: Cause) -> Flow[int]:
    """End all sessions of an app, or of one of its tenants, page by page; how many there were."""
    after: str | None = None
    swept = 0
    while True:
        rows, after = yield from ask(SessionStore.list_sessions, app_id, after, PURGE_BATCH)
        handles = [row.handle for row in rows if tenant_id in (None, row.tenant_id)]
        if handles:
            swept += len((yield from ask(SessionStore.delete_sessions, app_id, handles, cause)))
        if after is None:
            return swept


# Look up and update, by handle


def load(d: Deployment, handle: object) -> Flow[SessionInformation | None]:
    """What the store knows of a living session, or None."""
    row = yield from load_alive(d, handle, d.clock())
    return None if row is None else issuing.describe(row)


def update_data(d: Deployment, handle: object, data: object) -> Flow[bool]:
    """Replace a session's data; false if there is no such session."""
    text = given.encode_json(given.check_session_data(data, d.config.max_session_data_bytes))
    if not given.could_be_handle(given.check_handle(handle)):
        return False
    return (yield from ask(SessionStore.update_session_data, d.app_id, str(handle), text, d.clock()))


def update_payload(d: Deployment, handle: object, payload: object) -> Flow[bool]:
    """Replace a session's JWT payload; false if there is no such session."""
    now, checked = d.clock(), given.check_jwt_payload(payload, d.token_version.reserved)
    row = yield from load_alive(d, handle, now)
    if row is None:
        return False
    check_fits(row.user_id, row.handle, row.tenant_id, checked)
    text = given.encode_json(checked)
    cause = d.cause("changed", now, text)
    return (yield from ask(SessionStore.update_jwt_payload, d.app_id, row.handle, text, now, None, cause))


def merge_payload(d: Deployment, handle: object, update: object, *, tells: bool = True) -> Flow[bool]:
    """Merge into a session's JWT payload; null removes a key. False if there is no such session.

    Two that merge at once both take effect: the second sees the first one's result. ``tells``: whether tokens with the
    former payload are not to be taken at their word any more.
    """
    now, checked = d.clock(), given.check_jwt_payload(update)
    for _ in range(ATTEMPTS):
        row = yield from load_alive(d, handle, now)
        if row is None:
            return False
        merged = given.merge_payload(given.decode_json(row.jwt_payload), checked)
        check_fits(row.user_id, row.handle, row.tenant_id, merged)
        text = given.encode_json(merged)
        cause = d.cause("changed", now, text) if tells else None
        # The same may be news to those who follow, where it was merged without telling.
        if (text == row.jwt_payload and cause is None) or (
            yield from ask(SessionStore.update_jwt_payload, d.app_id, row.handle, text, now, row.jwt_payload, cause)
        ):
            return True
    raise _contended()


def regenerate(d: Deployment, access_token: object, jwt_payload: object) -> Flow[RegeneratedToken]:
    """Give an access token another payload, and the session too; None keeps the stored one."""
    now = d.clock()
    payload = None if jwt_payload is None else given.check_jwt_payload(jwt_payload)
    token = yield from open_token(d, access_token, d.keys.open_expired, now)
    return (yield from regenerate_opened(d, token, payload, now))


def regenerate_opened(d: Deployment, token: AccessToken, payload: Json | None, now: int) -> Flow[RegeneratedToken]:
    """The same for a token that is known to be good, and a payload that was checked."""
    row = yield from load_alive(d, token.handle, now)
    if row is None:
        raise no_session()
    if payload is None:
        payload = given.decode_json(row.jwt_payload)
    else:
        check_fits(row.user_id, row.handle, row.tenant_id, payload)
        text = given.encode_json(payload)
        cause = d.cause("changed", now, text)
        if not (yield from ask(SessionStore.update_jwt_payload, d.app_id, row.handle, text, now, None, cause)):
            raise no_session()
    has_expired = token.expires_at < now
    key = None if has_expired else (yield from signing_key(d, now, is_static=d.static_key is True))
    return issuing.regenerate(d, token, payload, key, now)


def load_alive(d: Deployment, handle: object, now: int) -> Flow[SessionRow | None]:
    """The row of a living session, or None."""
    name = given.check_handle(handle)
    if not given.could_be_handle(name):
        return None
    row = yield from ask(SessionStore.load_session, d.app_id, name)
    return row if row is not None and is_alive(row, now) else None


# Keys


def jwks(d: Deployment) -> Flow[Json]:
    """The public keys that verify this deployment's access tokens."""
    now = d.clock()
    yield from signing_key(d, now)
    return d.keys.ring.jwks(now)


def prepare(d: Deployment) -> Flow[None]:
    """See that there is a key to sign with."""
    yield from signing_key(d, d.clock())


def running(d: Deployment) -> object:
    """Nothing goes on beside the flows themselves."""
    return None


# What is said in several places


def optional_tenant(tenant_id: object) -> str | None:
    """A tenant, or None for all."""
    return None if tenant_id is None else given.check_tenant_id(tenant_id)


def no_session() -> Unauthorised:
    """What is said of a session that is not there, or over."""
    return Unauthorised("there is no such session, or it is over", reason="no_session")


def _contended() -> GeneralError:
    return GeneralError(f"the session changed {ATTEMPTS} times while this request looked at it", reason="contended")
