"""The presets, and each bound of NIST SP 800-63B-4 on a clock that is moved by hand (spec/standards.md 4.2)."""

from datetime import timedelta

import pytest

from tallystick import AntiCsrf, Config, GeneralError, TryRefreshToken, Unauthorised
from tallystick.presets import aal1, aal2, aal3, classic

SECOND = timedelta(seconds=1)
LEVELS = [
    (aal1, timedelta(days=30), None),
    (aal2, timedelta(hours=24), timedelta(hours=1)),
    (aal3, timedelta(hours=12), timedelta(minutes=15)),
]
IDLE_LEVELS = [(preset, idle) for preset, _, idle in LEVELS if idle is not None]


@pytest.mark.parametrize(("preset", "overall", "idle"), LEVELS)
def test_a_preset_has_the_level_s_limits_and_notices_activity_well_within_them(preset, overall, idle):
    config = Config(**preset())
    assert (config.absolute_lifetime, config.idle_timeout) == (overall, idle)
    assert config.inactivity_limit == (idle or overall)
    assert config.access_token_validity * 3 <= config.inactivity_limit


@pytest.mark.parametrize(("preset", "overall", "idle"), LEVELS)
def test_settings_go_before_the_preset_s_own_and_what_is_stricter_is_taken(preset, overall, idle):
    chosen = preset(absolute_lifetime=overall - SECOND, grace=timedelta(0), app_id="shop")
    config = Config(**chosen)
    assert (config.absolute_lifetime, config.grace, config.app_id) == (overall - SECOND, timedelta(0), "shop")
    assert config.idle_timeout == idle


@pytest.mark.parametrize(("preset", "overall", "idle"), LEVELS)
def test_what_is_beyond_the_level_is_refused(preset, overall, idle):
    with pytest.raises(GeneralError, match=r"absolute_lifetime is .* but AAL. has at most") as refused:
        preset(absolute_lifetime=overall + SECOND)
    assert refused.value.reason == "bad_config"
    if idle is not None:
        for value in (idle + SECOND, None):
            with pytest.raises(GeneralError, match=r"idle_timeout is .* but AAL. has at most"):
                preset(idle_timeout=value)
        assert Config(**preset(idle_timeout=None, refresh_token_validity=idle)).inactivity_limit == idle
    with pytest.raises(GeneralError, match="grace is"):
        preset(grace=timedelta(hours=1))


def stay_active(sessions, clock, created, until, step):
    """Refresh every ``step`` as a client does that is in use, and use what comes back; where the refreshing ends."""
    passed = timedelta(0)
    while passed < until:
        clock.advance(step)
        passed += step
        try:
            created = sessions.refresh_session(created.refresh_token.token)
        except Unauthorised:
            return passed, created
        sessions.get_session(created.access_token.token)
    return passed, created


@pytest.mark.parametrize(("preset", "overall", "idle"), LEVELS)
def test_a_session_in_use_ends_at_the_overall_timeout_and_no_later(facades, preset, overall, idle):
    sessions = facades.make(**preset())
    created = sessions.create_new_session("ada")
    step = sessions.config.access_token_validity
    ended_after, last = stay_active(sessions, facades.clock, created, overall + 2 * step, step)
    assert ended_after == overall
    with pytest.raises((TryRefreshToken, Unauthorised)):
        sessions.get_session(last.access_token.token)


@pytest.mark.parametrize(("preset", "idle"), IDLE_LEVELS)
@pytest.mark.parametrize(("late", "is_over"), [(-SECOND, False), (SECOND, True)])
def test_a_session_without_activity_ends_at_the_inactivity_timeout(facades, preset, idle, late, is_over):
    sessions = facades.make(**preset())
    created = sessions.create_new_session("ada")
    _, created = stay_active(sessions, facades.clock, created, 2 * idle, idle / 3)
    facades.clock.advance(idle + late)
    with pytest.raises(TryRefreshToken):
        sessions.get_session(created.access_token.token)
    if is_over:
        with pytest.raises(Unauthorised):
            sessions.refresh_session(created.refresh_token.token)
        assert sessions.get_all_session_handles_for_user("ada") == []
    else:
        sessions.refresh_session(created.refresh_token.token)


@pytest.mark.parametrize(("preset", "idle"), IDLE_LEVELS)
def test_signing_in_again_begins_both_timeouts_anew(facades, preset, idle):
    sessions = facades.make(**preset())
    first = sessions.create_new_session("ada")
    facades.clock.advance(idle / 2)
    again = sessions.create_new_session("ada", replaces=first.access_token.token)
    known = sessions.get_session_information(again.session.handle)
    assert known.expiry == facades.clock.now + idle // timedelta(milliseconds=1)
    assert sessions.get_session_information(first.session.handle) is None


def test_the_classic_preset_is_refused_what_its_clients_cannot_do():
    assert Config(**classic()).is_classic
    for settings in ({"token_transfer_method": "any"}, {"anti_csrf": AntiCsrf.VIA_CUSTOM_HEADER}, {"anti_csrf": None}):
        with pytest.raises(GeneralError, match=f"{next(iter(settings))} is .* with the classic interface"):
            classic(**settings)
    with pytest.raises(GeneralError, match="browser_interface is 'modern', but must be 'fdi' or 'classic'"):
        Config(browser_interface="modern")
