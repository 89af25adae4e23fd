"""The asynchronous facade: the same methods, awaited. Each is the same flow, run on an asynchronous store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

from tallystick import claiming
from tallystick.calls import Flow, ask, run_async, settle_async
from tallystick.claiming import choose_verify_alone
from tallystick.config import PUBLIC, Config, FeedSilence, Settings, check_silence
from tallystick.edges import DEFAULT_URL, Secret, find_place, open_async_feed, open_async_place, report
from tallystick.errors import SessionError, TokenTheftDetected
from tallystick.feeds import AsyncFeed
from tallystick.notices import AsyncNotifier, TheftHandler
from tallystick.protocol.claims import OverrideValidators, SessionClaim, SessionClaimValidator, check_validators
from tallystick.storage.interface import AsyncSessionStore, SessionStore
from tallystick.storage.moving import AsyncMovingStore
from tallystick.telling import EndHandler, follow_endings
from tallystick.types import (
    OMITTED,
    ClaimValidationError,
    ClientInfo,
    CreatedSession,
    FoundSession,
    Json,
    Omitted,
    RegeneratedToken,
    SessionInformation,
    TheftEvent,
)

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

T = TypeVar("T")
V = TypeVar("V")


class AsyncSessions:
    """Sessions for asynchronous code. One for a process and its event loop; any number of tasks may use it.

    ``url``
        Where sessions live: ``sqlite:///file.db`` (the default is ``sqlite:///tallystick.db``), ``postgresql://...``,
        ``mysql://...``, ``mariadb://...``, ``redis://...``, ``memory://``; or the app's own SQLAlchemy ``Engine``; or a
        store of your own. Or a core that runs elsewhere, which also judges them: ``http://core:3567``, or several of
        its hosts with commas between.
    ``secret``
        At least 32 bytes, or a list of them, newest first: older ones are still accepted. By default from
        ``TALLYSTICK_SECRET``, and with an SQLite file from one beside it that is made when it is missing.
    ``migrate``
        Whether to bring the database's tables up to date. None: on SQLite yes, elsewhere no.
    ``moving_from``
        The store where sessions lived until now, while they move to ``url`` one by one; the same kinds of URLs and
        objects. See docs/how-to/move-to-another-store.md.
    ``clock``, ``entropy``
        For tests: the present in ms since the epoch, and so many random bytes.
    ``on_token_theft``
        Called once with each :class:`TheftEvent`: in a thread of its own, or, if it is a coroutine function (which only
        AsyncSessions takes), as a task. The client never waits for it, and what it raises is logged.
    ``on_session_end``
        Called with the :class:`Ending` of each session that is revoked, replaced, evicted or stolen, one after another,
        in each process that has a handler; likewise. Needs ``instant_revocation``, by which it comes.
    ``claim_validators``
        Conditions on the claims of every session, checked by :meth:`get_session`.
    ``api_key``
        Of a core, by default from ``TALLYSTICK_API_KEY``.
    ``settings``
        See :class:`tallystick.Config`.

    Raises :class:`GeneralError` where a setting, the secret or the URL does not do. The store is connected to at the
    first call, or by :meth:`open`. Every method raises :class:`GeneralError` (``store_failed``, with its cause) where
    the store is broken, and :class:`BadInput` for what a session cannot hold.
    """

    def __init__(
        self,
        url: str | AsyncEngine | AsyncSessionStore = DEFAULT_URL,
        *,
        secret: Secret | None = None,
        migrate: bool | None = None,
        moving_from: str | AsyncEngine | AsyncSessionStore | None = None,
        clock: Callable[[], int] | None = None,
        entropy: Callable[[int], bytes] | None = None,
        on_token_theft: TheftHandler | None = None,
        on_session_end: EndHandler | None = None,
        claim_validators: Sequence[SessionClaimValidator] = (),
        api_key: str | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        if moving_from is not None:
            url = AsyncMovingStore(url, moving_from, migrate=migrate)
        place = find_place(
            url,
            secret=secret,
            migrate=migrate,
            api_key=api_key,
            settings=settings,
            clock=clock,
            entropy=entropy,
        )
        self._flows, self._deployment = place.flows, place.deployment
        self._claim_validators = check_validators(claim_validators, "claim_validators")
        self._store = open_async_place(place, url, migrate)
        self._feed = open_async_feed(place, url, migrate, self._store)
        follow_endings(self._feed, on_session_end, may_be_async=True)
        self._thefts = AsyncNotifier(on_token_theft)
        self.verify_alone = choose_verify_alone(self._flows, self._deployment, self._claim_validators)
        """For :mod:`tallystick.transport`: what :meth:`get_session` gives where nobody has to be asked."""

    async def create_new_session(
        self,
        user_id: str,
        jwt_payload: Mapping[str, Any] | None = None,
        session_data: Mapping[str, Any] | None = None,
        *,
        tenant_id: str = PUBLIC,
        enable_anti_csrf: bool = False,
        client: ClientInfo | None = None,
        replaces: str | None = None,
    ) -> CreatedSession:
        """Begin a session for a user whom the app has just authenticated.

        ``jwt_payload`` goes into the access token, where the client can read it; ``session_data`` stays on the
        server. Both are JSON objects. ``client`` is kept with the session, for lists of devices and for theft events.
        ``replaces`` is the access token that the client presents, if any: its session ends, so that what somebody has
        planted or copied before the sign-in is worth nothing after it. One that is not good, but for its expiry, is
        passed over. Call it at every sign-in, never on a GET (ASVS V7.2.4, V7.6.2).

        Raises :class:`TooManySessions` where the settings say so.
        """
        return await self._run(
            self._flows.create(
                self._deployment,
                user_id,
                jwt_payload,
                session_data,
                tenant_id=tenant_id,
                enable_anti_csrf=enable_anti_csrf,
                client=client,
                replaces=replaces,
            )
        )

    async def get_session(
        self,
        access_token: str | None,
        anti_csrf_token: str | None = None,
        do_anti_csrf_check: bool = True,
        id_refresh_token: str | Omitted | None = OMITTED,
        *,
        check_database: bool = False,
        override_global_claim_validators: OverrideValidators | None = None,
        on_feed_silence: FeedSilence | None = None,
    ) -> FoundSession:
        """Verify an access token; usually without asking the store.

        If the result has an ``access_token``, the response must set it. The anti-CSRF token is checked only if the
        session was created with one. ``id_refresh_token`` None or "" means that the client has no session; omitted,
        it is not looked at. ``check_database`` asks the store whether the session still is, and for its present
        payload. Then ``claim_validators`` are checked, or those that ``override_global_claim_validators`` makes of them
        and the :class:`SessionInfo`; claims that are missing or too old are fetched first. ``on_feed_silence`` is the
        setting of that name, for this verification.

        Raises :class:`TryRefreshToken` where the token is missing, expired or not good, or the anti-CSRF check fails;
        :class:`Unauthorised` where there is no such session; :class:`InvalidClaims` where its claims do not do.
        """
        if on_feed_silence is not None:
            check_silence(on_feed_silence)
        if not (check_database or override_global_claim_validators):
            found = self.verify_alone(access_token, anti_csrf_token, id_refresh_token, do_anti_csrf_check)
            if found is not None:
                return found
        if self._feed is not None:
            await self._feed.ensure()
        verification = self._flows.verify(
            self._deployment,
            access_token,
            anti_csrf_token,
            id_refresh_token,
            do_anti_csrf_check=do_anti_csrf_check,
            check_database=check_database,
            on_feed_silence=on_feed_silence,
        )
        return await self._run(
            claiming.verify(
                self._flows,
                self._deployment,
                verification,
                access_token,
                self._claim_validators,
                override_global_claim_validators,
            )
        )

    async def refresh_session(
        self,
        refresh_token: str,
        anti_csrf_token: str | None = None,
        *,
        enable_anti_csrf: bool | None = None,
        client: ClientInfo | None = None,
    ) -> CreatedSession:
        """Exchange a refresh token for new tokens.

        With an ``anti_csrf_token``, it must be the session's; None does not check it, as in the 1.0.X interface.
        ``enable_anti_csrf`` None keeps the session as it was created; True or False changes it. ``client`` is who asks.

        Raises :class:`Unauthorised` where there is no such session or the token is not one of ours;
        :class:`TokenTheftDetected` where the token was used before by another holder: then the session is revoked.
        """
        return await self._run(
            self._flows.refresh(
                self._deployment,
                refresh_token,
                anti_csrf_token,
                enable_anti_csrf=enable_anti_csrf,
                client=client,
            )
        )

    async def revoke_session(self, handle: str) -> bool:
        """End a session. False if there was none. Access tokens that are out stay good until they expire, except with
        ``instant_revocation`` or where ``check_database`` is asked for."""
        return bool(await self._run(self._flows.revoke(self._deployment, [handle])))

    async def revoke_sessions(self, handles: Iterable[str]) -> list[str]:
        """End several sessions. The handles of those that there were, in the order given."""
        return await self._run(self._flows.revoke(self._deployment, handles))

    async def revoke_all_sessions_for_user(self, user_id: str, *, tenant_id: str | None = None) -> list[str]:
        """End all sessions of a user, in one tenant or (None) in all. The handles of those that there were."""
        return await self._run(self._flows.revoke_user(self._deployment, user_id, tenant_id))

    async def get_all_session_handles_for_user(self, user_id: str, *, tenant_id: str | None = None) -> list[str]:
        """The handles of a user's living sessions, oldest first, in one tenant or (None) in all."""
        return await self._run(self._flows.list_user(self._deployment, user_id, tenant_id))

    async def get_session_information(self, handle: str) -> SessionInformation | None:
        """What the store knows of a session; None if there is no such session."""
        return await self._run(self._flows.load(self._deployment, handle))

    async def get_session_data(self, handle: str) -> Json | None:
        """A session's data; None if there is no such session."""
        found = await self._run(self._flows.load(self._deployment, handle))
        return None if found is None else found.session_data

    async def update_session_data(self, handle: str, data: Mapping[str, Any]) -> bool:
        """Replace a session's data, whole. False if there is no such session."""
        return await self._run(self._flows.update_data(self._deployment, handle, data))

    async def get_jwt_payload(self, handle: str) -> Json | None:
        """A session's JWT payload as stored; None if there is no such session."""
        found = await self._run(self._flows.load(self._deployment, handle))
        return None if found is None else found.jwt_payload

    async def update_jwt_payload(self, handle: str, payload: Mapping[str, Any]) -> bool:
        """Replace a session's JWT payload, whole. False if there is no such session.

        The client's access token shows it after the next refresh, a :meth:`get_session` with ``check_database``, or a
        :meth:`regenerate_access_token`; with ``instant_revocation`` each :meth:`get_session` does at once.
        """
        return await self._run(self._flows.update_payload(self._deployment, handle, payload))

    async def merge_into_jwt_payload(self, handle: str, update: Mapping[str, Any]) -> bool:
        """Merge into the top level of a session's JWT payload; a null value removes a key. False if there is no such
        session. Two merges at once both take effect. When it shows: as :meth:`update_jwt_payload`."""
        return await self._run(self._flows.merge_payload(self._deployment, handle, update))

    async def regenerate_access_token(
        self, access_token: str, jwt_payload: Mapping[str, Any] | None = None
    ) -> RegeneratedToken:
        """Make the access token carry another payload at once, with its expiry unchanged; the session keeps it too.
        None for the payload takes the stored one. The result's ``access_token`` is None where the one presented has
        expired.

        Raises :class:`TryRefreshToken` for a token that is not good, :class:`Unauthorised` where there is no session.
        """
        return await self._run(self._flows.regenerate(self._deployment, access_token, jwt_payload))

    async def get_theft_events(self, user_id: str | None = None, *, limit: int = 100) -> list[TheftEvent]:
        """The latest thefts, newest first: a user's, or (None) all. At most ``limit``, 1 to 1000. A purge deletes those
        older than ``theft_retention``."""
        return await self._run(self._flows.list_thefts(self._deployment, user_id, limit))

    async def fetch_and_set_claim(self, handle: str, claim: SessionClaim[Any]) -> bool:
        """Fetch a claim and put it into a session's JWT payload. False if there is no such session. When it shows: as
        :meth:`update_jwt_payload`. What ``fetch_value`` raises passes unchanged; where it returns None, nothing
        changes."""
        return await self._run(claiming.fetch_and_set(self._flows, self._deployment, handle, claim))

    async def set_claim_value(self, handle: str, claim: SessionClaim[V], value: V) -> bool:
        """Put a claim's value into a session's JWT payload. False if there is no such session. When it shows: as
        :meth:`update_jwt_payload`. Raises :class:`BadInput` (``bad_claim_value``) for what is not of the claim's kind.
        """
        return await self._run(claiming.set_value(self._flows, self._deployment, handle, claim, value))

    async def get_claim_value(self, handle: str, claim: SessionClaim[V]) -> V | None:
        """A claim's value as stored; None if there is no such session, or it has none."""
        value: V | None = await self._run(claiming.get_value(self._flows, self._deployment, handle, claim))
        return value

    async def remove_claim(self, handle: str, claim: SessionClaim[Any]) -> bool:
        """Take a claim out of a session's JWT payload. False if there is no such session. When it shows: as
        :meth:`update_jwt_payload`."""
        return await self._run(claiming.remove(self._flows, self._deployment, handle, claim))

    async def validate_claims_for_session_handle(
        self, handle: str, override_global_claim_validators: OverrideValidators | None = None
    ) -> list[ClaimValidationError] | None:
        """What is wrong with the stored JWT payload by ``claim_validators``, or those made of them; None if there is no
        such session. Claims that are missing or too old are fetched, and stored, first."""
        return await self._run(
            claiming.validate_for_handle(
                self._flows, self._deployment, handle, self._claim_validators, override_global_claim_validators
            )
        )

    async def assert_claims(
        self, found: FoundSession, access_token: str, validators: Sequence[SessionClaimValidator]
    ) -> FoundSession:
        """Check more claims of a session that :meth:`get_session` has found in this request. ``access_token`` is what
        was presented. Claims that are missing or too old are fetched first: then the result has an ``access_token``,
        which the response must set.

        Raises :class:`InvalidClaims`; :class:`Unauthorised` where the session has ended meanwhile.
        """
        return await self._run(claiming.check(self._flows, self._deployment, found, access_token, validators))

    async def get_jwks(self) -> Json:
        """The public signing keys as a JWK Set (RFC 7517), for others who verify access tokens."""
        return await self._run(self._flows.jwks(self._deployment))

    async def purge_expired(self) -> int:
        """Delete expired sessions, retired signing keys, theft events older than ``theft_retention`` and endings that
        nobody needs any more; how many sessions there were. Run it now and then: what has expired is refused in any
        case, and only takes up room."""
        return await self._run(self._flows.purge(self._deployment))

    @property
    def feed(self) -> AsyncFeed | None:
        """The feed of endings: its ``state``, and ``listen``. None without ``instant_revocation``."""
        return self._feed

    @property
    def config(self) -> Config:
        """The settings."""
        return self._deployment.config

    async def open(self) -> Self:
        """Connect to the store, check its schema and have a signing key ready. Without it, the first call does so."""
        await self._run(ask(SessionStore.open))
        await self._run(self._flows.prepare(self._deployment))
        if self._feed is not None:
            await self._feed.ensure()
        return self

    async def close(self) -> None:
        """Let go of the store's connections. The app's own engine is left alone."""
        if self._feed is not None:
            await self._feed.close()
        await settle_async(self._flows.running(self._deployment))
        await self._store.close()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(app_id={self.config.app_id!r}, store={type(self._store).__name__})"

    async def _run(self, flow: Flow[T]) -> T:
        try:
            return await run_async(flow, self._store)
        except SessionError as error:
            report(error)
            if isinstance(error, TokenTheftDetected) and error.event is not None:
                self._thefts.notify(error.event)
            raise
