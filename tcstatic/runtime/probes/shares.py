"""How much of what an optimizer trains lies in what a call is given: modules, containers of
parameters, and what yields the parameters of a module.

Looked at, never iterated: an iterator is left where it stands. Nothing of the user's runs.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterator, Sequence
from types import GeneratorType
from typing import Any, Final, Protocol, final

from tcstatic.runtime.probes.frames import names_in
from tcstatic.runtime.probes.holdings import DICT, MOST_TENSORS, unseen

MOST_LOOKED_AT: Final = 4_096  # elements of containers
MOST_MODULES: Final = 4_096
DEPTH: Final = 3  # containers within one another
ALL, PART, NONE = "all", "part", "none"
_Ids = frozenset[int]
Standing = tuple[tuple[_Ids, ...], int]


class Optimizers(Protocol):
    """`live` gives the records of those that exist."""

    def live(self) -> list[Any]: ...


class Structure(Protocol):
    """Of all modules: its version grows with each change of any."""

    @property
    def version(self) -> int: ...


@final
class Shares:
    """State: `_standing` what each optimizer trains, by ``id`` of a parameter, as of `_moment`,
    and the version of all structure; `_known` by ``id`` of a module what was said of it, with what
    that rests on."""

    __slots__ = ("_known", "_moment", "_optimizers", "_standing", "_structure")

    def __init__(self, optimizers: Optimizers, structure: Structure) -> None:
        self._optimizers = optimizers
        self._structure = structure
        self._moment: tuple[int, int] = (-1, -1)
        self._standing: Standing = ((), -1)
        self._known: dict[int, tuple[weakref.ref[Any], Standing, str]] = {}

    def standing(self, step: int) -> Standing:
        """What the shares of modules rest on: the same object, as long as that stays the same."""
        version, live = self._structure.version, self._optimizers.live()
        if (step, len(live)) != self._moment:
            self._moment = (step, len(live))
            with unseen():
                every = [
                    frozenset(id(p) for p in one.parameters() if p.requires_grad) for one in live
                ]
            found = tuple(filter(None, every))
            if found != self._standing[0]:
                self._standing = (found, version)
        if version != self._standing[1]:
            self._standing = (self._standing[0], version)
        return self._standing

    def of_module(self, module: Any, step: int) -> str:
        """How much of what some optimizer trains a module holds; '' where it holds no parameters,
        or there is no optimizer."""
        standing = self.standing(step)
        trained = standing[0]
        if not trained:
            return ""
        known = self._known.get(id(module))
        if known is not None and known[0]() is module and known[1] is standing:
            return known[2]
        held = frozenset(map(id, _of_module(module)))
        said = _share(held, trained)
        if len(self._known) >= MOST_MODULES:
            self._known.clear()
        self._known[id(module)] = (weakref.ref(module), standing, said)
        return said

    def of_container(self, value: Any, step: int) -> str:
        """The same of a list, a tuple or a dict, or of what yields a module's parameters."""
        if type(value) is GeneratorType:
            module = _yielding(value)
            return "" if module is None else self.of_module(module, step)
        if not value:
            return ""
        first = next(iter(value.values())) if type(value) is dict else value[0]
        if not (_is_container(first) or _is_parameter(first)):
            return ""
        trained = self.standing(step)[0]
        held = frozenset(_in_containers(value, DEPTH, [MOST_LOOKED_AT])) if trained else ()
        return _share(frozenset(held), trained) if held else ""

    def of_holding(self, tensors: Sequence[tuple[int, int, bool]], step: int) -> str:
        """The same of the tensors that an object holds; '' where those are not all known."""
        trained = self.standing(step)[0] if len(tensors) < MOST_TENSORS else ()
        held = frozenset(one[0] for one in tensors if one[2]) if trained else frozenset()
        return _share(held, trained) if held else ""


def _share(held: _Ids, trained: tuple[_Ids, ...]) -> str:
    if not held:
        return ""
    if any(one <= held for one in trained):
        return ALL
    return NONE if all(one.isdisjoint(held) for one in trained) else PART


def _of_module(module: Any) -> Iterator[Any]:
    waiting = [module]
    seen: set[int] = set()
    while waiting and len(seen) < MOST_MODULES:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        held = DICT(one, "__dict__")
        parameters, modules = held.get("_parameters"), held.get("_modules")
        if type(parameters) is dict:
            yield from (p for p in parameters.values() if p is not None)
        if type(modules) is dict:
            waiting += [m for m in modules.values() if m is not None]


def _yielding(generator: Any) -> Any:
    """The module whose parameters a generator of torch's own yields, before its first turn."""
    torch: Any = sys.modules["torch"]
    frame = generator.gi_frame
    code = generator.gi_code
    own = (torch.nn.Module.parameters.__code__, torch.nn.Module.named_parameters.__code__)
    # suspended nowhere else than at its beginning; a running one has no locals to read
    if frame is None or generator.gi_running or not any(code is one for one in own):
        return None
    names = names_in(frame)
    found, whole = names.get("self"), names.get("recurse") is True
    return found if whole and isinstance(found, torch.nn.Module) else None


def _in_containers(value: Any, depth: int, left: list[int]) -> Iterator[int]:
    """The ``id`` of each parameter within."""
    for one in value.values() if type(value) is dict else value:
        left[0] -= 1
        if left[0] < 0:
            return
        if _is_parameter(one):
            yield id(one)
        elif depth > 1 and _is_container(one):
            yield from _in_containers(one, depth - 1, left)


def _is_container(value: Any) -> bool:
    return type(value) in (list, tuple, dict)


def _is_parameter(value: Any) -> bool:
    return type(value) is sys.modules["torch"].nn.Parameter
