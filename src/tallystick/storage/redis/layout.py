"""What is kept under which key, and how a row becomes a hash.

::

    tallystick:s:{app:handle}   hash: a session                     i  who it is, and what never changes of it
                                                                    l  the line
                                                                    m  what changes with the line
                                                                    u  used_at, or nothing
                                                                    x, a  expires_at, absolute_expires_at
                                                                    p, d  jwt_payload, session_data
    tallystick:t:{app:handle}   string: the theft of that session
    tallystick:u:{app:user}     sorted set: a user's handles, by created_at
    tallystick:e:{app}          sorted set: the handles of stolen sessions, by detected_at
    tallystick:k:{app}          hash: signing keys by sequence
    tallystick:tenants          hash: the tenants of a core service, by app and tenant
    tallystick:f:{app}          stream: the log of endings          e  an ending
    tallystick:l:{name}         string, for an hour: who has a lease
    tallystick:w:{...}          string, for a millisecond: a mark of what replicas must confirm

What is in braces decides the slot of a cluster, so one session is all in one. The scripts read only what they compare.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from tallystick.types import Cause, Ending, KeyRow, LineStep, SessionRow, TheftEvent

SLACK: Final = 3_600_000
"""How long (ms) Redis keeps a session beyond its end, so that its clock need not be ours."""

FIELDS: Final = ("i", "l", "m", "u", "x", "a", "p", "d")


class Identity(NamedTuple):
    """What never changes of a session."""

    app_id: str
    tenant_id: str
    handle: str
    user_id: str
    nonce: bytes
    created_at: int


class Moving(NamedTuple):
    """What changes with the line, and nobody compares."""

    generation: int
    previous: bytes | None
    refreshed_at: int
    user_agent: str | None
    address: str | None


_encode: Final = msgspec.msgpack.encode
_decode_moving: Final = msgspec.msgpack.Decoder(Moving).decode
_decode_key: Final = msgspec.msgpack.Decoder(KeyRow).decode
_decode_theft: Final = msgspec.msgpack.Decoder(TheftEvent).decode
_decode_ending: Final = msgspec.msgpack.Decoder(Ending).decode
read_identity: Final = msgspec.msgpack.Decoder(Identity).decode


def session_key(app_id: str, handle: str) -> str:
    """Where a session is."""
    return f"tallystick:s:{{{app_id}:{handle}}}"


def sessions_pattern(app_id: str) -> str:
    """Where all sessions of an app are; its id has no character that means something in a pattern."""
    return f"tallystick:s:{{{app_id}:*"


def theft_key(app_id: str, handle: str) -> str:
    """Where the theft of a session is: in the session's slot."""
    return f"tallystick:t:{{{app_id}:{handle}}}"


def user_key(app_id: str, user_id: str) -> str:
    """Where the handles of a user's sessions are."""
    return f"tallystick:u:{{{app_id}:{user_id}}}"


def thefts_key(app_id: str) -> str:
    """Where the handles of stolen sessions are."""
    return f"tallystick:e:{{{app_id}}}"


def keys_key(app_id: str) -> str:
    """Where an app's signing keys are."""
    return f"tallystick:k:{{{app_id}}}"


def lease_key(name: str) -> str:
    """Where it says who has a lease."""
    return f"tallystick:l:{{{name}}}"


def endings_key(app_id: str) -> str:
    """Where an app's log of endings is."""
    return f"tallystick:f:{{{app_id}}}"


def write_session(row: SessionRow) -> list[object]:
    """A row as fields and values."""
    identity = Identity(row.app_id, row.tenant_id, row.handle, row.user_id, row.nonce, row.created_at)
    moving = Moving(row.generation, row.previous, row.refreshed_at, row.user_agent, row.address)
    return [
        *("i", _encode(identity)),
        *("l", row.line),
        *("m", _encode(moving)),
        *("u", "" if row.used_at is None else row.used_at),
        *("x", row.expires_at),
        *("a", row.absolute_expires_at),
        *("p", row.jwt_payload),
        *("d", row.session_data),
    ]


def write_step(step: LineStep) -> list[object]:
    """What an advance writes, as fields and values."""
    moving = Moving(step.generation, step.previous, step.refreshed_at, step.user_agent, step.address)
    used_at = "" if step.used_at is None else step.used_at
    return ["l", step.line, "m", _encode(moving), "u", used_at, "x", step.expires_at]


def read_session(values: list[bytes | None]) -> SessionRow | None:
    """The row of the values of :data:`FIELDS`; None where there is no session."""
    identity_, line, moving_, used_at, expires_at, absolute_expires_at, jwt_payload, session_data = values
    if identity_ is None or line is None or moving_ is None or jwt_payload is None or session_data is None:
        return None
    identity, moving = read_identity(identity_), _decode_moving(moving_)
    return SessionRow(
        app_id=identity.app_id,
        tenant_id=identity.tenant_id,
        handle=identity.handle,
        user_id=identity.user_id,
        generation=moving.generation,
        line=line,
        previous=moving.previous,
        used_at=int(used_at) if used_at else None,
        nonce=identity.nonce,
        jwt_payload=jwt_payload.decode("utf-8"),
        session_data=session_data.decode("utf-8"),
        created_at=identity.created_at,
        expires_at=int(expires_at or 0),
        absolute_expires_at=int(absolute_expires_at or 0),
        refreshed_at=moving.refreshed_at,
        user_agent=moving.user_agent,
        address=moving.address,
    )


def write_key(row: KeyRow) -> bytes:
    """A signing key as one value."""
    return _encode(row)


def read_key(value: bytes) -> KeyRow:
    """A signing key from its value."""
    return _decode_key(value)


def write_theft(event: TheftEvent) -> bytes:
    """A theft as one value."""
    return _encode(event)


def read_theft(value: bytes) -> TheftEvent:
    """A theft from its value."""
    return _decode_theft(value)


def write_ending(identity: Identity, cause: Cause) -> bytes:
    """The ending of a session as one value. A change goes without the payload's digest: the log and the session are in
    two slots, so that of two changes at once the one that is told last need not be the one that counts."""
    ending = Ending(
        identity.handle, identity.user_id, identity.tenant_id, cause.kind, cause.happened_at, cause.forget_at
    )
    return _encode(ending)


def read_ending(value: bytes) -> Ending:
    """An ending from its value."""
    return _decode_ending(value)
