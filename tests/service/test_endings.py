"""The stream of endings, of real processes of `tallystick serve`."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tests.service.operating import Service, wait_until
from tests.service.serving import run_core

KEY = {"api-key": "a-key-of-at-least-20-characters"}
PATH = "/tallystick/endings"
SECONDS = 20


class Listener:
    """Keeps what a stream tells."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.events: list[tuple[str, str | None, dict[str, Any]]] = []
        self.is_over = False
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        kind, place, data = "", None, ""
        try:
            for line in self.response.iter_lines():
                name, _, value = line.partition(": ")
                if name == "event":
                    kind, place = value, None
                elif name == "id":
                    place = value
                elif name == "data":
                    data = value
                elif not line and kind:
                    self.events.append((kind, place, json.loads(data)))
                    kind = ""
        except httpx.TransportError:
            return
        self.is_over = True

    @property
    def handles(self) -> list[str]:
        return [data["handle"] for kind, _, data in list(self.events) if kind == "ending"]

    @property
    def looks(self) -> list[float]:
        return [data["secondsSinceRequest"] for kind, _, data in list(self.events) if kind == "current"]

    def await_look(self) -> str:
        """The cursor that comes with the next one."""
        known = len(self.looks)
        wait_until(lambda: len(self.looks) > known)
        place = next(place for kind, place, _ in reversed(self.events) if kind == "current")
        assert place
        return place

    def join(self) -> None:
        self._thread.join(SECONDS)


@contextmanager
def listen(core: Service, path: str = PATH, **options: Any) -> Iterator[Listener]:
    headers = {**KEY, **options.pop("headers", {})}
    with (
        httpx.Client(timeout=SECONDS) as client,
        client.stream("GET", f"{core.url}{path}", headers=headers, **options) as response,
    ):
        assert (response.status_code, response.headers["content-type"]) == (200, "text/event-stream")
        yield Listener(response)


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with run_core(tmp_path_factory.mktemp("telling"), api_keys=KEY["api-key"]) as core:
        yield core


def ask(core: Service, path: str, **fields: Any) -> Any:
    answer = httpx.post(f"{core.url}{path}", json=fields, headers={**KEY, "cdi-version": "5.4"}, timeout=SECONDS)
    assert answer.status_code == 200, answer.text
    return answer.json()


def create(core: Service, app: str = "") -> str:
    fields = {"userId": "ada", "userDataInJWT": {}, "userDataInDatabase": {}, "enableAntiCsrf": False}
    handle: str = ask(core, f"{app}/recipe/session", **fields)["session"]["handle"]
    return handle


def end(core: Service, handle: str, app: str = "") -> None:
    ended = ask(core, f"{app}/recipe/session/remove", sessionHandles=[handle])
    assert ended["sessionHandlesRevoked"] == [handle]


def test_what_ends_is_told_to_all_and_who_comes_back_misses_nothing(core: Service):
    before, during, after = (create(core) for _ in range(3))
    end(core, before)
    with listen(core) as one, listen(core) as other:
        cursor = one.await_look()
        other.await_look()
        end(core, during)
        wait_until(lambda: one.handles == other.handles == [during])
        told = next(data for kind, _, data in one.events if kind == "ending")
        assert (told["kind"], told["userId"], told["tenantId"]) == ("revoked", "ada", "public")
        assert told["forgetAt"] > told["happenedAt"]
    end(core, after)
    for options in ({"headers": {"last-event-id": cursor}}, {"params": {"after": cursor}}):
        with listen(core, **options) as back:
            back.await_look()
            assert set(back.handles) == {during, after}
    with listen(core, params={"after": ""}) as whole:
        whole.await_look()
        assert {before, during, after} <= set(whole.handles)


def test_an_idle_client_hears_how_far_the_log_was_read(core: Service):
    with listen(core, params={"after": ""}) as stream:
        wait_until(lambda: len(stream.looks) >= 4)
        assert stream.looks == sorted(set(stream.looks))
        assert stream.looks[0] >= 0


