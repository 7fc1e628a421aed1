"""Relations over `call` events: what functions are given and give, contain, and follow."""

from __future__ import annotations

from typing import Any

import pytest

from tcstatic.invariants.relations import RELATIONS, check_params, monitor_of, needs_of
from tcstatic.invariants.relations.called import labels_of
from tcstatic.model import Event, Invariant

F, G, H = "call lib.F.f", "call lib.F.g", "call lib.F.h"


def call(name: str, sequence: int = 0, *, on: int = 0, **values: Any) -> Event:
    subjects = {"self": (on,)} if on else {}
    return Event("call", sequence, None, subjects, {"name": f"lib.F.{name}", **values})


def judged(relation: str, params: dict[str, Any], events: list[Event]) -> list[bool]:
    check_params(relation, params)
    monitor = RELATIONS[relation].monitor(params)
    return [seen.holds for event in events for seen in monitor.feed(event)]


def of(events: str, *, on: int = 0) -> list[Event]:
    """One call a letter; `.` is an optimizer's step, `$` the end, `|` a gap."""
    kinds = {".": "optimizer.step", "$": "end", "|": "gap"}
    return [
        Event(kinds[one], at, None) if one in kinds else call(one, at, on=on)
        for at, one in enumerate(events, start=1)
    ]


def test_a_function_has_the_labels_of_its_name_and_role() -> None:
    assert labels_of(call("f", role="lib.Base.f")) == (F, "call lib.Base.f")
    assert labels_of(Event("optimizer.step", 1, None)) == ("optimizer.step",)
    assert labels_of(Event("call", 1, None, {}, {"sampled": True})) == ()


@pytest.mark.parametrize(
    ("params", "values", "expected"),
    [
        ({"at_least": 0, "below": 1}, [0.5, 0, 1.0, float("nan"), True, "x"], "++--"),
        ({"over_time": "constant"}, [1, 1, 2, 1], "+-+"),
        ({"over_time": "distinct"}, [1, 2, 3, 1], "++-"),
        ({"over_time": "rising"}, [1, 2, 2, 3], "+-+"),
        ({"over_time": "changing"}, [0, 1, 0, 0], "++-"),
        ({"equals": 1}, [1, True, 1.0], "+--"),
    ],
)
def test_values_over_calls(params: dict[str, Any], values: list[Any], expected: str) -> None:
    events = [call("f", at, on=7, arg_x=value) for at, value in enumerate(values)]
    told = judged("argument", {"of": F, "argument": "arg_x", **params}, events)
    assert "".join("+" if one else "-" for one in told) == expected


def test_objects_are_judged_apart() -> None:
    events = [call("f", on=1, arg_x=1), call("f", on=2, arg_x=2), call("f", on=1, arg_x=1)]
    params = {"of": F, "argument": "arg_x", "over_time": "constant"}
    assert judged("argument", params, events) == [True]


def test_all_calls_of_a_run_are_judged_together_where_that_is_asked() -> None:
    events = [call("f", on=1, arg_x=1), call("f", on=2, arg_x=2), call("f", on=3, arg_x=1)]
    params = {"of": F, "argument": "arg_x", "over_time": "constant", "stream": "run"}
    assert judged("argument", params, events) == [False, True]
    with pytest.raises(ValueError, match="stream"):
        check_params("argument", {"of": F, "argument": "arg_x", "equals": 1, "stream": "run"})


def test_an_object_is_no_scalar() -> None:
    events = [call("f", arg_x=None), call("f", arg_x_type="Tensor"), call("f", arg_y=1)]
    assert judged("argument", {"of": F, "argument": "arg_x", "equals": None}, events) == [
        True,
        False,
    ]


def test_types_of_whole_numbers_say_nothing_of_others() -> None:
    params = {"of": F, "value": "result_dtype", "equals_field": "arg_x_dtype"}
    types = [("float32", "float32"), ("float64", "float32"), ("float32", "int64")]
    events = [call("f", result_dtype=one, arg_x_dtype=other) for one, other in types]
    assert judged("result", params, events) == [True, False]


def test_a_mode_is_due_to_who_made_the_object_that_calls() -> None:
    params = {"of": F, "value": "grad_enabled", "is": True}
    event = call("f", maker="train.py:7", grad_enabled=False)
    (seen,) = RELATIONS["result"].monitor(params).feed(event)
    where = seen.event.where
    assert where is not None
    assert (seen.holds, where.file, where.line) == (False, "train.py", 7)


@pytest.mark.parametrize(
    ("params", "events", "expected"),
    [
        ({"within": G, "between": [F, F]}, "gfgffgfg", "++-"),
        ({"outside": G, "between": [F, F]}, "gfgffgfg", "--+"),
        ({"within": G, "between": [F, H]}, "gfghg", "+-"),
        ({"outside": G, "between": [F, H]}, "fhgfg", "+-"),
        ({"within": G, "between": [F, F]}, "f|g", ""),
    ],
)
def test_what_opens_and_closes(params: dict[str, Any], events: str, expected: str) -> None:
    told = judged("order", params, of(events, on=3))
    assert "".join("+" if one else "-" for one in told) == expected


