"""What lies between events, counted for all kinds at once, is what the automata of `order` say."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tcstatic.infer.surveying import Survey
from tcstatic.invariants.relations import RELATIONS
from tcstatic.model import Context, Event

KINDS = ("optimizer.zero_grad", "loss.backward", "optimizer.step", "model.train")
STREAMS = st.lists(
    st.tuples(st.sampled_from((*KINDS, "gap")), st.integers(0, 1), st.booleans()), max_size=30
)


def events(stream: list[tuple[str, int, bool]]) -> list[Event]:
    return [
        Event(
            kind,
            number,
            None,
            {} if kind == "gap" else {"optimizer": (which,)},
            context=Context({"grad_enabled": flag}),
        )
        for number, (kind, which, flag) in enumerate(stream)
    ]


PARAMS = [
    *(
        {pattern: one, "between": [first, last], "same": "optimizer"}
        for pattern in ("existence", "absence")
        for one in KINDS
        for first in KINDS
        for last in KINDS
        if one not in (first, last)
    ),
    *(
        {"precedence": one, "before": last, "same": "optimizer"}
        for one in KINDS
        for last in KINDS
        if one != last
    ),
]


@given(STREAMS)
def test_it_says_what_the_automata_say(stream: list[tuple[str, int, bool]]) -> None:
    every = events(stream)
    survey = Survey()
    survey.add("run", every)
    for params in PARAMS:
        monitor = RELATIONS["order"].monitor(params)
        expected: Counter[tuple[object, bool]] = Counter(
            (found.context.fields["grad_enabled"], found.holds)
            for event in every
            for found in monitor.feed(event)
        )
        counted: Counter[tuple[object, bool]] = Counter()
        for known, _, times, holds in survey.between.judge(params):
            counted[known.fields["grad_enabled"], holds] += times
        assert counted == expected, params
