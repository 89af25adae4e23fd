"""Settings: their defaults, and each refusal, which names the setting, what it was and what it may be."""

from datetime import timedelta
from fractions import Fraction

import pytest

from tallystick import AntiCsrf, AsyncSessions, Config, GeneralError, Retirement, Sessions
from tallystick.config import milliseconds
from tests.unit.workshop import SECRET

SECOND, MILLISECOND = timedelta(seconds=1), timedelta(milliseconds=1)


def test_the_defaults_are_the_documented_ones():
    config = Config()
    assert config.app_id == "public"
    assert config.access_token_validity == timedelta(hours=1)
    assert config.refresh_token_validity == timedelta(days=100)
    assert config.idle_timeout is None
    assert config.absolute_lifetime == timedelta(days=365)
    assert (config.max_sessions_per_user, config.session_limit_policy) == (None, "evict_oldest")
    assert config.grace == timedelta(seconds=10)
    assert config.retirement is Retirement.ON_FIRST_USE
    assert config.algorithm == "RS256"
    assert config.signing_key_interval == timedelta(hours=168)
    assert config.max_session_data_bytes == 65_536
    assert config.session_expired_status_code == 401
    assert (config.anti_csrf, config.cookie_secure, config.cookie_same_site) == (None, None, None)


GOOD = [
    {"app_id": "a" * 64},
    {"app_id": "my-app-2"},
    {"access_token_validity": SECOND},
    {"access_token_validity": timedelta(hours=1), "refresh_token_validity": timedelta(hours=1) + MILLISECOND},
    {"absolute_lifetime": timedelta(hours=1) + MILLISECOND},
    {"idle_timeout": timedelta(hours=1) + MILLISECOND},
    {"idle_timeout": timedelta(days=1000)},
    {"max_sessions_per_user": 1},
    {"max_sessions_per_user": 100_000, "session_limit_policy": "reject"},
    {"grace": timedelta(0)},
    {"grace": timedelta(seconds=300)},
    {"signing_key_interval": SECOND},
    {"algorithm": "ES256"},
    {"algorithm": "EdDSA"},
    {"retirement": Retirement.AT_REFRESH},
    {"max_session_data_bytes": 2},
    {"api_domain": "https://api.example.com"},
    {"api_domain": "http://localhost:3000/"},
    {"website_domain": "http://[::1]:8000"},
    {"api_base_path": "/"},
    {"api_base_path": "/auth/"},
    {"refresh_token_path": "/"},
    {"cookie_domain": ".example.com"},
    {"older_cookie_domain": ""},
    {"older_cookie_domain": "example.com"},
    {"cookie_secure": False},
    {"cookie_same_site": "none"},
    {"anti_csrf": AntiCsrf.NONE},
    {"token_transfer_method": "header"},
    {"session_expired_status_code": 440},
    {"session_expired_status_code": 499},
]


@pytest.mark.parametrize("settings", GOOD, ids=str)
def test_what_is_good_is_kept(settings):
    config = Config(**settings)
    for name, value in settings.items():
        assert getattr(config, name) == value


