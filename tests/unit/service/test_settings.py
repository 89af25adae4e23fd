"""The service's settings: the interface's names, defaults and ranges, and each refusal, by name."""

from dataclasses import fields
from datetime import timedelta

import pytest

from tallystick import Config, GeneralError
from tallystick.service.settings import (
    CoreSettings,
    Scope,
    all_settings,
    config_for,
    find_setting,
    merge,
    parse_setting,
)

# As spec/cdi.md 5.1 has them, and ours after the line.
DEFAULTS = {
    "access_token_validity": 3600,
    "access_token_validity_jitter": 0.05,
    "refresh_token_validity": 144_000,
    "refresh_token_rotation_grace_period": 30,
    "recent_token_reuse_behaviour": "TOKEN_THEFT",
    "access_token_dynamic_signing_key_update_interval": 168,
    "access_token_signing_key_dynamic": True,
    "access_token_blacklisting": False,
    "api_keys": (),
    "supertokens_max_cdi_version": None,
    "supertokens_min_cdi_version": None,
    "ip_allow_regex": None,
    "ip_deny_regex": None,
    "port": 3567,
    "host": "localhost",
    "base_path": "",
    "max_server_pool_size": 10,
    "disable_telemetry": False,
    "supertokens_saas_secret": None,
    "supertokens_saas_load_only_cud": None,
    "log_level": "INFO",
    "enable_anti_csrf": False,
    "cookie_domain": None,
    "cookie_secure": False,
    "cookie_same_site": "lax",
    "access_token_path": "/",
    "refresh_api_path": "/refresh",
    "session_expired_status_code": 440,
    # ---
    "url": "sqlite:///tallystick.db",
    "secret": None,
    "secret_file": None,
    "migrate": True,
    "moving_from": None,
    "absolute_lifetime": None,
    "max_session_data_bytes": 65_536,
    "former_core_jwks": None,
    "workers": 1,
    "max_waiting_requests": 1000,
    "store_timeout": 3,
    "request_timeout": 30,
    "max_body_bytes": 1_048_576,
    "purge_interval": 12,
    "shutdown_timeout": 10,
    "dev": False,
}
APP = {
    "access_token_validity",
    "access_token_validity_jitter",
    "refresh_token_validity",
    "refresh_token_rotation_grace_period",
    "access_token_dynamic_signing_key_update_interval",
    "access_token_signing_key_dynamic",
    "access_token_blacklisting",
    "api_keys",
    "supertokens_max_cdi_version",
    "supertokens_min_cdi_version",
    "disable_telemetry",
    "absolute_lifetime",
    "max_session_data_bytes",
    *("enable_anti_csrf", "cookie_domain", "cookie_secure", "cookie_same_site"),
    *("access_token_path", "refresh_api_path", "session_expired_status_code"),
}

KEY = "a-Key=of-20-characters"


def test_the_names_and_defaults_are_the_interfaces_and_the_documented_ones():
    settings = CoreSettings()
    assert {each.name: getattr(settings, each.name) for each in fields(settings)} == DEFAULTS


def test_what_an_app_and_a_tenant_may_set_is_as_the_interface_says():
    scopes = {name: setting.scope for name, setting in all_settings().items()}
    assert {name for name, scope in scopes.items() if scope is Scope.APP} == APP
    assert {name for name, scope in scopes.items() if scope is Scope.TENANT} == {"ip_allow_regex", "ip_deny_regex"}


def test_the_environment_has_the_interfaces_names_and_ours_have_a_prefix():
    variables = {name: setting.variable for name, setting in all_settings().items()}
    assert variables["access_token_validity"] == "ACCESS_TOKEN_VALIDITY"
    assert variables["port"] == "SUPERTOKENS_PORT"
    assert variables["host"] == "SUPERTOKENS_HOST"
    assert variables["supertokens_max_cdi_version"] == "SUPERTOKENS_MAX_CDI_VERSION"
    assert variables["secret"] == "TALLYSTICK_SECRET"
    assert variables["url"] == "TALLYSTICK_URL"
    assert len(set(variables.values())) == len(variables)


