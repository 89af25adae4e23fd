"""Django under WSGI: plain functions."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from django.apps import apps
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path

from tallystick.integrations.django import create_new_session, get_session, verify_session
from tests.integrations.apps.django_project import open_wsgi
from tests.integrations.plan import CHUNKS, EXPOSING, Plan, show, show_user
from tests.integrations.wsgi import WsgiClient


class DjangoWsgiApp:
    name = "django-wsgi"

    def open(self, plan: Plan) -> AbstractContextManager[WsgiClient]:
        return open_wsgi(plan, __name__)


def respond(answer: Any, **more: Any) -> HttpResponse:
    return JsonResponse(answer, json_dumps_params={"separators": (",", ":")}, **more)


def by_method(**views: Callable[..., Any]) -> Callable[..., Any]:
    """Several views at one path."""

    def view(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        found = views.get("GET" if request.method == "HEAD" else str(request.method))
        return HttpResponse(status=405) if found is None else found(request, *args, **kwargs)

    return view


def login(request: HttpRequest, user: str) -> HttpResponse:
    payload = json.loads(request.body) if request.body else None
    return respond({"handle": create_new_session(request, user, payload, {"cart": []}).get_handle()})


def login_and_refuse(request: HttpRequest, user: str) -> HttpResponse:
    create_new_session(request, user)
    return HttpResponse(status=418)


def login_and_crash(request: HttpRequest, user: str) -> HttpResponse:
    create_new_session(request, user)
    raise ZeroDivisionError


def me(request: Any) -> HttpResponse:
    return respond(show(request.tallystick))


def optional(request: Any) -> HttpResponse:
    return respond(show_user(request.tallystick))


def sync(request: HttpRequest) -> HttpResponse:
    return respond(show(get_session(request)))


def none(request: Any) -> HttpResponse:
    assert request.tallystick is None
    return respond({"hello": "world"})


def get_data(request: Any) -> HttpResponse:
    return respond(request.tallystick.get_session_data_from_database())


def set_data(request: Any) -> HttpResponse:
    request.tallystick.update_session_data_in_database(json.loads(request.body))
    return respond({})


def times(request: Any) -> HttpResponse:
    return respond({"created": request.tallystick.get_time_created(), "expiry": request.tallystick.get_expiry()})


def payload(request: Any) -> HttpResponse:
    request.tallystick.merge_into_access_token_payload(json.loads(request.body))
    return respond(request.tallystick.get_jwt_payload())


def revoke(request: Any) -> HttpResponse:
    request.tallystick.revoke_session()
    return respond({})


def elsewhere(_request: HttpRequest, handle: str) -> HttpResponse:
    sessions: Any = apps.get_app_config("tallystick")
    return respond({"revoked": sessions.sessions.revoke_session(handle)})


def stream(_request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(iter(CHUNKS))


def exposing(request: Any) -> HttpResponse:
    return respond(show(request.tallystick), headers=EXPOSING)


required = verify_session()

urlpatterns = [
    path("login/<user>", by_method(POST=login)),
    path("login-and-refuse/<user>", by_method(POST=login_and_refuse)),
    path("login-and-crash/<user>", by_method(POST=login_and_crash)),
    path("me", by_method(GET=required(me), POST=required(me))),
    path("strict", by_method(OPTIONS=required(me))),
    path("optional", by_method(**dict.fromkeys(["GET", "OPTIONS"], verify_session(session_required=False)(optional)))),
    path("sync", sync),
    path("database", verify_session(check_database=True)(me)),
    path("trusting", verify_session(on_feed_silence="accept")(me)),
    path("checked", verify_session(anti_csrf_check=True)(me)),
    path("unchecked", by_method(POST=verify_session(anti_csrf_check=False)(me))),
    path("none", none),
    path("data", by_method(GET=required(get_data), POST=required(set_data))),
    path("times", required(times)),
    path("payload", by_method(POST=required(payload))),
    path("revoke", by_method(POST=required(revoke))),
    path("elsewhere/<handle>", by_method(POST=elsewhere)),
    path("stream", required(stream)),
    path("exposing", required(exposing)),
]
