"""Gradients that are brought together by hand, in vain."""

from __future__ import annotations

from tcstatic.model import Location
from tcstatic.runtime.probes.brought import Brought, Futile
from tcstatic.runtime.probes.partings import Round

WHERE = Location("train.py", 7, 1, 7, 9, "average")


def rounds(*values: float, group: tuple[int, ...] = ()) -> dict[int, Round]:
    return {rank: Round(0, {"w": value}, group=group) for rank, value in enumerate(values)}


def brought(*calls: tuple[str, bool]) -> Brought:
    known = Brought()
    for operation, late in calls:
        known.together("w", operation, WHERE, late=late)
    return known


def judged(known: Brought, before: dict[int, Round], now: dict[int, Round]) -> Futile | None:
    return known.judge(before, now)


def test_after_the_step() -> None:
    found = judged(brought(("all_reduce", True)), rounds(1.0, 1.0), rounds(2.0, 3.0))
    assert found is not None
    assert (found.parting.name, found.where) == ("w", WHERE)
    assert "line 7" in found.why and "after the step" in found.why


def test_on_one_rank_only() -> None:
    found = judged(brought(("reduce", False)), rounds(1.0, 1.0), rounds(2.0, 3.0))
    assert found is not None and "on one rank only" in found.why


def test_copies_that_stay_equal_are_brought_together_by_something() -> None:
    assert judged(brought(("reduce", False)), rounds(1.0, 1.0), rounds(2.0, 2.0)) is None


def test_what_is_in_time_is_not_in_vain() -> None:
    known = brought(("all_reduce", False), ("all_reduce", True))
    assert judged(known, rounds(1.0, 1.0), rounds(2.0, 3.0)) is None
    known = brought(("reduce", False), ("broadcast", False))
    assert judged(known, rounds(1.0, 1.0), rounds(2.0, 3.0)) is None


def test_models_of_their_own() -> None:
    late = brought(("all_reduce", True))
    assert judged(late, rounds(1.0, 2.0), rounds(2.0, 3.0)) is None
    assert judged(late, rounds(1.0), rounds(2.0, 3.0)) is None
    assert judged(late, rounds(1.0, 1.0), rounds(2.0, 3.0, group=(0, 1))) is None
    assert judged(brought(), rounds(1.0, 1.0), rounds(2.0, 3.0)) is None
