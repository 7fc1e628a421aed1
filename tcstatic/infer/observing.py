"""Hypotheses + runs -> examples: in which contexts each of them held, and in which it did not.

The monitors are those of a run. Relations that judge each event by itself are asked once for each
distinct event; what the automata of `order` would say was counted on the way (`between`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, final

from tcstatic.infer.between import Between
from tcstatic.infer.calls import atoms_of, end_of
from tcstatic.infer.distinct import Distinct, Fields, askable
from tcstatic.invariants.conditions import compile_condition, parse
from tcstatic.invariants.relations import (
    RELATIONS,
    Monitor,
    Remembering,
    monitor_of,
    needs_of,
)
from tcstatic.invariants.relations.called import CALL, label_of_call, labels_of
from tcstatic.model import Event, Hypothesis, Invariant, Scalar, Vocabulary

ORDERED: Final = frozenset({"order"})
# An invariant that holds by chance half of the time holds so often in fewer than 1 % of the cases
# (Ernst et al. 2007, Daikon's confidence limit).
MIN_SUPPORT: Final = 7
Key = tuple[tuple[str, str, Scalar], ...]


@final
class Examples:
    """Of one hypothesis: contexts, each with how often it held and failed there, by run; `members`
    are the fields of those that are judged one by one. The first event of each is remembered."""

    __slots__ = ("_fields", "_first", "failed", "held", "hypothesis", "members")

    def __init__(self, hypothesis: Hypothesis) -> None:
        self.hypothesis = hypothesis
        self.members: set[str] = set()
        self._fields: dict[Key, Fields] = {}
        self.held: dict[Key, dict[str, int]] = {}
        self.failed: dict[Key, dict[str, int]] = {}
        self._first: dict[tuple[Key, bool], Distinct] = {}

    def add(self, fields: Fields, run: str, times: int, *, holds: bool, of: Distinct) -> None:
        """Count an observation of an event."""
        judged = self.hypothesis.judged
        kept = {name: value for name, value in fields.items() if name not in judged}
        key = tuple((name, type(kept[name]).__name__, kept[name]) for name in sorted(kept))
        self._fields.setdefault(key, kept)
        counts = (self.held if holds else self.failed).setdefault(key, {})
        counts[run] = counts.get(run, 0) + times
        self._first.setdefault((key, holds), of)

    def contexts(self, *, held: bool) -> Iterator[tuple[Fields, Mapping[str, int]]]:
        """The contexts in which it held, or failed, with how often in each run."""
        for key, counts in (self.held if held else self.failed).items():
            yield self._fields[key], counts

    def cases(self, *, held: bool) -> Iterator[tuple[Fields, Mapping[str, int], Distinct]]:
        """The same, each with the first event that said so."""
        for key, counts in (self.held if held else self.failed).items():
            yield self._fields[key], counts, self._first[key, held]


def propose(vocabulary: Vocabulary, relations: Sequence[str] = ()) -> list[Hypothesis]:
    """All hypotheses of a vocabulary, each once; of some relations only where they are named."""
    found: dict[str, Hypothesis] = {}
    for name in sorted(relations or RELATIONS):
        for one in RELATIONS[name].propose(vocabulary):
            found.setdefault(claim_of(one), one)
    return list(found.values())


def claim_of(hypothesis: Hypothesis) -> str:
    """What a hypothesis claims, preconditions aside: the same text for the same claim."""
    return repr((hypothesis.relation, sorted(hypothesis.params.items()), hypothesis.when))


def as_invariant(hypothesis: Hypothesis, code: str = "INF000") -> Invariant:
    """A hypothesis as a record that monitors are made of; its words are still to be found."""
    return Invariant(
        code, "hypothesis", hypothesis.relation, hypothesis.params, "warning", "-", "-", "-"
    )


@final
class Observing:
    """All hypotheses at work. State: their examples."""

    def __init__(self, hypotheses: Sequence[Hypothesis]) -> None:
        self.examples = [Examples(one) for one in hypotheses]
        self._kinds: dict[str, list[int]] = {}
        self._ordered: list[int] = []
        self._remembering: list[int] = []
        self._scopes = [
            compile_condition(parse(one.when)) if one.when else None for one in hypotheses
        ]
        for index, one in enumerate(hypotheses):
            if remembers_calls(one):
                self._remembering.append(index)
                continue
            if one.relation in ORDERED:
                self._ordered.append(index)
                continue
            for kind in labels_needed(one):
                self._kinds.setdefault(kind, []).append(index)

    def each(self, distinct: Iterable[Distinct]) -> None:
        """Judge distinct events by the relations that judge each event by itself."""
        for one in distinct:
            labels = labels_of(one.event) if one.event.kind == CALL else (one.event.kind,)
            for index in {index for label in labels for index in self._kinds.get(label, ())}:
                scope = self._scopes[index]
                if scope is None or scope(one.fields) is True:
                    self._judge(self.examples[index], one)

    def _judge(self, examples: Examples, one: Distinct) -> None:
        hypothesis = examples.hypothesis
        relation = RELATIONS[hypothesis.relation]
        each = hypothesis.params.get("each") or hypothesis.params.get("quantifier") == "each"
        each = each or hypothesis.relation == "equal"
        cases: Iterable[tuple[Event, Fields]] = ((one.event, one.fields),)
        if each:
            cases = ((one.event._replace(members=(m,)), fields) for m, fields in one.members)
            examples.members.update(name for member, _ in one.members for name in member.fields)
        for event, fields in cases:
            if is_empty(hypothesis, event):
                continue
            for observation in relation.monitor(hypothesis.params).feed(event):
                for run, times in one.runs.items():
                    examples.add(fields, run, times, holds=observation.holds, of=one)

    def histories(self, histories: Mapping[str, list[Event]]) -> None:
        """Judge the calls of each run, in their order, by the monitors that remember others."""
        for run, events in sorted(histories.items()):
            monitors: dict[str, list[tuple[Examples, Monitor]]] = {}
            for index in self._remembering:
                examples = self.examples[index]
                invariant = as_invariant(examples.hypothesis)
                pair = examples, monitor_of(invariant)
                for label in {*labels_needed(examples.hypothesis), "gap", "end", CALL}:
                    monitors.setdefault(label, []).append(pair)
            last = end_of(events)
            for event in (*events, last) if last is not None else events:
                _follow(event, run, monitors)

    def order(self, between: Between) -> None:
        """Judge by what lay between events."""
        for index in self._ordered:
            examples = self.examples[index]
            params = examples.hypothesis.params
            if "precedence" in params and between.begun(params) < MIN_SUPPORT:
                continue  # how programs begin is still a habit of a few of them
            for known, run, times, holds in between.judge(params):
                examples.add(known.fields, run, times, holds=holds, of=known)


def is_empty(hypothesis: Hypothesis, event: Event) -> bool:
    """Whether it holds only because there is nothing that it speaks of: that supports nothing."""
    return hypothesis.relation == "member" and not event.values.get(hypothesis.params["of"])


def labels_needed(hypothesis: Hypothesis) -> list[str]:
    """The labels of the events that a hypothesis is about."""
    needs = needs_of(as_invariant(hypothesis))
    called = sorted(map(label_of_call, needs.calls))
    return [*sorted(kind for kind in needs.events if kind != CALL or not called), *called]


def remembers_calls(hypothesis: Hypothesis) -> bool:
    """Whether a hypothesis is about calls, and its monitor remembers earlier ones."""
    invariant = as_invariant(hypothesis)
    return bool(needs_of(invariant).calls) and isinstance(monitor_of(invariant), Remembering)


def _follow(event: Event, run: str, monitors: Mapping[str, list[tuple[Examples, Monitor]]]) -> None:
    labels = labels_of(event) or (CALL,)
    asked = {id(pair): pair for label in labels for pair in monitors.get(label, ())}
    for examples, monitor in asked.values():
        for seen in monitor.feed(event):
            fields = atoms_of(event) if event.kind == CALL else askable(event.context.fields)
            of = Distinct(event, fields, ())
            examples.add(fields, run, seen.times, holds=seen.holds, of=of)