def test_each_default_is_within_its_own_range():
    for name, setting in all_settings().items():
        if setting.default is not None:
            assert parse_setting(name, setting.default) == setting.default


@pytest.mark.parametrize(
    ("name", "value", "parsed"),
    [
        ("access_token_validity", "1", 1),
        ("access_token_validity", " 86400000 ", 86_400_000),
        ("access_token_validity", 2.0, 2),
        ("access_token_validity_jitter", "0.25", 0.25),
        ("access_token_validity_jitter", 0, 0),
        ("access_token_signing_key_update_interval", "0.0004", 0.0004),
        ("refresh_token_rotation_grace_period", 0, 0),
        ("refresh_token_rotation_grace_period", "300", 300),
        ("recent_token_reuse_behaviour", "unauthorised", "UNAUTHORISED"),
        ("access_token_blacklisting", "TRUE", True),
        ("access_token_blacklisting", "false", False),
        ("supertokens_max_cdi_version", 5.4, "5.4"),
        ("supertokens_max_cdi_version", "2.10", "2.10"),
        ("api_keys", f"{KEY} , {KEY}2", (KEY, f"{KEY}2")),
        ("api_keys", [KEY], (KEY,)),
        ("base_path", "sessions/", "/sessions"),
        ("base_path", "/", ""),
        ("ip_deny_regex", r"10\..*", r"10\..*"),
        ("log_level", "warn", "WARN"),
    ],
)
def test_text_and_numbers_become_what_they_mean(name: str, value: object, parsed: object):
    assert parse_setting(name, value) == parsed
    assert type(parse_setting(name, value)) is type(parsed) or isinstance(parsed, int)


@pytest.mark.parametrize(
    ("name", "value", "accepted"),
    [
        ("access_token_validity", "0", "a whole number, 1 to 86,400,000"),
        ("access_token_validity", 86_400_001, "a whole number, 1 to 86,400,000"),
        ("access_token_validity", 1.5, "a whole number"),
        ("access_token_validity", "one", "a whole number"),
        ("access_token_validity", True, "a whole number"),
        ("access_token_validity", [], "a whole number"),
        ("access_token_validity", 10**400, "a whole number"),
        ("access_token_validity", "nan", "a whole number"),
        ("access_token_validity", "1_0", "a whole number"),
        ("access_token_validity_jitter", 0.26, "a number, 0 to 0.25"),
        ("access_token_validity_jitter", float("nan"), "a number, 0 to 0.25"),
        ("refresh_token_rotation_grace_period", 301, "a whole number, 0 to 300"),
        ("recent_token_reuse_behaviour", "IGNORE", "one of TOKEN_THEFT, UNAUTHORISED"),
        ("access_token_blacklisting", "yes", "true or false"),
        ("access_token_blacklisting", 1, "true or false"),
        ("supertokens_max_cdi_version", "2.22", "one of 2.7, 2.8"),
        ("ip_allow_regex", "(", "a regular expression"),
        ("ip_deny_regex", "(a+)+", "a regular expression that is quick to match"),
        ("base_path", "/a b", "a path without blanks"),
        ("workers", 65, "a whole number, 1 to 64"),
        ("host", "", "text"),
        ("url", None, "text"),
    ],
)
def test_a_bad_value_is_refused_by_name_with_what_is_accepted(name: str, value: object, accepted: str):
    with pytest.raises(GeneralError) as refused:
        parse_setting(name, value)
    assert refused.value.reason == "bad_config"
    assert refused.value.message.startswith(f"{name} is ")
    assert f"but must be {accepted}" in refused.value.message


@pytest.mark.parametrize(("name", "value"), [("api_keys", "too-short"), ("supertokens_saas_secret", "too-short")])
def test_a_bad_secret_is_refused_without_being_shown(name: str, value: str):
    with pytest.raises(GeneralError) as refused:
        parse_setting(name, value)
    assert value not in refused.value.message
    assert name in refused.value.message


