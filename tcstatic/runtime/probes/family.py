"""What this rank knows of parameters that may be copies of those on other ranks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final, final

from tcstatic.model import Location
from tcstatic.runtime.probes import measure
from tcstatic.runtime.probes.averaged import Averaged
from tcstatic.runtime.probes.brought import Brought
from tcstatic.runtime.probes.continuity import (
    BUFFER,
    COUNT,
    GRADIENT,
    STATE,
    WEIGHT,
    Continuity,
    states,
)
from tcstatic.runtime.probes.lonely import Lonely
from tcstatic.runtime.probes.optimizers import Optimizer
from tcstatic.runtime.probes.partings import Round
from tcstatic.runtime.probes.sources import Sources
from tcstatic.runtime.probes.unsynced import Unsynced

FIRST: Final = 4  # updates in which it is seen what a program does by hand


@final
class Family:
    """The parameters that one backward trains together, and what this rank knows of them.

    `parameters` are those that other ranks may have copies of, `everything` with those that they
    have not; `buffers` are of the same models. `group`: the ranks whose copies a wrapper keeps
    equal, empty where none does. State, reset each round: `gradients` digests before the first
    update, `used` those that the step takes where they were `written` to by the program, `sites`
    the sites passed since, `results` the norms that clipping returned, `rates` those that the last
    update used, `writer` the last site that wrote to one of them or its gradient, `pointers` their
    names by where their data begin, once that was asked. `round` counts the updates so far;
    `rounds` holds what this rank noted, by round, until it is compared; `compared` the round last
    compared and what the ranks had noted in it; `meant` the sites that only some of them passed
    while no copies parted, `suspected` those while some did; `backwards` counts those that the
    wrapper brings together; `continuity` tells whether all of it was left alone in between,
    `lonely` what was not on one rank alone, `averaged` which gradients a program brings together,
    `brought` which in vain, and `reduced` those of which it ever did; `unsynced` steps on gradients
    that were kept apart; `updated` whether a step came since the backward; `lost`: the ranks are no
    longer at one update, and are compared no more. `together`: a wrapper, or a parameter itself,
    says that ranks train one model; `_met` that they did so for the last update, `_local` that its
    gradients were kept apart.
    """

    def __init__(
        self,
        index: int,
        models: tuple[int, ...],
        parameters: list[tuple[str, Any]],
        group: tuple[int, ...],
        early: tuple[tuple[int, ...], tuple[int, ...]],
        own: Sequence[tuple[str, Any]] = (),
        buffers: Sequence[tuple[str, Any]] = (),
        *,
        layered: bool = False,
        laid_out: tuple[tuple[int, ...], tuple[int, ...]] = ((), ()),
        together: bool = True,
    ) -> None:
        self.index = index
        self.models = models
        self.parameters = parameters
        self.everything = [*parameters, *own]
        self.buffers = buffers
        self.group = group
        self.backwards = 0
        self.lost = False
        self._early = early
        self.round = -1
        self.gradients: measure.Pending | None = None
        self.written = False
        self.used: measure.Pending | None = None
        self.sites: list[int] = []
        self.results: dict[int, float] = {}
        self.writer = 0
        self.rates: tuple[float | None, ...] = ()
        self.pointers: dict[int, str] = {}
        self.rounds: dict[int, Round] = {}
        self.compared: tuple[int, dict[int, Round]] = (-1, {})
        self.meant: set[int] = set()
        self.suspected: set[int] = set()
        self.continuity = Continuity()
        self.averaged = Averaged()
        self.lonely = Lonely()
        self.sources = Sources(layered=layered)
        self.laid_out = any(laid_out)
        self.peers, self.beside = laid_out
        self.whole: frozenset[str] | None = None if self.beside else frozenset()
        self.brought = Brought()
        self.updated = False
        self.reduced: set[str] = set()
        self.steps = 0
        self._together = together
        self._met = self._local = False
        self.unsynced = Unsynced()

    def close(
        self, step: int, rates: tuple[float | None, ...], source: str, *, last: bool, met: bool
    ) -> Round:
        """Close the round; if it had no step, ranks have `met` in it. Return what is to be compared
        with other ranks."""
        names = [name for name, _ in self.parameters]
        values = [] if last else _digests([p for _, p in self.parameters]).values()
        if not last:
            self.continuity.finds(WEIGHT, self.everything)
        gradients = self.gradients.values() if self.gradients is not None else None
        early, self._early = self._early, ((), ())
        closed = Round(
            step,
            dict(zip(names, values, strict=not last)),
            None if gradients is None else dict(zip(names, gradients, strict=True)),
            self.group,
            tuple(self.sites),
            self.results,
            self.rates or rates,
            None if self.used is None else dict(zip(names, self.used.values(), strict=True)),
            self.writer,
            self.backwards,
            *early,
            self.continuity.changed(),
            tuple(sorted(self.continuity.by_torch)),
            self.steps,
            source,
            self.peers,
            self.beside,
            alone=not (self._together or self._met or (met and not self.steps)),
            local=self._local,
        )
        self.open()
        return closed

    def found_gradients(self) -> None:
        """Something will use or change the gradients: note them."""
        self.gradients = _digests([p.grad for _, p in self.parameters])
        self.continuity.finds(GRADIENT, [(name, p.grad) for name, p in self.everything])

    def backward_over(self) -> None:
        """A backward is over: its gradients stay as they are until something uses them."""
        self.continuity.leaves(GRADIENT, [(name, p.grad) for name, p in self.everything])

    def found_buffers(self) -> None:
        """A model is about to be called, which may write to its buffers."""
        if self.buffers:
            self.continuity.finds(BUFFER, self.buffers)

    def step_begins(self, live: Iterable[Optimizer], *, met: bool, local: bool) -> None:
        """An optimizer is about to use its state, and gradients for which ranks have `met`, or that
        are `local` on purpose."""
        self._met |= met
        self._local |= local
        for kind, tensors in self._states(live):
            self.continuity.finds(kind, tensors)

    def stepped(self, live: Iterable[Optimizer]) -> None:
        """A step is over: weights and states stay as they are until the next one."""
        self.continuity.leaves(WEIGHT, self.everything)
        self.continuity.leaves(BUFFER, self.buffers)
        self.updated = True
        self.steps += 1
        for kind, tensors in self._states(live):
            self.continuity.leaves(kind, tensors)

    def _states(self, live: Iterable[Optimizer]) -> list[tuple[str, list[tuple[str, Any]]]]:
        kept = states(self.everything, (one.thing() for one in live if not one.manual))
        return list(zip((STATE, COUNT), kept, strict=True))

    @property
    def brings(self) -> bool:
        """Whether it is still to be seen which gradients a program brings together."""
        return not self.group and self.round < FIRST

    def brings_together(self, tensor: Any, operation: str, where: Location) -> None:
        """A collective is about to be given a tensor: a gradient of the first update, perhaps."""
        if not (name := self.name_of(tensor)):
            return
        at = measure.pointer(tensor)
        if all(measure.pointer(parameter) != at for _, parameter in self.parameters):
            self.reduced.add(name)
            if self.round == 0:
                self.brought.together(name, operation, where, late=self.updated)

    def open(self) -> None:
        """A round begins: nothing is noted."""
        self.steps = 0
        self._met = self._local = False
        self.gradients, self.sites, self.results = None, [], {}
        self.written, self.used, self.updated = False, None, False
        self.writer, self.rates, self.pointers = 0, (), {}

    def holds(self, tensor: Any) -> bool:
        """Whether a tensor is one of its parameters, the data of one, or a gradient."""
        return bool(self.name_of(tensor))

    def name_of(self, tensor: Any) -> str:
        """Return the name of the parameter that a tensor is, holds the data of, or is the gradient
        of, with its position where models share names; '' for any other."""
        if not self.pointers:
            counts = Counter(name for name, _ in self.everything)
            for position, (name, parameter) in enumerate(self.everything):
                told = name if counts[name] == 1 else f"{name} (parameter {position})"
                for one in (parameter, parameter.grad):
                    if one is not None:
                        self.pointers[measure.pointer(one)] = told
            self.pointers.pop(0, None)
        return self.pointers.get(measure.pointer(tensor), "")


def _digests(tensors: Sequence[Any]) -> measure.Pending:
    return measure.digests(tensors) if tensors else measure.Known([])
