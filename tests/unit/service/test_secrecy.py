"""What stands for a request or a configuration in a traceback or a log shows no token, key or secret of it."""

from collections.abc import Callable

import pytest

from tallystick.protocol.cdi import CoreToken, Reply
from tallystick.service import wire, wire_tenants
from tallystick.service.apps import Surroundings
from tallystick.service.predecessor import Predecessor
from tallystick.service.registry import TenantConfig
from tallystick.service.settings import CoreSettings

HIDDEN = "what-nobody-may-read"

MAKERS: list[Callable[[], object]] = [
    lambda: Surroundings(HIDDEN, lambda: 0, bytes, str.encode, Predecessor(None)),
    lambda: CoreSettings(url=HIDDEN, secret=HIDDEN, api_keys=(HIDDEN,), supertokens_saas_secret=HIDDEN * 2),
    lambda: TenantConfig({"api_keys": HIDDEN}),
    lambda: wire_tenants.read_app({"appId": "app1", "coreConfig": {"api_keys": HIDDEN}}),
    lambda: wire.Verification(HIDDEN, HIDDEN, True, None),
    lambda: wire.Refreshing(HIDDEN, HIDDEN, True, None, None),
    lambda: CoreToken(HIDDEN, 1, 0),
    lambda: Reply("OK", access_token=CoreToken(HIDDEN, 1, 0), anti_csrf_token=HIDDEN),
]


@pytest.mark.parametrize("make", MAKERS)
def test_no_secret_is_shown(make: Callable[[], object]):
    value = make()
    assert HIDDEN not in repr(value) + str(value)
    assert type(value).__name__ in repr(value)
