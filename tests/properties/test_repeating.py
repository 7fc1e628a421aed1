"""Rounds that repeat themselves are held back; what is said of a run is the same to the letter."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tcstatic.check import Driver
from tcstatic.invariants.rules import default_rules_folder, load_rules
from tcstatic.model import Context, Event, Invariant, Location, Member

RULES = load_rules([default_rules_folder()])
PLACES = tuple(Location("train.py", line) for line in range(1, 9))
KINDS = (
    "optimizer.zero_grad",
    "model.forward",
    "loss.backward",
    "grad.clip",
    "optimizer.step",
    "model.train",
    "model.eval",
)
HEALTHY: dict[str, Any] = {
    "trainable": 2,
    "changed": 2,
    "idle": False,
    "gradient_left": True,
    "loss_finite": True,
    "loss_zero": False,
    "starved": 0,
}
FAULTS: list[dict[str, Any]] = [{}, {}, {}, {"idle": True, "changed": 0}, {"loss_finite": False}]
# Kind, optimizer, place, fault, and whether gradients are recorded.
SAID = st.tuples(
    st.sampled_from(KINDS),
    st.sampled_from([1, 1, 1, 2]),
    st.sampled_from(range(3)),
    st.sampled_from(range(len(FAULTS))),
    st.sampled_from([True, True, False]),
)
STEP = st.tuples(st.just("optimizer.step"), st.just(1), st.just(7), st.just(0), st.just(True))
ROUND = st.tuples(st.lists(SAID, max_size=5), STEP).map(lambda both: (*both[0], both[1]))
# Rounds, each so many times in a row, with what happens now and then between them.
RUN = st.lists(
    st.tuples(ROUND, st.integers(1, 9), st.lists(SAID, max_size=2), st.booleans()), max_size=6
)


def stream(run: Any) -> Iterator[Event]:
    numbers = itertools.count(1)
    step = 0
    for round_, times, between, gap in run:
        for said in [*(one for _ in range(times) for one in round_), *between]:
            yield event(next(numbers), step, *said)
            step += said[0] == "optimizer.step"
        if gap:
            yield Event("gap", next(numbers), None)


def event(
    number: int, step: int, kind: str, who: int, place: int, fault: int, recorded: bool
) -> Event:
    values = {**HEALTHY, **FAULTS[fault]} if kind == "optimizer.step" else {"stock": True}
    fields = {"trainable": True, "changed": not fault, "has_gradient": True, "finite": True}
    members = (Member(3, "weight", fields),) if kind == "optimizer.step" else ()
    context = Context({"step": step, "grad_enabled": recorded, "stage": "train", "rank": 0})
    subjects = {"optimizer": (who,), "model": (5,), "heard": (-who,)}
    return Event(kind, number, PLACES[place], subjects, values, context, members, step)


def asked_at_every_event(driver: Driver, one: Event) -> None:
    """Whoever asks has all that was held back judged, so that nothing is held back for long."""
    driver.counts()
    driver.feed(one)


@given(RUN, st.booleans())
def test_what_is_held_back_changes_nothing(run: Any, settled: bool) -> None:
    rules = [rule for rule in RULES if "run" in rule.feeds]
    quick, plain = Driver(rules), Driver(rules)
    for one in stream(run):
        quick.feed(one)
        asked_at_every_event(plain, one)
        if settled and one.kind == "optimizer.step":
            assert quick.settle() == plain.settle()
    assert quick.settle(final=True) == plain.settle(final=True)
    assert quick.findings() == plain.findings()
    assert quick.counts() == plain.counts()


def test_most_of_a_run_that_repeats_itself_is_held_back() -> None:
    fed = []

    class Fed:
        def feed(self, one: Event) -> tuple[()]:
            fed.append(one)
            return ()

    rule = Invariant(
        "T1",
        name="counted",
        relation="count",
        params={"of": "trainable", "at": "optimizer.step", "at_least": 1},
        severity="error",
        message="m",
        why="w",
        cure="c",
    )
    driver = Driver([rule])
    steps = [event(n, n, "optimizer.step", 1, 7, 0, True) for n in range(1000)]
    for one in steps[:5]:
        driver.feed(one)
    rules = driver._kinds["optimizer.step"].rules
    rules[0].feed = Fed().feed
    for one in steps[5:]:
        driver.feed(one)
    assert not fed
    assert driver.counts().checked == {"T1": 1000}
