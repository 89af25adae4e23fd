"""What `tallystick serve` refuses before it begins: one line that says which setting, and what to do."""

import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tallystick.cli.commands import app

SECRET = "tests-only-" * 4


def refuse(*arguments: str, **environment: str) -> str:
    variables = {"TALLYSTICK_SECRET": SECRET} | environment
    done = CliRunner().invoke(app, ["serve", *arguments], env={"COLUMNS": "1000", **variables})
    assert done.exit_code == 1, done.output
    assert done.stdout == ""
    return done.stderr.strip()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port", "0"], "the command line: port is '0', but must be a whole number, 1 to 65,535"),
        (["--workers", "many"], "the command line: workers is 'many', but must be a whole number, 1 to 64"),
        (["--access-token-validity", "0"], "access_token_validity is '0', but must be a whole number, 1 to 86,400,000"),
        (["--refresh-token-validity", "1"], "refresh_token_validity is 1.0, but must be longer than access_token_vali"),
        (["--migrate", "maybe"], "migrate is 'maybe', but must be true or false"),
        (["--config", "nowhere.yaml"], "nowhere.yaml cannot be read: No such file or directory"),
        (["--dev", "--host", "192.0.2.1"], "--dev listens on this machine only, and 192.0.2.1 is not it"),
        (["--host", "no such host"], "host 'no such host' cannot be looked up"),
        (["--secret-file", "nowhere"], "secret_file nowhere cannot be read: FileNotFoundError"),
        (["--workers", "2", "memory://"], "sessions in memory are not shared by several workers"),
        (["nonsense"], "not a store's URL"),
        (["oracle://host/x"], "oracle:// is not supported"),
        (["postgresql+asyncpg9://host/x"], "there is no driver postgresql+asyncpg9"),
    ],
)
def test_a_wrong_argument_is_refused_by_name_with_what_is_accepted(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    assert message in refuse(*arguments, TALLYSTICK_SECRET="" if "--secret-file" in arguments else SECRET)


def test_without_a_secret_it_says_how_to_make_one():
    message = refuse("sqlite://", TALLYSTICK_SECRET="")
    assert message.startswith("a secret is needed: run `tallystick secret` once")
    assert "--dev" in message


def test_a_secret_that_is_too_short_is_refused_and_not_shown():
    message = refuse("sqlite://", TALLYSTICK_SECRET="too-short-a-secret")
    assert "too-short" not in message
    assert "32" in message


def test_a_port_that_is_taken_is_refused():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        message = refuse("--host", "127.0.0.1", "--port", str(port), "memory://")
    assert f"cannot listen on port {port} of 127.0.0.1: Address already in use" in message


def test_a_password_in_a_bad_url_is_not_shown(tmp_path: Path):
    assert "hidden" not in refuse("postgresql://me:hidden/word@host:port/x")
    config = tmp_path / "core.yaml"
    config.write_text("api_keys: hidden\n")
    assert "hidden" not in refuse("--config", str(config), "memory://")


def test_an_unknown_option_is_refused_with_a_near_one():
    done = CliRunner().invoke(app, ["serve", "--acces-token-validity", "5"])
    assert done.exit_code == 2
    assert "--access-token-validity" in done.stderr


def test_secrets_have_no_option():
    for option in ("--secret", "--api-keys", "--supertokens-saas-secret"):
        assert CliRunner().invoke(app, ["serve", option, "x" * 40]).exit_code == 2
