"""Which host is asked, how often and for how long, without any of them."""

from dataclasses import dataclass, field

import pytest

from tallystick.errors import GeneralError
from tallystick.storage.remote.attempts import Attempt, Outcome, Pause, Problem, attempt
from tallystick.storage.remote.hosts import MAX_HOSTS, REST_SECONDS, Hosts, parse_hosts
from tallystick.types import CoreAnswer, CoreRequest

LOOK = CoreRequest("GET", "/hello")
CREATE = CoreRequest("POST", "/recipe/session", body=b"{}", may_repeat=False)
OK = CoreAnswer(200)


def make_hosts(count=3):
    return Hosts(parse_hosts(",".join(f"http://core{number}" for number in range(1, count + 1)), "public"))


@dataclass
class Told:
    """What was done, and what came of it."""

    asked: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)
    answer: CoreAnswer | None = None
    error: GeneralError | None = None
    is_over: bool = True


def tell(hosts, request, *script, seconds=8.0, now=100.0, each=0.0):
    """Drive the attempts: each word of the script is a status, an answer, a problem or an outcome; ``each`` is how long
    one takes."""
    told, words, steps = Told(), iter(script), attempt(request, hosts, seconds, now)
    try:
        step = next(steps)
        while True:
            if isinstance(step, Pause):
                told.pauses.append(step.seconds)
                now += step.seconds
                step = steps.send(Outcome(now))
                continue
            assert isinstance(step, Attempt)
            told.asked.append(step.host.name)
            told.seconds.append(step.seconds)
            now += each
            word = next(words)
            if isinstance(word, int):
                word = CoreAnswer(word)
            step = steps.send(
                Outcome(now, answer=word)
                if isinstance(word, CoreAnswer)
                else Outcome(now, problem=word, cause=OSError())
            )
    except StopIteration as end:
        told.answer = end.value
    except GeneralError as error:
        told.error = error
    assert next(words, None) is None, "fewer attempts than the script has"
    return told


def test_hosts_take_turns():
    hosts = make_hosts()
    assert [tell(hosts, LOOK, OK).asked for _ in range(4)] == [["core1"], ["core2"], ["core3"], ["core1"]]


def test_a_host_that_cannot_be_reached_is_followed_by_the_next_for_any_request():
    for request in (LOOK, CREATE):
        told = tell(make_hosts(), request, Problem.UNREACHABLE, Problem.UNREACHABLE, 200)
        assert told.asked == ["core1", "core2", "core3"]
        assert told.answer == OK


@pytest.mark.parametrize("doubt", [Problem.LOST, Problem.TIMED_OUT, Problem.UNREADABLE, 500, 502, 503, 504])
def test_what_may_have_been_carried_out_is_repeated_only_where_that_does_no_harm(doubt):
    assert tell(make_hosts(), LOOK, doubt, 200).asked == ["core1", "core2"]
    told = tell(make_hosts(), CREATE, doubt)
    assert told.asked == ["core1"]
    assert (told.error.reason, told.error.http_status) == ("store_failed", 503)
    assert "not known" in told.error.message


def test_a_creation_that_one_host_did_not_get_and_another_lost_is_not_sent_to_a_third():
    told = tell(make_hosts(), CREATE, Problem.UNREACHABLE, Problem.LOST)
    assert told.asked == ["core1", "core2"]
    assert "not known" in told.error.message


@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404, 405, 413])
def test_an_answer_is_an_answer_whatever_it_says(status):
    told = tell(make_hosts(), LOOK, status)
    assert told.answer.status == status


def test_each_host_is_asked_once_and_the_error_names_them_all_with_what_to_do():
    told = tell(make_hosts(), LOOK, Problem.UNREACHABLE, Problem.TIMED_OUT, 503)
    assert told.asked == ["core1", "core2", "core3"]
    assert told.error.message == (
        "no answer from the core: core1 cannot be reached, core2 did not answer in time, core3 answered with 503. "
        "See that the core runs there and can be reached from here; until it does, nobody is signed out"
    )
    assert isinstance(told.error.__cause__, OSError)


def test_a_connection_that_breaks_is_tried_once_more_even_at_the_only_host():
    assert tell(make_hosts(1), LOOK, Problem.LOST, 200).answer == OK
    assert tell(make_hosts(1), LOOK, Problem.LOST, Problem.LOST).asked == ["core1", "core1"]
    assert tell(make_hosts(1), LOOK, 503).asked == ["core1"]
    assert tell(make_hosts(1), LOOK, Problem.UNREACHABLE).asked == ["core1"]


