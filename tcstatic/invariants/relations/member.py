"""`member`: one set of objects lies within another, wholly or in part.

``{of: optimizer.parameters, within: live.parameters, at: optimizer.step, need: all|some}``; the
sets are values of the event: object numbers. `since` names the event's value that
tells when it began. An empty `of` lies within anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, Final, final

from tcstatic.invariants.relations.base import Params, check_keys, event_kind, observed, register
from tcstatic.invariants.relations.proposing import scope_of
from tcstatic.invariants.relations.reading import Reads, exactly
from tcstatic.model import Event, Hypothesis, Needs, Observation, Vocabulary

# Parameters whose gradients a step found.
REACHED: Final = "gradient.parameters"


@final
class _MemberMonitor:
    def __init__(self, params: Params) -> None:
        self._kind, self._of, self._within = params["at"], params["of"], params["within"]
        self._since = params.get("since", "")
        self._all = params.get("need", "all") == "all"

    def feed(self, event: Event) -> Sequence[Observation]:
        if event.kind != self._kind:
            return ()
        inner = event.values.get(self._of)
        outer = event.values.get(self._within)
        if inner is None or outer is None:
            return ()
        outside = inner - outer
        holds = not outside if self._all else not inner or len(outside) < len(inner)
        key = event.subjects.get("optimizer", ())
        return (observed(event, key, holds=holds, since=self._since),)

    def reads(self) -> Reads:
        """Both sets."""
        return Reads({self._of: exactly, self._within: exactly})


@final
@register
class MemberOf:
    """Containment of sets of objects; see the module's text."""

    name: ClassVar[str] = "member"

    def check(self, params: Params) -> None:
        """Raise ValueError for a missing set or an unknown quantifier."""
        check_keys(params, ("of", "within", "at", "need", "since"), ("of", "within", "at"))
        event_kind(params, "at")
        if params.get("need", "all") not in ("all", "some"):
            raise ValueError("need: expected all or some")

    def needs(self, params: Params) -> Needs:
        """Return the event that carries the sets."""
        return Needs(frozenset({params["at"]}))

    def monitor(self, params: Params) -> _MemberMonitor:
        """Return a fresh monitor."""
        return _MemberMonitor(params)

    def propose(self, vocabulary: Vocabulary) -> Iterator[Hypothesis]:
        """Return each set within each other of the same events, wholly and in part.

        Nothing is said to lie within what got a gradient in one step: branches and experts, and
        optimizers of several phases, take turns.
        """
        for group in vocabulary.groups:
            for inner in sorted(group.sets):
                for outer in sorted(group.sets - {inner, REACHED}):
                    for need in ("all", "some"):
                        params = {"of": inner, "within": outer, "at": group.kind, "need": need}
                        yield Hypothesis(
                            self.name, params, scope_of(group), frozenset({inner, outer})
                        )
