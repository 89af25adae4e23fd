"""What the service adds to uvicorn's connection; its bounds are tested over HTTP."""

import asyncio

from tallystick.service.connection import JoinedWrites


class Wire(asyncio.Transport):
    """Notes what is written."""

    def __init__(self):
        super().__init__()
        self.written: list[bytes] = []
        self.is_closed = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed


async def test_the_head_and_the_body_of_an_answer_go_out_together():
    wire = Wire()
    joined = JoinedWrites(wire, asyncio.get_running_loop())
    for number in range(2):
        joined.write(b"head %d " % number)
        joined.write(bytearray(b"body"))
    assert wire.written == [b"head 0 body", b"head 1 body"]
    await asyncio.sleep(0)
    assert len(wire.written) == 2


async def test_what_nothing_follows_goes_out_with_the_next_turn_of_the_loop():
    wire = Wire()
    JoinedWrites(wire, asyncio.get_running_loop()).write(b"an event")
    await asyncio.sleep(0)
    assert wire.written == [b"an event"]


async def test_what_was_written_goes_out_before_the_connection_is_closed():
    wire = Wire()
    joined = JoinedWrites(wire, asyncio.get_running_loop())
    joined.write(b"the last words")
    assert not joined.is_closing()
    joined.close()
    assert joined.is_closing()
    assert wire.written == [b"the last words"]
    await asyncio.sleep(0)
    assert len(wire.written) == 1