@pytest.mark.parametrize(
    ("name", "value", "accepted"),
    [
        *[
            (name, value, "a datetime.timedelta")
            for name in (
                "access_token_validity",
                "refresh_token_validity",
                "absolute_lifetime",
                "grace",
                "signing_key_interval",
            )
            for value in (3600, None, "1h")
        ],
        ("access_token_validity", timedelta(0), "whole seconds, at least 1"),
        ("access_token_validity", -SECOND, "whole seconds, at least 1"),
        ("access_token_validity", SECOND - MILLISECOND, "whole seconds, at least 1"),
        ("access_token_validity", SECOND + MILLISECOND, "whole seconds, at least 1"),
        ("refresh_token_validity", timedelta(hours=1), "longer than access_token_validity (1:00:00)"),
        ("absolute_lifetime", timedelta(hours=1), "longer than access_token_validity (1:00:00)"),
        *[
            ("idle_timeout", v, "longer than access_token_validity (1:00:00), or None")
            for v in (timedelta(hours=1), timedelta(0), -SECOND, 3600, "1h")
        ],
        *[("max_sessions_per_user", v, "1 to 100,000, or None") for v in (0, -1, 100_001, 1.0, "3", True)],
        *[("session_limit_policy", v, "'evict_oldest' or 'reject'") for v in ("evict", "", None, 1)],
        ("grace", -MILLISECOND, "0 to 300 seconds"),
        ("grace", timedelta(seconds=300) + MILLISECOND, "0 to 300 seconds"),
        ("signing_key_interval", SECOND - MILLISECOND, "at least 1 second"),
        *[("app_id", v, "1 to 64 characters") for v in ("", "a" * 65, "A", "a_b", "a/b", "é", "a\n", None, 5, b"a")],
        *[("algorithm", v, "one of RS256, ES256, EdDSA") for v in ("none", "HS256", "rs256", "", None, [])],
        *[("retirement", v, "tallystick.Retirement") for v in ("on_first_use", None, 1)],
        *[("anti_csrf", v, "tallystick.AntiCsrf") for v in ("NONE", "VIA_TOKEN", 1, False)],
        *[("cookie_same_site", v, "'lax'") for v in ("Lax", "", "None", 1)],
        *[("token_transfer_method", v, "'cookie', 'header' or 'any'") for v in ("Cookie", "", None, 1)],
        *[("max_session_data_bytes", v, "at least 2") for v in (1, 0, -1, 1.5, None, "64k", True)],
        *[
            (name, v, "an origin such as")
            for name in ("api_domain", "website_domain")
            for v in (
                "",
                "example.com",
                "ftp://example.com",
                "https://",
                "https://example.com/path",
                "https://example.com?q",
                "https://example.com#f",
                "https://user@example.com",
                "https://:password@example.com",
                "https://example.com:port",
                "https://example.com:99999",
                "https://[::1",
                " https://example.com",
                "https://example.com\n",
                "https://exa\nmple.com",
                "https://exa\tmple.com",
                "https://exa mple.com",
                5,
            )
        ],
        *[
            (name, v, "a path that begins with /")
            for name in ("api_base_path", "access_token_path", "refresh_token_path")
            for v in ("", "auth", "/a;b", "/a b", "/a\r\nSet-Cookie: x", "/é", 5)
        ],
        *[(name, None, "a path that begins with /") for name in ("api_base_path", "access_token_path")],
        *[("cookie_domain", v, "a domain such as") for v in ("", "a b", "a;b", "a/b", "é.com", "a" * 254, 5)],
        *[("older_cookie_domain", v, "a domain, '' or None") for v in ("a b", "a;b", "a" * 254, 5)],
        *[("cookie_secure", v, "True, False or None") for v in ("yes", 1, 0)],
        *[
            ("session_expired_status_code", v, "400 to 499 other than 403")
            for v in (399, 403, 500, 200, "401", None, 401.0)
        ],
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_is_not_good_is_refused_by_name_with_what_it_was_and_may_be(name, value, accepted):
    with pytest.raises(GeneralError) as refused:
        Config(**{name: value})
    assert refused.value.reason == "bad_config"
    assert str(refused.value).startswith(f"{name} is {value!r}"[:90])
    assert accepted in str(refused.value)


@pytest.mark.parametrize(
    "value",
    ["a" * 1_000_000, 10**5000, ["a" * 1000] * 1000, Fraction(1, 10**5000)],
    ids=["text", "number too long to write", "list", "number that cannot be shown"],
)
def test_what_is_not_good_is_shown_in_bounds(value):
    with pytest.raises(GeneralError, match="grace is ") as refused:
        Config(grace=value)
    assert len(str(refused.value)) < 2000


@pytest.mark.parametrize("facade", [Sessions, AsyncSessions])
@pytest.mark.parametrize("url", ["memory://", "http://localhost:3567"])
def test_a_setting_that_is_misspelt_is_told_with_the_one_that_there_is(facade, url):
    with pytest.raises(TypeError, match="no setting 'acces_token_validity'; did you mean 'access_token_validity'"):
        facade(url, acces_token_validity=1)
    with pytest.raises(TypeError, match=r"no setting 'colour'$"):
        facade(url, colour="red")


@pytest.mark.parametrize("facade", [Sessions, AsyncSessions])
def test_a_facade_refuses_a_bad_setting_before_it_touches_anything(facade, tmp_path):
    with pytest.raises(GeneralError, match="grace is"):
        facade(f"sqlite:///{tmp_path}/app.db", grace=timedelta(hours=1))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(TypeError):
        facade("memory://", secret=SECRET, grce=timedelta(0))


def test_without_use_a_session_lives_as_long_as_the_shorter_of_its_two_limits():
    days = timedelta(days=1)
    assert Config(refresh_token_validity=3 * days).inactivity_limit == 3 * days
    assert Config(refresh_token_validity=3 * days, idle_timeout=2 * days).inactivity_limit == 2 * days
    assert Config(refresh_token_validity=3 * days, idle_timeout=4 * days).inactivity_limit == 3 * days


def test_a_configuration_cannot_be_changed():
    with pytest.raises(AttributeError):
        Config().grace = timedelta(0)


@pytest.mark.parametrize(
    ("base", "refresh"),
    [("/auth", "/auth/session/refresh"), ("/auth/", "/auth/session/refresh"), ("/", "/session/refresh")],
)
def test_the_refresh_route_follows_the_base_path_and_its_cookie_follows_the_route(base, refresh):
    config = Config(api_base_path=base)
    assert (config.refresh_path, config.refresh_cookie_path) == (refresh, refresh)
    assert Config(api_base_path=base, refresh_token_path="/r").refresh_cookie_path == "/r"


@pytest.mark.parametrize(
    ("settings", "secure"),
    [
        ({}, None),
        ({"api_domain": "https://a.example"}, True),
        ({"api_domain": "HTTPS://a.example"}, True),
        ({"api_domain": "http://a.example"}, False),
        ({"cookie_secure": True}, True),
        ({"cookie_secure": False, "api_domain": "https://a.example"}, False),
        ({"cookie_secure": True, "api_domain": "http://a.example"}, True),
    ],
)
def test_secure_follows_the_setting_then_the_apis_scheme_and_else_the_request(settings, secure):
    assert Config(**settings).secure is secure


@pytest.mark.parametrize(
    ("duration", "ms"), [(SECOND, 1000), (timedelta(microseconds=1999), 1), (timedelta(days=1), 86_400_000)]
)
def test_durations_are_whole_milliseconds_inside(duration, ms):
    assert milliseconds(duration) == ms
