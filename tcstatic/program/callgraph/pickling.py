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

_PICKLED = "pickle.Pickled"
_TOP, _INSIDE, _REDUCED, _STATE = "<pickled>", "<inside>", "<reduced>", "<state>"
_REDUCE = ("__reduce_ex__", "__reduce__")
_NEW_ARGUMENTS = ("__getnewargs_ex__", "__getnewargs__")
_HOOKS = (*_REDUCE, *_NEW_ARGUMENTS, "__getstate__", "__setstate__", "__new__")


class Save(NamedTuple):
    """A value is asked for its state, first by `hook`; where `deep`, so is what it holds."""

    hook: str
    kept: int
    target: int
    place: Place
    deep: bool


class Ask(NamedTuple):
    """An object that has a method for it is asked for its state."""

    hook: str
    kept: int
    place: Place


class Reach(NamedTuple):
    """Whoever is asked for its state, with what lies in a value, flows to a node."""

    hook: str
    target: int


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
        save = Save("", effects.machine.sink, effects.machine.sink, call.place, True)
        effects.machine.use_once(node, save, call.instance)
        for file in given[1:2]:
            effects.machine.use_once(file, SaveTo(node, call.place), call.instance)


def _loaded(effects: Effects, call: Call) -> None:
    for node in effects.arguments(call)[:1]:
        effects.machine.use_once(node, Restore(call.target, call.place), call.instance)


def _copied(hook: str, *, deep: bool) -> Model:
    def model(effects: Effects, call: Call) -> None:
        inside = effects.machine.node()
        for node in effects.arguments(call)[:1]:
            save = Save(hook, inside, call.target, call.place, deep)
            effects.machine.use_once(node, save, call.instance)
            remake = Remake(effects.machine.sink, call.place)
            effects.machine.use_once(inside, remake, call.instance)
            effects.returns(call, node)

    return model


def _keep(effects: Effects, node: int, made: Value, instance: Instance, place: Place) -> None:
    """Have what lies in a node, and inside of that, lie in what was pickled."""
    machine = effects.machine
    machine.link(node, machine.field(made, _TOP))
    save = Save("", machine.field(made, _INSIDE), machine.sink, place, True)
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
                Ask: self._state,
                Reach: self._reach,
                SaveTo: self._save_to,
                Restore: self._restore,
                Remake: self._remake,
                Rebuild: self._rebuild,
            }
        )
        for operation in (Save, Reach):
            self._machine.interests[operation] = frozenset({Kind.INSTANCE, Kind.ITEMS})

    def _save(self, save: Save, instance: Instance, value: Value) -> None:
        if save.hook and self._ask(value, save.hook, save.target, instance, save.place):
            return
        machine = self._machine
        ask = Ask(save.hook, save.kept, save.place)
        if save.deep:
            machine.use_once(self._reached(value, save.hook), ask, instance)
        elif machine.values.kind[value] is Kind.INSTANCE:
            self._state(ask, instance, value)

    def _reached(self, value: Value, hook: str) -> int:
        """Return one node, for all who save a value, with who is asked for its state."""
        machine, items = self._machine, self._effects.items
        name = f"<saved {hook}>"
        if name in machine.fields.get(value, {}):
            return machine.fields[value][name]
        target = machine.field(value, name)
        has_method = self._effects.attributes.has_method
        inside = items.all(value)
        if machine.values.kind[value] is Kind.INSTANCE:
            if has_method(value, hook) or self._is_asked(value):
                machine.add(target, value)
            if hook and has_method(value, hook):
                return target
            if any(has_method(value, one) for one in _REDUCE):
                inside = machine.field(value, _REDUCED)
            elif has_method(value, "__getstate__"):
                inside = machine.field(value, _STATE)
            else:
                inside = items.all(items.attributes(value))
        machine.use(inside, Reach(hook, target), machine.instances[0])
        return target

    def _reach(self, reach: Reach, instance: Instance, value: Value) -> None:
        self._machine.link(self._reached(value, reach.hook), reach.target)

    def _is_asked(self, value: Value) -> bool:
        attributes = self._effects.attributes
        return self._is_exception(value) or any(
            attributes.has_method(value, name) for name in _HOOKS
        )

    def _is_exception(self, value: Value) -> bool:
        data = self._machine.values.data
        bases = self._effects.classes.foreign(data[value][0])
        return any(str(data[base][0]).endswith(("Error", "Exception")) for base in bases)

    def _state(self, ask: Ask, instance: Instance, value: Value) -> None:
        machine, place = self._machine, ask.place
        if ask.hook and self._ask(value, ask.hook, machine.sink, instance, place):
            return
        machine.add(ask.kept, value)
        for name in _REDUCE:
            if self._ask(value, name, machine.field(value, _REDUCED), instance, place):
                return
        for name in _NEW_ARGUMENTS:
            self._ask(value, name, machine.sink, instance, place)
        self._ask(value, "__getstate__", machine.field(value, _STATE), instance, place)

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
        if any(attributes.has_method(value, name) for name in _REDUCE):
            rebuild = Rebuild(remake.target, place)
            machine.use_once(machine.field(value, _REDUCED), rebuild, instance)
            return
        machine.add(remake.target, value)
        receiver = machine.field(owner, "<self>")
        machine.add(receiver, owner)
        for node in classes.members(owner, "__new__"):
            self._effects.calls.implicit(node, (receiver,), machine.sink, instance, place)
        if self._is_exception(value):
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
    "copy.copy": _copied("__copy__", deep=False),
    "copy.deepcopy": _copied("__deepcopy__", deep=True),
    "copy.replace": _copied("__replace__", deep=False),
}
