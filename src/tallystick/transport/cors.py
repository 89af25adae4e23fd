"""Which headers the browser SDK sends and reads, for the app's CORS layer (spec/fdi.md 1.8)."""

from __future__ import annotations

from tallystick.transport.changes import ACCESS_HEADER, ANTI_CSRF, FRONT_TOKEN, REFRESH_HEADER
from tallystick.transport.classic import ID_REFRESH_HEADER


def get_all_cors_headers(*, classic: bool = False) -> list[str]:
    """The names for ``Access-Control-Allow-Headers``, besides ``content-type`` and the app's own; with
    ``classic`` those of the 1.0.X interface (spec/fdi.md 3.2).

    The CORS layer must stand outside of the session layer, name the website's exact origin, and allow credentials.
    """
    if classic:
        return [ANTI_CSRF, "supertokens-sdk-name", "supertokens-sdk-version"]
    return [ANTI_CSRF, "authorization", "fdi-version", "rid", "st-auth-mode"]


def get_cors_expose_headers(*, classic: bool = False) -> list[str]:
    """The names for ``Access-Control-Expose-Headers``, besides the app's own; with ``classic`` those of the 1.0.X
    interface.

    Needed only where the CORS layer is told of names to expose, as Starlette's then forgets those that a response
    names itself, and pages of another origin could not see their tokens (spec/fdi.md 1.8, P-5).
    """
    if classic:
        return [ID_REFRESH_HEADER, ANTI_CSRF]
    return [FRONT_TOKEN, ANTI_CSRF, ACCESS_HEADER, REFRESH_HEADER]
