"""What an app may put into a session: each refusal with its reason, and a message that says what to do."""

import math
from collections import OrderedDict, UserDict, UserString
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from http import HTTPStatus
from types import MappingProxyType

import pytest
from hypothesis import given as given_values

from tallystick.errors import BadInput, GeneralError
from tallystick.protocol import input as given
from tallystick.protocol.access_token import RESERVED_CLAIMS
from tests.unit.protocol.test_access_token import payloads


def refuse(check, *args, reason):
    with pytest.raises(BadInput) as refused:
        check(*args)
    assert refused.value.reason == reason
    return str(refused.value)


class SafeString(str):
    """As Django and MarkupSafe have them."""

    __slots__ = ()

    def __str__(self):
        return "another text"


class Role(str, Enum):  # noqa: UP042 - the older form, whose str() is the member's name
    ADMIN = "admin"


class Colour(StrEnum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


# User id, tenant, handles


@pytest.mark.parametrize("user_id", ["u", "a" * 128, "łukasz 馬 / 马", "🙂" * 128, " ", "a\nb", "'; DROP TABLE --"])
def test_a_user_id_is_any_text_of_1_to_128_characters(user_id):
    assert given.check_user_id(user_id) == user_id


@pytest.mark.parametrize(
    ("user_id", "says"),
    [
        ("", "1 to 128 characters, not 0"),
        ("a" * 129, "1 to 128 characters, not 129"),
        ("a" * 10**6, "not 1000000"),
        ("a\0b", "NUL"),
        ("\ud800", "lone surrogate"),
        (None, "not NoneType"),
        (5, "not int"),
        (b"u", "not bytes"),
        (UserString("u"), "not UserString"),
        (["u"], "not list"),
    ],
)
def test_any_other_user_id_is_refused_and_told_why(user_id, says):
    assert says in refuse(given.check_user_id, user_id, reason="bad_user_id")


@pytest.mark.parametrize("text", [SafeString("admin"), Role.ADMIN], ids=["SafeString", "Enum"])
def test_text_of_a_subclass_is_taken_as_the_text_it_is(text):
    for taken in (
        given.check_user_id(text),
        given.check_tenant_id(text),
        given.check_handle(text),
        given.check_jwt_payload({"x": text})["x"],
        next(iter(given.check_jwt_payload({text: 1}))),
    ):
        assert type(taken) is str
        assert taken == "admin"


@pytest.mark.parametrize("tenant_id", ["public", "t1", "a" * 64, "-", "appid", "users1"])
def test_a_tenant_id_is_a_short_lower_case_name(tenant_id):
    assert given.check_tenant_id(tenant_id) == tenant_id


@pytest.mark.parametrize(
    "tenant_id",
    ["", "a" * 65, "T1", "a b", "a_b", "é", "a\n", "appid-x", "recipe", "config", "users", "hello", None, 5, b"t"],
)
def test_any_other_tenant_id_is_refused_and_the_message_names_the_rule(tenant_id):
    message = refuse(given.check_tenant_id, tenant_id, reason="bad_tenant_id")
    assert "1 to 64 characters of a-z, 0-9 and -" in message
    assert "config, hello, recipe, users" in message


@pytest.mark.parametrize("handles", [["a", "b"], ("a", "b"), {"a": 1, "b": 2}, iter(["a", "b"])])
def test_handles_are_any_collection_of_text(handles):
    assert given.check_handles(handles) == ["a", "b"]


@pytest.mark.parametrize("handles", ["abc", b"abc", None, 5, [5], ["a", None], [b"a"], [["a"]]])
def test_a_single_text_or_anything_else_is_refused_as_handles(handles):
    assert "str" in refuse(given.check_handles, handles, reason="bad_handle")


@pytest.mark.parametrize("handle", ["h", "a" * 255, "é", " ", "'; --"])
def test_a_handle_that_a_store_could_hold_may_be_asked_for(handle):
    assert given.could_be_handle(given.check_handle(handle))


@pytest.mark.parametrize("handle", ["", "a" * 256, "a\0", "\udfff", "a" * 10**6])
def test_a_handle_that_no_store_could_hold_is_never_asked_for(handle):
    assert not given.could_be_handle(given.check_handle(handle))


# JSON


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (None, {}),
        ({}, {}),
        ({"a": (1, [2, ()])}, {"a": [1, [2, []]]}),
        (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (UserDict({"a": UserDict({"b": 1})}), {"a": {"b": 1}}),
        (MappingProxyType({"a": 1}), {"a": 1}),
        ({"a": Colour.RED, "b": Level.HIGH, "c": HTTPStatus.OK}, {"a": "red", "b": 3, "c": 200}),
        ({"a": 2**63 - 1, "b": -(2**63)}, {"a": 2**63 - 1, "b": -(2**63)}),
        ({"": "", "\0": "\0", "łukasz 馬": "马"}, {"": "", "\0": "\0", "łukasz 馬": "马"}),
        ({"a": -0.0, "b": 1e308, "c": 1.0}, {"a": -0.0, "b": 1e308, "c": 1.0}),
    ],
)
def test_json_is_kept_as_plain_json(value, kept):
    for checked in (given.check_jwt_payload(value), given.check_session_data(value, 1000)):
        assert checked == kept
        assert list(checked) == list(kept)
        assert given.decode_json(given.encode_json(checked)) == kept


