"""Each verdict's condition flipped, dropped or widened: the explorer finds every such change in the product's judge."""

from collections.abc import Iterator

import pytest

from tallystick import flows
from tests.model.explore import Fault, explore
from tests.model.forgery import Stranger
from tests.model.mutants import MUTANTS, Mutant, mutate
from tests.model.ours import Product
from tests.model.properties import all_of, retires_the_parent, stays_signed_in, theft_is_noticed
from tests.model.theft import Stolen
from tests.model.world import Bounds, Honest


def explore_all(product: Product) -> Iterator[Fault | None]:
    """Every property in small worlds, the smallest first."""
    noticed = all_of(theft_is_noticed(), retires_the_parent)
    yield explore(Stolen(product, bag=1, servers=1), noticed).fault
    stranger = Stranger(product)
    for servers in (1, 2):
        judge = all_of(stays_signed_in(product, servers), stranger.judge, retires_the_parent)
        yield explore(Honest(product, Bounds(1, servers)), judge).fault
    yield explore(Stolen(product, bag=2, servers=1), noticed).fault


def find_fault(product: Product) -> Fault | None:
    return next((fault for fault in explore_all(product) if fault is not None), None)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_explorer_catches(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, judge in mutate(mutant).items():
        monkeypatch.setattr(flows, name, judge)
    assert find_fault(Product()) is not None


def test_the_explorer_catches_nothing_where_nothing_is_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    # The same source, executed anew.
    for name, judge in mutate(Mutant("none", "class Rule:", "class Rule:")).items():
        monkeypatch.setattr(flows, name, judge)
    assert find_fault(Product()) is None


def test_a_change_that_does_not_apply_is_an_error() -> None:
    with pytest.raises(ValueError, match="0 places"):
        mutate(Mutant("none", "no such text", ""))
