"""What is in deploy/: checked as far as that goes without a container engine and without being root of a systemd."""

import configparser
import re
import shutil
import subprocess
from pathlib import Path

from tallystick.service.settings import CoreSettings, all_settings
from tallystick.service.sources import flag_of

DEPLOY = Path(__file__).parents[2] / "deploy"
UNIT = DEPLOY / "tallystick.service"
CONTAINER = DEPLOY / "Containerfile"


def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign] - systemd's names have capitals
    parser.read_string(UNIT.read_text("utf-8"))
    return parser


def options_in(command: str) -> set[str]:
    return set(re.findall(r"--[a-z-]+", command))


def test_the_unit_starts_what_there_is_and_gives_it_time_to_stop():
    service = unit()["Service"]
    assert " serve " in service["ExecStart"]
    assert options_in(service["ExecStart"]) <= {flag_of(name) for name in all_settings()} | {"--config"}
    assert int(service["TimeoutStopSec"]) > CoreSettings().shutdown_timeout + 5
    assert service["KillMode"] == "mixed"  # the workers are for their supervisor to stop


def test_the_unit_gives_the_service_no_more_than_it_needs():
    service = unit()["Service"]
    for name in ("NoNewPrivileges", "DynamicUser", "PrivateTmp", "ProtectHome", "MemoryDenyWriteExecute"):
        assert service[name] == "yes"
    assert (service["ProtectSystem"], service["CapabilityBoundingSet"], service["UMask"]) == ("strict", "", "0077")


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path):
    analyze = shutil.which("systemd-analyze")
    if analyze is None:  # then the other tests have to do
        assert set(unit().sections()) == {"Unit", "Service", "Install"}
        return
    program = tmp_path / "tallystick"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text("utf-8").replace("/opt/tallystick/bin/tallystick", str(program)))
    done = subprocess.run([analyze, "verify", "--man=no", copy], capture_output=True, text=True, check=False)
    about_ours = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert about_ours == []


def test_the_container_file_installs_extras_and_runs_what_there_is():
    text = CONTAINER.read_text("utf-8")
    extras = re.search(r'"/source\[([a-z,]+)\]"', text)
    assert extras
    project = (DEPLOY.parent / "pyproject.toml").read_text("utf-8")
    for extra in extras[1].split(","):
        assert re.search(rf"^{extra} = \[", project, re.MULTILINE)
    assert 'ENTRYPOINT ["tallystick", "serve"]' in text
    assert "SUPERTOKENS_HOST=0.0.0.0" in text
    assert "USER 10001" in text
    assert f"EXPOSE {CoreSettings().port}" in text
    copied = {Path(name).name for line in re.findall(r"^COPY (.+)$", text, re.MULTILINE) for name in line.split()[:-1]}
    for name in copied - {"--from=build", "tallystick"}:
        assert (DEPLOY.parent / name).exists(), name
