"""`call` events as learning takes them: what tells two apart, what a precondition may ask of them,
and the calls of a run in their order.

Calls alike but for measurements and sizes are one event with a count: numbers are told apart by
their sign and order of magnitude, and by which of them are equal to one another.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from tcstatic.infer.distinct import SCALARS, askable
from tcstatic.invariants.relations.called import CALL
from tcstatic.invariants.relations.callproposing import is_comparable
from tcstatic.invariants.relations.callusage import INNER, PERIODS
from tcstatic.invariants.relations.measured import value_of
from tcstatic.invariants.relations.proposing import is_argument, is_passing
from tcstatic.model import Event, Scalar

# Events of one run that are remembered in their order; of what comes later, none is.
MOST_REMEMBERED: Final = 20_000
_BETWEEN: Final = INNER | frozenset(PERIODS) | {"gap"}
_SIZES: Final = ("_rows", "_second", "_width", "_length")
# Numbers that stand for something else than a size: one of few choices, counted from the end.
_EXACT: Final = range(-1_000, 3)
# What a precondition may ask of a context, and of what was given.
_CONTEXT: Final = ("grad_enabled", "loss_scaled")
_TOLD: Final = ("autocast",)
_LONGEST: Final = 24


def is_told(event: Event) -> bool:
    """Whether something can be learnt of a call: of the user's own functions, only where a library
    knows them as something."""
    return not event.values.get("own") or "role" in event.values


def functions_of(event: Event) -> Iterator[str]:
    """By which names other programs may know what is called: by what a library knows it as, and
    where that is no more than torch's own, by its name too."""
    role, name = event.values.get("role"), event.values.get("name")
    if isinstance(role, str):
        yield role
    general = not isinstance(role, str) or role.startswith("torch.")
    if isinstance(name, str) and general and not event.values.get("own"):
        yield name


def key_of(event: Event) -> object:
    """What tells a call from others."""
    where = event.where
    place = (where.file, where.line) if where is not None else None
    values = event.values
    said = tuple((k, type(v), _rough(v)) for k, v in values.items() if not is_passing(k))
    sizes = [v for k, v in values.items() if is_comparable(k, v) and type(v) is int]
    alike = tuple(sizes.index(v) for v in sizes)
    grad = event.context.fields.get("grad_enabled")
    return CALL, values.get("name"), place, said, alike, grad, event.context.fields.get(_CONTEXT[1])


def _rough(value: Any) -> object:
    if type(value) is int and value not in _EXACT:
        return (value > 0) - (value < 0), len(str(abs(value)))
    if type(value) is not float or value in (0.0, 1.0, -1.0):
        return value
    if not math.isfinite(value):
        return str(value)
    return math.copysign(1, value), math.floor(math.log10(abs(value)))


def atoms_of(event: Event) -> dict[str, Scalar]:
    """What a precondition may ask of a call: its context, and of what it was given flags, words and
    kinds of values; no size, no measurement, nothing that came of it."""
    fields = event.context.fields
    found: dict[str, Scalar] = {k: fields[k] for k in _CONTEXT if k in fields}
    for name, value in event.values.items():
        if (name.startswith("arg_") or name in _TOLD) and _is_asked(name, value):
            found[name] = value
    return found


def _is_asked(name: str, value: Any) -> bool:
    if name.endswith(_SIZES) or is_passing(name):
        return False
    if type(value) is int:
        return name.endswith("_ndim") or value in (0, 1)
    return value is None or type(value) is bool or (type(value) is str and len(value) <= _LONGEST)


def told_in(event: Event) -> Mapping[str, Scalar]:
    """All that is said of a call, for proposals; of time and place, what it was given."""
    more = {k: event.context.fields[k] for k in _CONTEXT if k in event.context.fields}
    said = {"result_type": value_of(event, "result_type"), **more, **event.values}
    given = {k: v for k, v in said.items() if is_argument(k) and isinstance(v, SCALARS)}
    return {**askable(said), **given}


def remembered(events: Iterable[Event]) -> Iterator[Event]:
    """The events of a run that stand in its history."""
    for event in events:
        if event.kind in _BETWEEN or (event.kind == CALL and is_told(event)):
            context = event.context._replace(fields=_dict(event.context.fields))
            yield event._replace(members=(), values=_dict(event.values), context=context)


def _dict(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields as a dict: no other mapping goes from process to process. A trace has dicts, shared by
    events that say the same."""
    return fields if type(fields) is dict else dict(fields)


def end_of(history: list[Event]) -> Event | None:
    """What stands for the end of a run; None where not all of it is remembered."""
    if not history or len(history) >= MOST_REMEMBERED:
        return None
    last = history[-1]
    return Event("end", last.sequence + 1, None, step=last.step, epoch=last.epoch, rank=last.rank)
