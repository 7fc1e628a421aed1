"""`argument`: what a call is given, or the object that it is made on, has a certain value.

``{of: model.forward, argument: training, equals: true}`` or, against another value of the same
event, ``{of: call, argument: active, equals_field: module_training}``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, final

from tcstatic.invariants.relations.base import Params, check_keys, event_kind, observed, register
from tcstatic.invariants.relations.proposing import (
    EQUAL_SHARE,
    LEAST_TIMES,
    is_argument,
    judged_fields,
    scope_of,
    usual_values,
)
from tcstatic.model import Event, Hypothesis, Needs, Observation, Vocabulary


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

    def propose(self, vocabulary: Vocabulary) -> Iterator[Hypothesis]:
        """Return arguments that usually have one value, and fields that usually agree."""
        for group in vocabulary.groups:
            scope = scope_of(group)
            for name, seen in judged_fields(group):
                about = {"of": group.kind, "argument": name}
                for value in usual_values(seen, vocabulary.runs) if is_argument(name) else ():
                    yield Hypothesis(
                        self.name, {**about, "equals": value}, scope, frozenset({name})
                    )
                for other, (same, both) in sorted(seen.equals.items()):
                    if name < other and same >= max(LEAST_TIMES, EQUAL_SHARE * both):
                        params = {**about, "equals_field": other}
                        yield Hypothesis(self.name, params, scope, frozenset({name, other}))
