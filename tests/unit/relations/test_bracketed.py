"""What opens and closes in a run, and what is proposed to lie within it or outside of it."""

from __future__ import annotations

from typing import Any

from tcstatic.invariants.relations.bracketed import OUTSIDE, WITHIN, bracketed, pairs_of
from tcstatic.invariants.relations.callstreams import Run, labels_known
from tcstatic.model import Event

SWAP, OPEN, CLOSE = "call lib.Mean.swap", "call lib.Mean.open", "call lib.Mean.close"
SAVE, UPDATE = "call lib.save", "call lib.Mean.update"
LETTERS = {"x": "Mean.swap", "(": "Mean.open", ")": "Mean.close", "u": "Mean.update", "s": "save"}


def run_of(letters: str, **values: Any) -> Run:
    events = []
    for at, letter in enumerate(letters, start=1):
        name = f"lib.{LETTERS[letter]}"
        subjects = {"self": (3,)} if "Mean" in name else {}
        events.append(Event("call", at, None, subjects, {"name": name, **values}))
    return [(event, tuple(labels_known(event))) for event in events]


def test_a_method_that_undoes_itself_opens_and_closes() -> None:
    assert (SWAP, SWAP) in pairs_of(run_of("uxsxuxsx"))
    assert (SWAP, SWAP) not in pairs_of(run_of("uxsxuxs"))
    assert (SWAP, SWAP) not in pairs_of(run_of("uxsxuxsx", arg_on=True))


def test_two_methods_that_take_turns_open_and_close() -> None:
    assert (OPEN, CLOSE) in pairs_of(run_of("(s)u(s)"))
    assert (OPEN, CLOSE) not in pairs_of(run_of("((s)u)"))


def test_what_lies_within_in_all_runs_is_proposed() -> None:
    pair = (SWAP, SWAP)
    runs = [run_of("uxsxuxsx"), run_of("uxssxuxsx")]
    assert [*bracketed(runs, [SAVE, UPDATE, SWAP], 2)] == [
        (pair, UPDATE, OUTSIDE),
        (pair, SAVE, WITHIN),
    ]
    opposite = run_of("uxxsuxxs")
    assert (pair, SAVE, WITHIN) not in [*bracketed([*runs, opposite], [SAVE, UPDATE], 2)]
    assert [*bracketed(runs, [SAVE, UPDATE, SWAP], 3)] == []


def test_what_is_a_part_of_opening_lies_nowhere() -> None:
    run = list(run_of("uxsxuxsx"))
    inner = Event("call", 2, None, {}, {"name": "lib.save"})
    outer = run[1][0]._replace(sequence=2, values={"name": "lib.Mean.swap", "lasted": 0})
    nested = [run[0], (inner, (SAVE,)), (outer, (SWAP,)), *run[2:]]
    assert [*bracketed([nested], [SAVE], 1)] == [((SWAP, SWAP), SAVE, WITHIN)]
