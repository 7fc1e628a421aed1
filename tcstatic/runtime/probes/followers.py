"""Copies of a model that are written to again and again, and never come nearer to it.

An average by hand is a frozen copy that is updated in place. Where the values that it is updated
from are its own, or those of another copy that nobody trains, it stays what it was at first.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, final

from tcstatic.model import Location
from tcstatic.runtime.probes.stream import Stream

_MOST_COPIES: Final = 64
_MOST_KEPT: Final = 2  # parameters of a copy, of no more than so many elements
_MOST_ELEMENTS: Final = 1 << 16
_MOST_ORIGINALS: Final = 8
_LEAST_WRITES: Final = 10
# Two roundings of a number of 32 bits an update, and the least that training must have moved it:
# an average that keeps all but one part in 10,000 moves further in that time.
_ROUNDED: Final = 1.2e-7
_TRAINED: Final = 0.05


@final
@dataclass(slots=True)
class _Kept:
    """A parameter of a copy as it was at first, and those of other models that were equal to it."""

    parameter: weakref.ref[Any]
    values: Any
    version: int
    originals: list[weakref.ref[Any]]


@final
@dataclass(slots=True)
class _Copy:
    """A copy; `blamed` is what it follows in vain, or itself, as far as was seen."""

    title: str
    where: Location
    kept: list[_Kept]
    blamed: Location | None = None


@final
class Followers:
    """Follows the copies of models of one process. State: `_copies` by number, `_receiver` the one
    that is being loaded, `_given` which state, by ``id``, each was loaded from last."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._copies: dict[int, _Copy] = {}
        self._receiver = 0
        self._given: dict[int, int] = {}

    def receives(self, thing: Any) -> None:
        """``load_state_dict`` of something is about to be called."""
        number = self._stream.registry.known(thing) if self._copies else 0
        self._receiver = number if number in self._copies else 0

    def loads(self, state: Any) -> None:
        """This state is about to be loaded: a copy that is put back to one state again and again
        is no average."""
        if self._receiver:
            if self._given.get(self._receiver) == id(state):
                del self._copies[self._receiver]
            self._given[self._receiver] = id(state)
            self._receiver = 0

    def copied(self, module: Any, where: Location | None, everyone: Iterable[Any]) -> None:
        """A call has returned a copy of a model; `everyone` are the parameters of all models."""
        if where is None or len(self._copies) >= _MOST_COPIES:
            return
        mine = list(module.parameters())
        own, others = set(map(id, mine)), list(everyone)
        kept = []
        for one in [p for p in mine if _is_looked_at(p)][:_MOST_KEPT]:
            same = [p for p in others if id(p) not in own and _is_equal(p, one)]
            if same:
                originals = [weakref.ref(p) for p in same[:_MOST_ORIGINALS]]
                values = one.detach().clone()
                kept.append(_Kept(weakref.ref(one), values, one._version, originals))
        if kept:
            number = self._stream.registry.number(module)
            self._copies[number] = _Copy(type(module).__name__, where, kept)

    def look(self) -> None:
        """See which copies were written to all the time and are what they were."""
        for one in self._copies.values():
            if any(kept.parameter() is None for kept in one.kept):
                continue
            one.blamed = None
            if all(_stands_still(kept) and self._is_left_behind(kept) for kept in one.kept):
                idle = [o for o in self._copies.values() if o is not one and _is_source(o, one)]
                one.blamed = idle[0].where if len(idle) == 1 else one.where

    def settle(self) -> None:
        """The run ends: tell of what was seen."""
        for number, one in self._copies.items():
            if one.blamed is not None:
                values = {"type": one.title, "follows_nobody": True}
                self._stream.tell_of_run(one.blamed, {"model": (number,)}, values)

    def _is_left_behind(self, kept: _Kept) -> bool:
        """Whether one of those that had the values of a parameter at first was trained since."""
        others = list(kept.originals)
        for copy in self._copies.values():
            same = [one for one in copy.kept if _has_values(one, kept)]
            others += [one.parameter for one in same]
        alive = [one for known in others if (one := known()) is not None]
        return any(one.requires_grad and _apart(one, kept.values) > _TRAINED for one in alive)


def _has_values(one: _Kept, other: _Kept) -> bool:
    return one.values.shape == other.values.shape and bool((one.values == other.values).all())


def _is_looked_at(parameter: Any) -> bool:
    plain = not hasattr(parameter, "to_local") and not hasattr(parameter, "cls_to_become")
    if not plain or parameter.is_inference() or parameter.device.type != "cpu":
        return False
    small = 1 < parameter.numel() <= _MOST_ELEMENTS
    return small and str(parameter.dtype) == "torch.float32" and bool(parameter.any())


def _is_equal(parameter: Any, other: Any) -> bool:
    if parameter.shape != other.shape or not _is_looked_at(parameter):
        return False
    return bool((parameter.detach() == other.detach()).all())


def _stands_still(kept: _Kept) -> bool:
    """Whether a frozen parameter was written to, and has its first values but for rounding."""
    parameter = kept.parameter()
    if parameter is None or parameter.requires_grad or parameter.device != kept.values.device:
        return False
    writes: int = parameter._version - kept.version
    return writes >= _LEAST_WRITES and _apart(parameter, kept.values) <= _ROUNDED * writes


def _is_source(one: _Copy, follower: _Copy) -> bool:
    """Whether another copy has the first values of a follower still, and was never written to."""
    for mine, its in zip(one.kept, follower.kept, strict=False):
        parameter = mine.parameter()
        if parameter is None or parameter._version != mine.version:
            return False
        if _apart(parameter, its.values) > 0.0:
            return False
    return True


def _apart(parameter: Any, values: Any) -> float:
    """How far a parameter is from values, as a part of these."""
    if parameter.shape != values.shape:
        return float("inf")
    now = parameter.detach()
    return float((now - values).norm() / values.norm())
