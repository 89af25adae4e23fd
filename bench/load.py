"""A load on a store: several processes, as an app has them, with several threads each."""

from __future__ import annotations

import multiprocessing
import random
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing.synchronize import Barrier, Event
from statistics import median, quantiles

import bare
import filling

from tallystick.storage.interface import SessionStore
from tallystick.storage.opening import open_store

PROCESSES = 4
START_SECONDS = 300

_gates: tuple[Barrier, Event]


def run(
    url: str, operation: str, size: int, clients: int, during: Callable[[], object], *, is_bare: bool = False
) -> dict[str, float]:
    """So many clients, a multiple of :data:`PROCESSES`, each with one operation after another while ``during`` runs; of
    our store, or of the bare driver."""
    context = multiprocessing.get_context("spawn")
    begin, end = context.Barrier(PROCESSES + 1), context.Event()
    with ProcessPoolExecutor(PROCESSES, context, _remember, (begin, end)) as pool:
        futures = [pool.submit(_work, url, operation, size, clients // PROCESSES, is_bare) for _ in range(PROCESSES)]
        begin.wait(START_SECONDS)
        begun = time.perf_counter()
        try:
            during()
        finally:
            end.set()
        elapsed = time.perf_counter() - begun
        answers = [future.result() for future in futures]
    latencies = [latency for found, _ in answers for latency in found]
    return {
        "us": clients * elapsed * 1e6 / len(latencies),
        "cpu_us": sum(cpu for _, cpu in answers) * 1e6 / len(latencies),
        "per_second": len(latencies) / elapsed,
        "p50_us": median(latencies) * 1e6,
        "p99_us": quantiles(latencies, n=100)[98] * 1e6,
        "max_us": max(latencies) * 1e6,
    }


def _remember(begin: Barrier, end: Event) -> None:
    global _gates  # noqa: PLW0603 - a barrier reaches a pool's process only in this way
    _gates = begin, end


def _work(url: str, operation: str, size: int, threads: int, is_bare: bool) -> tuple[list[float], float]:
    """How long each operation took, and the processor time of all, in s."""
    if is_bare:
        with bare.calls(url, size, threads) as calls:
            return _play(calls[operation], size, threads)
    store = open_store(url)
    try:
        return _play(call(store, operation, size), size, threads)
    finally:
        store.close()


def _play(call: Callable[[int], object], size: int, threads: int) -> tuple[list[float], float]:
    begin, end = _gates

    def play(_number: int) -> list[float]:
        pick, own = random.Random(), []  # noqa: S311 - a load generator
        while not end.is_set():
            begun = time.perf_counter()
            call(pick.randint(1, size))
            own.append(time.perf_counter() - begun)
        return own

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(call, range(1, 8 * threads)))  # connects
        begin.wait(START_SECONDS)
        cpu = time.process_time()
        latencies = [latency for own in pool.map(play, range(threads)) for latency in own]
        cpu = time.process_time() - cpu
    return latencies, cpu


def call(store: SessionStore, operation: str, size: int) -> Callable[[int], object]:
    """The operation on the session of a number."""

    def refresh(number: int) -> None:
        handle, line = filling.handle_of(number), filling.line_of(number)
        if not store.advance_line(filling.APP, handle, line, filling.step_of(number, random.getrandbits(20))):
            raise RuntimeError("a refresh was lost")

    return {
        "load": lambda number: store.load_session(filling.APP, filling.handle_of(number)),
        "refresh": refresh,
        "list": lambda number: store.list_handles_of_user(
            filling.APP, filling.user_of(number, size), None, filling.NOW
        ),
        "create": lambda number: store.insert_session(bare.new_row(number, size)),
    }[operation]
