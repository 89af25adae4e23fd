"""Access tokens that this process has verified, so that one signature need not be checked at each request.

What is remembered is what a token says, never that it is good for longer: its expiry and its key's retirement are
looked at each time. A token is found by its whole text, so that another one, be it by a bit, is never taken for it.
Tokens that await their first use are not remembered, as they are replaced at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from tallystick.protocol.access_token import AccessToken, UnknownKey, open_access_token
from tallystick.protocol.core_token import PublishedKeys, open_core_token
from tallystick.protocol.derivation import DerivedKeys
from tallystick.protocol.keyring import Keyring
from tallystick.types import Json

CHARACTERS_EACH: Final = 800
"""Of a remembered text, on the average of all: longer ones are fewer. With what was read from it, it is about three
times as many bytes."""

_NEVER: Final = 2**63
_TAIL: Final = 32
"""Characters at a token's end, of its signature, that tell it from others well enough to find it by: to hash the whole
text takes as long as all the rest of this."""


class TokenCache(ABC):
    """At most ``capacity`` tokens that some keys have verified (0: none).

    There are two halves. When the newer one is full, the older one is dropped whole; what of it is still in use moves
    over when it is asked for. So nothing has to be sorted or locked: threads may lose each other's entries, and then a
    signature is checked once more. With other keys one begins anew, so that no key's tokens outlive it.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._half = max(1, capacity // 2)
        self._half_characters = capacity * CHARACTERS_EACH // 2
        self._retirement = self._next_retirement(0)
        self._newer: dict[str, tuple[str, AccessToken]] = {}
        self._older: dict[str, tuple[str, AccessToken]] = {}
        self._characters = 0

    def open(self, text: object, secrets: Sequence[DerivedKeys], now: int) -> AccessToken | UnknownKey:
        """The token, verified now or recalled. Raises :class:`TryRefreshToken`."""
        # Of a subclass of str nobody knows what it is equal to.
        if type(text) is not str or not self.capacity:
            return self._open_anew(text, secrets, now)
        if now > self._retirement:
            self._forget(now)
        tail = text[-_TAIL:]
        newer = self._newer
        found = newer.get(tail) or self._older.get(tail)
        if found is not None:
            known, token = found
            if known == text and now <= token.expires_at:
                if tail not in newer:
                    self._keep(tail, found)
                return token
        opened = self._open_anew(text, secrets, now)
        if isinstance(opened, AccessToken) and opened.parent_hash1 is None:
            self._keep(tail, (text, opened))
        return opened

    def _keep(self, tail: str, entry: tuple[str, AccessToken]) -> None:
        if len(self._newer) >= self._half or self._characters >= self._half_characters:
            self._older, self._newer, self._characters = self._newer, {}, 0
        self._newer[tail] = entry
        self._characters += len(entry[0])

    def _forget(self, now: int) -> None:
        """A key has retired: which tokens were its own is not worth remembering."""
        self._older, self._newer, self._characters = {}, {}, 0
        self._retirement = self._next_retirement(now)

    @abstractmethod
    def _open_anew(self, text: object, secrets: Sequence[DerivedKeys], now: int) -> AccessToken | UnknownKey: ...

    @abstractmethod
    def _next_retirement(self, now: int) -> int:
        """The last instant at which all keys that verify at ``now`` still do."""

    def __len__(self) -> int:
        return len(self._newer.keys() | self._older.keys())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} of {self.capacity})"


class VerifiedTokens(TokenCache):
    """A ring of our own keys, and the tokens that it has verified."""

    def __init__(self, ring: Keyring, capacity: int) -> None:
        self.ring = ring
        super().__init__(capacity)

    def _open_anew(self, text: object, secrets: Sequence[DerivedKeys], now: int) -> AccessToken | UnknownKey:
        return open_access_token(text, self.ring, secrets, now)

    def _next_retirement(self, now: int) -> int:
        return self.ring.next_retirement(now)


class VerifiedCoreTokens(TokenCache):
    """A core's published keys, and the tokens that they have verified. When a key retires only the core knows."""

    def __init__(self, keys: PublishedKeys, capacity: int) -> None:
        self.keys = keys
        super().__init__(capacity)

    def _open_anew(self, text: object, secrets: Sequence[DerivedKeys], now: int) -> AccessToken | UnknownKey:
        return open_core_token(text, self.keys, now)

    def _next_retirement(self, now: int) -> int:
        return _NEVER


copy_json: Final[Callable[[Json], Json]] = msgspec.to_builtins
"""A copy that the app may change without changing what is remembered."""
