from datetime import timedelta

from tallystick.testing import START, FakeClock, SeededEntropy


def test_the_clock_stands_still_until_it_is_told_to_move():
    clock = FakeClock()
    assert clock() == clock() == clock.now == START == 1_700_000_000_000
    clock.advance(timedelta(hours=1, milliseconds=5, microseconds=999))
    assert clock() == clock.now == START + 3_600_005
    clock.advance(timedelta(hours=-1))
    assert clock() == START + 5
    assert repr(FakeClock(7)) == "FakeClock(7)"


def test_the_dice_fall_alike_for_the_same_seed_and_never_twice_alike():
    one, same, other = SeededEntropy(1), SeededEntropy(1), SeededEntropy(2)
    drawn = [one(16) for _ in range(100)]
    assert drawn == [same(16) for _ in range(100)]
    assert len(set(drawn)) == 100
    assert other(16) not in drawn
    assert [len(one(size)) for size in (0, 1, 12, 64)] == [0, 1, 12, 64]
