"""The small endpoints (spec/cdi.md 1.6)."""

from __future__ import annotations

from tallystick.calls import Flow, ask
from tallystick.config import PUBLIC
from tallystick.service import wire
from tallystick.service.answers import Answer, Refusal, text_answer
from tallystick.service.requests import Request
from tallystick.storage.interface import SessionStore
from tallystick.types import Json


def greet(request: Request) -> Flow[Answer]:
    """``/hello``, and ``/``: that the store answers."""
    yield from ask(SessionStore.load_session, request.app.app_id, "hello")
    return text_answer(200, "Hello")


def list_versions(request: Request) -> Json:
    """``GET /apiversion``. The domains that callers tell of are not kept: nothing here needs them."""
    request.check_app_specific()
    return wire.write_versions(request.app.versions.names())


def find_user(request: Request) -> Json:
    """``GET /user/id``. There are sessions here and no users, so that a caller goes on with the id it has."""
    request.check_app_specific()
    wire.read_user(request.query())
    return wire.UNKNOWN_USER


def tell_telemetry(request: Request) -> Json:
    """``GET /telemetry``: there is none."""
    request.check_app_specific()
    return wire.NO_TELEMETRY


def refuse_config(request: Request) -> Json:
    """``GET /config``: where a process has its configuration, for whoever knows the process's id. Nobody does."""
    if (request.app.app_id, request.tenant_id) != (PUBLIC, PUBLIC):
        raise Refusal(403, "Only the base app and tenant can call this API")
    wire.read_process_id(request.query())
    return wire.NOT_ALLOWED


def tell_statistics(request: Request) -> Json:
    """``GET /requests/stats``: of this process."""
    request.check_app_specific()
    return wire.write_statistics(*request.service.statistics.read())


def accept_license(request: Request) -> Json:
    """``/ee/license``: nothing needs one, and test suites install theirs."""
    return wire.OK
