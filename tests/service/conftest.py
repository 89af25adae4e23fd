"""Fixtures for the core's endpoints."""

import pytest

from tests.service.cores import Core


@pytest.fixture
async def core():
    """A core with the settings that clients of CDI 5.5 and older are used to."""
    made = Core(refresh_token_rotation_grace_period=0)
    async with made.http:
        yield made
