"""Claims: what each sequence asks of the app and of the store, and in which order."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tallystick import BooleanClaim, PrimitiveArrayClaim, PrimitiveClaim, claiming, flows
from tallystick.errors import BadInput, GeneralError, InvalidClaims, Unauthorised
from tallystick.testing import START
from tests.unit.flows.test_create_and_verify import begin, refresh_once, verify, with_key
from tests.unit.workshop import decode, deploy, drive

MINUTE = timedelta(minutes=1)


@pytest.fixture
def d(clock):
    return with_key(deploy(clock))


class Source:
    """An app's fetch_value that remembers what it was asked."""

    def __init__(self, *values):
        self.values, self.asked = list(values), []

    def __call__(self, user_id, tenant_id, payload):
        self.asked.append((user_id, tenant_id, payload))
        return self.values.pop(0)


def checking(d, created, *validators):
    text = created.access_token.token
    return claiming.verify(flows, d, verify(d, text), text, validators, None)


def test_a_claim_is_fetched_for_the_user_and_tenant_and_merged(d):
    row, _ = begin(d, "user-1", {"a": 1}, tenant_id="t1")
    source = Source("pro")
    driven = drive(claiming.fetch_and_set(flows, d, row.handle, PrimitiveClaim("plan", source)), row, row, True)
    assert source.asked == [("user-1", "t1", {"a": 1})]
    assert driven.methods == ["load_session", "load_session", "update_jwt_payload"]
    text = f'{{"a":1,"plan":{{"v":"pro","t":{START}}}}}'
    cause = d.cause("changed", START, text)
    assert driven.asked[2][1] == ("public", row.handle, text, START, row.jwt_payload, cause)
    assert driven.result is True


def test_a_fetch_that_says_nothing_changes_nothing(d):
    row, _ = begin(d)
    driven = drive(claiming.fetch_and_set(flows, d, row.handle, PrimitiveClaim("plan", Source(None))), row)
    assert (driven.methods, driven.result) == (["load_session"], True)


def test_without_a_session_nothing_is_fetched(d):
    source = Source()
    claim = PrimitiveClaim("plan", source)
    assert drive(claiming.fetch_and_set(flows, d, "h", claim), None).result is False
    assert drive(claiming.set_value(flows, d, "h", claim, "pro"), None).result is False
    assert drive(claiming.remove(flows, d, "h", claim), None).result is False
    assert drive(claiming.get_value(flows, d, "h", claim), None).result is None
    validators = [claim.validators.has_value("pro")]
    assert drive(claiming.validate_for_handle(flows, d, "h", validators, None), None).result is None
    assert source.asked == []


def test_a_value_is_set_read_and_removed(d):
    row, _ = begin(d)
    claim = PrimitiveArrayClaim("roles", Source())
    driven = drive(claiming.set_value(flows, d, row.handle, claim, ["a"]), row, True)
    text = f'{{"roles":{{"v":["a"],"t":{START}}}}}'
    assert driven.asked[1][1] == ("public", row.handle, text, START, "{}", d.cause("changed", START, text))
    holding = replace(row, jwt_payload=text)
    assert drive(claiming.get_value(flows, d, row.handle, claim), holding).result == ["a"]
    driven = drive(claiming.remove(flows, d, row.handle, claim), holding, True)
    assert driven.asked[1][1] == ("public", row.handle, "{}", START, text, d.cause("changed", START, "{}"))


@pytest.mark.parametrize("claim", [None, "plan", {"key": "plan"}])
def test_what_is_no_claim_is_refused_unasked(d, claim):
    for flow in (
        claiming.fetch_and_set(flows, d, "h", claim),
        claiming.set_value(flows, d, "h", claim, 1),
        claiming.get_value(flows, d, "h", claim),
        claiming.remove(flows, d, "h", claim),
    ):
        driven = drive(flow)
        assert isinstance(driven.error, BadInput)
        assert (driven.error.reason, driven.asked) == ("bad_claim", [])


