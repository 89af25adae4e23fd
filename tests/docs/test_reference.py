"""The reference says what the code says: compared with it, so that neither can change alone."""

import ast
import dataclasses
import inspect
import re
import tomllib
import typing
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
import typer.main

import tallystick
from tallystick import (
    AntiCsrf,
    AsyncSessions,
    ClientAction,
    Config,
    Retirement,
    SessionError,
    Sessions,
    errors,
    testing,
)
from tallystick.cli import commands
from tallystick.config import Settings
from tallystick.edges import API_KEY_VARIABLE, SECRET_VARIABLE
from tallystick.integrations import fastapi
from tallystick.protocol import claims
from tallystick.protocol.claims import SessionClaim, SessionClaimValidator
from tallystick.protocol.rotation import VERDICTS, Reuse
from tallystick.storage.interface import SessionStore
from tallystick.storage.sql.schema import VERSION_TABLE, metadata
from tallystick.testing import pytest_plugin
from tallystick.transport import changes, tokens
from tests.docs.documents import ROOT, headings_of, rows_of

REFERENCE = ROOT / "docs" / "reference"
SOURCES = sorted((ROOT / "src").rglob("*.py"))
RESULTS = [
    value for name in tallystick.__all__ if dataclasses.is_dataclass(value := getattr(tallystick, name)) and value
]


def signature_of(function: Any) -> str:
    """As the reference writes it: without types, and without the object itself."""
    signature = inspect.signature(function)
    plain = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for parameter in signature.parameters.values()
        if parameter.name != "self"
    ]
    shown = signature.replace(parameters=plain, return_annotation=inspect.Signature.empty)
    return str(shown).replace("'", '"')


def public_methods(kind: type) -> dict[str, Any]:
    return {name: value for name, value in vars(kind).items() if not name.startswith("_") and callable(value)}


def columns_of(path: Path, first_column: str) -> dict[str, list[str]]:
    """Rows by each name in their first cell."""
    return {name: row[1:] for row in rows_of(path, first_column) for name in row[0].split(", ")}


@pytest.mark.parametrize("facade", [Sessions, AsyncSessions], ids=["Sessions", "AsyncSessions"])
def test_the_reference_has_every_method_with_its_signature(facade: type):
    documented = {heading for heading in headings_of(REFERENCE / "sessions.md") if re.match("[a-z_]+[(]", heading)}
    assert documented == {f"{name}{signature_of(method)}" for name, method in public_methods(facade).items()}


@pytest.mark.parametrize("method", [Sessions.create_new_session, Sessions.get_session, Sessions.refresh_session])
def test_the_reference_says_what_each_parameter_is(method: Any):
    section = (REFERENCE / "sessions.md").read_text("utf-8").partition(f"### `{method.__name__}(")[2]
    table = section.partition("| parameter |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(inspect.signature(method).parameters)[1:]


def test_the_reference_has_the_signature_of_the_facade_and_its_properties():
    headings = headings_of(REFERENCE / "sessions.md")
    assert f"Sessions{signature_of(Sessions)}" in headings
    properties = {name for name, value in vars(Sessions).items() if isinstance(value, property)}
    assert properties <= set(headings)


@pytest.mark.parametrize(
    "result",
    [
        kind
        for kind in RESULTS
        if kind not in (Config, tallystick.ClaimValidationError) and not issubclass(kind, tallystick.SessionClaim)
    ],
)
def test_the_reference_has_every_field_of_every_result(result: Any):
    text = (REFERENCE / "sessions.md").read_text("utf-8")
    section = text.partition(f"### `{result.__name__}`\n")[2].partition("\n#")[0]
    named = set(re.findall(r"`(\w+)`", "\n".join(line.split("|")[1] for line in section.split("\n") if "|" in line)))
    assert named == {field.name for field in dataclasses.fields(result)}


def test_the_reference_has_every_setting_with_its_type_and_default():
    names: dict[str, Any] = {
        "timedelta": timedelta,
        "Retirement": Retirement,
        "AntiCsrf": AntiCsrf,
        "Literal": Literal,
    }
    documented = {
        row[0]: tuple(eval(cell.replace(r"\|", "|"), names) for cell in row[1:3])  # noqa: S307 - the documents are ours
        for row in rows_of(REFERENCE / "configuration.md", "setting")
    }
    types = typing.get_type_hints(Settings)
    assert documented == {field.name: (types[field.name], field.default) for field in dataclasses.fields(Config)}


def test_the_reference_names_the_environment_variables():
    documented = columns_of(REFERENCE / "configuration.md", "variable")
    assert set(documented) == {SECRET_VARIABLE, API_KEY_VARIABLE, commands.URL_VARIABLE, commands.FROM_VARIABLE}


def test_the_reference_has_every_error_with_its_numbers():
    documented = {row[0]: tuple(row[1:4]) for row in rows_of(REFERENCE / "errors.md", "class")}
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, SessionError)]
    assert documented == {
        kind.__name__: (str(kind.err_type), str(kind.http_status), kind.client_action.value) for kind in kinds
    }
    assert ClientAction.RETRY_LATER.value in (REFERENCE / "errors.md").read_text("utf-8")


