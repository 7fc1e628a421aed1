"""`argument`: what a call is given, or the object that it is made on, has a certain value.

``{of: model.forward, argument: training, equals: true}`` or, against another value of the same
event, ``{of: call, argument: active, equals_field: module_training}``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, final

from tcstatic.invariants.relations.base import Params, check_keys, event_kind, observed, register
from tcstatic.model import Event, Needs, Observation


@final
class _ArgumentMonitor:
    def __init__(self, params: Params) -> None:
        self._kind, self._argument = params["of"], params["argument"]
        self._field = params.get("equals_field")
        self._value = params.get("equals")

    def feed(self, event: Event) -> Sequence[Observation]:
        if event.kind != self._kind or self._argument not in event.values:
            return ()
        expected = event.values.get(self._field) if self._field else self._value
        got = event.values[self._argument]
        holds = got == expected and type(got) is type(expected)
        return (observed(event, next(iter(event.subjects.values()), ()), holds=holds),)


@final
@register
class Argument:
    """Equality of an argument with a value; see the module's text."""

    name: ClassVar[str] = "argument"

    def check(self, params: Params) -> None:
        """Raise ValueError if there is nothing to compare with."""
        check_keys(params, ("of", "argument", "equals", "equals_field"), ("of", "argument"))
        event_kind(params, "of")
        if ("equals" in params) == ("equals_field" in params):
            raise ValueError("expected exactly one of equals, equals_field")

    def needs(self, params: Params) -> Needs:
        """Return the call."""
        return Needs(frozenset({params["of"]}))

    def monitor(self, params: Params) -> _ArgumentMonitor:
        """Return a fresh monitor."""
        return _ArgumentMonitor(params)
