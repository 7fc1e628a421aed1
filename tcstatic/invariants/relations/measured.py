"""Monitors of what calls are given, or give, that `argument` and `result` share: bounds of a
number, and how a value goes on over time."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Final, final

from tcstatic.invariants.relations.base import Params, observed
from tcstatic.invariants.relations.called import matcher
from tcstatic.invariants.relations.reading import Reads, exactly
from tcstatic.model import Event, Location, Observation

_BOUND: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "at_least": lambda value, bound: value >= bound,
    "above": lambda value, bound: value > bound,
    "at_most": lambda value, bound: value <= bound,
    "below": lambda value, bound: value < bound,
}
BOUNDS: Final = tuple(_BOUND)
OVER_TIME: Final = "over_time"
COURSES: Final = ("constant", "distinct", "rising", "changing")
# Over which calls a value goes on: those that belong together (`stream_of`), or all of a run.
STREAM: Final = "stream"
WHOLE_RUN: Final = "run"
# Values of one object's calls that are told apart; beyond them, none is known to come again.
MOST_REMEMBERED: Final = 10_000
# What is told of a tensor's source where it cannot be told.
UNKNOWN: Final = "?"
_ABSENT: Final = object()
_FLOATING: Final = ("float", "bfloat", "complex")
_Said = tuple[bool, Event] | None  # whether it holds, and the other event


def value_of(event: Event, name: str) -> Any:
    """A value of an event, or what its context says under this name; None where neither does."""
    if name in event.values:
        return event.values[name]
    if name == "result_type" and "result" in event.values:
        return type(event.values["result"]).__name__  # of what is told as it is
    return event.context.fields.get(name) if event.kind == "call" else None


def is_from(source: object, function: str) -> bool:
    """Whether what is told of a tensor's source is a result of a function, or a part of one."""
    return isinstance(source, str) and source.partition("[")[0] == function


def is_told_alike(field: str, expected: object) -> bool:
    """Whether a value says of another one what it is to be: a type of whole numbers or flags does
    not, as of them anything may be made."""
    floating = isinstance(expected, str) and expected.startswith(_FLOATING)
    return floating or not field.endswith("_dtype")


def check_bounds(params: Params) -> int:
    """Return how many sets of bounds there are; raise ValueError where a bound is no number."""
    found = [key for key in BOUNDS if key in params]
    for key in found:
        if isinstance(params[key], bool) or not isinstance(params[key], int | float):
            raise ValueError(f"{key}: expected a number")
    return int(bool(found))


def check_over_time(params: Params) -> None:
    """Raise ValueError where a value is to go on in a way that is none."""
    course = params.get(OVER_TIME, COURSES[0])
    if course not in COURSES:
        raise ValueError(f"{OVER_TIME}: {course!r}; expected one of {', '.join(COURSES)}")
    if params.get(STREAM, WHOLE_RUN) != WHOLE_RUN or (STREAM in params and OVER_TIME not in params):
        raise ValueError(f"{STREAM}: expected {WHOLE_RUN}, of a value {OVER_TIME}")


def object_of(event: Event) -> int:
    """The number of the object that a call is made on, 0 where it is on none."""
    return next(iter(event.subjects.get("self", ())), 0)


def stream_of(event: Event) -> object:
    """Which calls belong together over time: those on one object, or else at one place."""
    where = event.where
    return object_of(event) or (where and (where.file, where.line))


def as_made(event: Event) -> Event:
    """A call that a library makes, at the line where the user has made the object that makes it:
    it is that object's doing when, and in which mode, it is called."""
    file, _, line = str(event.values.get("maker", "")).rpartition(":")
    if not file:
        return event
    return event._replace(where=Location(file, int(line), 1, int(line), 1))


@final
class Bounded:
    """Judges a number by its bounds; what is not a number is not judged."""

    def __init__(self, label: str, field: str, params: Params) -> None:
        self._concerns, self._field = matcher(label), field
        self._bounds = [(_BOUND[key], params[key]) for key in BOUNDS if key in params]

    def feed(self, event: Event) -> Sequence[Observation]:
        """Judge an event."""
        got: Any = event.values.get(self._field)
        if type(got) not in (int, float) or not self._concerns(event):
            return ()
        holds = self._within(got)
        return (observed(event, (object_of(event),), holds=holds),)

    def _within(self, got: Any) -> bool:
        return all(within(got, bound) for within, bound in self._bounds)

    def reads(self) -> Reads:
        """Whether there is a number, and it is within the bounds."""
        return Reads({self._field: self._told})

    def _told(self, got: Any) -> Hashable:
        return self._within(got) if type(got) in (int, float) else None


