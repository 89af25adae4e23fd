"""The decorator for views of either kind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import wraps
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from tallystick.config import FeedSilence
from tallystick.integrations.django.requests import attached_to, is_async, remember
from tallystick.protocol.claims import OverrideValidators

if TYPE_CHECKING:
    from django.http import HttpRequest

View = TypeVar("View", bound=Callable[..., Any])


def verify_session(
    session_required: bool = True,
    anti_csrf_check: bool | None = None,
    check_database: bool = False,
    override_global_claim_validators: OverrideValidators | None = None,
    on_feed_silence: FeedSilence | None = None,
) -> Callable[[View], View]:
    """A decorator for views, sync and async: they run with a verified session in ``request.tallystick``; see
    :func:`get_session` for the arguments. For a class: ``@method_decorator(verify_session(), name="dispatch")``."""

    def decorate(view: View) -> View:
        async def verified_async(request: HttpRequest, *args: object, **kwargs: object) -> Any:  # noqa: ANN401
            slot = attached_to(request).async_slot()
            remember(
                request,
                await slot.get_session(
                    session_required, anti_csrf_check, check_database, override_global_claim_validators, on_feed_silence
                ),
            )
            response = view(request, *args, **kwargs)
            return await response if isawaitable(response) else response

        def verified(request: HttpRequest, *args: object, **kwargs: object) -> Any:  # noqa: ANN401
            # The dispatch of a class with async handlers is a plain function that gives a coroutine. Under ASGI it is
            # called in the event loop; under WSGI before there is one, and what it gives has not begun.
            if _is_in_event_loop():
                return verified_async(request, *args, **kwargs)
            attached = attached_to(request)
            slot = attached.slot()
            held = slot.verify(
                session_required, anti_csrf_check, check_database, override_global_claim_validators, on_feed_silence
            )
            remember(request, slot.session_of(held))
            response = view(request, *args, **kwargs)
            if isawaitable(response):
                remember(request, attached.async_slot().session_of(held))
            return response

        return cast("View", wraps(view)(verified_async if is_async(view) else verified))

    return decorate


def _is_in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
