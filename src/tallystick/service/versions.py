"""The versions of the Core Driver Interface, and what each asks of the service (spec/cdi.md 1.1.5)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from tallystick.protocol.token_versions import V1, V2, V3, V4, V5, TokenVersion
from tallystick.service.answers import Refusal, not_found
from tallystick.service.settings import CDI_VERSIONS, CoreSettings

_VERSION = re.compile(r"[0-9]+(\.[0-9]+)*")
_MAX_LENGTH: Final = 32


@dataclass(frozen=True, slots=True)
class Cdi:
    """One version. What it has or asks, as far as any endpoint looks at it."""

    name: str
    number: tuple[int, ...] = field(init=False)
    is_first: bool = field(init=False)
    """The first interface (spec/cdi-1.0.md): 1.0, and 2.0 to 2.3 on the same paths."""
    token_version: TokenVersion = field(init=False)
    lists_keys: bool = field(init=False)
    """Whether answers with a signing key have a list of them too."""
    is_before_kids: bool = field(init=False)
    """Before access tokens named their key: answers carry keys and an id-refresh token, configuration decides about
    keys and the store's word, and there is a handshake."""
    names_tenant: bool = field(init=False)
    names_recipe_user: bool = field(init=False)
    is_strict: bool = field(init=False)
    """Whether endpoints of a whole app refuse another tenant than the public one, and a refresh must choose its key."""
    is_stateless: bool = field(init=False)
    """Whether a verification never writes, and a refresh retires its token at once."""

    def __post_init__(self) -> None:
        number = parse_version(self.name)
        values = {
            "number": number,
            "is_first": number < (2, 7),
            "token_version": _token_version(number),
            "lists_keys": (2, 9) <= number < (2, 21),
            "is_before_kids": number < (2, 21),
            "names_tenant": number >= (3, 0),
            "names_recipe_user": number >= (4, 0),
            "is_strict": number >= (5, 0),
            "is_stateless": number >= (5, 6),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)


def parse_version(text: str) -> tuple[int, ...]:
    """A version's numbers, by which versions are compared."""
    return tuple(map(int, text.split(".")))


def _token_version(number: tuple[int, ...]) -> TokenVersion:
    table = (((2, 0), V1), ((2, 21), V2), ((3, 0), V3), ((4, 0), V4))
    return next((version for before, version in table if number < before), V5)


ALL: Final = tuple(map(Cdi, CDI_VERSIONS))
FIRST: Final = tuple(map(Cdi, ("1.0", "2.0", "2.1", "2.2", "2.3")))
"""Those of the first interface. 1.0 has no header to say so."""


class Negotiation:
    """Which versions an app speaks."""

    def __init__(self, settings: CoreSettings) -> None:
        newest, oldest = settings.supertokens_max_cdi_version, settings.supertokens_min_cdi_version
        self._newest = ALL[-1] if newest is None else _named(newest)
        self._oldest = None if oldest is None else _named(oldest)
        self._spoken = {cdi.name.encode(): cdi for cdi in ALL if self._is_spoken(cdi)}
        self._first = {cdi.name.encode(): cdi for cdi in FIRST if self._is_spoken(cdi)}

    def names(self) -> list[str]:
        """What ``/apiversion`` lists: all up to the newest; the least one does not filter (spec/cdi.md 1.1.2). Drivers
        of the first interface look for theirs here too, where it is spoken."""
        first = [cdi.name for cdi in self._first.values() if cdi.number >= (2, 0)]
        return first + [cdi.name for cdi in ALL if cdi.number <= self._newest.number]

    def find(self, header: bytes | None, *, must_be_known: bool) -> Cdi:
        """The version that a request speaks. Raises :class:`Refusal` where that is none, or not ours."""
        if header is None:
            return self._newest
        found = self._spoken.get(header)
        if found is not None:
            return found
        text = self._check(header)
        if must_be_known:
            raise Refusal(400, f"cdi-version {text} not supported")
        return self._newest

    def find_first(self, header: bytes | None) -> Cdi:
        """The same on the paths of the first interface, which later versions do not have."""
        found = self._first.get(b"1.0" if header is None else header)
        if found is not None:
            return found
        self._check(b"1.0" if header is None else header)
        raise not_found()

    def _is_spoken(self, cdi: Cdi) -> bool:
        return cdi.number <= self._newest.number and (self._oldest is None or cdi.number >= self._oldest.number)

    def _check(self, header: bytes) -> str:
        """Raise what is to be said of a version before it is looked for among ours."""
        text = header.decode("latin-1").strip()
        if len(text) > _MAX_LENGTH or not _VERSION.fullmatch(text):
            raise Refusal(400, "cdi-version must be numbers with dots between, such as 5.4")
        number = parse_version(text)
        if number > self._newest.number:
            raise Refusal(400, f"cdi-version {text} not supported")
        if self._oldest is not None and number < self._oldest.number:
            raise Refusal(400, f"cdi-version {text} not supported: this core speaks {self._oldest.name} and newer")
        return text


def _named(name: str) -> Cdi:
    return next(cdi for cdi in ALL if cdi.name == name)
