"""The command line, as its user sees it."""

import json
import subprocess
import sys
import time
from dataclasses import asdict

import pytest
from alembic import command
from sqlalchemy import MetaData, Table
from typer.testing import CliRunner

from tallystick import Sessions
from tallystick.cli.commands import URL_VARIABLE, app
from tallystick.protocol.derivation import MIN_SECRET_BYTES
from tallystick.storage.opening import open_store
from tallystick.storage.sql.engine import make_engine
from tallystick.storage.sql.migrations import make_config
from tallystick.storage.sql.schema import HEAD, REVISIONS
from tallystick.storage.sql.store import SqlStore
from tallystick.testing.contract.rows import CAUSE, LINE, NOW, make_key, make_session, make_step, make_theft
from tests.redis_servers import empty_redis
from tests.storage.databases import parse, run_sql, set_revision

SECRET = "a secret of tests, and long enough: 32 bytes"
DEAD_URL = "postgresql://user:hush@127.0.0.1:1/db?password=hush"


def run(*args, **variables):
    return CliRunner().invoke(app, [str(arg) for arg in args], env={URL_VARIABLE: None} | variables)


def test_help_names_the_commands():
    answer = run("--help")
    assert answer.exit_code == 0
    for name in ("migrate", "copy", "move", "purge", "thefts", "secret", "--version"):
        assert name in answer.output


def test_the_version_is_that_of_the_package():
    answer = run("--version")
    assert answer.exit_code == 0
    assert answer.output.strip()[0].isdigit()


def test_migrate_says_from_where_to_where_and_then_that_there_is_nothing_to_do(database_url):
    first = run("migrate", database_url)
    assert (first.exit_code, first.stderr) == (0, "")
    assert f"no schema yet, now {HEAD}" in first.stdout
    second = run("migrate", database_url)
    assert second.exit_code == 0
    assert f"{HEAD}, up to date" in second.stdout


def test_a_server_that_was_refused_is_fine_after_migrate(server_database):
    assert run("migrate", server_database).exit_code == 0
    store = open_store(server_database)
    store.insert_session(make_session())
    store.close()


def test_check_changes_nothing_and_fails_until_the_schema_is_there(server_database):
    for _ in range(2):
        answer = run("migrate", "--check", server_database)
        assert answer.exit_code == 1
        assert f"no schema yet, this version needs {HEAD}" in answer.stderr
    run("migrate", server_database)
    assert run("migrate", "--check", server_database).exit_code == 0


def test_the_sql_that_is_printed_makes_the_schema(server_database):
    answer = run("migrate", "--sql", server_database)
    assert answer.exit_code == 0
    assert run("migrate", "--check", server_database).exit_code == 1
    for statement in filter(str.strip, answer.stdout.split(";\n")):
        run_sql(server_database, statement)
    assert run("migrate", "--check", server_database).exit_code == 0
    assert run("migrate", "--sql", server_database).stdout.strip() == ""


@pytest.mark.parametrize("way", ["online", "by hand"])
@pytest.mark.parametrize("revision", REVISIONS[:-1])
def test_a_database_of_any_released_schema_is_brought_up_to_date_with_what_is_in_it(database_url, revision, way):
    engine = make_engine(parse(database_url))
    row = make_session(user_agent=None, address=None)
    with engine.connect() as connection, connection.begin():
        config = make_config()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    with engine.connect() as connection:
        then = Table("tallystick_sessions", MetaData(), autoload_with=connection)
        connection.execute(then.insert(), {name: value for name, value in asdict(row).items() if name in then.c})
    engine.dispose()
    answer = run("migrate", "--check", database_url)
    assert answer.exit_code == 1
    assert f"schema {revision}, this version needs {HEAD}" in answer.stderr
    if way == "online":
        assert f"schema {revision}, now {HEAD}" in run("migrate", database_url).stdout
    else:
        for statement in filter(str.strip, run("migrate", "--sql", database_url).stdout.split(";\n")):
            run_sql(database_url, statement)
    assert run("migrate", "--check", database_url).exit_code == 0
    store = open_store(database_url, migrate=False)
    assert store.load_session("public", row.handle) == row
    assert store.purge_sessions("public", row.absolute_expires_at, 10) == 1
    store.close()


