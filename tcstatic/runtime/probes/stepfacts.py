"""What a step finds: who holds which parameters, and where the gradients went."""

from __future__ import annotations

from typing import Any, Final, final

from tcstatic.model import Location
from tcstatic.runtime.probes.optimizers import Facts, Optimizer, Snapshot
from tcstatic.runtime.probes.ownership import Ownership
from tcstatic.runtime.probes.registry import Registry
from tcstatic.runtime.probes.structure import Structure
from tcstatic.runtime.probes.untracked import Untracked

_NOBODY: Final[frozenset[int]] = frozenset()
# What is said of a step, in the order in which it is read.
_NAMES: Final = (
    "type",
    "optimizer.parameters",
    "live.parameters",
    "untracked.parameters",
    "gradient.parameters",
    "has_gradient",
    "has_trainable",
    "stale",
    "untracked",
    "backwards",
    "discards_again",
    "discards_since",
    "backward_reached_nothing",
    "untracked_moves",
    "untracked_rounds",
    "untracked_since",
    "others_reached",
    "trained_before",
    "forward_unused",
    "starved",
    "starved_since",
    "cleared_other_optimizer",
    "discarded_bad_loss",
    "manual",
    "stock",
    "writes_elsewhere",
    "used_elsewhere",
)


@final
class StepFacts:
    """Reads, without a kernel, the sets and flags that invariants about a step ask for."""

    def __init__(
        self,
        registry: Registry,
        ownership: Ownership,
        untracked: Untracked,
        structure: Structure,
    ) -> None:
        self._registry = registry
        self._ownership = ownership
        self._untracked = untracked
        self._structure = structure

    def of(
        self,
        optimizer: Optimizer,
        snapshot: Snapshot,
        facts: list[Facts],
        backward: Location | None,
        written: Location | None,
    ) -> tuple[dict[str, Any], frozenset[int]]:
        """Return the values of a step's event, and the parameters whose history matters. The
        values are the same object while they are equal.

        `backward` and `written` are where the last backward was called, and where the source last
        wrote to a gradient since the step before.
        """
        parameters, gradients = snapshot.parameters, snapshot.gradients
        has_gradient = True in gradients
        trainable = has_gradient or any(parameter.requires_grad for parameter in parameters)
        starving = trainable and not has_gradient
        if starving or optimizer.starved:
            self._count_starving(optimizer, starving=starving)
        numbers = with_gradient = optimizer.numbers(facts)
        stale = _NOBODY
        if False in gradients:
            with_gradient, stale = self._without_gradient(optimizer, snapshot, facts)
        reached = optimizer.interval.orphans
        orphans = frozenset(reached) if reached else _NOBODY
        if reached or self._untracked.rounds:
            self._untracked.steps(optimizer, missing=bool(reached) and has_gradient)
        lost = 0 if optimizer.discards.idle else _lost(optimizer, backward, written)
        found = (
            optimizer.title,
            numbers,
            numbers - stale if stale else numbers,
            orphans,
            with_gradient,
            has_gradient,
            trainable,
            len(stale),
            len(orphans),
            optimizer.interval.backwards or _unseen(optimizer, parameters, has_gradient),
            lost > 0,
            optimizer.steps + 1 - lost if lost else None,
            starving and _reached_nothing(optimizer),
            *self._since(optimizer),
        )
        if found != optimizer.found[0]:
            optimizer.found = (found, dict(zip(_NAMES, found, strict=True)))
        idle = _NOBODY if trainable else numbers
        concerned = _NOBODY if has_gradient and not stale else stale | idle | orphans
        return optimizer.found[1], concerned

    def _since(self, optimizer: Optimizer) -> tuple[Any, ...]:
        """What happened since the step before, and how long that has been so."""
        interval, untracked = optimizer.interval, self._untracked
        return (
            untracked.moves,
            untracked.rounds,
            untracked.since,
            interval.others_reached,
            bool(optimizer.ledger.ever_touched),
            False,
            optimizer.starved,
            optimizer.starved_since,
            interval.other_cleared,
            interval.discarded_bad_loss,
            optimizer.manual,
            optimizer.stock,
            interval.foreign_writes,
            interval.used_elsewhere,
        )

    def _without_gradient(
        self, optimizer: Optimizer, snapshot: Snapshot, facts: list[Facts]
    ) -> tuple[frozenset[int], frozenset[int]]:
        """Return the parameters that have a gradient, and those that are stale."""
        gradients = snapshot.gradients
        stale = frozenset(
            facts[i][0]
            for i, p in enumerate(snapshot.parameters)
            if not gradients[i] and self._is_stale(p, i, optimizer)
        )
        return frozenset(fact[0] for i, fact in enumerate(facts) if gradients[i]), stale

    def _count_starving(self, optimizer: Optimizer, *, starving: bool) -> None:
        optimizer.starved = optimizer.starved + 1 if starving else 0
        if optimizer.starved == 1:
            optimizer.starved_since = optimizer.steps

    def _is_stale(self, parameter: Any, position: int, optimizer: Optimizer) -> bool:
        """Tell whether no model in use holds this parameter any more.

        A parameter that a live module holds may simply not be used now; it is stale only if what
        trains instead is a copy of that module. An update that is written by hand holds nothing: it
        is given anew what it changes.
        """
        ownership = self._ownership
        if optimizer.manual or not parameter.requires_grad or not ownership.had_owner(parameter):
            return False
        if not ownership.has_owner(parameter):
            return True
        if not optimizer.interval.orphans:
            return False
        if self._registry.known(parameter) in self._structure.replaced:
            return not self._untracked.holds(parameter)
        if position in optimizer.ledger.ever_touched:
            return False
        copied = self._structure.copied.intersection(self._untracked.models)
        return bool(copied) and not self._untracked.holds(parameter)


def _replaced(optimizer: Optimizer) -> bool:
    """Tell whether gradients are others than those that the last backward left."""
    marks, parameters = optimizer.ledger.after_backward, optimizer.parameters()
    seen = zip(parameters, marks, strict=False)
    return any(kept is not None and kept() is not p.grad for p, (kept, _) in seen)


def _lost(optimizer: Optimizer, backward: Location | None, written: Location | None) -> int:
    """Return how many steps in a row have found that gradients were cleared unused."""
    discards = optimizer.discards
    by_hand = discards.any and (written is not None or _replaced(optimizer))
    return discards.stepped(backward, written=by_hand)


def _unseen(optimizer: Optimizer, parameters: list[Any], has_gradient: bool) -> int | None:
    """Return how many backwards there were where none was seen: None where gradients came about."""
    return None if has_gradient and optimizer.ledger.fresh(parameters) else 0


def _reached_nothing(optimizer: Optimizer) -> bool:
    """Tell whether backward ran since the last step, and reached nobody's parameters."""
    interval = optimizer.interval
    return (
        interval.backwards > 0
        and optimizer.ledger.backwards == 0
        and not interval.orphans
        and not interval.others_reached
        and not interval.foreign_writes
    )
