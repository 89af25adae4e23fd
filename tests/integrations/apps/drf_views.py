"""Django REST framework's views: classes, with our authentication and permission."""

from typing import Any

from django.apps import apps
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path
from rest_framework.exceptions import APIException
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from tallystick.integrations.drf import HasSession, TallystickAuthentication, create_new_session, verify_session
from tests.integrations.apps import django_app
from tests.integrations.apps.django_app import by_method
from tests.integrations.plan import CHUNKS, EXPOSING, show, show_user


class Teapot(APIException):
    status_code = 418


class CheckedAuthentication(TallystickAuthentication):
    anti_csrf_check = True


class UncheckedAuthentication(TallystickAuthentication):
    anti_csrf_check = False


class DatabaseAuthentication(TallystickAuthentication):
    check_database = True


class TrustingAuthentication(TallystickAuthentication):
    on_feed_silence = "accept"


class View(APIView):
    authentication_classes = (TallystickAuthentication,)
    permission_classes = (HasSession,)


class OpenView(APIView):
    authentication_classes = (TallystickAuthentication,)


class Login(OpenView):
    authentication_classes = ()

    def post(self, request: Request, user: str) -> Response:
        payload = request.data or None
        return Response({"handle": create_new_session(request, user, payload, {"cart": []}).get_handle()})


class LoginAndRefuse(OpenView):
    def post(self, request: Request, user: str) -> Response:
        create_new_session(request, user)
        raise Teapot


class LoginAndCrash(OpenView):
    def post(self, request: Request, user: str) -> Response:
        create_new_session(request, user)
        raise ZeroDivisionError


class Me(View):
    def get(self, request: Any) -> Response:
        assert request.tallystick is request._request.tallystick is request.auth
        assert request.user.pk == request.auth.get_user_id()
        return Response(show(request.auth))

    def post(self, request: Any) -> Response:
        return self.get(request)


class Optional(OpenView):
    def get(self, request: Any) -> Response:
        return Response(show_user(request.auth))

    def options(self, request: Any, *_args: Any, **_kwargs: Any) -> Response:
        return self.get(request)


class Sync(APIView):
    """The permission alone."""

    authentication_classes = ()
    permission_classes = (HasSession,)

    def get(self, request: Any) -> Response:
        return Response(show(request.tallystick))


class Empty(OpenView):
    authentication_classes = ()

    def get(self, request: Any) -> Response:
        assert request.tallystick is None
        return Response({"hello": "world"})


class Data(View):
    def get(self, request: Request) -> Response:
        return Response(request.auth.get_session_data_from_database())

    def post(self, request: Request) -> Response:
        request.auth.update_session_data_in_database(request.data)
        return Response({})


class Times(View):
    def get(self, request: Request) -> Response:
        return Response({"created": request.auth.get_time_created(), "expiry": request.auth.get_expiry()})


class Payload(View):
    def post(self, request: Request) -> Response:
        request.auth.merge_into_access_token_payload(request.data)
        return Response(request.auth.get_jwt_payload())


class Revoke(View):
    def post(self, request: Request) -> Response:
        request.auth.revoke_session()
        return Response({})


class Elsewhere(OpenView):
    def post(self, _request: Request, handle: str) -> Response:
        app: Any = apps.get_app_config("tallystick")
        return Response({"revoked": app.sessions.revoke_session(handle)})


class Stream(View):
    def get(self, _request: Request) -> HttpResponse:
        return StreamingHttpResponse(iter(CHUNKS))  # type: ignore[return-value]


class Exposing(View):
    def get(self, request: Request) -> Response:
        return Response(show(request.auth), headers=EXPOSING)


urlpatterns = [
    path("login/<user>", Login.as_view()),
    path("login-and-refuse/<user>", LoginAndRefuse.as_view()),
    path("login-and-crash/<user>", LoginAndCrash.as_view()),
    path("me", Me.as_view()),
    path("strict", by_method(OPTIONS=verify_session()(django_app.me))),
    path("optional", Optional.as_view()),
    path("sync", Sync.as_view()),
    path("database", Me.as_view(authentication_classes=[DatabaseAuthentication])),
    path("trusting", Me.as_view(authentication_classes=[TrustingAuthentication])),
    path("checked", Me.as_view(authentication_classes=[CheckedAuthentication])),
    path("unchecked", Me.as_view(authentication_classes=[UncheckedAuthentication])),
    path("none", Empty.as_view()),
    path("data", Data.as_view()),
    path("times", Times.as_view()),
    path("payload", Payload.as_view()),
    path("revoke", Revoke.as_view()),
    path("elsewhere/<handle>", Elsewhere.as_view()),
    path("stream", Stream.as_view()),
    path("exposing", Exposing.as_view()),
]
