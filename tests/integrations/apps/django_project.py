"""A Django project, made anew for each plan: settings, handlers, middleware of the app's own."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import django
from asgiref.sync import iscoroutinefunction
from django.apps import apps
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.test.utils import override_settings
from django.utils.decorators import sync_and_async_middleware

from tallystick import SessionError
from tallystick.integrations.django import get_all_cors_headers
from tallystick.storage.memory import AsyncMemoryStore, MemoryStore
from tests.integrations.asgi import AsgiClient
from tests.integrations.plan import WEBSITE, Plan
from tests.integrations.wsgi import WsgiClient

OURS = "tallystick.integrations.django.SessionMiddleware"
HERE = "tests.integrations.apps.django_project"


def set_up() -> None:
    """Once in a process; what a plan asks for comes on top."""
    if not settings.configured:
        settings.configure(
            SECRET_KEY="not of importance",
            ALLOWED_HOSTS=["api.test"],
            INSTALLED_APPS=["corsheaders", "rest_framework", "tallystick.integrations.django"],
            CORS_ALLOWED_ORIGINS=[WEBSITE],
            CORS_ALLOW_CREDENTIALS=True,
            CORS_ALLOW_HEADERS=["content-type", *get_all_cors_headers()],
            REST_FRAMEWORK={
                "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
                "UNAUTHENTICATED_USER": None,
            },
            LOGGING_CONFIG=None,
            TALLYSTICK={"URL": "memory://"},
        )
        django.setup()


@contextmanager
def project(plan: Plan, urls: str, **more: Any) -> Iterator[None]:
    """The settings of a plan."""
    set_up()
    middleware = ["corsheaders.middleware.CorsMiddleware"] if plan.has_cors else []
    middleware.append(OURS)
    if plan.has_own_middleware:
        middleware.append(f"{HERE}.mark")
    if plan.has_own_handler:
        middleware.append(f"{HERE}.AnswerMyself")
    arguments = {name.upper(): value for name, value in plan.arguments.items()}
    chosen = {"ROOT_URLCONF": urls, "MIDDLEWARE": middleware, "TALLYSTICK": {"URL": plan.url, **arguments}, **more}
    with override_settings(**chosen):
        yield


@contextmanager
def open_wsgi(plan: Plan, urls: str, **more: Any) -> Iterator[WsgiClient]:
    with project(plan, urls, **more):
        handler = WSGIHandler()
        sessions: Any = apps.get_app_config("tallystick").sessions  # type: ignore[attr-defined]
        with sessions:
            yield WsgiClient(handler, scheme=plan.scheme, root_path=plan.root_path)


@contextmanager
def open_asgi(plan: Plan, urls: str, **more: Any) -> Iterator[AsgiClient]:
    url = AsyncMemoryStore(plan.url) if isinstance(plan.url, MemoryStore) else plan.url
    with project(Plan(**{**vars(plan), "url": url}), urls, **more), asyncio.Runner() as runner:
        handler = ASGIHandler()
        sessions: Any = apps.get_app_config("tallystick").async_sessions  # type: ignore[attr-defined]
        yield AsgiClient(handler, runner, scheme=plan.scheme, root_path=plan.root_path)
        runner.run(sessions.close())


@sync_and_async_middleware
def mark(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    if iscoroutinefunction(get_response):

        async def marked_async(request: HttpRequest) -> HttpResponse:
            response: HttpResponse = await get_response(request)
            response["x-app"] = "was here"
            return response

        return marked_async
    return sync_only_mark(get_response)


def sync_only_mark(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    def marked(request: HttpRequest) -> HttpResponse:
        response: HttpResponse = get_response(request)
        response["x-app"] = "was here"
        return response

    return marked


class AnswerMyself:
    sync_capable = async_capable = True

    def __new__(cls, get_response: Any) -> Any:
        get_response.process_exception = cls.process_exception
        return get_response

    @staticmethod
    def process_exception(_request: HttpRequest, exception: Exception) -> HttpResponse | None:
        return JsonResponse({"message": "mine"}, status=401) if isinstance(exception, SessionError) else None
