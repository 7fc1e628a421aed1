"""Calls that leave the program: builtins, the standard library, other libraries."""

from __future__ import annotations

from typing import final

from tcstatic.program.callgraph.builtin_calls import BUILTINS
from tcstatic.program.callgraph.effects import Call, Effects
from tcstatic.program.callgraph.inherited_calls import inherited_model
from tcstatic.program.callgraph.library_calls import CALLERS, HOLDERS, LIBRARY, QUIET
from tcstatic.program.callgraph.machine import Instance
from tcstatic.program.callgraph.method_calls import method_model
from tcstatic.program.callgraph.operations import GetItem, Invoke, Place, Store
from tcstatic.program.callgraph.values import Kind, Value

MOST_MODELS = 150
"""Functions of libraries, or methods of containers, whose effects one call has."""
_KNOWN_TYPES = frozenset(
    "list tuple dict set frozenset str bytes int generator coroutine property object type "
    "map filter zip enumerate reversed function callable callable_iterator".split()
)


@final
class Library:
    """Applies the models; what has none may call every function that it is given."""

    def __init__(self, effects: Effects) -> None:
        self._effects = effects
        self._modelled: dict[tuple[int, Place, int], int] = {}

    def builtin(self, invoke: Invoke, instance: Instance, name: str) -> None:
        """A builtin function or type, by name."""
        call = Call(invoke, instance)
        model = BUILTINS.get(name)
        if model is not None:
            if self._may_model(call):
                model(self._effects, call)
        elif "." in name:
            self._unbound(call, name)
        elif invoke.decorates:
            self._effects.returns(call, self._effects.argument(call, 0))

    def external(self, invoke: Invoke, instance: Instance, path: str) -> None:
        """A function or class of a library, by its dotted path."""
        effects = self._effects
        call = Call(invoke, instance)
        effects.machine.called(instance, invoke.place, path)
        model = LIBRARY.get(path)
        may_call = model is None or path in CALLERS
        if may_call and path not in QUIET and not invoke.decorates:
            effects.calls.callbacks(invoke, instance)
        if model is not None:
            if self._may_model(call):
                effects.enter(path)
                model(effects, call)
            return
        if invoke.decorates:
            effects.returns(call, effects.argument(call, 0))
        last = path.rpartition(".")[2]
        if last[:1].isupper():
            effects.answer(call, effects.machine.values.get(Kind.RESULT, path, invoke.site))
        else:
            effects.attributes.opaque(call.target)

    def method(self, invoke: Invoke, instance: Instance, name: str, receiver: Value) -> None:
        """A method of a value whose type is not the program's."""
        effects = self._effects
        call = Call(invoke, instance)
        if name.startswith("<"):
            self._made(call, name, receiver)
            return
        kind = name.rpartition(".")[0]
        shown = f"<builtin>.{name}" if kind in _KNOWN_TYPES else name
        if kind != "callable":
            effects.machine.called(instance, invoke.place, shown)
        model = inherited_model(name) or method_model(name)
        if model is not None:
            if self._may_model(call):
                model(effects, call, receiver)
        elif name.endswith((".func", ".__call__")):
            effects.calls.invoke(invoke, instance, receiver)

    def _may_model(self, call: Call) -> bool:
        """A call of so many functions of libraries is one of any function, with any argument."""
        site = self._effects.calls.root(call.invoke.site)
        key = (site, call.invoke.place, call.instance.unit.index)
        count = self._modelled[key] = self._modelled.get(key, 0) + 1
        if count > MOST_MODELS:
            reason = f"`{call.invoke.text}` calls more than {MOST_MODELS} functions of libraries"
            self._effects.machine.unresolved(call.instance, call.place, reason)
        return count <= MOST_MODELS

    def call_contents(self, invoke: Invoke, instance: Instance, value: Value) -> None:
        """A container of torch calls what it holds."""
        effects = self._effects
        if not self._calls_contents(value):
            return
        made = effects.machine.absolute(invoke, instance)
        effects.machine.use_once(effects.items.all(value), made, instance)

    def _calls_contents(self, value: Value) -> bool:
        values, classes = self._effects.machine.values, self._effects.classes
        if values.kind[value] is Kind.RESULT:
            return values.data[value][0] in HOLDERS
        bases = classes.foreign(values.data[value][0])
        return any(values.data[base][0] in HOLDERS for base in bases)

    def manage(self, held: int, target: int, instance: Instance) -> None:
        """Generators of one node are context managers in another."""
        node = ~self._effects.machine.sink
        made = Invoke(node, (), (), (), ~target, (0, 0, 0, 0), 0, "", False)
        self._effects.wrap(Call(made, instance), held, "manager", target)

    def _unbound(self, call: Call, name: str) -> None:
        """``str.join(a, b)``: the method of the first argument."""
        effects = self._effects
        given = effects.arguments(call)
        method = method_model(name)
        if method is None or not given:
            return
        rest = call.invoke._replace(arguments=call.invoke.arguments[1:], stars=())
        for value in sorted(effects.machine.held[given[0]]):
            method(effects, Call(rest, call.instance), value)

    def _made(self, call: Call, name: str, node: int) -> None:
        """Functions that functions of libraries have made."""
        effects = self._effects
        first = effects.argument(call, 0)
        if name == "<held>":
            effects.returns(call, node)
        elif first is None:
            return
        elif name == "<attribute>":
            effects.named(call, first, node, call.target, stores=False)
        elif name == "<method>":
            found = effects.machine.node()
            effects.named(call, first, node, found, stores=False)
            effects.apply(call, found, [], call.target)
        elif name == "<item>":
            get = GetItem(~first, ~node, None, ~call.target, call.place)
            effects.machine.use(first, get, call.instance)
        else:
            effects.returns(call, first)
            if name == "<parametrize>":
                effects.wrap(call, first, "parametrize", other=node)
            elif name == "<record>":
                effects.wrap(call, first, "record")
            elif name == "<wraps>":
                store = Store(~first, "__wrapped__", ~node, call.place)
                effects.machine.use(first, store, call.instance)
