"""Sessions in Django REST framework, on top of :mod:`tallystick.integrations.django`.

::

    class Me(APIView):
        authentication_classes = [TallystickAuthentication]
        permission_classes = [HasSession]

        def get(self, request):
            return Response({"user": request.auth.get_user_id()})

``create_new_session`` and ``get_session`` take the framework's requests as they take Django's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import BasePermission

from tallystick.config import FeedSilence
from tallystick.integrations.django import (
    Session,
    create_new_session,
    get_all_cors_headers,
    get_cors_expose_headers,
    get_session,
    verify_session,
)
from tallystick.protocol.claims import OverrideValidators

if TYPE_CHECKING:
    from rest_framework.request import Request
    from rest_framework.views import APIView

__all__ = [
    "HasSession",
    "Session",
    "SessionUser",
    "TallystickAuthentication",
    "create_new_session",
    "get_all_cors_headers",
    "get_cors_expose_headers",
    "get_session",
    "verify_session",
]

_WITHOUT_TOKENS: Final = ("OPTIONS", "TRACE")


@dataclass(frozen=True, slots=True)
class SessionUser:
    """Who is signed in, as far as the token says: no database is asked."""

    pk: str
    is_authenticated: ClassVar[bool] = True
    is_anonymous: ClassVar[bool] = False
    is_active: ClassVar[bool] = True
    is_staff: ClassVar[bool] = False
    is_superuser: ClassVar[bool] = False

    @property
    def id(self) -> str:
        """The same as ``pk``."""
        return self.pk

    def __str__(self) -> str:
        return self.pk


class TallystickAuthentication(BaseAuthentication):
    """``request.auth`` is the verified session, ``request.user`` what :meth:`get_user` makes of it. A request without a
    token of ours is left to other classes; one whose token does not do is refused.

    Subclass it for other arguments of :func:`get_session`, or for other users.
    """

    anti_csrf_check: bool | None = None
    check_database: bool = False
    override_global_claim_validators: OverrideValidators | None = None
    on_feed_silence: FeedSilence | None = None

    def authenticate(self, request: Request) -> tuple[Any, Session] | None:
        """The user and the session; None where there is no session."""
        # Django's own request, where there is one within: by way of this one, each attribute is looked for twice.
        session = get_session(
            getattr(request, "_request", request),
            False,
            self.anti_csrf_check,
            self.check_database,
            self.override_global_claim_validators,
            self.on_feed_silence,
        )
        return None if session is None else (self.get_user(session), session)

    def get_user(self, session: Session) -> Any:  # noqa: ANN401 - the app decides what its users are
        """What ``request.user`` is to be. Raise ``AuthenticationFailed`` to refuse somebody."""
        return SessionUser(session.get_user_id())

    def authenticate_header(self, request: Request) -> str:
        """Makes the framework's own refusals 401, on which the browser SDK refreshes, instead of 403."""
        return "Bearer"


class HasSession(BasePermission):
    """A session is required. Without one the answer is Tallystick's own, as everywhere else."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """True; raises :class:`Unauthorised` where there is no session."""
        if isinstance(request.auth, Session):
            return True
        if request.method in _WITHOUT_TOKENS:
            return False
        get_session(request)
        return True
