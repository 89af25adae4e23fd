"""Where the deployment's secret comes from, the clock, and the reports."""

import logging
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tallystick import AsyncSessions, GeneralError, Sessions
from tallystick.edges import SECRET_VARIABLE, find_secret, system_clock
from tallystick.protocol.signing import load_signer
from tallystick.storage.memory import MemoryStore
from tests.unit.workshop import FORMER, SECRET, private_key


@pytest.fixture(autouse=True)
def no_secret_around(monkeypatch, tmp_path):
    monkeypatch.delenv(SECRET_VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)


def refuse(make, *args, **options):
    with pytest.raises(GeneralError) as refused:
        make(*args, **options)
    return refused.value


def test_a_secret_is_made_beside_an_sqlite_database_for_its_owner_alone(tmp_path, caplog):
    url = f"sqlite:///{tmp_path}/app.db"
    secret = find_secret(url)
    path = tmp_path / "app.db.secret"
    assert path.read_text() == f"{secret}\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(secret) == 64
    assert [p.name for p in tmp_path.iterdir()] == ["app.db.secret"]
    [record] = caplog.records
    assert (record.levelname, record.name) == ("WARNING", "tallystick")
    assert "app.db.secret" in record.getMessage()
    assert secret not in record.getMessage()


def test_the_secret_is_made_once_and_is_the_same_after_a_restart(tmp_path, caplog):
    url = f"sqlite:///{tmp_path}/app.db"
    first = find_secret(url)
    caplog.clear()
    assert find_secret(url) == first
    assert caplog.records == []
    assert find_secret(f"sqlite:///{tmp_path}/other.db") != first


def test_sessions_in_a_file_outlive_the_process_that_made_them(tmp_path):
    url = f"sqlite:///{tmp_path}/app.db"
    with Sessions(url, algorithm="EdDSA") as sessions:
        created = sessions.create_new_session("u")
    with Sessions(url, algorithm="EdDSA") as sessions:
        assert sessions.get_session(created.access_token.token).session == created.session
        assert sessions.refresh_session(created.refresh_token.token).session == created.session


def test_eight_processes_at_once_read_one_secret(tmp_path):
    code = f"from tallystick.edges import find_secret; print(find_secret('sqlite:///{tmp_path}/app.db'))"

    def start(_):
        return subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
        ).stdout

    with ThreadPoolExecutor(8) as pool:
        secrets = set(pool.map(start, range(8)))
    assert len(secrets) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["app.db.secret"]


def test_who_comes_second_to_make_the_secret_takes_the_first_ones(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path}/app.db"
    first = find_secret(url)
    # As it is for a process that looked just before the other one had made it.
    monkeypatch.setattr(Path, "exists", lambda path: False)
    assert find_secret(url) == first
    assert [p.name for p in tmp_path.iterdir()] == ["app.db.secret"]


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602, 0o610])
def test_a_secret_that_others_can_reach_is_warned_about_and_still_used(tmp_path, caplog, mode):
    url = f"sqlite:///{tmp_path}/app.db"
    secret = find_secret(url)
    (tmp_path / "app.db.secret").chmod(mode)
    caplog.clear()
    assert find_secret(url) == secret
    [record] = caplog.records
    assert "chmod 600" in record.getMessage()


def test_a_secret_that_cannot_be_made_or_read_is_told_with_the_way_out(tmp_path):
    error = refuse(find_secret, f"sqlite:///{tmp_path}/missing/app.db")
    assert error.reason == "no_secret"
    assert "directory exists" in str(error)
    assert isinstance(error.__cause__, OSError)
    (tmp_path / "app.db.secret").write_bytes(b"\xff" * 40)
    assert refuse(find_secret, f"sqlite:///{tmp_path}/app.db").reason == "no_secret"


def test_a_secret_file_that_was_emptied_is_refused_and_not_made_anew(tmp_path):
    (tmp_path / "app.db.secret").touch(0o600)
    assert refuse(Sessions, f"sqlite:///{tmp_path}/app.db").reason == "weak_secret"
    assert (tmp_path / "app.db.secret").read_text() == ""


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (SECRET, [SECRET]),
        (f"{SECRET} {FORMER}", [SECRET, FORMER]),
        (f"  {SECRET}\n{FORMER}\t", [SECRET, FORMER]),
    ],
)
def test_the_environment_may_hold_several_newest_first(monkeypatch, tmp_path, value, found):
    monkeypatch.setenv(SECRET_VARIABLE, value)
    for url in ("memory://", f"sqlite:///{tmp_path}/app.db", "postgresql://db/app", MemoryStore()):
        assert find_secret(url) == found
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", ["", "   ", "\n"])
def test_an_empty_environment_is_none(monkeypatch, tmp_path, value):
    monkeypatch.setenv(SECRET_VARIABLE, value)
    find_secret(f"sqlite:///{tmp_path}/app.db")
    assert (tmp_path / "app.db.secret").exists()


