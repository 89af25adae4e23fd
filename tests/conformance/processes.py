"""Several processes that do one thing at once.

They are started anew ("spawn"), as they would be on a server, and what they do is found by its name: so it has to be a
function of a module.
"""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

SECONDS = 40

_barrier = None


def _remember(barrier):
    global _barrier  # noqa: PLW0603 - a barrier reaches a pool's process only in this way
    _barrier = barrier


def wait_for_the_others():
    """In a process: go on when all have come here."""
    _barrier.wait(SECONDS)


def run_at_once(count, function, *args):
    """What each of `count` processes answers; the first argument that each gets is its own number."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, context, _remember, (context.Barrier(count),)) as pool:
        futures = [pool.submit(function, number, *args) for number in range(count)]
        return [future.result(SECONDS) for future in futures]
