"""3. Nobody without a rightly tagged token can change or end any session: a stranger at every state of the explorer.

He knows how tokens are made, has a session of his own, and may even have the deployment's secret or its database, but
not both (shared/rotation.md). The tokens of a session that is past its end are as good as forged, and tried here too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tallystick.protocol.derivation import derive_keys
from tests.model.ours import SECRET, Product
from tests.model.symbols import REFRESH, VERIFY, Access, Row, Token, World, token
from tests.model.world import Move

_KEYS = derive_keys(SECRET, "public")
_FOREIGN = derive_keys("a-secret-of-another-deployment-that-is-long-enough", "public")
_OTHER_NONCE = b"another session!"
_OTHER_HANDLE = "00000000-0000-4000-8000-000000000000"


class Stranger:
    """Tries everything at each state that he has not seen before. ``tried`` counts."""

    def __init__(self, product: Product) -> None:
        self._product = product
        self._seen: set[tuple[Row, Token | Access]] = set()
        self.tried = 0

    def judge(self, _world: World, move: Move) -> str | None:
        """The property, for the explorer."""
        world = move.world
        if world.row is None:
            return None
        return self._meet(world.row, world.refresh) or self._meet(world.row, world.access)

    def _meet(self, row: Row, presented: Token | Access) -> str | None:
        if (row, presented) in self._seen:
            return None
        self._seen.add((row, presented))
        operation = REFRESH if isinstance(presented, Token) else VERIFY
        refused = ("unauthorised",) if operation == REFRESH else ("unauthorised", "try refresh")
        ended = row._replace(ends=0)
        attempts = [(row, what, text) for what, text in self._forge(presented)]
        if operation == REFRESH or (isinstance(presented, Access) and presented.is_marked):
            attempts.append((ended, "the right token, past the session's end", self._product.text_of(presented)))
        for at, what, text in attempts:
            self.tried += 1
            is_unchanged, kind = self._product.present(at, operation, text)
            if not is_unchanged:
                return f"the row was changed by {what}"
            if not kind.startswith(refused):
                return f"{kind}, for {what}"
        return None

    def _forge(self, presented: Token | Access) -> Iterator[tuple[str, str]]:
        if isinstance(presented, Access):
            yield from _spoil(self._product.text_of(presented))
            return
        nonce, mint = self._product.nonce, self._product.mint
        # What is presented, and a child of it: he knows the hash that it carries from an access token.
        for symbol in (presented, token(presented.generation + 1, presented, 99)):
            yield "a token of another deployment", mint(symbol, _FOREIGN, nonce).text
            yield "a token by the secret without the database", mint(symbol, _KEYS, _OTHER_NONCE).text
            yield "a wrong tag", mint(symbol, replace(_KEYS, refresh=_FOREIGN.refresh), nonce).text
            yield "a wrong envelope", mint(symbol, replace(_KEYS, envelope=_FOREIGN.envelope), nonce).text
            yield "a token of another session", mint(symbol, _KEYS, _OTHER_NONCE, _OTHER_HANDLE).text
        yield from _spoil(self._product.text_of(presented))


def _spoil(text: str) -> Iterator[tuple[str, str]]:
    """Each part with one character changed, and the whole cut short."""
    parts = text.split(".")
    for index, part in enumerate(parts):
        middle = len(part) // 2
        changed = part[:middle] + ("A" if part[middle] != "A" else "B") + part[middle + 1 :]
        yield f"a bit flipped in part {index + 1}", ".".join((*parts[:index], changed, *parts[index + 1 :]))
    yield "a token cut short", text[:-1]
    yield "a part too few", ".".join(parts[:-1])
