"""Runs -> the vocabulary that they speak, and their distinct events: one pass over the events.

Most events say what an earlier one said, but for when: they are counted, not kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, final

from tcstatic.infer import calls
from tcstatic.infer.between import Between, Turn
from tcstatic.infer.distinct import Distinct, Fields, askable
from tcstatic.infer.told import stretches_of
from tcstatic.invariants.relations.called import CALL
from tcstatic.invariants.relations.callproposing import agree_in_sort, is_comparable
from tcstatic.invariants.relations.proposing import is_passing
from tcstatic.model import (
    Event,
    FieldSeen,
    Group,
    Member,
    Scalar,
    Stretch,
    Vocabulary,
)
from tcstatic.model.hypotheses import Value

# Values of one field that are told apart; beyond them it is a measurement and proposed nowhere.
MOST_VALUES: Final = 64
# Events that are made at once.
CHUNK: Final = 512
# Pairs of fields are compared in this many distinct events of a group.
MOST_COMPARED: Final = 200
# What is told of values that says something where it agrees, though no program has another.
UNVARIED: Final = ("_dtype", "_rows")


@final
class Survey:
    """What was seen so far. State: distinct events by key, what lay between events about one
    object, and the `histories` of the calls of each run that has any."""

    def __init__(self) -> None:
        self._distinct: dict[object, Distinct] = {}
        self._values: dict[int, tuple[Mapping[str, Any], object]] = {}
        self.between = Between()
        self.runs: list[str] = []
        self.histories: dict[str, list[Event]] = {}

    def add(self, run: str, events: Iterable[Event | Stretch]) -> None:
        """Take all events of one run (of one rank, in their order)."""
        if run not in self.runs:
            self.runs.append(run)
        following = self.between.of_run(run)
        history: list[Event] = []
        called = False
        for stretch in stretches_of(events):
            history += _remembered(stretch, calls.MOST_REMEMBERED - len(history))
            turns: list[Turn | None] = []
            times = Counter(stretch.says)
            for number, event in enumerate(_firsts(stretch)):
                is_call = event.kind == CALL
                if is_call and not calls.is_told(event):
                    turns.append(())
                    continue
                called = called or is_call
                key = self._key(event)
                known = self._distinct.get(key)
                if known is None:
                    known = self._distinct[key] = _distinct(event)
                known.runs[run] += times[number]
                turns.append(() if is_call else following.turn(event, known))
            following.follow(map(turns.__getitem__, stretch.says))
        following.end()
        if called:
            self.histories[run] = history

    def restore(self, run: str, events: Iterable[tuple[Event, int]]) -> list[Distinct]:
        """Take the distinct events of one run, with how often each was said."""
        self.runs.append(run)
        found = []
        for event, times in events:
            key = self._key(event)
            known = self._distinct.get(key)
            if known is None:
                known = self._distinct[key] = _distinct(event)
            known.runs[run] += times
            found.append(known)
        return found

    def join(self, other: Survey) -> None:
        """Take what another survey has seen, as if its runs came after these."""
        self.runs += [run for run in other.runs if run not in self.runs]
        same: dict[Distinct, Distinct] = {}
        for key, theirs in other._distinct.items():
            ours = self._distinct.get(key)
            if ours is None:
                ours = Distinct(theirs.event, theirs.fields, theirs.members)
                self._distinct[key] = ours
            ours.runs.update(theirs.runs)
            same[theirs] = ours
        self.between.join(other.between, same)
        self.histories.update(other.histories)

    def __getstate__(self) -> tuple[Any, ...]:
        # addresses mean nothing in another process
        histories = {run: [*map(_portable, one)] for run, one in self.histories.items()}
        return self._distinct, self.between, self.runs, histories

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._distinct, self.between, self.runs, self.histories = state
        self._values = {}

    @property
    def distinct(self) -> tuple[Distinct, ...]:
        """All distinct events, in the order in which they were first seen."""
        return tuple(self._distinct.values())

    def vocabulary(self) -> Vocabulary:
        """What all of them speak of."""
        groups: dict[tuple[str, str], list[Distinct]] = {}
        for one in self._distinct.values():
            for group in groups_of(one.event):
                groups.setdefault(group, []).append(one)
        found = (_group(kind, name, every) for (kind, name), every in sorted(groups.items()))
        intervals = self.between.intervals()
        return Vocabulary(tuple(found), intervals, len(self.runs), self.histories)

    def _key(self, event: Event) -> object:
        """What tells an event from others, but for where and when."""
        if event.kind == CALL:
            return calls.key_of(event)
        values = event.values
        known = self._values.get(id(values))
        if known is None or known[0] is not values:
            said = tuple((k, type(v), v) for k, v in values.items() if not is_passing(k))
            # kept alive together: an address is used again
            known = self._values[id(values)] = (values, said)
        context = tuple((k, v) for k, v in event.context.fields.items() if not is_passing(k))
        return event.kind, known[1], context, _said_of(event.members)


def _firsts(stretch: Stretch) -> Iterator[Event]:
    """The first event of each number."""
    firsts = stretch.firsts
    for start in range(0, len(firsts), CHUNK):
        yield from stretch.made(firsts[start : start + CHUNK])


def _remembered(stretch: Stretch, most: int) -> list[Event]:
    """The first events that stand in the history of a run, so many at most."""
    found: list[Event] = []
    for start in range(0, len(stretch.says), CHUNK):
        if len(found) >= most:
            break
        places = range(start, min(start + CHUNK, len(stretch.says)))
        found += calls.remembered(stretch.made(places))
    return found[: max(most, 0)]


def groups_of(event: Event) -> list[tuple[str, str]]:
    """The kind of an event, and of a call the names of the function."""
    if event.kind != CALL:
        return [(event.kind, "")]
    return [(CALL, name) for name in calls.functions_of(event)]


def _said_of(members: tuple[Member, ...]) -> object:
    # Members of a trace that are alike share their fields.
    fields = {id(one.fields): one.fields for one in members}
    said = {
        key: tuple([(name, value) for name, value in one.items() if not is_passing(name)])
        for key, one in fields.items()
    }
    return tuple([said[id(one.fields)] for one in members])


def _distinct(event: Event) -> Distinct:
    event = _portable(event)
    if event.kind == CALL:
        return Distinct(event, calls.atoms_of(event), ())
    fields = askable({**event.context.fields, **event.values})
    members: dict[object, tuple[Member, Fields]] = {}
    for member in event.members:
        key = tuple(member.fields.items())
        if key not in members:
            members[key] = member, {**fields, **askable(member.fields)}
    return Distinct(event, fields, tuple(members.values()))


def _portable(event: Event) -> Event:
    """An event of dicts: no other mapping goes from process to process."""
    context = event.context._replace(fields=dict(event.context.fields))
    members = tuple(one._replace(fields=dict(one.fields)) for one in event.members)
    subjects, values = dict(event.subjects), dict(event.values)
    return event._replace(subjects=subjects, values=values, context=context, members=members)


def _group(kind: str, name: str, every: list[Distinct]) -> Group:
    if kind == CALL:
        told = ((calls.told_in(one.event), one.runs) for one in every)
        events = sum(one.runs.total() for one in every)
        return Group(kind, name, events, _seen(told, every))
    fields = _seen(((askable(one.event.values), one.runs) for one in every), every)
    members = _seen(
        (askable(member.fields), one.runs) for one in every for member, _ in one.members
    )
    sets = frozenset(
        name
        for one in every
        for name, value in one.event.values.items()
        if isinstance(value, frozenset)
    )
    events = sum(one.runs.total() for one in every)
    return Group(kind, name, events, fields, sets, members)


def _seen(
    every: Iterable[tuple[Fields, Counter[str]]], compared: list[Distinct] | None = None
) -> dict[str, FieldSeen]:
    values: dict[str, Counter[Value]] = {}
    runs: dict[str, dict[Value, set[str]]] = {}
    for fields, seen_in in every:
        times = seen_in.total()
        for name, value in fields.items():
            counts = values.setdefault(name, Counter())
            key = (type(value).__name__, value)
            if key in counts or len(counts) < MOST_VALUES:
                counts[key] += times
                runs.setdefault(name, {}).setdefault(key, set()).update(seen_in)
    equal = _equal(compared[:MOST_COMPARED]) if compared else {}
    return {
        name: FieldSeen(
            dict(counts),
            {key: len(one) for key, one in runs[name].items()},
            equal.get(name, {}) if len(counts) > 1 or name.endswith(UNVARIED) else {},
        )
        for name, counts in values.items()
    }


def _equal(every: list[Distinct]) -> dict[str, dict[str, tuple[int, int]]]:
    """For pairs of fields of one type that are no flags: how often they were equal."""
    found: dict[str, dict[str, tuple[int, int]]] = {}
    for one in every:
        call = one.event.kind == CALL
        said = sorted(
            (name, value)
            for name, value in askable(one.event.values).items()
            if (is_comparable(name, value) if call else _is_compared(value))
        )
        times = one.runs.total()
        for index, (name, value) in enumerate(said):
            for other, theirs in said[index + 1 :]:
                if type(value) is type(theirs) and (not call or agree_in_sort(name, other)):
                    same, both = found.setdefault(name, {}).get(other, (0, 0))
                    found[name][other] = same + times * (value == theirs), both + times
    return found


def _is_compared(value: Scalar) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)
