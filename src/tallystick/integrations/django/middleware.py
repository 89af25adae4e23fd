"""The middleware: one class for both kinds of server, which Django need not wrap for either."""

from __future__ import annotations

from collections.abc import Callable, Container
from http.cookies import Morsel
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from asgiref.sync import markcoroutinefunction
from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpResponse

from tallystick.errors import SessionError
from tallystick.integrations.django.requests import Attachment, attached_to, is_async
from tallystick.transport.changes import NO_CHANGES, Changes
from tallystick.transport.cookies import Cookie
from tallystick.transport.decisions import Answer
from tallystick.transport.routes import Route, Routes

if TYPE_CHECKING:
    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

    from tallystick.integrations.django.apps import TallystickConfig

GetResponse: TypeAlias = Callable[["HttpRequest"], Any]


class SessionMiddleware:
    """Serves ``POST /auth/session/refresh``, ``POST /auth/signout`` and ``GET /auth/jwt/jwks.json`` itself, makes the
    changes to every other response that its session asks for, and answers :class:`SessionError` from a view.

    It stands below the CORS layer, so that its own answers get CORS headers too. It does not matter on which side of
    ``django.contrib.sessions`` or ``CsrfViewMiddleware`` it stands: that checks views, and its routes are none.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        self._is_async = is_async(get_response)
        if self._is_async:
            markcoroutinefunction(self)
        app = _find_app()
        self.sessions = app.async_sessions if self._is_async else app.sessions
        self.routes = Routes(self.sessions.config)
        self._attachment = Attachment(self.sessions)

    def __call__(self, request: HttpRequest) -> Any:  # noqa: ANN401 - a response, or an awaitable of it
        """Serve one request."""
        if self._is_async:
            return self._serve_async(request)
        route = self._receive(request)
        if route is None:
            response = self.get_response(request)
        else:
            attached = attached_to(request)
            try:
                response = _respond(attached.slot().hold(route(attached.exchange)))
            except SessionError as error:
                response = _respond(attached.exchange.answer(error))
        return _change(response, self._attachment.release(request))

    async def _serve_async(self, request: HttpRequest) -> HttpResponseBase:
        route = self._receive(request)
        if route is None:
            response = await self.get_response(request)
        else:
            attached = attached_to(request)
            try:
                response = _respond(await attached.async_slot().hold(route(attached.exchange)))
            except SessionError as error:
                response = _respond(attached.exchange.answer(error))
        return _change(response, self._attachment.release(request))

    def _receive(self, request: HttpRequest) -> Route | None:
        self._attachment.leave_with(request)
        is_near = self.routes.prefix in request.path_info
        return self.routes.find(attached_to(request).exchange.request) if is_near else None

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Answer what a view raised, if it is ours."""
        if isinstance(exception, SessionError):
            return _respond(attached_to(request).exchange.answer(exception))
        return None


def _find_app() -> TallystickConfig:
    try:
        return cast("TallystickConfig", apps.get_app_config("tallystick"))
    except LookupError as error:
        raise ImproperlyConfigured('add "tallystick.integrations.django" to INSTALLED_APPS') from error


def _respond(answer: Answer) -> HttpResponse:
    return HttpResponse(answer.content, status=answer.status, headers=dict(answer.all_headers))


def _change(response: HttpResponseBase, changes: Changes) -> HttpResponseBase:
    if changes is not NO_CHANGES:
        merged = changes.merge_into(response.items())
        for name in [name for name, _ in response.items()]:
            del response[name]
        for name, value in merged:
            response[name] = value
        for cookie in changes.cookies:
            # Django keeps one cookie of a name, by the key; what is sent is the morsel's own.
            key = cookie.name if cookie.name not in response.cookies else repr(cookie.place)
            response.cookies[key] = _Rendered(cookie)
    return response


class _Rendered(Morsel[str]):
    """A cookie of ours as Django keeps cookies. It is sent as we write it: before 3.14 Python knows no Partitioned."""

    def __init__(self, cookie: Cookie) -> None:
        super().__init__()
        self.set(cookie.name, cookie.value, cookie.coded_value)
        self._text = cookie.render()
        for name, value in cookie.attributes.items():
            if self.isReservedKey(name):
                self[name] = value or True

    def OutputString(self, attrs: Container[str] | None = None) -> str:  # noqa: N802 - the standard library's own
        """What stands after ``Set-Cookie:``."""
        return self._text
