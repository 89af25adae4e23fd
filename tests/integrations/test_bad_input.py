"""Whatever bytes come as tokens: a plain refusal, nothing changed, and no store call for what is not ours."""

import asyncio
import socket
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tallystick import AntiCsrf
from tallystick.testing import FakeClock
from tests.integrations.apps.fastapi_app import FastApiApp
from tests.integrations.apps.starlette_app import StarletteApp
from tests.integrations.asgi import AsgiClient, RawHeaders, encode
from tests.integrations.browser import REFRESH, Browser
from tests.integrations.exchange import Reply, check_reply
from tests.integrations.frameworks import FRAMEWORKS
from tests.integrations.plan import AppUnderTest, Plan
from tests.integrations.stores import RecordingStore

# h11 and httptools let obs-text (0x80 to 0xff) through, and tabs; nothing keeps other servers from passing more.
any_bytes = st.binary(max_size=300)
printable = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=300).map(str.encode)
values = any_bytes | printable | st.just(b"") | st.just("é馬".encode())
base64 = any_bytes.map(lambda raw: urlsafe_b64encode(raw).rstrip(b"="))
like_jwts = st.lists(base64, min_size=2, max_size=5).map(b".".join)
tokens = values | like_jwts
PATHS = [
    ("GET", "/me"), ("POST", "/me"), ("GET", "/optional"), ("GET", "/database"), ("POST", "/auth/signout"),
    ("POST", REFRESH), ("GET", "/none"),
]  # fmt: skip


class Bench:
    """A running app whose store keeps a record, with one user signed in."""

    def __init__(self, client: Any, store: RecordingStore, clock: FakeClock) -> None:
        self.client = client
        self.store = store
        self.browser = Browser(client, clock)
        self.browser.sign_in()
        self.rows = self._rows()
        self.store.calls.clear()

    def _rows(self) -> list[Any]:
        return list(self.store._sessions.values())

    def send(self, method: str, path: str, headers: RawHeaders, may_look: bool = False) -> Reply:
        """One request of a stranger: no 5xx, no store call, nothing changed."""
        self.store.calls.clear()
        reply = self.client.send_raw(method, path, headers)
        check_reply(reply, self.browser.seen)
        assert reply.status < 500, reply.body
        allowed = [[], ["load_session"]] if may_look else [[]]
        assert self.store.calls in allowed, "the store was asked about a token that is not ours"
        assert self._rows() == self.rows
        return reply


@pytest.fixture(scope="module", params=FRAMEWORKS, ids=lambda framework: framework.name)
def framework(request: pytest.FixtureRequest) -> AppUnderTest:
    found: AppUnderTest = request.param
    return found


@pytest.fixture(scope="module", params=[None, *AntiCsrf], ids=str)
def bench(request: pytest.FixtureRequest, framework: AppUnderTest) -> Iterator[Bench]:
    store, clock = RecordingStore(), FakeClock()
    chosen = {} if request.param is None else {"anti_csrf": request.param}
    with framework.open(Plan(store, clock, {"older_cookie_domain": "", **chosen})) as client:
        yield Bench(client, store, clock)


bounded = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@bounded
@given(
    place=st.sampled_from(PATHS),
    cookie=st.none() | values | tokens.map(lambda token: b"sAccessToken=" + token + b"; sRefreshToken=" + token),
    authorization=st.none() | values | tokens.map(lambda token: b"Bearer " + token),
    others=st.lists(st.tuples(st.sampled_from([b"rid", b"anti-csrf", b"st-auth-mode", b"fdi-version"]), values)),
)
@example(place=("POST", REFRESH), cookie=b"sRefreshToken=%ff%00", authorization=None, others=[])
@example(place=("GET", "/me"), cookie=b'sAccessToken="', authorization=None, others=[])
@example(place=("GET", "/me"), cookie=None, authorization=b"Bearer \xff.\xff.\xff", others=[])
def test_any_bytes_as_tokens_are_refused(bench: Bench, place: Any, cookie: Any, authorization: Any, others: Any):
    headers: RawHeaders = list(others)
    if cookie is not None:
        headers.append((b"cookie", cookie))
    if authorization is not None:
        headers.append((b"authorization", authorization))
    reply = bench.send(*place, headers)
    if place[1] in ("/optional", "/none"):
        # A cookie of the older interface or two of ours may come out of random bytes, but not in this world's time.
        assert reply.status == 200
    else:
        assert reply.status == 401 or (place[1] == REFRESH and reply.status == 200 and b"older domain" in reply.body)


@bounded
@given(at=st.integers(0, 10_000), bit=st.integers(0, 7), kind=st.sampled_from(["access", "refresh"]))
def test_a_flipped_bit_anywhere_in_a_token_is_refused(bench: Bench, at: int, bit: int, kind: str):
    token = bench.browser.access_token if kind == "access" else bench.browser.refresh_token
    raw = bytearray(token.encode("ascii"))
    place = at % len(raw)
    raw[place] ^= 1 << bit
    # A refresh token's tag is sealed with the session's own key, so it takes a look at the session to refuse it.
    in_tag = kind == "refresh" and token[:place].count(".") == 2
    method, path = ("GET", "/me") if kind == "access" else ("POST", REFRESH)
    headers = [(b"authorization", b"Bearer " + bytes(raw)), (b"rid", b"session")]
    assert bench.send(method, path, headers, may_look=in_tag).status == 401


