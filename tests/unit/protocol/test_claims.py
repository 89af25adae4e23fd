"""Claims as other SDKs lay them out, and each condition with the exact reason that a browser reads."""

from datetime import timedelta

import pytest

from tallystick import (
    BadInput,
    BooleanClaim,
    ClaimValidationError,
    GeneralError,
    PrimitiveArrayClaim,
    PrimitiveClaim,
    fresh_within,
)
from tallystick.protocol.access_token import RESERVED_CLAIMS
from tallystick.protocol.claims import check_claim, check_validators, choose_validators, validate_claims
from tallystick.testing import START
from tallystick.types import SessionInfo

MINUTE = timedelta(minutes=1)


def nothing(_user, _tenant, _payload):
    return None


PLAN = PrimitiveClaim("plan", nothing)
VERIFIED = BooleanClaim("verified", nothing)
ROLES = PrimitiveArrayClaim("roles", nothing)


def holding(key, value, age=0):
    return {"other": 1, key: {"v": value, "t": START - age}}


def reason_of(validator, payload, now=START):
    error = validator.validate(payload, now)
    if error is None:
        return None
    assert error.id == validator.id
    return error.reason


# Layout


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        (PLAN, "pro"),
        (PLAN, 0),
        (PLAN, 1.5),
        (PLAN, False),
        (VERIFIED, True),
        (VERIFIED, False),
        (ROLES, []),
        (ROLES, ["a", 1, True]),
    ],
)
def test_a_claim_is_laid_out_as_other_sdks_do_and_read_back(claim, value):
    payload = claim.make_update(value, START)
    assert payload == {claim.key: {"v": value, "t": START}}
    assert claim.get_value_from_payload(payload) == value
    assert claim.get_last_refetch_time(payload) == START


def test_a_tuple_is_a_list_and_a_removal_is_a_null():
    assert ROLES.make_update(("a", "b"), 5) == {"roles": {"v": ["a", "b"], "t": 5}}
    assert ROLES.make_removal() == {"roles": None}


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        (PLAN, None),
        (PLAN, ["pro"]),
        (PLAN, {"a": 1}),
        (PLAN, object()),
        (VERIFIED, 1),
        (VERIFIED, "true"),
        (ROLES, "admin"),
        (ROLES, [["a"]]),
        (ROLES, [None]),
        (ROLES, {"a"}),
    ],
)
def test_a_value_of_another_kind_is_refused_and_read_as_missing(claim, value):
    with pytest.raises(BadInput) as refused:
        claim.make_update(value, START)
    assert refused.value.reason == "bad_claim_value"
    assert claim.get_value_from_payload({claim.key: {"v": value, "t": START}}) is None


def test_a_value_is_never_in_the_refusal():
    with pytest.raises(BadInput) as refused:
        VERIFIED.make_update("a-secret", START)
    assert "a-secret" not in str(refused.value)


@pytest.mark.parametrize(
    "entry", [None, "pro", 5, [], {}, {"v": "pro"}, {"t": START}, {"v": "pro", "t": "now"}, {"v": "pro", "t": True}]
)
def test_an_entry_of_another_shape_is_missing(entry):
    payload = {"plan": entry}
    assert (PLAN.get_value_from_payload(payload), PLAN.get_last_refetch_time(payload)) == (None, None)
    validator = PLAN.validators.has_value("pro", MINUTE)
    assert validator.should_refetch(payload, START)
    assert reason_of(validator, payload)["message"] == "value does not exist"


@pytest.mark.parametrize("key", ["", None, 5, *RESERVED_CLAIMS])
def test_a_key_that_cannot_be_a_claim_is_refused(key):
    with pytest.raises(GeneralError, match="a claim's key") as refused:
        PrimitiveClaim(key, nothing)
    assert refused.value.reason == "bad_config"


def test_what_is_no_function_and_no_duration_is_refused():
    with pytest.raises(GeneralError, match="fetch_value"):
        PrimitiveClaim("plan", "pro")
    for age in (300, timedelta(seconds=-1), "5m"):
        with pytest.raises(GeneralError, match="default_max_age"):
            PrimitiveClaim("plan", nothing, age)
        with pytest.raises(GeneralError, match="max_age"):
            PLAN.validators.has_value("pro", age)
        with pytest.raises(GeneralError, match="max_age"):
            fresh_within(age)
    with pytest.raises(GeneralError, match="max_age"):
        fresh_within(None)


# Conditions

