"""What a session should do, told once more in a few lines and without a look at the product's code.

Written from shared/rotation.md. Tokens are objects here, times are ms, and a store's row is an attribute.
"""

from dataclasses import dataclass, field

ACCESS_LIFE, REFRESH_LIFE, ABSOLUTE_LIFE, GRACE = 60_000, 3_600_000, 5_000_500, 10_000
KEY_SIGNS, KEY_AHEAD = 7_200_000, 60_000
KEY_LIFE = KEY_SIGNS + 2 * ACCESS_LIFE


@dataclass(eq=False, repr=False)
class Key:
    """A signing key; ``secret`` is the number of the one that sealed it."""

    created_at: int
    secret: int

    def is_retired(self, now):
        return now > self.created_at + KEY_LIFE


@dataclass(eq=False, repr=False)
class Refresh:
    session: "Session"
    parent: "Refresh | None"
    secret: int

    @property
    def generation(self):
        return self.parent.generation + 1 if self.parent else 0


@dataclass(eq=False, repr=False)
class Access:
    refresh: Refresh
    expires_at: int
    payload: dict
    is_marked: bool
    key: Key


@dataclass(eq=False, repr=False)
class Session:
    handle: str
    user: str
    tenant: str
    payload: dict
    data: dict
    created_at: int
    is_gone: bool = False
    line: Refresh | None = None
    previous: Refresh | None = None
    used_at: int | None = None
    expires_at: int = field(init=False)

    def __post_init__(self):
        self.absolute = self.created_at + ABSOLUTE_LIFE
        self.expires_at = self.slide(self.created_at)

    def slide(self, now):
        return min(now + REFRESH_LIFE, self.absolute)

    def is_alive(self, now):
        return not self.is_gone and now < min(self.expires_at, self.absolute)

    def access_end(self, now):
        return min(now // 1000 * 1000 + ACCESS_LIFE, self.absolute) // 1000 * 1000


def refresh(token, now, secrets):
    """``ok``, why not, or the kind of theft."""
    session = token.session
    if token.secret not in secrets:
        return "bad_token"
    if not session.is_alive(now):
        return "no_session"
    if token is session.line:
        is_over = session.used_at is not None and now - session.used_at > GRACE
        return _theft(session, "retired") if is_over else "ok"
    if token.parent is session.line:
        session.previous, session.line, session.used_at = session.line, token, None
        session.expires_at = session.slide(now)
        return "ok"
    if token.parent is not None and token.parent is session.previous:
        return _theft(session, "sibling")
    return "ahead" if token.generation > session.line.generation else _theft(session, "ancestor")


def _theft(session, kind):
    session.is_gone = True
    return kind


def verify(access, now, check_database, secrets):
    """``(outcome, is_replaced)``."""
    if access.key.secret not in secrets or access.key.is_retired(now):
        return "unknown_key", False
    if access.expires_at < now:
        return "expired", False
    session, token = access.refresh.session, access.refresh
    if not access.is_marked and not check_database:
        return "ok", False
    if not session.is_alive(now):
        return "no_session", False
    if not access.is_marked:
        # The order of the names counts too: browsers compare payloads as text.
        return "ok", list(access.payload.items()) != list(session.payload.items())
    if token.parent is session.line and session.used_at is None:
        session.used_at, session.expires_at = now, session.slide(now)
    return "ok", session.line in (token, token.parent)


def regenerate(access, now, payload, secrets):
    """The outcome. An expired token will do as long as its key is there."""
    if access.key.secret not in secrets or access.key.is_retired(now):
        return "unknown_key"
    session = access.refresh.session
    if not session.is_alive(now):
        return "no_session"
    session.payload = session.payload if payload is None else payload
    return "ok"


def may_sign(keys, now, secrets):
    """The keys that may sign now; None where there are keys, but not one is for these secrets."""
    fresh = [key for key in keys if not key.is_retired(now)]
    readable = [key for key in fresh if key.secret in secrets]
    if fresh and not readable:
        return None
    usable = [key for key in readable if now < key.created_at + KEY_SIGNS]
    return [key for key in usable if key.created_at + KEY_AHEAD <= now] or usable
