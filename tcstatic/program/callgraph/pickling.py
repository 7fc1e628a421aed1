"""Copies of objects: ``copy``, and ``pickle`` with what is like it, ask them for their state.

What ``dumps`` gives holds what was pickled, and ``loads`` gives it back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, final

from tcstatic.program.callgraph.builtin_calls import Model
from tcstatic.program.callgraph.effects import Call, Effects
from tcstatic.program.callgraph.machine import Instance
from tcstatic.program.callgraph.operations import Implicit, Invoke, Place
from tcstatic.program.callgraph.values import Kind, Value

DEEPEST = 4
"""Containers and objects inside one another that are looked into."""
_PICKLED = "pickle.Pickled"
_TOP, _INSIDE, _REDUCED, _STATE = "<pickled>", "<inside>", "<reduced>", "<state>"
_NEW_ARGUMENTS = ("__getnewargs_ex__", "__getnewargs__")


class Save(NamedTuple):
    """A value is asked for its state, and so is what it holds, up to a depth; first for `hook`."""

    hook: str
    kept: int
    target: int
    place: Place
    depth: int


class SaveTo(NamedTuple):
    """What a node holds is pickled into a file."""

    source: int
    place: Place


class Restore(NamedTuple):
    """Something is unpickled."""

    target: int
    place: Place


class Remake(NamedTuple):
    """An object is made anew from its state."""

    target: int
    place: Place


class Rebuild(NamedTuple):
    """What ``__reduce__`` returned is called."""

    target: int
    place: Place


def _dumped(effects: Effects, call: Call) -> None:
    site = effects.calls.site("pickled", call.invoke.site, call.instance.index)
    made = effects.machine.values.get(Kind.RESULT, _PICKLED, site)
    for node in effects.arguments(call)[:1]:
        _keep(effects, node, made, call.instance, call.place)
    effects.answer(call, made)


def _dumped_to(effects: Effects, call: Call) -> None:
    given = effects.arguments(call)
    for node in given[:1]:
        save = Save("", effects.machine.sink, effects.machine.sink, call.place, DEEPEST)
        effects.machine.use_once(node, save, call.instance)
        for file in given[1:2]:
            effects.machine.use_once(file, SaveTo(node, call.place), call.instance)


def _loaded(effects: Effects, call: Call) -> None:
    for node in effects.arguments(call)[:1]:
        effects.machine.use_once(node, Restore(call.target, call.place), call.instance)


def _copied(hook: str, depth: int) -> Model:
    def model(effects: Effects, call: Call) -> None:
        inside = effects.machine.node()
        for node in effects.arguments(call)[:1]:
            save = Save(hook, inside, call.target, call.place, depth)
            effects.machine.use_once(node, save, call.instance)
            remake = Remake(effects.machine.sink, call.place)
            effects.machine.use_once(inside, remake, call.instance)
            effects.returns(call, node)

    return model


def _keep(effects: Effects, node: int, made: Value, instance: Instance, place: Place) -> None:
    """Have what lies in a node, and inside of that, lie in what was pickled."""
    machine = effects.machine
    machine.link(node, machine.field(made, _TOP))
    save = Save("", machine.field(made, _INSIDE), machine.sink, place, DEEPEST)
    machine.use_once(node, save, instance)


@final
class Pickling:
    """Asks objects for their state, and makes objects of it."""

    def __init__(self, effects: Effects) -> None:
        self._effects = effects
        self._machine = effects.machine
        self._machine.handlers.update(
            {
                Save: self._save,
                SaveTo: self._save_to,
                Restore: self._restore,
                Remake: self._remake,
                Rebuild: self._rebuild,
            }
        )
        self._machine.interests[Save] = frozenset({Kind.INSTANCE, Kind.ITEMS})

    def _save(self, save: Save, instance: Instance, value: Value) -> None:
        machine = self._machine
        deeper = save._replace(depth=save.depth - 1, target=machine.sink)
        if machine.values.kind[value] is Kind.ITEMS:
            self._inside(self._effects.items.all(value), deeper, instance)
            return
        place = save.place
        if save.hook and self._ask(value, save.hook, save.target, instance, place):
            return
        machine.add(save.kept, value)
        reduced, state = machine.field(value, _REDUCED), machine.field(value, _STATE)
        for name in ("__reduce_ex__", "__reduce__"):
            if self._ask(value, name, reduced, instance, place):
                self._inside(reduced, deeper, instance)
                return
        for name in _NEW_ARGUMENTS:
            self._ask(value, name, machine.sink, instance, place)
        if self._ask(value, "__getstate__", state, instance, place):
            self._inside(state, deeper, instance)
        elif save.depth > 0:
            items = self._effects.items
            self._inside(items.all(items.attributes(value)), deeper, instance)

    def _inside(self, node: int, save: Save, instance: Instance) -> None:
        if save.depth >= 0:
            self._machine.use_once(node, save, instance)

    def _ask(
        self, value: Value, name: str, target: int, instance: Instance, place: Place, *given: int
    ) -> bool:
        """Call a method of an object, if it has it; return whether it does."""
        attributes = self._effects.attributes
        if not attributes.has_method(value, name):
            return False
        method = attributes.method(value, name)
        self._effects.calls.implicit(method, given, target, instance, place)
        return True

    def _save_to(self, save: SaveTo, instance: Instance, value: Value) -> None:
        if self._machine.values.kind[value] is Kind.RESULT:
            _keep(self._effects, save.source, value, instance, save.place)

    def _restore(self, restore: Restore, instance: Instance, value: Value) -> None:
        machine = self._machine
        if machine.values.kind[value] is Kind.RESULT:
            top, inside = machine.field(value, _TOP), machine.field(value, _INSIDE)
            machine.use_once(top, Remake(restore.target, restore.place), instance)
            machine.use_once(inside, Remake(machine.sink, restore.place), instance)
        if (
            machine.values.kind[value] is not Kind.RESULT
            or machine.values.data[value][0] != _PICKLED
        ):
            self._effects.attributes.opaque(restore.target)

    def _remake(self, remake: Remake, instance: Instance, value: Value) -> None:
        machine, classes = self._machine, self._effects.classes
        owner = classes.class_of(value)
        if owner is None:
            machine.add(remake.target, value)
            return
        attributes, place = self._effects.attributes, remake.place
        if any(attributes.has_method(value, name) for name in ("__reduce_ex__", "__reduce__")):
            rebuild = Rebuild(remake.target, place)
            machine.use_once(machine.field(value, _REDUCED), rebuild, instance)
            return
        machine.add(remake.target, value)
        receiver = machine.field(owner, "<self>")
        machine.add(receiver, owner)
        for node in classes.members(owner, "__new__"):
            self._effects.calls.implicit(node, (receiver,), machine.sink, instance, place)
        bases = [machine.values.data[base][0] for base in classes.foreign(owner)]
        if any(str(base).endswith(("Error", "Exception")) for base in bases):
            # exceptions are made again of their arguments
            self._ask(value, "__init__", machine.sink, instance, place)
        state = machine.field(value, _STATE)
        self._ask(value, "__setstate__", machine.sink, instance, place, state)

    def _rebuild(self, rebuild: Rebuild, instance: Instance, value: Value) -> None:
        """``function, arguments, state``"""
        machine, items = self._machine, self._effects.items
        if machine.values.kind[value] is not Kind.ITEMS:
            return
        function, given, state, made = (machine.node() for _ in range(4))
        for position, node in enumerate((function, given, state)):
            items.read(value, position, node)
        site = self._effects.calls.site("rebuilt", value, instance.index, rebuild.place)
        place = rebuild.place
        call = Invoke(~function, (~given,), (0,), (), ~made, place, site, "", False)
        machine.use(function, call, instance)
        machine.link(made, rebuild.target)
        restored = Implicit(~made, ("__setstate__",), (~state,), ~machine.sink, place)
        machine.use(made, restored, instance)


_LIBRARIES = ("pickle", "_pickle", "cloudpickle", "dill", "joblib", "torch")

PICKLES: Mapping[str, Model] = {
    **{f"{name}.dumps": _dumped for name in _LIBRARIES[:4]},
    **{f"{name}.dump": _dumped_to for name in _LIBRARIES[:5]},
    **{f"{name}.loads": _loaded for name in _LIBRARIES[:4]},
    **{f"{name}.load": _loaded for name in _LIBRARIES},
    "torch.save": _dumped_to,
    "copy.copy": _copied("__copy__", 0),
    "copy.deepcopy": _copied("__deepcopy__", DEEPEST),
    "copy.replace": _copied("__replace__", 0),
}
