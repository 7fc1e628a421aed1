"""How functions are used, in the runs that are remembered: what precedes what, how often, on which
objects.

Each question looks at each remembered event a bounded number of times; pairs of functions are
compared only where they share an object, follow one another, or agree in what they are given, and
then only neighbours (of three that come in one order in every run, the outer two are not compared).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, final

from tcstatic.invariants.relations.called import called_in, labels_of
from tcstatic.model import Event, Scalar, Vocabulary

# The events of a training step that calls are placed between.
STEPPING: Final = ("loss.backward", "optimizer.step")
PERIODS: Final = ("optimizer.step", "loop.epoch")
INNER: Final = frozenset(
    "loss.backward optimizer.step optimizer.zero_grad scheduler.step grad.clip model.forward "
    "model.train model.eval model.load model.mutate".split()
)
# What only training does: a call that never did it is not to begin with it.
TRAINING: Final = ("loss.backward", "optimizer.step", "optimizer.zero_grad", "model.train")
LEAST_ROUNDS: Final = 4  # of a loop, for what is so in each of them
SHARE: Final = 0.9
MOST_INNER: Final = 12  # functions that one contains, those called least often first
MOST_LOOKED_BACK: Final = 2_000  # events within one call
MOST_LABELS: Final = 200
MOST_ALIKE: Final = 400  # fields that are compared over functions
_Run = Sequence[tuple[Event, tuple[str, ...]]]
_Field = tuple[str, str]


def usage_of(vocabulary: Vocabulary) -> Usage:
    """How functions are used in what a vocabulary remembers; worked out once."""
    known = _Latest.usage
    if known is None or _Latest.vocabulary is not vocabulary:
        _Latest.vocabulary = vocabulary
        known = _Latest.usage = Usage(vocabulary.histories)
    return known


@final
class Usage:
    """What runs have in common. A label counts where it is that of a library's function, or of what
    a library knows a user's function as; torch's own are left out of all that is about order."""

    def __init__(self, histories: Mapping[str, Sequence[Event]]) -> None:
        self._runs: list[_Run] = [
            [(event, tuple(_known(event))) for event in events]
            for _, events in sorted(histories.items())
        ]
        seen: Counter[str] = Counter()
        for run in self._runs:
            seen.update({label for _, labels in run for label in labels if called_in(label)})
        ordered = sorted(seen, key=lambda label: (-seen[label], label))[:MOST_LABELS]
        self._in_runs = {label: seen[label] for label in ordered}
        self._courses: dict[_Field, tuple[Counter[str], int]] | None = None

    def _common(self, needed: int) -> list[str]:
        return [label for label, runs in self._in_runs.items() if runs >= needed]

    # -- values over time ---------------------------------------------------------------------

    def courses(self, label: str, field: str, needed: int) -> Iterator[str]:
        """How a value goes on from call to call: `constant`, or `rising`, or else `distinct`."""
        if self._courses is None:
            self._courses = self._all_courses()
        found, runs = self._courses.get((label, field), (Counter(), 0))
        if runs < needed:
            return
        if found["constant"] == runs:
            yield "constant"
        elif found["rising"] == runs:
            yield "rising"
        elif found["distinct"] == runs:
            yield "distinct"

    def _all_courses(self) -> dict[_Field, tuple[Counter[str], int]]:
        found: dict[_Field, tuple[Counter[str], int]] = {}
        for run in self._runs:
            by_object: dict[tuple[str, str, int], list[Any]] = defaultdict(list)
            for event, labels in run:
                number = next(iter(event.subjects.get("self", ())), 0)
                for label in labels:
                    for field, value in event.values.items():
                        if called_in(label) and _has_course(field, value):
                            by_object[label, field, number].append(value)
            of_field: dict[_Field, list[set[str]]] = defaultdict(list)
            for (label, field, _), values in by_object.items():
                if len(values) >= LEAST_ROUNDS:
                    of_field[label, field].append(_course(values))
            for key, every in of_field.items():
                courses, runs = found.setdefault(key, (Counter(), 0))
                courses.update(set.intersection(*every))
                found[key] = courses, runs + 1
        return found

    # -- how often ----------------------------------------------------------------------------

    def rates(self, needed: int) -> Iterator[tuple[str, str, int, int]]:
        """Calls between two steps, epochs, or calls of a neighbour: the least and the most."""
        wanted = [(of, per) for of in self._common(needed) for per in PERIODS]
        for of, per in [*wanted, *self._neighbours(needed)]:
            bounds = [found for run in self._runs if (found := _rate(run, of, per)) is not None]
            if len(bounds) >= needed:
                yield of, per, min(least for least, _ in bounds), max(most for _, most in bounds)

    def _neighbours(self, needed: int) -> Iterator[tuple[str, str]]:
        """Functions that take turns in every run: each with the next."""
        classes: dict[tuple[int, ...], list[str]] = defaultdict(list)
        common = self._common(needed)
        times = [Counter(label for _, labels in run for label in labels) for run in self._runs]
        for label in common:
            counts = tuple(one[label] for one in times)
            if max(counts) >= LEAST_ROUNDS:
                classes[counts].append(label)
        for labels in classes.values():
            for first, second in pairwise(labels):
                yield first, second
                yield second, first

    def once_per_object(self, needed: int) -> Iterator[str]:
        """Methods that are called once on each object."""
        most: dict[str, int] = {}
        for run in self._runs:
            counts: Counter[tuple[str, int]] = Counter()
            for event, labels in run:
                for number in event.subjects.get("self", ()):
                    counts.update((label, number) for label in labels)
            for (label, _), times in counts.items():
                most[label] = max(times, most.get(label, 0))
        yield from (one for one in self._common(needed) if most.get(one) == 1)

    # -- within calls -------------------------------------------------------------------------

    def contents(self, needed: int) -> Iterator[tuple[str, str, str]]:
        """What most calls of a function contain, and what of training those never do that run a
        model."""
        calls: Counter[str] = Counter()
        inner: dict[str, Counter[str]] = defaultdict(Counter)
        for run in self._runs:
            for index, (event, labels) in enumerate(run):
                lasted = event.values.get("lasted", 0)
                if not lasted or lasted > MOST_LOOKED_BACK:
                    continue
                within = _within(run, index, event.sequence - lasted)
                for label in labels:
                    calls[label] += 1
                    inner[label].update(within)
        for label in self._common(needed):
            found = inner[label]
            usual = [one for one, times in found.items() if times >= SHARE * calls[label]]
            named = sorted((one for one in usual if called_in(one)), key=lambda o: (found[o], o))
            for one in [*sorted(set(usual) & INNER), *named[:MOST_INNER]]:
                yield label, one, "contains"
            for one in TRAINING if found["model.forward"] else ():
                if not found[one]:
                    yield label, one, "lacks"

    # -- order --------------------------------------------------------------------------------

    def precedences(self, needed: int) -> Iterator[tuple[str, str, str]]:
        """First and last of what comes in one order on each object, and in each run: neighbours
        only."""
        common = self._common(needed)
        methods = [_by_object(run) for run in self._runs]
        streams = [stream for run in methods for stream in run if len(stream) > 1]
        yield from ((a, b, "self") for a, b in _ordered(streams, common, needed))
        whole = [[label for _, labels in run for label in labels] for run in self._runs]
        yield from ((a, b, "") for a, b in _ordered(whole, common, max(needed, 4)))

    def responses(self, needed: int) -> Iterator[tuple[str, str, str]]:
        """Methods after which another one is called before the run ends, on each object."""
        followed: Counter[tuple[str, str]] = Counter()
        called: Counter[str] = Counter()
        for run in self._runs:
            for stream in _by_object(run):
                last = {label: index for index, label in enumerate(stream)}
                called.update(last.keys())
                followed.update(
                    (a, b) for a, at in last.items() for b, then in last.items() if at < then
                )
        common = frozenset(self._common(needed))
        for (a, b), times in sorted(followed.items()):
            if times == called[a] >= needed and a in common and b in common:
                yield a, b, "self"

    def phases(self, needed: int) -> Iterator[tuple[str, str, tuple[str, str]]]:
        """In which part of a step a function is always called, or never."""
        backward, step = STEPPING
        for label in self._common(needed):
            for between in ((backward, step), (step, backward)):
                shares = [s for run in self._runs if (s := _share(run, label, between)) is not None]
                if len(shares) < needed:
                    continue
                if min(shares) >= SHARE:
                    yield "existence", label, between
                elif max(shares) <= 1 - SHARE:
                    yield "absence", label, between

    # -- over functions -----------------------------------------------------------------------

    def alike(self, needed: int) -> Iterator[tuple[_Field, _Field]]:
        """Fields of two functions that have one value in each run, and several over the runs."""
        chosen = [
            (key, runs)
            for key, runs in self._lasting().items()
            if len(runs) >= needed and len(set(runs.values())) >= needed
        ][:MOST_ALIKE]
        for index, (key, runs) in enumerate(chosen):
            for other, theirs in chosen[index + 1 :]:
                both = runs.keys() & theirs.keys()
                many = key[0] != other[0] and len({runs[n] for n in both}) >= needed
                if many and all(runs[n] == theirs[n] for n in both):
                    yield key, other
                    break  # with its next neighbour only

    def _lasting(self) -> dict[_Field, dict[int, Scalar]]:
        """Fields of functions that have one value in each run, with it."""
        values: dict[_Field, dict[int, Scalar]] = defaultdict(dict)
        torn: set[_Field] = set()
        for number, run in enumerate(self._runs):
            for event, labels in run:
                for label in filter(called_in, labels):
                    for field, value in event.values.items():
                        if _is_shared(field, value):
                            known = values[label, field].setdefault(number, value)
                            torn |= {(label, field)} if known != value else set()
        return {key: runs for key, runs in values.items() if key not in torn}


class _Latest:
    vocabulary: Vocabulary | None = None
    usage: Usage | None = None


def _known(event: Event) -> Iterator[str]:
    """The labels of an event that mean something to other programs."""
    if event.kind != "call":
        yield event.kind
        return
    for label in labels_of(event):
        name = called_in(label)
        own = event.values.get("own") and name == event.values.get("name")
        if not own and not name.startswith("torch."):
            yield label


def _has_course(field: str, value: object) -> bool:
    """Whether a value is told apart from those of other calls: no measurement, no size."""
    sizes = field.endswith(("_rows", "_length", "_ndim"))
    return type(value) in (int, str) and not sizes and field.startswith(("arg_", "result"))


def _course(values: list[Any]) -> set[str]:
    if len(set(values)) == 1:
        return {"constant"}
    found = set()
    if len(set(values)) == len(values):
        found.add("distinct")
        numbers = all(type(value) is int for value in values)
        if numbers and all(a < b for a, b in pairwise(values)):
            found.add("rising")
    return found


def _rate(run: _Run, of: str, per: str) -> tuple[int, int] | None:
    """The least and the most events of a label from one event of another to the next."""
    found: list[int] = []
    count: int | None = None
    seen = False
    for _, labels in run:
        if per in labels:
            if count is not None:
                found.append(count)
            count = 0
        if of in labels:
            seen = True
            count = count + 1 if count is not None else None
    if not seen or len(found) < LEAST_ROUNDS:
        return None
    return min(found), max(found)


def _share(run: _Run, what: str, between: tuple[str, str]) -> float | None:
    """In which share of the stretches between two events a third one lies; None for too few, or
    where it is not called in most rounds."""
    first, last = between
    opened = inside = False
    times = held = called = 0
    for _, labels in run:
        called += what in labels
        inside = inside or what in labels
        if last in labels and opened:
            times, held, opened = times + 1, held + inside, False
        if first in labels:
            opened, inside = True, False
    if times < LEAST_ROUNDS or called < times / 2:
        return None
    return held / times


def _within(run: _Run, index: int, begun: int) -> set[str]:
    found: set[str] = set()
    for event, labels in reversed(run[max(0, index - MOST_LOOKED_BACK) : index]):
        if event.sequence < begun:
            break
        found.update(labels)
    return found


def _by_object(run: _Run) -> list[list[str]]:
    """What was called on each object, in order."""
    found: dict[int, list[str]] = defaultdict(list)
    for event, labels in run:
        for number in event.subjects.get("self", ()):
            found[number] += labels
    return list(found.values())


def _ordered(
    streams: Sequence[Sequence[str]], common: Sequence[str], needed: int
) -> Iterator[tuple[str, str]]:
    """Pairs of which the first is there before the second wherever that is, without those that
    others imply."""
    firsts = []
    for stream in streams:
        first: dict[str, int] = {}
        for index, label in enumerate(stream):
            first.setdefault(label, index)
        firsts.append(first)
    before: dict[str, set[str]] = {}
    for last in common:
        having = [first for first in firsts if last in first]
        if len(having) >= needed:
            earlier = [{a for a, at in first.items() if at < first[last]} for first in having]
            before[last] = set.intersection(*earlier) & set(common)
    for last, every in before.items():
        implied = {far for near in every for far in before.get(near, ())}
        yield from ((first, last) for first in sorted(every - implied))


def _is_shared(field: str, value: object) -> bool:
    """Whether a value may be the same in two places for a reason."""
    if not field.startswith(("arg_", "result")) or field.endswith(("_rows", "_ndim", "_type")):
        return False
    if field.endswith(("_dtype", "_device")):
        return False
    return (type(value) is int and abs(value) > 1) or type(value) in (float, str)
