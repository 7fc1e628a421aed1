"""From a failed observation to a finding: the line to mend first, the chain as witness."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from string import Formatter
from typing import Any, Final, final

from tcstatic.check.history import History
from tcstatic.invariants.conditions import Judge, compile_condition, fields_of, parse
from tcstatic.invariants.relations import needs_of
from tcstatic.model import Event, Finding, Invariant, Location, Observation, Witness

UNKNOWN_PLACE: Final = Location("<unknown>", 0)
MAX_WITNESS: Final = 12
# The value of a call that names the line to mend, by relation.
_PLACES: Final = {"result": "home", "effect": "home", "argument": "maker", "equal": "maker"}


@final
class Diagnosis:
    """Decides causes for one invariant. Its blame conditions are compiled once."""

    def __init__(self, invariant: Invariant) -> None:
        self.invariant = invariant
        # With the fields that a condition names, which may say how it was done.
        self._blame: list[tuple[str, Judge | None, frozenset[str]]] = [
            (
                blame.at,
                compile_condition(parse(blame.when)) if blame.when else None,
                fields_of(parse(blame.when)) if blame.when else frozenset(),
            )
            for blame in invariant.blame
        ]

        self._of_calls = bool(needs_of(invariant).calls)

    def finding(
        self, observation: Observation, trail: tuple[Event, ...], history: History
    ) -> Finding:
        """Return the finding for a failed observation and the trail that led to it."""
        event = observation.event
        cause = self._cause(observation, trail)
        where = cause.where or event.where or UNKNOWN_PLACE
        facts = {**observation.context.fields, **observation.facts}
        since = facts.get("since")
        step = since if isinstance(since, int) and not isinstance(since, bool) else event.step
        severity = self.invariant.severity
        if severity == "error" and observation.context.inferred:
            severity = "warning"
        names = _names(event, history, facts)
        names.setdefault("site", f"{where.file}:{where.line}")
        return Finding(
            code=self.invariant.code,
            name=self.invariant.name,
            severity=severity,
            message=_filled(self.invariant.message, names),
            where=where,
            why=self.invariant.why,
            cure=_filled(self.invariant.cure, names),
            step=step,
            epoch=event.epoch,
            rank=facts.get("culprit_rank", event.rank),
            precondition=self.invariant.precondition,
            witness=_witnesses(trail, cause, event, step),
            fingerprint=fingerprint(self.invariant.code, where),
        )

    def trail(self, observation: Observation, history: History) -> tuple[Event, ...]:
        """Return what happened to the objects concerned, up to the event that was judged."""
        event = observation.event
        numbers = [n for group in event.subjects.values() for n in group if n]
        numbers += [n for n in observation.key if isinstance(n, int) and n]
        if observation.facts.get("writes_elsewhere"):
            numbers.append(0)
        events = {e.sequence: e for e in history.of(numbers)}
        events.update({e.sequence: e for e in observation.trail})
        return tuple(events[s] for s in sorted(events) if s <= event.sequence)

    def _cause(self, observation: Observation, trail: tuple[Event, ...]) -> Event:
        event = observation.event
        facts = {**observation.context.fields, **_scalars(observation.facts)}
        for position, earlier in enumerate(trail):
            facts[f"had_{earlier.kind.replace('.', '_')}"] = True
            facts[f"last_{earlier.kind.replace('.', '_')}"] = position
            facts.update(dict.fromkeys(_how(earlier), True))
        for kind, judge, names in self._blame:
            if judge is not None and judge(facts) is not True:
                continue
            if kind == event.kind and event.where is not None:
                return event
            placed = [e for e in trail if e.kind == kind and e.where is not None]
            placed = [e for e in placed if names & _how(e)] or placed
            if placed:
                return placed[-1]
        if self._of_calls and not self._blame:
            return self._cause_of_calls(observation)
        if self._blame or not trail:
            return event
        return next((e for e in reversed(trail) if e.where is not None), event)

    def _cause_of_calls(self, observation: Observation) -> Event:
        """The call itself; the line of the user's function whose result or effect is not as it
        should be, or that made the object which gave an argument; or what was not to happen before
        the call or within it, or not so often."""
        params, placed = self.invariant.params, [e for e in observation.trail if e.where]
        if placed and "per" in params:
            return placed[-1]
        place = observation.event.values.get(_PLACES.get(self.invariant.relation, ""))
        of_module = str(params.get("argument", "")).startswith("arg_self_")
        if isinstance(place, str) and not of_module:
            file, _, line = place.rpartition(":")
            where = Location(file, int(line), 1, int(line), 1)
            return observation.event._replace(where=where)
        unwanted = "absence" in params or "lacks" in params
        if placed and (unwanted or observation.event.where is None):
            return placed[-1]
        return observation.event


def fingerprint(code: str, where: Location) -> str:
    """Return a stable name of a finding: what, and where to mend it."""
    text = f"{code}\0{where.file}\0{where.function}\0{where.line}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _how(event: Event) -> frozenset[str]:
    """The condition that tells how something was done, as ``had_copy`` does."""
    how = event.values.get("how")
    return frozenset((f"had_{how}",)) if isinstance(how, str) else frozenset()


def _scalars(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in facts.items() if v is None or isinstance(v, bool | int | float | str)}


def _names(event: Event, history: History, facts: Mapping[str, Any]) -> dict[str, str]:
    names = {"origin": "", **{k: _shown(v) for k, v in _scalars(facts).items()}}
    for role in ("optimizer", "model"):
        numbers = event.subjects.get(role, ())
        first = history.first(numbers[0]) if numbers else None
        title = str((first.values if first else event.values).get("type", role))
        if first is not None and first.where is not None:
            how = "built" if first.kind.endswith(".new") else "first seen"
            title += f", {how} at {first.where.file}:{first.where.line}"
        names[role] = f"{role} ({title})"
    return names


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _filled(text: str, names: Mapping[str, str]) -> str:
    parts = []
    for literal, field, _, _ in Formatter().parse(text):
        parts.append(literal)
        if field is not None:
            parts.append(names.get(field, field))
    return "".join(parts)


def _witnesses(
    trail: tuple[Event, ...], cause: Event, event: Event, step: int | None
) -> tuple[Witness, ...]:
    chain = [e for e in trail if e.where is not None]
    if cause is not event and cause.where is not None and cause not in chain:
        chain.append(cause)
    seen: list[Witness] = []
    for link in (witness(e) for e in chain if e is not event):
        parts = bool(seen) and seen[-1].event == link.event == "model.new"
        if parts and not (cause.where and _is_at(seen[-1], cause.where)):
            seen.pop()  # parts of a model are made one after another; the whole comes last
        if not seen or (seen[-1].event, seen[-1].line) != (link.event, link.line):
            seen.append(link)
    if len(seen) > MAX_WITNESS:
        seen = [*seen[:2], *seen[-(MAX_WITNESS - 2) :]]
    if event.where is not None:
        last = witness(event)
        seen.append(Witness(last.file, last.line, last.event, step, last.rank, last.values))
    return tuple(seen)


def _is_at(link: Witness, where: Location) -> bool:
    return (link.file, link.line) == (where.file, where.line)


def witness(event: Event) -> Witness:
    """Return an event as a link of the chain."""
    where = event.where or UNKNOWN_PLACE
    values = {
        key: value
        for key, value in event.values.items()
        if isinstance(value, bool | int | float | str) and "." not in key
    }
    return Witness(where.file, where.line, event.kind, event.step, event.rank, values)
