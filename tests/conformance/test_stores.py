"""Our own stores keep the contract that is published for everyone's."""

import pytest

from tallystick.storage.opening import open_async_store, open_store
from tallystick.testing import StoreContract


class TestStores(StoreContract):
    @pytest.fixture(params=[open_store, open_async_store], ids=["sync", "async"])
    def make_store(self, request, store_url):
        return lambda: request.param(store_url, migrate=True)
