"""The one driver: events -> monitors -> findings with causes. Live, replay and infer call it."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Final, final

from tcstatic.check.causes import Diagnosis
from tcstatic.check.doubts import Doubts
from tcstatic.check.history import History
from tcstatic.check.repeating import MOVING, Repetition, Standing
from tcstatic.invariants.conditions import Judge, compile_condition, fields_of, parse
from tcstatic.invariants.relations import Monitor, Remembering, monitor_of, needs_of
from tcstatic.model import (
    Event,
    Finding,
    Invariant,
    InvariantCounts,
    Needs,
    Observation,
    Witness,
)

# The status of an invariant that was inferred.
LEARNT: Final = "learnt"
# Relations whose monitors judge each event by itself.
STATELESS: Final = frozenset({"effect", "member", "count", "argument", "result", "equal", "flow"})

_Remembers = Callable[[Mapping[int, int]], tuple[object, ...]]


@final
class _Rule:
    """An invariant at work: what feeds its monitor, its precondition and diagnosis.

    `when` is the scope of every observation; `unless` excuses a failed one, and has nothing to
    say where the relation holds; under `doubt` it waits for the end; where `seen` is not met, no
    reference run has shown such a context. What was learnt to be there (`wanted`) is not missed in
    a program that never does it. `explains` are the codes that it explains, itself or by
    others. `standing` tells what a monitor remembers that may be asked for it; one that `repeats`
    remembers nothing.
    """

    __slots__ = (
        "code",
        "diagnosis",
        "doubt",
        "excuse",
        "explains",
        "feed",
        "invariant",
        "repeats",
        "scope",
        "seen",
        "standing",
        "wanted",
    )

    def __init__(self, invariant: Invariant) -> None:
        self.invariant = invariant
        monitor: Monitor = monitor_of(invariant)
        self.feed = monitor.feed
        self.code = invariant.code
        self.diagnosis = Diagnosis(invariant)
        self.scope = _compiled(invariant.when)
        self.excuse = _compiled(invariant.unless)
        self.doubt = _compiled(invariant.doubt)
        self.seen = _compiled(invariant.seen)
        params = invariant.params if invariant.status == LEARNT else {}
        self.wanted: str = params.get("existence") or params.get("precedence") or ""
        asked = _fields(invariant.when) | _fields(invariant.unless)
        self.repeats = invariant.relation in STATELESS and not asked & MOVING
        self.standing: _Remembers | None = None
        if isinstance(monitor, Remembering) and not asked & MOVING:
            self.standing = monitor.standing
        self.explains: frozenset[str] = frozenset()


@final
class _Kind:
    """The rules that judge events of one kind, and how the last of them fared.

    State: `last` is that event; `held` what it gave, by code, where nothing failed and an event
    that says the same is judged the same; `again` the other rules, None while `last` is half
    judged; `times` how many events have said the same since.
    """

    __slots__ = ("again", "held", "last", "rules", "times")

    def __init__(self) -> None:
        self.rules: list[_Rule] = []
        self.last: Event | None = None
        self.held: list[tuple[str, int]] = []
        self.again: list[_Rule] | None = None
        self.times = 0


def _explained(invariant: Invariant, explains: Mapping[str, Iterable[str]]) -> frozenset[str]:
    """Return the codes that an invariant explains, itself or by way of others; never its own."""
    found: set[str] = set()
    todo = list(invariant.explains)
    while todo:
        code = todo.pop()
        if code not in found:
            found.add(code)
            todo.extend(explains.get(code, ()))
    return frozenset(found - {invariant.code})


def _fields(text: str) -> frozenset[str]:
    return fields_of(parse(text)) if text else frozenset()


def _compiled(text: str) -> Judge | None:
    return compile_condition(parse(text)) if text else None


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


# With how often it was seen.
_Failure = tuple[_Rule, Observation, tuple[Event, ...], int]


def _follows(rule: _Rule, observation: Observation, cause: _Rule, event: Event) -> bool:
    """Whether what was learnt fails as a consequence: of a fault with a name, or of what differed
    first in the same step."""
    if rule.invariant.status != LEARNT or rule is cause:
        return False
    return cause.invariant.status != LEARNT or event.step == observation.event.step


def _rank(rule: _Rule, failed: list[_Failure]) -> int:
    """Return how many of the failed rules may explain this one: causes come first."""
    if rule.invariant.status == LEARNT:
        return len(failed) + 1  # faults that have a name come first
    others = {other.invariant.code: other.explains for other, *_ in failed}
    return sum(rule.invariant.code in explains for explains in others.values())


@final
class Driver:
    """Judges a stream of events by a set of invariants.

    State: `_history` of objects; `_failed` observations that were not settled yet; `_findings` by
    fingerprint in order of their finding; `_checked` and `_violated` counts by code.
    """

    def __init__(self, invariants: Iterable[Invariant]) -> None:
        self._rules = [_Rule(invariant) for invariant in invariants]
        explains = {rule.invariant.code: rule.invariant.explains for rule in self._rules}
        self._kinds: dict[str, _Kind] = {}
        kinds: set[str] = set()
        state: set[str] = set()
        for rule in self._rules:
            rule.explains = _explained(rule.invariant, explains)
            needs = needs_of(rule.invariant)
            kinds |= needs.events
            state |= needs.state
            for kind in (*needs.events, "gap"):
                self._kinds.setdefault(kind, _Kind()).rules.append(rule)
        self.needs = Needs(frozenset(kinds), frozenset(state))
        self._history = History()
        self._failed: list[_Failure] = []
        self._doubts: Doubts[_Failure] = Doubts()
        self._findings: dict[str, Finding] = {}
        self._causes: dict[str, tuple[_Rule, Event]] = {}
        self._checked: Counter[str] = Counter()
        self._unseen: Counter[str] = Counter()
        self._failures = 0
        self._violated: set[str] = set()
        self._repetition = Repetition(self._standing)

    def feed(self, event: Event) -> None:
        """Take the next event."""
        repetition = self._repetition
        if repetition.holding:
            if repetition.holds_back(event):
                return
            self._catch_up()
        self._judge(event)
        repetition.seen(event)

    def _judge(self, event: Event) -> None:
        self._history.note(event)
        name = event.kind
        if name == "gap":
            for number in event.subjects.get("optimizer", ()):
                self._doubts.disprove((number,))
        kind = self._kinds.get(name)
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
        for rule in self._rules:
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
            self._judge(event)

    def _remember(self, event: Event) -> None:
        """Let an event be the last of its like, for all who remember one; it was counted."""
        self._history.note(event)
        kind = self._kinds.get(event.kind)
        if kind is not None:
            kind.last = event
            for rule in kind.rules:
                if not rule.repeats:
                    rule.feed(event)

    def _judge_anew(self, kind: _Kind, event: Event) -> None:
        """Judge an event that says something else than the last of its kind, by all rules."""
        self._count_repeats(kind)
        again = []
        for rule in kind.rules:
            held: int | None = 0
            for observation in rule.feed(event):
                taken = self._take(rule, observation)
                held = held + taken if held is not None and taken is not None else None
            if held is None or not rule.repeats:
                again.append(rule)
            else:
                kind.held.append((rule.invariant.code, held))
        kind.again = again

    def _count_repeats(self, kind: _Kind) -> None:
        """Count what held again in the events that said the same, and forget it."""
        for code, held in kind.held:
            self._checked[code] += held * kind.times
        kind.held, kind.again, kind.times = [], None, 0

    def _take(self, rule: _Rule, observation: Observation) -> int | None:
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
        if not holds and rule.wanted and self._kinds[rule.wanted].last is None:
            # What this program never does, it does not forget.
            self._unseen[code] += 1
            return 0
        self._checked[code] += times
        if holds:
            if rule.doubt is not None:
                self._doubts.held((code, *observation.key))
            return times
        self._failures += 1
        failure = rule, observation, rule.diagnosis.trail(observation, self._history), 1
        if rule.doubt is not None and rule.doubt(observation.context.fields) is True:
            self._doubts.failed((code, *observation.key), failure)
        else:
            self._failed.append(failure)
        return None

    @property
    def failing(self) -> bool:
        """Whether something failed that was not settled yet."""
        return bool(self._failed)

    def settle(self, final: bool = False) -> tuple[Finding, ...]:
        """Decide causes of what failed so far; return the findings that are new."""
        if final and self._repetition.holding:
            self._catch_up()
        failed, self._failed = self._failed, []
        if final:
            failed += [(*failure[:3], times) for failure, times in self._doubts.due()]
        if not failed:
            return ()
        fresh: list[str] = []
        for rule, observation, trail, times in sorted(
            failed, key=lambda one: (_rank(one[0], failed), one[1].event.sequence)
        ):
            cause = self._explained_by(rule, observation)
            if cause is not None:
                if rule.invariant.status == LEARNT:
                    self._violated.add(rule.code)
                self._add_evidence(cause, rule, observation)
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
            fresh.append(finding.fingerprint)
        return tuple(self._findings[name] for name in fresh)

    def _explained_by(self, rule: _Rule, observation: Observation) -> str | None:
        mine = set(observation.event.subjects.get("optimizer", ()))
        for name, (cause, event) in self._causes.items():
            if rule.invariant.code not in cause.explains and not _follows(
                rule, observation, cause, event
            ):
                continue
            theirs = set(event.subjects.get("optimizer", ()))
            if rule.invariant.severity == "note" or not mine or not theirs or mine & theirs:
                return name
        return None

    def _add_evidence(self, name: str, rule: _Rule, observation: Observation) -> None:
        finding = self._findings[name]
        label = f"{rule.invariant.code} {rule.invariant.name}"
        if any(link.event == label for link in finding.witness):
            return
        where = observation.event.where or finding.where
        link = Witness(
            where.file, where.line, label, observation.event.step, observation.event.rank, {}
        )
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
        codes = sorted(rule.invariant.code for rule in self._rules)
        return InvariantCounts(
            in_scope=tuple(codes),
            checked={code: self._checked[code] for code in codes if self._checked[code]},
            held=tuple(c for c in codes if self._checked[c] and c not in self._violated),
            violated=tuple(c for c in codes if c in self._violated),
            never_triggered=tuple(c for c in codes if not self._checked[c]),
            unseen={code: self._unseen[code] for code in codes if self._unseen[code]},
        )
