"""Several processes that do one thing at once.

They are started anew ("spawn"), as they would be on a server, and what they do is found by its name: so it has to be a
function of a module.
"""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

SECONDS = 40

_barrier = None


def _remember(barrier):
    global _barrier  # noqa: PLW0603 - a barrier reaches a pool's process only in this way
    _barrier = barrier


def wait_for_the_others():
    """In a process: go on when all have come here."""
    _barrier.wait(SECONDS)


@contextmanager
def crowd(count):
    """So many processes, which do one thing after another: a function of a function and its arguments."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(count)

    def run_at_once(function, *args):
        """What each process answers; the first argument that each gets is its own number."""
        if barrier.broken:  # by a test that has failed
            barrier.reset()
        futures = [pool.submit(function, number, *args) for number in range(count)]
        return [future.result(SECONDS) for future in futures]

    with ProcessPoolExecutor(count, context, _remember, (barrier,)) as pool:
        yield run_at_once


def run_at_once(count, function, *args):
    """The same once, in new processes."""
    with crowd(count) as run:
        return run(function, *args)
