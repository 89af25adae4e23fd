"""How long cookies are kept."""

from datetime import timedelta

import pytest

from tallystick import Sessions
from tallystick.integrations.asgi import ScopeRequest
from tallystick.presets import classic
from tallystick.testing import START, FakeClock
from tallystick.transport.policy import make_policy
from tallystick.transport.tokens import attach_created
from tests.unit.workshop import DAY, SECRET

YEARS = timedelta(days=3_000_000)  # beyond the year 9999, after which no date can be written


@pytest.mark.parametrize("interface", [{}, classic()], ids=["fdi", "classic"])
@pytest.mark.parametrize("validity", [timedelta(days=500), YEARS])
def test_no_cookie_is_kept_for_longer_than_browsers_keep_any(interface, validity):
    lifetimes = {"refresh_token_validity": validity, "absolute_lifetime": validity}
    sessions = Sessions("memory://", secret=SECRET, clock=FakeClock(), algorithm="EdDSA", **interface, **lifetimes)
    created = sessions.create_new_session("u")
    changes = attach_created(created, "cookie", make_policy(sessions.config, ScopeRequest({})))
    assert len(changes.cookies) == (3 if interface else 2)
    for cookie in changes.cookies:
        assert cookie.expires_at <= START + 400 * DAY
        assert "Expires=" in cookie.render()
