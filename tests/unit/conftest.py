"""Hypothesis here, and the fixtures of all unit tests."""

import asyncio
import os

import pytest
from hypothesis import settings

from tallystick.testing import FakeClock
from tests.unit.facades import KINDS, Facades

# A test that fails in CI must fail again on a laptop, so nothing is random there.
settings.register_profile("ci", derandomize=True, max_examples=60, deadline=None, database=None)
settings.register_profile("laptop", max_examples=60, deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "laptop")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=KINDS)
def facades(request, clock):
    """Both kinds of facade, one after the other."""
    with asyncio.Runner() as runner:
        yield Facades(request.param, clock, runner)


@pytest.fixture
def sessions(facades):
    return facades.make()