def reasons_in_the_source() -> set[str]:
    """Each literal that is given as ``reason``, each default of it, and the kinds of theft."""
    found = {standing.value for standing, verdict in VERDICTS.items() if verdict is Reuse}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                given = [keyword.value for keyword in node.keywords if keyword.arg == "reason"]
            elif isinstance(node, ast.FunctionDef):
                pairs = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
                given = [default for argument, default in pairs if argument.arg == "reason" and default]
            else:
                continue
            found |= {str(value.value) for value in given if isinstance(value, ast.Constant)}
    return found


def test_the_reference_has_every_reason_and_no_other():
    documented = {row[0] for row in rows_of(REFERENCE / "errors.md", "reason")}
    assert documented == reasons_in_the_source()


def test_the_reference_has_every_command_and_option():
    documented = headings_of(REFERENCE / "cli.md")
    text = (REFERENCE / "cli.md").read_text("utf-8")
    group = typer.main.get_command(commands.app)
    found: dict[str, Any] = group.commands  # type: ignore[attr-defined]
    assert {heading.split()[1] for heading in documented if heading.startswith("tallystick ")} == set(found)
    for name, command in found.items():
        section = text.partition(f"## tallystick {name}")[2].partition("\n## ")[0]
        options = {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
        assert set(re.findall(r"^\| `(--[\w-]+)`", section, flags=re.MULTILINE)) == options, name


def test_the_reference_has_every_route():
    middleware = fastapi.SessionMiddleware(_no_app, AsyncSessions("memory://", device_routes=True))
    routes = {f"{method} {path}" for method, path in middleware.routes.by_place}
    assert {row[0] for row in rows_of(REFERENCE / "http.md", "route")} == routes


async def _no_app(_scope: object, _receive: object, _send: object) -> None: ...


def test_the_reference_has_every_cookie_and_header():
    page = REFERENCE / "http.md"
    config = Config()
    cookies = {config.access_cookie, config.refresh_cookie, tokens.ID_REFRESH_COOKIE}
    assert set(columns_of(page, "cookie")) == cookies
    rows = {row[0] for row in rows_of(page, "header")}
    response = {changes.FRONT_TOKEN, changes.ANTI_CSRF, changes.ACCESS_HEADER, changes.REFRESH_HEADER, changes.EXPOSE}
    classic = {*fastapi.get_all_cors_headers(classic=True), *fastapi.get_cors_expose_headers(classic=True)}
    assert rows == {*fastapi.get_all_cors_headers(), *response, *classic, "cache-control"}
    assert set(fastapi.get_cors_expose_headers()) < response


def test_the_reference_has_what_the_integration_offers():
    page = REFERENCE / "http.md"
    shown = "\n".join(row[0] for row in rows_of(page, "name"))
    for name in fastapi.__all__:
        assert name == "Session" or f"{name}(" in shown
    for function in (fastapi.create_new_session, fastapi.get_session, fastapi.verify_session):
        assert f"{function.__name__}{signature_of(function)}" in shown
    methods = "\n".join(" ".join(row) for row in rows_of(page, "method"))
    offered = [name for name in dir(fastapi.Session) if not name.startswith("_")]
    assert [name for name in offered if f"{name}(" not in methods] == []
    awaited = {name for name in offered if inspect.iscoroutinefunction(getattr(fastapi.Session, name))}
    assert set(re.findall(r"await (\w+)", methods)) == awaited


def test_the_reference_has_every_claim_with_its_signature_and_what_it_gives():
    page = REFERENCE / "claims.md"
    kinds = [kind for kind in RESULTS if issubclass(kind, SessionClaim) and kind is not SessionClaim]
    assert {row[0] for row in rows_of(page, "claim")} == {f"{kind.__name__}{signature_of(kind)}" for kind in kinds}
    assert {row[0] for row in rows_of(page, "parameter")} == {field.name for field in dataclasses.fields(SessionClaim)}
    methods = {f"{name}{signature_of(method)}" for name, method in public_methods(SessionClaim).items()}
    assert {row[0] for row in rows_of(page, "of a claim")} == {"validators", *methods}


def test_the_reference_has_every_validator_with_its_signature():
    page = REFERENCE / "claims.md"
    kinds = (claims.PrimitiveValidators, claims.BooleanValidators, claims.ArrayValidators)
    methods = [method for kind in kinds for method in public_methods(kind).items()]
    documented = {row[1] for row in rows_of(page, "of")}
    assert documented == {f"{name}{signature_of(method)}" for name, method in methods}
    parts = {f"{name}{signature_of(method)}" for name, method in public_methods(SessionClaimValidator).items()}
    assert {row[0] for row in rows_of(page, "of a validator")} == {"id", "claim", *parts}
    assert f"fresh_within{signature_of(tallystick.fresh_within)}" in page.read_text("utf-8")


def test_the_reference_has_the_words_with_which_a_claim_fails():
    page = REFERENCE / "claims.md"
    text = (ROOT / "src/tallystick/protocol/claims.py").read_text("utf-8")
    said = set(re.findall(r'"(value does not exist|wrong value|expired)"', text))
    assert {row[0] for row in rows_of(page, "message")} == said
    assert {row[3] for row in rows_of(page, "of")} == set(re.findall(r'"(expected\w+)"', text))


def test_the_reference_has_the_whole_contract_of_a_store():
    documented = {row[0] for row in rows_of(REFERENCE / "storage.md", "method")}
    assert documented == {f"{name}{signature_of(method)}" for name, method in public_methods(SessionStore).items()}


def test_the_reference_has_every_table_and_column():
    text = (REFERENCE / "storage.md").read_text("utf-8")
    assert VERSION_TABLE in text
    for name, table in metadata.tables.items():
        section = text.partition(f"### {name}\n")[2].partition("\n#")[0]
        first_cells = "\n".join(line.split("|")[1] for line in section.split("\n") if line.startswith("|"))
        assert set(re.findall(r"`(\w+)`", first_cells)) == {column.name for column in table.columns}


def test_the_reference_has_every_testing_tool():
    page = REFERENCE / "testing.md"
    shown = [row[0] for row in rows_of(page, "name")]
    for name in testing.__all__:
        assert any(one == name or one.startswith(f"{name}(") for one in shown), name
    for function in (testing.sign_in, testing.hold_answer):
        assert f"{function.__name__}{signature_of(function)}" in shown
    fixtures = [name for name in vars(pytest_plugin) if name.startswith("tallystick_")]
    assert [row[0] for row in rows_of(page, "fixture")] == fixtures


def test_contributors_are_told_the_layers_that_are_enforced():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["id"] == "layers")
    told = (ROOT / "CONTRIBUTING.md").read_text().partition("nothing imports upward:\n\n```\n")[2].partition("\n```")[0]
    assert told.splitlines() == [
        re.sub(r"\(?tallystick\.([a-z_.]+)\)?", r"\1", line).replace(" | ", ", ") for line in layers
    ]