def test_a_given_secret_goes_before_the_environment(monkeypatch):
    monkeypatch.setenv(SECRET_VARIABLE, SECRET)
    store = MemoryStore()
    created = Sessions(store, secret=FORMER, algorithm="EdDSA").create_new_session("u")
    with pytest.raises(GeneralError, match="none of the signing keys"):
        Sessions(store, algorithm="EdDSA").create_new_session("u")
    both = Sessions(store, secret=[SECRET, FORMER], algorithm="EdDSA")
    assert both.refresh_session(created.refresh_token.token).session == created.session


@pytest.mark.parametrize("facade", [Sessions, AsyncSessions])
@pytest.mark.parametrize("secret", ["x" * 31, b"x" * 31, "", [SECRET, "short"]])
def test_a_short_secret_is_refused_with_its_length_and_how_to_make_one(facade, secret):
    error = refuse(facade, "memory://", secret=secret)
    assert error.reason == "weak_secret"
    assert "at least 32" in str(error)
    assert "secrets.token_urlsafe(48)" in str(error)
    assert "xxx" not in str(error)


@pytest.mark.parametrize("secret", [5, object(), [], (), [None], [5], bytearray(b"x" * 32), {"a": 1}, {SECRET}])
def test_a_secret_of_another_type_is_refused(secret):
    assert refuse(Sessions, "memory://", secret=secret).reason == "bad_secret"


@pytest.mark.parametrize("secret", ["x" * 32, b"x" * 32, "é" * 16, "\ud800" * 11, (SECRET, FORMER)])
def test_a_secret_is_at_least_32_bytes_of_anything(secret):
    assert Sessions("memory://", secret=secret)


@pytest.mark.parametrize("facade", [Sessions, AsyncSessions])
def test_postgresql_without_a_secret_is_refused_with_the_way_out(facade):
    error = refuse(facade, "postgresql://user:hunter2@db.invalid/app")
    assert error.reason == "no_secret"
    for way in ('secret="..."', SECRET_VARIABLE, "secrets.token_urlsafe(48)", "Keep it out of the database"):
        assert way in str(error)
    assert "hunter2" not in str(error)


@pytest.mark.parametrize("url", ["memory://", "sqlite://", "sqlite:///:memory:", "sqlite+pysqlite:///:memory:"])
def test_sessions_that_end_with_the_process_need_no_secret(url, tmp_path):
    first, second = find_secret(url), find_secret(url)
    assert first != second
    assert len(first) >= 32
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("algorithm", "bits"), [("RS256", 2048), ("ES256", None), ("EdDSA", None)])
def test_a_new_key_is_of_its_algorithm(algorithm, bits):
    signer = load_signer(algorithm, private_key(algorithm, 99))
    assert signer.algorithm == algorithm
    if bits:
        assert len(signer.sign(b"")) == bits // 8


def test_the_real_clock_says_the_present_in_milliseconds():
    assert abs(system_clock() - time.time() * 1000) < 60_000
    assert isinstance(system_clock(), int)


def test_without_a_clock_and_dice_of_its_own_a_facade_uses_the_real_ones():
    created = Sessions("memory://", secret=SECRET, algorithm="EdDSA").create_new_session("u")
    assert abs(created.refresh_token.created_time - time.time() * 1000) < 60_000
    again = Sessions("memory://", secret=SECRET, algorithm="EdDSA").create_new_session("u")
    assert again.session.handle != created.session.handle


def test_a_refresh_token_from_after_a_backup_is_an_error_in_the_log(clock, caplog):
    store = MemoryStore()
    sessions = Sessions(store, secret=SECRET, algorithm="EdDSA", clock=clock)
    created = sessions.create_new_session("u")
    backup = dict(store._sessions)
    child = sessions.refresh_session(created.refresh_token.token)
    grandchild = sessions.refresh_session(child.refresh_token.token)
    store._sessions = backup
    with pytest.raises(Exception, match="restored from a backup"):
        sessions.refresh_session(grandchild.refresh_token.token)
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert sessions.get_all_session_handles_for_user("u") == [created.session.handle]
