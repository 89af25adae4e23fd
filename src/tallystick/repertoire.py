"""The sequences that a facade runs.

There are two sets of them: ``flows``, where sessions live in a store and the judging is done here, and ``core_flows``,
where a core does it. Both modules are such a set; type checkers see that they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from tallystick.calls import Flow
from tallystick.config import Config, FeedSilence
from tallystick.types import (
    CreatedSession,
    FoundSession,
    Json,
    RegeneratedToken,
    SessionInformation,
    TheftEvent,
)


class Deployed(Protocol):
    """What a deployment of either kind has."""

    @property
    def config(self) -> Config:
        """Its settings."""
        ...

    @property
    def clock(self) -> Callable[[], int]:
        """The present, in ms since the epoch."""
        ...


D = TypeVar("D", bound=Deployed)
"""For functions that take a set of sequences and the deployment that goes with it."""

D_contra = TypeVar("D_contra", contravariant=True)


class Repertoire(Protocol[D_contra]):
    """One set of sequences, for one kind of deployment. What each does is said in ``flows``."""

    def create(
        self,
        d: D_contra,
        user_id: object,
        jwt_payload: object,
        session_data: object,
        *,
        tenant_id: object,
        enable_anti_csrf: bool,
        client: object = None,
        replaces: object = None,
    ) -> Flow[CreatedSession]: ...

    def verify(
        self,
        d: D_contra,
        access_token: object,
        anti_csrf_token: object,
        id_refresh_token: object,
        *,
        do_anti_csrf_check: bool,
        check_database: bool,
        on_feed_silence: FeedSilence | None = None,
    ) -> Flow[FoundSession]: ...

    def verify_alone(
        self,
        d: D_contra,
        access_token: object,
        anti_csrf_token: object,
        id_refresh_token: object,
        do_anti_csrf_check: bool,
    ) -> FoundSession | None: ...

    def refresh(
        self,
        d: D_contra,
        refresh_token: object,
        anti_csrf_token: object,
        *,
        enable_anti_csrf: bool | None = None,
        client: object = None,
    ) -> Flow[CreatedSession]: ...

    def list_thefts(self, d: D_contra, user_id: object, limit: object) -> Flow[list[TheftEvent]]: ...

    def revoke(self, d: D_contra, handles: object) -> Flow[list[str]]: ...

    def revoke_user(self, d: D_contra, user_id: object, tenant_id: object) -> Flow[list[str]]: ...

    def list_user(self, d: D_contra, user_id: object, tenant_id: object) -> Flow[list[str]]: ...

    def purge(self, d: D_contra) -> Flow[int]: ...

    def load(self, d: D_contra, handle: object) -> Flow[SessionInformation | None]: ...

    def update_data(self, d: D_contra, handle: object, data: object) -> Flow[bool]: ...

    def update_payload(self, d: D_contra, handle: object, payload: object) -> Flow[bool]: ...

    def merge_payload(self, d: D_contra, handle: object, update: object, *, tells: bool = True) -> Flow[bool]: ...

    def regenerate(self, d: D_contra, access_token: object, jwt_payload: object) -> Flow[RegeneratedToken]: ...

    def jwks(self, d: D_contra) -> Flow[Json]: ...

    def prepare(self, d: D_contra) -> Flow[None]: ...

    def running(self, d: D_contra) -> object:
        """What goes on beside everything else, as the driver has answered; None for nothing."""
        ...