@pytest.mark.parametrize("asked", [["migrate", "--check"], ["migrate", "--sql"], ["purge"], ["thefts"]])
def test_a_file_is_not_made_by_looking_for_it(tmp_path, asked):
    answer = run(*asked, f"sqlite:///{tmp_path / 'typo.db'}")
    assert answer.exit_code == 1
    assert "there is no file" in answer.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_a_directory_that_there_is_not_is_one_clear_line(tmp_path):
    answer = run("migrate", f"sqlite:///{tmp_path / 'nowhere' / 'sessions.db'}")
    assert (answer.exit_code, answer.stderr.strip()) == (1, f"there is no directory {tmp_path / 'nowhere'}")


@pytest.mark.parametrize("command", ["copy", "move", "purge", "thefts"])
def test_what_no_app_is_called_is_a_wrong_use(command, sqlite_url):
    answer = run(command, sqlite_url, *([sqlite_url] if command in ("copy", "move") else []), "--app", "*")
    assert answer.exit_code == 2
    assert "1 to 64 characters" in " ".join(answer.stderr.split())


def test_the_help_of_a_command_breaks_no_line_in_its_midst():
    lines = [line.strip() for line in run("copy", "--help", COLUMNS="80").output.splitlines()]
    assert "--mirror when it has stopped, which is quick; then start the app with the new" in lines


def test_an_asynchronous_apps_url_does_for_migrate(tmp_path):
    answer = run("migrate", f"sqlite+aiosqlite:///{tmp_path / 'sessions.db'}")
    assert (answer.exit_code, answer.stderr) == (0, "")


def test_the_url_comes_from_the_environment(sqlite_url):
    assert run("migrate", TALLYSTICK_URL=sqlite_url).exit_code == 0
    assert "up to date" in run("migrate", "--check", TALLYSTICK_URL=sqlite_url).stdout


def test_the_environments_url_is_not_shown_in_help():
    assert "hush" not in run("migrate", "--help", TALLYSTICK_URL=DEAD_URL).output


def test_purge_deletes_what_has_expired_of_one_app(database_url):
    store = open_store(database_url, migrate=True)
    alive = time.time_ns() // 1_000_000 + 60_000
    for number in range(3):
        store.insert_session(make_session(handle=f"over-{number}"))
    store.insert_session(make_session(handle="alive", expires_at=alive, absolute_expires_at=alive))
    store.insert_session(make_session(app_id="elsewhere"))
    assert "3 expired sessions of public deleted" in run("purge", database_url).stdout
    assert "0 expired sessions of public deleted" in run("purge", database_url).stdout
    assert "1 expired session of elsewhere deleted" in run("purge", database_url, "--app", "elsewhere").stdout
    assert store.load_session("public", "alive") is not None
    store.close()


def test_thefts_are_listed_with_both_sides(database_url):
    store = open_store(database_url, migrate=True)
    events = [make_theft(session_handle="a"), make_theft(session_handle="b", user_id="other", detected_at=NOW + 1000)]
    for event in events:
        store.insert_session(make_session(handle=event.session_handle))
        store.record_theft(event, CAUSE)
    store.close()
    answer = run("thefts", database_url)
    assert (answer.exit_code, answer.stderr) == (0, "")
    assert answer.stdout.splitlines()[:3] == [
        "2023-11-14 22:13:21+00:00  sibling  user other  session b",
        "    presented by 192.0.2.2, a browser, ünknown (generation 3)",
        "    held by      an unknown address, an unknown client (generation 4)",
    ]
    assert run("thefts", database_url, "--limit", "1").stdout.count("session") == 1
    assert "session a" in run("thefts", database_url, "--user", "user").stdout
    listed = run("thefts", database_url, "--json").stdout.splitlines()
    assert [json.loads(line) for line in listed] == [asdict(event) for event in reversed(events)]


def test_where_there_was_no_theft_it_is_said(database_url):
    run("migrate", database_url)
    assert "no thefts of mine on record" in run("thefts", database_url, "--app", "mine").stdout
    assert run("thefts", database_url, "--json").stdout == ""


def test_purge_deletes_theft_events_that_are_old_enough(database_url):
    store = open_store(database_url, migrate=True)
    now, day = time.time_ns() // 1_000_000, 86_400_000
    for age in (1, 89, 91):
        store.insert_session(make_session(handle=f"h{age}", expires_at=now + day, absolute_expires_at=now + day))
        store.record_theft(make_theft(session_handle=f"h{age}", detected_at=now - age * day), CAUSE)
    assert "1 theft event of public deleted" in run("purge", database_url).stdout
    assert "theft event" not in run("purge", database_url).stdout
    assert "1 theft event of public" in run("purge", database_url, "--keep-thefts", "2").stdout
    assert [event.session_handle for event in store.load_thefts("public", None, 10)] == ["h1"]
    store.close()