def test_a_host_that_failed_is_asked_last_for_a_while_and_then_in_its_turn_again():
    hosts = make_hosts(2)
    assert tell(hosts, LOOK, Problem.UNREACHABLE, 200, now=0).asked == ["core1", "core2"]
    assert [tell(hosts, LOOK, 200, now=1).asked for _ in range(2)] == [["core2"], ["core2"]]
    assert [tell(hosts, LOOK, 200, now=REST_SECONDS).asked for _ in range(2)] == [["core2"], ["core1"]]


def test_a_host_that_answers_again_is_rested_no_more():
    hosts = make_hosts(1)
    tell(hosts, LOOK, Problem.TIMED_OUT, now=0)
    tell(hosts, LOOK, 200, now=1)
    assert hosts.order(1) == sorted(hosts.all, key=lambda host: host.name)


def test_a_slow_host_leaves_half_of_the_time_for_another_but_not_of_a_request_that_is_sent_once():
    told = tell(make_hosts(2), LOOK, Problem.TIMED_OUT, 200, each=4.0)
    assert told.seconds == [4.0, 4.0]
    assert tell(make_hosts(2), CREATE, 200).seconds == [8.0]
    assert tell(make_hosts(1), LOOK, 200).seconds == [8.0]


def test_when_the_time_is_up_no_further_host_is_asked():
    assert tell(make_hosts(), LOOK, Problem.TIMED_OUT, each=8.0).asked == ["core1"]


def test_a_request_that_was_turned_away_is_sent_again_after_a_pause_even_a_creation():
    told = tell(make_hosts(2), CREATE, 429, 429, 200)
    assert told.asked == ["core1", "core2", "core1"]
    assert told.pauses == [0.05, 0.1]
    assert told.answer == OK


def test_pauses_are_few_and_end_with_the_time():
    told = tell(make_hosts(1), LOOK, *[429] * 6)
    assert told.pauses == [0.05, 0.1, 0.2, 0.4, 0.8]
    assert "too many requests" in told.error.message
    assert tell(make_hosts(1), LOOK, 429, 429, seconds=0.1).pauses == [0.05]


def test_a_pause_is_as_long_as_the_answer_asks_for_but_never_long():
    for asked, waited in ((0.0, 0.0), (0.5, 0.5), (3600.0, 1.0)):
        steps = attempt(LOOK, make_hosts(1), 8.0, 0.0)
        next(steps)
        assert steps.send(Outcome(0.0, CoreAnswer(429), retry_after=asked)) == Pause(waited)


# Hosts


@pytest.mark.parametrize(
    ("urls", "app_id", "bases"),
    [
        ("http://core:3567", "public", ["http://core:3567"]),
        ("http://a:1,http://b:2/", "public", ["http://a:1", "http://b:2"]),
        (" http://a:1 ; https://b ;", "public", ["http://a:1", "https://b"]),
        ("http://a:1,http://a:1", "public", ["http://a:1"]),
        ("http://[::1]:3567", "public", ["http://[::1]:3567"]),
        ("http://a:1/base/appid-x", "public", ["http://a:1/base/appid-x"]),
        ("http://a:1/base/", "shop", ["http://a:1/base/appid-shop"]),
    ],
)
def test_hosts_are_read_from_urls(urls, app_id, bases):
    assert [host.base for host in parse_hosts(urls, app_id)] == bases


@pytest.mark.parametrize(
    "urls",
    [
        "http://",
        "http://a:1,b:2",
        "http://a:port",
        "http://a:99999",
        "http://user:password@a:1",
        "http://a:1?x=1",
        "http://a:1#x",
        "http://a:1/ä",
        "http://a:1/%2e%2e",
        "http://[::1",
        "ftp://a",
        ",",
        ",".join(f"http://a:{port}" for port in range(1, MAX_HOSTS + 2)),
    ],
)
def test_other_urls_are_refused_and_never_quoted(urls):
    with pytest.raises(GeneralError) as refused:
        parse_hosts(urls, "public")
    assert refused.value.reason == "bad_url"
    assert "password" not in refused.value.message.replace("user and password", "")


def test_an_app_is_named_once():
    with pytest.raises(GeneralError, match="say it once"):
        parse_hosts("http://a:1/appid-x", "y")
