"""Events of healthy runs -> invariants that hold, with preconditions, and nothing by accident."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from tcstatic.check import Driver
from tcstatic.infer import Inferred, Wanted, infer
from tcstatic.invariants.relations import check_params
from tcstatic.invariants.rules import load_rules
from tcstatic.invariants.rules.writing import rules_text
from tcstatic.model import Context, Event, Invariant
from tests.unit.infer.runs import healthy

USUAL = Wanted()


def learnt(*runs: list[Event], wanted: Wanted = USUAL) -> Inferred:
    return infer({f"run{n}": (lambda one=one: one) for n, one in enumerate(runs)}, wanted)


def violated(events: Iterable[Event], invariants: Iterable[Invariant]) -> set[str]:
    """What a run violates, as the messages put it."""
    by_code = {one.code: one for one in invariants}
    driver = Driver(by_code.values())
    for event in events:
        driver.feed(event)
    driver.settle(final=True)
    return {by_code[code].message.partition(": ")[2] for code in driver.counts().violated}


def test_a_precondition_tells_contexts_apart() -> None:
    found = learnt(healthy(16), healthy(16, model="Other"))
    about = {
        one.params["is"]: one.when
        for one in found.invariants
        if one.relation == "result" and one.params["value"] == "training"
    }
    assert set(about) == {True, False}
    assert all(about.values())
    assert violated(healthy(), found.invariants) == set()


def test_a_run_that_differs_is_told() -> None:
    found = learnt(healthy(), healthy(clip=True))
    wrong = [
        one._replace(values={**one.values, "training": False})
        if one.kind == "model.forward"
        else one
        for one in healthy()
        if one.kind != "optimizer.zero_grad" or one.sequence < 20
    ]
    said = violated(wrong, found.invariants)
    assert "training of model.forward is True" in said
    assert any("there is optimizer.zero_grad" in one for one in said)


def test_members_are_selected_by_what_they_are() -> None:
    found = learnt(healthy(), healthy())
    changes = [
        one
        for one in found.invariants
        if one.relation == "effect"
        and "changes" in one.params
        and one.params["quantifier"] == "each"
    ]
    assert [one.params["over"] for one in changes] == ["trainable"]
    frozen = [
        one._replace(
            members=tuple(m._replace(fields={**m.fields, "changed": False}) for m in one.members)
        )
        for one in healthy()
    ]
    assert "optimizer.step changes param.data of each parameter" in violated(
        frozen, found.invariants
    )


def test_a_change_too_small_to_show_is_not_asked_for() -> None:
    """Not of each parameter: that none changes at all is the fault of updates rounded away."""

    def run(*, shows: bool, changed: bool | None = None) -> list[Event]:
        told = {"representable": shows} | ({} if changed is None else {"changed": changed})
        return [
            one._replace(
                members=tuple(m._replace(fields={**m.fields, **told}) for m in one.members)
            )
            for one in healthy()
        ]

    found = learnt(run(shows=True), run(shows=True))
    claim = "optimizer.step changes param.data of each parameter where representable"
    none_at_all = "optimizer.step changes param.data of some parameter"
    assert violated(run(shows=False, changed=False), found.invariants) == {none_at_all}
    assert claim in violated(run(shows=True, changed=False), found.invariants)


def test_what_fails_where_nothing_was_seen_is_no_violation() -> None:
    found = learnt(healthy(), healthy())
    strange = [
        one._replace(
            values={**one.values, "training": not one.values.get("training")},
            context=Context({**one.context.fields, "stage": "pretrain", "grad_enabled": True}),
        )
        for one in healthy()
        if one.kind == "model.forward"
    ]
    assert violated(strange, found.invariants) == set()


def test_a_habit_of_one_program_is_not_learnt() -> None:
    runs = [healthy(), healthy(), healthy(clip=True)]
    assert "grad.clip" not in existing(learnt(*runs))
    assert "grad.clip" not in existing(learnt(runs[2]))
    assert "grad.clip" in existing(learnt(*[healthy(clip=True)] * 3))


def existing(found: Inferred) -> set[object]:
    return {one.params.get("existence") for one in found.invariants}


def of_steps(events: list[Event], **values: object) -> list[Event]:
    """The same run, in which each step says this, too."""
    return [
        one._replace(values={**one.values, **values}) if one.kind == "optimizer.step" else one
        for one in events
    ]


def test_what_holds_of_nothing_supports_nothing() -> None:
    def members(lost: frozenset[int]) -> set[object]:
        sets = {"optimizer.parameters": frozenset({3, 4}), "untracked.parameters": lost}
        found = learnt(of_steps(healthy(), **sets))
        return {one.params["of"] for one in found.invariants if one.relation == "member"}

    assert members(frozenset()) == set()
    assert "untracked.parameters" in members(frozenset({4}))


def test_how_programs_begin_is_asked_of_many() -> None:
    def preceding(*runs: list[Event]) -> set[object]:
        return {one.params.get("precedence") for one in learnt(*runs).invariants} - {None}

    assert preceding(healthy(), healthy()) == set()
    assert preceding(*[healthy()] * 7) == {"loss.backward", "optimizer.zero_grad"}
    kept = learnt(healthy(), healthy()).invariants
    later = [one for one in healthy() if one.kind != "optimizer.zero_grad" or one.sequence > 5]
    assert violated(later, kept) == set()


def test_sizes_are_in_no_claim() -> None:
    found = learnt(of_steps(healthy(), backwards=1, parts=12))
    counts = {
        (one.params["of"], one.params.get("at_least"), one.params.get("at_most"))
        for one in found.invariants
        if one.relation == "count"
    }
    assert counts == {("backwards", 1, None), ("parts", 1, None)}
    assert violated(of_steps(healthy(), backwards=4, parts=3), found.invariants) == set()
    assert violated(of_steps(healthy(), backwards=0), found.invariants)


def test_a_context_of_one_of_several_programs_was_hardly_seen() -> None:
    usual, odd = of_steps(healthy(), stock=True), of_steps(healthy(), stock=False)
    wrong = of_steps(healthy(), stock=False, finite=False)
    about = "finite of optimizer.step is True"
    assert about in violated(wrong, learnt(usual, odd).invariants)
    assert about not in violated(wrong, learnt(usual, usual, odd).invariants)
    assert about in violated(wrong, learnt(usual, usual, odd, odd).invariants)


@pytest.mark.parametrize("support, expected", [(7, True), (13, False)])
def test_support_is_asked_for(support: int, expected: bool) -> None:
    found = learnt(healthy(), wanted=Wanted(support=support))
    steps = [one for one in found.invariants if one.params.get("value") == "finite"]
    assert bool(steps) == expected


def test_relations_can_be_chosen() -> None:
    found = learnt(healthy(), healthy(), wanted=Wanted(relations=("order",)))
    assert {one.relation for one in found.invariants} == {"order"}


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    found = learnt(healthy(), healthy()).invariants
    path = tmp_path / "learnt.yaml"
    path.write_text(rules_text(found), encoding="utf-8")
    read = load_rules([path], schema=check_params)
    assert [one.code for one in read] == [one.code for one in found]
    assert {one.code: one for one in read} == {one.code: one for one in found}
    assert rules_text(read) == rules_text(found)
