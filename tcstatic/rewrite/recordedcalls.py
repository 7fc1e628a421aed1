"""The sites of `call` events, for a run that records them: any call that is perhaps the program's.

A call has three kinds of sites: its callee before it is called, each argument, its value. Which
callees are wanted is decided while the program runs; here only what is plainly something else is
left out.
"""

from __future__ import annotations

import builtins
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, final

from tcstatic.program.source import Call, ModuleFacts
from tcstatic.rewrite.sketch import Sketch
from tcstatic.rewrite.vocabulary import (
    CONTAINER_METHODS,
    METHODS,
    MOVED_BY,
    MOVERS,
    MOVING_METHODS,
    OTHER_LIBRARIES,
    RECORDED,
    TENSOR_METHODS,
)

_BUILTINS: Final = frozenset(dir(builtins))
_LIBRARIES: Final = OTHER_LIBRARIES | sys.stdlib_module_names
_LITERALS: Final = ('"', "'", "[", "{", "(", 'f"', "f'")
_OTHERS: Final = CONTAINER_METHODS | TENSOR_METHODS | MOVERS | METHODS.keys()
# Libraries that compile functions from their source or bytecode, called as functions too.
_COMPILERS: Final = frozenset({"numba", "triton", "taichi", "tensorflow"})
_SCRIPTED: Final = re.compile(rb"\bjit\s*\.\s*script|\bimport\s+script\b")


@final
@dataclass(frozen=True, slots=True)
class OwnNames:
    """What the whole program defines: names of its functions and classes, and first names of its
    modules."""

    defined: frozenset[str]
    roots: frozenset[str]


def own_names(modules: Mapping[str, ModuleFacts]) -> OwnNames:
    """The names of a program, given its modules by their dotted names."""
    return OwnNames(
        frozenset(name for facts in modules.values() for name in facts.defined),
        frozenset(name.partition(".")[0] for name in modules),
    )


def recorded_calls(calls: Iterable[Call], own: OwnNames) -> Iterator[Sketch]:
    """The sites of those calls that may be wanted."""
    for call in calls:
        if can_be_recorded(call) and _may_be_wanted(call, own):
            yield from parts_of(call)


def can_be_recorded(call: Call) -> bool:
    """Whether a call stands where its parts can be seen, whatever it calls.

    A method that is named on another line than its object ends on would be reported, if it fails,
    at the line of the latter.
    """
    one_line = call.callee_span.line == call.callee_span.end_line
    return one_line and call.place == "" and not (call.quoted or call.in_class)


def parts_of(call: Call) -> Iterator[Sketch]:
    """The callee, each argument without a star, and the value of a call."""
    where = call.span
    about = {"call": f"{where.line}:{where.column}-{where.end_line}:{where.end_column}"}
    function, callee, text = call.function, call.callee, call.callee_text
    stars = any(one.keyword in ("*", "**") for one in call.arguments)
    said = {"part": "callee", **({"stars": "yes"} if stars else {}), **about}
    yield Sketch("on", "call", call.callee_span, function, callee, text, "", said)
    starred = False
    for index, one in enumerate(call.arguments):
        starred = starred or one.keyword == "*"
        if one.keyword in ("*", "**") or (starred and not one.keyword):
            continue
        said = {"part": "argument", "as": one.keyword or str(index), **about}
        yield Sketch("after", "call", one.span, function, callee, one.text, "", said)
    said = {"part": "value", **about}
    yield Sketch("after", "call", where, function, callee, text, "", said)


def why_unrecorded(sources: Iterable[bytes]) -> str:
    """Why no call of a program is recorded, '' where its calls are: TorchScript compiles functions
    from their source, with all that they call."""
    scripted = any(_SCRIPTED.search(source) for source in sources)
    return "the program uses torch.jit.script" if scripted else ""


def why_file_unrecorded(facts: ModuleFacts) -> str:
    """Why no call of a file is recorded, '' where they are."""
    found = {one.module.partition(".")[0] for one in facts.imported} & _COMPILERS
    return f"it imports {min(found)}" if found else ""


def _may_be_wanted(call: Call, own: OwnNames) -> bool:
    name = call.name
    if call.resolved:
        root = call.callee.partition(".")[0]
        if root == "torch":
            in_place = name.endswith("_") and not name.endswith("__")
            if call.callee.startswith("torch.optim."):
                return name[:1].isupper()
            return in_place or call.callee in MOVED_BY or call.callee.startswith(RECORDED)
        return root in own.roots or (root not in _LIBRARIES and name in own.defined)
    if call.receiver is None:
        return bool(call.callee_text) and (name not in _BUILTINS or name in own.defined)
    if name.startswith("__") or call.receiver_text.startswith(_LITERALS):
        return False
    moving = name in MOVING_METHODS
    return moving or name not in _OTHERS or name in own.defined or call.receiver_text == "self"
