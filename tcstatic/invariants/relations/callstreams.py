"""What one run tells of its calls: pure functions over its remembered events."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Final

from tcstatic.invariants.relations.called import label_of_call
from tcstatic.invariants.relations.sequences import objects_of
from tcstatic.model import Event

Run = Sequence[tuple[Event, tuple[str, ...]]]
"""The events of a run, each with the labels that count."""
_DESCRIBING: Final = tuple(
    "_rows _second _length _ndim _width _type _from _dtype _device _keys _optimized".split()
)
LEAST_ROUNDS: Final = 4  # of a loop, for what is so in each of them
MOST_LOOKED_BACK: Final = 2_000  # events within one call


def labels_known(event: Event) -> Iterator[str]:
    """The labels of an event that mean something to other programs."""
    if event.kind != "call":
        yield event.kind
        return
    role, name = event.values.get("role"), event.values.get("name")
    if isinstance(role, str):
        yield label_of_call(role)
    elif isinstance(name, str) and not (event.values.get("own") or name.startswith("torch.")):
        yield label_of_call(name)


def has_course(field: str, value: object) -> bool:
    """Whether a value is told apart from those of other calls: no measurement, no size."""
    sizes = field.endswith(_DESCRIBING)
    given = field.startswith("arg_")
    kinds = (int, str, float) if given else (int, str)
    return type(value) in kinds and not sizes and (given or field.startswith("result"))


def course_of(values: list[Any]) -> set[str]:
    """In which ways values go on."""
    if len(set(values)) == 1:
        return {"constant"} if len(values) >= LEAST_ROUNDS else set()
    if any(type(value) is not int for value in values):
        return set()
    found = set()
    if all(a != b for a, b in pairwise(values)):
        found.add("changing")
    if len(set(values)) == len(values):
        found.add("distinct")
    if all(a < b for a, b in pairwise(values)):
        found.add("rising")
    return found


def rate(run: Run, of: str, per: str) -> tuple[int, int] | None:
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


def share_of(run: Run, what: str, between: tuple[str, str]) -> float | None:
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


def within_call(run: Run, index: int, begun: int) -> tuple[set[str], set[str]]:
    """What lies within a call: what it does itself, and all."""
    direct: set[str] = set()
    every: set[str] = set()
    nested = run[index][0].sequence
    for event, labels in reversed(run[max(0, index - MOST_LOOKED_BACK) : index]):
        if event.sequence < begun:
            break
        every.update(labels)
        if event.sequence < nested:
            direct.update(labels)
            nested = event.sequence - event.values.get("lasted", 0)
    return direct, every


def called_by_users(run: Run) -> set[str]:
    """What is called outside of all calls of a library, or by what a user has put into them."""
    found: set[str] = set()
    around: list[tuple[int, bool]] = []  # calls that later events lie in, by where they begin
    for event, labels in reversed(run):
        while around and event.sequence < around[-1][0]:
            around.pop()
        if event.kind == "call" and not (around and around[-1][1]):
            found.update(labels)
        if event.values.get("lasted"):
            begun = event.sequence - event.values["lasted"]
            around.append((begun, not event.values.get("own")))
    return found


def by_object(run: Run) -> list[list[str]]:
    """What was called on each object, or with it, in order."""
    found: dict[int, list[str]] = defaultdict(list)
    for event, labels in run:
        for number in objects_of(event):
            found[number] += labels
    return list(found.values())


def between(stream: list[str], first: str, last: str) -> Iterator[set[str]]:
    """What lies between each last event of a label and the next of another."""
    within: set[str] | None = None
    for label in stream:
        if label == last and within is not None:
            yield within
            within = None
        if label == first:
            within = set()
        elif within is not None:
            within.add(label)


def ordered(
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


def is_shared(field: str, value: object) -> bool:
    """Whether a value may be the same in two places for a reason."""
    kinds = ("_rows", "_ndim", "_type", "_optimized")
    if not field.startswith(("arg_", "result")) or field.endswith(kinds):
        return False
    if field.endswith(("_dtype", "_device")):
        return False
    return (type(value) is int and abs(value) > 1) or type(value) in (float, str)
