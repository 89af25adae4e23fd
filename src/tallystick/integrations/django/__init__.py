"""Sessions in a Django project, under WSGI and under ASGI. Under WSGI no event loop is involved.

::

    INSTALLED_APPS = [..., "tallystick.integrations.django"]
    MIDDLEWARE = [..., "tallystick.integrations.django.SessionMiddleware"]    # below the CORS layer
    TALLYSTICK = {"URL": "sqlite:///sessions.db"}

    @verify_session()
    def me(request):
        return JsonResponse({"user": request.tallystick.get_user_id()})

For async views the same names are in :mod:`tallystick.integrations.django.aio`; ``verify_session`` serves both kinds.
"""

from tallystick.integrations.django.decorators import verify_session
from tallystick.integrations.django.middleware import SessionMiddleware
from tallystick.integrations.django.requests import create_new_session, get_session
from tallystick.integrations.wsgi import Session
from tallystick.transport.cors import get_all_cors_headers, get_cors_expose_headers

__all__ = [
    "Session",
    "SessionMiddleware",
    "create_new_session",
    "get_all_cors_headers",
    "get_cors_expose_headers",
    "get_session",
    "verify_session",
]
