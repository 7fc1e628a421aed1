"""What the ranks of a group noted of the same collectives."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tcstatic.runtime.probes.agreement import PIECES, Window, fault_in, pieces_of

SUM, MAX = "all_reduce SUM float32", "all_reduce MAX float32"
GAVE = {0: 1.5, 1: -0.25, 2: 4.0}
MINE = Window(3, 7, 10, 3, (SUM, SUM, SUM), ("a", "b", "c"), 0.0, 6.0, 5.25, 1.2e-7)


def windows(**of: Window) -> dict[int, Window]:
    """Those of three ranks that agree, but for what is given as ``r0``, ``r1`` or ``r2``."""
    return {rank: replace(of.get(f"r{rank}", MINE), gave=given) for rank, given in GAVE.items()}


def test_ranks_that_agree_are_left_alone() -> None:
    assert fault_in(windows(), ()) is None


def test_a_window_survives_its_way_as_text() -> None:
    window = replace(MINE, asked=(SUM, SUM, MAX), gave=float("nan"))
    again = Window.from_text(window.to_text().encode())
    assert again.asked == window.asked
    assert replace(again, gave=0.0) == replace(window, gave=0.0)


def test_the_rank_whose_sum_is_off_is_named() -> None:
    odd = replace(MINE, pieces=("a", "x", "c"), got=5.75)
    for rank in GAVE:
        fault = fault_in(windows(**{f"r{rank}": odd}), ())
        assert fault is not None
        assert (fault.at, fault.rank) == (1, rank)


def test_of_two_ranks_as_well() -> None:
    odd = replace(MINE, pieces=("x", "b", "c"), gave=-0.25, got=1.75, sizes=2.0)
    mine = replace(MINE, gave=1.5, got=1.25, sizes=2.0)
    fault = fault_in({0: mine, 1: odd}, ())
    assert fault is not None
    assert (fault.at, fault.rank) == (0, 1)


def test_the_many_are_right_where_nothing_adds_up() -> None:
    copies = {rank: replace(one, sizes=float("inf")) for rank, one in windows().items()}
    copies[1] = replace(copies[1], pieces=("a", "b", "x"))
    fault = fault_in(copies, ())
    assert fault is not None
    assert (fault.at, fault.rank) == (2, 1)
    pair = {rank: copies[rank] for rank in (0, 1)}
    fault = fault_in(pair, ())
    assert fault is not None
    assert fault.rank is None


def test_the_same_with_all_and_yet_no_sum() -> None:
    wrong = {rank: replace(one, got=4.25) for rank, one in windows().items()}
    fault = fault_in(wrong, ())
    assert fault is not None
    assert fault.rank is None
    assert "not the sum" in fault.how


def test_a_sum_that_its_format_cannot_hold_is_none_of_a_links_faults() -> None:
    full = {rank: replace(one, got=float("inf")) for rank, one in windows().items()}
    assert fault_in(full, ()) is None
    full[1] = replace(full[1], pieces=("a", "x", "c"))
    assert fault_in(full, ()) is not None


@pytest.mark.parametrize("error", [0.0, 1e-7, -1e-6])
def test_rounding_is_none(error: float) -> None:
    close = {rank: replace(one, got=5.25 + error) for rank, one in windows().items()}
    assert fault_in(close, ()) is None


def test_who_asks_for_something_else_is_named() -> None:
    odd = replace(MINE, asked=(SUM, MAX, SUM), pieces=("a", "x", "c"))
    fault = fault_in(windows(r1=odd), ())
    assert fault is not None
    assert (fault.at, fault.rank) == (1, 1)
    assert fault.how == "is asked by rank 1 for MAX float32, by rank 0 for SUM float32"


def test_of_two_it_is_who_asked_otherwise_before() -> None:
    odd = replace(MINE, asked=(MAX, SUM, SUM))
    for usual, rank in ((MINE.asked, 0), (odd.asked, 1)):
        fault = fault_in({0: odd, 1: MINE}, usual)
        assert fault is not None
        assert (fault.at, fault.rank) == (0, rank)


def test_other_calls_are_not_compared() -> None:
    for other in (replace(MINE, first=11), replace(MINE, count=2, asked=(SUM, SUM))):
        assert fault_in(windows(r2=other), ()) is None
    assert fault_in(windows(r2=replace(MINE, asked=("broadcast 0 float32",) * 3)), ()) is None


def test_many_results_share_few_words() -> None:
    results = [[float(number)] for number in range(1000)]
    words = pieces_of(results)
    assert len(words) <= PIECES
    results[999] = [0.5]
    assert [
        i for i, (old, new) in enumerate(zip(words, pieces_of(results), strict=True)) if old != new
    ] == [len(words) - 1]
