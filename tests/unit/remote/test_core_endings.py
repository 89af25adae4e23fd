"""When a look that a core has told of began, by the client's own clock."""

import pytest

from tallystick import GeneralError
from tallystick.core_endings import DRIFT, CoreLog, Events
from tallystick.protocol.revocation import NEVER

ENDING = (
    b'event: ending\ndata: {"handle":"h%d","userId":"u","tenantId":"public","kind":"revoked","happenedAt":1,'
    b'"forgetAt":2}\n\n'
)


def current(seconds: float, place: str = "7") -> bytes:
    return b'event: current\nid: %s\ndata: {"secondsSinceRequest":%f}\n\n' % (place.encode(), seconds)


class Core:
    """A line whose streams are written beforehand: what comes, and when on the client's clock."""

    def __init__(self, *streams: list[tuple[float, bytes]]) -> None:
        self.now = 100.0
        self.dialled: list[str] = []
        self.streams = list(streams)
        self.parts: list[tuple[float, bytes]] = []

    def dial(self, path: str, last_event: str) -> int:
        self.dialled.append(last_event)
        self.parts = self.streams.pop(0)
        return 200

    def receive(self) -> bytes:
        if not self.parts:
            return b""
        self.now, data = self.parts.pop(0)
        return data

    def hang_up(self) -> None:
        self.parts = []

    def close(self) -> None: ...


def follow(core: Core) -> CoreLog:
    return CoreLog(core, lambda: core.now)


def test_a_look_is_dated_from_when_it_was_asked_for_however_late_it_is_heard_of():
    events = Events(100.0)
    events.take(b"retry: 500\n\n" + current(0.5), 160.0)
    assert events.looked_at == 100 + 0.5 * (1 - DRIFT)
    assert events.place == "7"


def test_before_anything_is_told_nothing_has_been_looked_at():
    events = Events(100.0)
    events.take(b"retry: 500\n\n" + ENDING % 1 + current(1)[:-1], 160.0)
    assert (events.looked_at, events.place, len(events.endings)) == (NEVER, None, 1)


def test_a_look_from_before_the_question_ends_no_page():
    core = Core([(101, current(0.9)), (103, current(1.1) + ENDING % 1), (103.5, current(3.2, "8"))])
    log = follow(core)
    first = log.read_endings("public", None, 100)
    assert (first.is_last, first.place) == (True, "7")
    core.now = 102.5  # and now the one of 101.1 is no news
    second = log.read_endings("public", first.place, 100)
    assert ([ending.handle for ending in second.endings], second.is_last) == (["h1"], False)
    third = log.read_endings("public", second.place, 100)
    assert (third.endings, third.place, third.is_last) == ([], "8", True)


def test_a_look_in_the_future_drops_the_stream():
    core = Core([(101, current(1.5))], [(102, current(0.5))])
    log = follow(core)
    with pytest.raises(GeneralError, match="equally fast"):
        log.read_endings("public", None, 100)
    assert log.read_endings("public", None, 100).is_last


def test_after_a_stream_s_end_the_next_goes_on_where_it_was():
    core = Core([(101, current(0.5)), (102, ENDING % 1)], [(104, ENDING % 2 + current(0.1, "9"))])
    log = follow(core)
    place = log.read_endings("public", None, 100).place
    assert log.read_endings("public", place, 100).endings[0].handle == "h1"
    last = log.read_endings("public", place, 100)
    assert (last.endings[0].handle, last.place, last.is_last) == ("h2", "9", True)
    assert core.dialled == ["", "7"]


@pytest.mark.parametrize(
    "data",
    [
        b"event: ending\ndata: {}\n\n",
        b"event: current\nid: 1\ndata: x\n\n",
        b"event: current\ndata: " + b'{"secondsSinceRequest":0.5}\n\n',
        b"x" * (1024 * 1024 + 1),
    ],
)
def test_what_is_no_such_stream_is_told(data: bytes):
    with pytest.raises(GeneralError) as refused:
        follow(Core([(101, data)])).read_endings("public", None, 100)
    assert refused.value.reason == "no_core"


def test_a_stream_that_ends_at_once_is_a_failure_and_not_tried_again_and_again():
    with pytest.raises(GeneralError, match="ended before"):
        follow(Core([(101, b"retry: 500\n\n")])).read_endings("public", None, 100)