def test_what_lies_around_an_opening_is_not_judged() -> None:
    opened = [call("f", 2, on=3), call("f", 3, on=3), call("f", 5, on=3)]
    around = call("g", 6, lasted=2)
    assert judged("order", {"within": G, "between": [F, F]}, [*opened, around]) == []


def test_where_a_tensor_comes_from() -> None:
    params = {"of": F, "argument": "arg_x", "never_from": "lib.F.f"}
    events = [
        call("f", arg_x_dtype="float32"),
        call("f", arg_x_dtype="float32", arg_x_from="lib.F.f"),
        call("f", arg_x=1),
    ]
    assert judged("argument", params, events) == [True, False]


ORDERS: list[tuple[dict[str, Any], str, str]] = [
    ({"precedence": F, "before": G}, "gfg", "-+"),
    ({"existence": F, "between": [G, G]}, "gfgg", "+-"),
    ({"existence": F, "between": [G, "end"]}, "gf$", "+"),
    ({"existence": F, "between": [G, "end"]}, "fg$", "-"),
    ({"absence": F, "between": [G, "end"]}, "fg$", "+"),
    ({"absence": F, "between": [G, "end"]}, "gf$", "-"),
    ({"existence": F, "between": [G, G]}, "gfg|gg", "+"),
]
STEPPED = ({"existence": F, "between": ["optimizer.step", "optimizer.step"]}, ".f..", "+-", "")


@pytest.mark.parametrize(
    ("params", "events", "expected", "role"),
    [STEPPED, *((*order, role) for order in ORDERS for role in ("", "object"))],
)
def test_order(params: dict[str, Any], events: str, expected: str, role: str) -> None:
    told = judged("order", {**params, "same": role}, of(events, on=3))
    assert "".join("+" if one else "-" for one in told) == expected


@pytest.mark.parametrize(
    ("params", "events", "expected"),
    [
        ({"per": "optimizer.step", "at_most": 1}, ".f.ff.", "+-"),
        ({"per": "optimizer.step", "at_least": 1}, ".f..f.", "+-+"),
        ({"per": "optimizer.step", "at_least": 1}, "...", ""),  # what never is, is not forgotten
        ({"per": "end", "at_most": 1}, "f$", "+"),
        ({"per": "end", "at_most": 1}, "ff$", "-"),
    ],
)
def test_count(params: dict[str, Any], events: str, expected: str) -> None:
    told = judged("count", {"of": F, **params}, of(events))
    assert "".join("+" if one else "-" for one in told) == expected


def test_what_lies_within_a_call() -> None:
    params = {"call": F, "contains": "optimizer.step"}
    step = Event("optimizer.step", 3, None)
    events = [step, call("f", 5, lasted=2), call("f", 6), call("f", 9, lasted=2)]
    assert judged("effect", params, events) == [True, False, False]
    assert judged("effect", {"call": F, "lacks": "optimizer.step"}, events) == [False, True, True]


def test_what_a_call_changes() -> None:
    params = {"call": F, "changes": "self"}
    events = [call("f", after_self_changed=one) for one in (True, False)] + [call("f")]
    assert judged("effect", params, events) == [True, False]


def test_what_two_functions_are_given_alike() -> None:
    params = {"of": F, "field": "arg_x", "as": G, "as_field": "arg_y"}
    events = [call("f", arg_x=3), call("g", arg_y=3), call("g", arg_y=4), call("f", arg_x=4)]
    assert judged("equal", params, events) == [True, False, True]


def test_what_calls_need() -> None:
    params = {"existence": F, "between": [G, "optimizer.step"]}
    needs = needs_of(Invariant("INF001", "x", "order", params, "warning", "", "", ""))
    assert needs.calls == {"lib.F.f", "lib.F.g"}
    assert needs.events == {"call", "optimizer.step"}


@pytest.mark.parametrize("relation", ["order", "count", "argument"])
def test_a_label_is_a_kind_or_a_function(relation: str) -> None:
    params: dict[str, dict[str, Any]] = {
        "order": {"precedence": "call 3x", "before": F},
        "count": {"of": "call ", "per": F, "at_most": 1},
        "argument": {"of": "cal", "argument": "arg_x", "equals": 1},
    }
    with pytest.raises(ValueError, match="is not an event kind, nor `call FUNCTION`"):
        check_params(relation, params[relation])


def test_monitors_that_stand_alike_say_the_same() -> None:
    invariant = Invariant(
        "INF001", "x", "order", {"existence": F, "between": [G, G]}, "warning", "", "", ""
    )
    first, second = monitor_of(invariant), monitor_of(invariant)
    for event in of("gfg"):
        first.feed(event)
    for event in of("gffg"):
        second.feed(event)
    assert first.standing({}) != ()  # type: ignore[attr-defined]
    assert [o.holds for o in first.feed(call("g"))] == [o.holds for o in second.feed(call("g"))]