@bounded
@given(cut=st.integers(1, 10_000), more=values)
def test_a_token_cut_or_grown_is_refused(bench: Bench, cut: int, more: bytes):
    for token, method, path in (
        (bench.browser.access_token, "GET", "/me"),
        (bench.browser.refresh_token, "POST", REFRESH),
    ):
        raw = token.encode("ascii")
        for other in (raw[: cut % len(raw)], raw + b"." + more, b"x" + raw):
            headers = [(b"authorization", b"Bearer " + other), (b"rid", b"session")]
            assert bench.send(method, path, headers).status == 401


def test_an_access_token_does_not_refresh_and_a_refresh_token_gives_no_access(bench: Bench):
    access, refresh = bench.browser.access_token, bench.browser.refresh_token
    assert bench.send("POST", REFRESH, encode([("authorization", f"Bearer {access}"), ("rid", "x")])).status == 401
    assert bench.send("GET", "/me", encode([("authorization", f"Bearer {refresh}")])).status == 401
    assert bench.send("GET", "/me", encode([("cookie", f"sAccessToken={refresh}")])).status == 401
    assert bench.send("POST", REFRESH, encode([("cookie", f"sRefreshToken={access}"), ("rid", "x")])).status == 401


@pytest.mark.parametrize("name", ["cookie", "authorization", "anti-csrf", "rid", "st-auth-mode"])
def test_a_megabyte_of_header_is_refused(bench: Bench, name: str):
    beginnings = {"cookie": [b"sAccessToken=", b"", b"sAccessToken=; " * 70_000], "authorization": [b"Bearer ", b""]}
    for beginning in beginnings.get(name, [b""]):
        value = beginning + b"a.b.c;" * 170_000
        for method, path in (("POST", "/me"), ("POST", REFRESH)):
            assert bench.send(method, path, [(name.encode("ascii"), value)]).status == 401


def test_a_megabyte_around_a_good_cookie_is_not_looked_through(bench: Bench):
    good = f"sAccessToken={bench.browser.access_token}; junk={'x' * 1_000_000}"
    assert bench.send("GET", "/me", encode([("cookie", good)])).status == 401


@pytest.fixture(scope="module", params=[StarletteApp(), FastApiApp()], ids=lambda framework: framework.name)
def asgi_framework(request: pytest.FixtureRequest) -> Any:
    return request.param


TOO_LONG = {"h11": [b"400", b"431"], "httptools": [b"401"]}


@pytest.fixture(scope="module", params=list(TOO_LONG))
def parser(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture(scope="module")
def port(asgi_framework: Any, parser: str) -> Iterator[int]:
    """A real uvicorn: h11 refuses long headers by itself, httptools passes them on."""
    with (
        asgi_framework.open(Plan("memory://", FakeClock())) as client,
        socket.create_server(("127.0.0.1", 0)) as listener,
    ):
        assert isinstance(client, AsgiClient)
        server = uvicorn.Server(uvicorn.Config(client.app, http=parser, log_level="critical", lifespan="off"))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join()


def talk(port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        received = b""
        try:
            connection.sendall(request)
            while part := connection.recv(65536):
                received += part
        except ConnectionError:
            pass  # it hung up before it had read everything, as it may
        return received


@pytest.mark.parametrize(
    ("line", "statuses"),
    [
        (b"cookie: sAccessToken=" + b"a" * 1_000_000, TOO_LONG),
        (b"authorization: Bearer " + b"a" * 1_000_000, TOO_LONG),
        (b"cookie: sAccessToken=" + b"a" * 30_000, [b"401"]),
        (b"cookie: sAccessToken=\xff\xfe\x80; \xe9=\xe9", [b"401"]),
        (b"authorization: Bearer \xff.\xff.\xff", [b"401"]),
        (b"anti-csrf: \xff\xfe\r\nrid: \xff\r\nst-auth-mode: \xff", [b"401"]),
        (b"cookie: sAccessToken=\x00", [b"400", b"401"]),
    ],
    ids=lambda value: value[:30].decode("latin-1") if isinstance(value, bytes) else "",
)
@pytest.mark.parametrize("start", [b"GET /me", b"POST /auth/session/refresh", b"POST /auth/signout"])
def test_a_real_server_refuses_bad_headers(
    port: int, parser: str, line: bytes, statuses: list[bytes] | dict[str, list[bytes]], start: bytes
):
    accepted = statuses[parser] if isinstance(statuses, dict) else statuses
    request = start + b" HTTP/1.1\r\nhost: api.test\r\nconnection: close\r\ncontent-length: 0\r\n" + line + b"\r\n\r\n"
    received = talk(port, request)
    assert received == b"" or received.split(b" ")[1] in accepted, received[:200]
    assert b"Traceback" not in received
    assert talk(port, b"GET /none HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").startswith(b"HTTP/1.1 200")
