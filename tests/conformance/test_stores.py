"""Our own stores keep the contract that is published for everyone's."""

from tallystick.testing import StoreContract


class TestStores(StoreContract):
    """`make_store` is in conftest.py."""
