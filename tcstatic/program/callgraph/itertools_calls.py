"""What the functions of itertools give."""

from __future__ import annotations

from collections.abc import Mapping

from tcstatic.program.callgraph.builtin_calls import BUILTINS, Model, collect, unpacked
from tcstatic.program.callgraph.effects import Call, Effects


def _chained(effects: Effects, call: Call) -> None:
    made = effects.container(call, "itertools.chain")
    for node in effects.arguments(call):
        effects.holds(made, None, effects.stream(call, made, node))
    effects.answer(call, made)


def _flattened(effects: Effects, call: Call) -> None:
    made = effects.container(call, "itertools.chain")
    for node in effects.arguments(call)[:1]:
        effects.holds(made, None, effects.stream(call, made, effects.stream(call, made, node)))
    effects.answer(call, made)


def _tested(effects: Effects, call: Call) -> None:
    """``takewhile``, ``dropwhile`` and ``filterfalse``"""
    given = effects.arguments(call)
    if len(given) > 1:
        made = effects.container(call, "itertools.filterfalse")
        node = effects.stream(call, made, given[1])
        effects.defer(call, made, given[0], [node])
        effects.holds(made, None, node)
        effects.answer(call, made)


def _accumulated(effects: Effects, call: Call) -> None:
    given = effects.arguments(call)
    if given:
        made = effects.container(call, "itertools.accumulate")
        node = effects.stream(call, made, given[0])
        effects.holds(made, None, node)
        function = effects.argument(call, 1, "func")
        if function is not None:
            running = effects.machine.node()
            effects.machine.link(node, running)
            effects.defer(call, made, function, [running, node], running)
            effects.holds(made, None, running)
        effects.answer(call, made)


def _starmap(effects: Effects, call: Call) -> None:
    given = effects.arguments(call)
    if len(given) > 1:
        made = effects.container(call, "itertools.starmap")
        parts = unpacked(effects, call, effects.stream(call, made, given[1]), 3)
        effects.holds(made, None, effects.defer(call, made, given[0], parts))
        effects.answer(call, made)


def _rows(effects: Effects, call: Call) -> None:
    """``product``, ``permutations``, ``combinations``, ``pairwise``"""
    made, row = effects.container(call, "itertools.product"), effects.container(call, "tuple", 1)
    for node in effects.arguments(call):
        effects.holds(row, None, effects.stream(call, made, node))
    effects.machine.add(effects.items.rest(made), row)
    effects.answer(call, made)


def _repeat(effects: Effects, call: Call) -> None:
    made = effects.container(call, "itertools.repeat")
    for node in effects.arguments(call)[:1]:
        effects.holds(made, None, node)
    effects.answer(call, made)


def _group(effects: Effects, call: Call) -> None:
    made, row = effects.container(call, "itertools.groupby"), effects.container(call, "tuple", 1)
    group = effects.container(call, "itertools.group", 2)
    for node in effects.arguments(call)[:1]:
        elements = effects.stream(call, made, node)
        effects.holds(group, None, elements)
        key = effects.argument(call, 1, "key")
        if key is not None:
            effects.holds(row, 0, effects.defer(call, made, key, [elements]))
    own = effects.machine.node()
    effects.machine.add(own, made)
    effects.iteration.laziness.over(group, own, call.instance)
    effects.machine.add(effects.items.item(row, 1), group)
    effects.machine.add(effects.items.rest(made), row)
    effects.answer(call, made)


ITERTOOLS: Mapping[str, Model] = {
    "itertools.chain": _chained,
    "itertools.chain.from_iterable": _flattened,
    "itertools.islice": collect("itertools.islice"),
    "itertools.cycle": collect("itertools.cycle"),
    "itertools.compress": collect("itertools.compress"),
    "itertools.takewhile": _tested,
    "itertools.dropwhile": _tested,
    "itertools.filterfalse": _tested,
    "itertools.accumulate": _accumulated,
    "itertools.starmap": _starmap,
    "itertools.product": _rows,
    "itertools.permutations": _rows,
    "itertools.combinations": _rows,
    "itertools.pairwise": _rows,
    "itertools.zip_longest": lambda effects, call: BUILTINS["zip"](effects, call),
    "itertools.repeat": _repeat,
    "itertools.groupby": _group,
}
