"""`result`: a value that a call gave, or left behind, is as it should be.

``{of: loss.backward, value: loss_finite, is: true}``; with ``each: true`` the value is a field of
every member of the event (``{of: optimizer.step, value: gradient_finite, is: true, each: true}``).
A value that is not known is not judged.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, final

from tcstatic.invariants.relations.base import (
    Params,
    check_keys,
    event_kind,
    over_members,
    register,
    widened,
)
from tcstatic.model import Event, Needs, Observation


@final
class _ResultMonitor:
    def __init__(self, params: Params) -> None:
        self._kind, self._value, self._expected = params["of"], params["value"], params["is"]
        self._each = params.get("each", False)
        self._selects = over_members(params.get("over", ""))

    def feed(self, event: Event) -> Iterator[Observation]:
        if event.kind != self._kind:
            return
        if not self._each:
            got = event.values.get(self._value)
            if got is not None:
                key = event.subjects.get("optimizer", ())
                facts = {k: v for k, v in event.values.items() if not isinstance(v, frozenset)}
                yield Observation(got == self._expected, event, widened(event, facts), key, facts)
            return
        for member in event.members:
            got = member.fields.get(self._value)
            if got is None or self._selects(member, event) is not True:
                continue
            facts = {**member.fields, "parameter": member.name, "type": event.values.get("type")}
            yield Observation(
                got == self._expected, event, widened(event, facts), (member.number,), facts
            )


@final
@register
class Result:
    """What a call gave or left behind; see the module's text."""

    name: ClassVar[str] = "result"

    def check(self, params: Params) -> None:
        """Raise ValueError for a missing value."""
        check_keys(params, ("of", "value", "is", "each", "over"), ("of", "value", "is"))
        event_kind(params, "of")
        over_members(params.get("over", ""))

    def needs(self, params: Params) -> Needs:
        """Return the call."""
        return Needs(frozenset({params["of"]}))

    def monitor(self, params: Params) -> _ResultMonitor:
        """Return a fresh monitor."""
        return _ResultMonitor(params)
