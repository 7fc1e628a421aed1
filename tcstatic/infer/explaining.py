"""What an invariant that was learnt rests on, in words: which observations made its precondition.

Plain text, the same on a terminal and in a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, final

from tcstatic.errors import TcstaticError
from tcstatic.infer.distinct import Distinct, Fields
from tcstatic.infer.learning import Learned, reason
from tcstatic.infer.observing import Examples
from tcstatic.infer.wording import sentence
from tcstatic.invariants.conditions import (
    And,
    Condition,
    Or,
    compile_condition,
    fields_of,
    to_text,
)
from tcstatic.model import Event, Hypothesis

# Lines of one kind that are shown, and runs that are named in one of them.
MOST_LINES: Final = 12
MOST_RUNS: Final = 4
# Where neither the precondition nor `seen` asks anything, a context is told by these.
_USUAL: Final = frozenset({"stage", "grad_enabled", "type"})


@final
@dataclass(slots=True)
class _Row:
    """Contexts that say the same of what is asked, but for measurements: how often, in which runs,
    the first event, and the ends of each measurement."""

    example: str
    times: int = 0
    runs: set[str] = field(default_factory=set)
    ends: dict[str, tuple[float, float]] = field(default_factory=dict)

    def add(self, counts: Mapping[str, int], measured: Mapping[str, float]) -> None:
        """Count one context."""
        self.times += sum(counts.values())
        self.runs.update(counts)
        for name, value in measured.items():
            low, high = self.ends.get(name, (value, value))
            self.ends[name] = min(low, value), max(high, value)

    def measured(self) -> Iterator[str]:
        """Each measurement, with its ends."""
        for name, (low, high) in sorted(self.ends.items()):
            yield f"{name}={low:g}" if low == high else f"{name}={low:g}..{high:g}"


def explained(code: str, hypothesis: Hypothesis, one: Learned | None, examples: Examples) -> str:
    """What was observed of an invariant: what held and is kept, and what failed, each with its
    runs, an example, and the part of the precondition that excludes it. Where nothing is learnt of
    it any more, what held and what failed."""
    when = one.when if one is not None else None
    seen = one.seen if one is not None else None
    asked = fields_of(when) if when is not None else frozenset[str]()
    shown = asked | (fields_of(seen) if seen is not None else frozenset()) or _USUAL
    held = list(examples.cases(held=True))
    failed = list(examples.cases(held=False))
    lines = [f"{code} ({hypothesis.relation}): {sentence(hypothesis)}"]
    lines += [f"  about: {hypothesis.when}"] if hypothesis.when else []
    if one is None:
        lines += ["", "It was learnt before, and is not any more.", "", f"held: {_sum(held)}"]
        lines += [*_rows(held, shown), "", f"failed: {_sum(failed)}", *_rows(failed, shown)]
        return "\n".join([*lines, ""])
    lines += [f"  when:  {to_text(when) if when is not None else '(always)'}"]
    lines += [f"  seen:  {to_text(seen) if seen is not None else '(anywhere)'}"]
    applies = _judge(when)
    inside = [case for case in held if applies(case[0])]
    outside = [case for case in held if not applies(case[0])]
    lines += ["", f"kept, where it held and the precondition applies: {_sum(inside)}"]
    lines += _rows(inside, shown)
    if not failed:
        return "\n".join([*lines, "", "It failed nowhere: no precondition was needed.", ""])
    lines += ["", f"excluded, where it failed: {_sum(failed)}", *_rows(failed, asked, when)]
    if outside:
        lines += ["", f"left out, where it held as well: {_sum(outside)}"]
        lines += _rows(outside, asked, when)
    return "\n".join([*lines, "", f"the precondition: {_reason(examples)}", ""])


_Case = tuple[Fields, Mapping[str, int], Distinct]


def _sum(cases: Iterable[_Case]) -> str:
    every = list(cases)
    runs = {run for _, counts, _ in every for run in counts}
    times = sum(sum(counts.values()) for _, counts, _ in every)
    return f"{_many(times, 'time')}, in {_many(len(every), 'context')} of {_many(len(runs), 'run')}"


def _many(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number != 1 else ''}"


def _rows(
    cases: Iterable[_Case], shown: Iterable[str], when: Condition | None = None
) -> Iterator[str]:
    """Two lines for contexts that say the same: how often and where, and what they say; with a
    precondition, which part of it excludes them."""
    rows: dict[str, _Row] = {}
    asked = sorted(shown)
    for fields, counts, example in cases:
        measured = {n: v for n in asked if type(v := fields.get(n)) is float}
        said = [f"{n}={fields[n]!r}" for n in asked if n in fields and n not in measured]
        said += [f"no {n}" for n in asked if when is not None and n not in fields]
        excluded = f"excluded by {_excluding(when, fields)}: " if when is not None else ""
        rows.setdefault(excluded + ", ".join(said), _Row(_place(example.event, counts))).add(
            counts, measured
        )
    ordered = sorted(rows.items(), key=lambda item: (-item[1].times, item[0]))
    for told, row in ordered[:MOST_LINES]:
        yield f"  {row.times}x in {_named(row.runs)}, as at {row.example}"
        yield f"      {', '.join(part for part in (told, *row.measured()) if part)}"
    if len(ordered) > MOST_LINES:
        yield f"  and {_many(len(ordered) - MOST_LINES, 'other')}"


def _named(runs: Iterable[str]) -> str:
    names = sorted(runs)
    more = f" and {len(names) - MOST_RUNS} more" if len(names) > MOST_RUNS else ""
    return ", ".join(names[:MOST_RUNS]) + more


def _place(event: Event, counts: Mapping[str, int]) -> str:
    """Where an event was seen, which is one of the first run that is counted."""
    where = event.where
    place = f"{where.file}:{where.line}" if where is not None else "a place that is not known"
    return f"{place} ({event.kind} in {next(iter(counts))}, step {event.step})"


def _excluding(when: Condition, fields: Fields) -> str:
    """The literals that are not true in a context; of alternatives, those of each."""
    terms = when.items if isinstance(when, Or) else (when,)
    return "; ".join(
        " and ".join(to_text(part) for part in _literals(term) if not _judge(part)(fields))
        for term in terms
    )


def _literals(term: Condition) -> tuple[Condition, ...]:
    return term.items if isinstance(term, And) else (term,)


def _judge(condition: Condition | None) -> Callable[[Fields], bool]:
    if condition is None:
        return lambda fields: True
    judge = compile_condition(condition)
    return lambda fields: judge(fields) is True


def _reason(examples: Examples) -> str:
    try:
        return reason(examples)
    except TcstaticError as error:
        return str(error)
