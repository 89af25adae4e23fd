"""Databases without a schema."""

import pytest

from tests.storage.databases import DATABASES


@pytest.fixture
def sqlite_url(tmp_path) -> str:
    """A file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'sessions.db'}"


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def database_url(request) -> str:
    """An empty database of the test's own."""
    return request.getfixturevalue(DATABASES[request.param])


@pytest.fixture(params=["postgresql", "mariadb"])
def server_database(request) -> str:
    """The same on a server."""
    return request.getfixturevalue(DATABASES[request.param])
