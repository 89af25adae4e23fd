"""Looking into a database past the store."""

from sqlalchemy import make_url, text

from tallystick.storage.sql.engine import make_engine

DATABASES = {"sqlite": "sqlite_url", "postgresql": "postgres_database", "mariadb": "mariadb_database"}
"""The fixtures that make an empty one."""


def parse(url):
    return make_url(url)


def run_sql(url, statement):
    engine = make_engine(make_url(url))
    with engine.connect() as connection:
        result = connection.execute(text(statement))
        rows = result.all() if result.returns_rows else []
    engine.dispose()
    return rows


def set_revision(url, revision):
    run_sql(url, f"UPDATE tallystick_version SET version_num = '{revision}'")
