"""What a core is asked for each sequence, and in which order; and what runs beside."""

import asyncio
import json
import logging
import threading
from dataclasses import replace
from datetime import timedelta

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import load_der_private_key

from tallystick import core_flows
from tallystick.calls import Later, run, run_async
from tallystick.core_deployment import LONGEST_RENEWAL, SHORTEST_FRESH, make_core_deployment
from tallystick.errors import GeneralError, TokenTheftDetected, Unauthorised
from tallystick.protocol.signing import load_signer
from tallystick.testing import START, SeededEntropy
from tallystick.types import CoreAnswer
from tests.unit.workshop import HOUR, make_view_with_news_after_the_search, private_key

KID = "d-1"
HANDLE = "5f2b1c9e-0000-4000-8000-000000000001"
UNAUTHORISED = {"status": "UNAUTHORISED", "message": "x"}


def jwks():
    public = load_signer("EdDSA", private_key("EdDSA", 1)).public_members()
    return {"keys": [{**public, "kid": KID}]}


def make_token(parent=None, kid=KID, **claims):
    second = START // 1000
    ours = {"sub": "u", "iat": second, "exp": second + 3600, "tId": "public", "rsub": "u", "sessionHandle": HANDLE}
    hashes = {"refreshTokenHash1": "f" * 64, "parentRefreshTokenHash1": parent, "antiCsrfToken": None}
    key = load_der_private_key(private_key("EdDSA", 1), None)
    return jwt.encode({**ours, **hashes, **claims}, key, "EdDSA", headers={"kid": kid, "version": "5"})


def say(value, status=200, max_age=None):
    return CoreAnswer(status, value if isinstance(value, bytes) else json.dumps(value).encode(), max_age)


def describe(**more):
    return {"handle": HANDLE, "userId": "u", "recipeUserId": "u", "tenantId": "public", "userDataInJWT": {}, **more}


def info(text):
    return {"token": text, "expiry": START + HOUR, "createdTime": START}


@pytest.fixture
def d(clock):
    return make_core_deployment({"verified_token_cache": 10_000}, clock=clock, entropy=SeededEntropy(1))


@pytest.fixture
def ready(d, clock):
    """The same, with the core's keys read."""
    script = Script(say(jwks()))
    script.drive(core_flows.jwks(d))
    return d


class Script:
    """Answers a flow's requests in turn, and keeps them; what is to run later is kept, not run."""

    def __init__(self, *answers):
        self.answers, self.asked, self.later = list(answers), [], []

    def drive(self, flow):
        try:
            call = next(flow)
            while True:
                if isinstance(call, Later):
                    self.later.append(call.flow)
                    call = flow.send("running")
                    continue
                (request,) = call.args
                self.asked.append(f"{call.method} {request.method} {request.path}")
                answer = self.answers.pop(0)
                call = flow.throw(answer) if isinstance(answer, Exception) else flow.send(answer)
        except StopIteration as end:
            assert not self.answers, "the flow has ended before its script"
            return end.value


def verify(d, token, **options):
    options = {"do_anti_csrf_check": True, "check_database": False, **options}
    return core_flows.verify(d, token, None, "id", **options)


def test_the_first_verification_reads_the_keys_and_the_next_asks_nobody(d):
    script = Script(say(jwks()))
    assert script.drive(verify(d, make_token())).session.user_id == "u"
    assert script.asked == ["send_shared GET /.well-known/jwks.json"]
    assert Script().drive(verify(d, make_token())).session.handle == HANDLE
    assert core_flows.verify_alone(d, make_token(), None, "id", True).session.user_id == "u"
    assert core_flows.running(d) is None


def test_a_view_that_was_old_when_it_was_searched_does_not_count_though_it_is_new_a_moment_later(ready):
    late = replace(ready, view=make_view_with_news_after_the_search(HANDLE, START))
    assert core_flows.verify_alone(ready, make_token(), None, "id", True).session.handle == HANDLE
    assert core_flows.verify_alone(late, make_token(), None, "id", True) is None


def test_the_first_use_is_the_cores_to_judge_and_its_replacement_is_handed_on(ready):
    fresh = make_token(a=1)
    script = Script(say({"status": "OK", "session": describe(userDataInJWT={"a": 1}), "accessToken": info(fresh)}))
    found = script.drive(verify(ready, make_token("e" * 64)))
    assert script.asked == ["send POST /recipe/session/verify"]
    assert (found.access_token.token, found.session.jwt_payload) == (fresh, {"a": 1})
    assert core_flows.verify_alone(ready, make_token("e" * 64), None, "id", True) is None


def test_a_theft_ends_the_session_before_it_is_told(ready):
    theft = {"status": "TOKEN_THEFT_DETECTED", "session": {"handle": "h_t1", "userId": "u", "recipeUserId": "u"}}
    script = Script(say(theft), say({"status": "OK", "sessionHandlesRevoked": []}))
    with pytest.raises(TokenTheftDetected) as told:
        script.drive(core_flows.refresh(ready, "token", None))
    assert script.asked == ["send POST /recipe/session/refresh", "send POST /recipe/session/remove"]
    assert (told.value.event.tenant_id, told.value.event.session_handle) == ("t1", "h_t1")


def test_a_theft_whose_session_could_not_be_ended_is_not_told_yet_so_that_it_is_tried_again(ready):
    theft = {"status": "TOKEN_THEFT_DETECTED", "session": {"handle": "h", "userId": "u", "recipeUserId": "u"}}
    broken = GeneralError("no answer", reason="store_failed")
    with pytest.raises(GeneralError) as raised:
        Script(say(theft), broken).drive(core_flows.refresh(ready, "token", None))
    assert raised.value is broken


