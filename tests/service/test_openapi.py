"""The service answers as docs/reference/openapi.yaml says, whatever it is asked; made of that by schemathesis."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tallystick.service.routing import ENDPOINTS
from tests.service.operating import Service
from tests.service.serving import run_core

DESCRIPTION = Path(__file__).parents[2] / "docs" / "reference" / "openapi.yaml"
EXAMPLES = 6
SECONDS = 30
CONFORMANCE = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]

TENANCY = "/recipe/multitenancy"
OF_OTHER_VERSIONS = {
    "/recipe/handshake",
    *(TENANCY + path for path in ("/app", "/app/list", "/tenant", "/tenant/list")),
}
ALSO_SERVED = {"/", "/hello"}
"""With any of four methods: GET is described."""
STREAMED = {"/tallystick/endings"}
"""What does not come to an end: docs/reference/core-api.md describes it."""

schema = schemathesis.openapi.from_path(DESCRIPTION, config=SchemathesisConfig.from_dict({}))


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with run_core(tmp_path_factory.mktemp("described-core")) as core:
        yield core


@pytest.fixture
def living(core: Service) -> dict[str, Any]:
    """Values of a session that there is, by the fields that have them."""
    asked = {"userId": "ada", "userDataInJWT": {}, "userDataInDatabase": {}, "enableAntiCsrf": True}
    made = httpx.post(f"{core.url}/recipe/session", json=asked, headers={"cdi-version": "5.4"}, timeout=SECONDS).json()
    return {
        "userId": "ada",
        "sessionHandle": made["session"]["handle"],
        "accessToken": made["accessToken"]["token"],
        "refreshToken": made["refreshToken"]["token"],
        "antiCsrfToken": made["antiCsrfToken"],
    }


@schema.parametrize()
@settings(
    max_examples=EXAMPLES, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck), database=None
)
def test_what_is_asked_at_random_is_answered_as_described(
    case: schemathesis.Case, core: Service, living: dict[str, Any]
):
    check(case, core)
    if put_in(living, case.body) + put_in(living, case.query):
        check(case, core)


def check(case: schemathesis.Case, core: Service) -> None:
    if "first interface" not in (case.operation.tags or ()):
        # Without a version the newest is spoken, and that has another description.
        case.headers.setdefault("cdi-version", "5.4")
    answer = case.call(base_url=core.url, timeout=SECONDS)
    assert answer.status_code < 500, answer.text
    case.validate_response(answer, checks=CONFORMANCE)


def put_in(living: dict[str, Any], given: object) -> int:
    """Say of a session that there is what is said at random; how many fields that were."""
    known = living.keys() & given if isinstance(given, dict) else set()
    if isinstance(given, dict):
        given.update({name: living[name] for name in known})
    return len(known)


def test_every_endpoint_is_described():
    described = {operation.ok().label for operation in schema.get_all_operations()}
    served = {
        f"{method} {endpoint.path}"
        for endpoint in ENDPOINTS
        for method in endpoint.handlers
        if endpoint.path not in OF_OTHER_VERSIONS | ALSO_SERVED | STREAMED
    }
    assert described - {"GET /hello"} == served
