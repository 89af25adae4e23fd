"""The outermost layer: request ids, log lines, counts, limits, and its own two endpoints."""

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

from tallystick import GeneralError
from tallystick.service.edge import Edge
from tallystick.service.journal import Gathered, Journal
from tallystick.service.metrics import Metrics
from tallystick.service.settings import CoreSettings

KEY = "a-Key=of-20-characters"


class Echo:
    """Answers with the body; a path of its own for each way to go wrong."""

    def __init__(self):
        self.may_go_on = asyncio.Event()

    def endpoint_of(self, method: str, path: str) -> str | None:
        return path if path in ("/echo", "/wait", "/break", "/break-late") else None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/break":
            raise ValueError("a token: secret-words")
        if scope["path"] == "/wait":
            await self.may_go_on.wait()
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x", b"y")]})
        if scope["path"] == "/break-late":
            raise ValueError("half way")
        await send({"type": "http.response.body", "body": body})


class Health:
    is_open = True
    state = "ready"

    async def look(self) -> str:
        return self.state

    async def key_ages(self) -> list[tuple[str, float]]:
        return [("public", 7.5)]

    async def start(self) -> None:
        if self.state == "broken":
            raise GeneralError("run tallystick migrate", reason="schema_outdated")

    async def stop(self) -> None:
        self.state = "stopped"


class Answer:
    def __init__(self, messages: list[dict[str, Any]]):
        self.status = messages[0]["status"]
        self.headers = {name.decode(): value.decode() for name, value in messages[0]["headers"]}
        self.body = b"".join(message["body"] for message in messages[1:])


class Service:
    """An edge with everything around it, and a client."""

    def __init__(self, **settings: Any):
        self.echo, self.health, self.lines = Echo(), Health(), list[bytes]()
        journal = Journal("INFO", self.lines.append)
        self.edge = Edge(self.echo, CoreSettings(**settings), self.health, Metrics(), journal)

    async def ask(
        self,
        path: str,
        *parts: bytes,
        method: str = "GET",
        query: bytes = b"",
        headers: dict[str, str] | None = None,
        address: str = "127.0.0.1",
    ) -> Answer:
        scope = {
            "type": "http",
            "client": (address, 50000),
            "method": method,
            "path": path,
            "query_string": query,
            "headers": [(name.encode(), value.encode()) for name, value in (headers or {}).items()],
        }
        left, sent = list(parts or (b"",)), list[dict[str, Any]]()

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        # As uvicorn does: each request in a task, and so in a context, of its own.
        await asyncio.create_task(self.edge(scope, receive, send))
        return Answer(sent)

    async def metrics(self) -> list[str]:
        return (await self.ask("/metrics")).body.decode().split("\n")

    def logged(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]


async def test_an_answer_passes_with_a_request_id_and_leaves_a_line_and_a_count():
    service = Service()
    answer = await service.ask("/echo", b"a", b"b", method="POST", headers={"cdi-version": "5.4"})
    assert (answer.status, answer.body, answer.headers["x"]) == (200, b"ab", "y")
    [line] = service.logged()
    assert line["request"] == answer.headers["x-request-id"]
    assert (line["level"], line["event"], line["endpoint"]) == ("info", "request", "/echo")
    assert (line["method"], line["status"], line["cdi"]) == ("POST", 200, "5.4")
    assert line["ms"] >= 0
    assert 'tallystick_requests_total{endpoint="/echo",status="200"} 1.0' in await service.metrics()
    assert 'tallystick_request_seconds_count{endpoint="/echo"} 1.0' in await service.metrics()


async def test_the_callers_request_id_is_taken_if_it_is_a_fit_one():
    service = Service()
    for given, is_taken in [("a.B-1_:", True), ("x" * 65, False), ('"', False), ("a b", False), ("", False)]:
        answer = await service.ask("/echo", headers={"x-request-id": given})
        assert (answer.headers["x-request-id"] == given) is is_taken
        assert service.logged()[-1]["request"] == answer.headers["x-request-id"]


async def test_what_is_not_known_is_counted_as_one_and_its_path_is_not_logged():
    service = Service()
    await service.ask("/user/user-1", query=b"userId=user-1", method="BREW", headers={"cdi-version": "a-token"})
    text = b"".join(service.lines)
    assert service.logged()[0]["endpoint"] is None
    assert service.logged()[0]["method"] == "other"
    assert b"user-1" not in text
    assert b"a-token" not in text
    assert 'tallystick_requests_total{endpoint="unknown",status="200"} 1.0' in await service.metrics()


async def test_more_requests_than_may_be_in_hand_are_refused_at_once_but_not_those_of_the_operator():
    service = Service(max_waiting_requests=2)
    waiting = [asyncio.create_task(service.ask("/wait")) for _ in range(2)]
    await asyncio.sleep(0.01)
    answer = await service.ask("/echo")
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert answer.headers["content-type"].startswith("text/")
    assert (await service.ask("/ready")).status == 200
    assert "tallystick_requests_refused_total 1.0" in await service.metrics()
    service.echo.may_go_on.set()
    assert [answer.status for answer in await asyncio.gather(*waiting)] == [200, 200]
    assert (await service.ask("/echo")).status == 200


async def test_a_request_that_takes_too_long_is_answered_with_503():
    service = Service(request_timeout=0.1)
    answer = await service.ask("/wait")
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")


async def test_before_the_store_is_reached_nothing_is_asked_of_it():
    service = Service()
    service.health.is_open, service.health.state = False, "starting"
    answer = await service.ask("/echo")
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert (await service.ask("/ready")).body == b'{"status":"starting"}\n'


