"""The two facades say the same, and the settings are the configuration's."""

import inspect
from dataclasses import fields
from typing import get_type_hints

import pytest

from tallystick import AsyncSessions, Config, Sessions
from tallystick.config import Settings


def public(facade):
    return {
        name: member
        for name, member in vars(facade).items()
        if not name.startswith("_") and name not in ("open", "close")
    }


def test_both_facades_have_the_same_public_names():
    names = {"create_new_session", "get_session", "refresh_session", "revoke_session", "revoke_sessions"}
    assert names < set(public(Sessions))
    assert list(public(Sessions)) == list(public(AsyncSessions))


@pytest.mark.parametrize("name", [*public(Sessions), "open", "close"])
def test_both_facades_have_the_same_signatures_and_docstrings(name):
    one, other = vars(Sessions)[name], vars(AsyncSessions)[name]
    assert inspect.getdoc(one) == inspect.getdoc(other)
    assert inspect.getdoc(one)
    if isinstance(one, property):
        assert isinstance(other, property)
        return
    assert inspect.signature(one) == inspect.signature(other)
    assert not inspect.iscoroutinefunction(one)
    assert inspect.iscoroutinefunction(other)


def test_both_facades_are_made_alike_but_for_the_stores():
    one, other = (inspect.signature(facade.__init__).parameters for facade in (Sessions, AsyncSessions))
    assert list(one) == list(other)
    for name in one:
        assert one[name].default == other[name].default
        assert one[name].kind == other[name].kind
        if name not in ("url", "moving_from"):
            assert one[name].annotation == other[name].annotation


def test_both_facades_docstrings_differ_in_their_first_sentence_alone():
    one, other = (inspect.getdoc(facade).split("\n", 1) for facade in (Sessions, AsyncSessions))
    assert one[1] == other[1]
    assert one[0].startswith("Sessions for synchronous code")
    assert other[0].startswith("Sessions for asynchronous code")


def test_the_settings_are_the_fields_of_the_configuration_with_their_types():
    assert list(Settings.__annotations__) == [field.name for field in fields(Config)]
    of_config, of_settings = get_type_hints(Config), get_type_hints(Settings)
    assert of_settings == {name: of_config[name] for name in of_settings}


def test_each_setting_is_documented():
    for field in fields(Config):
        assert f"``{field.name}``" in inspect.getdoc(Config)


def test_the_defaults_of_get_session_are_those_of_the_interface():
    parameters = inspect.signature(Sessions.get_session).parameters
    assert list(parameters)[1:] == [
        "access_token",
        "anti_csrf_token",
        "do_anti_csrf_check",
        "id_refresh_token",
        "check_database",
        "override_global_claim_validators",
        "on_feed_silence",
    ]
    assert parameters["do_anti_csrf_check"].default is True
    assert parameters["check_database"].default is False
    assert parameters["check_database"].kind is inspect.Parameter.KEYWORD_ONLY
    assert repr(parameters["id_refresh_token"].default) == "<omitted>"