TABLE = [
    (PLAN.validators.has_value("pro"), "pro", True, "expectedValue", "pro"),
    (PLAN.validators.has_value("pro"), "free", False, "expectedValue", "pro"),
    (PLAN.validators.has_value(1), True, False, "expectedValue", 1),
    (PLAN.validators.has_value(1), 1.0, True, "expectedValue", 1),
    (PLAN.validators.has_value(False), 0, False, "expectedValue", False),
    (VERIFIED.validators.is_true(), True, True, "expectedValue", True),
    (VERIFIED.validators.is_true(), False, False, "expectedValue", True),
    (VERIFIED.validators.is_false(), False, True, "expectedValue", False),
    (VERIFIED.validators.is_false(), True, False, "expectedValue", False),
    (VERIFIED.validators.has_value(True), False, False, "expectedValue", True),
    (ROLES.validators.includes("admin"), ["user", "admin"], True, "expectedToInclude", "admin"),
    (ROLES.validators.includes("admin"), ["administrator"], False, "expectedToInclude", "admin"),
    (ROLES.validators.includes(1), [True], False, "expectedToInclude", 1),
    (ROLES.validators.excludes("admin"), ["user"], True, "expectedToNotInclude", "admin"),
    (ROLES.validators.excludes("admin"), [], True, "expectedToNotInclude", "admin"),
    (ROLES.validators.excludes("admin"), ["admin"], False, "expectedToNotInclude", "admin"),
    (ROLES.validators.includes_all(["a", "b"]), ["b", "c", "a"], True, "expectedToInclude", ["a", "b"]),
    (ROLES.validators.includes_all(["a", "b"]), ["a"], False, "expectedToInclude", ["a", "b"]),
    (ROLES.validators.includes_all([]), [], True, "expectedToInclude", []),
    (ROLES.validators.includes_any(["a", "b"]), ["b"], True, "expectedToIncludeAtLeastOneOf", ["a", "b"]),
    (ROLES.validators.includes_any(("a", "b")), ["c"], False, "expectedToIncludeAtLeastOneOf", ["a", "b"]),
    (ROLES.validators.includes_any([]), ["c"], False, "expectedToIncludeAtLeastOneOf", []),
    (ROLES.validators.excludes_all(["a", "b"]), ["c"], True, "expectedToNotInclude", ["a", "b"]),
    (ROLES.validators.excludes_all(["a", "b"]), ["c", "b"], False, "expectedToNotInclude", ["a", "b"]),
]


@pytest.mark.parametrize(("validator", "value", "is_valid", "expectation", "expected"), TABLE)
def test_each_condition_holds_or_says_what_was_expected_and_found(validator, value, is_valid, expectation, expected):
    reason = reason_of(validator, holding(validator.claim.key, value))
    if is_valid:
        assert reason is None
    else:
        assert reason == {"message": "wrong value", expectation: expected, "actualValue": value}


@pytest.mark.parametrize(("validator", "value", "is_valid", "expectation", "expected"), TABLE)
def test_no_condition_holds_for_a_value_that_is_missing(validator, value, is_valid, expectation, expected):
    assert reason_of(validator, {}) == {"message": "value does not exist", expectation: expected, "actualValue": None}
    assert validator.should_refetch({}, START)
    assert not validator.should_refetch(holding(validator.claim.key, value, 10**12), START)


@pytest.mark.parametrize("not_a_list", ["ab", None, 5])
def test_a_text_is_no_list_of_its_letters(not_a_list):
    for method in (ROLES.validators.includes_all, ROLES.validators.includes_any, ROLES.validators.excludes_all):
        with pytest.raises(GeneralError, match="val is"):
            method(not_a_list)


# Age


def test_a_value_is_fetched_anew_and_refused_when_it_is_older_than_its_maximum_age():
    validator = PLAN.validators.has_value("pro", MINUTE)
    for age, is_stale in ((0, False), (60_000, False), (60_001, True), (90_000, True)):
        payload = holding("plan", "pro", age)
        assert validator.should_refetch(payload, START) is is_stale
        assert (reason_of(validator, payload) is not None) is is_stale
    assert reason_of(validator, holding("plan", "pro", 90_500)) == {
        "message": "expired",
        "ageInSeconds": 90.5,
        "maxAgeInSeconds": 60,
    }


def test_seconds_are_whole_numbers_where_they_can_be():
    reason = reason_of(PLAN.validators.has_value("pro", MINUTE), holding("plan", "pro", 90_000))
    assert [type(reason[name]) for name in ("ageInSeconds", "maxAgeInSeconds")] == [int, int]


def test_an_age_of_zero_has_the_value_fetched_each_time_it_is_not_of_this_instant():
    validator = PLAN.validators.has_value("pro", timedelta(0))
    assert not validator.should_refetch(holding("plan", "pro", 0), START)
    assert validator.should_refetch(holding("plan", "pro", 1), START)


