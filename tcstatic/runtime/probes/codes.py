"""Where the program's own code does something: its code objects, and the places within them.

Read only once something has failed: the functions that were called are not recorded, so that those
are looked at which the frames in progress, and the models at hand, may have called.
"""

from __future__ import annotations

import dis
import linecache
import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from types import CodeType, FrameType, FunctionType, MethodType, ModuleType
from typing import Any, Final

from tcstatic.model import Location
from tcstatic.runtime.probes.frames import names_in
from tcstatic.runtime.probes.locate import Locator
from tcstatic.runtime.probes.roles import MODULE, role_of
from tcstatic.runtime.probes.signatures import unwrapped

MOST_CODES: Final = 400
MOST_MODULES: Final = 1_000
_NAMED: Final = frozenset({"LOAD_METHOD", "LOAD_ATTR", "LOAD_GLOBAL", "LOAD_NAME", "LOAD_FAST"})


def reachable(frame: FrameType | None, models: Iterable[Any], locator: Locator) -> list[CodeType]:
    """Return the user's code that a frame, or the call of a model, may lead to; nearest first."""
    waiting: list[tuple[CodeType, Mapping[str, Any], Any]] = []
    called: list[tuple[CodeType, Mapping[str, Any], Any]] = []
    things = list(models)
    while frame is not None:
        code = frame.f_code
        if locator.is_users(code.co_filename):
            held = names_in(frame)
            own = held.get(code.co_varnames[0]) if code.co_argcount else None
            waiting.append((code, frame.f_globals, own))
            things += held.values()
            called += [one for thing in held.values() for one in _of_function(thing, own)]
        frame = frame.f_back
    waiting += called
    for module in _modules(things):
        method = getattr(type(module), "forward", None)
        waiting += _of_function(method, module)
    found: dict[CodeType, None] = {}
    for code, names, own in waiting:  # grows while it is read
        if code in found or len(found) >= MOST_CODES or not locator.is_users(code.co_filename):
            continue
        found[code] = None
        waiting += [(one, names, own) for one in code.co_consts if isinstance(one, CodeType)]
        for thing in _named(code, names, own):
            waiting += _of_function(thing, own)
    return list(found)


def places(
    codes: Iterable[CodeType], names: frozenset[str], operators: frozenset[str], locator: Locator
) -> list[Location]:
    """Return where a function or method of these names is named, or one of the operators stands."""
    found: dict[Location, None] = {}
    for code in codes:
        for one in dis.get_instructions(code):
            operator = one.opname == "BINARY_OP" and one.argrepr.rstrip("=") in operators
            if operator or (one.opname in _NAMED and one.argval in names):
                found[location_of(code, one, locator)] = None
    return list(found)


def _modules(things: Iterable[Any]) -> Iterator[Any]:
    """Yield a module of each class within the given ones."""
    seen: set[type] = set()
    count = 0
    for thing in things:
        if role_of(thing) != MODULE:
            continue
        for module in thing.modules():
            count += 1
            if count > MOST_MODULES:
                return
            if type(module) not in seen:
                seen.add(type(module))
                yield module


def _named(code: CodeType, names: Mapping[str, Any], own: Any) -> Iterator[Any]:
    """Yield what the names in a piece of code may mean: in its module, in the modules that it
    uses, in the class of the object that it is a method of."""
    used = [names[name] for name in code.co_names if name in names]
    modules = [vars(one) for one in used if isinstance(one, ModuleType)]
    yield from used
    for name in code.co_names:
        for inner in modules:
            if name in inner:
                yield inner[name]
        if own is not None and isinstance(getattr(type(own), name, None), FunctionType):
            yield getattr(type(own), name)


def _of_function(thing: Any, own: Any) -> list[tuple[CodeType, Mapping[str, Any], Any]]:
    if isinstance(thing, MethodType):
        thing, own = thing.__func__, thing.__self__
    thing = getattr(thing, "__wrapped__", thing) if isinstance(thing, FunctionType) else thing
    if isinstance(thing, FunctionType):
        return [(thing.__code__, thing.__globals__, own)]
    if role_of(thing) == MODULE:
        return _of_function(type(thing).forward, thing)
    return []


def location_of(code: CodeType, one: dis.Instruction, locator: Locator) -> Location:
    """Return the place of an instruction."""
    positions = one.positions
    line = (positions.lineno if positions else None) or code.co_firstlineno
    end_line = (positions.end_lineno if positions else None) or line
    place = locator.relative(sys.intern(code.co_filename))
    return Location(place, line, 1, end_line, 1, code.co_qualname)


def stored(codes: Iterable[CodeType], key: str, locator: Locator) -> list[Location]:
    """Return where something is stored under a key."""
    found: dict[Location, None] = {}
    for code in codes:
        told = list(dis.get_instructions(code))
        for one, after in pairwise(told):
            if one.argval == key and after.opname == "STORE_SUBSCR":
                found[location_of(code, after, locator)] = None
    return list(found)


def code_of(function: Any, locator: Locator) -> CodeType | None:
    """Return the code of a function of the user's, past its decorators; None for any other."""
    plain = unwrapped(getattr(function, "__func__", function))
    code: CodeType | None = getattr(plain, "__code__", None)
    return code if code is not None and locator.is_users(code.co_filename) else None


def returned_at(function: Any, locator: Locator) -> Location | None:
    """Return where a function of the user's returns first; None for any other, and for a lambda."""
    code = code_of(function, locator)
    if code is None or code.co_name == "<lambda>":
        return None
    place = locator.relative(sys.intern(code.co_filename))
    for line in sorted({line for *_, line in code.co_lines() if line}):
        if linecache.getline(code.co_filename, line).lstrip().startswith("return "):
            return Location(place, line, 1, line, 1, code.co_qualname)
    return None


def defined_at(function: Any, locator: Locator) -> Location | None:
    """Return where a function of the user's begins; None for any other."""
    code = code_of(function, locator)
    if code is None:
        return None
    place, line = locator.relative(sys.intern(code.co_filename)), code.co_firstlineno
    return Location(place, line, 1, line, 1, code.co_qualname)
