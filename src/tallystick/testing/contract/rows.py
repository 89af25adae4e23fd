"""Rows to put into stores. What a test does not name does not matter to it."""

from __future__ import annotations

from typing import Any

from tallystick.types import Cause, KeyRow, LineStep, SessionRow, TheftEvent

LINE = bytes(range(32))
CHILD = bytes(range(32, 64))
OTHER_LINE = b"\x00\xff" * 16
NOW = 1_700_000_000_000
LATER = NOW + 1000
"""When a session made here is over."""
CAUSE = Cause("revoked", NOW, LATER)


def make_session(**changes: Any) -> SessionRow:
    values: dict[str, Any] = {
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
        "refreshed_at": NOW - 1000,
        "user_agent": "a browser",
        "address": "192.0.2.1",
    }
    return SessionRow(**(values | changes))


def make_step(**changes: Any) -> LineStep:
    values: dict[str, Any] = {
        "generation": 1,
        "line": CHILD,
        "previous": LINE,
        "used_at": None,
        "expires_at": LATER + 7,
        "refreshed_at": NOW,
        "user_agent": "another browser",
        "address": "2001:db8::1",
    }
    return LineStep(**(values | changes))


def make_theft(**changes: Any) -> TheftEvent:
    values: dict[str, Any] = {
        "app_id": "public",
        "tenant_id": "public",
        "session_handle": "handle",
        "user_id": "user",
        "kind": "sibling",
        "presented_generation": 3,
        "line_generation": 4,
        "detected_at": NOW,
        "presenter_user_agent": "a browser, ünknown",
        "presenter_address": "192.0.2.2",
        "holder_user_agent": None,
        "holder_address": None,
    }
    return TheftEvent(**(values | changes))


def make_key(sequence: int = 1, **changes: Any) -> KeyRow:
    values: dict[str, Any] = {
        "app_id": "public",
        "sequence": sequence,
        "kid": f"kid-{sequence}",
        "algorithm": "RS256",
        "created_at": NOW + sequence,
        "sealed": b"\x00sealed\xff" * 200,
    }
    return KeyRow(**(values | changes))
