"""``tallystick serve``, ``migrate``, ``copy``, ``move``, ``purge``, ``thefts`` and ``secret``.

No output holds a token, a password or a secret, save that of ``secret``. What goes wrong is one line on stderr and exit
code 1; a wrong use of the command line is 2, as Typer has it.
"""

from __future__ import annotations

import json
import secrets
import signal
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Annotated, Final, NoReturn, Protocol

import typer
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from tallystick.cli.copying import Tally, carry_sessions, copy_keys, copy_sessions, copy_tenants, remove_others
from tallystick.cli.serve import INTRODUCTION, ServeCommand, make_serve
from tallystick.config import PUBLIC, Config, milliseconds
from tallystick.errors import GeneralError
from tallystick.protocol.input import MAX_LISTED
from tallystick.storage.interface import SessionStore
from tallystick.storage.memory import MemoryStore
from tallystick.storage.moving import MovingStore
from tallystick.storage.opening import database_file, is_redis, open_store, parse_url
from tallystick.storage.redis.client import name_server
from tallystick.storage.sql.engine import ASYNC_DRIVERS, name_database
from tallystick.storage.sql.schema import HEAD
from tallystick.storage.sql.store import SqlStore
from tallystick.types import TheftEvent

URL_VARIABLE: Final = "TALLYSTICK_URL"
FROM_VARIABLE: Final = "TALLYSTICK_MOVING_FROM"
BATCH: Final = 1000
"""How many sessions go at once: small enough to keep nobody waiting, large enough to be quick."""

_SECRET_BYTES: Final = 48
_SAY_EVERY: Final = 10.0
"""Seconds between two lines of progress in a log."""
_TERMINATED: Final = 128 + signal.SIGTERM


class Show(Protocol):
    """Shows how far something has come: how many were handled, that in words, and what is for a log alone."""

    def __call__(self, count: int, text: str, more: str = "", /) -> None: ...


app: Final = typer.Typer(
    help="Session management for Python. Each command takes the URL of the store that the app uses.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,  # among them would be URLs with passwords
    rich_markup_mode="markdown",  # or the line breaks of docstrings would be the help's
)

StoreUrl = Annotated[
    str,
    typer.Argument(
        metavar="URL",
        envvar=URL_VARIABLE,
        show_default=False,
        help="sqlite:///file.db, postgresql://user:password@host/database (mysql:// and mariadb:// likewise) "
        "or redis://:password@host. "
        "A password in the environment is seen by fewer people than one on the command line.",
    ),
]


def _check_app(app_id: str) -> str:
    """In Redis, a star would be all apps."""
    try:
        return Config(app_id=app_id).app_id
    except GeneralError as error:
        raise typer.BadParameter(error.message) from error


AppId = Annotated[str, typer.Option("--app", callback=_check_app, help="Whose sessions: the setting app_id.")]

FromUrl = Annotated[
    str,
    typer.Argument(
        metavar="FROM_URL", envvar=FROM_VARIABLE, show_default=False, help="The store that the app uses now."
    ),
]
ToUrl = Annotated[
    str,
    typer.Argument(
        metavar="TO_URL", envvar=URL_VARIABLE, show_default=False, help="The one it is to use. Its tables are made."
    ),
]


def _show_version(is_wanted: bool) -> None:
    if is_wanted:
        _say(version("tallystick"))
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version and exit."),
    ] = False,
) -> None: ...


@app.command()
def migrate(
    url: StoreUrl = "",
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit with 1 if there is something to do.")
    ] = False,
    sql: Annotated[bool, typer.Option("--sql", help="Change nothing; print the SQL that would be run.")] = False,
) -> None:
    """Bring a database's tables to what this version needs.

    It does so whole or not at all, and it does no harm to run it twice, or on several machines at once.
    """
    with _clear_errors(), _sql_store(url, may_create=not (check or sql)) as store:
        revision = store.load_revision()
        if sql:
            _say(store.render_upgrade())
        elif revision == HEAD:
            _say(f"{_name(url)}: schema {HEAD}, up to date")
        elif check:
            _fail(f"{_name(url)}: {_found(revision)}, this version needs {HEAD}: run tallystick migrate")
        else:
            store.open()
            _say(f"{_name(url)}: {_found(revision)}, now {HEAD}")


