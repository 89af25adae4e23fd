"""A process that verifies the same access tokens over and over, as an app would, until each is refused.

``python -m tests.revocation.verifier URL SECRET SKEW_MS SILENCE``. It reads tokens from its standard input, one a line,
and writes for each that is refused when the last verification began that accepted it, and when it was refused: by the
clock that all processes of a machine share.
"""

import contextlib
import json
import queue
import sys
import threading
import time

from tallystick import GeneralError, Sessions, Unauthorised
from tallystick.edges import system_clock

PAUSE = 0.001
"""So that several of them measure each other's news and not each other's load."""


def read_tokens(tokens: "queue.SimpleQueue[str]") -> None:
    for line in sys.stdin:
        tokens.put(line.strip())


def main(url: str, secret: str, skew: str, silence: str) -> None:
    tokens: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=read_tokens, args=(tokens,), daemon=True).start()
    # Where a core keeps the sessions, it has the secret.
    settings = {} if url.startswith("http") else {"secret": secret, "algorithm": "EdDSA"}
    sessions = Sessions(
        url,
        **settings,
        instant_revocation=True,
        on_feed_silence=silence,
        clock=lambda: system_clock() + int(skew),
    )
    with sessions:
        print("ready", flush=True)  # noqa: T201 - to whoever started this
        watch(sessions, tokens)


def watch(sessions: Sessions, tokens: "queue.SimpleQueue[str]") -> None:
    accepted: dict[str, float] = {}
    while True:
        with contextlib.suppress(queue.Empty):
            while True:
                accepted[tokens.get_nowait()] = 0.0
        for token in list(accepted):
            began = time.monotonic()
            try:
                sessions.get_session(token)
            except Unauthorised:
                tail, last = token[-32:], accepted.pop(token)
                print(json.dumps([tail, last, time.monotonic()]), flush=True)  # noqa: T201
            except GeneralError:
                pass  # not accepted
            else:
                accepted[token] = began
        time.sleep(PAUSE)


if __name__ == "__main__":
    main(*sys.argv[1:])
