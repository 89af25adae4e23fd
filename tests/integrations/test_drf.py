"""What is Django REST framework's alone: its own permissions, other authentication classes, OPTIONS, users."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.urls import path

from tallystick.testing import FakeClock
from tests.integrations.apps.django_project import open_wsgi, set_up
from tests.integrations.plan import Plan
from tests.integrations.wsgi import WsgiClient

set_up()

from rest_framework.authentication import BaseAuthentication  # noqa: E402 - the framework reads settings on import
from rest_framework.decorators import api_view, authentication_classes, permission_classes  # noqa: E402
from rest_framework.exceptions import AuthenticationFailed  # noqa: E402
from rest_framework.permissions import IsAuthenticated  # noqa: E402
from rest_framework.response import Response  # noqa: E402

from tallystick.integrations import django, drf  # noqa: E402
from tallystick.integrations.drf import (  # noqa: E402
    HasSession,
    Session,
    SessionUser,
    TallystickAuthentication,
    create_new_session,
)


class Robots(BaseAuthentication):
    def authenticate(self, request: Any) -> Any:
        return ("robot", "key") if request.headers.get("x-robot") else None


class Banning(TallystickAuthentication):
    def get_user(self, session: Session) -> Any:
        if session.get_user_id() == "eve":
            raise AuthenticationFailed("banned")
        return {"name": session.get_user_id()}


@api_view(["POST"])
def login(request: Any, user: str) -> Response:
    return Response({"handle": create_new_session(request, user).get_handle()})


@api_view(["GET", "POST"])
@authentication_classes([TallystickAuthentication])
@permission_classes([HasSession])
def me(request: Any) -> Response:
    assert isinstance(request.user, SessionUser)
    return Response({"user": str(request.user), "id": request.user.id})


@api_view(["GET"])
@authentication_classes([TallystickAuthentication])
@permission_classes([IsAuthenticated])
def own_permission(request: Any) -> Response:
    return Response({"user": request.user.pk})


@api_view(["GET"])
@authentication_classes([TallystickAuthentication, Robots])
@permission_classes([])
def people_and_robots(request: Any) -> Response:
    return Response({"user": str(request.user)})


@api_view(["GET"])
@authentication_classes([Banning])
@permission_classes([HasSession])
def no_eve(request: Any) -> Response:
    return Response(request.user)


URLS = (
    path("login/<user>", login),
    path("me", me),
    path("own-permission", own_permission),
    path("people-and-robots", people_and_robots),
    path("no-eve", no_eve),
)


@pytest.fixture
def client() -> Iterator[WsgiClient]:
    with open_wsgi(Plan("memory://", FakeClock()), URLS) as client:  # type: ignore[arg-type]
        yield client


def bearer_of(client: WsgiClient, user: str = "ada") -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {client.send('POST', f'/login/{user}', []).header('st-access-token')}")]


def test_the_names_are_django_s_and_the_framework_s_own():
    added = {"HasSession", "SessionUser", "TallystickAuthentication"}
    assert set(drf.__all__) == {*django.__all__, *added} - {"SessionMiddleware"}


def test_function_views_get_session_and_user(client: WsgiClient):
    assert client.send("GET", "/me", bearer_of(client)).json == {"user": "ada", "id": "ada"}
    assert client.send("POST", "/me", bearer_of(client)).status == 200


def test_the_framework_s_own_permission_refuses_with_401_so_that_the_sdk_refreshes(client: WsgiClient):
    assert client.send("GET", "/own-permission", bearer_of(client)).json == {"user": "ada"}
    refused = client.send("GET", "/own-permission", [])
    assert (refused.status, refused.header("www-authenticate"), refused.is_silent) == (401, "Bearer", True)


def test_who_has_no_token_of_ours_is_left_to_other_authentication_classes(client: WsgiClient):
    assert client.send("GET", "/people-and-robots", bearer_of(client)).json == {"user": "ada"}
    assert client.send("GET", "/people-and-robots", [("x-robot", "1")]).json == {"user": "robot"}
    foreign = [("x-robot", "1"), ("authorization", "Bearer of.another.system")]
    assert client.send("GET", "/people-and-robots", foreign).json == {"user": "robot"}


def test_the_app_decides_what_its_users_are_and_whom_it_refuses(client: WsgiClient):
    assert client.send("GET", "/no-eve", bearer_of(client)).json == {"name": "ada"}
    banned = client.send("GET", "/no-eve", bearer_of(client, "eve"))
    assert (banned.status, banned.json) == (401, {"detail": "banned"})


def test_options_describes_the_view_to_those_who_may_see_it(client: WsgiClient):
    assert client.send("OPTIONS", "/me", []).status == 401
    described = client.send("OPTIONS", "/people-and-robots", [])
    assert described.status == 200
