"""What unit tests are made with: deployments with fixed keys, tokens cut to measure, flows driven by hand."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from tallystick.calls import Call, Fetch, Flow, Work
from tallystick.config import Config
from tallystick.deployment import Deployment, make_deployment
from tallystick.edges import new_private_key
from tallystick.errors import SessionError
from tallystick.protocol.derivation import DerivedKeys, derive_keys
from tallystick.protocol.keyring import Keyring, Schedule, empty_keyring, mint_key_row, open_keyring
from tallystick.protocol.revocation import RevocationView
from tallystick.protocol.signing import Signer
from tallystick.testing import START, SeededEntropy
from tallystick.types import Ending, KeyRow

SECRET = "a-secret-for-tests-that-is-long-enough-0001"
FORMER = "a-secret-for-tests-that-is-long-enough-0000"
FOREIGN = "a-secret-for-tests-of-somebody-else-entirely"

HOUR = 3_600_000
DAY = 24 * HOUR
SCHEDULE = Schedule(7 * DAY, HOUR)


@cache
def private_key(algorithm: str, number: int = 0) -> bytes:
    """One of a row of private keys that are made once in each run, as RSA keys are slow to make."""
    return new_private_key(algorithm)


@cache
def keys_of(secret: str = SECRET, app_id: str = "public") -> DerivedKeys:
    return derive_keys(secret, app_id)


class Keysmith:
    """Makes private keys for a deployment: another one at each call."""

    def __init__(self) -> None:
        self.made: list[str] = []

    def __call__(self, algorithm: str) -> bytes:
        self.made.append(algorithm)
        return private_key(algorithm, self.made.count(algorithm))


def make_row(  # a key as a store keeps it
    sequence: int = 1,
    created_at: int = START,
    algorithm: str = "EdDSA",
    secret: DerivedKeys | None = None,
    app_id: str = "public",
) -> KeyRow:
    return mint_key_row(
        private_key(algorithm, sequence),
        secret=secret or keys_of(),
        app_id=app_id,
        algorithm=algorithm,
        sequence=sequence,
        now=created_at,
        nonce=bytes([sequence % 256]) * 12,
    )


def open_rows(
    rows: Sequence[KeyRow],
    *,
    algorithm: str = "EdDSA",
    now: int = START,
    secrets: Sequence[DerivedKeys] | None = None,
    schedule: Schedule = SCHEDULE,
    known: Keyring | None = None,
) -> Keyring:
    ring = known or empty_keyring(schedule, algorithm)
    return open_keyring(rows, secrets or [keys_of()], schedule, algorithm, ring, now)


def deploy(
    clock: Callable[[], int],
    *,
    secret: str | Sequence[str] = SECRET,
    seed: int = 1,
    keysmith: Callable[[str], bytes] | None = None,
    **settings: Any,
) -> Deployment:
    settings.setdefault("algorithm", "EdDSA")
    return make_deployment(
        Config(**settings),
        secret,
        clock=clock,
        entropy=SeededEntropy(seed),
        new_private_key=keysmith or Keysmith(),
    )


# Tokens


def encode(data: object) -> str:
    """base64url of JSON, or of the very bytes."""
    raw = data if isinstance(data, bytes) else json.dumps(data, separators=(",", ":")).encode("utf-8")
    return urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def decode(part: str) -> Any:
    return json.loads(decode_bytes(part))


def decode_bytes(part: str) -> bytes:
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))


def sign(header: object, claims: object, signer: Signer) -> str:
    """A JWT with any header and any claims, rightly signed. A str is taken as an encoded part."""
    parts = [part if isinstance(part, str) else encode(part) for part in (header, claims)]
    body = ".".join(parts)
    return f"{body}.{encode(signer.sign(body.encode('ascii')))}"


def flip_each_byte(text: str) -> list[str]:
    """``text`` with one bit of one byte changed, for each of its bytes; always ASCII."""
    return [text[:i] + chr(ord(text[i]) ^ bit) + text[i + 1 :] for i in range(len(text)) for bit in (1, 2, 32)]


# Flows


@dataclass
class Driven:
    """What became of a flow: what it asked, in order, and how it ended."""

    asked: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)
    result: Any = None
    error: SessionError | None = None

    @property
    def methods(self) -> list[str]:
        return [method for method, _ in self.asked]


def drive(flow: Flow[Any], *answers: object) -> Driven:
    """Run a flow by hand.

    Each answer goes to the next store call: a value is sent, an exception is thrown, a function is given the call's
    arguments first. Slow work is done on the spot, and is not in the list; so are the app's own functions.
    """
    driven, script = Driven(), iter(answers)
    try:
        call: Call | Work | Fetch = next(flow)
        while True:
            if isinstance(call, Work):
                call = flow.send(call.function())
                continue
            if isinstance(call, Fetch):
                call = flow.send(call.function(*call.args))
                continue
            driven.asked.append((call.method, call.args))
            answer = next(script, Ellipsis)
            assert answer is not Ellipsis, f"the script has no answer for {call.method}"
            if isinstance(answer, Exception):
                call = flow.throw(answer)
            else:
                call = flow.send(answer(*call.args) if callable(answer) else answer)
    except StopIteration as end:
        driven.result = end.value
    except SessionError as error:
        driven.error = error
    assert next(script, Ellipsis) is Ellipsis, f"the flow ended before its script, with {driven.error!r}"
    return driven


def make_view_with_news_after_the_search(handle, now):
    """What a verification sees when the feed's thread runs between its looks at a view: the view is old, and as soon as
    it has been searched it is new, and says that the session has ended."""
    view = RevocationView(lease=2, keeps=3600)

    class Marks(dict):
        def __contains__(self, key):
            return self.get(key) is not None

        def get(self, key, default=None):
            found = super().get(key, default)
            view.marks = {}
            view.apply([Ending(handle, "user", "public", "revoked", now, now)], 0.0)
            view.confirm(0.0, now)
            return found

    view.marks = Marks()
    return view