@pytest.mark.parametrize(
    ("state", "status"), [("ready", 200), ("starting", 503), ("store_failed", 503), ("stopping", 503)]
)
async def test_readiness_is_a_status_and_a_word(state: str, status: int):
    service = Service(api_keys=(KEY,))
    service.health.state = state
    answer = await service.ask("/ready")
    assert (answer.status, json.loads(answer.body)) == (status, {"status": state})
    assert ("retry-after" in answer.headers) is (status == 503)


async def test_what_breaks_is_told_without_its_words(caplog: pytest.LogCaptureFixture):
    service = Service()
    answer = await service.ask("/break")
    assert (answer.status, answer.body) == (500, b"Internal Error\n")
    assert service.logged()[-1]["status"] == 500
    assert "a request failed" in caplog.messages


async def test_what_breaks_half_way_is_not_answered_twice():
    service = Service()
    assert (await service.ask("/break-late")).status == 200


async def test_a_request_that_a_stop_cuts_off_is_told_to_come_again():
    service = Service()
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/wait", "headers": []}
    task = asyncio.create_task(service.edge(scope, lambda: asyncio.sleep(0), send))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (sent[0]["status"], dict(sent[0]["headers"])[b"retry-after"]) == (503, b"1")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"api-key": "wrong"}, 401),
        ({"api-key": f" {KEY} "}, 200),
        ({"authorization": f"Bearer {KEY}"}, 200),
        ({"authorization": KEY}, 200),
        ({"authorization": f"Bearer {KEY}", "api-key": "wrong"}, 401),
    ],
)
async def test_metrics_are_behind_the_api_key_if_there_is_one(headers: dict[str, str], status: int):
    service = Service(api_keys=("x" * 20, KEY))
    answer = await service.ask("/metrics", headers=headers)
    assert answer.status == status
    assert (b"tallystick_requests" in answer.body) is (status == 200)


@pytest.mark.parametrize(("address", "status"), [("10.0.0.7", 200), ("10.0.0.8", 403), ("192.0.2.1", 403)])
async def test_metrics_are_for_whoever_may_call(address: str, status: int):
    service = Service(ip_allow_regex=r"10\..*", ip_deny_regex=r"10\.0\.0\.8")
    assert (await service.ask("/metrics", address=address)).status == status
    assert (await service.ask("/ready", address=address)).status == 200


async def test_metrics_say_how_old_the_newest_key_is_and_what_has_happened():
    service = Service()
    lines = await service.metrics()
    assert 'tallystick_signing_key_age_seconds{app="public"} 7.5' in lines
    assert "tallystick_sessions_created_total 0.0" in lines
    assert (await service.ask("/metrics")).headers["content-type"].startswith("text/plain")


async def test_endpoints_of_our_own_are_below_the_base_path():
    service = Service(base_path="/sessions")
    assert (await service.ask("/sessions/ready")).body == b'{"status":"ready"}\n'


async def test_a_worker_begins_and_ends_with_its_health():
    service = Service()
    assert await live(service) == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert service.health.state == "stopped"


async def test_a_worker_that_cannot_begin_says_why(caplog: pytest.LogCaptureFixture):
    service = Service()
    service.health.state = "broken"
    assert await live(service) == ["lifespan.startup.failed"]
    assert "cannot start: run tallystick migrate" in caplog.messages


async def live(service: Service) -> list[str]:
    sent: list[str] = []
    events = iter(["lifespan.startup", "lifespan.shutdown"])

    async def receive() -> dict[str, Any]:
        return {"type": next(events)}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message["type"])

    await service.edge({"type": "lifespan"}, receive, send)
    return sent


async def test_what_others_log_during_a_request_has_its_id(monkeypatch: pytest.MonkeyPatch):
    from tallystick.service import journal  # noqa: PLC0415

    lines: list[bytes] = []
    handler = journal._Handler(lines.append)
    logger = logging.getLogger("tallystick.test")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)

    async def ask() -> None:
        journal.REQUEST_ID.set("the-id")
        try:
            raise ValueError("secret words") from GeneralError("ours", reason="general")
        except ValueError:
            logger.warning("it %s", "broke", exc_info=True)

    try:
        await asyncio.create_task(ask())
        logger.info("later")
    finally:
        logger.removeHandler(handler)
    first, second = (json.loads(line) for line in lines)
    assert (first["message"], first["request"], first["level"]) == ("it broke", "the-id", "warn")
    assert [each["type"] for each in first["error"]] == ["builtins.ValueError", "tallystick.errors.GeneralError"]
    assert first["error"][1]["message"] == "ours"
    assert b"secret words" not in lines[0]
    assert "request" not in second


def test_with_warn_requests_leave_no_line():
    write: Callable[[bytes], object] = lambda line: pytest.fail(f"written: {line!r}")  # noqa: E731
    Journal("WARN", write).note_request("id", "GET", "/hello", 200, 0.1, None)


async def test_the_lines_of_one_turn_of_the_loop_are_written_in_one_go_and_whole():
    written: list[bytes] = []
    gathered = Gathered(written.append)
    for _ in range(3):
        gathered.write(b"a line\n")
    assert written == []
    await asyncio.sleep(0)
    assert written == [b"a line\n" * 3]
    long = b"x" * 1500 + b"\n"
    for _ in range(5):
        gathered.write(long)
    await asyncio.sleep(0)
    assert written[1:] == [long * 2, long * 2, long], "no more at once than a pipe takes unmixed"
    await asyncio.sleep(0)
    assert len(written) == 4
