"""Whatever users, tabs, thieves, operators and time do in whatever order: the facade does what the model says.

Two processes serve from one store. An operator gives them new secrets, now one and now the other, also wrongly: a
token that the one has made may then be none to the other.
"""

import os
from copy import copy
from dataclasses import dataclass
from datetime import timedelta

import jwt
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tallystick import GeneralError, Sessions, TokenTheftDetected, TryRefreshToken, Unauthorised
from tallystick.storage.memory import MemoryStore
from tallystick.storage.opening import open_store
from tallystick.testing import FakeClock, SeededEntropy
from tests.model import session_model as model

USERS, TENANTS = st.sampled_from(("ada", "grace")), st.sampled_from(("public", "t1"))
PAYLOADS = st.dictionaries(st.sampled_from(["role", "plan"]), st.sampled_from(["a", "b", 1]), max_size=2)
RECENT = st.integers(0, 7)
"""Which jar of the newest ones, those of living sessions first: what is long past seldom matters. Where none lives,
someone signs in again, or else tries it all the same."""
MS = timedelta(milliseconds=1)
SOON = st.sampled_from((0, 1, 9_999, 10_000, 10_001, 59_999, 60_001))
LATE = st.sampled_from((120_001, 1_800_000, 3_599_999, 3_600_000, 7_330_000))
"""Around each limit: the grace, an access token's life; a session's without use and at all, a signing key's."""


@dataclass
class Jar:
    """What somebody has of a session."""

    refresh: model.Refresh
    access: model.Access


