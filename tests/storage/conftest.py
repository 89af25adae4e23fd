"""Databases without a schema."""

import pytest


@pytest.fixture
def sqlite_url(tmp_path) -> str:
    """A file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'sessions.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request) -> str:
    """An empty database of the test's own."""
    return request.getfixturevalue({"sqlite": "sqlite_url", "postgresql": "postgres_database"}[request.param])
