"""Rows to put into stores. What a test does not name does not matter to it."""

from tallystick.types import KeyRow, LineStep, SessionRow

LINE = bytes(range(32))
CHILD = bytes(range(32, 64))
OTHER_LINE = b"\x00\xff" * 16
NOW = 1_700_000_000_000
LATER = NOW + 1000
"""When a session made here is over."""


def make_session(**changes) -> SessionRow:
    values = {
        "app_id": "public",
        "tenant_id": "public",
        "handle": "handle",
        "user_id": "user",
        "generation": 0,
        "line": LINE,
        "previous": None,
        "used_at": None,
        "nonce": b"\x00nonce, 16 bytes"[:16],
        "jwt_payload": '{"role":"admin"}',
        "session_data": "{}",
        "created_at": NOW - 1000,
        "expires_at": LATER,
        "absolute_expires_at": LATER + 1000,
    }
    return SessionRow(**(values | changes))


def make_step(**changes) -> LineStep:
    values = {"generation": 1, "line": CHILD, "previous": LINE, "used_at": None, "expires_at": LATER + 7}
    return LineStep(**(values | changes))


def make_key(sequence: int = 1, **changes) -> KeyRow:
    values = {
        "app_id": "public",
        "sequence": sequence,
        "kid": f"kid-{sequence}",
        "algorithm": "RS256",
        "created_at": NOW + sequence,
        "sealed": b"\x00sealed\xff" * 200,
    }
    return KeyRow(**(values | changes))
