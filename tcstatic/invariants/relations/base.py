"""What a relation is: a schema of parameters, what must be observed, and a monitor.

Checking, replay and inference are written once, elsewhere; they all run the same monitors.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final, Protocol, final, runtime_checkable

from tcstatic.invariants.conditions import compile_condition, parse
from tcstatic.model import (
    EVENT_KINDS,
    Context,
    Event,
    Hypothesis,
    Member,
    Needs,
    Observation,
    Vocabulary,
)

Params = Mapping[str, Any]
_SETS: Final = (frozenset, tuple)  # values that are no scalars


class Monitor(Protocol):
    """Fed events one by one, in order; returns what it could judge."""

    def feed(self, event: Event) -> Iterable[Observation]:
        """Return the observations that this event completes."""
        ...


@runtime_checkable
class Remembering(Protocol):
    """A monitor that remembers earlier events, and can tell which."""

    def standing(self, places: Mapping[int, int]) -> tuple[object, ...]:
        """Return all that it remembers, comparable; an event as its place, by ``id``, if any.

        Monitors of one standing say the same of the same events from here on.
        """
        ...


class Relation(Protocol):
    """A template of invariants. To add one: one file here with a class like the others."""

    name: ClassVar[str]

    def check(self, params: Params) -> None:
        """Raise ValueError, with the key concerned, if the parameters make no sense."""
        ...

    def needs(self, params: Params) -> Needs:
        """Return the events and the state that the monitor must be fed."""
        ...

    def monitor(self, params: Params) -> Monitor:
        """Return a fresh monitor."""
        ...

    def propose(self, vocabulary: Vocabulary) -> Iterator[Hypothesis]:
        """Return what traces suggest that speak of these things."""
        ...


RELATIONS: Final[dict[str, Relation]] = {}


def register(relation: type[Relation]) -> type[Relation]:
    """Make a relation known by its name; a name twice is an error."""
    if relation.name in RELATIONS:
        raise ValueError(f"relation {relation.name!r} is defined twice")
    RELATIONS[relation.name] = relation()
    return relation


def check_keys(params: Params, allowed: tuple[str, ...], required: tuple[str, ...] = ()) -> None:
    """Raise ValueError for a key that is unknown or missing, or whose value is of another type."""
    for key in params:
        if key not in allowed:
            raise ValueError(f"unknown key {key!r}; expected one of {', '.join(sorted(allowed))}")
    for key in required:
        if key not in params:
            raise ValueError(f"missing key {key!r}")
    for key, value in params.items():
        expected, fits = _TYPES.get(key, _TEXT)
        if not fits(value):
            raise ValueError(f"{key}: expected {expected}, got {reprlib.repr(value)}")


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _are_texts(value: object) -> bool:
    return isinstance(value, list | tuple) and len(value) > 0 and all(map(_is_text, value))


def _is_no_nan(value: object) -> bool:
    return value == value


def _is_scalar(value: object) -> bool:
    return value is None or (isinstance(value, bool | int | float | str) and value == value)


# What stands under a key, in any relation; under others stands text.
_TEXT: Final = ("text", _is_text)
_TYPES: Final[Mapping[str, tuple[str, Callable[[object], bool]]]] = {
    **dict.fromkeys(("between", "from", "into", "through"), ("a list of texts", _are_texts)),
    **dict.fromkeys(("at_least", "above", "at_most", "below"), ("a number", _is_no_nan)),
    **dict.fromkeys(("equals", "is"), ("text, a number, true, false or null", _is_scalar)),
    "each": ("true or false", lambda value: isinstance(value, bool)),
}


def event_kind(params: Params, key: str) -> str:
    """Return the event kind under `key`; raise ValueError if it is none."""
    value = params.get(key)
    if value not in EVENT_KINDS:
        raise ValueError(f"{key}: {value!r} is not an event kind")
    return str(value)


class Selection:
    """The members of an event that a condition over their fields selects.

    Several invariants select alike: the choice for the last event is kept, by the condition's text.
    """

    _event: ClassVar[Event | None] = None
    _chosen: ClassVar[dict[str, list[Member]]] = {}

    def __init__(self, text: str) -> None:
        self._text = text
        self._judge = compile_condition(parse(text)) if text else None

    def of(self, event: Event) -> list[Member]:
        """Return the members for which the condition is known to hold."""
        if Selection._event is not event:
            Selection._event, Selection._chosen = event, {}
        chosen = Selection._chosen.get(self._text)
        if chosen is None:
            chosen = Selection._chosen[self._text] = self._choose(event.members)
        return chosen

    def meets(self, member: Member) -> bool:
        """Whether the condition is known to hold for a member."""
        return self._judge is None or self._judge(member.fields) is True

    def _choose(self, members: tuple[Member, ...]) -> list[Member]:
        judge = self._judge
        if judge is None:
            return list(members)
        # Members of a trace that are alike share their fields.
        fields = {id(member.fields): member.fields for member in members}
        met = {one for one, said in fields.items() if judge(said) is True}
        return [member for member in members if id(member.fields) in met]


@final
class _Widest(Mapping[str, Any]):
    """The fields of an event's context, and over them the scalars among its values.

    Most are asked for one field or none, so they are merged only for who asks for all.
    """

    __slots__ = ("_event",)

    def __init__(self, event: Event) -> None:
        self._event = event

    def __getitem__(self, name: str) -> Any:
        values = self._event.values
        if name in values and not isinstance(values[name], _SETS):
            return values[name]
        return self._event.context.fields[name]

    def get(self, name: str, default: Any = None) -> Any:
        """Return one field."""
        values = self._event.values
        if name in values and not isinstance(values[name], _SETS):
            return values[name]
        return self._event.context.fields.get(name, default)

    def __iter__(self) -> Iterator[str]:
        fields, values = self._event.context.fields, self._event.values
        yield from fields
        yield from (k for k, v in values.items() if k not in fields and not isinstance(v, _SETS))

    def __len__(self) -> int:
        return sum(1 for _ in self)


class _Latest:
    """The last event asked for, with its context: many invariants ask for the same one."""

    event: Event | None = None
    context: Context = Context()


def context_of(event: Event) -> Context:
    """Return the event's context with the scalars among its values."""
    if _Latest.event is not event:
        _Latest.context = Context(_Widest(event), event.context.inferred)
        _Latest.event = event
    return _Latest.context


