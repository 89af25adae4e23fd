"""Anything at all into every method: only errors of ours come out, and nothing in the store is changed."""

from copy import deepcopy

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tallystick import BadInput, SessionError, Sessions, TryRefreshToken, Unauthorised
from tallystick.storage.memory import MemoryStore
from tallystick.testing import FakeClock, SeededEntropy
from tests.unit.workshop import SECRET

STORE = MemoryStore()
SESSIONS = Sessions(STORE, secret=SECRET, algorithm="EdDSA", clock=FakeClock(), entropy=SeededEntropy(1))
CREATED = SESSIONS.create_new_session("user-1", {"role": "x"}, {"cart": 1}, enable_anti_csrf=True)
CHILD = SESSIONS.refresh_session(CREATED.refresh_token.token)
HANDLE, ACCESS, REFRESH = CREATED.session.handle, CREATED.access_token.token, CREATED.refresh_token.token

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=40)
    | st.binary(max_size=40)
    | st.builds(object)
)
things = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.sets(st.text(max_size=3), max_size=3)
        | st.dictionaries(st.text(max_size=5) | st.integers() | st.none(), inner, max_size=4)
    ),
    max_leaves=8,
)
long_texts = st.integers(0, 200_000).map(lambda size: "x" * size)


@st.composite
def mutations(draw, text):
    """A real token, changed in a few places so that it is another text."""
    changed = text
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(changed)))
        filler = draw(st.text(max_size=6) | st.sampled_from([".", "=", "A", "..", text[:20], text.split(".")[0]]))
        changed = changed[:at] + filler + changed[at + draw(st.integers(0, 8)) :]
    return changed if changed != text else changed + "A"


def attempt(kinds, method, *args, **options):
    """Call ``method``; what it raises must be of ``kinds``, and the store must be as it was."""
    before = deepcopy((STORE._sessions, STORE._keys))
    try:
        return method(*args, **options)
    except kinds:
        return None
    finally:
        assert (STORE._sessions, STORE._keys) == before


quick = settings(suppress_health_check=[HealthCheck.too_slow])


@given(things | long_texts, things, st.booleans(), things, st.booleans())
@quick
def test_anything_as_an_access_token_is_refused_and_changes_nothing(text, anti_csrf, check, id_refresh, database):
    kinds = (TryRefreshToken, Unauthorised)
    found = attempt(kinds, SESSIONS.get_session, text, anti_csrf, check, id_refresh, check_database=database)
    assert found is None
    assert attempt(kinds, SESSIONS.regenerate_access_token, text, {"a": 1}) is None


@given(mutations(ACCESS) | mutations(CHILD.access_token.token), st.booleans())
@quick
def test_a_changed_access_token_is_refused_and_changes_nothing(text, database):
    found = attempt(TryRefreshToken, SESSIONS.get_session, text, None, False, check_database=database)
    assert found is None
    assert attempt(TryRefreshToken, SESSIONS.regenerate_access_token, text, {"a": 1}) is None


@given(things)
@quick
def test_anything_as_an_anti_csrf_token_is_refused_and_changes_nothing(anti_csrf):
    assert attempt(TryRefreshToken, SESSIONS.get_session, ACCESS, anti_csrf) is None
    if anti_csrf is not None:
        assert attempt(Unauthorised, SESSIONS.refresh_session, REFRESH, anti_csrf) is None


@given(things | long_texts, things)
@quick
def test_anything_as_a_refresh_token_is_unauthorised_and_changes_nothing(text, anti_csrf):
    assert attempt(Unauthorised, SESSIONS.refresh_session, text, anti_csrf) is None


@given(mutations(REFRESH) | mutations(CHILD.refresh_token.token))
@quick
def test_a_changed_refresh_token_is_unauthorised_never_theft_and_changes_nothing(text):
    assert attempt(Unauthorised, SESSIONS.refresh_session, text) is None


@given(things | long_texts)
@quick
def test_anything_as_a_handle_is_no_session_or_refused_and_changes_nothing(thing):
    assert not attempt(BadInput, SESSIONS.revoke_session, thing)
    assert not attempt(BadInput, SESSIONS.revoke_sessions, thing)
    assert not attempt(BadInput, SESSIONS.revoke_sessions, [thing])
    for method in (SESSIONS.get_session_information, SESSIONS.get_session_data, SESSIONS.get_jwt_payload):
        assert attempt(BadInput, method, thing) is None
    for method in (SESSIONS.update_session_data, SESSIONS.update_jwt_payload, SESSIONS.merge_into_jwt_payload):
        assert not attempt(BadInput, method, thing, {"a": 1})


@given(things | long_texts, things)
@quick
def test_anything_as_a_user_or_tenant_is_nobody_or_refused_and_changes_nothing(user, tenant):
    assert not attempt(BadInput, SESSIONS.revoke_all_sessions_for_user, user, tenant_id=tenant)
    assert not attempt(BadInput, SESSIONS.get_all_session_handles_for_user, user, tenant_id=tenant)


@given(things | long_texts)
@quick
def test_anything_as_a_payload_or_data_is_kept_as_it_is_or_refused(thing):
    with_payload = SESSIONS.create_new_session("user-2").session.handle
    for update, read in (
        (SESSIONS.update_session_data, SESSIONS.get_session_data),
        (SESSIONS.update_jwt_payload, SESSIONS.get_jwt_payload),
    ):
        before = read(with_payload)
        try:
            assert update(with_payload, thing) is True
        except BadInput:
            assert read(with_payload) == before
        else:
            assert isinstance(read(with_payload), dict)
    SESSIONS.revoke_session(with_payload)


@given(things, things, things, things)
@quick
def test_anything_into_create_makes_a_session_that_works_or_is_refused_and_makes_none(user, payload, data, tenant):
    before = set(STORE._sessions)
    try:
        created = SESSIONS.create_new_session(user, payload, data, tenant_id=tenant)
    except BadInput:
        assert set(STORE._sessions) == before
    else:
        assert SESSIONS.get_session(created.access_token.token, check_database=True).session == created.session
        assert SESSIONS.revoke_session(created.session.handle) is True


@given(things, things)
@quick
def test_any_user_payload_and_data_are_kept_or_refused(payload, data):
    before = set(STORE._sessions)
    try:
        created = SESSIONS.create_new_session("user-3", payload, data)
    except BadInput:
        assert set(STORE._sessions) == before
    else:
        found = SESSIONS.get_session(created.access_token.token, check_database=True)
        # The text in the store and in the token are the same, so nothing is replaced.
        assert found.access_token is None
        assert SESSIONS.refresh_session(created.refresh_token.token).session == created.session
        assert SESSIONS.revoke_session(created.session.handle) is True


def test_the_session_that_all_this_was_done_to_is_as_it_was():
    assert SESSIONS.get_jwt_payload(HANDLE) == {"role": "x"}
    assert SESSIONS.get_session_data(HANDLE) == {"cart": 1}
    assert SESSIONS.get_session(ACCESS, CREATED.anti_csrf_token).session == CREATED.session
    with pytest.raises(AssertionError):
        attempt(SessionError, SESSIONS.update_session_data, HANDLE, {"cart": 1, "other": 2})
    SESSIONS.update_session_data(HANDLE, {"cart": 1})
