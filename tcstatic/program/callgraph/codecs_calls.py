"""Codecs that a program registers: whoever uses one by its name calls what it is made of."""

from __future__ import annotations

import codecs
from collections.abc import Mapping

from tcstatic.program.callgraph.builtin_calls import Model
from tcstatic.program.callgraph.effects import Call, Effects
from tcstatic.program.callgraph.values import Kind

_INFO = "codecs.CodecInfo"
_PARTS = ("encode", "decode", "streamreader", "streamwriter", "incrementalencoder",
          "incrementaldecoder")  # fmt: skip


def part_of_codecs(effects: Effects, name: str) -> int:
    """Return the absolute node with one part of all codecs that the program registers."""
    machine = effects.machine
    return machine.field(machine.values.get(Kind.EXTERNAL, _INFO), name)


def use_codec(effects: Effects, call: Call, name: str) -> None:
    """``text.encode(name)``, where the name is not one of Python's own codecs."""
    values = effects.machine.values
    for node in effects.arguments(call)[:1]:
        names = [values.data[value][0] for value in sorted(effects.machine.held[node])
                 if values.kind[value] is Kind.TEXT]  # fmt: skip
        if any(not _is_known(one) for one in names):
            given = [effects.machine.node(), effects.machine.node()]
            effects.apply(call, part_of_codecs(effects, name), given, effects.machine.sink)


def _is_known(name: str) -> bool:
    try:
        codecs.lookup(name)
    except (LookupError, ValueError):
        return False
    return True


def _info(effects: Effects, call: Call) -> None:
    made = effects.machine.values.get(Kind.RESULT, _INFO, call.invoke.site)
    for position, name in enumerate(_PARTS):
        node = effects.argument(call, position, name)
        if node is not None:
            effects.machine.link(node, part_of_codecs(effects, name))
            effects.machine.link(node, effects.machine.field(made, name))
    effects.answer(call, made)


def _part(name: str) -> Model:
    def model(effects: Effects, call: Call) -> None:
        effects.returns(call, part_of_codecs(effects, name))

    return model


def _applied(name: str) -> Model:
    """``codecs.encode(value, name)``"""

    def model(effects: Effects, call: Call) -> None:
        rest = call.invoke._replace(arguments=call.invoke.arguments[1:], stars=())
        use_codec(effects, Call(rest, call.instance), name)

    return model


CODECS: Mapping[str, Model] = {
    _INFO: _info,
    "codecs.encode": _applied("encode"),
    "codecs.decode": _applied("decode"),
    "codecs.getencoder": _part("encode"),
    "codecs.getdecoder": _part("decode"),
    "codecs.getreader": _part("streamreader"),
    "codecs.getwriter": _part("streamwriter"),
    "codecs.getincrementalencoder": _part("incrementalencoder"),
    "codecs.getincrementaldecoder": _part("incrementaldecoder"),
}
