"""`argument`: what a call is given, or the object that it is made on, has a certain value.

``{of: model.forward, argument: training, equals: true}`` or, against another value of the same
event, ``{of: call, argument: active, equals_field: module_training}``. A number may have bounds,
``{of: call lib.Average, argument: arg_decay, at_least: 0, below: 1}``; and in one run, of calls on
one object, a value may stay the same (``over_time: constant``), never come again (``distinct``),
grow (``rising``), or be another than at the call before (``changing``); of all calls of a function
where ``stream: run`` stands. ``never_from: FUNCTION``: a tensor is no result of that function.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Final, final

from tcstatic.invariants.relations.base import Monitor, Params, check_keys, observed, register
from tcstatic.invariants.relations.called import (
    CALL,
    check_label,
    label_of_call,
    matcher,
    needs_labels,
)
from tcstatic.invariants.relations.callproposing import arguments
from tcstatic.invariants.relations.measured import (
    BOUNDS,
    OVER_TIME,
    STREAM,
    UNKNOWN,
    Bounded,
    NeverFrom,
    OverTime,
    check_bounds,
    check_over_time,
    is_told_alike,
)
from tcstatic.invariants.relations.proposing import (
    EQUAL_SHARE,
    LEAST_TIMES,
    is_argument,
    judged_fields,
    scope_of,
    usual_values,
)
from tcstatic.invariants.relations.reading import Reads, exactly, is_there
from tcstatic.model import Event, Hypothesis, Needs, Observation, Vocabulary

_FROM: Final = "_from"
_ABSENT: Final = object()
_OBJECT: Final = object()  # given, and no scalar


@final
class _ArgumentMonitor:
    def __init__(self, params: Params) -> None:
        self._concerns = matcher(params["of"])
        self._argument = params["argument"]
        self._field = params.get("equals_field")
        self._value = params.get("equals")

    def _given(self, event: Event) -> Any:
        """The value, if there is one. Of an object there is but its type; a tensor may come from no
        function that is known, which is None."""
        name, values = self._argument, event.values
        if name in values:
            got = values[name]
            return _ABSENT if got == UNKNOWN and name.endswith(_FROM) else got
        if name.endswith(_FROM) and f"{name.removesuffix(_FROM)}_dtype" in values:
            return None
        return _OBJECT if self._field is None and f"{name}_type" in values else _ABSENT

    def feed(self, event: Event) -> Sequence[Observation]:
        if not self._concerns(event):
            return ()
        got = self._given(event)
        if got is _ABSENT:
            return ()
        expected = event.values.get(self._field) if self._field else self._value
        if self._field and not is_told_alike(self._field, expected):
            return ()
        holds = got == expected and type(got) is type(expected)
        return (observed(event, next(iter(event.subjects.values()), ()), holds=holds),)

    def reads(self) -> Reads:
        """The argument, what it is to be equal to, and whether it is there at all."""
        name, there = self._argument, [f"{self._argument}_type"]
        if name.endswith(_FROM):
            there.append(f"{name.removesuffix(_FROM)}_dtype")
        exact = filter(None, (name, self._field))
        return Reads({**dict.fromkeys(there, is_there), **dict.fromkeys(exact, exactly)})


@final
@register
class Argument:
    """Equality of an argument with a value; see the module's text."""

    name: ClassVar[str] = "argument"

    def check(self, params: Params) -> None:
        """Raise ValueError if there is nothing to compare with."""
        own = ("equals", "equals_field", OVER_TIME, "never_from")
        check_keys(params, ("of", "argument", *own, STREAM, *BOUNDS), ("of", "argument"))
        check_label(params["of"], "of")
        if sum(key in params for key in own) + check_bounds(params) != 1:
            raise ValueError(f"expected exactly one of {', '.join(own)}, or bounds")
        check_over_time(params)

    def needs(self, params: Params) -> Needs:
        """Return the call, and that of the function which a tensor is to come from, or not."""
        source = params.get("never_from")
        if params["argument"].endswith(_FROM) and isinstance(params.get("equals"), str):
            source = params["equals"].partition("[")[0]
        sources = [label_of_call(source)] if source else []
        return needs_labels([params["of"], *sources])

    def monitor(self, params: Params) -> Monitor:
        """Return a fresh monitor."""
        if OVER_TIME in params:
            return OverTime(params["of"], params["argument"], params)
        if "never_from" in params:
            return NeverFrom(params["of"], params["argument"], params["never_from"])
        if "equals" in params or "equals_field" in params:
            return _ArgumentMonitor(params)
        return Bounded(params["of"], params["argument"], params)

    def propose(self, vocabulary: Vocabulary) -> Iterator[Hypothesis]:
        """Return arguments that usually have one value, and fields that usually agree."""
        yield from arguments(vocabulary)
        for group in vocabulary.groups:
            if group.kind == CALL:
                continue
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
