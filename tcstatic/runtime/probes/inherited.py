"""Copies of a model that follow it in training, all but their batch statistics.

A copy whose parameters are averaged, and whose buffers are not, normalises by the means and
variances that it was copied with: those that no batch has been through, as a rule.
"""

from __future__ import annotations

import linecache
import re
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, final

from tcstatic.model import Location
from tcstatic.runtime.probes.stream import Stream

_MOST_COPIES: Final = 16
_MOST_LAYERS: Final = 2  # of a copy: what is true of one is true of all
_MOST_ELEMENTS: Final = 1 << 16
_LEAST_BATCHES: Final = 8  # that the model has been through since
_MOVED: Final = 1e-3  # of a parameter, as a part of it
_FAR: Final = 0.25  # deviations that a mean has moved, or parts that a variance has changed by
_LOOKED: Final = 4  # calls that are looked at, and then those whose number has doubled
_AVERAGES: Final = re.compile(r"\bzip\(.*\bparameters\(\).*\bparameters\(\)")
_WRITES: Final = re.compile(r"\.(mul_|add_|lerp_|copy_)\(|\.data\s*=")
_BEHIND: Final = 5  # lines between a loop over parameters and what it writes


@final
@dataclass(slots=True)
class _Layer:
    """A layer of a copy, and the one that it was copied from: the statistics of both then, and how
    many batches the latter had been through."""

    mine: weakref.ref[Any]
    its: weakref.ref[Any]
    mean: Any
    batches: int


@final
@dataclass(slots=True)
class _Copy:
    """A copy with one of its parameters as it was at first; `calls` in eval mode so far, `stale`
    where the last one of these was that had old statistics."""

    module: weakref.ref[Any]
    number: int
    where: Location
    layers: list[_Layer]
    parameter: weakref.ref[Any]
    values: Any
    calls: int = 0
    stale: Location | None = field(default=None)


@final
class Inherited:
    """Follows the copies of one process. State: `_copies` by ``id``; one that is gone stays."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._copies: dict[int, _Copy] = {}

    def concerns(self, module: Any) -> bool:
        """Whether a module is such a copy."""
        one = self._copies.get(id(module))
        return one is not None and one.module() is module

    def copied(self, module: Any, where: Location | None, models: Iterable[Any]) -> None:
        """A call has returned a copy of one of these models."""
        if where is None or len(self._copies) >= _MOST_COPIES:
            return
        parameter: Any = next((p for p in module.parameters() if _is_plain(p)), None)
        for model in models if parameter is not None else ():
            if model is module or type(model) is not type(module):
                continue
            layers = list(_paired(module, model))[:_MOST_LAYERS]
            if layers and _is_like(module, model):
                values = parameter.detach().clone()
                number, mine = self._stream.registry.number(module), weakref.ref(module)
                one = _Copy(mine, number, where, layers, weakref.ref(parameter), values)
                self._copies[id(module)] = one
                return

    def called(self, module: Any, where: Location | None) -> None:
        """A copy is about to be called."""
        one = self._copies[id(module)]
        if module.training or where is None:
            return
        one.calls += 1
        if one.calls <= _LOOKED or not one.calls & (one.calls - 1):
            one.stale = where if _follows(one) and all(map(_is_stale, one.layers)) else None

    def settle(self) -> None:
        """The run ends: tell of copies that were evaluated with the statistics they began with."""
        for one in self._copies.values():
            if one.stale is not None:
                where = self._averaged_at(one.where) or one.where
                values = {"statistics_of_birth": True}
                self._stream.tell_of_run(where, {"model": (one.number,)}, values)

    def _averaged_at(self, copied: Location) -> Location | None:
        """Where parameters are averaged, in the file of the copy, if that is in one place."""
        lines = linecache.getlines(f"{self._stream.locator.root}{copied.file}")
        loops = [turn for turn, text in enumerate(lines) if _AVERAGES.search(text)]
        for first in loops if len(loops) == 1 else ():
            for line in range(first, min(first + _BEHIND, len(lines))):
                if _WRITES.search(lines[line]):
                    return Location(copied.file, line + 1, 1, line + 1, 1, "")
        return None


def _paired(module: Any, model: Any) -> Iterator[_Layer]:
    """The layers of a copy that keep statistics, each with the one that it was copied from."""
    others = dict(model.named_modules())
    for name, mine in module.named_modules():
        its: Any = others.get(name)
        if not _has_statistics(mine) or not _has_statistics(its):
            continue
        if mine.running_mean.shape == its.running_mean.shape and mine is not its:
            mean = mine.running_mean.detach().clone()
            batches = int(its.num_batches_tracked)
            yield _Layer(weakref.ref(mine), weakref.ref(its), mean, batches)


def _has_statistics(layer: Any) -> bool:
    mean, batches = (getattr(layer, one, None) for one in ("running_mean", "num_batches_tracked"))
    return mean is not None and batches is not None and _is_plain(mean)


def _is_plain(tensor: Any) -> bool:
    plain = not hasattr(tensor, "to_local") and not hasattr(tensor, "cls_to_become")
    return bool(plain and tensor.device.type == "cpu" and 0 < tensor.numel() <= _MOST_ELEMENTS)


def _is_like(module: Any, model: Any) -> bool:
    """Whether a copy has the parameters of a model, as far as one can be read."""
    pairs = zip(module.parameters(), model.parameters(), strict=False)
    known = [(one, other) for one, other in pairs if _is_plain(one) and _is_plain(other)][:4]
    return bool(known) and all(
        one.shape == other.shape and bool((one.detach() == other.detach()).all())
        for one, other in known
    )


def _follows(one: _Copy) -> bool:
    """Whether the parameters of a copy are not what they were, although nothing trains it."""
    parameter = one.parameter()
    if parameter is None or parameter.shape != one.values.shape or not _is_plain(parameter):
        return False
    if parameter.grad is not None:
        return False
    now = parameter.detach()
    return float((now - one.values).norm()) > _MOVED * float(one.values.norm())


def _is_stale(one: _Layer) -> bool:
    """Whether a layer has the statistics that it was copied with, and they are far from those of
    the model that was trained since."""
    mine, its = one.mine(), one.its()
    if mine is None or its is None or not (_has_statistics(mine) and _has_statistics(its)):
        return False
    mean, now = mine.running_mean, its.running_mean
    if (
        mean.shape != one.mean.shape
        or mean.shape != now.shape
        or not bool((mean == one.mean).all())
    ):
        return False
    if int(its.num_batches_tracked) - one.batches < _LEAST_BATCHES:
        return False
    deviation = its.running_var.clamp(min=1e-12).sqrt()
    moved = ((now - mean).abs() / deviation).max()
    changed = (its.running_var / mine.running_var.clamp(min=1e-12) - 1).abs().max()
    return float(moved) > _FAR or float(changed) > _FAR
