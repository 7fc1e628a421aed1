"""`order`: existence, absence and precedence, per subject, with gaps."""

from __future__ import annotations

from typing import Any

import pytest

from tcstatic.invariants.relations import RELATIONS, check_params
from tcstatic.model import Event, Needs, Observation

CLEARED = {
    "existence": "optimizer.zero_grad",
    "between": ["optimizer.step", "optimizer.step"],
    "given": "loss.backward",
    "same": "optimizer",
}
THROWN_AWAY = {
    "absence": "optimizer.zero_grad",
    "between": ["loss.backward", "optimizer.step"],
    "same": "optimizer",
}
BEFORE = {"precedence": "loss.backward", "before": "optimizer.step", "same": "optimizer"}
SHORT = {
    "B": "loss.backward",
    "Z": "optimizer.zero_grad",
    "S": "optimizer.step",
    "C": "grad.clip",
    "g": "gap",
}


def events(word: str) -> list[Event]:
    """One letter an event; a digit after it is the number of its optimizer (1 if there is none)."""
    made: list[Event] = []
    for position, letter in enumerate(word):
        if letter.isdigit():
            continue
        after = word[position + 1 : position + 2]
        subjects = {"optimizer": (int(after) if after.isdigit() else 1,)}
        if letter == "g":
            subjects = {}
        made.append(Event(SHORT[letter], len(made) + 1, None, subjects))
    return made


def judged(params: dict[str, Any], stream: list[Event]) -> list[Observation]:
    check_params("order", params)
    monitor = RELATIONS["order"].monitor(params)
    return [observation for event in stream for observation in monitor.feed(event)]


@pytest.mark.parametrize(
    ("params", "word", "expected"),
    [
        pytest.param(CLEARED, "BSZBS", [True], id="cleared"),
        pytest.param(CLEARED, "BSBS", [False], id="not cleared"),
        pytest.param(CLEARED, "BSBSZBS", [False, True], id="each interval by itself"),
        pytest.param(CLEARED, "BSBBBZS", [True], id="accumulation"),
        pytest.param(CLEARED, "BS", [], id="one step is no interval"),
        pytest.param(CLEARED, "BSS", [], id="no backward in the interval: not given"),
        pytest.param(CLEARED, "BSBgS", [], id="a gap in the interval"),
        pytest.param(CLEARED, "BSBgSBS", [False], id="after a gap it starts afresh"),
        pytest.param(CLEARED, "B1S1B2S2Z1B1S1", [True], id="another object's events are not mine"),
        pytest.param(CLEARED, "B1S1B2S2Z1Z1B1B2S1S2", [True, False], id="one of two"),
        pytest.param(THROWN_AWAY, "ZBS", [True], id="cleared before backward"),
        pytest.param(THROWN_AWAY, "BZS", [False], id="cleared between"),
        pytest.param(THROWN_AWAY, "BZBS", [True], id="the last backward counts"),
        pytest.param(THROWN_AWAY, "BSZS", [True], id="a step closes the interval"),
        pytest.param(THROWN_AWAY, "B1Z2S1", [True], id="another one is cleared"),
        pytest.param(THROWN_AWAY, "BgZS", [], id="blind after a gap"),
        pytest.param(BEFORE, "BSBS", [True, True], id="backward before each step"),
        pytest.param(BEFORE, "SS", [False, False], id="never a backward"),
        pytest.param(BEFORE, "BSS", [True, False], id="one backward serves one step"),
        pytest.param(BEFORE, "B2S1", [False], id="a backward of another one"),
        pytest.param(BEFORE, "gSS", [False], id="blind until the first step after a gap"),
        pytest.param(BEFORE, "S1gS1S2S2", [False, False], id="blind for each object"),
    ],
)
def test_automata(params: dict[str, Any], word: str, expected: list[bool]) -> None:
    assert [o.holds for o in judged(params, events(word))] == expected


def test_without_same_there_is_one_automaton() -> None:
    params = {"absence": "grad.clip", "between": ["loss.backward", "optimizer.step"]}
    assert [o.holds for o in judged(params, events("B1C2S3"))] == [False]


def test_an_event_of_several_objects_reaches_each_automaton() -> None:
    both = Event("loss.backward", 1, None, {"optimizer": (1, 2)})
    found = judged(BEFORE, [both, *events("S1S2")])
    assert [(o.holds, o.key) for o in found] == [(True, (1,)), (True, (2,))]


def test_the_trail_holds_the_interval_and_what_lay_in_it() -> None:
    stream = events("BZS")
    (found,) = judged(THROWN_AWAY, stream)
    assert found.event is stream[2]
    assert found.trail == (stream[0], stream[1])


@pytest.mark.parametrize(("starved_since", "since"), [(3, 3), (None, None)])
def test_since_names_the_step_in_which_it_began(
    starved_since: int | None, since: int | None
) -> None:
    params = {**BEFORE, "since": "starved_since"}
    values = {"starved_since": starved_since}
    (found,) = judged(params, [Event("optimizer.step", 1, None, {"optimizer": (1,)}, values)])
    assert not found.holds
    assert found.facts.get("since") == since


def test_needs_are_the_kinds_named() -> None:
    assert RELATIONS["order"].needs(CLEARED) == Needs(
        frozenset({"optimizer.zero_grad", "optimizer.step", "loss.backward"})
    )
    assert RELATIONS["order"].needs(BEFORE) == Needs(frozenset({"optimizer.step", "loss.backward"}))


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({}, "exactly one of existence, absence, precedence"),
        ({**CLEARED, "absence": "grad.clip"}, "exactly one of existence"),
        ({**CLEARED, "existence": "optimizer.zero"}, "existence: 'optimizer.zero' is not an event"),
        ({**CLEARED, "betwen": 1}, "unknown key 'betwen'; expected one of absence, before"),
        ({**CLEARED, "between": ["optimizer.step"]}, "between: expected two event kinds"),
        ({**CLEARED, "between": ["optimizer.step", "x"]}, "between: 'x' is not an event kind"),
        ({**CLEARED, "given": "backward"}, "given: 'backward' is not an event kind"),
        ({"precedence": "loss.backward"}, "before: None is not an event kind"),
        ({"existence": "loss.backward"}, "between: expected two event kinds"),
    ],
)
def test_wrong_parameters_are_named(params: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check_params("order", params)