@app.command()
def copy(
    from_url: FromUrl,
    to_url: ToUrl,
    app_id: AppId = PUBLIC,
    after: Annotated[
        str | None, typer.Option("--after", metavar="PLACE", help="Go on where an interrupted copy left off.")
    ] = None,
    mirror: Annotated[
        bool, typer.Option("--mirror", help="Also delete from TO what FROM does not have: signed out since.")
    ] = False,
) -> None:
    """Copy signing keys and sessions from one store to another, so that nobody has to sign in again.

    Each page is read back. Run it while the app is running, and once more with --mirror when it has stopped, which is
    quick; then start the app with the new URL and the same secret. FROM is only read. Interrupted, just run it again:
    what is there already is passed over.
    """
    with (
        _clear_errors(),
        _store(from_url, may_create=False) as source,
        _store(to_url, may_create=True) as target,
        _progress("copying") as show,
    ):
        if _name(from_url) == _name(to_url):
            raise GeneralError("these two are the same store", reason="bad_url")
        keys = copy_keys(source, target, app_id)
        tenants = copy_tenants(source, target, app_id)
        place = after

        def on_page(tally: Tally, next_place: str | None) -> None:
            nonlocal place
            place = next_place
            show(_handled(tally), _summary(tally), f"; --after {next_place} goes on here" if next_place else "")

        try:
            tally = copy_sessions(source, target, app_id, clock=_now, page_size=BATCH, after=after, on_page=on_page)
        except BaseException:
            if place is not None:
                _tell(f"interrupted; to go on: tallystick copy … --after {place}")
            raise
        if mirror:
            remove_others(
                source,
                target,
                app_id,
                clock=_now,
                page_size=BATCH,
                tally=tally,
                on_page=lambda tally, _: show(_handled(tally), _summary(tally)),
            )
    others = f", {tenants} new {_plural('tenant', tenants)}" if tenants else ""
    _say(f"{_name(from_url)} to {_name(to_url)}: {_summary(tally)}, {keys} new signing {_plural('key', keys)}{others}")


@app.command()
def move(
    from_url: FromUrl,
    to_url: ToUrl,
    app_id: AppId = PUBLIC,
) -> None:
    """Carry over what is left in FROM while the app runs on both, that is with moving_from.

    A session is taken out of FROM once it is in TO. The app must not run on FROM alone any more. When this has ended,
    start the app with the new URL alone. Interrupted, just run it again.
    """
    with (
        _clear_errors(),
        _store(from_url, may_create=False) as source,
        _store(to_url, may_create=True) as target,
        _progress("moving") as show,
    ):
        moving = MovingStore(target, source)
        moving.load_keys(app_id)
        moving.list_tenants(app_id)
        total = carry_sessions(
            source,
            moving,
            app_id,
            page_size=BATCH,
            on_page=lambda count: show(count, f"{count} {_plural('session', count)} moved"),
        )
    _say(f"{_name(from_url)} to {_name(to_url)}: {total} {_plural('session', total)} of {app_id} moved, none is left")


@app.command()
def purge(
    url: StoreUrl = "",
    app_id: AppId = PUBLIC,
    theft_days: Annotated[
        int,
        typer.Option("--keep-thefts", min=0, max=999_999, metavar="DAYS", help="Delete theft events that are older."),
    ] = Config().theft_retention.days,
) -> None:
    """Delete the sessions that have expired, old theft events, and endings that nobody needs any more.

    They are refused in any case and only take up room. Run it now and then, also while the app is running.
    """
    with _clear_errors(), _store(url, may_create=False) as store:
        now = _now()
        count = _purge(store, app_id, now)
        _say(f"{_name(url)}: {count} expired {_plural('session', count)} of {app_id} deleted")
        old = store.purge_thefts(app_id, now - milliseconds(timedelta(days=theft_days)))
        if old:
            _say(f"{_name(url)}: {old} theft {_plural('event', old)} of {app_id} deleted")
        store.purge_endings(app_id, now)