@final
class NeverFrom:
    """Judges a tensor by the function whose result it is, where that is known."""

    def __init__(self, label: str, field: str, source: str) -> None:
        self._concerns, self._field, self._source = matcher(label), field, source

    def feed(self, event: Event) -> Sequence[Observation]:
        """Judge an event."""
        if not self._concerns(event):
            return ()
        if f"{self._field}_dtype" not in event.values:
            return ()
        holds = not is_from(event.values.get(f"{self._field}_from"), self._source)
        return (observed(event, (object_of(event),), holds=holds),)

    def reads(self) -> Reads:
        """Whether it is a tensor, and where it is from."""
        return Reads({f"{self._field}_dtype": exactly, f"{self._field}_from": exactly})


@final
class Changing:
    """Judges whether a call has changed what an object holds that it was made on, or given."""

    def __init__(self, params: Params) -> None:
        self._concerns = matcher(params["call"])
        self._wanted = "changes" in params
        self._field = f"after_{params['changes' if self._wanted else 'leaves']}_changed"

    def feed(self, event: Event) -> Sequence[Observation]:
        """Judge an event."""
        got = event.values.get(self._field)
        if type(got) is not bool or not self._concerns(event):
            return ()
        return (observed(event, (object_of(event),), holds=got == self._wanted),)

    def reads(self) -> Reads:
        """Whether it has changed."""
        return Reads({self._field: exactly})


@final
class OverTime:
    """Judges a value by those of earlier calls on the same object.

    State: by object, the event of the first value, or all values, or that of the last one.
    """

    def __init__(self, label: str, field: str, params: Params) -> None:
        self._concerns, self._field = matcher(label), field
        self._whole = STREAM in params
        self._judge = {
            "constant": self._stays,
            "distinct": self._is_new,
            "rising": self._grows,
            "changing": self._moves,
        }[params[OVER_TIME]]
        self._earlier: dict[object, Event] = {}
        self._values: dict[object, dict[object, Event]] = {}

    def feed(self, event: Event) -> Sequence[Observation]:
        """Judge an event by the earlier ones; the first is not judged."""
        if not self._concerns(event):
            return ()
        got = event.values.get(self._field, _ABSENT)
        if got is _ABSENT:
            return ()
        number = WHOLE_RUN if self._whole else stream_of(event)
        said = self._judge(number, event, (type(got), got))
        if said is None:
            return ()
        holds, other = said
        trail = () if holds else (other,)
        return (observed(event, (number,), holds=holds, trail=trail),)

    def standing(self, places: Mapping[int, int]) -> tuple[object, ...]:
        """The values that are remembered."""
        last = {n: e.values.get(self._field) for n, e in self._earlier.items()}
        return (*last.items(), *((n, tuple(v)) for n, v in self._values.items()))

    def _stays(self, number: object, event: Event, got: tuple[type, Any]) -> _Said:
        first = self._earlier.setdefault(number, event)
        if first is event:
            return None
        known = first.values[self._field]
        return (type(known), known) == got, first

    def _is_new(self, number: object, event: Event, got: object) -> _Said:
        known = self._values.setdefault(number, {})
        other = known.get(got)
        if other is None and len(known) < MOST_REMEMBERED:
            known[got] = event
        return (other is None, other or event) if len(known) > 1 or other is not None else None

    def _moves(self, number: object, event: Event, got: tuple[type, Any]) -> _Said:
        before = self._earlier.get(number)
        self._earlier[number] = event
        if before is None:
            return None
        known = before.values[self._field]
        return (type(known), known) != got, before

    def _grows(self, number: object, event: Event, got: tuple[type, Any]) -> _Said:
        before = self._earlier.get(number)
        self._earlier[number] = event
        if before is None:
            return None
        known = before.values[self._field]
        numbers = isinstance(known, int | float) and isinstance(got[1], int | float)
        return (got[1] > known, before) if numbers else None
