"""The fields of a `call` event, made of what is kept of its arguments and of its result."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from tcstatic.runtime.probes.callees import Callee
from tcstatic.runtime.probes.summaries import Brief, Scalar, brief_of, fields_of

MOST_FIELDS: Final = 48  # of one event
MOST_RESULT_FIELDS: Final = 16  # of them, where the arguments have many
_PLAIN: Final = (bool, int, float, str, type(None))


def fields_told(
    callee: Callee, given: Iterable[tuple[str, Brief]], result: Brief
) -> dict[str, Scalar]:
    """All fields of one event that tell of values, within their limit; what is not given is what
    stands for it."""
    names = callee.parameters
    said: dict[str, Brief] = {}
    after: dict[str, Scalar] = {}
    for name, brief in given:
        if name.startswith("after_"):
            after[name if name != "after_maker" else "maker"] = brief[2]
            continue
        place, _, more = name.partition("_")
        if place.isdigit():
            name = names[int(place)] if int(place) < len(names) else place
            name += f"_{more}" if more else ""
        said[name] = brief
    for name, value in callee.defaults:
        if name not in said and type(value) in _PLAIN:
            said[name] = brief_of(value)
    arguments: dict[str, Scalar] = {}
    for name, brief in said.items():
        arguments.update(fields_of(f"arg_{name}", brief))
    results = dict(fields_of("result", result))
    room = MOST_FIELDS - 3  # the name, and what stands at the end
    left = len(arguments) + len(results) - room
    if left > 0:
        results = dict([*results.items()][: max(MOST_RESULT_FIELDS, room - len(arguments))])
        arguments = dict([*arguments.items()][: room - len(results)])
        results["fields_left_out"] = left
    own: dict[str, Scalar] = {"own": True} if callee.own else {}
    if callee.home is not None:
        own["home"] = f"{callee.home.file}:{callee.home.line}"
    return {"name": callee.name, **own, **after, **arguments, **results}


def more_told(autocast: str, role: str, lasted: int) -> Iterator[tuple[str, Scalar]]:
    """What an event tells besides: `role`, what a library knows the function as; `lasted`, how many
    places in the order of events lie within the call."""
    if autocast:
        yield "autocast", autocast
    if role:
        yield "role", role
    if lasted:
        yield "lasted", lasted
