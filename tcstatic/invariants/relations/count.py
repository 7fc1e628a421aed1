"""`count`: how many there are, per event.

``{of: trainable, at: optimizer.step, at_least: 1}``, ``{of: wrappers, at: wrap.new, at_most: 1}``;
`of` is a number among the event's values. With ``per: LABEL`` instead of `at`, `of` is a label
(``{of: call lib.Average.update, per: optimizer.step, at_least: 1, at_most: 1}``): so many events
lie between one event and the next, or (``per: end``) in the whole run, of calls on one object
where ``same: self`` stands.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import Any, ClassVar, final

from tcstatic.invariants.relations.base import Monitor, Params, check_keys, observed, register
from tcstatic.invariants.relations.called import CALL, check_label, needs_labels
from tcstatic.invariants.relations.callproposing import counts
from tcstatic.invariants.relations.proposing import bounds, judged_fields, scope_of
from tcstatic.invariants.relations.reading import Reads
from tcstatic.invariants.relations.sequences import CountedPer
from tcstatic.model import ABSENT, Event, Hypothesis, Needs, Observation, Vocabulary


@final
class _CountMonitor:
    def __init__(self, params: Params) -> None:
        self._kind, self._of = params["at"], params["of"]
        self._least = params.get("at_least", float("-inf"))
        self._most = params.get("at_most", float("inf"))

    def feed(self, event: Event) -> Sequence[Observation]:
        value = event.values.get(self._of) if event.kind == self._kind else None
        if value is None:
            return ()
        key = next(iter(event.subjects.values()), ())
        return (observed(event, key, holds=self._least <= value <= self._most),)

    def reads(self) -> Reads:
        """Whether there is a number, and it is within the bounds."""
        return Reads({self._of: self._within})

    def _within(self, value: Any) -> Hashable:
        if value is ABSENT or value is None:
            return None
        return bool(self._least <= value <= self._most)


@final
@register
class Count:
    """Bounds on a number; see the module's text."""

    name: ClassVar[str] = "count"

    def check(self, params: Params) -> None:
        """Raise ValueError if there is no bound, or it is no number."""
        check_keys(params, ("of", "at", "per", "same", "at_least", "at_most"), ("of",))
        if ("at" in params) == ("per" in params):
            raise ValueError("expected exactly one of at, per")
        if "per" in params:
            check_label(params["of"], "of")
            check_label(params["per"], "per")
        else:
            check_label(params["at"], "at")
        bounds = [params[key] for key in ("at_least", "at_most") if key in params]
        if not bounds or not all(isinstance(b, int) and not isinstance(b, bool) for b in bounds):
            raise ValueError("expected at_least or at_most, a whole number")

    def needs(self, params: Params) -> Needs:
        """Return the event that carries the number."""
        if "per" in params:
            return needs_labels([params["of"], params["per"]])
        return needs_labels([params["at"]])

    def monitor(self, params: Params) -> Monitor:
        """Return a fresh monitor."""
        return CountedPer(params) if "per" in params else _CountMonitor(params)

    def propose(self, vocabulary: Vocabulary) -> Iterator[Hypothesis]:
        """Return the bounds of whole numbers: at least one, or none at all. How many there are is
        as each program is built."""
        yield from counts(vocabulary)
        for group in vocabulary.groups:
            if group.kind == CALL:
                continue
            for name, seen in judged_fields(group):
                found = bounds(seen)
                if found is None:
                    continue
                least, most = found
                about = {"of": name, "at": group.kind}
                if least >= 1:
                    params = {**about, "at_least": 1}
                    yield Hypothesis(self.name, params, scope_of(group), frozenset({name}))
                if most <= 0:
                    params = {**about, "at_most": most}
                    yield Hypothesis(self.name, params, scope_of(group), frozenset({name}))
