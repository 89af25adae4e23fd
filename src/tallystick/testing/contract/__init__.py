"""The contract of a store as tests, for whoever writes one: see docs/how-to/write-your-own-store.md.

They need pytest, and no plugin for asyncio.
"""

from __future__ import annotations

from tallystick.testing.contract.endings import EndingScenarios
from tallystick.testing.contract.keys import KeyScenarios
from tallystick.testing.contract.limits import LimitScenarios
from tallystick.testing.contract.races import RaceScenarios
from tallystick.testing.contract.sessions import SessionScenarios
from tallystick.testing.contract.thefts import TheftScenarios

__all__ = ["StoreContract"]


class StoreContract(SessionScenarios, KeyScenarios, TheftScenarios, LimitScenarios, RaceScenarios, EndingScenarios):
    """Everything that a store must do, alone and with sixteen callers at once.

    Make a subclass whose name pytest collects, with a fixture ``make_store``: a function without arguments which gives
    a store, synchronous or asynchronous, that is empty and not in use by any other test. Each test opens it, uses it in
    one event loop, and closes it. ::

        class TestMyStore(StoreContract):
            @pytest.fixture
            def make_store(self, tmp_path):
                return lambda: MyStore(tmp_path / "sessions")
    """