def test_a_claim_s_own_maximum_age_is_that_of_its_validators_unless_they_have_another():
    claim = PrimitiveArrayClaim("roles", nothing, MINUTE)
    payload = holding("roles", ["a"], 61_000)
    assert claim.validators.includes("a").should_refetch(payload, START)
    assert not claim.validators.includes("a", timedelta(minutes=2)).should_refetch(payload, START)
    assert not ROLES.validators.includes("a").should_refetch(payload, START)


def test_a_value_from_a_clock_that_is_ahead_is_not_too_old():
    assert reason_of(PLAN.validators.has_value("pro", MINUTE), holding("plan", "pro", -5000)) is None


def test_a_validator_has_the_claim_s_key_as_id_or_one_of_its_own():
    assert PLAN.validators.has_value("pro").id == "plan"
    named = [
        PLAN.validators.has_value("pro", id_="mine"),
        VERIFIED.validators.is_true(id_="mine"),
        VERIFIED.validators.is_false(id_="mine"),
        ROLES.validators.includes("a", id_="mine"),
        ROLES.validators.excludes("a", id_="mine"),
        ROLES.validators.includes_all(["a"], id_="mine"),
        ROLES.validators.includes_any(["a"], id_="mine"),
        ROLES.validators.excludes_all(["a"], id_="mine"),
        fresh_within(MINUTE, "mine"),
    ]
    assert {one.id for one in named} == {"mine"}


# Freshness


@pytest.mark.parametrize("auth_time", [START // 1000, START / 1000 - 0.5, START // 1000 - 60, START // 1000 + 60])
def test_an_authentication_is_fresh_within_its_maximum_age(auth_time):
    assert reason_of(fresh_within(MINUTE), {"auth_time": auth_time}) is None


def test_an_authentication_that_is_too_long_ago_is_refused():
    reason = reason_of(fresh_within(MINUTE), {"auth_time": START // 1000 - 61})
    assert reason == {"message": "expired", "ageInSeconds": 61, "maxAgeInSeconds": 60}


@pytest.mark.parametrize("payload", [{}, {"auth_time": None}, {"auth_time": "now"}, {"auth_time": True}])
def test_without_a_time_of_authentication_there_is_none(payload):
    reason = reason_of(fresh_within(MINUTE), payload)
    assert reason == {"message": "value does not exist", "maxAgeInSeconds": 60, "actualValue": None}


@pytest.mark.parametrize("auth_time", [START, START // 1000 + 61, 1e308, 10**40])
def test_a_time_of_authentication_in_ms_or_in_the_future_is_not_fresh_for_ever(auth_time):
    assert reason_of(fresh_within(MINUTE), {"auth_time": auth_time})["message"] == "wrong value"


def test_freshness_is_nothing_that_could_be_fetched():
    validator = fresh_within(MINUTE)
    assert validator.claim is None
    assert validator.should_refetch({}, START) is False
    assert validator.id == "auth_time"


# Several


def test_what_is_wrong_is_listed_in_the_order_of_the_validators():
    validators = [ROLES.validators.includes("admin"), fresh_within(MINUTE), PLAN.validators.has_value("pro")]
    errors = validate_claims(validators, holding("plan", "pro"), START)
    assert [error.id for error in errors] == ["roles", "auth_time"]
    assert all(isinstance(error, ClaimValidationError) for error in errors)


SESSION = SessionInfo("handle", "user", {}, "public")


def test_without_an_override_the_global_validators_are_taken_and_with_one_what_it_makes_of_them():
    general, more = (PLAN.validators.has_value("pro"),), VERIFIED.validators.is_true()
    assert choose_validators(general, None, SESSION) == general
    assert choose_validators(general, lambda validators, _: [*validators, more], SESSION) == (*general, more)
    assert choose_validators(general, lambda _validators, _session: [], SESSION) == ()
    seen = []
    choose_validators(general, lambda validators, session: seen.append(session) or validators, SESSION)
    assert seen == [SESSION]


@pytest.mark.parametrize("wrong", [None, 5, "plan", b"plan", [PLAN], ["plan"], [None]])
def test_what_are_no_validators_is_refused(wrong):
    for check in (
        lambda: check_validators(wrong, "claim_validators"),
        lambda: choose_validators((), lambda _validators, _session: wrong, SESSION),
    ):
        with pytest.raises(GeneralError, match=r"claim_validators is .* but must be a list") as refused:
            check()
        assert refused.value.reason == "bad_config"


def test_an_override_that_is_a_list_is_refused_with_what_it_must_be():
    with pytest.raises(GeneralError, match="a function of the global validators and the session"):
        choose_validators((), [PLAN.validators.has_value("pro")], SESSION)


def test_what_is_no_claim_is_refused():
    assert check_claim(PLAN) is PLAN
    with pytest.raises(BadInput) as refused:
        check_claim("plan")
    assert refused.value.reason == "bad_claim"
