"""The one driver: events -> monitors -> findings with causes. Live, replay and infer call it."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import final

from tcstatic.check.doubts import Doubts
from tcstatic.check.failing import Failure, follows, is_given, is_of, rank
from tcstatic.check.history import History
from tcstatic.check.repeating import MOVING, Repetition, Standing
from tcstatic.check.working import LEARNT, Kind, Rule, explained, keys_of, labels_needed
from tcstatic.invariants.relations import needs_of
from tcstatic.invariants.relations.called import CALL, called_in, is_named
from tcstatic.invariants.relations.sequences import END, OBJECT
from tcstatic.model import (
    Event,
    Finding,
    Invariant,
    InvariantCounts,
    Location,
    Needs,
    Observation,
    Witness,
)


def _same(last: Event, event: Event) -> bool:
    """Tell whether an event says what the last of its kind said, but for where and when.

    Probes hand on the same members, or values, while they stay equal: that is told at once.
    """
    values, members = event.values, event.members
    if last.values is not values and last.values != values:
        return False
    if last.members is not members and last.members != members:
        return False
    theirs = last.context.fields
    for name, mine in event.context.fields.items():
        if name not in MOVING and mine != theirs.get(name):
            return False
    return True


def _nothing() -> None:
    return None


# By how much an event has a count grow, by name and code.
Counted = tuple[tuple[str, str, int], ...]


@final
class Driver:
    """Judges a stream of events by a set of invariants.

    State: `_history` of objects; `_failed` observations that were not settled yet; `_findings` by
    fingerprint in order of their finding; `_checked` and `_violated` counts by code.
    """

    def __init__(self, invariants: Iterable[Invariant]) -> None:
        self.rules = [Rule(invariant) for invariant in invariants]
        explains = {rule.invariant.code: rule.invariant.explains for rule in self.rules}
        self._kinds: dict[str, Kind] = {}
        kinds: set[str] = set()
        state: set[str] = set()
        calls: set[str] = set()
        for rule in self.rules:
            rule.explains = explained(rule.invariant, explains)
            needs = needs_of(rule.invariant)
            kinds |= needs.events
            state |= needs.state
            for kind in labels_needed(needs):
                self._kinds.setdefault(kind, Kind()).rules.append(rule)
            calls |= needs.calls
        self._hears_named = any(map(called_in, self._kinds))
        self.needs = Needs(frozenset(kinds), frozenset(state), frozenset(calls))
        self._history = History()
        self._failed: list[Failure] = []
        self._doubts: Doubts[Failure] = Doubts()
        self._findings: dict[str, Finding] = {}
        self._causes: dict[str, tuple[Rule, Event]] = {}
        self._checked: Counter[str] = Counter()
        self._unseen: Counter[str] = Counter()
        self._failures = 0
        self._last = 0
        self._violated: set[str] = set()
        self._repetition = Repetition(self._standing)
        # Has the history complete before it is asked.
        self.recollect: Callable[[], None] = _nothing

    def feed(self, event: Event) -> None:
        """Take the next event."""
        self.feed_all((event,))

    def feed_all(self, events: Sequence[Event]) -> None:
        """Take the next events, in their order."""
        if events and not self._hears_named:
            self._last = max(self._last, events[-1].sequence)
            events = [event for event in events if event.kind != CALL or not is_named(event)]
        repetition, position = self._repetition, 0
        while position < len(events):
            if repetition.holding:
                position = repetition.hold_back(events, position)
                if position == len(events):
                    return
                self._catch_up()
            event = events[position]
            self.judge(event)
            repetition.seen(event)
            position += 1

    def rules_of(self, labels: Iterable[str]) -> list[Rule]:
        """The rules that judge events of these labels."""
        return [rule for one in labels if one in self._kinds for rule in self._kinds[one].rules]

    def judge(self, event: Event) -> None:
        """Judge an event, which is held back in no case."""
        self._history.note(event)
        self._last = event.sequence
        name = event.kind
        if name == "gap":
            self._disprove(event)
        if name != CALL:
            self._judge_as(name, event)
            return
        for label in keys_of(event):
            self._judge_as(label, event)

    def note(self, event: Event) -> None:
        """Remember what happened to objects."""
        self._history.note(event)

    def was_last(self, event: Event) -> None:
        """The last event so far, judged or not."""
        self._last = event.sequence

    def count(self, counter: str, code: str, number: int) -> None:
        """Count observations that were `checked`, or in a context `unseen`."""
        (self._checked if counter == "checked" else self._unseen)[code] += number

    def judge_each(self, event: Event) -> list[tuple[Rule, Counted, bool]]:
        """Judge an event, but for its history; return how it counts for each rule, and whether that
        rule must judge another one that says the same for itself."""
        self._disprove(event)
        for label in keys_of(event):
            kind = self._kinds.get(label)
            if kind is not None:
                self._count_repeats(kind)
                kind.last = event
        return [self._judged_by(rule, event) for rule in self.rules_of(keys_of(event))]

    def judge_by(self, rules: Iterable[Rule], event: Event) -> list[tuple[Rule, Counted, bool]]:
        """Judge an event by some of the rules, as above; the others have judged its like."""
        self._disprove(event)
        return [self._judged_by(rule, event) for rule in rules]

    def _judged_by(self, rule: Rule, event: Event) -> tuple[Rule, Counted, bool]:
        code = rule.code
        checked, unseen = self._checked[code], self._unseen[code]
        taken = self._judge_by(rule, event)
        checked, unseen = self._checked[code] - checked, self._unseen[code] - unseen
        counted = (("checked", code, checked), ("unseen", code, unseen))
        # What was wanted may yet be seen in this program.
        alone = taken is None or (unseen and rule.wanted) or (rule.derives and not taken[1])
        return rule, tuple(one for one in counted if one[2]), bool(alone)

    def _disprove(self, event: Event) -> None:
        if event.kind == "gap":
            for number in event.subjects.get("optimizer", ()):
                self._doubts.disprove((number,))

    def _judge_as(self, label: str, event: Event) -> None:
        kind = self._kinds.get(label)
        if kind is None:
            return
        last, kind.last, again = kind.last, event, kind.again
        if last is not None and again is not None and _same(last, event):
            kind.times += 1
            for rule in again:
                for observation in rule.feed(event):
                    self._take(rule, observation)
            return
        self._judge_anew(kind, event)

    def _standing(self, places: Mapping[int, int]) -> Standing | None:
        """Return what the monitors remember, and all counts; None where one cannot tell."""
        found: list[object] = []
        for rule in self.rules:
            if rule.standing is not None:
                found.append(rule.standing(places))
            elif not rule.repeats:
                return None
        counts: Counter[tuple[str, str]] = Counter()
        for code, number in self._checked.items():
            counts["checked", code] = number
        for code, number in self._unseen.items():
            counts["unseen", code] = number
        for name, kind in self._kinds.items():
            counts["times", name] = kind.times
        return (self._failures, *found), counts

    def _catch_up(self) -> None:
        """Take what was held back: count the rounds, judge the last of them for good."""
        held = self._repetition.give_back()
        if held.rounds:
            for (what, name), number in held.grown.items():
                if what == "times":
                    self._kinds[name].times += number * held.rounds
                else:
                    counter = self._checked if what == "checked" else self._unseen
                    counter[name] += number * held.rounds
            for event in held.last:
                self._remember(event)
        for event in held.since:
            self.judge(event)

    def _remember(self, event: Event) -> None:
        """Let an event be the last of its like, for all who remember one; it was counted."""
        self._history.note(event)
        for label in keys_of(event):
            kind = self._kinds.get(label)
            if kind is not None:
                kind.last = event
                for rule in kind.rules:
                    if not rule.repeats:
                        rule.feed(event)

    def _judge_anew(self, kind: Kind, event: Event) -> None:
        """Judge an event that says something else than the last of its kind: by all rules, or by
        those that an event before it, which said the same, has left."""
        self._count_repeats(kind)
        known = kind.known(event)
        again, rest, held = [], [], list(known.held if known else ())
        for code, times in held:
            self._checked[code] += times
        for rule in known.rest if known else kind.rules:
            unseen = self._unseen[rule.code]
            taken = self._judge_by(rule, event)
            # What is held back is counted as checked alone.
            if taken is None or not rule.repeats or self._unseen[rule.code] != unseen:
                again.append(rule)
            else:
                kind.held.append((rule.code, taken[0]))
            if taken is None or not (rule.repeats and taken[1] and rule.doubt is None):
                rest.append(rule)
            else:
                held.append((rule.code, taken[0]))
        if known:
            kind.held += known.held
        else:
            kind.keep(event, held, rest)
        kind.again = again

    def _judge_by(self, rule: Rule, event: Event) -> tuple[int, bool] | None:
        """Judge an event by a rule; return for how much it stands where nothing failed, and whether
        all held that it gave."""
        held: int | None = 0
        sure = True
        for observation in rule.feed(event):
            taken = self._take(rule, observation)
            held = held + taken if held is not None and taken is not None else None
            sure = sure and observation.holds
        return None if held is None else (held, sure)

    def _count_repeats(self, kind: Kind) -> None:
        """Count what held again in the events that said the same, and forget it."""
        for code, held in kind.held:
            self._checked[code] += held * kind.times
        kind.held, kind.again, kind.times = [], None, 0

    def _take(self, rule: Rule, observation: Observation) -> int | None:
        """Count an observation; return how many it stands for, None if it is a failure."""
        holds = observation.holds
        if rule.scope is not None and rule.scope(observation.context.fields) is not True:
            return 0
        excuse = None if holds else rule.excuse
        if excuse is not None and excuse(observation.context.fields) is not False:
            return 0
        code, times = rule.code, observation.times
        seen = None if holds else rule.seen
        if seen is not None and seen(observation.context.fields) is not True:
            self._unseen[code] += 1
            return 0
        # Methods belong together that are called on one object.
        never = rule.wanted and rule.invariant.params.get("same") != OBJECT
        if not holds and never and self._kinds[rule.wanted].last is None:
            # What this program never does, it does not forget.
            self._unseen[code] += 1
            return 0
        self._checked[code] += times
        if holds:
            if rule.doubt is not None:
                self._doubts.held((code, *observation.key))
            return times
        doubtful = rule.doubt is not None and rule.doubt(observation.context.fields) is True
        if doubtful and self._doubts.is_disproved((code, *observation.key)):
            return times
        self._failures += 1
        self.recollect()
        failure = rule, observation, rule.diagnosis.trail(observation, self._history), 1
        if doubtful:
            self._doubts.failed((code, *observation.key), failure)
        else:
            self._failed.append(failure)
        return None

    @property
    def failing(self) -> bool:
        """Whether something failed that was not settled yet."""
        return bool(self._failed)

    def settle(self, final: bool = False, *, whole: bool = True) -> tuple[Finding, ...]:
        """Decide causes of what failed so far; return the findings that are new. After the `final`
        time nothing comes, and the program has run its `whole` course, or not."""
        if final and self._repetition.holding:
            self._catch_up()
        if final and whole and END in self._kinds:
            self._judge_as(END, Event(END, self._last + 1, None))
        failed, self._failed = self._failed, []
        if final:
            failed += [(*failure[:3], times) for failure, times in self._doubts.due()]
        if not failed:
            return ()
        fresh: list[str] = []
        for rule, observation, trail, times in sorted(
            failed, key=lambda one: (rank(one[0], failed), is_given(*one), one[1].event.sequence)
        ):
            cause = self._explained_by(rule, observation)
            if cause is not None:
                if rule.invariant.status == LEARNT:
                    self._violated.add(rule.code)
                where = self._findings[cause].where
                self._add_evidence(cause, rule, observation.event, where)
                continue
            self._violated.add(rule.invariant.code)
            finding = rule.diagnosis.finding(observation, trail, self._history)
            known = self._findings.get(finding.fingerprint)
            if known is not None:
                self._findings[finding.fingerprint] = dataclasses.replace(
                    known, count=known.count + times
                )
                continue
            self._findings[finding.fingerprint] = dataclasses.replace(finding, count=times)
            self._causes[finding.fingerprint] = (rule, observation.event)
            self._take_over(finding.fingerprint)
            fresh.append(finding.fingerprint)
        return tuple(self._findings[name] for name in fresh if name in self._findings)

    def _explained_by(self, rule: Rule, observation: Observation) -> str | None:
        for name, (cause, event) in self._causes.items():
            if rule.invariant.code not in cause.explains and not follows(
                rule, observation, cause, event
            ):
                continue
            if is_of(rule, observation.event, event):
                return name
        return None

    def _take_over(self, name: str) -> None:
        """What was told before, and follows from a finding, becomes its evidence."""
        rule, event = self._causes[name]
        for other, (told, seen) in list(self._causes.items()):
            graver = told.invariant.severity == "error" != rule.invariant.severity
            if told.invariant.code in rule.explains and is_of(told, seen, event) and not graver:
                del self._causes[other]
                self._add_evidence(name, told, seen, self._findings.pop(other).where)

    def _add_evidence(self, name: str, rule: Rule, event: Event, where: Location) -> None:
        finding = self._findings[name]
        label = f"{rule.invariant.code} {rule.invariant.name}"
        if any(link.event == label for link in finding.witness):
            return
        where = event.where or where
        link = Witness(where.file, where.line, label, event.step, event.rank, {})
        self._findings[name] = dataclasses.replace(finding, witness=(*finding.witness, link))

    def findings(self) -> tuple[Finding, ...]:
        """Return all findings so far, each cause once, with how often it was seen."""
        return tuple(self._findings.values())

    def counts(self) -> InvariantCounts:
        """Return how the invariants fared so far."""
        if self._repetition.holding:
            self._catch_up()
        for kind in self._kinds.values():
            self._count_repeats(kind)
        codes = sorted(rule.invariant.code for rule in self.rules)
        return InvariantCounts(
            in_scope=tuple(codes),
            checked={code: self._checked[code] for code in codes if self._checked[code]},
            held=tuple(c for c in codes if self._checked[c] and c not in self._violated),
            violated=tuple(c for c in codes if c in self._violated),
            never_triggered=tuple(c for c in codes if not self._checked[c]),
            unseen={code: self._unseen[code] for code in codes if self._unseen[code]},
        )
