"""What a process remembers of the access tokens that it has verified, and what it must not."""

import sys
import threading
from datetime import timedelta

import msgspec
import pytest

from tallystick import GeneralError, Sessions, TryRefreshToken, Unauthorised, verified_tokens
from tallystick.protocol.access_token import AccessToken, mint_access_token
from tallystick.protocol.encoding import encode_base64url
from tallystick.protocol.keyring import empty_keyring
from tallystick.testing import START
from tallystick.verified_tokens import CHARACTERS_EACH, VerifiedTokens, copy_json
from tests.unit.workshop import DAY, FORMER, SCHEDULE, SECRET, keys_of, make_row, open_rows

RING = empty_keyring(SCHEDULE, "EdDSA")
PAYLOAD = {"role": "admin", "groups": ["a", {"b": [1]}], "of": {"c": {"d": 2}}, "none": None}


class Counter:
    """How often a signature was checked."""

    def __init__(self, monkeypatch):
        self.count = 0
        verify = verified_tokens.open_access_token

        def counting(*args):
            self.count += 1
            return verify(*args)

        monkeypatch.setattr(verified_tokens, "open_access_token", counting)


@pytest.fixture
def sessions(facades):
    return facades.make(verified_token_cache=10_000)


@pytest.fixture
def checked(monkeypatch):
    return Counter(monkeypatch)


def test_a_token_is_checked_once(sessions, checked):
    created = sessions.create_new_session("u", PAYLOAD)
    found = [sessions.get_session(created.access_token.token) for _ in range(5)]
    assert checked.count == 1
    assert found == [found[0]] * 5
    assert found[0].session == created.session


def test_with_the_cache_off_it_is_checked_each_time(facades, checked):
    sessions = facades.make(verified_token_cache=0)
    text = sessions.create_new_session("u", PAYLOAD).access_token.token
    found = [sessions.get_session(text) for _ in range(5)]
    assert checked.count == 5
    assert found == [found[0]] * 5


@pytest.mark.parametrize("capacity", [-1, 1_000_001, 1.5, "10", None, True])
def test_a_capacity_out_of_range_is_refused(facades, capacity):
    with pytest.raises(GeneralError, match="verified_token_cache"):
        facades.make(verified_token_cache=capacity)


def test_what_the_app_does_to_a_payload_changes_no_later_result(sessions):
    text = sessions.create_new_session("u", PAYLOAD).access_token.token
    for _ in range(3):
        payload = sessions.get_session(text).session.jwt_payload
        assert payload == PAYLOAD
        payload["role"] = "root"
        payload["groups"][1]["b"].append("x")
        payload["of"]["c"].clear()


def test_a_remembered_token_expires_in_the_same_millisecond(sessions, clock):
    text = sessions.create_new_session("u").access_token.token
    sessions.get_session(text)
    clock.advance(timedelta(hours=1))
    sessions.get_session(text)
    clock.advance(timedelta(milliseconds=1))
    with pytest.raises(TryRefreshToken) as refused:
        sessions.get_session(text)
    assert refused.value.reason == "expired"


def test_the_anti_csrf_token_is_checked_each_time(sessions):
    created = sessions.create_new_session("u", enable_anti_csrf=True)
    text = created.access_token.token
    assert sessions.get_session(text, created.anti_csrf_token).has_anti_csrf
    for wrong in (None, "", "x" * 24):
        with pytest.raises(TryRefreshToken) as refused:
            sessions.get_session(text, wrong)
        assert refused.value.reason == "anti_csrf_failed"


def test_the_id_refresh_token_is_looked_at_each_time(sessions):
    text = sessions.create_new_session("u").access_token.token
    sessions.get_session(text)
    with pytest.raises(Unauthorised):
        sessions.get_session(text, id_refresh_token=None)


def test_a_revoked_session_is_seen_where_the_database_is_asked(sessions):
    created = sessions.create_new_session("u")
    text = created.access_token.token
    sessions.get_session(text)
    sessions.revoke_session(created.session.handle)
    with pytest.raises(Unauthorised):
        sessions.get_session(text, check_database=True)


def test_a_token_that_awaits_its_first_use_is_not_remembered(sessions, checked):
    created = sessions.create_new_session("u")
    text = sessions.refresh_session(created.refresh_token.token).access_token.token
    for _ in range(2):
        assert sessions.get_session(text).access_token is not None
    assert len(sessions._deployment.keys.verified) == 0


def test_each_changed_letter_is_another_token(sessions):
    text = sessions.create_new_session("u").access_token.token
    sessions.get_session(text)
    for place in range(0, len(text), 7):
        other = text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :]
        with pytest.raises(TryRefreshToken):
            sessions.get_session(other)


class Impostor(str):
    """A str that says it is equal to another."""

    def __new__(cls, text, claimed):
        made = super().__new__(cls, text)
        made.claimed = claimed
        return made

    def __eq__(self, other):
        return other == self.claimed or str(self) == other

    def __hash__(self):
        return hash(self.claimed)


def test_what_says_it_is_equal_to_a_remembered_token_is_not_taken_for_it(sessions):
    text = sessions.create_new_session("u").access_token.token
    sessions.get_session(text)
    with pytest.raises(TryRefreshToken):
        sessions.get_session(Impostor("not.a.token", text))


