"""`equal`: a state is the same on all ranks.

``{state: param.data, over: rank}``: judged on ``state`` events of that quantity; each member is
one object whose copies were compared, with the fields `equal` and `declared` (its replication is
declared by a wrapper, or else observed).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, Final, final

from tcstatic.invariants.relations.base import Params, check_keys, each_member, register
from tcstatic.model import Event, Hypothesis, Needs, Observation, Vocabulary

STATES: Final = ("param.data", "param.grad")


@final
class _EqualMonitor:
    def __init__(self, params: Params) -> None:
        self._state = params["state"]

    def feed(self, event: Event) -> Sequence[Observation]:
        if event.kind != "state" or event.values.get("quantity") != self._state:
            return ()
        return each_member(event, ((m, m.fields["equal"] is True) for m in event.members))


@final
@register
class Equal:
    """Equality over ranks; see the module's text."""

    name: ClassVar[str] = "equal"

    def check(self, params: Params) -> None:
        """Raise ValueError for an unknown state or an unknown set of copies."""
        check_keys(params, ("state", "over"), ("state", "over"))
        if params["state"] not in STATES:
            raise ValueError(f"state: expected one of {', '.join(STATES)}")
        if params["over"] != "rank":
            raise ValueError("over: expected rank")

    def needs(self, params: Params) -> Needs:
        """Return the comparison of this state over the ranks."""
        return Needs(frozenset({"state"}), frozenset({f"{params['state']} over rank"}))

    def monitor(self, params: Params) -> _EqualMonitor:
        """Return a fresh monitor."""
        return _EqualMonitor(params)

    def propose(self, vocabulary: Vocabulary) -> Iterator[Hypothesis]:
        """Return the states whose copies were compared over the ranks."""
        for group in vocabulary.groups:
            seen = group.fields.get("quantity") if group.kind == "state" else None
            for _, value in sorted(seen.values if seen else (), key=str):
                if value in STATES:
                    params = {"state": value, "over": "rank"}
                    yield Hypothesis(self.name, params, "", frozenset({"equal"}))
