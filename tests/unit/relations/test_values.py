"""Relations over one event's values: argument, result, member, count; and the registry."""

from __future__ import annotations

from typing import Any

import pytest

from tcstatic.invariants.relations import RELATIONS, check_params, monitor_of, needs_of
from tcstatic.invariants.relations.base import register
from tcstatic.model import Context, Event, Invariant, Needs

TRAINING = {"of": "model.forward", "argument": "training", "equals": True}
FOLLOWS = {"of": "call", "argument": "active", "equals_field": "module_training"}
LOSS = {"of": "optimizer.step", "value": "loss_finite", "is": True}
LIVE = {"of": "held", "within": "live", "at": "optimizer.step"}
ONE = {"of": "trainable", "at": "optimizer.step", "at_least": 1}
TWICE = {"of": "wrappers", "at": "model.forward", "at_most": 1}


def judged(relation: str, params: dict[str, Any], kind: str, **values: Any) -> list[bool]:
    check_params(relation, params)
    event = Event(kind, 1, None, {"optimizer": (4,)}, values)
    return [o.holds for o in RELATIONS[relation].monitor(params).feed(event)]


@pytest.mark.parametrize(
    ("params", "kind", "values", "expected"),
    [
        (TRAINING, "model.forward", {"training": True}, [True]),
        (TRAINING, "model.forward", {"training": False}, [False]),
        (TRAINING, "model.forward", {"training": 1}, [False]),  # 1 == True, but is none
        (TRAINING, "model.forward", {}, []),
        (TRAINING, "model.train", {"training": False}, []),
        (FOLLOWS, "call", {"active": True, "module_training": True}, [True]),
        (FOLLOWS, "call", {"active": True, "module_training": False}, [False]),
        (FOLLOWS, "call", {"active": True}, [False]),
        ({**TRAINING, "equals": None}, "model.forward", {"training": None}, [True]),
    ],
)
def test_argument(
    params: dict[str, Any], kind: str, values: dict[str, Any], expected: list[bool]
) -> None:
    assert judged("argument", params, kind, **values) == expected


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("optimizer.step", {"loss_finite": True}, [True]),
        ("optimizer.step", {"loss_finite": False}, [False]),
        ("optimizer.step", {"loss_finite": None}, []),
        ("optimizer.step", {}, []),
        ("loss.backward", {"loss_finite": False}, []),
    ],
)
def test_result(kind: str, values: dict[str, Any], expected: list[bool]) -> None:
    assert judged("result", LOSS, kind, **values) == expected


@pytest.mark.parametrize(
    ("need", "held", "live", "expected"),
    [
        ("all", {1, 2}, {1, 2, 3}, [True]),
        ("all", {1, 2}, {1}, [False]),
        ("all", set(), {1}, [True]),
        ("some", {1, 2}, {1}, [True]),
        ("some", {1, 2}, {3}, [False]),
        ("some", set(), set(), [True]),
    ],
)
def test_member(need: str, held: set[int], live: set[int], expected: list[bool]) -> None:
    params = {**LIVE, "need": need}
    values = {"held": frozenset(held), "live": frozenset(live)}
    assert judged("member", params, "optimizer.step", **values) == expected
    assert judged("member", params, "loss.backward", **values) == []
    if need == "all":
        assert judged("member", LIVE, "optimizer.step", **values) == expected


def test_member_is_not_judged_without_both_sets() -> None:
    assert judged("member", LIVE, "optimizer.step", held=frozenset({1})) == []
    assert judged("member", LIVE, "optimizer.step", live=frozenset({1})) == []


@pytest.mark.parametrize("holds", [True, False])
def test_member_since(holds: bool) -> None:
    params = {**LIVE, "since": "stale_since"}
    sets = {"held": frozenset({1}), "live": frozenset({1} if holds else ())}
    event = Event("optimizer.step", 1, None, {"optimizer": (4,)}, {**sets, "stale_since": 2})
    (found,) = RELATIONS["member"].monitor(params).feed(event)
    assert (found.holds, found.key, found.facts.get("since")) == (holds, (4,), None if holds else 2)


@pytest.mark.parametrize(
    ("params", "kind", "values", "expected"),
    [
        (ONE, "optimizer.step", {"trainable": 1}, [True]),
        (ONE, "optimizer.step", {"trainable": 0}, [False]),
        (ONE, "optimizer.step", {}, []),
        (ONE, "optimizer.new", {"trainable": 0}, []),
        (TWICE, "model.forward", {"wrappers": 0}, [True]),
        (TWICE, "model.forward", {"wrappers": 2}, [False]),
        ({**TWICE, "at_least": 1}, "model.forward", {"wrappers": 0}, [False]),
    ],
)
def test_count(
    params: dict[str, Any], kind: str, values: dict[str, Any], expected: list[bool]
) -> None:
    assert judged("count", params, kind, **values) == expected


def test_scalars_among_the_values_are_asked_about_and_sets_are_not() -> None:
    values = {"trainable": 0, "manual": False, "live": frozenset({1}), "names": ("a",)}
    event = Event("optimizer.step", 1, None, {}, values, Context({"rank": 1}, frozenset({"rank"})))
    (found,) = RELATIONS["count"].monitor(ONE).feed(event)
    assert found.context == Context(
        {"rank": 1, "trainable": 0, "manual": False}, frozenset({"rank"})
    )


@pytest.mark.parametrize(
    ("relation", "params", "words"),
    [
        ("argument", {"of": "call", "argument": "x"}, "exactly one of equals, equals_field"),
        ("argument", {**FOLLOWS, "equals": 1}, "exactly one of equals, equals_field"),
        ("argument", {"of": "call", "equals": 1}, "missing key 'argument'"),
        ("argument", {**FOLLOWS, "of": "dropout"}, "of: 'dropout' is not an event kind"),
        ("result", {**LOSS, "eech": True}, "unknown key 'eech'"),
        ("member", {"of": "a", "at": "optimizer.step"}, "missing key 'within'"),
        ("member", {**LIVE, "need": "any"}, "need: expected all or some"),
        ("member", {**LIVE, "at": "step"}, "at: 'step' is not an event kind"),
        ("count", {"of": "a", "at": "optimizer.step"}, "expected at_least or at_most"),
        ("count", {**ONE, "at_least": True}, "a whole number"),
        ("count", {**ONE, "at_most": "2"}, "a whole number"),
        ("count", {**ONE, "at": "every step"}, "at: 'every step' is not an event kind"),
        ("ordr", {}, "unknown relation 'ordr'; expected one of .*; did you mean 'order'"),
    ],
)
def test_wrong_parameters_are_named(relation: str, params: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check_params(relation, params)


def test_a_relation_is_defined_once() -> None:
    with pytest.raises(ValueError, match="relation 'count' is defined twice"):
        register(type(RELATIONS["count"]))


def test_an_invariant_finds_its_relation() -> None:
    rule = Invariant("T1", "x", "count", ONE, "error", "", "", "")
    assert needs_of(rule) == Needs(frozenset({"optimizer.step"}))
    assert monitor_of(rule) is not monitor_of(rule)