def test_no_secret_is_in_the_repr():
    settings = CoreSettings(secret="s" * 40, api_keys=(KEY,), url="postgresql://me:hidden@host/x")
    assert not {part for part in ("s" * 40, KEY, "hidden") if part in repr(settings)}


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("acces_token_validity", "access_token_validity"),
        ("refresh_token_grace_period", "refresh_token_rotation_grace_period"),
        ("postgresql_connection_uri", "url"),
    ],
)
def test_an_unknown_name_is_refused_with_a_near_one(name: str, near: str):
    with pytest.raises(GeneralError, match=rf"there is no setting '{name}': did you mean {near}\?"):
        find_setting(name)


def test_an_unknown_name_like_no_other_is_refused_without_a_hint():
    with pytest.raises(GeneralError, match=r"there is no setting 'xyzzy'$"):
        find_setting("xyzzy")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"refresh_token_validity": 60.0}, "refresh_token_validity is 60.0, but must be longer than"),
        ({"absolute_lifetime": 60.0}, "absolute_lifetime is 60.0, but must be longer than"),
        ({"access_token_dynamic_signing_key_update_interval": 0.5}, "must be at least 1 "),
        ({"supertokens_saas_secret": "x" * 40}, "needs api_keys"),
        (
            {"supertokens_max_cdi_version": "2.9", "supertokens_min_cdi_version": "2.10"},
            "supertokens_min_cdi_version is '2.10', but must be no newer than",
        ),
        ({"secret": "x" * 32, "secret_file": "x"}, "both set"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings: dict, message: str):
    with pytest.raises(GeneralError, match=message):
        CoreSettings(**settings)


def test_with_dev_a_signing_key_may_live_shorter_than_an_hour():
    settings = CoreSettings(dev=True, access_token_dynamic_signing_key_update_interval=0.0004)
    assert config_for(settings, "public").signing_key_interval == timedelta(seconds=1.44)


def test_an_app_sets_what_it_may_and_inherits_the_rest():
    base = CoreSettings(access_token_validity=100)
    merged = merge(base, {"access_token_validity_jitter": "0", "api_keys": None, "access_token_validity": 5})
    assert (merged.access_token_validity, merged.access_token_validity_jitter, merged.api_keys) == (5, 0, ())
    assert merge(base, {}) is base


@pytest.mark.parametrize(
    ("core_config", "scope", "message"),
    [
        ({"port": 1}, Scope.APP, "port can only be set in the service's own configuration"),
        ({"recent_token_reuse_behaviour": "TOKEN_THEFT"}, Scope.APP, "can only be set in the service's own"),
        ({"access_token_validity": 5}, Scope.TENANT, "can only be set for a whole app"),
        ({"access_token_validty": 5}, Scope.APP, "did you mean access_token_validity"),
        ({"access_token_validity": 0}, Scope.APP, "must be a whole number"),
        ({"refresh_token_validity": 1}, Scope.APP, "must be longer than"),
    ],
)
def test_an_app_is_refused_what_it_may_not_set(core_config: dict, scope: Scope, message: str):
    with pytest.raises(GeneralError, match=message) as refused:
        merge(CoreSettings(), core_config, scope)
    assert refused.value.reason == "bad_config"


def test_a_tenant_may_set_whose_addresses_are_let_in():
    assert merge(CoreSettings(), {"ip_allow_regex": "127.*"}, Scope.TENANT).ip_allow_regex == "127.*"


def test_the_config_of_an_app_follows_from_the_settings():
    config = config_for(CoreSettings(max_session_data_bytes=100), "my-app")
    assert config == Config(app_id="my-app", grace=timedelta(seconds=30), max_session_data_bytes=100)


def test_the_longest_validities_make_a_config_too():
    settings = CoreSettings(access_token_validity=86_400_000, refresh_token_validity=1_440_001.0)
    config = config_for(settings, "public")
    assert config.absolute_lifetime >= config.refresh_token_validity > config.access_token_validity
