"""`result`: a value that a call gave, or left behind, is as it should be.

``{of: loss.backward, value: loss_finite, is: true}``; with ``each: true`` the value is a field of
every member of the event (``{of: optimizer.step, value: gradient_finite, is: true, each: true}``).
A value that is not known is not judged; `since` names the event's value that tells when it began.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, final

from tcstatic.invariants.relations.base import (
    Params,
    Selection,
    check_keys,
    each_member,
    event_kind,
    observed,
    register,
)
from tcstatic.invariants.relations.proposing import (
    is_argument,
    judged_fields,
    scope_of,
    usual_values,
)
from tcstatic.model import Event, Hypothesis, Needs, Observation, Vocabulary


@final
class _ResultMonitor:
    def __init__(self, params: Params) -> None:
        self._kind, self._value, self._expected = params["of"], params["value"], params["is"]
        self._since = params.get("since", "")
        self._each = params.get("each", False)
        self._selection = Selection(params.get("over", ""))

    def feed(self, event: Event) -> Sequence[Observation]:
        if event.kind != self._kind:
            return ()
        if not self._each:
            got = event.values.get(self._value)
            if got is None:
                return ()
            key = event.subjects.get("optimizer", ())
            return (observed(event, key, holds=got == self._expected, since=self._since),)
        return each_member(
            event,
            (
                (member, member.fields[self._value] == self._expected)
                for member in self._selection.of(event)
                if member.fields.get(self._value) is not None
            ),
        )


@final
@register
class Result:
    """What a call gave or left behind; see the module's text."""

    name: ClassVar[str] = "result"

    def check(self, params: Params) -> None:
        """Raise ValueError for a missing value."""
        check_keys(params, ("of", "value", "is", "each", "over", "since"), ("of", "value", "is"))
        event_kind(params, "of")
        Selection(params.get("over", ""))

    def needs(self, params: Params) -> Needs:
        """Return the call."""
        return Needs(frozenset({params["of"]}))

    def monitor(self, params: Params) -> _ResultMonitor:
        """Return a fresh monitor."""
        return _ResultMonitor(params)

    def propose(self, vocabulary: Vocabulary) -> Iterator[Hypothesis]:
        """Return what calls usually give or leave behind, as a whole and for each member."""
        for group in vocabulary.groups:
            scope = scope_of(group)
            for each in (False, True):
                for name, seen in judged_fields(group, members=each):
                    for value in () if is_argument(name) else usual_values(seen, vocabulary.runs):
                        if value is None:
                            continue  # what is not known is not judged
                        params = {"of": group.kind, "value": name, "is": value}
                        params |= {"each": True} if each else {}
                        yield Hypothesis(self.name, params, scope, frozenset({name}))