def widened(event: Event, fields: Mapping[str, Any]) -> Context:
    """Return the event's context with further fields."""
    return Context({**context_of(event).fields, **fields}, event.context.inferred)


def leaves_out(event: Event) -> bool:
    """Whether events are missing here: steps that are not watched, or calls that are not told."""
    return event.kind == "gap" or bool(event.values.get("sampled"))


def observed(
    event: Event,
    key: tuple[Any, ...],
    *,
    holds: bool,
    trail: tuple[Event, ...] = (),
    since: str = "",
) -> Observation:
    """Return an observation about the event as a whole.

    `since` names the value that tells the step in which it began, where that is not this one.
    """
    facts = event.values
    if since and not holds and event.values.get(since) is not None:
        facts = {**facts, "since": event.values[since]}
    return Observation(holds, event, context_of(event), key, facts, trail)


def about(event: Event, member: Member, *, holds: bool) -> Observation:
    """Return an observation about one member of the event."""
    facts = {**event.values, **member.fields, "parameter": member.name}
    return Observation(holds, event, widened(event, member.fields), (member.number,), facts)


def each_member(event: Event, members: Iterable[tuple[Member, bool]]) -> Sequence[Observation]:
    """Return an observation for each member that fails, and one for all that hold."""
    held = 0
    found = []
    for member, holds in members:
        if holds:
            held += 1
        else:
            found.append(about(event, member, holds=False))
    if held:
        found.append(Observation(True, event, context_of(event), (), event.values, (), held))
    return found
