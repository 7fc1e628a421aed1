"""The driver: what counts as a failure, which line is to be mended, and each cause once."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tcstatic.check import Driver
from tcstatic.model import Blame, Context, Event, Finding, Invariant, Location, Member, Needs

HERE = Location("train.py", 30, function="main")


def rule(code: str = "T1", of: str = "flag", at: str = "optimizer.step", **more: Any) -> Invariant:
    """An invariant that fails where the value `of` of an event is 0."""
    given: dict[str, Any] = {
        "name": f"rule-{code}",
        "relation": "count",
        "params": {"of": of, "at": at, "at_least": 1},
        "severity": "error",
        "message": "{optimizer} fails",
        "why": "because",
        "cure": "mend it",
    }
    return Invariant(code, **{**given, **more})


def event(kind: str = "optimizer.step", *, line: int | None = 30, **more: Any) -> Event:
    """An event of optimizer 1 at a line; further arguments are fields of Event, or values."""
    fields = {k: more.pop(k) for k in ("step", "epoch", "rank", "context", "members") if k in more}
    subjects = more.pop("subjects", {"optimizer": (1,)})
    sequence = more.pop("sequence", next(_sequences))
    where = None if line is None else Location("train.py", line, function="main")
    return Event(kind, sequence, where, subjects, more, **fields)


_sequences = itertools.count(1000)


def found(rules: list[Invariant], *stream: Event) -> tuple[Finding, ...]:
    driver = Driver(rules)
    for one in stream:
        driver.feed(one)
    driver.settle(final=True)
    return driver.findings()


def test_each_failure_in_a_context_never_seen_is_counted() -> None:
    learnt = rule(
        relation="result",
        params={"of": "optimizer.step", "value": "flag", "is": 1},
        seen="usual",
    )
    stream = [event(flag=0, usual=False) for _ in range(5)]
    stream += [event(flag=1, usual=False), event(flag=0, usual=False), event(flag=0, usual=False)]
    driver = Driver([learnt])
    for one in stream:
        driver.feed(one)
    driver.settle(final=True)
    assert driver.counts().unseen == {"T1": 7}
    assert driver.counts().checked == {"T1": 1}


@pytest.mark.parametrize(
    ("when", "unless", "values", "checked", "violated"),
    [
        ("", "", {"flag": 0}, 1, True),
        ("", "", {"flag": 1}, 1, False),
        ("scoped", "", {"flag": 0, "scoped": True}, 1, True),
        ("scoped", "", {"flag": 0, "scoped": False}, 0, False),
        ("scoped", "", {"flag": 0}, 0, False),  # unknown: out of scope
        ("scoped", "", {"flag": 1, "scoped": False}, 0, False),
        ("", "excused", {"flag": 0, "excused": True}, 0, False),
        ("", "excused", {"flag": 0, "excused": False}, 1, True),
        ("", "excused", {"flag": 0}, 0, False),  # unknown: excused
        ("", "excused", {"flag": 1, "excused": True}, 1, False),  # nothing to excuse
        ("", "excused", {"flag": 1}, 1, False),
        ("scoped", "excused", {"flag": 0, "scoped": True, "excused": False}, 1, True),
        ("scoped", "excused", {"flag": 0, "scoped": False, "excused": False}, 0, False),
    ],
)
def test_scope_and_excuse(
    when: str, unless: str, values: dict[str, Any], checked: int, violated: bool
) -> None:
    driver = Driver([rule(when=when, unless=unless)])
    driver.feed(event(**values))
    assert bool(driver.settle()) is violated
    counts = driver.counts()
    assert counts.in_scope == ("T1",)
    assert counts.checked == ({"T1": checked} if checked else {})
    assert counts.violated == (("T1",) if violated else ())
    assert counts.held == (("T1",) if checked and not violated else ())
    assert counts.never_triggered == (() if checked else ("T1",))


def test_members_that_hold_are_counted_each() -> None:
    members = tuple(Member(n, f"p{n}", {"finite": n != 2}) for n in (1, 2, 3))
    params = {"of": "optimizer.step", "value": "finite", "is": True, "each": True}
    driver = Driver([rule(relation="result", params=params, message="{parameter} of {optimizer}")])
    driver.feed(event("optimizer.new", line=3, type="SGD"))
    driver.feed(event(members=members))
    (finding,) = driver.settle()
    assert finding.message == "p2 of optimizer (SGD, built at train.py:3)"
    assert driver.counts().checked == {"T1": 3}


def test_the_same_failure_is_one_finding_with_a_count() -> None:
    driver = Driver([rule()])
    driver.feed(event(flag=0, step=2))
    driver.feed(event(flag=0, step=3))
    assert [one.step for one in driver.settle()] == [2]
    driver.feed(event(flag=0, step=4))
    assert driver.settle() == ()
    (finding,) = driver.findings()
    assert (finding.step, finding.count) == (2, 3)


def test_another_line_is_another_finding() -> None:
    both = found([rule()], event(flag=0), event(flag=0, line=31))
    assert [one.where.line for one in both] == [30, 31]
    assert len({one.fingerprint for one in both}) == 2


def test_fingerprints_are_stable() -> None:
    one, two = (found([rule()], event(flag=0, step=s, rank=s)) for s in (1, 5))
    assert one[0].fingerprint == two[0].fingerprint


CAUSE = rule("T1", of="cause", explains=("T2", "T3"))
EFFECT = rule("T2", of="effect")
LATER = rule("T3", of="later", severity="warning")


@pytest.mark.parametrize("rules", list(itertools.permutations([CAUSE, EFFECT, LATER])))
@pytest.mark.parametrize(
    "stream",
    list(
        itertools.permutations(
            [{"cause": 0, "line": 10}, {"effect": 0, "line": 20}, {"later": 0, "line": 40}]
        )
    ),
)
def test_consequences_are_evidence_of_their_cause_in_any_order(
    rules: tuple[Invariant, ...], stream: tuple[dict[str, Any], ...]
) -> None:
    (finding,) = found(list(rules), *(event(**given) for given in stream))
    assert (finding.code, finding.where.line) == ("T1", 10)
    labels = {link.event: link.line for link in finding.witness}
    assert labels["T2 rule-T2"] == 20
    assert labels["T3 rule-T3"] == 40


def test_consequences_merge_into_a_cause_that_was_found_before() -> None:
    driver = Driver([EFFECT, CAUSE])
    driver.feed(event(cause=0))
    driver.settle()
    for _ in range(3):
        driver.feed(event(effect=0, line=20))
    assert driver.settle() == ()
    (finding,) = driver.findings()
    assert [link.event for link in finding.witness].count("T2 rule-T2") == 1
    assert driver.counts().violated == ("T1",)


@pytest.mark.parametrize("optimizer", [1, 2])
def test_a_cause_takes_over_what_was_found_before(optimizer: int) -> None:
    driver = Driver([EFFECT, CAUSE])
    driver.feed(event(effect=0, line=20, subjects={"optimizer": (1,)}))
    assert [one.code for one in driver.settle()] == ["T2"]
    driver.feed(event(cause=0, subjects={"optimizer": (optimizer,)}))
    assert [one.code for one in driver.settle()] == ["T1"]
    driver.feed(event(effect=0, line=20, subjects={"optimizer": (1,)}))
    assert driver.settle() == ()
    told = [one.code for one in driver.findings()]
    assert told == (["T1"] if optimizer == 1 else ["T2", "T1"])
    labels = {link.event: link.line for link in driver.findings()[-1].witness}
    assert labels.get("T2 rule-T2") == (20 if optimizer == 1 else None)


def test_a_note_takes_over_no_error() -> None:
    driver = Driver([EFFECT, rule("T1", of="cause", explains=("T2",), severity="note")])
    driver.feed(event(effect=0, line=20))
    driver.settle()
    driver.feed(event(cause=0))
    driver.settle()
    assert [one.code for one in driver.findings()] == ["T2", "T1"]


@pytest.mark.parametrize(
    ("cause", "effect", "merged"), [((1,), (1,), True), ((1,), (2,), False), ((1,), (), True)]
)
def test_another_optimizers_failure_is_no_consequence(
    cause: tuple[int, ...], effect: tuple[int, ...], merged: bool
) -> None:
    stream = (
        event(cause=0, subjects={"optimizer": cause}),
        event(effect=0, subjects={"optimizer": effect}),
    )
    assert len(found([CAUSE, EFFECT], *stream)) == (1 if merged else 2)


def test_a_note_is_a_consequence_whatever_the_optimizer() -> None:
    note = rule("T2", of="effect", severity="note")
    stream = (event(cause=0), event(effect=0, subjects={"optimizer": (2,)}))
    assert [one.code for one in found([CAUSE, note], *stream)] == ["T1"]


@pytest.mark.parametrize("between", [True, False])
@pytest.mark.parametrize("seen", [True, False])
def test_causes_explain_by_way_of_rules_in_scope(between: bool, seen: bool) -> None:
    first = rule("T1", of="cause", explains=("T2",))
    second = rule("T2", of="link", explains=("T3", "T1"))
    third = rule("T3", of="effect")
    rules = [third, first, *((second,) if between else ())]
    stream = [event(effect=0), event(cause=0), *((event(link=0),) if seen else ())]
    codes = [one.code for one in found(rules, *stream)]
    assert codes == (["T1"] if between else ["T3", "T1"])


def test_rules_that_explain_each_other_do_not_explain_themselves() -> None:
    rules = [rule("T1", of="one", explains=("T2",)), rule("T2", of="two", explains=("T1",))]
    stream = (event(one=0, line=1), event(two=0, line=2), event(one=0, line=3))
    assert [(one.code, one.where.line) for one in found(rules, *stream)] == [("T1", 1), ("T1", 3)]


def story(**facts: Any) -> tuple[Event, ...]:
    """An optimizer that is built, a model that is wrapped, and a step that fails."""
    both = {"optimizer": (1,), "model": (2,)}
    return (
        event("model.new", line=10, subjects={"model": (2,)}, type="Net"),
        event("optimizer.new", line=11, type="SGD"),
        event("wrap.new", line=12, subjects={"model": (2,)}, type="DDP"),
        event("wrap.new", line=13, subjects={"model": (2,)}, type="DDP"),
        event(flag=0, subjects=both, step=4, **facts),
    )


@pytest.mark.parametrize(
    ("blame", "facts", "line"),
    [
        ((), {}, 13),  # the last change of an object concerned
        ((Blame("optimizer.new"),), {}, 11),
        ((Blame("optimizer.new"), Blame("wrap.new")), {}, 11),  # the first that matches
        ((Blame("wrap.new"), Blame("optimizer.new")), {}, 13),  # the last event of its kind
        ((Blame("model.freeze"), Blame("model.new")), {}, 10),  # never happened: the next one
        ((Blame("model.new", "copied"), Blame("optimizer.new")), {"copied": True}, 10),
        ((Blame("model.new", "copied"), Blame("optimizer.new")), {"copied": False}, 11),
        ((Blame("model.new", "copied"), Blame("optimizer.new")), {}, 11),  # unknown
        ((Blame("optimizer.new", "had_wrap_new"),), {}, 11),
        ((Blame("optimizer.new", "had_model_freeze"),), {}, 30),  # none matches: the symptom
        ((Blame("model.new", "last_wrap_new > last_optimizer_new"),), {}, 10),
        ((Blame("optimizer.step"), Blame("optimizer.new")), {}, 30),
    ],
)
def test_blame(blame: tuple[Blame, ...], facts: dict[str, Any], line: int) -> None:
    (finding,) = found([rule(blame=blame)], *story(**facts))
    assert finding.where.line == line
    assert finding.step == 4
    assert [(link.event, link.line) for link in finding.witness] == [
        ("model.new", 10),
        ("optimizer.new", 11),
        ("wrap.new", 12),
        ("wrap.new", 13),
        ("optimizer.step", 30),
    ]


def test_without_history_the_symptom_is_the_line() -> None:
    (finding,) = found([rule()], event(flag=0))
    assert finding.where.line == 30
    assert [(link.event, link.line) for link in finding.witness] == [("optimizer.step", 30)]


def test_a_copy_is_a_fact() -> None:
    before = story()[:3]
    copied = event("model.new", line=12, subjects={"model": (2,)}, how="copy")
    stream = (*before, copied, story()[-1])
    blame = (Blame("model.new", "had_copy"), Blame("wrap.new"))
    assert found([rule(blame=blame)], *stream)[0].where.line == 12
    assert found([rule(blame=blame)], *story())[0].where.line == 13


def test_what_happened_later_is_no_cause() -> None:
    first, *others = story()
    late = event("wrap.new", line=50, subjects={"model": (2,)})
    (finding,) = found([rule(blame=(Blame("wrap.new"),))], first, *others, late)
    assert finding.where.line == 13


def test_without_any_place_a_finding_says_so() -> None:
    (finding,) = found([rule(message="at {site}")], event(flag=0, line=None))
    assert (finding.where.file, finding.where.line) == ("<unknown>", 0)


@pytest.mark.parametrize(("since", "step"), [(2, 2), (None, 7), (True, 7), ("2", 7), (0, 0)])
def test_the_step_named_is_the_one_in_which_it_began(since: Any, step: int) -> None:
    params = {
        "precedence": "loss.backward",
        "before": "optimizer.step",
        "same": "optimizer",
        "since": "starved_since",
    }
    stream = event(starved_since=since, step=7)
    (finding,) = found([rule(relation="order", params=params)], stream)
    assert finding.step == step
    assert finding.witness[-1].step == step


@pytest.mark.parametrize("severity", ["error", "warning", "note"])
def test_an_inferred_context_gives_a_warning_at_most(severity: str) -> None:
    context = Context({"stage": "train"}, frozenset({"stage"}))
    inferred = found([rule(severity=severity)], event(flag=0, context=context))
    observed = found([rule(severity=severity)], event(flag=0, context=Context({"stage": "train"})))
    assert observed[0].severity == severity
    assert inferred[0].severity == ("warning" if severity == "error" else severity)


def test_notes_are_findings_like_others() -> None:
    (finding,) = found([rule(severity="note")], event(flag=0))
    assert (finding.severity, finding.count) == ("note", 1)


def test_the_message_is_filled() -> None:
    text = "{model} {flag} {rate} {site} {unheard_of} of {optimizer}"
    given = rule(message=text, cure="{flag}", when="rate > 0", unless="accumulating")
    *before, _ = story()
    both = {"optimizer": (1,), "model": (2,)}
    last = event(flag=0, rate=0.123456, accumulating=False, subjects=both, epoch=3, rank=1)
    (finding,) = found([given], *before, last)
    assert finding.message == (
        "model (Net, built at train.py:10) 0 0.1235 train.py:13 unheard_of"
        " of optimizer (SGD, built at train.py:11)"
    )
    assert finding.cure == "0"
    assert finding.precondition == "(rate > 0) and not (accumulating)"
    assert (finding.epoch, finding.rank) == (3, 1)


def test_the_rank_at_fault_is_named() -> None:
    assert found([rule()], event(flag=0, culprit_rank=3))[0].rank == 3


def test_parts_of_a_model_are_one_link_of_the_chain() -> None:
    parts = [event("model.new", line=n, subjects={"model": (2,)}, type="Linear") for n in (1, 2, 3)]
    (finding,) = found([rule()], *parts, story()[-1])
    assert [link.line for link in finding.witness] == [3, 30]


def test_a_chain_stays_short() -> None:
    many = [event("model.mutate", line=n, subjects={"model": (2,)}) for n in range(1, 25)]
    (finding,) = found([rule()], *many, story()[-1])
    assert len(finding.witness) == 13
    assert [link.line for link in finding.witness[:3]] == [1, 2, 15]


def test_settling_twice_finds_nothing_new() -> None:
    driver = Driver([rule()])
    driver.feed(event(flag=0))
    assert len(driver.settle()) == 1
    assert driver.settle() == ()
    assert driver.settle(final=True) == ()
    assert len(driver.findings()) == 1


def test_needs_are_those_of_all_rules() -> None:
    state = {"state": "param.data", "over": "rank"}
    driver = Driver([rule(), rule("T2", relation="equal", params=state)])
    assert driver.needs == Needs(
        frozenset({"optimizer.step", "state"}), frozenset({"param.data over rank"})
    )


def test_a_gap_reaches_every_automaton() -> None:
    params = {"precedence": "loss.backward", "before": "optimizer.step"}
    given = rule(relation="order", params=params)
    assert found([given], Event("gap", 1, None), event()) == ()
    assert len(found([given], Event("gap", 1, None), event(), event())) == 1


@pytest.mark.parametrize("relation", ["count", "order"])
def test_events_that_say_the_same_are_counted_each(relation: str) -> None:
    params = {"precedence": "loss.backward", "before": "optimizer.step"}
    given = rule() if relation == "count" else rule(relation="order", params=params)
    driver = Driver([given])
    for flags, codes in ((5 * [1], []), ([0], ["T1"]), (3 * [1], []), (2 * [0], [])):
        for flag in flags:
            if flag or relation == "count":
                driver.feed(event("loss.backward"))
            driver.feed(event(flag=flag))
        assert [one.code for one in driver.settle()] == codes
    assert driver.counts().checked == {"T1": 11}
    assert driver.findings()[0].count == 3


def test_a_scope_that_asks_for_the_step_is_asked_each_time() -> None:
    driver = Driver([rule(when="step >= 3", unless="step == 4")])
    for step in range(6):
        driver.feed(event(flag=0, context=Context({"step": step}), step=step))
    assert [one.step for one in driver.settle()] == [3]
    assert driver.counts().checked == {"T1": 2}


def test_members_that_change_are_judged_anew() -> None:
    params = {"of": "optimizer.step", "value": "finite", "is": True, "each": True}
    driver = Driver([rule(relation="result", params=params)])
    for step, finite in enumerate((True, True, False, True)):
        driver.feed(event(members=(Member(1, "p1", {"finite": finite}),), step=step))
    assert [one.step for one in driver.settle()] == [2]
    assert driver.counts().checked == {"T1": 4}
