"""Gradients that a wrapper was told to leave as they were."""

from __future__ import annotations

from tcstatic.runtime.probes.partings import Round
from tcstatic.runtime.probes.unsynced import MOST_ROUNDS, Unsynced


def noted(one: float, other: float) -> dict[int, Round]:
    """Two ranks that hold these values, after gradients of their own."""
    values = enumerate((one, other))
    return {
        rank: Round(0, {"w": value}, {"w": 5.0 + rank}, (0, 1), local=True)
        for rank, value in values
    }


def test_it_is_told_at_the_end_or_once_it_is_old() -> None:
    unsynced = Unsynced()
    assert unsynced.judge(3, noted(1.0, 2.0)) is None
    assert unsynced.judge(4, noted(3.0, 4.0)) is None
    found = unsynced.settle()
    assert found is not None
    assert found[0] == 3
    assert unsynced.settle() is None
    unsynced = Unsynced()
    told = [unsynced.judge(turn, noted(1.0 + turn, -1.0)) for turn in range(2 * MOST_ROUNDS)]
    assert [one[0] for one in told if one is not None] == [0]


def test_weights_that_are_averaged_every_so_often_are_meant() -> None:
    for average in (0, 5):
        unsynced = Unsynced()
        for turn in range(8):
            assert unsynced.judge(turn, noted(1.0, 1.0 + turn - average)) is None
        assert unsynced.settle() is None
