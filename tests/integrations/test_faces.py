"""Each framework's face says the same, in its own words."""

import inspect
from typing import Any

import pytest

from tallystick.integrations import asgi, django, drf, fastapi, flask, starlette, wsgi
from tallystick.integrations.django import aio

FACES = [asgi, wsgi, flask, django, aio]
VERIFYING = [fastapi, flask, django]


def name_of(module: Any) -> str:
    return str(module.__name__).removeprefix("tallystick.integrations.")


def public_methods(kind: type) -> dict[str, Any]:
    return {name: member for name, member in vars(kind).items() if not name.startswith("_")}


def parameters_of(function: Any) -> dict[str, tuple[Any, Any]]:
    """Without the request, which a framework may hand over or keep to itself."""
    parameters = inspect.signature(function).parameters
    return {
        name: (parameter.default, parameter.kind)
        for name, parameter in parameters.items()
        if name not in ("request", "environ")
    }


def test_the_session_that_waits_and_the_one_that_is_awaited_have_the_same_methods():
    one, other = public_methods(wsgi.Session), public_methods(asgi.Session)
    assert list(one) == list(other)
    assert "revoke_session" in one
    for name in one:
        assert inspect.signature(one[name]) == inspect.signature(other[name])
        assert inspect.getdoc(one[name]) == inspect.getdoc(other[name])
        assert inspect.iscoroutinefunction(other[name])
        assert not inspect.iscoroutinefunction(one[name])


@pytest.mark.parametrize("module", FACES, ids=name_of)
@pytest.mark.parametrize("name", ["create_new_session", "get_session"])
def test_functions_take_the_same_arguments_everywhere(module: Any, name: str):
    assert parameters_of(getattr(module, name)) == parameters_of(getattr(starlette, name))
    is_awaited = module in (asgi, aio)
    assert inspect.iscoroutinefunction(getattr(module, name)) is is_awaited


@pytest.mark.parametrize("module", VERIFYING, ids=name_of)
def test_verify_session_takes_what_get_session_takes(module: Any):
    assert parameters_of(module.verify_session) == parameters_of(starlette.get_session)


@pytest.mark.parametrize("module", [*FACES, starlette, fastapi, drf], ids=name_of)
def test_a_face_is_sorted_and_whole(module: Any):
    assert module.__all__ == sorted(module.__all__)
    assert {"Session", "create_new_session", "get_session"} <= set(module.__all__)
    for name in module.__all__:
        assert hasattr(module, name)
