"""States of models that were kept: whether they still are what they were when they are loaded.

``state_dict()`` gives the tensors of the model themselves. Two names of one tensor are known by
where its data begins; no data is read.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, final

from tcstatic.model import Location, Site
from tcstatic.runtime.probes.ledger import VERSION
from tcstatic.runtime.probes.optimizers import Optimizer
from tcstatic.runtime.probes.roles import MODULE, role_of
from tcstatic.runtime.probes.stream import HEARD, Stream, listener
from tcstatic.runtime.probes.updates import Updates

_MOST_RECORDS: Final = 64  # states that are still held by someone; older ones are not judged
_MARKED: Final = 4  # tensors by which a state is known again, whatever dict holds them
_PRUNED: Final = 32  # steps, after which those that nobody holds any more are dropped


@final
@dataclass(slots=True)
class _Taken:
    """A state that was taken: `marks` are some of its tensors, `steps` how often each optimizer had
    stepped then; `overwritten` whether another state was loaded over it since."""

    where: Location
    sequence: int
    step: int
    marks: tuple[weakref.ref[Any], ...]
    steps: dict[int, int]
    overwritten: bool = False

    def is_alive(self) -> bool:
        """Whether somebody holds one of its tensors."""
        return any(mark() is not None for mark in self.marks)


@final
class Kept:
    """Follows the states that sites took.

    State: `taken` those that may still be held, oldest first; `_receiver` the module whose
    ``load_state_dict`` is being called; `_written` the versions of an optimizer's parameters after
    its last step, by its number; `_told` how many were told.
    """

    def __init__(self, stream: Stream, updates: Updates) -> None:
        self._stream = stream
        self._updates = updates
        self.taken: list[_Taken] = []
        self._receiver: Any = None
        self._written: dict[int, list[int]] = {}
        self._told = 0

    def took(self, site: Site, state: Any) -> None:
        """A site returned the state of something."""
        tensors = _tensors(state)
        if not tensors:
            return
        marks = tuple(map(weakref.ref, tensors[:_MARKED]))
        steps = {one.number: one.steps for one in self._updates.live()}
        stream = self._stream
        if len(self.taken) >= _MOST_RECORDS:
            self.taken = [one for one in self.taken if one.is_alive()][1 - _MOST_RECORDS :]
        one = _Taken(site.location, stream.sequence(), stream.step, marks, steps)
        self.taken.append(one)

    def stepped(self, optimizer: Optimizer) -> None:
        """A step is done, watched or not, while states are held."""
        if not self.taken:
            return
        if not optimizer.steps % _PRUNED:
            self.taken = [one for one in self.taken if one.is_alive()]
        try:
            self._written[optimizer.number] = list(map(VERSION, optimizer.parameters()))
        except RuntimeError:  # an inference tensor has no version
            self._written.pop(optimizer.number, None)

    def begins(self, thing: Any) -> None:
        """``load_state_dict`` of something is about to be called."""
        self._receiver = thing if self.taken and role_of(thing) == MODULE else None

    def loads(self, site: Site, state: Any) -> None:
        """This state is about to be loaded into what was named last."""
        module, self._receiver = self._receiver, None
        if module is None or not isinstance(state, Mapping):
            return
        live = dict(module.named_parameters(remove_duplicate=False))
        pairs = [(state[name], own) for name, own in live.items() if name in state]
        pairs = [(given, own) for given, own in pairs if _is_plain(given) and _is_plain(own)]
        one = self._taken_as(state)
        if one is None or not pairs:
            return
        trained = self._trained(one, [own for _, own in pairs])
        asked = [pair for pair in pairs if id(pair[1]) in trained] or pairs
        if not all(map(_is_same, asked)):
            self._overwrites(module)
        elif one.overwritten or (trained and not self._written_since(trained)):
            self._tell(site, module, one)

    def _tell(self, site: Site, module: Any, one: _Taken) -> None:
        """What is loaded is what is there, and was to be something else."""
        stream = self._stream
        heard = listener("state", self._told)
        self._told += 1
        values = {"how": "state_dict", "kept": True}
        stream.tell(
            stream.make(
                "model.save",
                one.where,
                {HEARD: (heard,)},
                values,
                sequence=one.sequence,
                step=one.step,
            )
        )
        subjects = {"model": (stream.registry.number(module),), HEARD: (heard,)}
        told = {"stale_state": True, "loaded": True, "kept_in_step": one.step}
        stream.tell(stream.make("call", site.location, subjects, told))

    def _trained(self, one: _Taken, parameters: list[Any]) -> dict[int, Optimizer]:
        """Return the parameters that a step has changed since, by ``id``, each with its
        optimizer."""
        asked = {id(parameter) for parameter in parameters}
        found: dict[int, Optimizer] = {}
        for optimizer in self._updates.live():
            if optimizer.steps > one.steps.get(optimizer.number, 0):
                held = (id(p) for p in optimizer.parameters() if p.requires_grad)
                found.update((key, optimizer) for key in held if key in asked)
        return found

    def _written_since(self, trained: dict[int, Optimizer]) -> bool:
        """Whether somebody wrote to the parameters after the last step: through the state, perhaps,
        which is then loaded as it should be."""
        stepped = {optimizer.number: optimizer for optimizer in trained.values()}
        return any(
            self._written.get(number) != list(map(VERSION, optimizer.parameters()))
            for number, optimizer in stepped.items()
        )

    def _taken_as(self, state: Mapping[Any, Any]) -> _Taken | None:
        """Return which of the states that were taken holds tensors of this one; where it holds
        others of the same data, the last one that was taken."""
        held = set(map(id, state.values()))
        for one in reversed(self.taken):
            if any(id(mark()) in held for mark in one.marks if mark() is not None):
                return one
        pointers = {value.data_ptr() for value in state.values() if _is_plain(value)}
        for one in reversed(self.taken):
            alive = [tensor for mark in one.marks if (tensor := mark()) is not None]
            if any(tensor.data_ptr() in pointers for tensor in alive):
                return one
        return None

    def _overwrites(self, module: Any) -> None:
        """Another state is written over what some of the states that are held consist of."""
        own = {p.data_ptr() for p in module.parameters() if _is_plain(p)}
        for one in self.taken:
            alive = [tensor for mark in one.marks if (tensor := mark()) is not None]
            if any(tensor.data_ptr() in own for tensor in alive):
                one.overwritten = True


def _tensors(state: Any) -> list[Any]:
    """Return the tensors of a state of a module; none for that of an optimizer."""
    if not isinstance(state, Mapping):
        return []
    return [value for value in state.values() if _is_plain(value) and value.is_floating_point()]


def _is_plain(value: Any) -> bool:
    torch: Any = sys.modules["torch"]
    if type(value) not in (torch.Tensor, torch.nn.Parameter):
        return False
    return bool(value.layout == torch.strided and value.numel())


def _is_same(pair: tuple[Any, Any]) -> bool:
    given, own = pair
    return bool(given.data_ptr() == own.data_ptr() != 0 and given.shape == own.shape)
