"""The two drivers: whatever a store raises is GeneralError with its cause, and a flow is never left half done."""

import asyncio
import threading
from dataclasses import dataclass, field

import pytest

from tallystick import flows
from tallystick.calls import Call, Fetch, Work, ask, run, run_async, work
from tallystick.errors import ClientAction, GeneralError, Unauthorised
from tallystick.storage.interface import SessionStore
from tallystick.storage.memory import AsyncMemoryStore, MemoryStore
from tests.unit.workshop import deploy


@dataclass
class BrokenStore:
    """Raises ``error`` whatever it is asked."""

    error: BaseException
    asked: list = field(default_factory=list)

    def __getattr__(self, name):
        def raise_it(*args):
            self.asked.append(name)
            raise self.error

        return raise_it


class AsyncBrokenStore(BrokenStore):
    def __getattr__(self, name):
        async def raise_it(*args):
            self.asked.append(name)
            raise self.error

        return raise_it


async def run_both(flow, error):
    """The errors that both drivers raise for a store that raises ``error``."""
    raised = []
    for store in (BrokenStore(error), AsyncBrokenStore(error)):
        with pytest.raises(type(error) if not isinstance(error, Exception) else Exception) as caught:  # noqa: PT012
            if isinstance(store, AsyncBrokenStore):
                await run_async(flow(), store)
            else:
                run(flow(), store)
        raised.append(caught.value)
    return raised


@pytest.mark.parametrize(
    "cause", [OSError("password=hunter2"), KeyError("x"), TypeError(), MemoryError(), TimeoutError()]
)
async def test_what_a_store_raises_is_general_with_its_cause_and_does_not_quote_it(clock, cause):
    d = deploy(clock)
    for error in await run_both(lambda: flows.purge(d), cause):
        assert isinstance(error, GeneralError)
        assert (error.reason, error.http_status, error.client_action) == ("store_failed", 503, ClientAction.RETRY_LATER)
        assert error.__cause__ is cause
        assert "hunter2" not in str(error)
        assert "purge_sessions failed" in str(error)
        assert type(cause).__name__ in str(error)


async def test_a_store_that_raises_stop_iteration_does_not_end_the_flow_as_if_it_were_done(clock):
    d = deploy(clock)
    for error in await run_both(lambda: flows.purge(d), StopIteration("result")):
        assert isinstance(error, GeneralError)


async def test_a_store_that_raises_one_of_our_own_errors_is_taken_at_its_word(clock):
    d, error = deploy(clock), GeneralError("run tallystick migrate", reason="outdated_schema")
    assert await run_both(lambda: flows.purge(d), error) == [error, error]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(), asyncio.CancelledError()])
async def test_an_interrupt_goes_through_and_leaves_no_flow_half_done(clock, error):
    for_sync, for_async = deploy(clock), deploy(clock)
    ready = iter([for_sync, for_async])
    for raised in await run_both(lambda: flows.jwks(next(ready)), error):
        assert raised is error
    assert for_sync.keys.is_renewing is False
    assert for_async.keys.is_renewing is False


async def test_a_cancelled_request_leaves_no_flow_half_done(clock):
    d = deploy(clock)

    class SlowStore:
        async def load_keys(self, app_id):
            await asyncio.sleep(60)

    task = asyncio.create_task(run_async(flows.jwks(d), SlowStore()))
    await asyncio.sleep(0)
    assert d.keys.is_renewing is True
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert d.keys.is_renewing is False


def slow(result):
    return (yield from work("making something", result))


async def test_slow_work_runs_on_another_thread_under_an_event_loop_and_on_this_one_without():
    here = threading.get_ident()
    assert run(slow(threading.get_ident), MemoryStore()) == here
    assert await run_async(slow(threading.get_ident), AsyncMemoryStore()) != here


async def test_slow_work_that_fails_says_what_it_was():
    def fail():
        raise ValueError("no dice")

    for error in await run_both(lambda: slow(fail), OSError()):
        assert isinstance(error, GeneralError)
        assert str(error) == "making something failed: ValueError"