def test_a_changed_payload_is_told_with_its_digest(core: Service):
    handle = create(core)
    with listen(core) as stream:
        stream.await_look()
        fields = {"sessionHandle": handle, "userDataInJWT": {"role": "reader"}}
        httpx.put(f"{core.url}/recipe/jwt/data", json=fields, headers={**KEY, "cdi-version": "5.4"}).raise_for_status()
        wait_until(lambda: stream.handles == [handle])
        told = next(data for kind, _, data in stream.events if kind == "ending")
        assert (told["kind"], len(told["payloadDigest"])) == ("changed", 64)


def test_an_app_hears_of_its_own_sessions_alone(core: Service):
    httpx.put(
        f"{core.url}/recipe/multitenancy/app/v2", json={"appId": "shop"}, headers={**KEY, "cdi-version": "5.4"}
    ).raise_for_status()
    ours, theirs = create(core), create(core, "/appid-shop")
    with listen(core) as public, listen(core, f"/appid-shop{PATH}") as shop:
        public.await_look()
        shop.await_look()
        end(core, theirs, "/appid-shop")
        end(core, ours)
        wait_until(lambda: public.handles and shop.handles)
        assert (public.handles, shop.handles) == ([ours], [theirs])


@pytest.mark.parametrize("cursor", ["nonsense", "9" * 40, "-1/2/3", "ä"])
def test_a_cursor_of_another_store_begins_at_the_beginning(core: Service, cursor: str):
    handle = create(core)
    end(core, handle)
    with listen(core, params={"after": cursor}) as stream:
        stream.await_look()
        assert handle in stream.handles


def test_who_may_not_or_asks_wrongly_is_refused(core: Service):
    url = f"{core.url}{PATH}"
    assert httpx.get(url).status_code == 401
    assert httpx.head(url).status_code == 401
    assert httpx.head(url, headers=KEY).status_code == 200
    assert httpx.post(url, headers=KEY).status_code == 405
    assert httpx.get(f"{core.url}/appid-none{PATH}", headers=KEY).status_code == 400


def test_streams_are_no_requests_in_hand_and_end_when_the_service_stops(tmp_path: Path):
    settings = {"max_waiting_requests": 1, "request_timeout": 1, "api_keys": KEY["api-key"], "shutdown_timeout": 300}
    with run_core(tmp_path, **settings) as core, listen(core) as one, listen(core) as other:
        handle = create(core)
        wait_until(lambda: max(one.looks, default=0) > 1.5)
        end(core, handle)
        wait_until(lambda: one.handles == other.handles == [handle])
        text = metrics(core)
        assert "tallystick_ending_streams_opened_total 2.0" in text
        assert "tallystick_endings_told_total 2.0" in text
        assert core.stop() == 0
        one.join()
        other.join()
        assert one.is_over
        assert other.is_over


def test_a_log_that_cannot_be_read_is_counted_and_logged_and_then_read_on(tmp_path: Path, postgres_database: str):
    with run_core(tmp_path, postgres_database, api_keys=KEY["api-key"]) as core, listen(core) as stream:
        handle = create(core)
        stream.await_look()
        with psycopg.connect(postgres_database, autocommit=True) as connection:
            connection.execute("ALTER TABLE tallystick_endings RENAME TO elsewhere")
            wait_until(lambda: "tallystick_ending_log_silences_total 1.0" in metrics(core))
            connection.execute("ALTER TABLE elsewhere RENAME TO tallystick_endings")
        stream.await_look()
        end(core, handle)
        wait_until(lambda: stream.handles == [handle])
        assert "the feed of endings is silent: " in core.text
        assert "the feed of endings goes on" in core.text


def metrics(core: Service) -> str:
    return httpx.get(f"{core.url}/metrics", headers=KEY).text
