"""The values that cross a border: what the store keeps and what the facades give back.

All are frozen. Instants are integer milliseconds since the Unix epoch (names end in ``_at``, or follow the interface of
spec/fdi.md 3.1: ``expiry``, ``created_time``). Token strings and hashes never appear in a ``repr``.
"""

from __future__ import annotations

from dataclasses import Field, dataclass, field
from enum import Enum
from typing import Any, ClassVar, Final, Literal, TypeAlias, TypeVar

import msgspec

T = TypeVar("T")

Json: TypeAlias = dict[str, Any]
"""A JSON object, decoded."""


class _Omission(Enum):
    """An argument that was not given, where None says something else."""

    OMITTED = "omitted"

    def __repr__(self) -> str:
        return "<omitted>"


Omitted: TypeAlias = Literal[_Omission.OMITTED]
OMITTED: Final = _Omission.OMITTED


HIDDEN: Final[Any] = None
"""In the place of msgspec's ``__rich_repr__``, by which Rich would show all fields, tokens and hashes too, whatever the
``__repr__`` says: in a traceback with local variables, for one."""


class _Made(msgspec.Struct, frozen=True):
    """What is made for each request. A frozen dataclass to all who use it, but built in C: Python's own takes six times
    as long."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    __rich_repr__ = HIDDEN


def _as_dataclass(made: type[T]) -> type[T]:
    # All of it but what msgspec has written already.
    return dataclass(frozen=True, init=False, repr=False, eq=False, match_args=False)(made)


# What the store keeps


@_as_dataclass
class SessionRow(_Made, frozen=True):
    """One session, as a store keeps it. No token is stored, only double hashes of refresh tokens.

    ``line`` and ``previous`` are 32 bytes each (spec/cdi.md 3.0: hash2); ``jwt_payload`` and ``session_data`` are JSON
    text, so that a store never needs to understand them and can compare them.
    """

    app_id: str
    tenant_id: str
    handle: str
    user_id: str
    generation: int
    line: bytes
    previous: bytes | None
    used_at: int | None
    """When a child of the line was first used, or None."""
    nonce: bytes
    jwt_payload: str
    session_data: str
    created_at: int
    expires_at: int
    """Slides with each step of the rotation."""
    absolute_expires_at: int
    """Never moves."""
    refreshed_at: int
    """When the line last moved, or the session began."""
    user_agent: str | None = None
    """Of the client that moved the line, or began the session; None where it is not known or not to be kept."""
    address: str | None = None

    def __repr__(self) -> str:
        return (
            f"SessionRow(app_id={self.app_id!r}, handle={self.handle!r}, user_id={self.user_id!r}, "
            f"generation={self.generation!r}, used_at={self.used_at!r}, expires_at={self.expires_at!r})"
        )


@_as_dataclass
class LineStep(_Made, frozen=True):
    """What an Advance writes: the child takes over as the line (shared/rotation.md)."""

    generation: int
    line: bytes
    previous: bytes
    used_at: int | None
    expires_at: int
    refreshed_at: int
    user_agent: str | None = None
    address: str | None = None

    def __repr__(self) -> str:
        return f"LineStep(generation={self.generation!r}, used_at={self.used_at!r}, expires_at={self.expires_at!r})"


@dataclass(frozen=True, slots=True)
class TheftEvent:
    """One theft, as it is kept and as the app is told of it.

    Who of the two is the thief, nobody can tell from here. The *presenter* has just shown the token that gave the theft
    away; the *holder* is whose client last moved the session's line, or began the session. What is not known of a
    client, or not to be kept, is None.
    """

    app_id: str
    tenant_id: str
    session_handle: str
    user_id: str
    kind: str
    """``retired``, ``sibling`` or ``ancestor``: where the presented token stands (shared/rotation.md). ``reuse`` where
    a remote core found the theft, as it says no more."""
    presented_generation: int | None
    line_generation: int | None
    """None where a remote core found the theft."""
    detected_at: int
    """In ms since the epoch."""
    presenter_user_agent: str | None
    presenter_address: str | None
    holder_user_agent: str | None
    holder_address: str | None


EndingKind: TypeAlias = Literal["revoked", "sign_in", "theft", "changed"]
"""What became of a session: it was revoked; a sign-in ended it (it was replaced, or there was no room for it); it was
stolen; or it goes on with another JWT payload."""


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a step ends or changes sessions, for the log of endings that it writes."""

    kind: EndingKind
    happened_at: int
    forget_at: int
    """When nobody needs to know of it any more, as no access token of before can be accepted then."""
    payload_digest: str | None = None
    """Of the new payload, where that is what has changed."""


@dataclass(frozen=True, slots=True)
class Ending:
    """One session's end, or a change of its JWT payload, as processes that verify without asking the store learn of
    it. A handle is no secret."""

    handle: str
    user_id: str
    tenant_id: str
    kind: EndingKind
    happened_at: int
    forget_at: int
    payload_digest: str | None = None


