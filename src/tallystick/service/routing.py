"""From a request's path and method to an endpoint, an app and a tenant (spec/cdi.md 1.4)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from tallystick.config import PUBLIC
from tallystick.service import details, endings, first, keys, sessions, tenancy
from tallystick.service.requests import Handler

_APP_SEGMENT: Final = "appid-"
_SEGMENT: Final = re.compile(r"[a-z0-9-]*")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One path with its methods, and what is checked before them."""

    path: str
    handlers: dict[str, Handler] = field(repr=False)
    needs_key: bool = True
    needs_version: bool = True
    """Whether the version must be one that there is."""
    is_first: bool = False
    """Whether it is of the first interface."""
    finds_tenant: bool = False
    """Whether, for a GET, an unknown tenant is an answer of its own."""


class Place(NamedTuple):
    """Where a request goes."""

    endpoint: Endpoint
    app_id: str
    tenant_id: str


def _everyone(handler: Handler) -> dict[str, Handler]:
    return dict.fromkeys(("GET", "POST", "PUT", "DELETE"), handler)


ENDPOINTS: Final = (
    Endpoint("/hello", _everyone(details.greet), needs_key=False, needs_version=False),
    Endpoint("/", _everyone(details.greet), needs_key=False),
    Endpoint("/config", {"GET": details.refuse_config}, needs_key=False),
    Endpoint("/apiversion", {"GET": details.list_versions}, needs_version=False),
    Endpoint("/telemetry", {"GET": details.tell_telemetry}),
    Endpoint("/requests/stats", {"GET": details.tell_statistics}),
    Endpoint("/ee/license", dict.fromkeys(("GET", "PUT", "DELETE"), details.accept_license)),
    Endpoint(endings.PATH, {"GET": endings.follow, "HEAD": endings.tell_of}, needs_version=False),
    Endpoint("/user/id", {"GET": details.find_user}),
    Endpoint("/user/remove", {"POST": sessions.remove_user}),
    Endpoint("/.well-known/jwks.json", {"GET": keys.well_known_jwks}, needs_key=False, needs_version=False),
    Endpoint("/recipe/handshake", {"POST": keys.shake_hands}),
    Endpoint("/recipe/jwt", {"POST": keys.make_jwt}),
    Endpoint("/recipe/jwt/jwks", {"GET": keys.recipe_jwks}),
    Endpoint("/recipe/jwt/data", {"GET": sessions.look_up_payload, "PUT": sessions.update_payload}),
    Endpoint("/recipe/session", {"GET": sessions.look_up, "POST": sessions.create}),
    Endpoint("/recipe/session/verify", {"POST": sessions.verify}),
    Endpoint("/recipe/session/refresh", {"POST": sessions.refresh}),
    Endpoint("/recipe/session/regenerate", {"POST": sessions.regenerate}),
    Endpoint("/recipe/session/user", {"GET": sessions.list_handles}),
    Endpoint("/recipe/session/remove", {"POST": sessions.remove}),
    Endpoint("/recipe/session/data", {"GET": sessions.look_up_data, "PUT": sessions.update_data}),
    *(
        Endpoint(f"/recipe/multitenancy{path}", handlers, finds_tenant=path in ("/tenant", "/tenant/v2"))
        for path, handlers in tenancy.HANDLERS.items()
    ),
    Endpoint("/session", {"POST": first.create, "DELETE": first.remove}, is_first=True),
    Endpoint("/session/verify", {"POST": first.verify}, is_first=True),
    Endpoint("/session/refresh", {"POST": first.refresh}, is_first=True),
    Endpoint("/session/regenerate", {"POST": first.regenerate}, is_first=True),
    Endpoint("/session/user", {"GET": sessions.list_handles}, is_first=True),
    Endpoint("/session/remove", {"POST": sessions.remove}, is_first=True),
    Endpoint("/session/data", {"GET": sessions.look_up_data, "PUT": sessions.update_data}, is_first=True),
    Endpoint("/jwt/data", {"GET": sessions.look_up_payload, "PUT": sessions.update_payload}, is_first=True),
    Endpoint("/handshake", {"POST": first.shake_hands}, is_first=True),
)

_BY_PATH: Final = {endpoint.path: endpoint for endpoint in ENDPOINTS}


class Router:
    """Finds places below a base path."""

    def __init__(self, base_path: str) -> None:
        self._base = base_path.lower()
        self._plain = {
            self._base + prefix + path + slash: Place(endpoint, PUBLIC, PUBLIC)
            for path, endpoint in _BY_PATH.items()
            for prefix in ("", f"/{PUBLIC}")
            for slash in ("", "/")
            if path != "/"
        }
        self._plain[self._base + "/"] = Place(_BY_PATH["/"], PUBLIC, PUBLIC)
        if self._base:
            self._plain[self._base] = Place(_BY_PATH["/"], PUBLIC, PUBLIC)

    def find(self, path: str) -> Place | None:
        """The place of a path, or None. An endpoint without prefixes comes before one with them."""
        return self._plain.get(path) or self._find_with_prefixes(path)

    def _find_with_prefixes(self, raw: str) -> Place | None:
        path = raw.lower().removesuffix("/")
        plain = self._plain.get(path or "/")
        if plain is not None:
            return plain
        if not path.startswith(self._base + "/"):
            return None
        rest, app_id, tenant_id = path[len(self._base) :], PUBLIC, PUBLIC
        head, tail = _split(rest)
        if head.startswith(_APP_SEGMENT) and _SEGMENT.fullmatch(head):
            app_id, rest = head.removeprefix(_APP_SEGMENT), tail
        endpoint = _BY_PATH.get(rest or "/")
        if endpoint is None:
            head, tail = _split(rest)
            if head and head not in tenancy.STOP_WORDS and _SEGMENT.fullmatch(head):
                tenant_id, endpoint = head, _BY_PATH.get(tail)
        return None if endpoint is None else Place(endpoint, app_id, tenant_id)


def _split(path: str) -> tuple[str, str]:
    """The first segment, and the path behind it."""
    head, slash, tail = path[1:].partition("/")
    return head, slash + tail
