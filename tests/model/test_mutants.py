"""The explorer finds whatever is wrong with the judges."""

import pytest

from tests.model.mutants import MUTANTS, Mutant, find_fault, put_in_place


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_explorer_catches_a_judge_that_was_changed(mutant: Mutant):
    with put_in_place(mutant):
        assert find_fault().fault is not None


def test_there_are_enough_of_them_and_each_is_another():
    assert len({(mutant.old, mutant.new) for mutant in MUTANTS}) == len(MUTANTS) >= 12
