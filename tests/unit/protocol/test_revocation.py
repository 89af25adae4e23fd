"""What a process makes of an access token by what it knows of endings."""

import pytest

from tallystick.protocol import revocation
from tallystick.protocol.revocation import FeedVerdict, RevocationView, judge_feed
from tallystick.types import Ending

KEEPS = 3600.0
NOON = 43_200_000


def ending(handle, kind="revoked", digest=None):
    return Ending(handle, "user", "public", kind, 0, 0, digest)


@pytest.fixture
def view():
    made = RevocationView(lease=2, keeps=KEEPS)
    made.confirm(100, NOON)
    return made


def confirm(view, now):
    view.confirm(now, NOON + int((now - 100) * 1000))


def judge(view, handle="h", digest="d", silence="check_store", now=101.0):
    is_fresh = view.is_fresh(NOON + int((now - 100) * 1000), now)
    return judge_feed(view, handle, lambda: digest, silence, is_fresh=is_fresh)


def test_what_nobody_spoke_of_is_accepted_for_the_lease_and_not_a_moment_longer(view):
    assert judge(view, now=102.0) is FeedVerdict.ACCEPT
    assert judge(view, now=102.002) is FeedVerdict.ASK


def test_nor_while_the_machine_was_suspended_and_its_steady_clock_stood_still(view):
    assert view.is_fresh(NOON + 2000, 100.5)
    assert not view.is_fresh(NOON + 3_600_000, 100.5)
    assert not view.is_fresh(NOON - 3_600_000, 103.0), "a clock that was put back makes nothing fresh"


@pytest.mark.parametrize(
    ("silence", "verdict"),
    [("check_store", FeedVerdict.ASK), ("refuse", FeedVerdict.SILENT), ("accept", FeedVerdict.ACCEPT)],
)
def test_what_silence_means_is_the_app_s_choice(view, silence, verdict):
    assert judge(view, silence=silence, now=200) is verdict
    assert judge(RevocationView(lease=2, keeps=KEEPS), silence=silence) is verdict, "and nothing was heard at first"


@pytest.mark.parametrize("kind", ["revoked", "sign_in", "theft"])
@pytest.mark.parametrize("now", [101, 200], ids=["fresh", "silent"])
@pytest.mark.parametrize("silence", ["check_store", "refuse", "accept"])
def test_what_has_ended_is_refused_whatever_else_is_known(view, kind, now, silence):
    assert [one.handle for one in view.apply([ending("h", kind)], 100)] == ["h"]
    assert judge(view, silence=silence, now=now) is FeedVerdict.ENDED
    assert view.has_ended("h")
    assert judge(view, "other") is FeedVerdict.ACCEPT


def test_a_changed_payload_is_asked_for_until_the_token_has_it(view):
    assert view.apply([ending("h", "changed", "new")], 100) == []
    assert judge(view, digest="old") is FeedVerdict.ASK
    assert judge(view, digest="new") is FeedVerdict.ACCEPT
    view.apply([ending("h", "changed")], 100)
    assert judge(view, digest="new") is FeedVerdict.ASK, "a log that does not say which"
    assert not view.has_ended("h")


def test_an_end_is_the_last_word_and_told_once(view):
    assert len(view.apply([ending("h", "changed", "d"), ending("h"), ending("h", "changed", "d")], 100)) == 1
    assert judge(view) is FeedVerdict.ENDED
    assert view.apply([ending("h")], 101) == []


def test_entries_are_forgotten_when_no_access_token_can_be_out_and_not_before(view):
    view.apply([ending("h")], 100)
    confirm(view, 100 + KEEPS)
    assert len(view) == 1
    view.apply([ending("later"), ending("h")], 100 + KEEPS)
    confirm(view, 100 + KEEPS * 1.1)
    assert len(view) == 2, "it was told of again"
    confirm(view, 100 + 3 * KEEPS)
    assert len(view) == 0
    assert judge(view, now=100 + 3 * KEEPS) is FeedVerdict.ACCEPT


def test_a_view_holds_so_many_and_is_no_news_until_those_that_it_has_no_room_for_are_of_no_account(view, monkeypatch):
    monkeypatch.setattr(revocation, "FULL", 3)
    view.apply([ending(f"h{number}") for number in range(3)], 100)
    confirm(view, 101)
    assert judge(view, "other") is FeedVerdict.ACCEPT
    late = 100 + KEEPS / 2
    assert [one.handle for one in view.apply([ending("h3")], late)] == ["h3"], "who listens hears of it"
    assert (len(view), view.has_ended("h3")) == (3, False)
    confirm(view, late)
    assert judge(view, "h3", now=late) is FeedVerdict.ASK
    confirm(view, late + KEEPS)
    assert len(view) == 0
    assert judge(view, "h3", now=late + KEEPS) is FeedVerdict.ASK, "a token of it may be out"
    confirm(view, 100 + 2 * KEEPS)
    assert judge(view, "other", now=100 + 2 * KEEPS) is FeedVerdict.ACCEPT


def test_a_session_that_changes_all_the_time_takes_no_more_room_for_it(view, monkeypatch):
    monkeypatch.setattr(revocation, "FULL", 3)
    for number in range(100):
        view.apply([ending("h", "changed", str(number))], 100 + number)
    confirm(view, 200)
    assert judge(view, "other", now=200) is FeedVerdict.ACCEPT
    assert judge(view, "h", digest="99", now=200) is FeedVerdict.ACCEPT
    assert judge(view, "h", digest="98", now=200) is FeedVerdict.ASK


def test_a_view_can_be_told_to_trust_itself_no_more(view):
    view.expire()
    assert judge(view) is FeedVerdict.ASK
    assert repr(view) == "RevocationView(0)"


def test_how_long_a_core_remembers_is_learned_from_what_it_tells():
    view = RevocationView(lease=2, keeps=KEEPS)
    assert view.remembers > 10**15
    for minutes in (10, 5):
        view.apply([Ending("h", "user", "public", "revoked", 0, minutes * 60_000)], 100)
    assert view.remembers == 600_000
    view.apply([Ending("h", "user", "public", "revoked", 0, 3_600_000)], 100)
    assert view.remembers == 3_600_000
    own = RevocationView(lease=2, keeps=KEEPS, remembers=1000)
    own.apply([Ending("h", "user", "public", "revoked", 0, 3_600_000)], 100)
    assert own.remembers == 1000
