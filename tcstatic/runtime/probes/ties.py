"""Tied weights: one tensor under two names of a model, and whether it is still one.

A tie is an agreement of two modules to hold one parameter. Loading by assignment, leaving the meta
device and initialising with new parameters each break it without a word.
"""

from __future__ import annotations

import sys
import weakref
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Final, Literal, final

from tcstatic.model import Context, Location
from tcstatic.runtime.probes.optimizers import Optimizer
from tcstatic.runtime.probes.ownership import Ownership
from tcstatic.runtime.probes.roles import MODULE, role_of
from tcstatic.runtime.probes.stream import HEARD, Stream, listener

_MOST_FRAMES: Final = 64  # between a registration and the loading that it is part of
_LOADING: Final = "load_state_dict"
How = Literal["loaded", "set", "replaced", "moved"]


@final
@dataclass(frozen=True, slots=True)
class _Change:
    """What took the place of a tied parameter, or of the module that held it."""

    how: How
    where: Location | None
    sequence: int
    step: int


@final
@dataclass(slots=True)
class _Tie:
    """Names of one parameter within `root`, and what has changed at them since."""

    root: weakref.ref[Any]
    names: tuple[tuple[str, ...], ...]
    modules: frozenset[int]
    changes: list[_Change] = field(default_factory=list)


