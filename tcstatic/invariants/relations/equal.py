"""`equal`: a state is the same on all ranks, or two functions are given the same.

``{state: param.data, over: rank}``: judged on ``state`` events of that quantity; each member is
one object whose copies were compared, with the field `equal`.
``{of: call lib.Tokenizer, field: arg_pad, as: call lib.loss, as_field: arg_ignore}``: what the last
calls of two functions were given, or gave, is one value.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, Final, final

from tcstatic.invariants.relations.base import (
    Monitor,
    Params,
    check_keys,
    each_member,
    register,
)
from tcstatic.invariants.relations.called import check_label, needs_labels
from tcstatic.invariants.relations.callproposing import alike
from tcstatic.invariants.relations.reading import Reads, exactly
from tcstatic.invariants.relations.sequences import Matched
from tcstatic.model import Event, Hypothesis, Needs, Observation, Vocabulary

MATCHED: Final = ("of", "field", "as", "as_field")
STATES: Final = ("param.data", "param.grad")


@final
class _EqualMonitor:
    def __init__(self, params: Params) -> None:
        self._state = params["state"]

    def feed(self, event: Event) -> Sequence[Observation]:
        if event.kind != "state" or event.values.get("quantity") != self._state:
            return ()
        return each_member(event, ((m, m.fields["equal"] is True) for m in event.members))

    def reads(self) -> Reads:
        """The quantity, and of each member whether it is equal."""
        return Reads({"quantity": exactly}, {"equal": exactly})


@final
@register
class Equal:
    """Equality over ranks; see the module's text."""

    name: ClassVar[str] = "equal"

    def check(self, params: Params) -> None:
        """Raise ValueError for an unknown state, set of copies, or function."""
        if "of" in params:
            check_keys(params, MATCHED, MATCHED)
            check_label(params["of"], "of")
            check_label(params["as"], "as")
            return
        check_keys(params, ("state", "over"), ("state", "over"))
        if params["state"] not in STATES:
            raise ValueError(f"state: expected one of {', '.join(STATES)}")
        if params["over"] != "rank":
            raise ValueError("over: expected rank")

    def needs(self, params: Params) -> Needs:
        """Return the comparison of this state over the ranks, or the calls."""
        if "of" in params:
            return needs_labels([params["of"], params["as"]])
        return Needs(frozenset({"state"}), frozenset({f"{params['state']} over rank"}))

    def monitor(self, params: Params) -> Monitor:
        """Return a fresh monitor."""
        if "of" in params:
            return Matched(params)
        return _EqualMonitor(params)

    def propose(self, vocabulary: Vocabulary) -> Iterator[Hypothesis]:
        """Return the states whose copies were compared over the ranks, and what functions are
        given alike."""
        yield from alike(vocabulary)
        for group in vocabulary.groups:
            seen = group.fields.get("quantity") if group.kind == "state" else None
            for _, value in sorted(seen.values if seen else (), key=str):
                if value in STATES:
                    params = {"state": value, "over": "rank"}
                    yield Hypothesis(self.name, params, "", frozenset({"equal"}))