def test_only_a_creation_may_not_be_repeated(ready):
    for flow, is_repeatable in (
        (core_flows.create(ready, "u", None, None, tenant_id="public", enable_anti_csrf=False), False),
        (core_flows.refresh(ready, "token", None), True),
        (core_flows.regenerate(ready, make_token(), {}), True),
        (verify(ready, make_token(), check_database=True), True),
        (core_flows.revoke(ready, ["h"]), True),
        (core_flows.revoke_user(ready, "u", None), True),
        (core_flows.list_user(ready, "u", "t1"), True),
        (core_flows.load(ready, "h"), True),
        (core_flows.update_data(ready, "h", {}), True),
        (core_flows.update_payload(ready, "h", {}), True),
        (core_flows.merge_payload(ready, "h", {}), True),
    ):
        assert next(flow).args[0].may_repeat is is_repeatable
        flow.close()


def test_keys_are_read_beside_a_creation_and_by_one_at_a_time(d, clock):
    created = {"status": "OK", "session": describe(), "accessToken": info(make_token()), "refreshToken": info("r")}

    def create():
        return core_flows.create(d, "u", None, None, tenant_id="public", enable_anti_csrf=False)

    first, second = Script(say(created)), Script(say(created))
    first.drive(create())
    second.drive(create())
    assert (len(first.later), len(second.later), core_flows.running(d)) == (1, 0, "running")
    with pytest.raises(GeneralError):
        Script(say(b"", 500)).drive(first.later[0]())
    assert core_flows.running(d) is None
    third, fourth = Script(say(created)), Script(say(created))
    third.drive(create())
    clock.advance(timedelta(milliseconds=SHORTEST_FRESH))
    fourth.drive(create())
    assert (third.later, len(fourth.later)) == ([], 1), "after a failure, not at once again"
    clock.advance(timedelta(milliseconds=LONGEST_RENEWAL))
    fifth = Script(say(created))
    fifth.drive(create())
    assert len(fifth.later) == 1, "one that has never come back is taken for dead"


def test_the_same_keys_again_forget_no_verified_token_and_others_all(ready, clock):
    Script().drive(verify(ready, make_token()))
    known = ready.keys.verified
    assert len(known) == 1
    Script(say({"versions": ["5.4"]}), say(jwks())).drive(core_flows.prepare(ready))
    assert ready.keys.verified is known
    Script(say({"versions": ["5.4"]}), say({"keys": []})).drive(core_flows.prepare(ready))
    assert len(ready.keys.verified) == 0


@pytest.mark.parametrize("versions", [["5.3", "5.5"], []])
def test_a_core_of_other_versions_is_refused_at_the_start(d, versions):
    with pytest.raises(GeneralError) as refused:
        Script(say({"versions": versions})).drive(core_flows.prepare(d))
    assert refused.value.reason == "unsupported_core"
    with pytest.raises(GeneralError) as refused:
        Script(say(b"Hello")).drive(core_flows.prepare(d))
    assert refused.value.reason == "no_core"


def test_statuses_that_an_answer_must_not_have_are_no_cores(ready):
    odd = say({"status": "ODD"})
    for flow in (
        verify(ready, make_token(), check_database=True),
        core_flows.refresh(ready, "token", None),
        core_flows.regenerate(ready, make_token(), None),
        core_flows.revoke(ready, ["h"]),
        core_flows.list_user(ready, "u", None),
    ):
        with pytest.raises(GeneralError) as refused:
            Script(odd).drive(flow)
        assert refused.value.reason == "no_core"
    with pytest.raises(Unauthorised):
        Script(say(UNAUTHORISED)).drive(core_flows.regenerate(ready, make_token(), None))


# What runs beside


class Core:
    """Answers with keys once it is let."""

    def __init__(self):
        self.is_free, self.threads = threading.Event(), []

    def send_shared(self, _request):
        self.threads.append(threading.current_thread().name)
        assert self.is_free.wait(20)
        return say(jwks())


class AsyncCore:
    def __init__(self):
        self.is_free = asyncio.Event()

    async def send_shared(self, _request):
        await self.is_free.wait()
        return say(jwks())


def test_what_runs_later_has_a_thread_of_its_own_and_holds_up_nobody(ready, clock):
    core = Core()
    clock.advance(timedelta(minutes=30))
    ready.keys.fresh_until = clock.now
    assert run(verify(ready, make_token()), core).session.user_id == "u"
    thread = core_flows.running(ready)
    core.is_free.set()
    if isinstance(thread, threading.Thread):
        thread.join(20)
    assert core.threads == ["tallystick-later"]
    assert ready.keys.read_at == clock.now


async def test_what_runs_later_is_a_task_and_holds_up_nobody(ready, clock):
    core = AsyncCore()
    ready.keys.fresh_until = clock.now
    found = await run_async(verify(ready, make_token()), core)
    assert found.session.user_id == "u"
    task = core_flows.running(ready)
    core.is_free.set()
    await task
    assert (core_flows.running(ready), ready.keys.want_renewal(clock.now)) == (None, False)


async def test_what_fails_later_is_logged(ready, clock, caplog):
    class Broken:
        async def send_shared(self, _request):
            raise OSError("password")

    ready.keys.fresh_until = clock.now
    with caplog.at_level(logging.WARNING, "tallystick"):
        await run_async(verify(ready, make_token()), Broken())
        await core_flows.running(ready)
    assert [record.getMessage() for record in caplog.records] == [
        "reading the core's public keys failed: the session store in send_shared failed: OSError"
    ]
