"""``manage.py check`` names each misconfiguration."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import CheckMessage, run_checks
from django.test.utils import override_settings

from tallystick.edges import SECRET_VARIABLE
from tallystick.integrations.django import SessionMiddleware
from tallystick.integrations.django.settings import split
from tests.integrations.apps.django_project import OURS, set_up
from tests.integrations.plan import SECRET

CORS = "corsheaders.middleware.CorsMiddleware"

set_up()


class OwnMiddleware(SessionMiddleware):
    """A project's own kind of ours."""


def check(**settings: Any) -> list[CheckMessage]:
    good = {"DEBUG": True, "MIDDLEWARE": [OURS], "TALLYSTICK": {"URL": "memory://"}}
    with override_settings(**{**good, **settings}):
        return run_checks(tags=["tallystick"])


def ids(messages: list[CheckMessage]) -> list[str]:
    return [str(message.id).removeprefix("tallystick.") for message in messages]


@pytest.fixture(autouse=True)
def no_secret_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SECRET_VARIABLE, raising=False)


def test_a_good_project_is_silent():
    assert check() == []
    assert check(MIDDLEWARE=[CORS, OURS]) == []
    assert check(MIDDLEWARE=[f"{__name__}.OwnMiddleware"]) == []


@pytest.mark.parametrize("given", [None, [], "memory://"])
def test_without_the_dict_it_is_said_what_to_write(given: Any):
    [message] = check(TALLYSTICK=given)
    assert message.id == "tallystick.E001"
    assert 'TALLYSTICK = {"URL": ' in str(message.hint)


def test_every_argument_of_the_facades_is_a_setting():
    arguments, unknown = split({"URL": "new", "MOVING_FROM": "old", "ON_SESSION_END": print, "GRACE": 1})
    assert arguments == {"url": "new", "moving_from": "old", "on_session_end": print, "grace": 1}
    assert unknown == []


def test_where_sessions_are_moving_the_secret_has_to_be_said(tmp_path: Path):
    settings = {"URL": f"sqlite:///{tmp_path}/new.db", "MOVING_FROM": f"sqlite:///{tmp_path}/old.db"}
    [message] = check(TALLYSTICK=settings)
    assert "pass secret=" in str(message.msg)
    assert check(TALLYSTICK={**settings, "SECRET": SECRET}) == []
    assert list(tmp_path.iterdir()) == []


def test_every_unknown_name_is_said_with_what_was_meant():
    messages = check(TALLYSTICK={"URL": "memory://", "acces_token_validity": 1, "FOO": 2})
    assert ids(messages) == ["E002", "E002"]
    assert [message.msg for message in messages] == [
        "TALLYSTICK has no 'acces_token_validity'; did you mean 'ACCESS_TOKEN_VALIDITY'?.",
        "TALLYSTICK has no 'FOO'.",
    ]


def test_every_setting_that_is_refused_is_said_at_once():
    messages = check(TALLYSTICK={"URL": "memory://", "GRACE": 10, "ALGORITHM": "HS256", "COOKIE_SECURE": True})
    assert ids(messages) == ["E003", "E003"]
    assert [message.msg.split(" ")[1] for message in messages] == ["grace", "algorithm"]


def test_settings_are_looked_at_together():
    long = {"ACCESS_TOKEN_VALIDITY": timedelta(days=200), "REFRESH_TOKEN_VALIDITY": timedelta(days=300)}
    assert check(TALLYSTICK={"URL": "memory://", **long}) == []
    [message] = check(TALLYSTICK={"URL": "memory://", "ACCESS_TOKEN_VALIDITY": timedelta(days=200)})
    assert "refresh_token_validity" in message.msg


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"URL": "mysql//x"}, "not a store's URL"),
        ({"URL": "postgresql://localhost/db"}, "a secret is needed"),
        ({"URL": "postgresql://localhost/db", "SECRET": "short"}, "32"),
        ({"URL": None, "SECRET": SECRET}, "store"),
    ],
)
def test_a_url_or_secret_that_does_not_do_is_said(given: dict[str, Any], said: str):
    [message] = check(TALLYSTICK=given)
    assert message.id == "tallystick.E004"
    assert said in message.msg


def test_a_secret_from_the_environment_counts(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(SECRET_VARIABLE, SECRET)
    assert check(TALLYSTICK={"URL": "postgresql://localhost/db"}) == []
    monkeypatch.setenv(SECRET_VARIABLE, "short")
    assert ids(check(TALLYSTICK={"URL": "sqlite:///sessions.db"})) == ["E004"]


def test_a_check_leaves_no_file_behind(tmp_path: Path):
    assert check(TALLYSTICK={"URL": f"sqlite:///{tmp_path}/sessions.db"}) == []
    assert list(tmp_path.iterdir()) == []


def test_sessions_in_memory_are_warned_of_outside_of_debug():
    assert ids(check(DEBUG=False)) == ["W001"]
    assert ids(check(DEBUG=False, TALLYSTICK={"URL": "sqlite://"})) == ["W001"]


@pytest.mark.parametrize(
    ("middleware", "expected"),
    [
        ([], ["E005"]),
        (["no.such.Middleware"], ["E005"]),
        ([OURS, CORS], ["E007"]),
        ([CORS, OURS, OURS], ["E006"]),
    ],
)
def test_the_middleware_is_there_once_and_below_the_cors_layer(middleware: list[str], expected: list[str]):
    assert ids(check(MIDDLEWARE=middleware)) == expected


def test_a_cors_layer_that_would_keep_the_sdk_out_is_said():
    messages = check(MIDDLEWARE=[CORS, OURS], CORS_ALLOW_HEADERS=["Rid", "content-type"], CORS_ALLOW_CREDENTIALS=False)
    assert ids(messages) == ["W002", "W003"]
    assert "anti-csrf, fdi-version, st-auth-mode" in messages[0].msg
