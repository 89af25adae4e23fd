"""What verifying an access token costs: `make bench`, or `python bench/verify.py --help`."""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import environment
import report

if TYPE_CHECKING:
    from contenders import Contender, Field

ROUNDS, BATCH = 75, 100
QUICK_ROUNDS, QUICK_BATCH = 9, 50


def main() -> None:
    options = _parse_arguments()
    environment.enter(renew=options.renew)
    # Only here, as the peers are in the bench's environment alone.
    from contenders import PAYLOAD, set_up  # noqa: PLC0415

    cpu = _stay_on_one_cpu()
    # One batch more than there are rounds: it warms up, and is then what has been seen before.
    field = set_up(options.batch * (options.rounds + 1))
    samples = asyncio.run(_measure(field, options.rounds, options.batch))
    section = {
        **report.describe_run(options.rounds, options.batch, is_pinned=cpu is not None),
        "token": report.describe_token(field.sync_tokens[0], PAYLOAD),
        "contenders": [
            report.summarise(one, samples[one.id], samples["floor"], field.probes[one.id]) for one in field.contenders
        ],
    }
    print(report.as_text(section))
    directory = options.output or (None if options.quick else environment.HERE)
    if directory is None:
        print("\nA quick run is for a look: nothing was written (--output DIRECTORY does).")
    else:
        report.write(directory, section)
        print(f"\nWritten: RESULTS.md and results.json in {os.path.relpath(directory)}")


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Measure what verifying an RS256 access token costs, side by side with other libraries. The first "
        "run makes bench/.venv with the peers from the package index. Results: bench/RESULTS.md, bench/results.json.",
    )
    parser.add_argument("--quick", action="store_true", help="a look in a few seconds; writes nothing")
    parser.add_argument("--rounds", type=_positive, help=f"how often each one has its turn ({ROUNDS})")
    parser.add_argument("--batch", type=_positive, help=f"tokens in a turn ({BATCH})")
    parser.add_argument("--renew", action="store_true", help="make bench/.venv anew, with the newest peers")
    parser.add_argument("--output", type=Path, metavar="DIRECTORY", help="where to write the results (bench/)")
    options = parser.parse_args()
    options.rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    options.batch = options.batch or (QUICK_BATCH if options.quick else BATCH)
    if options.rounds < 2:
        parser.error("--rounds: quartiles need at least 2")
    if options.output is not None and not options.output.is_dir():
        parser.error(f"--output: {options.output} is not a directory")
    return options


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _stay_on_one_cpu() -> int | None:
    """Caches and clock speeds differ from one CPU to the next. Not every system lets a process choose."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    cpu = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cpu})
    return cpu


async def _measure(field: Field, rounds: int, batch: int) -> dict[str, list[float]]:
    """For each contender, the mean µs of one verification, once a round.

    In a round each has one turn, in random order, so that whatever else the machine does falls on all alike. A token
    is given to a contender once, unless it is to have seen it. What set-up has left in memory is kept out of the
    garbage collector's sight; what a verification leaves is not.
    """
    order, samples = list(field.contenders), {contender.id: [] for contender in field.contenders}
    dice = random.Random(20)  # noqa: S311 - an order, no secret
    for turn in range(rounds + 1):
        dice.shuffle(order)
        for contender in order:
            inputs = _inputs(field, contender, 0 if contender.is_seen else turn, batch)
            if contender.is_seen:
                await _time(contender, inputs)
            gc.collect()
            gc.freeze()
            spent = await _time(contender, inputs)
            gc.unfreeze()
            if turn:
                samples[contender.id].append(spent / len(inputs) / 1000)
    return samples


def _inputs(field: Field, contender: Contender, turn: int, batch: int) -> Sequence[Any]:
    tokens = field.async_tokens if contender.tokens == "async" else field.sync_tokens
    return [contender.prepare(token) for token in tokens[turn * batch : (turn + 1) * batch]]


async def _time(contender: Contender, inputs: Sequence[Any]) -> int:
    """In ns of this thread's processor time: what others do on the machine is not charged, and nothing here waits."""
    verify = contender.verify
    start = time.thread_time_ns()
    if contender.is_async:
        for token in inputs:
            await verify(token)
    else:
        for token in inputs:
            verify(token)
    return time.thread_time_ns() - start


if __name__ == "__main__":
    main()
