import copy
import pickle

import pytest

from tallystick import (
    BadInput,
    ClaimValidationError,
    ClientAction,
    GeneralError,
    InvalidClaims,
    SessionError,
    TokenTheftDetected,
    TooManySessions,
    TryRefreshToken,
    Unauthorised,
    is_error_from_auth,
)

ERRORS = [
    GeneralError("broken"),
    GeneralError("down", reason="store_failed"),
    BadInput("too large", reason="too_large"),
    Unauthorised(),
    Unauthorised("none was sent", reason="missing_token", clear_tokens=False),
    TryRefreshToken(),
    TokenTheftDetected("handle", "user", reason="sibling"),
    InvalidClaims([ClaimValidationError("role", {"message": "no"})]),
    TooManySessions(3),
]


@pytest.mark.parametrize(
    ("kind", "number", "status", "action"),
    [
        (SessionError, 1000, 500, ClientAction.NONE),
        (GeneralError, 1000, 500, ClientAction.NONE),
        (BadInput, 1000, 400, ClientAction.NONE),
        (TooManySessions, 1000, 409, ClientAction.NONE),
        (Unauthorised, 2000, 401, ClientAction.SIGN_IN),
        (TryRefreshToken, 3000, 401, ClientAction.REFRESH),
        (TokenTheftDetected, 4000, 401, ClientAction.SIGN_IN),
        (InvalidClaims, 5000, 403, ClientAction.NONE),
    ],
)
def test_each_error_has_its_number_status_and_action(kind, number, status, action):
    assert (kind.err_type, kind.http_status, kind.client_action) == (number, status, action)
    assert issubclass(kind, SessionError)


def test_a_broken_store_is_worth_another_try_and_anything_else_general_is_not():
    assert (ERRORS[1].http_status, ERRORS[1].client_action) == (503, "retry_later")
    assert (ERRORS[0].http_status, ERRORS[0].client_action) == (500, "none")


def test_bad_input_is_a_value_error_too():
    assert isinstance(ERRORS[2], ValueError)
    assert isinstance(ERRORS[2], GeneralError)


def test_the_four_ways_to_refuse_are_told_apart():
    kinds = [GeneralError, Unauthorised, TryRefreshToken, TokenTheftDetected, InvalidClaims]
    for one in kinds:
        assert [other for other in kinds if issubclass(one, other)] == [one]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
@pytest.mark.parametrize("copied", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy, copy.deepcopy])  # noqa: S301
def test_an_error_survives_pickling_and_copying_with_all_its_evidence(error, copied):
    error.add_note("a note")
    twin = copied(error)
    assert type(twin) is type(error)
    assert vars(twin) == vars(error)
    assert (twin.args, str(twin), repr(twin)) == (error.args, str(error), repr(error))
    assert (twin.http_status, twin.client_action) == (error.http_status, error.client_action)


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_every_error_is_told_to_be_ours_and_shows_reason_and_message(error):
    assert is_error_from_auth(error)
    assert error.reason in repr(error)
    assert error.message == str(error)


@pytest.mark.parametrize("thing", [None, ValueError("x"), KeyError(), "error", SessionError, Exception()])
def test_nothing_else_is_ours(thing):
    assert not is_error_from_auth(thing)


def test_the_evidence_is_there():
    theft, claims = ERRORS[6], ERRORS[7]
    assert (theft.session_handle, theft.user_id) == ("handle", "user")
    assert claims.errors == (ClaimValidationError("role", {"message": "no"}),)
    assert Unauthorised().clear_tokens is True
    assert ERRORS[4].clear_tokens is False


def test_reasons_are_stable_words():
    assert [error.reason for error in ERRORS] == [
        "general",
        "store_failed",
        "too_large",
        "no_session",
        "missing_token",
        "bad_token",
        "sibling",
        "invalid_claims",
        "too_many_sessions",
    ]
    assert TokenTheftDetected("h", "u").reason == "reuse"