@dataclass(frozen=True, slots=True)
class EndingsPage:
    """A page of the log of endings."""

    endings: list[Ending]
    place: str
    """What to give as ``after`` next time: the store's own, good as long as the log is."""
    is_last: bool
    """Whether that was all that there was when the first page since the last such one was asked for."""


@dataclass(frozen=True, slots=True)
class KeyRow:
    """One signing key, as a store keeps it. ``sealed`` is the private key, encrypted under the deployment's secret."""

    app_id: str
    sequence: int
    """Counts up from 1 in each app. Two processes that make a key at once make the same number, and one of them
    loses."""
    kid: str
    algorithm: str
    created_at: int
    sealed: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class TenantRow:
    """One tenant of an app, as a core service's store keeps it. An app is there when its public tenant is."""

    app_id: str
    tenant_id: str
    created_at: int
    sealed: bytes = field(repr=False)
    """Its configuration, encrypted under the service's secret: API keys are in it."""


# What a core that runs elsewhere is asked, and answers


@dataclass(frozen=True, slots=True)
class CoreRequest:
    """One request of spec/cdi.md 2. Its body and its query may hold tokens and user ids."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: bytes | None = field(default=None, repr=False)
    may_repeat: bool = True
    """Whether it does no harm to send it once more where the core may have carried it out already."""


@dataclass(frozen=True, slots=True)
class CoreAnswer:
    """What a core has answered."""

    status: int
    body: bytes = field(default=b"", repr=False)
    max_age: int | None = None
    """For how many seconds it may be kept, where it says so."""


# What the facades are given


@dataclass(frozen=True, slots=True)
class ClientInfo:
    """Where a request came from, as far as the app knows: for "your devices", and for who was on either side of a
    theft. Nothing is decided by it."""

    user_agent: str | None = None
    """As the client says; the first 255 characters are kept."""
    address: str | None = None
    """The IP address, as text."""


# What the facades give back


@_as_dataclass
class SessionInfo(_Made, frozen=True):
    """Who is signed in. ``handle`` is no secret."""

    handle: str
    user_id: str
    jwt_payload: Json
    tenant_id: str


@dataclass(frozen=True, slots=True)
class TokenInfo:
    """A token with its times (ms)."""

    token: str = field(repr=False)
    expiry: int
    created_time: int


@dataclass(frozen=True, slots=True)
class CookieTokenInfo:
    """A token with its times (ms) and the attributes of the cookie that should carry it. ``domain`` is None for a
    host-only cookie."""

    token: str = field(repr=False)
    expiry: int
    created_time: int
    cookie_path: str
    cookie_secure: bool
    domain: str | None


@dataclass(frozen=True, slots=True)
class CreatedSession:
    """All that the client must get after a sign-in or a refresh."""

    session: SessionInfo
    access_token: CookieTokenInfo
    refresh_token: CookieTokenInfo
    id_refresh_token: TokenInfo
    anti_csrf_token: str | None = field(repr=False)
    """None where the session was created without anti-CSRF."""
    front_token: str = field(repr=False)
    """What the browser SDK reads: user id, expiry and claims, in base64. No proof of anything (spec/fdi.md 1.5)."""


@_as_dataclass
class FoundSession(_Made, frozen=True):
    """A verified session."""

    session: SessionInfo
    access_token: CookieTokenInfo | None
    """None, or a replacement that the response must set."""
    front_token: str | None = None
    """Goes with the replacement."""
    has_anti_csrf: bool = False
    """Whether the session was created with an anti-CSRF token."""

    def __repr__(self) -> str:
        return (
            f"FoundSession(session={self.session!r}, access_token={self.access_token!r}, "
            f"has_anti_csrf={self.has_anti_csrf!r})"
        )


@dataclass(frozen=True, slots=True)
class RegeneratedToken:
    """A session with its new payload, and the access token that carries it: None if the one presented has expired,
    so that the payload shows after the next refresh (spec/cdi.md 2.5)."""

    session: SessionInfo
    access_token: CookieTokenInfo | None
    front_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class SessionInformation:
    """What the store knows of a session (spec/fdi.md 3.6). ``expiry`` and ``time_created`` in ms."""

    session_handle: str
    user_id: str
    tenant_id: str
    expiry: int
    time_created: int
    jwt_payload: Json
    session_data: Json
    time_refreshed: int | None
    """When a new refresh token was last put to use (ms); at first, when the session was created. None where a remote
    core keeps the session, which does not say."""
    user_agent: str | None
    """Of the client that did so; None where it is not known or not to be kept."""
    address: str | None


@dataclass(frozen=True, slots=True)
class ClaimValidationError:
    """Why one claim validator refused."""

    id: str
    reason: Json | None = None
