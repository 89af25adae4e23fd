"""What a session should do, told once more in a few lines and without a look at the product's code.

Written from shared/rotation.md. Tokens are objects here, times are ms, and a store's row is an attribute.
"""

from dataclasses import dataclass, field

ACCESS_LIFE, REFRESH_LIFE, ABSOLUTE_LIFE, GRACE = 60_000, 3_600_000, 10_800_000, 10_000


@dataclass(eq=False)
class Refresh:
    session: "Session"
    parent: "Refresh | None"


@dataclass(eq=False)
class Access:
    refresh: Refresh
    expires_at: int
    payload: dict
    is_marked: bool


@dataclass(eq=False)
class Session:
    handle: str
    user: str
    tenant: str
    payload: dict
    data: dict
    created_at: int
    is_gone: bool = False
    previous: Refresh | None = None
    used_at: int | None = None
    line: Refresh = field(init=False)
    expires_at: int = field(init=False)

    def __post_init__(self):
        self.line = Refresh(self, None)
        self.absolute = self.created_at + ABSOLUTE_LIFE
        self.slide(self.created_at)

    def slide(self, now):
        self.expires_at = min(now + REFRESH_LIFE, self.absolute)

    def is_alive(self, now):
        return not self.is_gone and now < min(self.expires_at, self.absolute)

    def issue(self, refresh, now, is_marked):
        end = min(now // 1000 * 1000 + ACCESS_LIFE, self.absolute)
        return Access(refresh, end // 1000 * 1000, dict(self.payload), is_marked)


def refresh(token, now):
    """``(outcome, child)``: ok, no_session, or the kind of theft."""
    session = token.session
    if not session.is_alive(now):
        return "no_session", None
    if token is session.line:
        if session.used_at is not None and now - session.used_at > GRACE:
            return _theft(session, "retired")
    elif token.parent is session.line:
        session.previous, session.line, session.used_at = session.line, token, None
        session.slide(now)
    else:
        is_sibling = token.parent is not None and token.parent is session.previous
        return _theft(session, "sibling" if is_sibling else "ancestor")
    return "ok", Refresh(session, token)


def _theft(session, kind):
    session.is_gone = True
    return kind, None


def verify(access, now, check_database):
    """``(outcome, replacement)``: ok, expired or no_session."""
    if access.expires_at < now:
        return "expired", None
    session, token = access.refresh.session, access.refresh
    if not access.is_marked and not check_database:
        return "ok", None
    if not session.is_alive(now):
        return "no_session", None
    if access.is_marked:
        if token.parent is session.line and session.used_at is None:
            session.used_at = now
            session.slide(now)
        is_replaced = token.parent is session.line or token is session.line
    else:
        is_replaced = access.payload != session.payload
    return "ok", session.issue(token, now, False) if is_replaced else None
