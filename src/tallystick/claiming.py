"""Every sequence that concerns claims: fetch, set, remove, and check them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from tallystick.calls import Flow, fetch
from tallystick.errors import BadInput, GeneralError, InvalidClaims
from tallystick.protocol.claims import (
    SessionClaim,
    SessionClaimValidator,
    check_claim,
    check_validators,
    choose_validators,
    validate_claims,
)
from tallystick.protocol.input import merge_payload
from tallystick.repertoire import D, Repertoire
from tallystick.types import ClaimValidationError, FoundSession, Json, SessionInfo

# By handle


def fetch_and_set(flows: Repertoire[D], d: D, handle: object, claim: object) -> Flow[bool]:
    """Fetch a claim and put it into the payload; false if there is no such session."""
    now, checked = d.clock(), check_claim(claim)
    session = yield from _load(flows, d, handle)
    if session is None:
        return False
    update = yield from _fetch(session, checked, now)
    return True if update is None else (yield from _merge_fetched(flows, d, session.handle, update, tells=True))


def set_value(flows: Repertoire[D], d: D, handle: object, claim: object, value: object) -> Flow[bool]:
    """Put a value that the app has into the payload; false if there is no such session."""
    update = check_claim(claim).make_update(value, d.clock())
    return (yield from flows.merge_payload(d, handle, update))


def get_value(flows: Repertoire[D], d: D, handle: object, claim: object) -> Flow[Any]:
    """A claim's stored value; None if there is no such session, or it has none."""
    checked = check_claim(claim)
    session = yield from _load(flows, d, handle)
    return None if session is None else checked.get_value_from_payload(session.jwt_payload)


def remove(flows: Repertoire[D], d: D, handle: object, claim: object) -> Flow[bool]:
    """Take a claim out of the payload; false if there is no such session."""
    return (yield from flows.merge_payload(d, handle, check_claim(claim).make_removal()))


def validate_for_handle(
    flows: Repertoire[D], d: D, handle: object, validators: Sequence[SessionClaimValidator], override: object
) -> Flow[list[ClaimValidationError] | None]:
    """What the validators say of a stored payload, after what is stale was fetched and stored; None if there is no such
    session."""
    now = d.clock()
    session = yield from _load(flows, d, handle)
    if session is None:
        return None
    chosen = choose_validators(validators, override, session)
    update = yield from _fetch_stale(session, chosen, now)
    if update and not (yield from _merge_fetched(flows, d, session.handle, update, tells=False)):
        return None
    return list(validate_claims(chosen, merge_payload(session.jwt_payload, update), now))


# Of a session that has just been verified


def choose_verify_alone(
    flows: Repertoire[D], d: D, validators: Sequence[SessionClaimValidator]
) -> Callable[[object, object, object, bool], FoundSession | None]:
    """The sequences' own ``verify_alone``; where there are claims to check, one that says that it takes more."""
    return _never_alone if validators else partial(flows.verify_alone, d)


def _never_alone(*_arguments: object) -> None:
    return None


def verify(
    flows: Repertoire[D],
    d: D,
    verification: Flow[FoundSession],
    access_token: str | None,
    validators: Sequence[SessionClaimValidator],
    override: object,
) -> Flow[FoundSession]:
    """Verify an access token, then its claims."""
    found = yield from verification
    chosen = choose_validators(validators, override, found.session)
    return (yield from _check(flows, d, found, access_token or "", chosen)) if chosen else found


def check(
    flows: Repertoire[D], d: D, found: FoundSession, access_token: str, validators: Sequence[SessionClaimValidator]
) -> Flow[FoundSession]:
    """Check claims of a session that was verified before. Raises :class:`InvalidClaims`."""
    return (yield from _check(flows, d, found, access_token, check_validators(validators, "validators")))


def _check(
    flows: Repertoire[D], d: D, found: FoundSession, access_token: str, validators: Sequence[SessionClaimValidator]
) -> Flow[FoundSession]:
    now = d.clock()
    update = yield from _fetch_stale(found.session, validators, now)
    if update:
        # Where the session has ended meanwhile, regenerating says so. Tokens that are out with the older claim are held
        # to its age as this one was.
        yield from _merge_fetched(flows, d, found.session.handle, update, tells=False)
        current = access_token if found.access_token is None else found.access_token.token
        regenerated = yield from flows.regenerate(d, current, None)
        found = replace(found, session=regenerated.session)
        if regenerated.access_token is not None:
            found = replace(found, access_token=regenerated.access_token, front_token=regenerated.front_token)
    errors = validate_claims(validators, found.session.jwt_payload, now)
    if errors:
        raise InvalidClaims(errors, found=found)
    return found


# What is said in several places


def _load(flows: Repertoire[D], d: D, handle: object) -> Flow[SessionInfo | None]:
    found = yield from flows.load(d, handle)
    if found is None:
        return None
    return SessionInfo(found.session_handle, found.user_id, found.jwt_payload, found.tenant_id)


def _fetch_stale(session: SessionInfo, validators: Sequence[SessionClaimValidator], now: int) -> Flow[Json]:
    """What to merge into the payload so that no validator wants a claim fetched. Each claim is fetched once."""
    updates: dict[str, Json] = {}
    for validator in validators:
        claim = validator.claim
        if claim is not None and claim.key not in updates and validator.should_refetch(session.jwt_payload, now):
            updates[claim.key] = (yield from _fetch(session, claim, now)) or {}
    return {key: entry for update in updates.values() for key, entry in update.items()}


def _fetch(session: SessionInfo, claim: SessionClaim[Any], now: int) -> Flow[Json | None]:
    """What to merge into the payload; None where the app says nothing. What it says wrongly is no fault of the
    client's, so it is no :class:`BadInput`."""
    name = f"fetch_value of the claim {claim.key!r}"
    value = yield from fetch(name, claim.fetch_value, session.user_id, session.tenant_id, dict(session.jwt_payload))
    if value is None:
        return None
    try:
        return claim.make_update(value, now)
    except BadInput as error:
        raise _unfit(error) from error


def _merge_fetched(flows: Repertoire[D], d: D, handle: str, update: Json, *, tells: bool) -> Flow[bool]:
    try:
        return (yield from flows.merge_payload(d, handle, update, tells=tells))
    except BadInput as error:
        raise _unfit(error) from error


def _unfit(error: BadInput) -> GeneralError:
    return GeneralError(f"a claim was fetched that does not do: {error.message}", reason=error.reason)
