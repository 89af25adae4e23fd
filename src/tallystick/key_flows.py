"""Every sequence that concerns signing keys: which one signs, with which one a token opens, and who makes the next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias, TypeVar

from tallystick.calls import Flow, ask, work
from tallystick.deployment import Deployment
from tallystick.errors import GeneralError, TryRefreshToken
from tallystick.protocol.access_token import UnknownKey
from tallystick.protocol.derivation import DerivedKeys
from tallystick.protocol.keyring import (
    TIMELESS,
    WRAP_NONCE_BYTES,
    Keyring,
    SigningKey,
    mint_key_row,
    open_keyring,
    seal_again,
)
from tallystick.storage.interface import SessionStore

ATTEMPTS: Final = 16
"""How often a lost race is judged anew. Each loss means that another caller won, so this many are a storm."""
MISS_COOLDOWN: Final = 1000
"""For how long, in ms, a key that the store did not have is not looked for again."""

T = TypeVar("T")

Opener: TypeAlias = Callable[[object, Sequence[DerivedKeys], int], T | UnknownKey]


def open_token(d: Deployment, text: object, opener: Opener[T], now: int) -> Flow[T]:
    """Open an access token, if need be with a key that another process has made meanwhile."""
    if text is None or text == "":
        raise TryRefreshToken("there is no access token", reason="missing_token")
    try:
        opened = opener(text, d.secrets, now)
    except TryRefreshToken as error:
        if error.reason == "unknown_key":
            yield from prove_secrets(d, now)
        raise
    if isinstance(opened, UnknownKey) and not 0 <= now - d.keys.missed_at < MISS_COOLDOWN:
        yield from _load_keys(d, now)
        opened = opener(text, d.secrets, now)
        if isinstance(opened, UnknownKey):
            d.keys.missed_at = now
    if isinstance(opened, UnknownKey):
        raise TryRefreshToken("the access token's key is not in the store", reason="unknown_key")
    return opened


def prove_secrets(d: Deployment, now: int) -> Flow[None]:
    """See that a secret opens a key of the store's, if there are any: who runs with a wrong one must not take every
    client's token for a stranger's, and sign all of them out. Asks nothing where there is a key that verifies.

    Raises :class:`GeneralError` (``wrong_secret``).
    """
    if not d.keys.ring.has_key_at(now):
        yield from _load_keys(d, now)


def signing_key(d: Deployment, now: int, *, is_static: bool = False) -> Flow[SigningKey]:
    """The key to sign with, made first if it is time; the static one only where that is asked for."""
    if is_static:
        return d.keys.ring.static_key or (yield from _make_static_key(d, now))
    key = d.keys.ring.signing_key(now)
    if d.keys.ring.is_due(now) and (key is None or not d.keys.is_renewing):
        d.keys.is_renewing = True
        try:
            ring = yield from _renew_keys(d, now, lambda ring: ring.is_due(now))
        finally:
            d.keys.is_renewing = False
        key = ring.signing_key(now)
    if key is None:
        raise _no_key()
    return key


def _make_static_key(d: Deployment, now: int) -> Flow[SigningKey]:
    ring = yield from _renew_keys(d, now, lambda ring: ring.static_key is None, is_static=True)
    if ring.static_key is None:
        raise _no_key()
    return ring.static_key


def seal_static_key_again(d: Deployment) -> Flow[None]:
    """See that the newest secret opens the static key too, if there is one. Of several at once one does it, or each:
    it is one key all the same."""
    rows = yield from ask(SessionStore.load_keys, d.app_id)
    newest = next((row for row in rows if row.created_at == TIMELESS), None)
    if newest is not None:
        row = seal_again(newest, d.secrets, sequence=rows[0].sequence + 1, nonce=d.entropy(WRAP_NONCE_BYTES))
        if row is not None:
            yield from ask(SessionStore.insert_key, row)


def _renew_keys(
    d: Deployment, now: int, is_wanting: Callable[[Keyring], bool], *, is_static: bool = False
) -> Flow[Keyring]:
    """Look what the store has, and add the key that is wanting if nobody has. Of several at once one adds, and all use
    that."""
    for _ in range(ATTEMPTS):
        ring = yield from _load_keys(d, now)
        if not is_wanting(ring):
            return ring
        der: bytes = yield from work("making a signing key", lambda: d.new_private_key(d.config.algorithm))
        row = mint_key_row(
            der,
            secret=d.secrets[0],
            app_id=d.app_id,
            algorithm=d.config.algorithm,
            sequence=ring.highest_sequence + 1,
            now=now,
            nonce=d.entropy(WRAP_NONCE_BYTES),
            is_static=is_static,
        )
        yield from ask(SessionStore.insert_key, row)
    raise _contended()


def _load_keys(d: Deployment, now: int) -> Flow[Keyring]:
    rows = yield from ask(SessionStore.load_keys, d.app_id)
    ring = open_keyring(rows, d.secrets, d.schedule, d.config.algorithm, d.keys.ring, now)
    d.keys.replace(ring)
    return ring


def _no_key() -> GeneralError:
    return GeneralError("there is no signing key to sign with", reason="no_signing_key")


def _contended() -> GeneralError:
    return GeneralError(
        f"the signing keys changed {ATTEMPTS} times while this request looked at them", reason="contended"
    )
