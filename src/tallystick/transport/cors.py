"""Which headers the browser SDK sends and reads, for the app's CORS layer (spec/fdi.md 1.8)."""

from __future__ import annotations

from tallystick.transport.changes import ACCESS_HEADER, ANTI_CSRF, FRONT_TOKEN, REFRESH_HEADER


def get_all_cors_headers() -> list[str]:
    """The names for ``Access-Control-Allow-Headers``, besides ``content-type`` and the app's own.

    The CORS layer must stand outside of the session layer, name the website's exact origin, and allow credentials.
    """
    return ["anti-csrf", "authorization", "fdi-version", "rid", "st-auth-mode"]


def get_cors_expose_headers() -> list[str]:
    """The names for ``Access-Control-Expose-Headers``, besides the app's own.

    Needed only where the CORS layer is told of names to expose, as Starlette's then forgets those that a response
    names itself, and pages of another origin could not see their tokens (spec/fdi.md 1.8, P-5).
    """
    return [FRONT_TOKEN, ANTI_CSRF, ACCESS_HEADER, REFRESH_HEADER]