@pytest.mark.parametrize("limit", ["0", "-1", "1001", "many"])
def test_a_limit_out_of_range_is_a_wrong_use(sqlite_url, limit):
    answer = run("thefts", sqlite_url, "--limit", limit)
    assert answer.exit_code == 2
    assert "--limit" in answer.stderr


def test_redis_is_purged_and_its_thefts_are_listed(redis_url):
    empty_redis(redis_url)
    store = open_store(redis_url)
    for handle in ("a", "b"):
        store.insert_session(make_session(handle=handle))
    store.record_theft(make_theft(session_handle="a"), CAUSE)
    store.close()
    assert "1 expired session of public deleted" in run("purge", redis_url, "--keep-thefts", "100000").stdout
    listed = run("thefts", redis_url)
    assert "session a" in listed.stdout
    answer = run("migrate", redis_url)
    assert answer.exit_code == 1
    assert "nothing to migrate" in answer.stderr


def make_living(count, **changes):
    end = time.time_ns() // 1_000_000 + 3_600_000
    return [
        make_session(handle=f"h{n:04}", user_id=f"user-{n % 7}", expires_at=end, absolute_expires_at=end, **changes)
        for n in range(count)
    ]


@pytest.fixture(params=["sqlite", "redis", "mariadb"])
def other_url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'other.db'}"
    if request.param == "mariadb":
        return request.getfixturevalue("mariadb_database")
    url = request.getfixturevalue("redis_url")
    empty_redis(url)
    return url


@pytest.mark.parametrize("is_there_and_back", [False, True], ids=["there", "and back"])
def test_copy_brings_keys_and_sessions_over_and_leaves_the_source_alone(sqlite_url, other_url, is_there_and_back):
    urls = (sqlite_url, other_url)[:: -1 if is_there_and_back else 1]
    source = open_store(urls[0], migrate=True)
    rows = make_living(1300)
    source.put_sessions(rows, NOW)
    source.insert_session(make_session(handle="over"))
    for number in (1, 2):
        source.insert_key(make_key(number))
    assert (
        "1300 sessions copied, 0 there already, 1 expired left behind, 2 new signing keys" in run("copy", *urls).stdout
    )
    target = open_store(urls[1])
    assert [target.load_session("public", row.handle) for row in rows] == rows
    assert target.load_session("public", "over") is None
    assert target.load_keys("public") == source.load_keys("public")
    assert target.list_handles_of_user("public", "user-3", None, NOW) == [row.handle for row in rows[3::7]]
    assert source.load_session("public", "over") is not None
    assert "0 sessions copied, 1300 there already" in run("copy", *urls).stdout


def test_a_second_copy_brings_what_has_changed_and_mirror_removes_who_signed_out(tmp_path):
    urls = [f"sqlite:///{tmp_path / name}.db" for name in ("from", "to")]
    source = open_store(urls[0], migrate=True)
    source.put_sessions(make_living(5), NOW)
    assert run("copy", *urls).exit_code == 0
    assert source.advance_line("public", "h0000", LINE, make_step(expires_at=make_living(1)[0].expires_at))
    source.delete_sessions("public", ["h0001"], CAUSE)
    assert "1 session copied, 3 there already" in run("copy", *urls).stdout
    target = open_store(urls[1])
    assert target.load_session("public", "h0000") == source.load_session("public", "h0000")
    assert target.load_session("public", "h0001") is not None
    assert "4 there already, 1 removed" in run("copy", *urls, "--mirror").stdout
    assert target.load_session("public", "h0001") is None


@pytest.mark.parametrize("options", [[], ["--mirror"]])
def test_a_copy_whose_urls_are_the_wrong_way_round_deletes_nothing(tmp_path, options):
    used, new = (f"sqlite:///{tmp_path / name}.db" for name in ("used", "new"))
    with Sessions(used, secret="x" * 40, algorithm="EdDSA") as sessions:
        created = sessions.create_new_session("ada")
        assert run("migrate", new).exit_code == 0
        answer = run("copy", *options, new, used)
        assert (answer.exit_code, "the wrong way round" in answer.stderr) == (1, True)
        assert sessions.get_session_information(created.session.handle) is not None
    assert run("copy", *options, used, new).exit_code == 0