@final
class Ties:
    """Follows the tied parameters of one process.

    State: `ties` those that hold, as far as is known; `_seen` for which version of all structure a
    model was looked at last, by its number; `_set` how many parameters were set anew at each place;
    `_told` how many were told.
    """

    def __init__(self, stream: Stream, ownership: Ownership) -> None:
        self._stream = stream
        self._ownership = ownership
        self.ties: list[_Tie] = []
        self._seen: dict[int, int] = {}
        self._set: dict[Location, int] = {}
        self._told = 0

    def made(self, root: Any) -> None:
        """A model is there as a whole, or is about to be trained: what is shared in it, is tied."""
        number, version = self._stream.registry.number(root), self._ownership.version
        if self._seen.get(number) == version:
            return
        self._seen[number] = version
        slots: dict[int, list[tuple[str, ...]]] = {}
        holders: dict[int, set[int]] = {}
        within = set()
        for path, module in root.named_modules():
            within.add(id(module))
            for name, parameter in module._parameters.items():
                if parameter is not None:
                    parts = (*path.split("."), name) if path else (name,)
                    slots.setdefault(id(parameter), []).append(parts)
                    holders.setdefault(id(parameter), set()).add(id(module))
        for key, names in slots.items():
            if len(names) > 1:
                modules = frozenset(holders[key])
                of_parts = [tie for tie in self.ties if tie.modules == modules]
                for tie in of_parts:
                    if id(tie.root()) in within:
                        self.ties.remove(tie)
                self.ties.append(_Tie(weakref.ref(root), tuple(names), modules))

    def parameter_set(self, module: Any) -> None:
        """A parameter of a module is being replaced."""
        where = self._stream.locator.here(3, thread=self._stream.thread)
        if where is not None:
            self._set[where] = self._set.get(where, 0) + 1
        change = self._change("loaded" if _is_loading(sys._getframe(3)) else "set", where)
        for tie in self.ties:
            if id(module) in tie.modules:
                tie.changes.append(change)

    def module_set(self, old: Any) -> None:
        """A submodule is being replaced."""
        change = self._change("replaced", self._stream.locator.here(3, thread=self._stream.thread))
        within = set(map(id, old.modules()))
        for tie in self.ties:
            if tie.modules & within:
                tie.changes.append(change)

    def _change(self, how: How, where: Location | None) -> _Change:
        return _Change(how, where, self._stream.sequence(), self._stream.step)

    def moved(self, root: Any, where: Location) -> None:
        """All parameters of a model are about to be made anew by one call."""
        if role_of(root) != MODULE:
            return
        change = self._change("moved", where)
        within = set(map(id, root.modules()))
        for tie in self.ties:
            if tie.modules & within:
                tie.changes.append(change)

    def look(self, optimizer: Optimizer, live: list[Optimizer]) -> None:
        """A step is done: see whether what was tied still is."""
        kept = []
        for tie in self.ties:
            root = tie.root()
            found: list[Any] = [None]
            if root is not None:
                found = [_at(root, names) for names in tie.names]
            if found[0] is not None and all(one is found[0] for one in found):
                tie.changes.clear()
                kept.append(tie)
            elif not _are_plain(found) or len({one.data_ptr() for one in found}) == 1:
                continue
            elif not _is_held(found, [optimizer]):
                kept.append(tie)
            else:
                self._broken(tie, root, found, optimizer, live)
        self.ties = kept

    def _broken(
        self, tie: _Tie, root: Any, found: list[Any], optimizer: Optimizer, live: list[Optimizer]
    ) -> None:
        """Names that were of one parameter are of several, which are trained apart."""
        change = tie.changes[-1] if tie.changes else self._change("moved", None)
        apart = list({id(one): one for one in found}.values())
        sure = change.how in ("loaded", "moved") or len(tie.changes) > 1
        sure = sure or self._set.get(change.where or Location("", 0), 0) > 1
        other_shape = len({one.shape for one in apart}) > 1
        made = change.where is not None and change.where.function.endswith("__init__")
        if made or (change.how == "replaced" and other_shape):
            return
        if not all(one.requires_grad for one in apart):
            return
        if not sure and not all(_is_held([one], live) for one in apart):
            return  # another rule tells of a parameter that is in no optimizer
        self._tell(tie, root, change, optimizer, sure=sure)

    def _tell(
        self, tie: _Tie, root: Any, change: _Change, optimizer: Optimizer, *, sure: bool
    ) -> None:
        stream = self._stream
        heard = listener("tie", self._told)
        self._told += 1
        names = [".".join(parts) for parts in tie.names]
        if change.where is not None:
            stream.tell(
                stream.make(
                    "model.mutate",
                    change.where,
                    {HEARD: (heard,)},
                    {"how": change.how, "name": names[-1]},
                    sequence=change.sequence,
                    step=change.step,
                )
            )
        subjects = {
            "model": (stream.registry.number(root),),
            "optimizer": (optimizer.number,),
            HEARD: (heard,),
        }
        values = {
            "tied": False,
            "names": " and ".join(names),
            "how": _SAID[change.how],
            "reason": "" if sure else "; it may be meant, since that is all that was done there",
        }
        context = stream.context()
        if not sure:
            context = Context(context.fields, frozenset({"tied"}))
        where = stream.last_step_where
        told = stream.make("state", where, subjects, values, context, step=optimizer.steps)
        stream.tell(told)


_SAID: Final[dict[How, str]] = {
    "loaded": "loaded by assignment",
    "set": "set anew",
    "replaced": "replaced together with its module",
    "moved": "made anew for each module",
}


def _at(root: Any, names: tuple[str, ...]) -> Any | None:
    module = root
    for name in names[:-1]:
        module = module._modules.get(name)
        if module is None:
            return None
    return module._parameters.get(names[-1])


def _are_plain(found: list[Any]) -> bool:
    """Whether all names are still those of ordinary parameters."""
    parameter: Any = sys.modules["torch"].nn.Parameter
    return all(type(one) is parameter for one in found)


def _is_held(found: list[Any], optimizers: list[Optimizer]) -> bool:
    """Whether one of the parameters is held by one of the optimizers."""
    asked = set(map(id, found))
    return any(id(p) in asked for optimizer in optimizers for p in optimizer.parameters())


def _is_loading(frame: FrameType | None) -> bool:
    """Whether torch's own loading of a state is among the callers."""
    for _ in range(_MOST_FRAMES):
        if frame is None:
            return False
        if frame.f_code.co_name == _LOADING:
            return True
        frame = frame.f_back
    return False
