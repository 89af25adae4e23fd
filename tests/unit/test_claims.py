"""Claims through both facades."""

import asyncio
import json
from base64 import b64decode
from datetime import timedelta

import pytest

from tallystick import (
    AsyncSessions,
    BadInput,
    BooleanClaim,
    GeneralError,
    InvalidClaims,
    PrimitiveArrayClaim,
    PrimitiveClaim,
    Unauthorised,
    fresh_within,
)
from tallystick.testing import START
from tests.unit.workshop import HOUR, SECRET

PLAN = PrimitiveClaim("plan", lambda user, _tenant, _payload: {"ada": "pro"}.get(user))
ROLES = PrimitiveArrayClaim("roles", lambda _user, _tenant, _payload: ["user"])
PRO = PLAN.validators.has_value("pro")


def refused(method, *args, **options):
    with pytest.raises(InvalidClaims) as raised:
        method(*args, **options)
    return raised.value


def test_a_claim_is_fetched_set_read_and_removed_by_handle(sessions):
    handle = sessions.create_new_session("ada", {"a": 1}).session.handle
    assert sessions.get_claim_value(handle, PLAN) is None
    assert sessions.fetch_and_set_claim(handle, PLAN) is True
    assert sessions.get_jwt_payload(handle) == {"a": 1, "plan": {"v": "pro", "t": START}}
    assert sessions.set_claim_value(handle, PLAN, "free") is True
    assert sessions.get_claim_value(handle, PLAN) == "free"
    assert sessions.remove_claim(handle, PLAN) is True
    assert sessions.get_jwt_payload(handle) == {"a": 1}
    with pytest.raises(BadInput):
        sessions.set_claim_value(handle, PLAN, ["free"])
    with pytest.raises(BadInput):
        sessions.set_claim_value(handle, "plan", "free")


def test_of_a_session_that_is_not_there_nothing_is_known(sessions):
    assert sessions.fetch_and_set_claim("h", PLAN) is False
    assert sessions.set_claim_value("h", PLAN, "pro") is False
    assert sessions.get_claim_value("h", PLAN) is None
    assert sessions.remove_claim("h", PLAN) is False
    assert sessions.validate_claims_for_session_handle("h") is None


def test_global_validators_are_checked_at_each_get_and_fetch_what_is_missing(facades):
    sessions = facades.make(claim_validators=[PRO])
    ada, bob = sessions.create_new_session("ada"), sessions.create_new_session("bob")
    found = sessions.get_session(ada.access_token.token)
    assert found.session.jwt_payload == {"plan": {"v": "pro", "t": START}}
    up = json.loads(b64decode(found.front_token))["up"]
    assert up["plan"] == {"v": "pro", "t": START}
    again = sessions.get_session(found.access_token.token)
    assert (again.access_token, again.session) == (None, found.session)
    error = refused(sessions.get_session, bob.access_token.token)
    assert (error.err_type, error.http_status, error.reason) == (5000, 403, "invalid_claims")
    assert [(one.id, one.reason["message"]) for one in error.errors] == [("plan", "value does not exist")]


def test_an_override_adds_to_the_global_validators_or_takes_their_place(facades):
    sessions = facades.make(claim_validators=[PRO])
    bob = sessions.create_new_session("bob")

    def get(override):
        return sessions.get_session(bob.access_token.token, override_global_claim_validators=override)

    assert get(lambda _validators, _session: []).session.user_id == "bob"
    admin = ROLES.validators.includes("admin")
    error = refused(get, lambda validators, _session: [*validators, admin])
    assert [one.id for one in error.errors] == ["plan", "roles"]
    assert error.found.session.jwt_payload["roles"]["v"] == ["user"]
    seen = []
    get(lambda _validators, session: seen.append(session) or [])
    assert seen == [bob.session]
    with pytest.raises(GeneralError) as wrong:
        get([admin])
    assert wrong.value.reason == "bad_config"


def test_a_value_is_fetched_again_when_it_is_too_old(facades):
    answers = ["free", "pro"]
    plan = PrimitiveClaim("plan", lambda *_: answers.pop(0), timedelta(minutes=5))
    sessions = facades.make(claim_validators=[plan.validators.has_value("pro")])
    created = sessions.create_new_session("ada")
    token = refused(sessions.get_session, created.access_token.token).found.access_token.token
    facades.clock.advance(timedelta(minutes=5))
    refused(sessions.get_session, token)
    facades.clock.advance(timedelta(milliseconds=1))
    assert sessions.get_session(token).session.jwt_payload["plan"]["v"] == "pro"


def test_a_fetched_claim_survives_the_refresh_and_keeps_its_time(facades):
    sessions = facades.make(claim_validators=[PRO])
    created = sessions.create_new_session("ada")
    sessions.get_session(created.access_token.token)
    facades.clock.advance(timedelta(milliseconds=HOUR))
    refreshed = sessions.refresh_session(created.refresh_token.token)
    assert refreshed.session.jwt_payload == {"plan": {"v": "pro", "t": START}}
    assert sessions.get_session(refreshed.access_token.token).session.user_id == "ada"