def test_with_another_ring_all_is_forgotten(facades, clock):
    sessions = facades.make(signing_key_interval=timedelta(hours=2), verified_token_cache=10_000)
    text = sessions.create_new_session("u").access_token.token
    sessions.get_session(text)
    keys = sessions._deployment.keys
    before = keys.verified
    assert len(before) == 1
    clock.advance(timedelta(hours=2))
    sessions.create_new_session("u")
    assert keys.verified is not before
    assert len(keys.verified) == 0


def test_a_token_of_a_dropped_secrets_key_is_dropped_with_it(facades):
    """The ring that no longer has the key remembers nothing that the key verified."""
    store = facades.make(secret=FORMER).create_new_session("u")
    with pytest.raises(TryRefreshToken):
        facades.make(secret=SECRET).get_session(store.access_token.token)


def tokens(number, length=1000):
    return [f"{index:010}.{'x' * length}" for index in range(number)]


def fill(verified, texts):
    token = AccessToken("h", "u", "public", 0, DAY, "a", None, None, {})
    for text in texts:
        verified._keep(text[:10], (text, token))


def test_it_is_bounded_in_entries():
    verified = VerifiedTokens(RING, 100)
    fill(verified, tokens(1000))
    assert 50 <= len(verified) <= 100


@pytest.mark.parametrize("capacity", [1000, 10_000])
def test_it_is_bounded_in_size_by_what_it_may_hold(capacity):
    verified = VerifiedTokens(RING, capacity)
    fill(verified, tokens(2 * capacity, 4000))
    kept = sum(len(text) for half in (verified._newer, verified._older) for text, _ in half.values())
    assert capacity * CHARACTERS_EACH / 3 < kept <= capacity * CHARACTERS_EACH + 10_000


def test_a_larger_one_holds_more_tokens_of_the_usual_length():
    verified = VerifiedTokens(RING, 50_000)
    fill(verified, tokens(40_000, 700))
    assert len(verified) == 40_000


@pytest.mark.parametrize("capacity", [1, 2, 3])
def test_the_smallest_capacities_hold(capacity):
    verified = VerifiedTokens(RING, capacity)
    fill(verified, tokens(10))
    assert len(verified) <= max(2, capacity)


def test_what_is_used_stays_and_what_is_not_goes(facades, checked):
    sessions = facades.make(verified_token_cache=10)
    mine = sessions.create_new_session("u").access_token.token
    others = [sessions.create_new_session("u").access_token.token for _ in range(30)]
    for other in others:
        sessions.get_session(mine)
        sessions.get_session(other)
    assert checked.count == 31
    sessions.get_session(others[0])
    assert checked.count == 32


def test_threads_that_verify_at_once_all_get_their_own():
    sessions = Sessions("memory://", secret=SECRET, algorithm="EdDSA", verified_token_cache=8)
    texts = {f"user-{number}": sessions.create_new_session(f"user-{number}").access_token.token for number in range(16)}
    wrong = []

    def work():
        for _ in range(40):
            for user, text in texts.items():
                if sessions.get_session(text).session.user_id != user:
                    wrong.append(user)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert wrong == []


def test_a_copy_shares_nothing_that_can_change():
    copied = copy_json(PAYLOAD)
    assert copied == PAYLOAD
    assert copied["groups"] is not PAYLOAD["groups"]
    assert copied["groups"][1]["b"] is not PAYLOAD["groups"][1]["b"]
    assert copied["of"]["c"] is not PAYLOAD["of"]["c"]


def test_its_repr_says_how_many_and_not_which():
    verified = VerifiedTokens(RING, 100)
    fill(verified, ["a.secret.token"])
    assert repr(verified) == "VerifiedTokens(1 of 100)"


def test_when_a_key_retires_its_tokens_are_forgotten(clock):
    """Also a token that would live longer than its key, as after a change of the settings."""
    row = make_row()
    ring = open_rows([row])
    verified = VerifiedTokens(ring, 100)
    end = START + SCHEDULE.lifetime
    token = AccessToken("h", "u", "public", START, end + DAY, "a" * 64, None, None, {})
    text = mint_access_token(token, ring.keys[0])
    assert verified.open(text, [keys_of()], end) == token
    assert len(verified) == 1
    with pytest.raises(TryRefreshToken) as refused:
        verified.open(text, [keys_of()], end + 1)
    assert refused.value.reason == "unknown_key"
    assert len(verified) == 0


def test_a_token_with_the_same_end_is_not_taken_for_another():
    ring = open_rows([make_row()])
    verified = VerifiedTokens(ring, 100)
    token = AccessToken("h", "u", "public", START, START + DAY, "a" * 64, None, None, {"role": "user"})
    text = mint_access_token(token, ring.keys[0])
    assert verified.open(text, [keys_of()], START) == token
    header, _, signature = text.split(".")
    forged = f"{header}.{encode_base64url(msgspec.json.encode(token.claims() | {'role': 'admin'}))}.{signature}"
    with pytest.raises(TryRefreshToken) as refused:
        verified.open(forged, [keys_of()], START)
    assert refused.value.reason == "bad_signature"
    assert verified.open(text, [keys_of()], START) == token
