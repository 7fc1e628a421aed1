"""`result`: a value that a call gave, or left behind, is as it should be.

``{of: loss.backward, value: loss_finite, is: true}``; with ``each: true`` the value is a field of
every member of the event (``{of: optimizer.step, value: gradient_finite, is: true, each: true}``).
As arguments may, it may instead be equal to another value of the event (``equals_field``), a number
may have bounds (``{of: call lib.accuracy, value: result, at_least: 0, at_most: 1}``), and a value
may go on in some way over time (``over_time: constant``).
A value that is not known is not judged; `since` names the event's value that tells when it began.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import ClassVar, Final, final

from tcstatic.invariants.relations.base import (
    Monitor,
    Params,
    Selection,
    check_keys,
    each_member,
    observed,
    register,
)
from tcstatic.invariants.relations.called import (
    CALL,
    check_label,
    matcher,
    needs_labels,
)
from tcstatic.invariants.relations.callproposing import results
from tcstatic.invariants.relations.measured import (
    BOUNDS,
    OVER_TIME,
    Bounded,
    OverTime,
    as_made,
    check_bounds,
    check_over_time,
    is_told_alike,
    value_of,
)
from tcstatic.invariants.relations.proposing import (
    is_argument,
    judged_fields,
    scope_of,
    usual_values,
)
from tcstatic.invariants.relations.reading import Reads, exactly
from tcstatic.model import ABSENT, Event, Hypothesis, Needs, Observation, Vocabulary

# In which mode a call is made, which no function gives.
_MODES: Final = ("grad_enabled",)


def _type_of(value: object) -> Hashable:
    return type(value).__name__


@final
class _ResultMonitor:
    def __init__(self, params: Params) -> None:
        self._concerns = matcher(params["of"])
        self._value, self._expected = params["value"], params.get("is")
        self._field = params.get("equals_field", "")
        self._since = params.get("since", "")
        self._each = params.get("each", False)
        self._over = params.get("over", "")
        self._selection = Selection(self._over)

    def feed(self, event: Event) -> Sequence[Observation]:
        if not self._concerns(event):
            return ()
        if not self._each:
            got = value_of(event, self._value)
            if got is None:
                return ()
            expected = event.values.get(self._field) if self._field else self._expected
            if self._field and (expected is None or not is_told_alike(self._field, expected)):
                return ()
            key = event.subjects.get("optimizer", ())
            holds = got == expected
            if not holds and self._value in _MODES:
                event = as_made(event)
            return (observed(event, key, holds=holds, since=self._since),)
        return each_member(
            event,
            (
                (member, member.fields[self._value] == self._expected)
                for member in self._selection.of(event)
                if member.fields.get(self._value) is not None
            ),
        )

    def reads(self) -> Reads:
        """The value, of the event or of its members, and what it is to be equal to."""
        if self._each:
            return Reads({}, {self._value: self._is_right}, self._over)
        question = exactly if self._field else self._is_right
        asked = {self._value: question, "result": _type_of}
        if self._field:
            asked[self._field] = exactly
        return Reads(asked, context={self._value: question})

    def _is_right(self, value: object) -> Hashable:
        if value is ABSENT or value is None:
            return value is None
        return "yes" if value == self._expected else "no"


@final
@register
class Result:
    """What a call gave or left behind; see the module's text."""

    name: ClassVar[str] = "result"

    def check(self, params: Params) -> None:
        """Raise ValueError for a missing value."""
        own = ("is", "equals_field", OVER_TIME)
        keys = ("of", "value", *own, *BOUNDS, "each", "over", "since")
        check_keys(params, keys, ("of", "value"))
        check_label(params["of"], "of")
        if sum(key in params for key in own) + check_bounds(params) != 1:
            raise ValueError(f"expected exactly one of {', '.join(own)}, or bounds")
        check_over_time(params)
        Selection(params.get("over", ""))

    def needs(self, params: Params) -> Needs:
        """Return the call."""
        return needs_labels([params["of"]])

    def monitor(self, params: Params) -> Monitor:
        """Return a fresh monitor."""
        if OVER_TIME in params:
            return OverTime(params["of"], params["value"], params)
        if "is" in params or "equals_field" in params:
            return _ResultMonitor(params)
        return Bounded(params["of"], params["value"], params)

    def propose(self, vocabulary: Vocabulary) -> Iterator[Hypothesis]:
        """Return what calls usually give or leave behind, as a whole and for each member."""
        yield from results(vocabulary)
        for group in vocabulary.groups:
            if group.kind == CALL:
                continue
            scope = scope_of(group)
            for each in (False, True):
                for name, seen in judged_fields(group, members=each):
                    for value in () if is_argument(name) else usual_values(seen, vocabulary.runs):
                        if value is None:
                            continue  # what is not known is not judged
                        params = {"of": group.kind, "value": name, "is": value}
                        params |= {"each": True} if each else {}
                        yield Hypothesis(self.name, params, scope, frozenset({name}))
