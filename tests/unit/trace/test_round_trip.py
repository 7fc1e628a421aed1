"""Events come back as they were recorded."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from tcstatic.model import EVENT_KINDS, Context, Event, Location, Member
from tcstatic.trace import open_trace, segments
from tests.unit.trace.making import record, training

SHORT = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
WHOLE = some.integers(-(1 << 63), (1 << 63) - 1)
# A surrogate in a name cannot be kept; in a value it can.
NAMES = some.text(some.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)
PLAIN = some.one_of(
    some.none(),
    some.booleans(),
    some.integers(),
    some.floats(allow_nan=False),
    some.text(some.characters(), max_size=6),
)
VALUES = some.one_of(
    PLAIN,
    some.lists(PLAIN, max_size=4).map(tuple),
    some.frozensets(WHOLE, max_size=4),
    some.lists(some.lists(PLAIN, max_size=2).map(tuple), max_size=2).map(tuple),
)
SMALL = some.integers(0, 1 << 31 - 1)
PLACES = some.builds(
    Location,
    NAMES,
    some.integers(0, 9),
    some.integers(0, 9),
    some.integers(0, 9),
    some.integers(0, 9),
    NAMES,
)
MEMBERS = some.builds(Member, WHOLE, NAMES, some.dictionaries(NAMES, PLAIN, max_size=3))
EVENTS = some.builds(
    Event,
    some.sampled_from(sorted(EVENT_KINDS)),
    WHOLE,
    some.none() | PLACES,
    some.dictionaries(NAMES, some.lists(WHOLE, max_size=3).map(tuple), max_size=3),
    some.dictionaries(NAMES, VALUES, max_size=4),
    some.builds(
        Context,
        some.dictionaries(some.sampled_from(["step", "epoch", "loss", "rank"]), PLAIN, max_size=4),
        some.frozensets(NAMES, max_size=2),
    ),
    some.lists(MEMBERS, max_size=3).map(tuple),
    some.integers(0, 1 << 40),
    some.none() | some.integers(0, 1 << 40),
    some.integers(0, 1 << 20),
)


def typed(value: Any) -> Any:
    """A value together with the types in it: 1, 1.0 and True are equal, and not the same."""
    if isinstance(value, tuple):
        return type(value), tuple(map(typed, value))
    if isinstance(value, dict):
        return [(key, typed(one)) for key, one in value.items()]
    return type(value), value, math.copysign(1, value) if isinstance(value, float) else 0


@SHORT
@given(some.lists(EVENTS, max_size=12))
def test_any_events_come_back(
    tmp_path_factory: pytest.TempPathFactory, events: list[Event]
) -> None:
    folder = tmp_path_factory.mktemp("trace") / "t"
    assert record(folder, events).problem == ""
    found = list(open_trace(folder).events())
    assert found == events
    for one, other in zip(found, events, strict=True):
        assert typed(one.values) == typed(other.values)
        assert typed(one.context.fields) == typed(other.context.fields)


def test_what_equals_nothing_comes_back(tmp_path: Path) -> None:
    events = [
        Event("loss.forward", n, None, values={"loss": loss, "all": (loss, 1)})
        for n, loss in enumerate([math.nan, math.inf, -math.inf, -0.0, 0.0])
    ]
    record(tmp_path / "t", events)
    found = [event.values for event in open_trace(tmp_path / "t").events()]
    assert repr(found) == repr([event.values for event in events])


def test_foreign_objects_come_back_as_text(tmp_path: Path) -> None:
    values = {"object": object, "list": [1, [2.5]], "mapping": {"a": (1,)}}
    record(tmp_path / "t", [Event("call", 1, None, values=values)])
    (event,) = open_trace(tmp_path / "t").events()
    assert event.values == {**values, "object": "<class 'object'>"}


@pytest.mark.parametrize("every", [0, 7, 64])
def test_training_comes_back_in_segments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: int
) -> None:
    monkeypatch.setattr(segments, "MOST_ROWS", 100)
    events = list(training(80))
    assert record(tmp_path / "t", events, every).problem == ""
    trace = open_trace(tmp_path / "t")
    (run,) = trace.runs
    assert len(run.segments) == 4
    assert list(trace.events()) == events
    settled = [one for stretch in run.stretches() for one in stretch.settled]
    assert settled == [0, 0, 0, 1] * 80


def test_a_choice_of_kinds(tmp_path: Path) -> None:
    events = list(training(30))
    record(tmp_path / "t", events)
    for kinds in ({"optimizer.step"}, {"model.forward", "loss.backward"}, {"gap"}, set()):
        found = list(open_trace(tmp_path / "t").events(kinds))
        assert found == [event for event in events if event.kind in kinds]


def test_what_is_said_again_is_one_object(tmp_path: Path) -> None:
    record(tmp_path / "t", training(40))
    events = list(open_trace(tmp_path / "t").events({"optimizer.step"}))
    shared: list[Callable[[Event], object]] = [
        lambda event: event.values,
        lambda event: event.members,
        lambda event: event.where,
        lambda event: event.subjects,
    ]
    for part in shared:
        assert len({id(part(event)) for event in events}) == 1


def test_whole_numbers_that_move_take_no_rows(tmp_path: Path) -> None:
    events = [
        Event("optimizer.step", n, None, values={"counted": n, "type": "SGD"}, step=n)
        for n in range(5000)
    ]
    record(tmp_path / "t", events)
    trace = open_trace(tmp_path / "t")
    assert list(trace.events()) == events
    assert trace.runs[0].size / 5000 < 4


def test_ranks_are_merged_by_step(tmp_path: Path) -> None:
    for rank in (1, 0):
        record(tmp_path / "t", training(12, rank), rank=rank)
    trace = open_trace(tmp_path / "t")
    assert [run.facts.rank for run in trace.runs] == [0, 1]
    assert list(trace.events()) == [*training(12, 0), *training(12, 1)]
    merged = [(event.step, event.rank) for event in trace.events(by_step=True)]
    assert merged == sorted(merged)
    assert len(merged) == 96