def test_refresh_and_sign_out_are_never_barred_by_claims(facades):
    sessions = facades.make(claim_validators=[PRO])
    created = sessions.create_new_session("bob")
    refreshed = sessions.refresh_session(created.refresh_token.token)
    assert sessions.revoke_session(refreshed.session.handle) is True


def test_claims_of_a_handle_are_validated_as_stored(facades):
    sessions = facades.make(claim_validators=[PRO])
    ada, bob = (sessions.create_new_session(user).session.handle for user in ("ada", "bob"))
    assert sessions.validate_claims_for_session_handle(ada) == []
    assert sessions.get_claim_value(ada, PLAN) == "pro"
    assert [error.id for error in sessions.validate_claims_for_session_handle(bob)] == ["plan"]
    assert sessions.validate_claims_for_session_handle(bob, lambda *_: []) == []


def test_more_claims_of_a_found_session_can_be_asserted(facades):
    sessions = facades.make()
    created = sessions.create_new_session("ada")
    found = sessions.get_session(created.access_token.token)
    checked = sessions.assert_claims(found, created.access_token.token, [PRO])
    assert checked.access_token is not None
    assert sessions.assert_claims(checked, created.access_token.token, [PRO]) == checked
    error = refused(sessions.assert_claims, checked, created.access_token.token, [ROLES.validators.includes("admin")])
    assert error.found.session.jwt_payload.keys() == {"plan", "roles"}
    sessions.revoke_session(created.session.handle)
    with pytest.raises(Unauthorised):
        sessions.assert_claims(found, created.access_token.token, [PRO])


@pytest.mark.parametrize("wrong", ["plan", [PLAN], 5, [None]])
def test_what_are_no_validators_is_refused_when_the_facade_is_made(facades, wrong):
    with pytest.raises(GeneralError, match="claim_validators") as raised:
        facades.make(claim_validators=wrong)
    assert raised.value.reason == "bad_config"


def test_an_asynchronous_fetch_serves_the_asynchronous_facade_and_the_other_says_so(facades):
    async def fetch(user, _tenant, _payload):
        await asyncio.sleep(0)
        return user == "ada"

    verified = BooleanClaim("verified", fetch)
    sessions = facades.make(claim_validators=[verified.validators.is_true()])
    token = sessions.create_new_session("ada").access_token.token
    if facades.kind == "async":
        assert sessions.get_session(token).session.jwt_payload["verified"]["v"] is True
        return
    with pytest.raises(GeneralError, match="fetch_value of the claim 'verified' is asynchronous") as raised:
        sessions.get_session(token)
    assert raised.value.reason == "async_fetch"


def test_what_the_app_s_fetch_raises_passes_unchanged_and_nothing_is_stored(facades):
    def fail(_user, _tenant, _payload):
        raise LookupError("the app's own")

    plan = PrimitiveClaim("plan", fail)
    sessions = facades.make(claim_validators=[plan.validators.has_value("pro")])
    created = sessions.create_new_session("ada")
    with pytest.raises(LookupError, match="the app's own"):
        sessions.get_session(created.access_token.token)
    assert sessions.get_jwt_payload(created.session.handle) == {}


def test_an_authentication_grows_old_and_no_refresh_makes_it_young(facades):
    sessions = facades.make(claim_validators=[fresh_within(timedelta(minutes=5))])
    created = sessions.create_new_session("ada", {"auth_time": START // 1000})
    facades.clock.advance(timedelta(minutes=5))
    token = sessions.refresh_session(created.refresh_token.token).access_token.token
    token = sessions.get_session(token).access_token.token
    facades.clock.advance(timedelta(seconds=1))
    error = refused(sessions.get_session, token)
    assert error.errors[0].reason == {"message": "expired", "ageInSeconds": 301, "maxAgeInSeconds": 300}


def test_a_refusal_says_no_token(facades):
    sessions = facades.make(claim_validators=[ROLES.validators.includes("admin")])
    created = sessions.create_new_session("ada")
    error = refused(sessions.get_session, created.access_token.token)
    for said in (repr(error), str(error)):
        assert error.found.access_token.token not in said


async def test_two_requests_that_fetch_at_once_both_find_the_claim():
    sessions = AsyncSessions("memory://", secret=SECRET, algorithm="EdDSA", claim_validators=[PRO])
    async with sessions:
        token = (await sessions.create_new_session("ada")).access_token.token
        found = await asyncio.gather(*(sessions.get_session(token) for _ in range(8)))
    assert {one.session.jwt_payload["plan"]["v"] for one in found} == {"pro"}
