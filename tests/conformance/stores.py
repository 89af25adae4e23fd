"""The stores that the contract is held against. A further one proves itself with its name here and its URL in
`conftest.py`."""

STORES = ("memory", "sqlite-file", "sqlite-memory", "postgresql", "mariadb", "redis", "redis-cluster")
SHARED_STORES = ("sqlite-file", "postgresql", "mariadb", "redis", "redis-cluster")
"""Those that several processes can have in common."""
