"""What the functions of heapq and bisect give, and whom they ask for the order."""

from __future__ import annotations

from collections.abc import Mapping

from tcstatic.program.callgraph.builtin_calls import Model
from tcstatic.program.callgraph.effects import Call, Effects

_LESS = ("__lt__", "__gt__")


def _heap(*, takes: int = -1, gives: bool = False) -> Model:
    """Return the model of a function of a list, whose argument `takes` it puts there."""

    def model(effects: Effects, call: Call) -> None:
        given = effects.arguments(call)
        if not given:
            return
        elements = effects.elements(call, given[0])
        if 0 < takes < len(given):
            effects.wrap(call, given[0], "push", other=given[takes])
        effects.protocol(call, elements, _LESS, (elements,))
        if gives:
            effects.returns(call, elements)

    return model


def _largest(effects: Effects, call: Call) -> None:
    """``nlargest``, ``nsmallest`` and ``merge``"""
    made = effects.container(call, "list")
    given = effects.arguments(call)
    is_merge = effects.path(call).endswith("merge")
    key = effects.argument(call, -1 if is_merge else 2, "key")
    for tag, node in enumerate(given if is_merge else given[1:2]):
        elements = effects.elements(call, node)
        effects.holds(made, None, elements)
        compared = elements if key is None else effects.apply(call, key, [elements], tag=tag)
        effects.protocol(call, compared, _LESS, (compared,))
    effects.answer(call, made)


HEAPS: Mapping[str, Model] = {
    "heapq.heappush": _heap(takes=1),
    "heapq.heappop": _heap(gives=True),
    "heapq.heappushpop": _heap(takes=1, gives=True),
    "heapq.heapreplace": _heap(takes=1, gives=True),
    "heapq.heapify": _heap(),
    "heapq.nlargest": _largest,
    "heapq.nsmallest": _largest,
    "heapq.merge": _largest,
    "bisect.insort": _heap(takes=1),
    "bisect.insort_left": _heap(takes=1),
    "bisect.insort_right": _heap(takes=1),
}