def test_what_is_kept_is_a_copy_down_to_its_leaves():
    inner = [1]
    checked = given.check_jwt_payload({"a": {"b": inner}})
    inner.append(2)
    assert checked == {"a": {"b": [1]}}


@pytest.mark.parametrize("value", [[], "", "{}", 5, True, b"{}", object(), {1}], ids=lambda value: type(value).__name__)
def test_what_is_no_object_is_refused(value):
    message = refuse(given.check_jwt_payload, value, reason="not_an_object")
    assert message == f"jwt_payload must be a JSON object (a dict), not {type(value).__name__}"
    assert "session_data must be" in refuse(given.check_session_data, value, 99, reason="not_an_object")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"a": math.nan}, "jwt_payload['a'] is not JSON: float out of range"),
        ({"a": math.inf}, "float out of range"),
        ({"a": -math.inf}, "float out of range"),
        ({"a": 2**63}, "int out of range"),
        ({"a": -(2**63) - 1}, "int out of range"),
        ({"a": "\ud800"}, "str out of range"),
        ({"a": b"x"}, "bytes"),
        ({"a": {1, 2}}, "set"),
        ({"a": datetime.now(UTC)}, "datetime"),
        ({"a": Decimal(1)}, "Decimal"),
        ({"a": 1j}, "complex"),
        ({"a": object()}, "object"),
        ({"a": [{"b": [0, b""]}]}, "jwt_payload['a'][0]['b'][1] is not JSON: bytes"),
        ({1: "a"}, "a key that is int"),
        ({None: "a"}, "a key that is NoneType"),
        ({"a": {True: 1}}, "jwt_payload['a'] is not JSON: it has a key that is bool"),
        ({"\ud800": 1}, "a key that is str out of range"),
        ({"k" * 500: b""}, "is not JSON: bytes"),
    ],
)
def test_what_is_not_json_is_refused_with_the_place_where_it_stands(value, says):
    assert says in refuse(given.check_jwt_payload, value, reason="not_json")
    assert len(refuse(given.check_session_data, value, 10**6, reason="not_json")) < 300


def test_a_refusal_never_quotes_a_value():
    for value in (b"hunter2", "hunter2\ud800", {"hunter2"}):
        assert "hunter2" not in refuse(given.check_jwt_payload, {"a": value}, reason="not_json")


def nest(levels):
    value = 1
    for _ in range(levels):
        value = [value]
    return value


def test_nesting_is_bounded_and_a_circle_ends_there():
    assert given.check_jwt_payload({"a": nest(31)})
    assert "deeper than 32 levels" in refuse(given.check_jwt_payload, {"a": nest(32)}, reason="not_json")
    circle = {}
    circle["a"] = circle
    refuse(given.check_jwt_payload, circle, reason="not_json")


@pytest.mark.parametrize("claim", RESERVED_CLAIMS)
def test_each_of_our_own_claims_is_refused_by_name(claim):
    assert claim in refuse(given.check_jwt_payload, {"mine": 1, claim: None}, reason="reserved_claim")
    assert given.check_jwt_payload({"mine": {claim: 1}}) == {"mine": {claim: 1}}
    assert given.check_session_data({claim: 1}, 99) == {claim: 1}


@pytest.mark.parametrize("claim", ["iss", "aud", "SUB", "sub ", "userId", "role"])
def test_other_claims_are_the_apps_own(claim):
    assert given.check_jwt_payload({claim: 1}) == {claim: 1}


def test_several_reserved_claims_are_all_named():
    assert "sub, exp" in refuse(given.check_jwt_payload, {"exp": 1, "sub": 2}, reason="reserved_claim")


def test_session_data_is_measured_as_utf_8_json_to_the_byte():
    data = {"a": "马"}  # {"a":"马"} is 11 bytes
    assert given.check_session_data(data, 11) == data
    message = refuse(given.check_session_data, data, 10, reason="too_large")
    assert "session_data is 11 bytes as JSON, but may be at most 10" in message
    assert "max_session_data_bytes" in message


@pytest.mark.parametrize(
    ("payload", "update", "merged"),
    [
        ({"a": 1}, {}, {"a": 1}),
        ({"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
        ({"a": 1, "b": 2}, {"a": 3}, {"a": 3, "b": 2}),
        ({"a": 1, "b": 2}, {"a": None}, {"b": 2}),
        ({"a": 1}, {"z": None}, {"a": 1}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": None}}, {"a": {"b": None}}),
        ({"a": None}, {"b": 1}, {"a": None, "b": 1}),
        ({"a": None}, {"a": None}, {}),
        ({}, {"a": 0, "b": False, "c": ""}, {"a": 0, "b": False, "c": ""}),
    ],
)
def test_a_merge_works_on_the_top_level_and_null_removes_a_key(payload, update, merged):
    before = dict(payload)
    assert given.merge_payload(payload, update) == merged
    assert payload == before


@given_values(payloads)
def test_the_text_of_a_payload_is_the_same_after_any_number_of_readings(payload):
    # The check against the database compares texts.
    text = given.encode_json(given.check_jwt_payload(payload))
    assert given.encode_json(given.decode_json(text)) == text


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"a":}', "[" * 5000])
def test_what_a_store_holds_instead_of_json_is_the_stores_fault_and_no_sign_out(text):
    with pytest.raises(GeneralError) as broken:
        given.decode_json(text)
    assert broken.value.reason == "corrupt_row"
    assert broken.value.__cause__ is not None
