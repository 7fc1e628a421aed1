"""What the program's own code does within a step: the class of an optimizer, hooks behind it.

Read once for each optimizer: where a step leaves its parameters as they were, or makes of them what
they should not be, the fault may lie there, and not where the step is called.
"""

from __future__ import annotations

import dis
import re
from collections.abc import Iterator
from itertools import pairwise
from types import CodeType
from typing import Any, Final

from tcstatic.model import Location
from tcstatic.runtime.probes import codes
from tcstatic.runtime.probes.locate import Locator
from tcstatic.runtime.probes.optimizers import Optimizer
from tcstatic.runtime.probes.signatures import looked_up
from tcstatic.runtime.probes.stream import HEARD, Stream

_IN_PLACE: Final = re.compile(r"[a-z]\w*[a-z0-9]_")
_CALLED: Final = frozenset({"LOAD_METHOD", "LOAD_ATTR"})
# What brings other values to where a parameter lies.
_PUTTING: Final = frozenset({"copy_", "set_", "fill_", "zero_"})


def tell(stream: Stream, optimizer: Optimizer) -> None:
    """Tell, for whoever may have to name it, where the program's own code does what a step of
    `optimizer` does."""
    thing = optimizer.thing()
    if thing is None or optimizer.manual:
        return
    for place, how in _places(thing, stream.locator).items():
        subjects = {HEARD: (optimizer.heard,)}
        stream.tell(stream.make("state", place, subjects, {"quantity": "step", "how": how}))


def _places(optimizer: Any, locator: Locator) -> dict[Location, str]:
    """Return where the program's own code may keep a parameter as it was, or put another value in
    its place, where it writes to one before it asks for a gradient, and where it does so last; with
    which of them it is."""
    hooks = list(_hooks(optimizer, locator))
    writes = [one for code in hooks for one in _writes(code, locator)]
    if writes:
        return {writes[-1]: "keeping"}
    step = codes.code_of(looked_up(type(optimizer), "step"), locator)
    if step is None:
        return {}
    written = list(_writes(step, locator))
    found = dict.fromkeys(written[-1:], "writing")
    asked = [one.line for one in codes.places([step], frozenset({"grad"}), frozenset(), locator)]
    found |= {one: "writing_first" for one in written if one.line < min(asked, default=0)}
    found |= dict.fromkeys(codes.places([step], _PUTTING, frozenset(), locator)[-1:], "putting")
    kept = list(_rebound(step, locator)) or list(_one_group(step, locator))
    return found | dict.fromkeys(kept[:1], "keeping")


def _hooks(optimizer: Any, locator: Locator) -> Iterator[CodeType]:
    """Yield the code of the program's own hooks behind a step of this optimizer."""
    for hook in (vars(optimizer).get("_optimizer_step_post_hooks") or {}).values():
        code = codes.code_of(hook, locator)
        if code is not None:
            yield code


def _writes(code: CodeType, locator: Locator) -> list[Location]:
    """Return where methods are called that write in place."""
    names = frozenset(name for name in code.co_names if _IN_PLACE.fullmatch(name))
    return codes.places([code], names, frozenset(), locator)


def _rebound(code: CodeType, locator: Locator) -> Iterator[Location]:
    """Yield where a name that a loop binds is bound again to what is computed from it."""
    told = list(dis.get_instructions(code))
    bound = {
        after.argval
        for one, after in pairwise(told)
        if one.opname == "FOR_ITER" and after.opname == "STORE_FAST"
    }
    for one, after in pairwise(told):
        computed = one.opname.startswith(("BINARY_OP", "CALL", "PRECALL"))
        if computed and after.opname == "STORE_FAST" and after.argval in bound:
            yield codes.location_of(code, after, locator)


def _one_group(code: CodeType, locator: Locator) -> Iterator[Location]:
    """Yield where one group of parameters is picked by its number."""
    told = list(dis.get_instructions(code))
    for name, index, pick in zip(told, told[1:], told[2:], strict=False):
        if name.opname not in _CALLED or name.argval != "param_groups":
            continue
        if index.opname.startswith("LOAD_") and isinstance(index.argval, int):
            yield codes.location_of(code, pick, locator)
