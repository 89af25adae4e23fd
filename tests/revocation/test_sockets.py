"""All connections of a user's close when the user's sessions end. bench/revocation.py does it with five thousand."""

from tests.revocation.sockets import measure_closings

COUNT = 1000


def test_a_thousand_websockets_of_a_user_are_closed_and_no_other_s(postgres_database, record_property):
    delays = measure_closings(postgres_database, COUNT).delays
    assert len(delays) == COUNT
    middle, last = delays[COUNT // 2] * 1000, delays[-1] * 1000
    record_property(
        f"{COUNT:,} WebSockets of a user", f"all closed, half after {middle:.0f} ms, the last after {last:.0f} ms"
    )
