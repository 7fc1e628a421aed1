"""A trace is read in stretches of which not every event is made; what is said of it is the same to
the letter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tcstatic.check import Driver
from tcstatic.check.replay import replay
from tcstatic.infer.keeping import plain
from tcstatic.infer.surveying import Survey
from tcstatic.model import Context, Event, Member, RunView
from tcstatic.trace import open_trace, segments
from tests.properties.test_repeating import PLACES, ROUND, RULES, SAID, event
from tests.unit.trace.making import record

# Rounds, each so many times in a row, with what happens now and then between them.
RUN = st.lists(
    st.tuples(ROUND, st.integers(1, 25), st.lists(SAID, max_size=2), st.booleans()), max_size=4
)
# Of each call: its function, a number that it gave, whether that moves, and how parameters fare.
CALLS = st.tuples(
    st.sampled_from(["f", "torch.nn.Linear"]),
    st.floats(0, 2),
    st.booleans(),
    st.sampled_from(["", "scheduled", "converged", "vanishing"]),
)
SHORT = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def told(run: Any, call: tuple[str, float, bool, str]) -> Iterator[Event]:
    """What a run tells, with a call before each event."""
    *call, course = call
    number = step = 0
    for round_, times, between, gap in run:
        for said in [*(one for _ in range(times) for one in round_), *between]:
            yield called(number, step, *call)
            yield moved(event(number + 1, step, *said), course)
            number += 2
            step += said[0] == "optimizer.step"
        if gap:
            yield Event("gap", number, None, {"optimizer": (1 + number % 2,)})
            number += 1


def moved(one: Event, course: str) -> Event:
    """A step of which parameters say something else each time: rates, or who has changed."""
    if not course or not one.members:
        return one
    step = one.step
    rate = 0.1 / (step + 1) if course == "scheduled" or step < 20 else 0.0
    fields = {
        **one.members[0].fields,
        "gradient_nonzero": True,
        "representable": True,
        "stock": step % 7 > 0,
        "ever_changed": True,
        "learning_rate": rate,
        "since": None,
        "unchanged_for": 0,
    }
    members = []
    for number in range(4):
        still = course == "converged" and (step + number) % 3 == 0
        mine = {"changed": None, "since": step - number} if still else {}
        other = {"learning_rate": 2 * rate} if number == 3 else {}
        members.append(Member(number, f"layer{number}.weight", {**fields, **mine, **other}))
    return one._replace(values={**one.values, "manual": False}, members=tuple(members))


def called(number: int, step: int, name: str, gave: float, moves: bool) -> Event:
    values = {"name": name, "result": gave + number if moves else gave, "since": step // 3}
    context = Context({"step": step, "grad_enabled": True, "optimizer_step": step + 1})
    return Event("call", number, PLACES[1], {"self": (number % 3,)}, values, context, (), step)


def recorded(tmp_path_factory: pytest.TempPathFactory, events: list[Event], rows: int) -> RunView:
    folder = tmp_path_factory.mktemp("trace") / "t"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments, "MOST_ROWS", rows)
        assert record(folder, events).problem == ""
    return open_trace(folder).runs[0]


@SHORT
@given(RUN, CALLS, st.sampled_from([23, 150, 1000]))
def test_events_of_one_number_say_the_same(
    tmp_path_factory: pytest.TempPathFactory, run: Any, call: Any, rows: int
) -> None:
    every = list(told(run, call))
    found = []
    for stretch in recorded(tmp_path_factory, every, rows).stretches():
        places = range(len(stretch.says))
        made = stretch.made(places)
        found += made
        assert [stretch.made([place])[0] for place in reversed(places)] == made[::-1]
        assert [stretch.says[place] for place in stretch.firsts] == [*range(len(stretch.firsts))]
        for one, number in zip(made, stretch.says, strict=True):
            first = made[stretch.firsts[number]]
            fields = {n: v for n, v in one.context.fields.items() if not n.endswith("step")}
            theirs = {n: v for n, v in first.context.fields.items() if not n.endswith("step")}
            alike = one._replace(sequence=first.sequence, step=first.step, context=first.context)
            assert (alike, fields) == (first, theirs)
    assert found == every


@SHORT
@given(RUN, CALLS, st.sampled_from([23, 150, 1000]))
def test_a_replay_says_what_every_event_would(
    tmp_path_factory: pytest.TempPathFactory, run: Any, call: Any, rows: int
) -> None:
    rules = [rule for rule in RULES if "run" in rule.feeds]
    trace = recorded(tmp_path_factory, list(told(run, call)), rows)
    slow = Driver(rules)
    for stretch in trace.stretches():
        for place, settled in enumerate(stretch.settled):
            slow.counts()  # has all judged that was held back
            slow.feed(*stretch.made([place]))
            if settled and slow.failing:
                slow.settle()
    slow.settle(final=True)
    quick = replay(trace, rules)
    assert quick.findings() == slow.findings()
    assert quick.counts() == slow.counts()


@SHORT
@given(RUN, CALLS, st.sampled_from([23, 150, 1000]))
def test_a_survey_counts_what_every_event_would_give(
    tmp_path_factory: pytest.TempPathFactory, run: Any, call: Any, rows: int
) -> None:
    every = list(told(run, call))
    trace = recorded(tmp_path_factory, every, rows)
    slow, quick = Survey(), Survey()
    slow.add("run", every)
    quick.add("run", trace.stretches())
    assert plain(quick) == plain(slow)


@pytest.mark.parametrize("course", ["", "scheduled", "converged", "vanishing"])
def test_what_is_judged_alike_is_not_made(
    tmp_path_factory: pytest.TempPathFactory, course: str
) -> None:
    said = ("optimizer.step", 1, 7, 0, True)
    events = [moved(event(number, number, *said), course) for number in range(2000)]
    trace = recorded(tmp_path_factory, events, 1 << 16)
    (stretch,) = trace.stretches()
    made: list[int] = []

    class Counting:
        says, firsts, settled = stretch.says, stretch.firsts, stretch.settled
        alike = stretch.alike

        def made(self, places: Any) -> list[Event]:
            made.extend(places)
            return stretch.made(places)

    class Told:
        facts = trace.facts

        def stretches(self) -> Iterator[Counting]:
            yield Counting()

    rules = [rule for rule in RULES if "run" in rule.feeds]
    driver = replay(Told(), rules)  # type: ignore[arg-type]
    assert len(made) < 40
    assert driver.counts().checked["TCS103"] == 2000
