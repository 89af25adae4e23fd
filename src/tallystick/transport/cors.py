"""Which headers the browser SDK sends, for the app's CORS layer (spec/fdi.md 1.8)."""

from __future__ import annotations


def get_all_cors_headers() -> list[str]:
    """The names for ``Access-Control-Allow-Headers``, besides ``content-type`` and the app's own.

    The CORS layer must stand outside of the session layer, name the website's exact origin, and allow credentials.
    """
    return ["anti-csrf", "authorization", "fdi-version", "rid", "st-auth-mode"]