class Machine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.clock, self.entropy = FakeClock(), SeededEntropy(1)
        self.store = self.make_store()
        self.texts, self.keys = {}, {}
        self.jars, self.all, self.thefts = [], [], []
        self.backup = None
        self.newest_secret = 0
        self.processes = [self.start([0]), self.start([0])]

    def make_store(self):
        return MemoryStore()

    def start(self, secrets):
        sessions = Sessions(
            self.store,
            secret=[f"secret number {number} of them all, which is long" for number in secrets],
            algorithm="EdDSA",
            clock=self.clock,
            entropy=self.entropy,
            access_token_validity=model.ACCESS_LIFE * MS,
            refresh_token_validity=model.REFRESH_LIFE * MS,
            absolute_lifetime=model.ABSOLUTE_LIFE * MS,
            grace=model.GRACE * MS,
            signing_key_interval=model.KEY_SIGNS * MS,
        )
        return sessions, secrets

    @property
    def now(self):
        return self.clock.now

    @property
    def sessions(self):
        """The process whose turn it is."""
        return self.processes[0][0]

    @property
    def secrets(self):
        return self.processes[0][1]

    def attempt(self, predicted, method, *args, **options):
        """What the method gives, or None where it refuses. It has to do what was predicted."""
        happened, result = "ok", None
        try:
            result = method(*args, **options)
        except (GeneralError, TokenTheftDetected, TryRefreshToken, Unauthorised) as error:
            happened = error.reason
            if isinstance(error, TokenTheftDetected):
                self.thefts.append(error.session_handle)
        assert happened == predicted, f"{happened!r}, but the model says {predicted!r}"
        return result

    def signs(self):
        """Whether a token can be made here, as an outcome."""
        return "wrong_secret" if model.may_sign(self.keys.values(), self.now, self.secrets) is None else "ok"

    def says(self, outcome):
        """What a process says of a token that it takes for a stranger's: one with a wrong secret may not say so."""
        return self.signs() if outcome in ("bad_token", "unknown_key") and self.signs() != "ok" else outcome

    # What was handed out

    def keep(self, created, token):
        """A jar of what a sign-in or a refresh gave."""
        session = token.session
        assert (created.session.handle, created.session.user_id) == (session.handle, session.user)
        assert (created.session.tenant_id, created.session.jwt_payload) == (session.tenant, session.payload)
        assert created.refresh_token.expiry == session.slide(self.now)
        self.texts[token] = created.refresh_token.token
        end = session.access_end(self.now)
        jar = Jar(token, self.keep_access(created.access_token, token, end, is_marked=token.parent is not None))
        self.jars.append(jar)
        return jar

    def keep_access(self, cookie, token, expires_at, *, is_marked):
        assert cookie.expiry == expires_at
        key = self.find_key(jwt.get_unverified_header(cookie.token)["kid"])
        access = model.Access(token, expires_at, dict(token.session.payload), is_marked, key)
        self.texts[access] = cookie.token
        return access

    def find_key(self, kid):
        """The key that has just signed. One that was not there before was sealed here and now, as no other would do."""
        in_store = {row.kid: row for row in self.store.load_keys("public")}
        for new in in_store.keys() - self.keys.keys():
            assert not any(key.created_at + model.KEY_SIGNS - model.KEY_AHEAD >= self.now for key in self.readable())
            assert in_store[new].created_at == self.now
            self.keys[new] = model.Key(self.now, self.secrets[0])
        assert self.keys[kid] in model.may_sign(self.keys.values(), self.now, self.secrets)
        return self.keys[kid]

    def readable(self):
        return [key for key in self.keys.values() if key.secret in self.secrets]

    # Users and their tabs, and whoever has a copy

    @initialize()
    def begin(self):
        self.sign_in("ada", "public", {}, {})

    @rule(user=USERS, tenant=TENANTS, payload=PAYLOADS, data=PAYLOADS)
    def sign_in(self, user, tenant, payload, data):
        created = self.attempt(self.signs(), self.sessions.create_new_session, user, payload, data, tenant_id=tenant)
        if created is not None:
            session = model.Session(created.session.handle, user, tenant, payload, data, self.now)
            session.line = model.Refresh(session, None, self.secrets[0])
            self.all.append(session)
            self.keep(created, session.line)

    @rule(number=RECENT)
    def refresh(self, number):
        self.refresh_with(self.pick(number))

    def pick(self, number):
        recent = sorted(self.jars[:-9:-1], key=self.is_over)
        if number % 2 == 0 and self.is_over(recent[0]):
            self.sign_in("ada", "public", {}, {})
            return self.jars[-1]
        return recent[number % len(recent)]

    def is_over(self, jar):
        return not jar.refresh.session.is_alive(self.now)

    def refresh_with(self, jar):
        """Whoever has such a jar: a tab, another tab, one whose answer was lost, or a thief."""
        outcome = model.refresh(jar.refresh, self.now, self.secrets)
        outcome = self.signs() if outcome == "ok" else self.says(outcome)
        created = self.attempt(outcome, self.sessions.refresh_session, self.texts[jar.refresh])
        if created is None:
            return None
        return self.keep(created, model.Refresh(jar.refresh.session, jar.refresh, self.secrets[0]))

    @rule(number=RECENT, jump=SOON)
    def refresh_and_call(self, number, jump):
        """As a browser does, sooner or later."""
        renewed = self.refresh_with(self.pick(number))
        if renewed is not None:
            self.wait(jump)
            self.call_with(renewed, False)

    @rule(number=RECENT, jump=SOON, is_used=st.booleans())
    def come_late_after_another_tab(self, number, jump, is_used):
        """With the parent of what the other tab has; or the answer was lost, and nobody has it."""
        jar = self.pick(number)
        renewed = self.refresh_with(jar)
        if renewed is not None:
            if is_used:
                self.call_with(renewed, False)
            self.wait(jump)
            self.refresh_with(jar)

    @rule(number=RECENT, order=st.permutations(range(5)))
    def two_holders_go_on(self, number, order):
        """A thief and his victim, or two tabs whose answers came in the other order."""
        jar = self.pick(number)
        one, other = self.refresh_with(jar), self.refresh_with(jar)
        if one is None or other is None:
            return
        steps = (
            lambda: self.refresh_with(one),
            lambda: self.refresh_with(other),
            lambda: self.call_with(one, False),
            lambda: self.call_with(other, False),
            lambda: self.wait(model.GRACE + 1),
        )
        for step in order:
            steps[step]()

    @rule(number=RECENT, check_database=st.booleans(), jump=SOON)
    def call_and_call_again(self, number, check_database, jump):
        """The process that remembers the token must still see that it has expired."""
        jar = self.pick(number)
        self.call_with(jar, check_database)
        self.wait(jump)
        self.call_with(jar, check_database)

    def call_with(self, jar, check_database):
        access = jar.access
        outcome, is_replaced = model.verify(access, self.now, check_database, self.secrets)
        found = self.attempt(
            self.says(outcome), self.sessions.get_session, self.texts[access], check_database=check_database
        )
        if found is None:
            return
        session = access.refresh.session
        assert (found.session.handle, found.session.user_id) == (session.handle, session.user)
        # A token that lost its first use is accepted as it is, but the payload is the stored one.
        is_stored = access.is_marked or check_database
        assert found.session.jwt_payload == (session.payload if is_stored else access.payload)
        assert (found.access_token is not None) == is_replaced
        if is_replaced:
            end = session.access_end(self.now)
            jar.access = self.keep_access(found.access_token, access.refresh, end, is_marked=False)

    @rule(number=RECENT, payload=st.none() | PAYLOADS, is_new=st.booleans())
    def regenerate(self, number, payload, is_new):
        """Also while the token still awaits its first use."""
        jar = self.pick(number)
        jar = (self.refresh_with(jar) if is_new else None) or jar
        access = jar.access
        outcome = model.regenerate(access, self.now, payload, self.secrets)
        made = self.attempt(self.says(outcome), self.sessions.regenerate_access_token, self.texts[access], payload)
        if made is not None:
            assert made.session.jwt_payload == access.refresh.session.payload
            assert (made.access_token is None) == (access.expires_at < self.now)
            if made.access_token is not None:
                jar.access = self.keep_access(
                    made.access_token, access.refresh, access.expires_at, is_marked=access.is_marked
                )
        self.call_with(jar, False)

    @rule(number=RECENT, other=RECENT)
    def forge(self, number, other):
        """What a stranger can make of two refresh tokens: the one's tag does not fit the other's body."""
        jar, foreign = self.pick(number), self.pick(other)
        body, tag = self.texts[jar.refresh].split("."), self.texts[foreign.refresh].split(".")[2]
        if body[2] != tag:
            is_read = jar.refresh.secret in self.secrets
            outcome = "bad_token" if is_read else self.says("bad_token")
            outcome = "no_session" if is_read and jar.refresh.session.is_gone else outcome
            self.attempt(outcome, self.sessions.refresh_session, ".".join((body[0], body[1], tag, body[3])))

    # The app

    @rule(number=RECENT, payload=PAYLOADS, is_new=st.booleans(), check_database=st.booleans())
    def update_payload(self, number, payload, is_new, check_database):
        jar = self.pick(number)
        jar = (self.refresh_with(jar) if is_new else None) or jar
        session = jar.refresh.session
        assert self.sessions.update_jwt_payload(session.handle, payload) == session.is_alive(self.now)
        if session.is_alive(self.now):
            session.payload = payload
        self.call_with(jar, check_database)

    @rule(number=RECENT, name=st.sampled_from(["role", "plan"]), value=st.sampled_from([None, "c"]), data=PAYLOADS)
    def merge_payload_and_replace_data(self, number, name, value, data):
        session = self.pick(number).refresh.session
        was_there = self.sessions.merge_into_jwt_payload(session.handle, {name: value})
        assert was_there == session.is_alive(self.now) == self.sessions.update_session_data(session.handle, data)
        if was_there:
            rest = {key: one for key, one in session.payload.items() if key != name}
            session.payload = rest if value is None else {**rest, name: value}
            session.data = data

    @rule(number=RECENT)
    def revoke(self, number):
        session = self.pick(number).refresh.session
        assert self.sessions.revoke_session(session.handle) == (not session.is_gone)
        session.is_gone = True

    @rule(numbers=st.lists(RECENT, min_size=2, max_size=4))
    def revoke_several(self, numbers):
        chosen = list(dict.fromkeys(self.pick(number).refresh.session for number in numbers))
        there = [session.handle for session in chosen if not session.is_gone]
        assert self.sessions.revoke_sessions([session.handle for session in chosen]) == there
        for session in chosen:
            session.is_gone = True

    @rule(user=USERS, tenant=st.none() | TENANTS)
    def revoke_all_of_a_user(self, user, tenant):
        chosen = self.of_user(user, tenant)
        assert sorted(self.sessions.revoke_all_sessions_for_user(user, tenant_id=tenant)) == sorted(
            session.handle for session in chosen
        )
        for session in chosen:
            session.is_gone = True

    def of_user(self, user, tenant):
        return [s for s in self.all if s.user == user and tenant in (None, s.tenant) and not s.is_gone]

    # Operators and time

    @rule()
    def purge(self):
        over = [session for session in self.all if not session.is_gone and not session.is_alive(self.now)]
        assert self.sessions.purge_expired() == len(over)
        for session in over:
            session.is_gone = True
        # The newest key stays, though it be retired.
        newest = max(self.keys.values(), key=lambda key: key.created_at)
        self.keys = {kid: k for kid, k in self.keys.items() if k is newest or not k.is_retired(self.now)}
        assert {row.kid for row in self.store.load_keys("public")} == self.keys.keys()

    @rule()
    def the_other_process_has_its_turn(self):
        self.processes.reverse()

    @rule(is_new=st.booleans(), keeps_former=st.booleans())
    def restart_with_another_secret(self, is_new, keeps_former):
        """The order that the docs ask for is among the ones tried: [new, old] here, [new, old] there, then [new]."""
        self.newest_secret += is_new
        former = [self.newest_secret - 1] if keeps_former and self.newest_secret else []
        self.processes[0] = self.start([self.newest_secret, *former])

    @rule(jump=SOON | LATE)
    def wait(self, jump):
        self.clock.advance(jump * MS)

    @rule(before=st.sampled_from((60_001, 60_000, 1_000, 1)), jump=SOON)
    def sign_in_when_the_keys_change(self, before, jump):
        """What the last key has signed at its end is good for as long as any other token."""
        change = max(key.created_at for key in self.keys.values()) + model.KEY_SIGNS - before
        self.wait(max(0, change - self.now))
        self.sign_in("ada", "public", {}, {})
        self.wait(jump)
        self.call_with(self.jars[-1], False)

    # What must be true at any time

    @invariant()
    def what_the_store_knows_is_what_the_model_knows(self):
        for user in ("ada", "grace"):
            for tenant in (None, "t1"):
                alive = [s for s in self.of_user(user, tenant) if s.is_alive(self.now)]
                handles = sorted(alive, key=lambda s: (s.created_at, s.handle))
                listed = self.sessions.get_all_session_handles_for_user(user, tenant_id=tenant)
                assert listed == [session.handle for session in handles]
        for session in {jar.refresh.session for jar in self.jars[-4:]}:
            found = self.sessions.get_session_information(session.handle)
            assert (found is not None) == session.is_alive(self.now)
            if found is not None:
                assert (found.jwt_payload, found.session_data) == (session.payload, session.data)
                assert found.expiry == session.expires_at

    @invariant()
    def each_theft_was_recorded_once(self):
        recorded = [event.session_handle for event in self.sessions.get_theft_events(limit=1000)]
        assert sorted(recorded) == sorted(self.thefts)


