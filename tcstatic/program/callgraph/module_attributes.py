"""Attributes of modules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcstatic.program.callgraph.machine import Instance, Machine
from tcstatic.program.callgraph.operations import Load
from tcstatic.program.callgraph.values import Kind, Value

if TYPE_CHECKING:
    from tcstatic.program.callgraph.calls import Calls

_GETTER = "__getattr__"
_OF_MODULES = frozenset({"__name__", "__doc__", "__file__", "__dict__", "__package__", "__spec__",
                         "__loader__", "__cached__", "__builtins__", "__class__"})  # fmt: skip


def load_module(
    machine: Machine, calls: Calls, load: Load, instance: Instance, value: Value
) -> None:
    """``module.name``: a variable, a module inside, or what ``__getattr__`` gives."""
    modules = machine.program.modules
    module = modules.all[machine.values.data[value][0]]
    target = instance.at(load.target)
    name = load.attribute
    if name in module.variables:
        machine.link(module.variables[name], target)
        if name in module.bindings.bound:
            return
    inside = modules.inside(module, name)
    if inside is not None:
        machine.add(target, machine.values.get(Kind.MODULE, inside.index))
    elif module.tree is None:
        machine.add(target, machine.values.get(Kind.EXTERNAL, f"{module.name}.{name}"))
    else:
        machine.link(machine.field(value, name), target)
        for star in module.external_stars:
            machine.add(target, machine.values.get(Kind.EXTERNAL, f"{star}.{name}"))
        getter = module.variables.get(_GETTER)
        if getter is not None and name not in _OF_MODULES:
            key = machine.field(value, f"<name {name}>")
            machine.add(key, machine.values.get(Kind.TEXT, name))
            calls.implicit(getter, (key,), target, instance, load.place)
