"""One root of a module + one invariant -> a verdict, and what fails.

The monitors are those that judge a run. Each abstract path is fed to a fresh one; a happening that
is not certain to concern the object is left out in one run and put in, as each kind that the
relation listens to, in others: what fails whichever it was, fails.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, Final, final

from tcstatic.invariants.conditions import Judge, compile_condition, parse
from tcstatic.invariants.relations import Monitor, monitor_of, needs_of
from tcstatic.lint.flows import flowed, sinks
from tcstatic.lint.rooted import WILD, Failure, Judged, Rooted, location, with_trail
from tcstatic.lint.together import judge_together
from tcstatic.model import Blame, Context, Event, Invariant, Observation
from tcstatic.program.paths import Happening, Path, may_be, paths
from tcstatic.program.paths.values import Const, Node, Object


def for_lint(invariant: Invariant) -> Invariant:
    """The invariant as the source decides it; ``when: always`` and ``unless: never`` drop what a
    run asks."""
    other = invariant.lint
    if not other:
        return invariant
    changed: dict[str, Any] = {k: other[k] for k in ("when", "unless", "message") if k in other}
    for key, word in (("when", "always"), ("unless", "never")):
        if changed.get(key) == word:
            changed[key] = ""
    if "that" in other:
        changed["params"] = other["that"]
    if "blame" in other:
        changed["blame"] = tuple(Blame(one["at"], one["when"]) for one in other["blame"])
    return dataclasses.replace(invariant, **changed)


# Objects that may do anything.
_ANY: Final = ("", "?", "engine")


@final
class Judging:
    """One invariant at work on roots: its conditions are compiled once."""

    def __init__(self, invariant: Invariant) -> None:
        self.invariant = for_lint(invariant)
        self._scope = _compiled(self.invariant.when)
        self._excuse = _compiled(self.invariant.unless)
        self._needs = needs_of(self.invariant).events
        self._roles = {*_ANY, *(one for kind in self._needs for one in _roles_of(kind))}
        # Calls are of many kinds: most of them are not what a rule is about. A rule that a run
        # decides as well leaves to the run what the source does not tell.
        told = self.invariant.params.get("of") == "call"
        self._is_told = told and self.invariant.feeds == ("lint",)

    def judge(self, rooted: Rooted) -> Judged:
        """What a root says of the invariant."""
        if self.invariant.relation == "flow":
            return self._flow(rooted)
        if not self._needs & (rooted.kinds | {"end"}):
            return Judged((), 0)
        if self.invariant.relation == "order":
            return self._order(rooted)
        return self._each(rooted)

    def _verdict(self, observation: Observation) -> str:
        """fail, hold, or '' where the precondition is not known to be met."""
        fields = observation.context.fields
        if self._scope is not None and self._scope(fields) is not True:
            return ""
        if observation.holds:
            return "hold"
        if self._excuse is not None and self._excuse(fields) is not False:
            return ""
        return "fail"

    def _each(self, rooted: Rooted) -> Judged:
        failures: list[Failure] = []
        held, unknown = 0, ""
        monitor = monitor_of(self.invariant)
        for one in rooted.every:
            if one.kind not in self._needs or one.wild:
                continue
            seen = list(monitor.feed(rooted.event(one)))
            if not seen and not self._is_told:
                unknown = unknown or "a value is not known from the source"
            for observation in seen:
                verdict = self._verdict(observation)
                held += verdict == "hold"
                if verdict == "fail":
                    observation = with_trail(observation, one)
                    failures.append(Failure(observation, rooted.before(one), True))
        return Judged(tuple(failures), held, unknown)

    def _flow(self, rooted: Rooted) -> Judged:
        params = self.invariant.params
        failures: list[Failure] = []
        held, unknown = 0, ""
        for one in rooted.every:
            for value in sinks(one, tuple(params["into"])):
                found = flowed(rooted.root.machine, value, params)
                if found.answer == "unknown":
                    unknown = "a value comes from code that is not known"
                elif found.answer == "no":
                    held += 1
                for source in found.sources:
                    observation = self._flow_observation(rooted, one, source)
                    verdict = self._verdict(observation)
                    if verdict == "fail":
                        failures.append(Failure(observation, rooted.before(one), found.always))
        return Judged(tuple(failures), held, unknown)

    def _flow_observation(self, rooted: Rooted, one: Happening, source: Node) -> Observation:
        event = rooted.event(one)
        facts: dict[str, Any] = {"source": source.op, **source_facts(source)}
        trail: tuple[Event, ...] = ()
        if source.place is not None:
            place = location(source.place)
            trail = (Event("call", event.sequence, place, {}, {"operation": source.op}),)
        fields = {**event.context.fields, **event.values, **facts}
        context = Context(fields, event.context.inferred)
        return Observation(
            False, event, context, (source.number,), {**event.values, **facts}, trail
        )

    def _order(self, rooted: Rooted) -> Judged:
        role = self.invariant.params.get("same", "")
        numbers = self._subjects(rooted, role)
        failures: list[Failure] = []
        held, unknown = 0, ""
        for number in numbers:
            judged = self._one_object(rooted, role, number)
            failures += judged.failures
            held += judged.held
            unknown = unknown or judged.unknown
        return Judged(tuple(failures), held, unknown)

    def _subjects(self, rooted: Rooted, role: str) -> list[int]:
        if not role:
            return [0]
        return sorted(
            {
                number
                for one in rooted.every
                if one.kind in self._needs
                for number in one.subjects.get(role, ())
            }
        )

    def _one_object(self, rooted: Rooted, role: str, number: int) -> Judged:
        born = f"{role}.new"

        def concerns(one: Happening) -> str:
            if one.wild:
                if not may_be(one, self._needs):
                    return ""
                known = number in one.maybe if role else self._may_be(rooted, one)
                return WILD if known else ""
            if one.kind == born and one.subjects.get(role, ())[:1] == (number,):
                return born
            if one.kind not in self._needs:
                return ""
            if not role or number in one.subjects.get(role, ()):
                return one.kind
            return f"{one.kind}?" if number in one.maybe else ""

        found = paths(rooted.root.block, concerns)
        if found is None:
            return judge_together(self.invariant, rooted, role, number, concerns, self._verdict)
        end = rooted.end() if "end" in self._needs else None
        if end is not None:
            found = [
                path._replace(steps=(*path.steps, (end, "end")))
                for path in found
                if path.ended not in ("raise", "stop")
            ]
        return self._over_paths(rooted, role, number, found)

    def _may_be(self, rooted: Rooted, wild: Happening) -> bool:
        """Whether code that is not known is handed what it takes to do what the rule is about."""
        held = [rooted.root.objects.get(number) for number in wild.maybe]
        return any(one is None or one.role in self._roles for one in held)

    def _over_paths(self, rooted: Rooted, role: str, number: int, found: list[Path]) -> Judged:
        failed: dict[int, tuple[Observation, Path]] = {}
        passed: set[int] = set()
        full: set[int] = set()
        held, unknown = 0, ""
        for path in found:
            fails, holds = self._one_path(rooted, role, number, path)
            for key, observation in fails.items():
                if key not in failed or (path.full and key not in full):
                    failed[key] = (observation, path)
            held += len(holds)
            if path.full:
                full |= set(fails)
                passed |= holds - set(fails)
            if any(concern == WILD or concern.endswith("?") for _, concern in path.steps):
                unknown = "an object is handed to code that is not known"
        failures = []
        for key, (observation, path) in failed.items():
            before = tuple(rooted.event(one) for one, _ in path.steps)
            before = _up_to(before, observation.event)
            failures.append(Failure(observation, before, key in full and key not in passed))
        return Judged(tuple(failures), held, unknown)

    def _one_path(
        self, rooted: Rooted, role: str, number: int, path: Path
    ) -> tuple[dict[int, Observation], set[int]]:
        """What fails on a path whatever the uncertain happenings were; the rest is passed."""
        certain = [one for one in path.steps if one[1] != WILD and not one[1].endswith("?")]
        runs = [self._feed(rooted, role, number, certain)]
        if len(certain) != len(path.steps):
            for kind in sorted(self._needs - {"end"}):
                steps = [
                    (one, kind if concern == WILD else concern.rstrip("?"))
                    for one, concern in path.steps
                    if concern in (WILD, f"{kind}?") or not concern.endswith("?")
                ]
                runs.append(self._feed(rooted, role, number, steps))
        fails = dict(runs[0][0])
        passed: set[int] = set().union(*(holds for _, holds in runs))
        for other, _ in runs[1:]:
            for key in list(fails):
                if key not in other:
                    del fails[key]
                    passed.add(key)
        return fails, passed

    def _feed(
        self, rooted: Rooted, role: str, number: int, steps: Iterable[tuple[Happening, str]]
    ) -> tuple[dict[int, Observation], set[int]]:
        monitor: Monitor = monitor_of(self.invariant)
        fails: dict[int, Observation] = {}
        holds: set[int] = set()
        previous: Happening | None = None
        for one, kind in steps:
            if one is previous and rooted.stands_for_several(one, role, number):
                continue
            previous = one
            if kind == f"{role}.new":
                monitor = monitor_of(self.invariant)
                if kind not in self._needs:
                    continue
            event = rooted.event(one)
            if (role and event.subjects.get(role) != (number,)) or kind != event.kind:
                event = event._replace(kind=kind, subjects={**event.subjects, role: (number,)})
            for observation in monitor.feed(event):
                verdict = self._verdict(observation)
                if verdict == "fail":
                    fails.setdefault(id(one), with_trail(observation, one))
                else:
                    holds.add(id(one))
        return fails, holds


def _roles_of(kind: str) -> tuple[str, ...]:
    """What a happening of a kind is done with."""
    return {"grad": ("optimizer",), "loss": ("loss", "model")}.get(
        kind.partition(".")[0], (kind.partition(".")[0],)
    )


def source_facts(source: Node) -> dict[str, Any]:
    """What rules ask of the operation that a value came from."""
    facts: dict[str, Any] = {"source_grad": source.keywords.get("#grad") is None}
    holder = source.keywords.get("dim")
    if holder is None and isinstance(source.subject, Object):
        holder = source.subject.keywords.get("dim")
        given = source.subject.arguments
        if holder is None and given and source.op in ("softmax", "log_softmax"):
            holder = given[0]
    elif holder is None and source.op in ("softmax", "log_softmax") and len(source.inputs) > 1:
        holder = source.inputs[1]
    if isinstance(holder, Const) and isinstance(holder.value, int):
        facts["source_dim"] = holder.value
    return facts


def _up_to(events: tuple[Event, ...], last: Event) -> tuple[Event, ...]:
    for index in range(len(events) - 1, -1, -1):
        if events[index].sequence == last.sequence:
            return events[:index]
    return events


def _compiled(text: str) -> Judge | None:
    return compile_condition(parse(text)) if text else None