class WithBackups(Machine):
    """The sessions of a store in memory are kept aside, and put back later: tokens may then be ahead of their rows."""

    @rule(number=RECENT)
    def make_a_backup_and_go_on(self, number):
        self.backup = dict(self.store._sessions), {session: copy(vars(session)) for session in self.all}
        jar = self.pick(number)
        for _ in range(3):
            jar = self.refresh_with(jar) or jar

    @precondition(lambda self: self.backup)
    @rule(number=RECENT)
    def restore_the_backup_and_go_on(self, number):
        rows, known = self.backup
        self.store._sessions = dict(rows)
        for session in self.all:
            vars(session).update(known.get(session, {"is_gone": True}))
        self.refresh_with(self.pick(number))


class OnSqlite(Machine):
    """The same on a real database."""

    def make_store(self):
        return open_store("sqlite://")

    def teardown(self):
        self.store.close()


STEPS = {"deadline": None, "stateful_step_count": 30}
# The same each time; and to find the shortest story, which takes minutes, is for a laptop.
IN_CI = {"derandomize": True, "database": None, "phases": [Phase.explicit, Phase.generate]}


@pytest.mark.parametrize(("machine", "examples"), [(Machine, 300), (WithBackups, 150), (OnSqlite, 20)])
def test_the_facade_does_what_the_model_says(machine, examples):
    in_ci = IN_CI if os.environ.get("CI") else {}
    run_state_machine_as_test(machine, settings=settings(max_examples=examples, **STEPS, **in_ci))