async def test_a_flow_may_catch_what_a_store_raised_and_go_on():
    def patient():
        try:
            yield from ask(SessionStore.load_keys, "a")
        except GeneralError:
            return "went on"

    assert run(patient(), BrokenStore(OSError())) == "went on"
    assert await run_async(patient(), AsyncBrokenStore(OSError())) == "went on"


async def test_a_flow_that_refuses_at_once_asks_nothing():
    def refuse():
        raise Unauthorised
        yield

    for error in await run_both(refuse, OSError()):
        assert isinstance(error, Unauthorised)


async def test_a_flow_that_asks_nothing_returns_its_result():
    def nothing():
        return 5
        yield

    assert run(nothing(), MemoryStore()) == 5
    assert await run_async(nothing(), AsyncMemoryStore()) == 5


def test_a_call_names_the_method_and_shows_no_argument():
    [call] = [next(ask(SessionStore.load_session, "app", "handle"))]
    assert call == Call("load_session", ("app", "handle"))
    assert "handle" not in repr(call)
    assert Work(list, "a") == Work(dict, "a")


# The app's own functions


def fetching(function, *args):
    return (yield Fetch(function, args, "fetch_value of the claim 'plan'"))


async def later(value):
    await asyncio.sleep(0)
    return value


def test_the_app_is_asked_and_its_answer_comes_back():
    assert run(fetching(lambda a, b: a + b, 1, 2), MemoryStore()) == 3
    assert asyncio.run(run_async(fetching(lambda a, b: a + b, 1, 2), AsyncMemoryStore())) == 3


class Later:
    def __call__(self, value):
        return later(value)


@pytest.mark.parametrize("function", [later, Later()], ids=["async def", "returns one"])
def test_an_asynchronous_function_of_the_app_is_awaited_and_in_synchronous_code_refused(function):
    assert asyncio.run(run_async(fetching(function, 5), AsyncMemoryStore())) == 5
    with pytest.raises(GeneralError, match="claim 'plan' is asynchronous: use AsyncSessions") as refused:
        run(fetching(function, 5), MemoryStore())
    assert refused.value.reason == "async_fetch"


def test_an_awaitable_that_is_no_coroutine_is_refused_in_synchronous_code_too():
    class Promise:
        def __await__(self):
            yield

    with pytest.raises(GeneralError, match="asynchronous"):
        run(fetching(Promise), MemoryStore())


def test_a_plain_function_of_the_app_does_not_hold_up_the_event_loop_and_an_asynchronous_one_runs_in_it():
    async def where():
        return threading.get_ident()

    async def both():
        store = AsyncMemoryStore()
        return [await run_async(fetching(function), store) for function in (threading.get_ident, where)]

    plain, asynchronous = asyncio.run(both())
    assert plain != threading.get_ident()
    assert asynchronous == threading.get_ident()


def test_a_stop_iteration_of_the_app_s_function_stops_nobody():
    """Of a next() without a default; a future cannot carry it, and asyncio would wait for ever."""

    async def bounded():
        async with asyncio.timeout(60):
            await run_async(fetching(next, iter(())), AsyncMemoryStore())

    for attempt in (lambda: run(fetching(next, iter(())), MemoryStore()), lambda: asyncio.run(bounded())):
        with pytest.raises(RuntimeError, match="fetch_value of the claim 'plan' raised StopIteration"):
            attempt()


@pytest.mark.parametrize("error", [KeyError("mine"), Unauthorised(), StopAsyncIteration()], ids=repr)
def test_what_the_app_s_function_raises_is_the_app_s_own(error):
    def fail():
        raise error

    for attempt in (
        lambda: run(fetching(fail), MemoryStore()),
        lambda: asyncio.run(run_async(fetching(fail), AsyncMemoryStore())),
    ):
        with pytest.raises(type(error)) as raised:
            attempt()
        assert raised.value is error
