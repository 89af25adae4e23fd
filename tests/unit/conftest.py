"""Hypothesis here, and the fixtures of all unit tests."""

import os

import pytest
from hypothesis import settings

from tallystick.testing import FakeClock

# A test that fails in CI must fail again on a laptop, so nothing is random there.
settings.register_profile("ci", derandomize=True, max_examples=60, deadline=None, database=None)
settings.register_profile("laptop", max_examples=60, deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "laptop")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()
