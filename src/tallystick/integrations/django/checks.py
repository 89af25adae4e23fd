"""What ``manage.py check`` says of the settings: each thing that is wrong, at once and by its name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, Final

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning
from django.utils.module_loading import import_string

from tallystick.config import Config
from tallystick.edges import DEFAULT_URL, SECRET_VARIABLE
from tallystick.errors import GeneralError
from tallystick.integrations.django.middleware import SessionMiddleware
from tallystick.integrations.django.settings import FACADE_NAMES, NAME, read_settings, split
from tallystick.sessions import Sessions
from tallystick.storage.opening import database_file, is_ephemeral
from tallystick.transport.cors import get_all_cors_headers

_OURS: Final = "tallystick.integrations.django.SessionMiddleware"
_CORS: Final = "corsheaders.middleware.CorsMiddleware"


def check_settings(**_: object) -> list[CheckMessage]:
    """``TALLYSTICK`` is there, and the sessions can be made of it."""
    given = read_settings()
    if given is None:
        hint = f'{NAME} = {{"URL": "sqlite:///sessions.db"}}'
        return [Error(f"{NAME} is missing, or not a dict.", hint=hint, id="tallystick.E001")]
    arguments, unknown = split(given)
    found: list[CheckMessage] = [Error(f"{text}.", id="tallystick.E002") for text in unknown]
    own: dict[str, Any] = {name: arguments[name] for name in FACADE_NAMES if name in arguments}
    others = {name: value for name, value in arguments.items() if name not in own}
    found += (Error(f"{NAME}: {text}.", id="tallystick.E003") for text in _pop_refused(others))
    try:
        Sessions(**_without_making_a_secret(own), **others).close()
        is_lost = is_ephemeral(own.get("url", DEFAULT_URL)) and not settings.DEBUG
    except GeneralError as error:
        found.append(Error(f"{NAME}: {error.message}.", id="tallystick.E004"))
    else:
        if is_lost:
            text = f"{NAME}: the sessions end with the process, and each process has its own."
            found.append(Warning(text, hint='Give "URL" a database.', id="tallystick.W001"))
    return found


def check_middleware(**_: object) -> list[CheckMessage]:
    """The middleware is there once, below the CORS layer, which lets the browser SDK through."""
    places = [place for place, path in enumerate(settings.MIDDLEWARE) if _is_ours(path)]
    if not places:
        return [Error("MIDDLEWARE lacks the session middleware.", hint=f'Add "{_OURS}".', id="tallystick.E005")]
    found: list[CheckMessage] = []
    if len(places) > 1:
        found.append(Error("MIDDLEWARE has the session middleware more than once.", id="tallystick.E006"))
    if _CORS in settings.MIDDLEWARE:
        if settings.MIDDLEWARE.index(_CORS) > places[0]:
            text = "The session middleware stands above the CORS layer, so its answers have no CORS headers."
            found.append(Error(text, hint=f'Put "{_CORS}" above it.', id="tallystick.E007"))
        found += _check_cors()
    return found


def _check_cors() -> Iterator[CheckMessage]:
    allowed = getattr(settings, "CORS_ALLOW_HEADERS", None)
    names = {str(name).lower() for name in allowed or ()}
    missing = [name for name in get_all_cors_headers() if name not in names and name != "authorization"]
    if missing and "*" not in names:
        text = f"CORS_ALLOW_HEADERS lacks what the browser SDK sends: {', '.join(missing)}."
        hint = "CORS_ALLOW_HEADERS = (*corsheaders.defaults.default_headers, *get_all_cors_headers())"
        yield Warning(text, hint=hint, id="tallystick.W002")
    if not getattr(settings, "CORS_ALLOW_CREDENTIALS", False):
        text = "CORS_ALLOW_CREDENTIALS is not True, so pages of other origins send no cookies."
        yield Warning(text, id="tallystick.W003")


def _pop_refused(others: dict[str, Any]) -> Iterator[str]:
    """Why each setting is refused that is; ``others`` is left with those that are not."""
    while True:
        try:
            Config(**others)
        except GeneralError as error:
            # The message begins with the setting's name.
            name = error.message.partition(" ")[0]
            yield error.message
            if others.pop(name, None) is None:
                others.clear()  # a default does not go with what was given, so which one to leave out is not known
        else:
            return


def _without_making_a_secret(own: dict[str, Any]) -> dict[str, Any]:
    """A check may be run by another user than the server, and the file of the secret would then be that user's."""
    if own.get("moving_from") is not None:
        return own  # there the secret has to be said
    url = own.get("url", DEFAULT_URL)
    is_from_file = own.get("secret") is None and not os.environ.get(SECRET_VARIABLE) and database_file(url) is not None
    return {**own, "secret": "a secret for this check alone, and no other" if is_from_file else own.get("secret")}


def _is_ours(path: str) -> bool:
    try:
        found = import_string(path)
    except ImportError:
        return False  # Django says so itself
    return isinstance(found, type) and issubclass(found, SessionMiddleware)
