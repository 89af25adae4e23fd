"""An app of the service: by which deployment a request's tokens are made."""

import pytest

from tallystick.edges import new_private_key
from tallystick.service.answers import Refusal
from tallystick.service.apps import App, Surroundings
from tallystick.service.predecessor import Predecessor
from tallystick.service.settings import CoreSettings
from tallystick.service.versions import ALL

NEWEST = ALL[-1]
HOUR = 3_600_000


def make_app(*, drawn: int = 0, jitter: float = 0.05) -> App:
    """Whose dice show one number."""
    settings = CoreSettings(access_token_validity=HOUR // 1000, access_token_validity_jitter=jitter)
    dice = bytes([drawn]).__mul__
    return App("public", settings, Surroundings("s" * 40, lambda: 0, dice, new_private_key, Predecessor(None)))


@pytest.mark.parametrize(("drawn", "validity"), [(0, HOUR), (128, HOUR * 0.975), (255, HOUR * (1 - 0.05 * 255 / 256))])
def test_an_access_tokens_validity_is_shortened_at_random_and_by_no_more_than_is_set(drawn: int, validity: float):
    app = make_app(drawn=drawn)
    assert app.deployment_for_new(NEWEST, None, None).access_token_validity == int(validity)
    assert app.deployment_for(NEWEST).access_token_validity == HOUR


def test_without_jitter_every_validity_is_what_is_set():
    assert make_app(drawn=255, jitter=0).deployment_for_new(NEWEST, None, None).access_token_validity == HOUR


def test_a_request_that_asks_for_a_validity_gets_it():
    app = make_app(drawn=255)
    assert app.deployment_for_new(NEWEST, None, 1234).access_token_validity == 1234
    for validity in (0, -1, HOUR + 1):
        with pytest.raises(Refusal) as refused:
            app.deployment_for_new(NEWEST, None, validity)
        assert refused.value.status == 400


def test_deployments_are_made_once_and_not_for_each_request():
    app = make_app(drawn=7)
    assert app.deployment_for_new(NEWEST, True, None) is app.deployment_for_new(NEWEST, True, None)
    assert app.deployment_for_new(NEWEST, True, None) is not app.deployment_for_new(NEWEST, False, None)
