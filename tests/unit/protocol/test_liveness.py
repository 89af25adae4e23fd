from dataclasses import replace

import pytest

from tallystick.protocol.liveness import is_alive, slide
from tests.unit.protocol.test_rotation import NOW, ROW


@pytest.mark.parametrize(
    ("expires_at", "absolute_expires_at", "alive"),
    [
        (NOW + 1, NOW + 1, True),
        (NOW, NOW + 1, False),
        (NOW + 1, NOW, False),
        (NOW, NOW, False),
        (NOW - 1, NOW + 10, False),
        (NOW + 10, NOW - 1, False),
    ],
)
def test_a_session_ends_with_the_first_of_its_two_clocks_and_at_that_very_millisecond(
    expires_at, absolute_expires_at, alive
):
    row = replace(ROW, expires_at=expires_at, absolute_expires_at=absolute_expires_at)
    assert is_alive(row, NOW) is alive


@pytest.mark.parametrize(("absolute", "end"), [(NOW + 200, NOW + 100), (NOW + 100, NOW + 100), (NOW + 99, NOW + 99)])
def test_use_slides_the_end_and_never_past_the_absolute_one(absolute, end):
    assert slide(NOW, 100, absolute) == end
