"""What :mod:`tallystick.integrations.django` offers, for async views."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, overload

from tallystick.config import PUBLIC, FeedSilence
from tallystick.integrations.asgi import Session
from tallystick.integrations.django.decorators import verify_session
from tallystick.integrations.django.requests import attached_to, remember
from tallystick.protocol.claims import OverrideValidators

if TYPE_CHECKING:
    from django.http import HttpRequest

__all__ = ["Session", "create_new_session", "get_session", "verify_session"]


async def create_new_session(
    request: HttpRequest,
    user_id: str,
    jwt_payload: Mapping[str, Any] | None = None,
    session_data: Mapping[str, Any] | None = None,
    *,
    tenant_id: str = PUBLIC,
) -> Session:
    """Sign a user in whom the app has just authenticated. The response to ``request`` carries the tokens."""
    slot = attached_to(request).async_slot()
    return remember(request, await slot.create_new_session(user_id, jwt_payload, session_data, tenant_id))


@overload
async def get_session(
    request: HttpRequest,
    session_required: Literal[True] = True,
    anti_csrf_check: bool | None = None,
    check_database: bool = False,
    override_global_claim_validators: OverrideValidators | None = None,
    on_feed_silence: FeedSilence | None = None,
) -> Session: ...


@overload
async def get_session(
    request: HttpRequest,
    session_required: bool,
    anti_csrf_check: bool | None = None,
    check_database: bool = False,
    override_global_claim_validators: OverrideValidators | None = None,
    on_feed_silence: FeedSilence | None = None,
) -> Session | None: ...


async def get_session(
    request: HttpRequest,
    session_required: bool = True,
    anti_csrf_check: bool | None = None,
    check_database: bool = False,
    override_global_claim_validators: OverrideValidators | None = None,
    on_feed_silence: FeedSilence | None = None,
) -> Session | None:
    """See :func:`tallystick.integrations.django.get_session`."""
    slot = attached_to(request).async_slot()
    return remember(
        request,
        await slot.get_session(
            session_required, anti_csrf_check, check_database, override_global_claim_validators, on_feed_silence
        ),
    )
