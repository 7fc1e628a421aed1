"""What methods do that the program's classes inherit from libraries."""

from __future__ import annotations

from fnmatch import fnmatchcase

from tcstatic.program.callgraph.effects import Call, Effects
from tcstatic.program.callgraph.inheritance import MODULES, inherited
from tcstatic.program.callgraph.text_calls import Method
from tcstatic.program.callgraph.values import Kind, Value

_GIVEN = ("forward", "run")
"""Methods whose arguments are those of the call."""


def inherited_model(name: str) -> Method | None:
    """Return the model of a method, by the class that it is inherited from and its name."""
    path, _, method = name.rpartition(".")
    hooks = inherited(path, method)
    if not hooks:
        return None
    if method in MODULES and hooks == (method,):
        return _modules(method)
    if hooks == ("apply",):
        return _applied
    return _added if hooks == (method,) else _called(hooks)


def _modules(method: str) -> Method:
    """``children``, ``modules``, and the same with names"""

    def model(effects: Effects, call: Call, value: Value) -> None:
        made = effects.container(call, "list", value)
        inside = effects.items.rest(made)
        if method.startswith("named"):
            row = effects.container(call, "tuple", ~value)
            effects.machine.add(inside, row)
            effects.items.lengths[row] = 2
            inside = effects.items.item(row, 1)
        _gather(effects, call, value, inside, deep=method.endswith("modules"))
        effects.answer(call, made)

    return model


def _applied(effects: Effects, call: Call, value: Value) -> None:
    """``module.apply(function)``"""
    for function in effects.arguments(call)[:1]:
        node = effects.machine.node()
        _gather(effects, call, value, node, deep=True)
        effects.apply(call, function, [node], effects.machine.sink)
    effects.answer(call, value)


def _added(effects: Effects, call: Call, value: Value) -> None:
    """``module.add_module(name, other)``"""
    name, other = effects.argument(call, 0, "name"), effects.argument(call, 1, "module")
    if name is not None and other is not None:
        base = effects.machine.field(value, "<self>")
        effects.machine.add(base, value)
        effects.named(call, base, name, other, stores=True)
        effects.holds(value, None, other)


def _gather(effects: Effects, call: Call, value: Value, target: int, *, deep: bool) -> None:
    """Have the modules inside one flow to a node; where `deep`, itself and all below, too."""
    own = effects.machine.node()
    effects.machine.add(own, value)
    effects.wrap(call, own, "all inside" if deep else "inside", target)


def _called(hooks: tuple[str, ...]) -> Method:
    """Methods of the object are called; what they are given is mostly not known."""

    def model(effects: Effects, call: Call, value: Value) -> None:
        machine = effects.machine
        is_class = machine.values.kind[value] is Kind.CLASS
        owner = value if is_class else effects.classes.class_of(value)
        if owner is None:
            return
        given = effects.arguments(call)
        if is_class and not effects.classes.defines(owner, "setup_context"):
            # the context of a function of autograd
            given.insert(0, machine.node())
        for tag, hook in enumerate(_defined(effects, owner, hooks)):
            node = machine.node()
            effects.attributes.read(value, hook, node, call.instance, call.place)
            if hook in _GIVEN:
                effects.apply(call, node, given, call.target, tag)
            else:
                effects.call_back(call, node, tag)

    return model


def _defined(effects: Effects, owner: Value, hooks: tuple[str, ...]) -> list[str]:
    """Return the members of a class, and of its bases, that the hooks name."""
    known = effects.classes.known
    members = [
        name
        for one in effects.classes.order(owner)
        if one in known
        for name in known[one].shape.members
    ]
    found = [name for name in members if any(fnmatchcase(name, hook) for hook in hooks)]
    return list(dict.fromkeys(found))