def test_a_wrong_value_is_the_app_s_fault_when_set_and_the_server_s_when_fetched(d):
    row, _ = begin(d)
    driven = drive(claiming.set_value(flows, d, row.handle, BooleanClaim("ok", Source()), "yes"))
    assert (type(driven.error), driven.error.reason) == (BadInput, "bad_claim_value")
    driven = drive(claiming.fetch_and_set(flows, d, row.handle, BooleanClaim("ok", Source("yes"))), row)
    assert (type(driven.error), driven.error.reason, driven.error.http_status) == (GeneralError, "bad_claim_value", 500)
    driven = drive(claiming.fetch_and_set(flows, d, row.handle, PrimitiveClaim("plan", Source("x" * 4000))), row, row)
    assert (type(driven.error), driven.error.reason, driven.error.http_status) == (GeneralError, "too_large", 500)


# Verify


def test_without_validators_verify_is_what_it_was(d):
    _, created = begin(d, "user-1", {"a": 1})
    driven = drive(checking(d, created))
    assert driven.asked == []
    assert driven.result.session == created.session


def test_claims_that_are_there_and_young_enough_are_checked_without_asking_anyone(d):
    source = Source()
    claim = PrimitiveClaim("plan", source)
    _, created = begin(d, "user-1", claim.make_update("pro", START))
    assert drive(checking(d, created, claim.validators.has_value("pro", MINUTE))).error is None
    driven = drive(checking(d, created, claim.validators.has_value("free", MINUTE)))
    assert isinstance(driven.error, InvalidClaims)
    assert driven.error.errors[0].reason["message"] == "wrong value"
    assert (driven.asked, source.asked) == ([], [])
    assert driven.error.found.access_token is None


def test_a_missing_claim_is_fetched_stored_and_put_into_the_client_s_token(d):
    claim = PrimitiveClaim("plan", Source("pro"))
    row, created = begin(d, "user-1", {"a": 1})
    stored = []
    driven = drive(
        checking(d, created, claim.validators.has_value("pro")),
        row,
        lambda *args: not stored.append(args[2]),
        lambda *_: replace(row, jwt_payload=stored[0]),
    )
    assert driven.methods == ["load_session", "update_jwt_payload", "load_session"]
    payload = {"a": 1, "plan": {"v": "pro", "t": START}}
    assert driven.result.session.jwt_payload == payload
    claims = decode(driven.result.access_token.token.split(".")[1])
    assert {name: claims[name] for name in payload} == payload
    assert driven.result.front_token


def test_a_claim_that_is_fetched_and_does_not_do_reaches_the_client_all_the_same(d):
    claim = PrimitiveClaim("plan", Source("free"))
    row, created = begin(d)
    stored = replace(row, jwt_payload=f'{{"plan":{{"v":"free","t":{START}}}}}')
    flow = checking(d, created, claim.validators.has_value("pro"))
    driven = drive(flow, row, True, stored)
    assert isinstance(driven.error, InvalidClaims)
    assert driven.error.found.access_token is not None
    assert driven.error.found.session.jwt_payload == {"plan": {"v": "free", "t": START}}
    assert driven.error.found.access_token.token not in repr(driven.error)


def test_all_stale_claims_are_fetched_before_any_is_checked_each_once_and_stored_together(d):
    plan, roles = Source("free"), Source(["user"])
    one, other = PrimitiveClaim("plan", plan), PrimitiveArrayClaim("roles", roles)
    row, created = begin(d)
    validators = [
        one.validators.has_value("pro"),
        one.validators.has_value("free", id_="second"),
        other.validators.includes("admin"),
    ]
    stored = []
    flow = checking(d, created, *validators)
    driven = drive(
        flow,
        row,
        lambda *args: not stored.append(args[2]),
        lambda *_: replace(row, jwt_payload=stored[0]),
    )
    assert (len(plan.asked), len(roles.asked), len(stored)) == (1, 1, 1)
    assert [error.id for error in driven.error.errors] == ["plan", "roles"]


def test_a_fetch_without_an_answer_is_not_repeated_in_one_check_and_nothing_is_stored(d):
    source = Source(None)
    claim = PrimitiveClaim("plan", source)
    _, created = begin(d)
    driven = drive(checking(d, created, claim.validators.has_value("a"), claim.validators.has_value("b")))
    assert (len(source.asked), driven.asked, len(driven.error.errors)) == (1, [], 2)


