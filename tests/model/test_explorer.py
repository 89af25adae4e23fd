"""What must be proved of the rotation (shared/rotation.md), on the product's own functions.

Small worlds in `make check`, larger ones in `make test`. The whole of it, with three tabs, is `make prove`.
"""

import pytest

from tests.model.explore import explore
from tests.model.forgery import Stranger
from tests.model.others import OTHERS
from tests.model.ours import Product
from tests.model.properties import all_of, is_never_refused, retires_the_parent, stays_signed_in, theft_is_noticed
from tests.model.script import parse_script
from tests.model.stage import Rehearsal, number_lines, play
from tests.model.theft import Stolen
from tests.model.trace import script_of
from tests.model.world import Bounds, Honest

BCP, FIRST_USE, DISPLACING, SAME_SUCCESSOR = OTHERS


@pytest.fixture(scope="module")
def product() -> Product:
    return Product()


def test_a_tab_alone_is_never_refused_and_a_stranger_changes_nothing(product: Product):
    stranger = Stranger(product)
    judge = all_of(stays_signed_in(product, 1), stranger.judge, retires_the_parent)
    found = explore(Honest(product, Bounds(1, servers=1)), judge)
    assert found.fault is None
    assert found.states > 1000
    assert stranger.tried > 1000


def test_a_thief_is_noticed_after_one_refresh_by_both(product: Product):
    found = explore(Stolen(product, bag=1), all_of(theft_is_noticed(), retires_the_parent))
    assert found.fault is None
    assert found.states > 100


@pytest.mark.thorough
@pytest.mark.parametrize("tabs", [1, 2])
def test_tabs_on_two_servers_are_never_refused(product: Product, tabs: int):
    found = explore(Honest(product, Bounds(tabs)), stays_signed_in(product))
    assert found.fault is None
    assert found.states > 10_000


@pytest.mark.thorough
def test_a_thief_who_holds_several_tokens_is_noticed_after_one_refresh_by_both(product: Product):
    found = explore(Stolen(product, bag=2), all_of(theft_is_noticed(), retires_the_parent))
    assert found.fault is None
    assert found.states > 10_000


@pytest.mark.parametrize("scheme", [BCP, FIRST_USE, DISPLACING], ids=["any reuse", "first use", "displacing"])
def test_other_schemes_throw_honest_users_out_and_the_story_can_be_played_again(scheme):
    game = Honest(scheme, Bounds(2, servers=1))
    found = explore(game, is_never_refused)
    assert found.fault is not None
    story = number_lines(play(script_of(found.fault.path, game), Rehearsal(scheme)))
    assert "theft" in story.splitlines()[-1]
    assert number_lines(play(parse_script(story), Rehearsal(scheme))) == story


def test_where_every_retry_gets_the_same_successor_a_thief_in_step_is_never_noticed():
    for rounds in (1, 2, 3):
        assert explore(Stolen(SAME_SUCCESSOR, bag=1, rounds=rounds, servers=1), theft_is_noticed(rounds)).fault


def test_what_is_no_trace_is_refused_with_the_line():
    with pytest.raises(ValueError, match="somersault"):
        parse_script("the tab does a somersault")
