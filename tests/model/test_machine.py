"""Whatever users, tabs, thieves, operators and time do in whatever order: the facade does what the model says."""

import os
from dataclasses import dataclass
from datetime import timedelta

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from tallystick import Sessions, TokenTheftDetected, TryRefreshToken, Unauthorised
from tallystick.storage.memory import MemoryStore
from tallystick.testing import FakeClock, SeededEntropy
from tests.model import session_model as model

USERS, TENANTS = ("ada", "grace"), ("public", "t1")
PAYLOADS = st.dictionaries(st.sampled_from(["role", "plan"]), st.sampled_from(["a", "b", 1]), max_size=2)
MS = timedelta(milliseconds=1)
JUMPS = (0, 1, 9_999, 10_000, 10_001, 10_001, 59_999, 60_001, 60_001, 1_800_000, 3_599_999, 3_600_000, 7_200_000)
"""Around each limit: the grace, an access token's life, a session's without use and at all, a signing key's."""


@dataclass
class Jar:
    """What somebody has of a session."""

    refresh: model.Refresh
    access: model.Access


class Machine(RuleBasedStateMachine):
    jars = Bundle("jars")
    url = "memory"

    def __init__(self):
        super().__init__()
        self.clock, self.entropy = FakeClock(), SeededEntropy(1)
        self.secrets = ["the first secret of them all, which is long"]
        self.store = self.make_store()
        self.texts = {}
        self.all = []
        self.thefts = []
        self.open()

    def make_store(self):
        return MemoryStore()

    def open(self):
        self.sessions = Sessions(
            self.store,
            secret=self.secrets,
            algorithm="EdDSA",
            clock=self.clock,
            entropy=self.entropy,
            access_token_validity=model.ACCESS_LIFE * MS,
            refresh_token_validity=model.REFRESH_LIFE * MS,
            absolute_lifetime=model.ABSOLUTE_LIFE * MS,
            grace=model.GRACE * MS,
            signing_key_interval=timedelta(hours=2),
        )

    @property
    def now(self):
        return self.clock.now

    def attempt(self, method, *args, **options):
        """The outcome's name, and the result."""
        try:
            return "ok", method(*args, **options)
        except TokenTheftDetected as error:
            self.thefts.append(error.session_handle)
            return error.reason, None
        except Unauthorised as error:
            return error.reason, None
        except TryRefreshToken as error:
            # Long after a token has expired its key has gone too.
            return "expired" if error.reason == "unknown_key" else error.reason, None

    def expect(self, predicted, happened):
        assert happened == predicted, f"{happened!r}, but the model says {predicted!r}"

    # Users and their tabs, and whoever has a copy

    @rule(target=jars, user=st.sampled_from(USERS), tenant=st.sampled_from(TENANTS), payload=PAYLOADS, data=PAYLOADS)
    def sign_in(self, user, tenant, payload, data):
        created = self.sessions.create_new_session(user, payload, data, tenant_id=tenant)
        session = model.Session(created.session.handle, user, tenant, payload, data, self.now)
        self.all.append(session)
        assert created.refresh_token.expiry == session.expires_at
        return self.keep(created, session.line, session.issue(session.line, self.now, False))

    def keep(self, created, token, access):
        assert created.access_token.expiry == access.expires_at
        self.texts[token], self.texts[access] = created.refresh_token.token, created.access_token.token
        return Jar(token, access)

    @rule(target=jars, jar=jars)
    def refresh(self, jar):
        """Whoever has such a jar: a tab, another tab, one whose answer was lost, or a thief."""
        predicted, child = model.refresh(jar.refresh, self.now)
        happened, created = self.attempt(self.sessions.refresh_session, self.texts[jar.refresh])
        self.expect(predicted, happened)
        if child is None:
            return multiple()
        assert created.session.jwt_payload == child.session.payload
        return self.keep(created, child, child.session.issue(child, self.now, True))

    @rule(target=jars, jar=jars)
    def refresh_and_call(self, jar):
        """As a browser does."""
        renewed = self.refresh(jar)
        if isinstance(renewed, Jar):
            self.call(renewed, False)
        return renewed

    @rule(target=jars, jar=jars, jump=st.sampled_from(JUMPS))
    def come_late_after_another_tab(self, jar, jump):
        renewed = self.refresh_and_call(jar)
        self.wait(jump)
        self.refresh(jar)
        return renewed

    @rule(target=jars, jar=jars)
    def two_holders_go_on(self, jar):
        """A thief and his victim, or two tabs whose answers came in the other order."""
        one, other = self.refresh(jar), self.refresh(jar)
        if not (isinstance(one, Jar) and isinstance(other, Jar)):
            return multiple()
        further = self.refresh(one)
        self.call(one, False)
        self.call(other, False)
        self.refresh(other)
        return further

    @rule(jar=jars, check_database=st.booleans())
    def call(self, jar, check_database):
        access = jar.access
        predicted, replacement = model.verify(access, self.now, check_database)
        happened, found = self.attempt(self.sessions.get_session, self.texts[access], check_database=check_database)
        self.expect(predicted, happened)
        if happened != "ok":
            return
        session = access.refresh.session
        assert (found.session.handle, found.session.user_id) == (session.handle, session.user)
        assert (found.access_token is not None) == (replacement is not None)
        if replacement is not None:
            assert found.session.jwt_payload == replacement.payload
            assert found.access_token.expiry == replacement.expires_at
            self.texts[replacement] = found.access_token.token
            jar.access = replacement
        else:
            # A token that lost its first use is accepted as it is, with the payload as it is stored.
            is_stored = access.is_marked or check_database
            assert found.session.jwt_payload == (session.payload if is_stored else access.payload)

    @rule(jar=jars, payload=st.none() | PAYLOADS)
    def regenerate(self, jar, payload):
        access, session = jar.access, jar.access.refresh.session
        happened, regenerated = self.attempt(self.sessions.regenerate_access_token, self.texts[access], payload)
        if happened == "expired":
            assert access.expires_at + model.ACCESS_LIFE < self.now, (
                "it takes an expired token as long as it has the key"
            )
            return
        self.expect("ok" if session.is_alive(self.now) else "no_session", happened)
        if happened != "ok":
            return
        session.payload = session.payload if payload is None else payload
        if access.expires_at < self.now:
            assert regenerated.access_token is None
            return
        jar.access = model.Access(access.refresh, access.expires_at, dict(session.payload), access.is_marked)
        self.texts[jar.access] = regenerated.access_token.token

    # The app

    @rule(jar=jars, payload=PAYLOADS)
    def update_payload(self, jar, payload):
        session = jar.refresh.session
        was_there = self.sessions.update_jwt_payload(session.handle, payload)
        assert was_there == session.is_alive(self.now)
        if was_there:
            session.payload = payload

    @rule(jar=jars, name=st.sampled_from(["role", "plan"]), value=st.sampled_from([None, "c"]), data=PAYLOADS)
    def merge_payload_and_replace_data(self, jar, name, value, data):
        session = jar.refresh.session
        was_there = self.sessions.merge_into_jwt_payload(session.handle, {name: value})
        assert was_there == session.is_alive(self.now) == self.sessions.update_session_data(session.handle, data)
        if was_there:
            rest = {key: one for key, one in session.payload.items() if key != name}
            session.payload = rest if value is None else {**rest, name: value}
            session.data = data

    @rule(jar=jars)
    def revoke(self, jar):
        session = jar.refresh.session
        assert self.sessions.revoke_session(session.handle) in ({False} if session.is_gone else {True, False})
        session.is_gone = True

    @rule(user=st.sampled_from(USERS), tenant=st.none() | st.sampled_from(TENANTS))
    def revoke_all_of_a_user(self, user, tenant):
        revoked = self.sessions.revoke_all_sessions_for_user(user, tenant_id=tenant)
        concerned = [s for s in self.all if s.user == user and tenant in (None, s.tenant)]
        alive = {s.handle for s in concerned if s.is_alive(self.now)}
        assert alive <= set(revoked) <= {s.handle for s in concerned if not s.is_gone}
        for session in concerned:
            session.is_gone = True

    # Operators and time

    @rule()
    def purge(self):
        over = sum(not s.is_gone and not s.is_alive(self.now) for s in self.all)
        assert self.sessions.purge_expired() <= over
        for session in self.all:
            session.is_gone = session.is_gone or not session.is_alive(self.now)

    @rule()
    def rotate_the_secret(self):
        self.secrets = [f"secret number {len(self.secrets)} of them all, which is long", *self.secrets]
        self.open()

    @rule(jump=st.sampled_from(JUMPS))
    def wait(self, jump):
        self.clock.advance(jump * MS)

    @invariant()
    def what_the_store_knows_is_what_the_model_knows(self):
        for user in USERS:
            alive = [s for s in self.all if s.user == user and s.is_alive(self.now)]
            assert set(self.sessions.get_all_session_handles_for_user(user)) == {s.handle for s in alive}
        for session in self.all[-3:]:
            found = self.sessions.get_session_information(session.handle)
            assert (found is not None) == session.is_alive(self.now)
            if found is not None:
                assert (found.jwt_payload, found.session_data) == (session.payload, session.data)
                assert found.expiry == session.expires_at

    @invariant()
    def each_theft_was_recorded_once(self):
        recorded = [event.session_handle for event in self.sessions.get_theft_events(limit=1000)]
        assert sorted(recorded) == sorted(self.thefts)


class OnSqlite(Machine):
    """The same on a real database."""

    def make_store(self):
        return "sqlite://"

    def open(self):
        store = getattr(self, "sessions", None)
        if store is not None:
            self.store = store._store
        super().open()


CI = os.environ.get("CI")
STEPS = {"deadline": None, "stateful_step_count": 30}
# The same each time; and to find the shortest story, which takes minutes, is for a laptop.
IN_CI = {"derandomize": True, "database": None, "phases": [Phase.explicit, Phase.generate]}


@pytest.mark.parametrize(("machine", "examples"), [(Machine, 500), (OnSqlite, 20)])
def test_the_facade_does_what_the_model_says(machine, examples):
    run_state_machine_as_test(machine, settings=settings(max_examples=examples, **STEPS, **(IN_CI if CI else {})))
