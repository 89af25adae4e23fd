"""Races between processes, each with a store of its own on one database."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tallystick.storage.opening import open_store
from tallystick.testing.contract.rows import CAUSE, LATER, LINE, NOW, make_key, make_session, make_step, make_theft
from tests.conformance.processes import wait_for_the_others
from tests.conformance.stores import SHARED_STORES

PROCESSES = 2
THREADS = 8
LINES = 20

shared = pytest.mark.parametrize("store_url", SHARED_STORES, indirect=True)


def count_wins(number, url, method, arguments_of):
    """Per line, how many of this process's threads won."""
    store = open_store(url, migrate=True)
    store.open()
    with ThreadPoolExecutor(THREADS) as threads:
        wait_for_the_others()
        racers = [(line, number * THREADS + thread) for line in range(LINES) for thread in range(THREADS)]
        futures = [threads.submit(getattr(store, method), *arguments_of(*racer)) for racer in racers]
        won = [future.result() for future in futures]
    store.close()
    return [sum(map(size, won[line * THREADS : (line + 1) * THREADS])) for line in range(LINES)]


def size(answer):
    return len(answer) if isinstance(answer, list) else int(answer or False)


def advance(line, racer):
    return "public", f"h{line}", LINE, make_step(line=bytes([racer]) * 32)


def use(line, racer):
    return "public", f"h{line}", LINE, NOW + racer, LATER


def delete(line, _racer):
    return "public", [f"h{line}"], CAUSE


def steal(line, racer):
    return (make_theft(session_handle=f"h{line}", presented_generation=racer), CAUSE)


def sign_in(line, racer):
    """In the place of another user's session, whose handle the winner is told."""
    user = f"user-{line}"
    return make_session(handle=f"{user}-{racer}", user_id=user), 1, False, f"h{line}", CAUSE


def new_key(line, racer):
    return (make_key(line + 1, kid=f"kid-{racer}"),)


@shared
@pytest.mark.parametrize(
    ("method", "arguments_of"),
    [
        ("advance_line", advance),
        ("mark_used", use),
        ("delete_sessions", delete),
        ("record_theft", steal),
        ("insert_session_within", sign_in),
        ("insert_key", new_key),
    ],
    ids=["advance", "use", "delete", "theft", "sign-in", "key"],
)
def test_of_all_threads_of_two_processes_one_wins(two_processes, store_url, method, arguments_of):
    store = open_store(store_url, migrate=True)
    for line in range(LINES):
        store.insert_session(make_session(handle=f"h{line}"))
    store.close()
    wins = two_processes(count_wins, store_url, method, arguments_of)
    assert [sum(of_line) for of_line in zip(*wins, strict=True)] == [1] * LINES


def add_one_many_times(_number, url):
    store = open_store(url, migrate=True)
    wait_for_the_others()
    for _ in range(LINES):
        while True:
            row = store.load_session("public", "handle")
            step = make_step(generation=row.generation + 1, line=(row.generation + 1).to_bytes(32), previous=row.line)
            if store.advance_line("public", "handle", row.line, step):
                break
    store.close()


@shared
def test_processes_that_swap_until_they_win_lose_no_step(four_processes, store_url):
    store = open_store(store_url, migrate=True)
    store.insert_session(make_session(line=bytes(32)))
    four_processes(add_one_many_times, store_url)
    assert store.load_session("public", "handle").generation == 4 * LINES
    store.close()


def read_own_write(number, url):
    store = open_store(url, migrate=True)
    wait_for_the_others()
    handle = f"h{number}"
    store.insert_session(make_session(handle=handle))
    wait_for_the_others()
    seen = [store.load_session("public", f"h{other}") is not None for other in range(PROCESSES)]
    wait_for_the_others()
    store.delete_sessions("public", [handle], CAUSE)
    wait_for_the_others()
    gone = [store.load_session("public", f"h{other}") is None for other in range(PROCESSES)]
    store.close()
    return seen + gone


@shared
def test_what_one_process_has_done_the_other_sees_at_once(two_processes, store_url):
    assert two_processes(read_own_write, store_url) == [[True] * 2 * PROCESSES] * PROCESSES