def test_the_first_use_s_replacement_reaches_a_client_whose_claims_do_not_do(d):
    row, created = begin(d)
    child = refresh_once(d, row, created)
    claim = PrimitiveClaim("plan", Source(None))
    flow = checking(d, child, claim.validators.has_value("pro"))
    driven = drive(flow, row, True)
    assert driven.methods == ["load_session", "mark_used"]
    assert driven.error.found.access_token is not None


def test_a_fetch_on_the_first_use_starts_from_the_replacement_so_that_the_mark_stays_off(d):
    row, created = begin(d)
    child = refresh_once(d, row, created)
    claim = PrimitiveClaim("plan", Source("pro"))
    flow = checking(d, child, claim.validators.has_value("pro"))
    stored = replace(row, jwt_payload=f'{{"plan":{{"v":"pro","t":{START}}}}}')
    driven = drive(flow, row, True, row, True, stored)
    assert driven.methods == ["load_session", "mark_used", "load_session", "update_jwt_payload", "load_session"]
    claims = decode(driven.result.access_token.token.split(".")[1])
    assert claims["parentRefreshTokenHash1"] is None
    assert claims["plan"]["v"] == "pro"


def test_a_session_that_ends_while_its_claims_are_fetched_is_no_session(d):
    claim = PrimitiveClaim("plan", Source("pro", "pro"))
    row, created = begin(d)
    validators = [claim.validators.has_value("pro")]
    flow = checking(d, created, *validators)
    driven = drive(flow, None, None)
    assert isinstance(driven.error, Unauthorised)
    driven = drive(claiming.validate_for_handle(flows, d, row.handle, validators, None), row, None)
    assert driven.result is None


def test_a_token_that_expires_while_claims_are_fetched_is_judged_by_what_was_fetched(d, clock):
    def slow(_user, _tenant, _payload):
        clock.advance(timedelta(hours=2))
        return "pro"

    claim = PrimitiveClaim("plan", slow)
    row, created = begin(d)
    stored = replace(row, jwt_payload=f'{{"plan":{{"v":"pro","t":{START}}}}}')
    flow = checking(d, created, claim.validators.has_value("pro"))
    driven = drive(flow, row, True, stored)
    assert driven.result.access_token is None
    assert driven.result.session.jwt_payload["plan"]["v"] == "pro"


def test_an_app_s_function_that_changes_the_payload_it_is_given_changes_nothing_of_ours(d):
    def meddle(_user, _tenant, payload):
        payload["role"] = "admin"

    claim = PrimitiveClaim("plan", meddle)
    _, created = begin(d, "u", {"role": "user"})
    roles = PrimitiveClaim("plan", meddle).validators.has_value("pro")
    driven = drive(checking(d, created, claim.validators.has_value("pro"), roles))
    assert driven.error.found.session.jwt_payload == {"role": "user"}


# By handle


def test_a_stored_payload_is_checked_after_what_is_stale_was_fetched_and_stored(d):
    claim = PrimitiveClaim("plan", Source("free"))
    row, _ = begin(d, "user-1", {"a": 1})
    driven = drive(
        claiming.validate_for_handle(flows, d, row.handle, [claim.validators.has_value("pro")], None), row, row, True
    )
    assert driven.methods == ["load_session", "load_session", "update_jwt_payload"]
    assert [error.id for error in driven.result] == ["plan"]


def test_an_override_sees_the_session_and_may_leave_no_validator(d):
    claim = PrimitiveClaim("plan", Source())
    row, created = begin(d, "user-1", {"a": 1})
    seen = []

    def none_at_all(validators, session):
        seen.append((len(validators), session))
        return []

    driven = drive(
        claiming.validate_for_handle(flows, d, row.handle, [claim.validators.has_value("pro")], none_at_all), row
    )
    assert driven.result == []
    assert seen == [(1, created.session)]


def test_a_check_of_its_own_takes_validators_only(d):
    _, created = begin(d)
    found = drive(verify(d, created.access_token.token)).result
    driven = drive(claiming.check(flows, d, found, created.access_token.token, ["plan"]))
    assert driven.error.reason == "bad_config"
