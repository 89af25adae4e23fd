"""An index for each query, and no other: what the databases themselves say of how they carry each step out."""

import pytest
from sqlalchemy import event

from tallystick.storage.opening import open_store
from tallystick.storage.sql.several import advance_lines, mark_all_used
from tallystick.testing.contract.rows import CAUSE, LATER, LINE, NOW, make_key, make_session, make_step, make_theft
from tests.storage.databases import run_sql

SESSIONS, USERS, DAY = 4000, 800, 86_400_000
EXPLAIN = {"sqlite": "EXPLAIN QUERY PLAN ", "postgresql": "EXPLAIN ", "mariadb": "EXPLAIN FORMAT=JSON "}
WHOLE_TABLE = {
    "sqlite": ("SCAN tallystick_sessions", "SCAN tallystick_theft_events"),
    "postgresql": ("Seq Scan on tallystick_sessions", "Seq Scan on tallystick_theft_events"),
    "mariadb": ('"access_type": "ALL"',),
}
ANALYZE = {
    "sqlite": ["ANALYZE"],
    "postgresql": ["ANALYZE"],
    "mariadb": ["ANALYZE TABLE tallystick_sessions", "ANALYZE TABLE tallystick_theft_events"],
}
INDEXES = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'index' AND name LIKE 'ix_tallystick_%'",
    "postgresql": "SELECT indexname FROM pg_indexes WHERE indexname LIKE 'ix_tallystick_%'",
    "mariadb": "SELECT DISTINCT index_name FROM information_schema.statistics WHERE table_schema = DATABASE() "
    "AND index_name LIKE 'ix_tallystick_%'",
}


def fill(store):
    """Most are alive, and end on many days; there are old thefts and new ones."""
    for start in range(0, SESSIONS, 500):
        rows = [
            make_session(
                handle=f"h{number:04}",
                user_id=f"user-{number % USERS}",
                created_at=NOW + number,
                expires_at=NOW + (number % 100 - 2) * DAY,
                absolute_expires_at=NOW + 200 * DAY,
            )
            for number in range(start, start + 500)
        ]
        store.put_sessions(rows, NOW)
    for number in range(300):
        handle = f"h{number:04}"
        store.record_theft(
            make_theft(session_handle=handle, user_id=f"user-{number}", detected_at=NOW + number * DAY), CAUSE
        )


def steps(store):
    yield store.load_session, "public", "h1000"
    yield store.load_sessions, "public", ["h1000", "h1001", "h1002"]
    yield store.mark_used, "public", "h1000", LINE, NOW, LATER
    yield store.advance_line, "public", "h1000", LINE, make_step()
    yield store.update_jwt_payload, "public", "h1000", "{}", NOW
    yield store.update_jwt_payload, "public", "h1000", "{}", NOW, "{}"
    yield store.update_session_data, "public", "h1000", "{}", NOW
    yield store.list_handles_of_user, "public", "user-500", None, NOW
    yield store.list_handles_of_user, "public", "user-500", "public", NOW
    yield store.list_sessions, "public", "h1000", 10
    yield store.insert_session_within, make_session(handle="new", user_id="user-501"), 2, True, "h1001", CAUSE
    yield store.delete_sessions, "public", ["h1002", "h1003"], CAUSE
    yield store.delete_sessions_of_user, "public", "user-502", None, CAUSE
    yield store.purge_sessions, "public", NOW, 10
    yield store.record_theft, make_theft(session_handle="h1500"), CAUSE
    yield store.load_thefts, "public", None, 10
    yield store.load_thefts, "public", "user-7", 10
    yield store.purge_thefts, "public", NOW + 3 * DAY
    yield store.insert_key, make_key()


def test_no_step_reads_a_whole_table_and_no_index_is_there_for_nothing(database_url):
    kind = database_url.partition(":")[0]
    store = open_store(database_url, migrate=True)
    store.open()
    fill(store)
    for statement in ANALYZE[kind]:
        run_sql(database_url, statement)
    plans = []

    @event.listens_for(store._engine, "before_cursor_execute")
    def explain(_connection, cursor, statement, parameters, *_):
        if statement.lstrip().startswith(("SELECT tally", "UPDATE", "DELETE", "WITH")):
            cursor.execute(EXPLAIN[kind] + statement, parameters)
            plans.append((statement, "\n".join(str(row) for row in cursor.fetchall())))

    for method, *args in steps(store):
        method(*args)
    if kind == "postgresql":
        with store._engine.connect() as connection:
            for step, rest in ((advance_lines, (make_step(),)), (mark_all_used, (NOW, LATER))):
                step(connection, "public", [(f"h{number}", LINE, *rest) for number in range(1000, 1016)])
    store.close()
    assert len(plans) >= 18
    assert sum("unnest" in statement for statement, _ in plans) == 2 * (kind == "postgresql")
    for statement, plan in plans:
        whole = [line for line in plan.splitlines() if any(sign in line for sign in WHOLE_TABLE[kind])]
        assert not [line for line in whole if "USING" not in line], f"{statement}\n{plan}"
    everything = "\n".join(plan for _, plan in plans)
    # The log of endings, which is as long as there are revocations in an hour, is read by what has come since.
    indexes = [name for (name,) in run_sql(database_url, INDEXES[kind]) if "endings" not in name]
    assert len(indexes) == 4
    assert [name for name in indexes if name not in everything] == []


@pytest.mark.parametrize("expired", [0, 1])
def test_a_purge_looks_at_what_is_over_and_at_nothing_else(postgres_database, expired):
    """However much there is that is alive, and also where it comes first in the table."""
    store = open_store(postgres_database, migrate=True)
    store.open()
    fill(store)
    store.purge_sessions("public", NOW, SESSIONS)
    if expired:
        store.put_sessions([make_session(handle=f"over-{number}", expires_at=NOW - DAY) for number in range(20)], NOW)
    run_sql(postgres_database, "VACUUM ANALYZE tallystick_sessions")
    touched = []

    @event.listens_for(store._engine, "before_cursor_execute")
    def explain(_connection, cursor, statement, parameters, *_):
        cursor.execute(
            f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement.partition('DELETE')[0]} SELECT handle FROM picked",
            parameters,
        )
        (plan,) = cursor.fetchone()
        touched.append(plan[0]["Plan"]["Shared Hit Blocks"] + plan[0]["Plan"]["Shared Read Blocks"])

    assert store.purge_sessions("public", NOW, 10) == 10 * expired
    store.close()
    pages_of_all = 400
    assert touched[0] < 40 < pages_of_all
