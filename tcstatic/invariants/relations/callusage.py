"""How functions are used, in the runs that are remembered: what precedes what, how often, on which
objects.

Each question looks at each remembered event a bounded number of times; pairs of functions are
compared only where they share an object, follow one another, or agree in what they are given, and
then only neighbours (of three that come in one order in every run, the outer two are not compared).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise, product
from typing import Any, Final, final

from tcstatic.invariants.relations.bracketed import bracketed
from tcstatic.invariants.relations.called import called_in, label_of_call
from tcstatic.invariants.relations.callstreams import (
    LEAST_ROUNDS,
    MOST_LOOKED_BACK,
    Run,
    between,
    by_object,
    called_by_users,
    course_of,
    has_course,
    is_shared,
    labels_known,
    ordered,
    rate,
    share_of,
    within_call,
)
from tcstatic.invariants.relations.measured import stream_of
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
SHARE: Final = 0.9
MOST_INNER: Final = 12  # functions that one contains, those called least often first
MOST_METHODS: Final = 8  # of one class
CHANCE: Final = 0.01  # Daikon's confidence limit
MOST_PREPARING: Final = 8  # calls in a run of what only prepares it
LEAST_TURNS: Final = 2  # of two methods, for what is so in each of them
MOST_LABELS: Final = 200
MOST_ALIKE: Final = 400  # fields that are compared over functions
# Of models of users' own: the same program may train one of torch's layers by itself.
FORWARD: Final = label_of_call("torch.nn.Module.forward")
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
    """What runs have in common. An event counts under the label of what a library knows it as, or
    else of its function; torch's own functions are left out of all that is about order."""

    def __init__(self, histories: Mapping[str, Sequence[Event]]) -> None:
        self._runs: list[Run] = [
            [(event, tuple(labels_known(event))) for event in events]
            for _, events in sorted(histories.items())
        ]
        seen: Counter[str] = Counter()
        for run in self._runs:
            seen.update({label for _, labels in run for label in labels if called_in(label)})
        ordered = sorted(seen, key=lambda label: (-seen[label], label))[:MOST_LABELS]
        self._in_runs = {label: seen[label] for label in ordered}
        self._outer = {label for run in self._runs for label in called_by_users(run)}
        self._courses: dict[_Field, tuple[Counter[str], int]] | None = None

    def _common(self, needed: int, *, inner: bool = False) -> list[str]:
        """Functions that so many runs call: what a library calls by itself is not in the hands of a
        program, and only asked for where it is `inner` to something."""
        every = (label for label, runs in self._in_runs.items() if runs >= needed)
        return [label for label in every if inner or label in self._outer]

    # -- values over time ---------------------------------------------------------------------

    def courses(self, label: str, field: str, needed: int) -> Iterator[str]:
        """How a value goes on from call to call: the strongest that all runs agree on."""
        if self._courses is None:
            self._courses = self._all_courses()
        found, runs = self._courses.get((label, field), (Counter(), 0))
        if runs < needed:
            return
        for course in ("constant", "rising", "distinct", "changing"):
            if found[course] == runs:
                yield course
                break

    def kept(self, needed: int) -> Iterator[_Field]:
        """What is given alike in all calls of a run, and is a choice: programs differ in it so much
        that chance does not explain it. Not of what is called again and again: that is given what
        was measured, too."""
        once = self._lasting(has_course)
        often = {
            label
            for run in self._runs
            for label, times in Counter(one for _, labels in run for one in labels).items()
            if times > MOST_PREPARING
        }
        for key, runs in self._lasting(has_course, times=2).items():
            if key[0] in often:
                continue
            if len(runs) >= needed and len(set(once[key].values())) ** -len(runs) < CHANCE:
                yield key

    def _all_courses(self) -> dict[_Field, tuple[Counter[str], int]]:
        found: dict[_Field, tuple[Counter[str], int]] = {}
        for run in self._runs:
            by_object: dict[tuple[str, str, object], list[Any]] = defaultdict(list)
            for event, labels in run:
                number = stream_of(event)
                for label in labels:
                    for field, value in event.values.items():
                        if called_in(label) and has_course(field, value):
                            by_object[label, field, number].append(value)
            of_field: dict[_Field, list[set[str]]] = defaultdict(list)
            for (label, field, _), values in by_object.items():
                if len(values) > 1:
                    of_field[label, field].append(course_of(values))
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
            bounds = [found for run in self._runs if (found := rate(run, of, per)) is not None]
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
        """What every call of a function does itself, and what of training none ever does that runs
        a model."""
        calls: Counter[str] = Counter()
        direct: dict[str, Counter[str]] = defaultdict(Counter)
        inner: dict[str, set[str]] = defaultdict(set)
        for run in self._runs:
            for index, (event, labels) in enumerate(run):
                lasted = event.values.get("lasted", 0)
                for label in labels if event.kind == "call" and lasted <= MOST_LOOKED_BACK else ():
                    calls[label] += 1
                    if lasted:
                        near, every = within_call(run, index, event.sequence - lasted)
                        direct[label].update(near)
                        inner[label] |= every
        makers = self._makers()
        for label in self._common(needed, inner=True):
            found = direct[label]
            usual = [one for one, times in found.items() if times == calls[label]]
            if label in makers:
                usual = []  # what is given to a constructor may be made on the way
            named = sorted(one for one in usual if called_in(one) and one != label)
            for one in [*sorted(set(usual) & INNER), *named[:MOST_INNER]]:
                yield label, one, "contains"
            for one in TRAINING if "model.forward" in inner[label] else ():
                if one not in inner[label]:
                    yield label, one, "lacks"

    # -- order --------------------------------------------------------------------------------

    def precedences(self, needed: int) -> Iterator[tuple[str, str]]:
        """First and last of what comes in one order on each object: neighbours only."""
        streams = [stream for run in self._runs for stream in by_object(run) if len(stream) > 1]
        makers = self._makers()
        # an object that is made by a class of the user's is made by no other
        pairs = ordered(streams, self._common(needed), needed)
        yield from (pair for pair in pairs if pair[0] not in makers)

    def _makers(self) -> set[str]:
        return {
            label
            for run in self._runs
            for event, labels in run
            if "made" in event.subjects
            for label in labels
        }

    def finals(self, needed: int) -> Iterator[tuple[str, str]]:
        """What is never called again on an object once another thing was: first that, then this."""
        common = frozenset(self._common(needed))
        before: Counter[tuple[str, str]] = Counter()
        after: set[tuple[str, str]] = set()
        for run in self._runs:
            over, going = _followed(run, common)
            before.update(over - going)
            after |= going
        yield from (
            one for one, runs in sorted(before.items()) if runs >= needed and one not in after
        )

    def rewrites(self, needed: int) -> Iterator[tuple[str, str]]:
        """What never changes an object once another thing has changed it: first that, then this;
        of programs that do both, on whatever objects."""
        writers = self._writers()
        common = frozenset(self._common(needed)) & writers.keys()
        both: Counter[tuple[str, str]] = Counter()
        after: set[tuple[str, str]] = set()
        for run in self._runs:
            called = {label for _, labels in run for label in labels} & common
            both.update((a, b) for a in called for b in called)
            after |= _followed(run, common)[1]
        yield from (
            (a, b)
            for (a, b), runs in sorted(both.items())
            if runs >= needed and a != b and (a, b) not in after and writers[a] & writers[b]
        )

    def _writers(self) -> dict[str, set[str]]:
        """What changes an object whenever it is given one, by the names of what it is given."""
        found: dict[str, set[str]] = defaultdict(set)
        spared: dict[str, set[str]] = defaultdict(set)
        for run in self._runs:
            for event, labels in run:
                for field, value in event.values.items():
                    if field.endswith("_changed") and not field.startswith("after_self_"):
                        for label in labels:
                            (found if value else spared)[label].add(field)
        return {label: names - spared[label] for label, names in found.items()}

    def responses(self, needed: int) -> Iterator[tuple[str, str]]:
        """After which method another one is called before the run ends, on each object."""
        followed: dict[tuple[str, str], set[int]] = defaultdict(set)
        missed: set[tuple[str, str]] = set()
        common, makers = self._common(needed), self._makers()
        for number, run in enumerate(self._runs):
            for stream in by_object(run):
                last = {label: at for at, label in enumerate(stream)}
                for a, at in last.items():
                    for b in common:
                        if a != b and last.get(b, -1) > at:
                            followed[a, b].add(number)
                        elif a != b:
                            missed.add((a, b))
        for (a, b), runs in sorted(followed.items()):
            if len(runs) >= needed and (a, b) not in missed and a in common and b not in makers:
                yield a, b

    def turns(self, needed: int) -> Iterator[tuple[str, str, str]]:
        """First, last and what always comes between them, of the methods of one class, on each
        object."""
        classes: dict[str, list[str]] = defaultdict(list)
        for label in self._common(needed):
            classes[label.rpartition(".")[0]].append(label)
        streams = [by_object(run) for run in self._runs]
        for methods in classes.values():
            for first, last in product(methods[:MOST_METHODS], repeat=2):
                held: Counter[str] = Counter()
                runs = 0
                for stream in streams:
                    found = [within for one in stream for within in between(one, first, last)]
                    if len(found) >= LEAST_TURNS:
                        runs += 1
                        held.update(set.intersection(*found))
                    elif found:
                        held.update({one: 0 for one in methods})
                yield from (
                    (first, last, one)
                    for one in methods
                    if one not in (first, last) and held[one] == runs >= needed
                )

    def phases(self, needed: int) -> Iterator[tuple[str, str, tuple[str, str]]]:
        """In which part of a step a function is always called, or never."""
        backward, step = STEPPING
        for label in self._common(needed):
            for part in ((backward, step), (step, backward)):
                shares = [s for run in self._runs if (s := share_of(run, label, part)) is not None]
                if len(shares) < needed:
                    continue
                if min(shares) >= SHARE and label != FORWARD:
                    yield "existence", label, part
                elif max(shares) <= 1 - SHARE and not called_in(label).startswith("torch."):
                    yield "absence", label, part

    def brackets(self, needed: int) -> Iterator[tuple[tuple[str, str], str, str]]:
        """What opens and closes, and what is only called within it, or outside of it."""
        yield from bracketed(self._runs, self._common(needed), needed)

    # -- over functions -----------------------------------------------------------------------

    def alike(self, needed: int) -> Iterator[tuple[_Field, _Field]]:
        """Fields of two functions that have one value in each run, and several over the runs."""
        chosen = [
            (key, runs)
            for key, runs in self._lasting(is_shared).items()
            if len(runs) >= needed and len(set(runs.values())) >= needed
        ][:MOST_ALIKE]
        for index, (key, runs) in enumerate(chosen):
            for other, theirs in chosen[index + 1 :]:
                both = runs.keys() & theirs.keys()
                many = key[0] != other[0] and len({runs[n] for n in both}) >= needed
                if many and all(runs[n] == theirs[n] for n in both):
                    yield key, other
                    break  # with its next neighbour only

    def _lasting(
        self, is_asked: Callable[[str, object], bool], times: int = 1
    ) -> dict[_Field, dict[int, Scalar]]:
        """Fields of functions that have one value in each run, with it in each run in which it was
        told so many times."""
        values: dict[_Field, dict[int, Scalar]] = defaultdict(dict)
        told: Counter[tuple[_Field, int]] = Counter()
        torn: set[_Field] = set()
        for number, run in enumerate(self._runs):
            for event, labels in run:
                for label in filter(called_in, labels):
                    for field, value in event.values.items():
                        if is_asked(field, value):
                            key = (label, field)
                            told[key, number] += 1
                            known = values[key].setdefault(number, value)
                            torn |= {key} if known != value else set()
        return {
            key: {number: value for number, value in runs.items() if told[key, number] >= times}
            for key, runs in values.items()
            if key not in torn
        }


def _followed(
    run: Run, common: frozenset[str]
) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """Pairs of what is called on one object: the second is over when the first begins, or not."""
    over: set[tuple[str, str]] = set()
    going: set[tuple[str, str]] = set()
    for stream in by_object(run):
        first = {label: at for at, label in reversed([*enumerate(stream)])}
        last = {label: at for at, label in enumerate(stream)}
        for a in first.keys() & common:
            for b in last.keys() & common - {a}:
                (over if last[b] < first[a] else going).add((a, b))
    return over, going


class _Latest:
    vocabulary: Vocabulary | None = None
    usage: Usage | None = None
