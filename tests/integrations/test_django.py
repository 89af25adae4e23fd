"""What is Django's alone: views of all kinds under both kinds of server, and what else is in MIDDLEWARE."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.test import Client as DjangoClient
from django.test import RequestFactory
from django.test.utils import override_settings
from django.urls import path
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from tallystick import GeneralError
from tallystick.integrations import asgi
from tallystick.integrations import django as integration
from tallystick.integrations.django import aio, create_new_session, get_session, verify_session
from tallystick.integrations.django.requests import attached_to
from tallystick.testing import FakeClock
from tallystick.transport.changes import Changes
from tallystick.transport.cookies import Cookie
from tests.integrations.apps import django_app, django_async_app
from tests.integrations.apps.django_project import HERE, OURS, open_asgi, open_wsgi, project, set_up
from tests.integrations.browser import Browser
from tests.integrations.plan import Plan
from tests.integrations.wsgi import WsgiClient

JSON = [("content-type", "application/json")]
HEADER_MODE = [("st-auth-mode", "header")]

set_up()


@pytest.fixture
def open_project(tmp_path: Any) -> Any:
    """Open a project: ``open_project(open_wsgi, urls, MIDDLEWARE=[...])``."""
    with ExitStack() as stack:

        def start(opener: Callable[..., Any], urls: Any, plan: dict[str, Any] | None = None, **more: Any) -> Any:
            made = Plan(**{"url": f"sqlite:///{tmp_path}/sessions.sqlite", "clock": FakeClock(), **(plan or {})})
            return stack.enter_context(opener(made, urls, **more))

        yield start


def login(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"handle": create_new_session(request, "ada").get_handle()})


def me(request: Any) -> HttpResponse:
    return JsonResponse({"user": request.tallystick.get_user_id()})


async def me_async(request: Any) -> HttpResponse:
    assert isinstance(request.tallystick, asgi.Session)
    return JsonResponse({"user": request.tallystick.get_user_id()})


@method_decorator(verify_session(), name="dispatch")
class Page(View):
    def get(self, request: HttpRequest) -> HttpResponse:
        return me(request)


class PageOfMethods(View):
    @method_decorator(verify_session())
    def get(self, request: HttpRequest) -> HttpResponse:
        return me(request)


@method_decorator(verify_session(), name="dispatch")
class AsyncPage(View):
    async def get(self, request: HttpRequest) -> HttpResponse:
        return await me_async(request)


class AsyncPageOfMethods(View):
    @method_decorator(verify_session())
    async def get(self, request: HttpRequest) -> HttpResponse:
        return await me_async(request)


URLS = (
    path("login", login),
    path("function", verify_session()(me)),
    path("async-function", verify_session()(me_async)),
    path("class", Page.as_view()),
    path("methods", PageOfMethods.as_view()),
    path("async-class", AsyncPage.as_view()),
    path("async-methods", AsyncPageOfMethods.as_view()),
    path("exempt", csrf_exempt(verify_session()(me))),
)
VIEWS = ["function", "async-function", "class", "methods", "async-class", "async-methods"]
SERVERS = pytest.mark.parametrize("server", [open_wsgi, open_asgi], ids=["wsgi", "asgi"])


def bearer_of(client: Any) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {client.send('GET', '/login', HEADER_MODE).header('st-access-token')}")]


@SERVERS
@pytest.mark.parametrize("view", VIEWS)
def test_views_of_every_kind_get_their_session_under_both_kinds_of_server(open_project: Any, server: Any, view: str):
    client = open_project(server, URLS)
    refused = client.send("GET", f"/{view}", [])
    assert (refused.status, refused.json) == (401, {"message": "unauthorised"})
    assert client.send("GET", f"/{view}", bearer_of(client)).json == {"user": "ada"}


def go_through_a_session(browser: Browser) -> None:
    handle = browser.sign_in("ada").json["handle"]
    assert browser.refresh().status == 200
    replaced = browser.get("/me")
    assert (replaced.json["handle"], set(replaced.cookies)) == (handle, {"sAccessToken"})
    assert browser.send("POST", "/data", JSON, b'{"cart":["tea"]}').status == 200
    assert browser.get("/data").json == {"cart": ["tea"]}
    assert browser.send("POST", "/payload", JSON, b'{"role":"admin"}').json == {"role": "admin"}
    assert browser.get("/database").json["payload"] == {"role": "admin"}
    before = browser.copy()
    assert browser.post("/revoke").clears_cookies
    assert before.get("/database").clears_everything
    assert browser.sign_in("bob").cookies
    assert browser.sign_out().clears_cookies
    assert browser.get("/me").status == 401


@pytest.mark.parametrize(
    ("server", "views", "below"),
    [
        (open_asgi, django_app, []),
        (open_wsgi, django_async_app, []),
        # Django runs everything above a middleware that knows no async in a thread, ours too.
        (open_asgi, django_async_app, [f"{HERE}.sync_only_mark"]),
        (open_asgi, django_app, [f"{HERE}.sync_only_mark"]),
    ],
    ids=["sync views, ASGI", "async views, WSGI", "async views below a sync middleware", "sync views below it"],
)
def test_whatever_is_mixed_a_session_works(open_project: Any, server: Any, views: Any, below: list[str]):
    client = open_project(server, views.__name__, MIDDLEWARE=[OURS, *below])
    go_through_a_session(Browser(client, FakeClock()))


def test_django_s_own_test_client_stays_signed_in_by_its_cookie_jar(open_project: Any):
    open_project(open_wsgi, URLS, ALLOWED_HOSTS=["testserver"])
    client = DjangoClient(headers={"st-auth-mode": "cookie", "rid": "anti-csrf"})
    client.get("/login")
    cookie = client.cookies["sRefreshToken"]
    assert (cookie["path"], cookie["httponly"], cookie["samesite"]) == ("/auth/session/refresh", True, "Lax")
    assert client.get("/function").json() == {"user": "ada"}
    assert client.post("/auth/session/refresh").status_code == 200
    assert client.get("/function").json() == {"user": "ada"}
    assert client.post("/auth/signout").json() == {"status": "OK"}
    assert client.get("/function").status_code == 401


# Beside us in MIDDLEWARE

CSRF = "django.middleware.csrf.CsrfViewMiddleware"
SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"


@SERVERS
@pytest.mark.parametrize("order", [[CSRF, OURS], [OURS, CSRF]], ids=["below", "above"])
def test_django_s_csrf_check_stays_the_views_and_leaves_our_routes_alone(open_project: Any, server: Any, order: Any):
    client = open_project(server, URLS, MIDDLEWARE=order)
    bearer = bearer_of(client)
    assert client.send("POST", "/function", bearer).status == 403
    assert client.send("POST", "/exempt", bearer).json == {"user": "ada"}
    assert client.send("POST", "/exempt", []).status == 401
    assert client.send("POST", "/auth/session/refresh", []).json == {"message": "unauthorised"}
    assert client.send("POST", "/auth/signout", bearer).status == 200


@SERVERS
@pytest.mark.parametrize("order", [[SESSIONS, OURS], [OURS, SESSIONS]], ids=["below", "above"])
def test_django_s_own_sessions_are_others(open_project: Any, server: Any, order: Any):
    def both(request: Any) -> HttpResponse:
        request.session["cart"] = ["tea"]
        create_new_session(request, "ada")
        return JsonResponse({"cart": request.session["cart"], "user": request.tallystick.get_user_id()})

    engine = {"SESSION_ENGINE": "django.contrib.sessions.backends.signed_cookies"}
    client = open_project(server, (path("both", both),), MIDDLEWARE=order, **engine)
    reply = client.send("GET", "/both", [("st-auth-mode", "cookie")])
    assert reply.json == {"cart": ["tea"], "user": "ada"}
    names = [value.partition("=")[0] for name, value in reply.headers if name == "set-cookie"]
    assert sorted(names) == ["sAccessToken", "sRefreshToken", "sessionid"]


def test_django_s_cache_keeps_no_response_with_tokens(open_project: Any):
    """P-61"""
    cache = "django.middleware.cache."
    middleware = [f"{cache}UpdateCacheMiddleware", OURS, f"{cache}FetchFromCacheMiddleware"]
    client = open_project(open_wsgi, URLS, MIDDLEWARE=middleware)
    first, second = (client.send("GET", "/login", HEADER_MODE) for _ in range(2))
    assert first.json != second.json
    assert first.header("st-access-token") != second.header("st-access-token")


@SERVERS
def test_a_proxy_s_word_on_the_scheme_counts_where_the_settings_trust_it(open_project: Any, server: Any):
    client = open_project(server, URLS, SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https"))
    for scheme in ("http", "https"):
        reply = client.send("GET", "/login", [("st-auth-mode", "cookie"), ("x-forwarded-proto", scheme)])
        assert {"secure" in cookie.attributes for cookie in reply.cookies.values()} == {scheme == "https"}


@SERVERS
def test_two_cookies_of_one_name_and_several_places_are_both_sent(open_project: Any, server: Any):
    def twice(request: HttpRequest) -> HttpResponse:
        cookies = (Cookie("one", "", "/", domain, 0, False, "lax") for domain in (None, "old.test"))
        attached_to(request).exchange.add(Changes(tuple(cookies)))
        return HttpResponse()

    reply = open_project(server, (path("twice", twice),)).send("GET", "/twice", [])
    sent = [value for name, value in reply.headers if name == "set-cookie"]
    assert len(sent) == 2
    assert sum("old.test" in value for value in sent) == 1
    assert all(value.startswith("one=;") for value in sent)


# Settings


def test_a_request_without_the_middleware_is_told_how_to_add_it():
    for look in (get_session, lambda request: create_new_session(request, "ada")):
        with pytest.raises(GeneralError, match="to MIDDLEWARE") as caught:
            look(RequestFactory().get("/"))
        assert caught.value.reason == "no_middleware"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"INSTALLED_APPS": []}, 'add "tallystick.integrations.django" to INSTALLED_APPS'),
        ({"TALLYSTICK": None}, "TALLYSTICK must be a dict"),
        ({"TALLYSTICK": {"ULR": "memory://"}}, "TALLYSTICK has no 'ULR'; did you mean 'URL'?"),
    ],
)
def test_a_project_that_is_not_set_up_does_not_start(more: dict[str, Any], said: str):
    with (
        override_settings(MIDDLEWARE=[OURS], **more),
        pytest.raises(ImproperlyConfigured, match=re.escape(said)),
    ):
        WSGIHandler()


def test_a_setting_that_is_refused_stops_the_project_with_its_name():
    given = {"URL": "memory://", "GRACE": 10}
    with override_settings(MIDDLEWARE=[OURS], TALLYSTICK=given), pytest.raises(GeneralError, match="grace is 10"):
        WSGIHandler()


def test_other_settings_are_other_sessions_and_the_same_are_the_same():
    app: Any = apps.get_app_config("tallystick")
    first = app.sessions
    with project(Plan("memory://", FakeClock(), {"app_id": "other"}), URLS):
        assert app.sessions.config.app_id == "other"
        assert app.async_sessions.config.app_id == "other"
        assert app.sessions is app.sessions
    assert app.sessions.config.app_id == first.config.app_id


def test_two_projects_in_one_process_keep_their_own_settings(open_project: Any):
    strict = open_project(open_wsgi, URLS, {"settings": {"session_expired_status_code": 440}})
    plain = open_project(open_wsgi, URLS)
    assert isinstance(strict, WsgiClient)
    assert (strict.send("GET", "/function", []).status, plain.send("GET", "/function", []).status) == (440, 401)


def test_both_modules_show_the_same_names_but_for_the_middleware_and_cors():
    middleware = {"SessionMiddleware", "get_all_cors_headers", "get_cors_expose_headers"}
    assert set(aio.__all__) == set(integration.__all__) - middleware
    assert aio.verify_session is integration.verify_session


def test_a_response_that_streams_looks_at_the_session_when_the_middleware_has_done_its_part(open_project: Any):
    def stream(request: HttpRequest) -> StreamingHttpResponse:
        first = get_session(request)

        def chunks() -> Iterator[str]:
            first.update_session_data_in_database({"seen": 1})
            yield f"{get_session(request).get_user_id()} {first.get_session_data_from_database()}"

        return StreamingHttpResponse(chunks())

    client = open_project(open_wsgi, (path("login", login), path("stream", stream)))
    tokens = client.send("POST", "/login", HEADER_MODE)
    bearer = [("authorization", f"Bearer {tokens.header('st-access-token')}")]
    assert client.send("GET", "/stream", bearer).body == b"ada {'seen': 1}"