def test_an_interrupted_copy_says_where_to_go_on(tmp_path, monkeypatch):
    urls = [f"sqlite:///{tmp_path / name}.db" for name in ("from", "to")]
    source = open_store(urls[0], migrate=True)
    source.put_sessions(make_living(2500), NOW)
    put, calls = SqlStore.put_sessions, []

    def put_twice(self, rows, now):
        calls.append(rows)
        if len(calls) == 3:
            raise OSError("the cable is out")
        put(self, rows, now)

    with monkeypatch.context() as patch:
        patch.setattr(SqlStore, "put_sessions", put_twice)
        answer = run("copy", *urls)
    assert answer.exit_code == 1
    assert "the cable is out" in answer.stderr
    place = answer.stderr.split("--after ")[1].split()[0]
    assert "500 sessions copied, 0 there already" in run("copy", *urls, "--after", place).stdout
    assert "0 sessions copied, 2500 there already" in run("copy", *urls).stdout


def test_copy_does_not_mix_two_apps_keys_nor_a_store_with_itself(tmp_path):
    urls = [f"sqlite:///{tmp_path / name}.db" for name in ("from", "to")]
    for number, url in enumerate(urls):
        open_store(url, migrate=True).insert_key(make_key(kid=f"kid-{number}"))
    open_store(urls[0]).put_sessions(make_living(1), NOW)
    answer = run("copy", *urls)
    assert (answer.exit_code, answer.stdout) == (1, "")
    assert "empty store" in answer.stderr
    assert open_store(urls[1]).load_session("public", "h0000") is None
    assert "the same store" in run("copy", urls[0], urls[0]).stderr
    assert "no file" in run("copy", f"sqlite:///{tmp_path / 'typo.db'}", urls[1]).stderr
    assert "in memory" in run("copy", urls[0], "memory://").stderr
    assert "hush" not in run("copy", urls[0], DEAD_URL).output


@pytest.mark.parametrize("place", ["h0001", "1:", "-1:5", "0:1:2", "9" * 30])
def test_a_place_that_redis_did_not_give_is_one_clear_line(redis_url, tmp_path, place):
    answer = run("copy", redis_url, f"sqlite:///{tmp_path / 'to.db'}", "--after", place)
    assert answer.exit_code == 1
    assert "not one that Redis gave" in answer.stderr


def test_who_was_signed_in_before_a_copy_is_signed_in_after_it(tmp_path):
    urls = [f"sqlite:///{tmp_path / name}.db" for name in ("from", "to")]
    with Sessions(urls[0], secret=SECRET) as before:
        created = before.create_new_session("ada", {"role": "admin"})
    assert run("copy", *urls).exit_code == 0
    with Sessions(urls[1], secret=SECRET) as after:
        found = after.get_session(created.access_token.token, created.anti_csrf_token)
        assert found.session == created.session
        refreshed = after.refresh_session(created.refresh_token.token, created.anti_csrf_token)
        assert refreshed.session.handle == created.session.handle


@pytest.mark.parametrize("command", ["purge", "thefts"])
def test_a_redis_server_that_is_not_there_is_one_line_on_stderr(command):
    answer = run(command, "redis://:hush@127.0.0.1:1")
    assert (answer.exit_code, answer.stdout) == (1, "")
    assert len(answer.stderr.splitlines()) == 1
    assert "hush" not in answer.stderr


def test_purge_leaves_an_outdated_schema_alone(postgres_database):
    answer = run("purge", postgres_database)
    assert answer.exit_code == 1
    assert "tallystick migrate" in answer.stderr


def test_a_later_schema_is_one_clear_line(sqlite_url):
    run("migrate", sqlite_url)
    set_revision(sqlite_url, "9999")
    answer = run("migrate", sqlite_url)
    assert answer.exit_code == 1
    assert "upgrade tallystick" in answer.stderr


def test_each_secret_is_new_and_long_enough():
    secrets = {run("secret").stdout.strip() for _ in range(3)}
    assert len(secrets) == 3
    assert min(map(len, secrets)) >= MIN_SECRET_BYTES


@pytest.mark.parametrize("command", ["migrate", "purge", "thefts"])
@pytest.mark.parametrize(
    "url", [DEAD_URL, "sqlite:////no/such/directory/x.db", "mongodb://:hush@host", "memory://", "hush", None]
)
def test_what_goes_wrong_is_one_line_on_stderr_without_a_password(command, url):
    answer = run(command, *([url] if url else []))
    assert answer.exit_code == 1
    assert answer.stdout == ""
    assert len(answer.stderr.splitlines()) == 1
    assert "Traceback" not in answer.stderr
    assert "hush" not in answer.stderr


def test_without_typer_the_extra_to_install_is_named():
    program = "import sys; sys.modules['typer'] = None; from tallystick.cli import main; main()"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert answer.returncode == 2
    assert 'pip install "tallystick[cli]"' in answer.stderr
    assert "Traceback" not in answer.stderr
