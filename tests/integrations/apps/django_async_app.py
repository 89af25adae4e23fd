"""Django under ASGI: coroutine functions, and a plain one that Django runs in a thread."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from typing import Any

from django.apps import apps
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path

from tallystick.integrations.django import verify_session
from tallystick.integrations.django.aio import create_new_session
from tests.integrations.apps.django_app import by_method, respond, sync
from tests.integrations.apps.django_project import open_asgi
from tests.integrations.asgi import AsgiClient
from tests.integrations.plan import CHUNKS, EXPOSING, Plan, show, show_user


class DjangoAsgiApp:
    name = "django-asgi"

    def open(self, plan: Plan) -> AbstractContextManager[AsgiClient]:
        return open_asgi(plan, __name__)


def by_method_async(**views: Callable[..., Any]) -> Callable[..., Any]:
    async def view(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        found = by_method(**views)(request, *args, **kwargs)
        return found if isinstance(found, HttpResponse) else await found

    return view


async def login(request: HttpRequest, user: str) -> HttpResponse:
    payload = json.loads(request.body) if request.body else None
    session = await create_new_session(request, user, payload, {"cart": []})
    return respond({"handle": session.get_handle()})


async def login_and_refuse(request: HttpRequest, user: str) -> HttpResponse:
    await create_new_session(request, user)
    return HttpResponse(status=418)


async def login_and_crash(request: HttpRequest, user: str) -> HttpResponse:
    await create_new_session(request, user)
    raise ZeroDivisionError


async def me(request: Any) -> HttpResponse:
    return respond(show(request.tallystick))


async def optional(request: Any) -> HttpResponse:
    return respond(show_user(request.tallystick))


async def none(request: Any) -> HttpResponse:
    assert request.tallystick is None
    return respond({"hello": "world"})


async def get_data(request: Any) -> HttpResponse:
    return respond(await request.tallystick.get_session_data_from_database())


async def set_data(request: Any) -> HttpResponse:
    await request.tallystick.update_session_data_in_database(json.loads(request.body))
    return respond({})


async def times(request: Any) -> HttpResponse:
    session = request.tallystick
    return respond({"created": await session.get_time_created(), "expiry": await session.get_expiry()})


async def payload(request: Any) -> HttpResponse:
    await request.tallystick.merge_into_access_token_payload(json.loads(request.body))
    return respond(request.tallystick.get_jwt_payload())


async def revoke(request: Any) -> HttpResponse:
    await request.tallystick.revoke_session()
    return respond({})


async def elsewhere(_request: HttpRequest, handle: str) -> HttpResponse:
    app: Any = apps.get_app_config("tallystick")
    return respond({"revoked": await app.async_sessions.revoke_session(handle)})


async def stream(_request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(_three_chunks())


async def _three_chunks() -> AsyncIterator[bytes]:
    for chunk in CHUNKS:
        yield chunk


async def exposing(request: Any) -> HttpResponse:
    return respond(show(request.tallystick), headers=EXPOSING)


required = verify_session()

urlpatterns = [
    path("login/<user>", by_method_async(POST=login)),
    path("login-and-refuse/<user>", by_method_async(POST=login_and_refuse)),
    path("login-and-crash/<user>", by_method_async(POST=login_and_crash)),
    path("me", by_method_async(GET=required(me), POST=required(me))),
    path("strict", by_method_async(OPTIONS=required(me))),
    path(
        "optional",
        by_method_async(**dict.fromkeys(["GET", "OPTIONS"], verify_session(session_required=False)(optional))),
    ),
    path("sync", sync),
    path("database", verify_session(check_database=True)(me)),
    path("trusting", verify_session(on_feed_silence="accept")(me)),
    path("checked", verify_session(anti_csrf_check=True)(me)),
    path("unchecked", by_method_async(POST=verify_session(anti_csrf_check=False)(me))),
    path("none", none),
    path("data", by_method_async(GET=required(get_data), POST=required(set_data))),
    path("times", required(times)),
    path("payload", by_method_async(POST=required(payload))),
    path("revoke", by_method_async(POST=required(revoke))),
    path("elsewhere/<handle>", by_method_async(POST=elsewhere)),
    path("stream", required(stream)),
    path("exposing", required(exposing)),
]
