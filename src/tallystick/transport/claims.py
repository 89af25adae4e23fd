"""What a request's session does with claims where the store is needed, once for adapters that wait and once for those
that await."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from tallystick.aio import AsyncSessions
from tallystick.protocol.claims import SessionClaim, SessionClaimValidator
from tallystick.sessions import Sessions
from tallystick.transport.exchange import Exchange
from tallystick.transport.session import Held, SessionContent, gone
from tallystick.transport.tokens import Method
from tallystick.types import SessionInfo

V = TypeVar("V")


def ignore_claims(_validators: Sequence[SessionClaimValidator], _session: SessionInfo) -> list[SessionClaimValidator]:
    """An override that leaves no validator: claims never stand in the way of a sign-out (spec/fdi.md 2.6)."""
    return []


class Claims(SessionContent):
    """For synchronous adapters. All raise :class:`Unauthorised` where the session has ended meanwhile. Where the
    payload changes, the response carries a token that shows it."""

    def __init__(self, sessions: Sessions, exchange: Exchange, method: Method, held: Held) -> None:
        super().__init__(exchange, method, held)
        self._sessions = sessions

    def fetch_and_set_claim(self, claim: SessionClaim[Any]) -> None:
        """Fetch a claim and put it into the payload."""
        with self._noted():
            self._show(self._sessions.fetch_and_set_claim(self.get_handle(), claim))

    def set_claim_value(self, claim: SessionClaim[V], value: V) -> None:
        """Put a claim's value into the payload."""
        with self._noted():
            self._show(self._sessions.set_claim_value(self.get_handle(), claim, value))

    def remove_claim(self, claim: SessionClaim[Any]) -> None:
        """Take a claim out of the payload."""
        with self._noted():
            self._show(self._sessions.remove_claim(self.get_handle(), claim))

    def assert_claims(self, validators: Sequence[SessionClaimValidator]) -> None:
        """Check claims, after those that are missing or too old were fetched. Raises :class:`InvalidClaims`."""
        with self._noted():
            self._take_found(self._sessions.assert_claims(self._found(), self.get_access_token(), validators))

    def _show(self, was_there: bool) -> None:
        if not was_there:
            raise gone()
        self._take(self._sessions.regenerate_access_token(self.get_access_token()))


class AsyncClaims(SessionContent):
    """For asynchronous adapters: the same, awaited."""

    def __init__(self, sessions: AsyncSessions, exchange: Exchange, method: Method, held: Held) -> None:
        super().__init__(exchange, method, held)
        self._sessions = sessions

    async def fetch_and_set_claim(self, claim: SessionClaim[Any]) -> None:
        """Fetch a claim and put it into the payload."""
        with self._noted():
            await self._show(await self._sessions.fetch_and_set_claim(self.get_handle(), claim))

    async def set_claim_value(self, claim: SessionClaim[V], value: V) -> None:
        """Put a claim's value into the payload."""
        with self._noted():
            await self._show(await self._sessions.set_claim_value(self.get_handle(), claim, value))

    async def remove_claim(self, claim: SessionClaim[Any]) -> None:
        """Take a claim out of the payload."""
        with self._noted():
            await self._show(await self._sessions.remove_claim(self.get_handle(), claim))

    async def assert_claims(self, validators: Sequence[SessionClaimValidator]) -> None:
        """Check claims, after those that are missing or too old were fetched. Raises :class:`InvalidClaims`."""
        with self._noted():
            found = await self._sessions.assert_claims(self._found(), self.get_access_token(), validators)
            self._take_found(found)

    async def _show(self, was_there: bool) -> None:
        if not was_there:
            raise gone()
        self._take(await self._sessions.regenerate_access_token(self.get_access_token()))