@app.command()
def thefts(
    url: StoreUrl = "",
    app_id: AppId = PUBLIC,
    user_id: Annotated[str | None, typer.Option("--user", help="Only this user's.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=MAX_LISTED, help="How many at the most.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, for programs.")] = False,
) -> None:
    """List the latest thefts that were detected, newest first, and who was on either side.

    The session of each is revoked already. Who of the two is the thief, nobody can tell from this.
    """
    with _clear_errors(), _store(url, may_create=False) as store:
        events = store.load_thefts(app_id, user_id, limit)
        for event in events:
            _say(json.dumps(asdict(event)) if as_json else _describe(event))
        if not events and not as_json:
            _say(f"{_name(url)}: no thefts of {app_id} on record")


@app.command()
def secret() -> None:
    """Print a new random secret, to be set as TALLYSTICK_SECRET."""
    _say(secrets.token_urlsafe(_SECRET_BYTES))


def _describe(event: TheftEvent) -> str:
    detected_at = datetime.fromtimestamp(event.detected_at / 1000, UTC).isoformat(" ", "seconds")
    presenter = _side(event.presenter_user_agent, event.presenter_address)
    holder = _side(event.holder_user_agent, event.holder_address)
    return (
        f"{detected_at}  {event.kind}  user {event.user_id}  session {event.session_handle}\n"
        f"    presented by {presenter} (generation {event.presented_generation})\n"
        f"    held by      {holder} (generation {event.line_generation})"
    )


def _side(user_agent: str | None, address: str | None) -> str:
    return f"{address or 'an unknown address'}, {user_agent or 'an unknown client'}"


def _purge(store: SessionStore, app_id: str, now: int) -> int:
    total = 0
    with _progress("looking for expired sessions") as show:
        while deleted := store.purge_sessions(app_id, now, BATCH):
            total += deleted
            show(total, f"{total} deleted")
    return total


@contextmanager
def _progress(first: str) -> Generator[Show]:
    """How far it has come, on stderr: on a terminal a line that changes; elsewhere, as in a job's log, a new one every
    ten seconds. Until it ends, SIGTERM is told of as Ctrl-C is."""
    # Loaded here, as it is a twentieth of what `serve` does until it is ready.
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console, began, said = Console(stderr=True), time.monotonic(), time.monotonic()
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with _interruptible(), Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as line:
        task = line.add_task(first)

        def show(count: int, text: str, more: str = "") -> None:
            nonlocal said
            now = time.monotonic()
            text = f"{text} ({round(count / max(now - began, 0.001))} a second)"
            line.update(task, description=text)
            if not console.is_terminal and now - said >= _SAY_EVERY:
                said = now
                _tell(text + more)

        yield show


@contextmanager
def _interruptible() -> Generator[None]:
    def stop(_number: int, _frame: object) -> NoReturn:
        raise SystemExit(_TERMINATED)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _handled(tally: Tally) -> int:
    return tally.copied + tally.same + tally.expired


def _summary(tally: Tally) -> str:
    parts = [f"{tally.copied} {_plural('session', tally.copied)} copied", f"{tally.same} there already"]
    parts += [f"{tally.expired} expired left behind"] if tally.expired else []
    parts += [f"{tally.removed} removed"] if tally.removed else []
    return ", ".join(parts)


def _plural(noun: str, count: int) -> str:
    return noun if count == 1 else f"{noun}s"


def _now() -> int:
    return time.time_ns() // 1_000_000


@contextmanager
def _store(url: str, *, may_create: bool) -> Generator[SessionStore]:
    plain = _plain(url)
    store = open_store(plain, migrate=may_create)
    if isinstance(store, MemoryStore):
        raise GeneralError("sessions in memory end with the app: there is nothing to do", reason="unsupported_store")
    file = database_file(plain)
    if file is not None and not (may_create or file.exists()):
        raise GeneralError(f"there is no file {file}", reason="bad_url")  # SQLite would make an empty one
    if file is not None and not file.parent.is_dir():
        raise GeneralError(f"there is no directory {file.parent}", reason="bad_url")
    try:
        yield store
    finally:
        store.close()


@contextmanager
def _sql_store(url: str, *, may_create: bool) -> Generator[SqlStore]:
    with _store(url, may_create=may_create) as store:
        if not isinstance(store, SqlStore):
            raise GeneralError("this store has no tables: there is nothing to migrate", reason="unsupported_store")
        yield store


def _plain(url: str) -> str:
    """An app's asynchronous driver is none for a command, which takes the database's usual one."""
    if not url:
        raise GeneralError(f"which database? Give its URL, or set {URL_VARIABLE}", reason="bad_url")
    scheme, colon, rest = url.partition("://")
    backend, _, driver = scheme.partition("+")
    return f"{backend if driver in (*ASYNC_DRIVERS.values(), 'asyncpg') else scheme}{colon}{rest}"


def _name(url: str) -> str:
    plain = _plain(url)
    return name_server(plain) if is_redis(plain) else name_database(parse_url(plain))


def _found(revision: str | None) -> str:
    return "no schema yet" if revision is None else f"schema {revision}"


def _tell(text: str) -> None:
    typer.echo(text, err=True)


def _say(text: str) -> None:
    typer.echo(text)


@contextmanager
def _clear_errors() -> Generator[None]:
    try:
        yield
    except GeneralError as error:
        _fail(error.message)
    except DBAPIError as error:
        _fail(str(error.orig))  # what SQLAlchemy adds is the statement
    except (SQLAlchemyError, OSError) as error:
        _fail(str(error))
    except Exception as error:
        if not type(error).__module__.startswith("redis."):
            raise
        _fail(str(error))


def _fail(message: str) -> NoReturn:
    from rich.console import Console  # as above

    line = " ".join(message.split())
    Console(stderr=True).print(line, style="red", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(1)


app.command("serve", cls=ServeCommand, help=INTRODUCTION[0])(make_serve(_fail))
