"""What the methods of text do."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tcstatic.program.callgraph.codecs_calls import use_codec
from tcstatic.program.callgraph.effects import Call, Effects
from tcstatic.program.callgraph.expressions import FORMAT
from tcstatic.program.callgraph.values import Kind, Value

Method = Callable[[Effects, Call, Value], None]


def _text(effects: Effects, call: Call, value: Value) -> None:
    del value
    for name in ("encode", "decode"):
        if call.invoke.text.endswith(f".{name}"):
            use_codec(effects, call, name)
    for node in effects.arguments(call):
        if call.invoke.text.endswith(".format"):
            effects.protocol(call, node, FORMAT)
        else:
            effects.elements(call, node)
    effects.plain(call, "str")


def _percent(effects: Effects, call: Call, value: Value) -> None:
    """``super().__mod__(values)``: a value is asked for what its place in the text needs."""
    del value
    for node in effects.arguments(call)[:1]:
        effects.protocol(call, node, ("__getitem__",), (effects.machine.node(),))
        for one in (node, effects.elements(call, node)):
            for names in (FORMAT[1:], ("__int__", "__index__"), ("__float__",)):
                effects.protocol(call, one, names)
    effects.plain(call, "str")


def _texts(effects: Effects, call: Call, value: Value) -> None:
    made = effects.container(call, "list", value)
    node = effects.items.rest(made)
    effects.machine.add(node, effects.machine.values.get(Kind.PLAIN, "str"))
    effects.answer(call, made)


STRINGS: Mapping[str, Method] = {
    **{
        name: _text
        for name in (
            "format",
            "join",
            "strip",
            "lower",
            "upper",
            "replace",
            "lstrip",
            "rstrip",
            "title",
            "capitalize",
            "removeprefix",
            "removesuffix",
            "decode",
            "encode",
        )
    },
    "__mod__": _percent,
    "split": _texts,
    "rsplit": _texts,
    "splitlines": _texts,
    "partition": _texts,
    "rpartition": _texts,
}
