"""Every store behind one asynchronous face, so that each scenario of the contract is written once.

A synchronous store is called in threads of its own: sixteen racers are then sixteen threads. A further store proves
itself with one more name in STORES and one more URL in `conftest.py`.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor

RACERS = 16
STORES = ("memory", "sqlite-file", "sqlite-memory", "postgresql", "mariadb", "redis", "redis-cluster")
SHARED_STORES = ("sqlite-file", "postgresql", "mariadb", "redis", "redis-cluster")
"""Those that several processes can have in common."""


class Threaded:
    """A synchronous store, its methods awaited."""

    def __init__(self, store):
        self._store = store
        self._threads = ThreadPoolExecutor(RACERS)

    def __getattr__(self, name):
        method = getattr(self._store, name)

        async def call(*args):
            return await asyncio.get_running_loop().run_in_executor(self._threads, method, *args)

        return call

    async def close(self):
        self._store.close()
        self._threads.shutdown()
