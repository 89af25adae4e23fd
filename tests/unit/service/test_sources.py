"""Where settings come from, which goes before which, and what each is refused for."""

from pathlib import Path

import pytest

from tallystick import GeneralError
from tallystick.service.sources import gather_settings, read_environment, read_file

KEY = "a-Key=of-20-characters"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "core.yaml"


def test_flags_go_before_the_environment_and_that_before_the_file(file: Path):
    file.write_text("port: 1\nhost: a\nworkers: 2\n# a comment\nlog_level: null\n")
    environment = {"SUPERTOKENS_PORT": "2", "SUPERTOKENS_HOST": "b", "PATH": "/bin", "LOG_LEVEL": ""}
    settings, flagged = gather_settings(file, environment, {"port": "3"})
    assert (settings.port, settings.host, settings.workers, settings.log_level) == (3, "b", 2, "INFO")
    assert flagged == {"port"}


def test_nothing_set_is_all_defaults():
    settings, flagged = gather_settings(None, {}, {})
    assert (settings.port, flagged) == (3567, frozenset())


def test_a_secret_in_the_environment_goes_before_a_secret_file_in_the_file(file: Path):
    file.write_text("secret_file: x\n")
    settings, _ = gather_settings(file, {"TALLYSTICK_SECRET": "s" * 32}, {})
    assert (settings.secret, settings.secret_file) == ("s" * 32, None)
    settings, _ = gather_settings(file, {"TALLYSTICK_SECRET": "s" * 32}, {"secret_file": "y"})
    assert (settings.secret, settings.secret_file) == (None, "y")


def test_the_environment_may_be_quoted():
    assert read_environment({"SUPERTOKENS_HOST": '"local\\"host"'}) == {"host": 'local"host'}


def test_an_alias_does_in_the_file_and_in_the_environment(file: Path):
    file.write_text("access_token_signing_key_update_interval: 2\n")
    name = "access_token_dynamic_signing_key_update_interval"
    assert read_file(file) == {name: 2}
    assert read_environment({"ACCESS_TOKEN_SIGNING_KEY_UPDATE_INTERVAL": "3"}) == {name: 3}


def test_a_file_may_be_empty_and_keys_a_list(file: Path):
    file.write_text("")
    assert read_file(file) == {}
    file.write_text(f"api_keys: [{KEY}]\nsupertokens_max_cdi_version: 5.4\n")
    assert read_file(file) == {"api_keys": (KEY,), "supertokens_max_cdi_version": "5.4"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("port: 0", r"core\.yaml: port is 0, but must be a whole number, 1 to 65,535"),
        ("prot: 1", r"core\.yaml: there is no setting 'prot': did you mean port\?"),
        ("1: 2", "there is no setting '1'"),
        ("- port", "must have a setting on each line"),
        ("port", "must have a setting on each line"),
        ("a: b\n c: [", r"is not YAML: .* \(line 2, column 3\)"),
        ("a: \0", "is not YAML"),
        ("access_token_signing_key_update_interval: 1\naccess_token_dynamic_signing_key_update_interval: 2", "twice"),
        ("#" * 1_100_000, "is larger than"),
    ],
)
def test_a_bad_file_is_refused_with_its_name(file: Path, text: str, message: str):
    file.write_text(text)
    with pytest.raises(GeneralError, match=message) as refused:
        read_file(file)
    assert refused.value.reason == "bad_config"


def test_a_file_that_is_not_there_is_refused(file: Path):
    with pytest.raises(GeneralError, match="cannot be read: No such file"):
        read_file(file)


def test_a_file_of_bytes_is_refused(file: Path):
    file.write_bytes(b"port: \xff\xfe")
    with pytest.raises(GeneralError, match="is not YAML"):
        read_file(file)


def test_a_secret_in_a_broken_file_is_not_shown(file: Path):
    file.write_text("secret: do-not-show-me\n  api_keys: [nor-me")
    with pytest.raises(GeneralError) as refused:
        read_file(file)
    assert "do-not-show-me" not in refused.value.message
    assert "nor-me" not in refused.value.message


def test_a_bad_value_is_said_to_be_the_environments_or_the_command_lines():
    with pytest.raises(GeneralError, match="SUPERTOKENS_PORT: port is 'tcp:/"):
        gather_settings(None, {"SUPERTOKENS_PORT": "tcp://10.0.0.1:3567"}, {})
    with pytest.raises(GeneralError, match="the command line: workers is '0', but must be a whole number, 1 to 64"):
        gather_settings(None, {}, {"workers": "0"})
