"""Django and Django REST framework: bare, with Tallystick, and with what else there is for them. See apps_asgi.py.

One process has one Django, so a builder can be called once.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

from apps_asgi import _rsa_pair, _sign_in_to
from apps_wsgi import sign_in_to
from calling import PATH, PLAIN, AsgiCaller, Headers, WsgiCaller
from subject import PAYLOAD, SECRET, Subject, bearer, cookie, sign_in_nobody

OURS = "tallystick.integrations.django"


def django_wsgi_bare() -> Subject:
    """The framework with `CommonMiddleware` alone."""
    _configure()
    return Subject(WsgiCaller(_open(lambda _request: "nobody")), sign_in_nobody)


def django_wsgi_tallystick(url: Any = "memory://") -> Subject:
    """`SessionMiddleware` and `get_session(request)`; the access token in its cookie."""
    _configure(f"{OURS}.SessionMiddleware", INSTALLED_APPS=[OURS], TALLYSTICK=_tallystick(url))
    from tallystick.integrations.django import get_session  # noqa: PLC0415

    app = _open(lambda request: get_session(request).get_user_id())
    return Subject(WsgiCaller(app), sign_in_to(_find_app().sessions.open()))


def django_wsgi_database() -> Subject:
    """`django.contrib.sessions`, backend `db` (its default) on SQLite, and `request.session["user"]`."""
    return _django_sessions("db")


def django_wsgi_cache() -> Subject:
    """The same, backend `cache` on `LocMemCache`: for one process only, and nothing faster is documented."""
    return _django_sessions("cache")


def django_wsgi_signed_cookies() -> Subject:
    """The same, backend `signed_cookies`: the session whole in a signed cookie. No revocation, no rotation."""
    return _django_sessions("signed_cookies")


def django_asgi_bare() -> Subject:
    """The framework with `CommonMiddleware` alone; async views."""
    _configure()

    async def user_of(_request: Any) -> str:
        return "nobody"

    return Subject(AsgiCaller(_open(user_of, is_async=True)), sign_in_nobody)


def django_asgi_tallystick(url: Any = "memory://") -> Subject:
    """`SessionMiddleware` and `await aio.get_session(request)`; the access token in its cookie."""
    _configure(f"{OURS}.SessionMiddleware", INSTALLED_APPS=[OURS], TALLYSTICK=_tallystick(url))
    from tallystick.integrations.django import aio  # noqa: PLC0415

    async def user_of(request: Any) -> str:
        return (await aio.get_session(request)).get_user_id()

    app, sessions = _open(user_of, is_async=True), _find_app().async_sessions
    asyncio.run(sessions.open())
    return Subject(AsgiCaller(app), _sign_in_to(sessions))


def drf_bare() -> Subject:
    """An `APIView` without authentication."""
    _configure(**_drf())
    return Subject(WsgiCaller(_open_drf([], lambda _request: "nobody")), sign_in_nobody)


def drf_tallystick(url: Any = "memory://") -> Subject:
    """`TallystickAuthentication` and `HasSession`; the access token in its cookie."""
    _configure(f"{OURS}.SessionMiddleware", **_drf(OURS), TALLYSTICK=_tallystick(url))
    from tallystick.integrations.drf import HasSession, TallystickAuthentication  # noqa: PLC0415

    app = _open_drf([TallystickAuthentication], lambda request: request.user.pk, [HasSession])
    return Subject(WsgiCaller(app), sign_in_to(_find_app().sessions.open()))


def drf_simplejwt() -> Subject:
    """`JWTAuthentication` with RS256: it loads the user at each request, from SQLite here."""
    return _simplejwt(is_stateless=False)


def drf_simplejwt_stateless() -> Subject:
    """`JWTStatelessUserAuthentication` with RS256: the user is what the token says."""
    return _simplejwt(is_stateless=True)


SUBJECTS: dict[str, Callable[..., Subject]] = {
    made.__name__: made
    for made in (
        django_wsgi_bare,
        django_wsgi_tallystick,
        django_wsgi_database,
        django_wsgi_cache,
        django_wsgi_signed_cookies,
        django_asgi_bare,
        django_asgi_tallystick,
        drf_bare,
        drf_tallystick,
        drf_simplejwt,
        drf_simplejwt_stateless,
    )
}


def _configure(*middleware: str, **more: Any) -> None:
    import django  # noqa: PLC0415
    from django.conf import settings  # noqa: PLC0415

    database = Path(tempfile.mkdtemp(prefix="tallystick-bench-")) / "app.db"
    settings.configure(
        SECRET_KEY=SECRET,
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF="bench_urls",
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(database), "CONN_MAX_AGE": None}},
        LOGGING_CONFIG=None,
        # Every project has this one; without it no answer has a length, and each closes its connection.
        MIDDLEWARE=["django.middleware.common.CommonMiddleware", *middleware],
        **more,
    )
    django.setup()


def _open(user_of: Callable[[Any], Any], *, is_async: bool = False) -> Any:
    from django.core.handlers.asgi import ASGIHandler  # noqa: PLC0415
    from django.core.handlers.wsgi import WSGIHandler  # noqa: PLC0415
    from django.http import HttpRequest, JsonResponse  # noqa: PLC0415

    def me(request: HttpRequest) -> JsonResponse:
        return JsonResponse({"user": user_of(request)})

    def plain(_request: HttpRequest) -> JsonResponse:
        return JsonResponse({"user": "nobody"})

    async def me_async(request: HttpRequest) -> JsonResponse:
        return JsonResponse({"user": await user_of(request)})

    async def plain_async(_request: HttpRequest) -> JsonResponse:
        return JsonResponse({"user": "nobody"})

    _route(me_async, plain_async) if is_async else _route(me, plain)
    return ASGIHandler() if is_async else WSGIHandler()


def _route(me: Any, plain: Any) -> None:
    from django.urls import path  # noqa: PLC0415

    urls = ModuleType("bench_urls")
    urls.urlpatterns = [path(PATH[1:], me), path(PLAIN[1:], plain)]  # type: ignore[attr-defined]
    sys.modules["bench_urls"] = urls


def _tallystick(url: Any) -> dict[str, Any]:
    return {"URL": url, "SECRET": SECRET}


def _find_app() -> Any:
    from django.apps import apps  # noqa: PLC0415

    return apps.get_app_config("tallystick")


def _django_sessions(backend: str) -> Subject:
    engine = f"django.contrib.sessions.backends.{backend}"
    _configure(
        "django.contrib.sessions.middleware.SessionMiddleware",
        INSTALLED_APPS=["django.contrib.sessions"],
        SESSION_ENGINE=engine,
        CACHES={
            "default": {
                "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
                "OPTIONS": {"MAX_ENTRIES": 1_000_000},
            }
        },
    )
    from django.core.management import call_command  # noqa: PLC0415

    call_command("migrate", verbosity=0)
    made = __import__(engine, fromlist=["SessionStore"]).SessionStore

    def sign_in_one(number: int) -> Headers:
        session = made()
        session.update({**PAYLOAD, "user": f"user-{number:08}"})
        session.save()
        return cookie("sessionid", session.session_key)

    def sign_in(count: int) -> Sequence[Headers]:
        from django.db import transaction  # noqa: PLC0415

        with transaction.atomic():
            return [sign_in_one(number) for number in range(count)]

    app = _open(lambda request: request.session["user"])
    return Subject(WsgiCaller(app), sign_in, _database_size if backend == "db" else int)


def _database_size() -> int:
    from django.conf import settings  # noqa: PLC0415

    return Path(settings.DATABASES["default"]["NAME"]).stat().st_size


def _drf(*apps: str) -> dict[str, Any]:
    return {
        "INSTALLED_APPS": ["django.contrib.contenttypes", "django.contrib.auth", "rest_framework", *apps],
        "REST_FRAMEWORK": {"DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"]},
    }


def _open_drf(
    authentication: list[Any],
    user_of: Callable[[Any], str],
    permissions: Sequence[Any] = (),
    *,
    is_needed: bool = False,
) -> Any:
    from django.core.handlers.wsgi import WSGIHandler  # noqa: PLC0415
    from rest_framework.permissions import IsAuthenticated  # noqa: PLC0415
    from rest_framework.response import Response  # noqa: PLC0415
    from rest_framework.views import APIView  # noqa: PLC0415

    class Me(APIView):
        authentication_classes = authentication
        permission_classes = [IsAuthenticated] if is_needed else list(permissions)

        def get(self, request: Any) -> Response:
            return Response({"user": str(user_of(request))})

    class Plain(APIView):
        authentication_classes = ()
        permission_classes = ()

        def get(self, _request: Any) -> Response:
            return Response({"user": "nobody"})

    _route(Me.as_view(), Plain.as_view())
    return WSGIHandler()


def _simplejwt(*, is_stateless: bool) -> Subject:
    private, public = map(_pem, _rsa_pair())
    _configure(
        **_drf("rest_framework_simplejwt"),
        SIMPLE_JWT={"ALGORITHM": "RS256", "SIGNING_KEY": private, "VERIFYING_KEY": public},
    )
    from django.contrib.auth.models import User  # noqa: PLC0415
    from django.core.management import call_command  # noqa: PLC0415
    from rest_framework_simplejwt.authentication import (  # noqa: PLC0415
        JWTAuthentication,
        JWTStatelessUserAuthentication,
    )
    from rest_framework_simplejwt.tokens import AccessToken  # noqa: PLC0415

    call_command("migrate", verbosity=0)

    def sign_in(count: int) -> Sequence[Headers]:
        made = [User(username=str(uuid4())) for _ in range(count)]
        if is_stateless:  # nobody looks for the user
            for number, user in enumerate(made):
                user.pk = number
        else:
            made = User.objects.bulk_create(made)
        tokens = [AccessToken.for_user(user) for user in made]
        for token in tokens:
            token.payload.update(PAYLOAD)
        return [bearer(str(token)) for token in tokens]

    how = JWTStatelessUserAuthentication if is_stateless else JWTAuthentication
    app = _open_drf([how], lambda request: request.user.pk, is_needed=True)
    return Subject(WsgiCaller(app), sign_in)


def _pem(key: Any) -> str:
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
        Encoding,
        NoEncryption,
        PrivateFormat,
        PublicFormat,
    )

    if hasattr(key, "private_bytes"):
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
