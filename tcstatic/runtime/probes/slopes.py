"""Losses without a slope, and losses that wait for a backward that nobody calls.

The graph of a loss tells what it was made by; the program's own code tells where that was done.
"""

from __future__ import annotations

import linecache
import operator
import weakref
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, final

from tcstatic.model import Location
from tcstatic.runtime.probes import codes
from tcstatic.runtime.probes.nodes import FLAT, kind_of, signed, walk
from tcstatic.runtime.probes.optimizers import Optimizer
from tcstatic.runtime.probes.ownership import Ownership
from tcstatic.runtime.probes.roles import TENSOR, role_of
from tcstatic.runtime.probes.stream import HEARD, Stream

_FIRST_LOSSES: Final = 2
STARVED: Final = operator.attrgetter("starved")
_MOST_NODES: Final = 512
_MOST_PLACES: Final = 3
_NONE: Final[frozenset[str]] = frozenset()
# What may make a tensor that wants a gradient, and was computed from none that does.
_MAKING: Final = frozenset(
    "tensor as_tensor from_numpy zeros ones empty Tensor Variable requires_grad_".split()
)
_NORMALISING: Final = {"Softmax": "softmax", "LogSoftmax": "log_softmax"}


@final
class Slopes:
    """Finds the places for those whose gradients are all zero.

    State: `_flat` the operations without a slope that were seen in one of the first losses, which
    `_read` counts; `_leaves` of the last loss, None where that was not read; `_starving` and
    `_level` what was found for an optimizer, by its number.
    """

    def __init__(self, stream: Stream, ownership: Ownership) -> None:
        self._stream = stream
        self._ownership = ownership
        self._leaves: list[weakref.ref[Any]] | None = None
        self._starving: dict[int, dict[str, Any]] = {}
        self._flat: set[str] = set()
        self._read = 0
        self._level: dict[int, str] = {}

    def read(self, loss: Any, everyone: Iterable[Optimizer]) -> None:
        """The backward of a loss begins."""
        self._leaves = None
        if self._read >= _FIRST_LOSSES and not any(map(STARVED, everyone)):
            return
        self._read += 1
        self._leaves = []
        if getattr(loss, "grad_fn", None) is None:
            self._leaves.append(weakref.ref(loss))
            return
        for node in walk(loss.grad_fn, _MOST_NODES):
            variable = getattr(node, "variable", None)
            if variable is not None:
                self._leaves.append(weakref.ref(variable))
            else:
                self._flat.update(_flat_name(node))

    def starving(
        self,
        optimizer: Optimizer,
        everyone: Iterable[Optimizer],
        models: list[Any],
        *known: Mapping[str, Any],
    ) -> dict[str, Any]:
        """A step finds no gradient although backward has run, and that much is `known` of it;
        return what is said of it."""
        found, reached = self._starving.get(optimizer.number), self._leaves
        if found is not None or reached is None:
            return found or {}
        held = {id(p) for one in everyone for p in one.parameters()}
        leaves = [leaf for one in reached if (leaf := one()) is not None]
        anew = not any(id(p) in held or self._ownership.had_owner(p) for p in leaves)
        found = {}
        if anew and reached and not any(one.get("cut_known") for one in known):
            found = {"cut_known": self._made_anew(optimizer, models)}
        elif any(one.get("others_reached") for one in known) and self.waiting(optimizer):
            found = {"loss_waits": True}
        self._starving[optimizer.number] = found
        return found

    def _made_anew(self, optimizer: Optimizer, models: list[Any]) -> bool:
        """Name where what backward starts from may have been made."""
        found = [one for one in self._places(self._code(models), _MAKING) if self._wants(one)]
        return bool(self._tell(optimizer, found, "what backward starts from is made anew"))

    def _wants(self, where: Location) -> bool:
        """Whether a line says that something wants a gradient."""
        path = f"{self._stream.locator.root}{where.file}"
        return "requires_grad" in linecache.getline(path, where.line)

    def waiting(self, optimizer: Optimizer) -> str:
        """The name of a loss of a function in progress that was made of the parameters of
        `optimizer`, and whose graph is whole; '' where there is none."""
        held = set(map(id, optimizer.parameters()))
        for name, value in self._stream.locator.held():
            if _is_number(value) and held & _leaves_of(value):
                return name
        return ""

    def flat(self, optimizer: Optimizer, models: list[Any]) -> str:
        """A step finds nothing but zeros; return what is said of it."""
        known = self._level.get(optimizer.number)
        if known is None:
            known = self._level[optimizer.number] = self._of_level(optimizer, models)
        return known

    def _of_level(self, optimizer: Optimizer, models: list[Any]) -> str:
        if self._flat:
            found = self._places(self._code(models), frozenset(self._flat))
            return self._tell(optimizer, found, f"{' or '.join(sorted(self._flat))} has no slope")
        hooks = list(dict.fromkeys(self._hooks(optimizer.parameters())))
        return self._tell(optimizer, hooks, "a hook of the program changes the gradients")

    def _code(self, models: list[Any]) -> list[Any]:
        locator = self._stream.locator
        return codes.reachable(locator.frame(1), models, locator)

    def _places(self, code: list[Any], names: frozenset[str]) -> list[Location]:
        """Return where a name stands, but for what has run before the loop that steps began."""
        found = codes.places(code, names, _NONE, self._stream.locator)
        loop = self._stream.loops[-1].where if self._stream.loops else None
        again = [one for one in found if loop is None or not _comes_after(loop, one)]
        return list({(one.file, one.line): one for one in again}.values())

    def _hooks(self, parameters: Iterable[Any]) -> Iterator[Location]:
        for parameter in parameters:
            for hook in (getattr(parameter, "_backward_hooks", None) or {}).values():
                place = codes.defined_at(hook, self._stream.locator)
                if place is not None:
                    yield place

    def _tell(self, optimizer: Optimizer, places: list[Location], words: str) -> str:
        """Tell the places, the nearest one last."""
        if not places or len(places) > _MOST_PLACES:
            return ""
        stream = self._stream
        for place in reversed(places):
            values = {"operation": words, "sure": len(places) == 1}
            stream.tell(stream.make("call", place, {HEARD: (optimizer.heard,)}, values))
        written = " or ".join(f"{place.file}:{place.line}" for place in places)
        return f": {words} at {written}"


def _is_number(value: Any) -> bool:
    """Whether a value is a single number that remembers what it was computed from."""
    if role_of(value) != TENSOR or value.numel() != 1:
        return False
    return getattr(value, "grad_fn", None) is not None


def _leaves_of(loss: Any) -> set[int]:
    """The ``id`` of each leaf that a number was computed from."""
    found = (getattr(node, "variable", None) for node in walk(loss.grad_fn, _MOST_NODES))
    return {id(leaf) for leaf in found if leaf is not None}


def _flat_name(node: Any) -> tuple[str, ...]:
    """The name of what a node was made by, where that has no slope."""
    kind = kind_of(node)
    if kind.lower() in FLAT:
        return (kind.lower(),)
    if kind not in _NORMALISING:
        return ()
    described, dimension = getattr(node, "_input_metadata", None), getattr(node, "_saved_dim", None)
    if not described or not isinstance(dimension, int):
        return ()
    shape = tuple(described[0].shape)
    place = signed(dimension)
    alone = bool(shape) and -len(shape) <= place < len(shape) and shape[place] == 1
    return (_NORMALISING[kind],) if alone else ()


def _comes_after(one: Location, other: Location | None) -> bool:
    """Whether a place lies behind another one, in the same function."""
    if other is None or (one.file, one.function) != (other.file, other.function):
        return False
    return one.line > other.line
