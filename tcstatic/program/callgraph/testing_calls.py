"""What pytest and unittest give to tests: exceptions that were raised, and attributes to change."""

from __future__ import annotations

from collections.abc import Mapping

from tcstatic.program.callgraph.builtin_calls import Model
from tcstatic.program.callgraph.effects import Call, Effects
from tcstatic.program.callgraph.operations import SetItem
from tcstatic.program.callgraph.values import Kind

MONKEY_PATCH = "pytest.MonkeyPatch"
_RAISED = ("value", "exception")


def _raises(effects: Effects, call: Call) -> None:
    """The exception is one of the class, or of a class that derives from it."""
    made = effects.machine.values.get(Kind.RESULT, "pytest.ExceptionInfo", call.invoke.site)
    for node in effects.arguments(call)[:1]:
        for name in _RAISED:
            effects.wrap(call, node, "raised", effects.machine.field(made, name))
    effects.answer(call, made)


def _set_attribute(effects: Effects, call: Call) -> None:
    """``monkeypatch.setattr(object, name, value)``"""
    base, name = effects.argument(call, 0, "target"), effects.argument(call, 1, "name")
    value = effects.argument(call, 2, "value")
    if base is not None and name is not None and value is not None:
        effects.named(call, base, name, value, stores=True)


def _set_item(effects: Effects, call: Call) -> None:
    """``monkeypatch.setitem(mapping, key, value)``"""
    base, key = effects.argument(call, 0, "dic"), effects.argument(call, 1, "name")
    value = effects.argument(call, 2, "value")
    if base is not None and key is not None and value is not None:
        store = SetItem(~base, ~key, None, ~value, call.place)
        effects.machine.use(base, store, call.instance)


RAISERS: Mapping[str, Model] = {
    "pytest.raises": _raises,
    "pytest.warns": _raises,
    "unittest.TestCase.assertRaises": _raises,
    "unittest.TestCase.assertRaisesRegex": _raises,
}
"""These call a function that they are given."""

TESTING: Mapping[str, Model] = {
    **RAISERS,
    f"{MONKEY_PATCH}.setattr": _set_attribute,
    f"{MONKEY_PATCH}.setitem": _set_item,
}
