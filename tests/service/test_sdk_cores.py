"""What concerns the core as a whole: its keys for callers and for tokens, several cores, and one that starts again."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import jwt
import pytest

from tests.service.operating import Service
from tests.service.sdks import ALL, NEWEST, NODE, NODE_1, NODE_2, PYTHON_SDK, Failed, Held, Kind, run_sdk
from tests.service.serving import run_core, run_hasty_core

API_KEY = "right-key-of-twenty-characters"
WRONG_KEY = "wrong-key-of-twenty-characters"
ROTATION_SECONDS = 60
USERS = 4
ROUNDS = 6
PATIENCE_SECONDS = 60


@pytest.fixture(scope="module")
def guarded_core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with run_core(tmp_path_factory.mktemp("guarded-core"), api_keys=API_KEY) as core:
        yield core


@pytest.mark.parametrize("kind", [*NEWEST, NODE_2], ids=str)
def test_the_right_api_key_opens_the_core(kind: Kind, guarded_core: Service):
    with run_sdk(kind, guarded_core.url, api_key=API_KEY) as sdk:
        held = sdk.create()
        assert sdk.verify(sdk.refresh(held)).handle == held.handle


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (NODE, {"api_key": WRONG_KEY}),
        (NODE, {}),
        (PYTHON_SDK, {"api_key": WRONG_KEY}),
        (NODE_1, {}),  # has no setting for one
        (NODE_2, {"api_key": WRONG_KEY}),
    ],
    ids=str,
)
def test_a_wrong_api_key_or_none_is_refused_as_the_sdks_expect(
    kind: Kind, options: dict[str, str], guarded_core: Service
):
    with (
        run_sdk(kind, guarded_core.url, **options) as sdk,
        pytest.raises(Failed, match=r"status code: 401.*Invalid API key"),
    ):
        sdk.create()


def test_of_two_cores_one_that_stops_is_passed_over(tmp_path: Path):
    with ExitStack() as stack:
        stays, stops = (stack.enter_context(run_core(tmp_path)) for _ in range(2))
        sdks = [stack.enter_context(run_sdk(kind, f"{stays.url};{stops.url}")) for kind in ALL]
        sessions = [sdk.verify(sdk.refresh(sdk.create())) for sdk in sdks]
        stops.stop()
        for sdk, held in zip(sdks, sessions, strict=True):
            again = sdk.verify(sdk.refresh(held))
            assert sdk.verify(sdk.refresh(again)).handle == held.handle
            assert sdk.call("revoke", handle=held.handle) is True


@pytest.mark.parametrize("kind", NEWEST, ids=str)
def test_a_core_that_starts_again_under_load_loses_no_session_and_accuses_nobody(kind: Kind, tmp_path: Path):
    with run_core(tmp_path, refresh_token_rotation_grace_period=0) as core, run_sdk(kind, core.url) as sdk:
        begun = threading.Barrier(USERS + 1)

        def live(number: int) -> tuple[str, str]:
            # Verified, so that the SDK has the core's keys: one that cannot get them asks for a refresh instead.
            held = sdk.verify(sdk.create(f"user {number}"))
            handle = held.handle
            begun.wait(PATIENCE_SECONDS)
            for _ in range(ROUNDS):
                held = insist(sdk.refresh, held)
                held = insist(sdk.verify, held)
            return handle, insist(sdk.verify, held, check_database=True).handle

        with ThreadPoolExecutor(USERS) as pool:
            lives = [pool.submit(live, number) for number in range(USERS)]
            begun.wait(PATIENCE_SECONDS)
            core.stop()
            core.start()
            core.kill()
            core.start()
            for handle, seen in (life.result(PATIENCE_SECONDS) for life in lives):
                assert handle == seen


def insist(call: Callable[..., Held], held: Held, **options: object) -> Held:
    """Ask again while the core is away. A refusal is an answer, and is raised."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return call(held, **options)
        except Failed as failure:
            if time.monotonic() > deadline or not is_away(str(failure)):
                raise
            time.sleep(0.02)


def is_away(text: str) -> bool:
    signs = ("No SuperTokens core available", "status code: 503", "fetch failed", "RemoteProtocolError", "ReadError")
    return any(sign in text for sign in signs)


@pytest.mark.parametrize("kind", NEWEST, ids=str)
def test_a_second_core_takes_the_firsts_tokens_at_once_across_a_key_rotation(
    kind: Kind, postgres_database: str, tmp_path: Path
):
    """Two cores, two SDKs, each with a core of its own; a key signs for four seconds: with less, the overlap is
    shorter than the half second in which supertokens-node does not ask for keys again."""
    settings = {"access_token_dynamic_signing_key_update_interval": 4 / 3600}
    with ExitStack() as stack:
        cores = [stack.enter_context(run_hasty_core(tmp_path, postgres_database, **settings)) for _ in range(2)]
        first, second = (stack.enter_context(run_sdk(kind, core.url)) for core in cores)
        kids = set()
        deadline = time.monotonic() + ROTATION_SECONDS
        while len(kids) < 2:
            assert time.monotonic() < deadline, kids
            held = first.create()
            kids.add(jwt.get_unverified_header(held.access)["kid"])
            assert second.verify(held, check_database=True).handle == held.handle
            assert second.verify(held).handle == held.handle
            used = first.verify(second.refresh(held))
            assert second.verify(used).access == used.access
        for core in cores:
            published = {key["kid"] for key in httpx.get(f"{core.url}/.well-known/jwks.json").json()["keys"]}
            assert kids <= published
