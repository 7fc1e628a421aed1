"""Backward, clearing and stepping: the life of gradients, from whatever shows it."""

from __future__ import annotations

import operator
import weakref
from collections.abc import Callable
from typing import Any, Final, final

from tcstatic.model import Location
from tcstatic.runtime.probes import measure, ownsteps
from tcstatic.runtime.probes.cuts import Cuts
from tcstatic.runtime.probes.forwards import Forwards
from tcstatic.runtime.probes.graphs import Graphs
from tcstatic.runtime.probes.groups import tell_held
from tcstatic.runtime.probes.halves import Halves
from tcstatic.runtime.probes.nonfinite import Around, NonFinite
from tcstatic.runtime.probes.optimizers import Interval, Optimizer, Snapshot, keep_suspects
from tcstatic.runtime.probes.ownership import Ownership
from tcstatic.runtime.probes.readings import StepReading, resolved
from tcstatic.runtime.probes.rounds import Rounds
from tcstatic.runtime.probes.schedules import tell_rates
from tcstatic.runtime.probes.slopes import STARVED, Slopes
from tcstatic.runtime.probes.stepfacts import StepFacts
from tcstatic.runtime.probes.stream import HEARD, Stream, listener
from tcstatic.runtime.probes.structure import Structure
from tcstatic.runtime.probes.torch_hooks import steps_in_progress
from tcstatic.runtime.probes.untracked import Untracked
from tcstatic.runtime.probes.vain import Vain
from tcstatic.runtime.probes.weights import Weights
from tcstatic.runtime.probes.windows import Windows

_ALL_RANKS: Final = listener("optimizer", 0)
# What is read of all in each step, in one call of C each.
_NUMBER: Final = operator.attrgetter("number")
_HEARD: Final = operator.attrgetter("heard")
_REACHED: Final = operator.attrgetter("reached")
MAX_LOSSES: Final = 64  # kept per step: microbatches beyond that are not looked at


@final
class Updates:
    """Follows every optimizer of one process.

    State: `optimizers` by number, `_gone` whether one of them is no more, `gone` the numbers of
    those of which not all steps were watched; `in_backward` whether a backward
    has begun and not ended, `_where` and `_loss` of it; `_stepping` the optimizers whose
    step is in progress, outermost first, and from where; `last_write` the place of the last write
    to a gradient that the source shows; `readings` of the steps since the last round; `_used` the
    clearings of gradients by the very step that has used them.
    """

    def __init__(
        self,
        stream: Stream,
        ownership: Ownership,
        structure: Structure,
        rounds: Rounds,
        before_update: Callable[[bool], None],
        round_begins: Callable[[], None],
        graphs: Graphs,
    ) -> None:
        self._stream = stream
        self._ownership = ownership
        self._rounds = rounds
        self._before_update = before_update
        self._round_begins = round_begins
        self._graphs = graphs
        self.forwards: Forwards  # its maker sets it, which needs this one
        self.optimizers: dict[int, Optimizer] = {}
        self._gone = False
        self.gone: set[int] = set()
        self.untracked = Untracked(stream, ownership, structure.initials)
        self.vain = Vain(stream)
        self.windows = Windows(stream)
        self.nonfinite = NonFinite(stream, self._around)
        self.halves = Halves(stream)
        self.slopes = Slopes(stream, ownership)
        self._facts = StepFacts(stream.registry, ownership, self.untracked, structure)
        weights = Weights(stream, ownership, structure, lambda: self.forwards.roots())
        self.cuts = Cuts(stream, weights)
        self.in_backward = False
        self._where: Location | None = None
        self._loss: measure.Pending | None = None
        self._stepping: list[tuple[Any, Location | None, Optimizer | None]] = []
        self.last_write: Location | None = None
        self.readings: list[StepReading] = []
        self._used: list[tuple[Optimizer, Location | None]] = []

    # -- who is there -------------------------------------------------------------------------

    def known(self, thing: Any, where: Location | None, *, made: bool = False) -> Optimizer:
        """Return the record of an optimizer; the first time is an event."""
        number = self._stream.registry.number(thing)
        record = self.optimizers.get(number)
        if record is None:
            record = Optimizer(number, weakref.ref(thing, self._lose), where)
            self.optimizers[number] = record
            tell_held(self._stream, record, where if made else None)
        return record

    def regrouped(self, thing: Any, where: Location | None) -> None:
        """Parameters were added to an optimizer."""
        record = self.known(thing, where)
        tell_held(self._stream, record, where)

    def _lose(self, reference: weakref.ref[Any]) -> None:
        self._gone = True

    def live(self) -> list[Optimizer]:
        """Return the optimizers that still exist."""
        if self._gone:
            self._gone = False
            for optimizer in list(self.optimizers.values()):
                if not optimizer.manual and optimizer.thing() is None:
                    del self.optimizers[optimizer.number]
                    self.gone |= {optimizer.number} if optimizer.missed else set()
        return list(self.optimizers.values())

    # -- backward -----------------------------------------------------------------------------

    def backward_begins(self, where: Location | None, loss: Any | None = None) -> None:
        """A backward starts: told by its call site, or by a gradient that reaches a model."""
        if self.in_backward:
            return
        if self._used:
            self._tell_used()
        self.in_backward = True
        self._where = where
        self._loss = self._read(loss, where) if loss is not None else None
        self._round_begins()
        starved = any(map(STARVED, self.optimizers.values()))
        if self.untracked.manual is not None:
            self.untracked.settle_update(self.optimizers, self._finish_step)
        held: list[int] = []
        for optimizer in self.live():
            parameters = optimizer.parameters()
            if not optimizer.manual:
                held.extend(map(id, parameters))
            if optimizer.ledger.backward_begins(parameters):
                self._tell_cleared(optimizer, self.last_write or where, observed=True)
        bare = not self.optimizers and not self._ownership.everyone()
        if loss is not None and (bare or starved or not self.untracked.looked):
            self.untracked.find_leaves(loss, lasting=not bare)
        self.untracked.backward_begins(self.forwards.roots(), tuple(held))

    def _read(self, loss: Any, where: Location | None) -> measure.Pending:
        """Read the graph of a loss where that is due, and return its number."""
        if self._graphs.read(loss, where):
            self.halves.read(loss, where)
        self.slopes.read(loss, everyone := self.live())
        number = measure.scalar(loss)
        said = self.nonfinite.backward_begins(loss, number)
        for optimizer in everyone if said else ():
            optimizer.interval.origin = said
        return number

    def backward_ends(self) -> None:
        """The backward is over, or must be: something else happens."""
        if not self.in_backward:
            return
        self.in_backward = False
        reached = []
        everyone = self.live()
        for optimizer in everyone:
            if optimizer.ledger.backward_ends(optimizer.parameters()):
                reached.append(optimizer)
                optimizer.cleared_again = False
        orphans = self.untracked.backward_ends()
        loss, self._loss = self._loss, None
        if not reached and not orphans and loss is None:
            # torch.autograd.grad, for an input or a penalty: nothing of it will be stepped
            self.forwards.unreached()
            return
        for loop in self._stream.loops:
            loop.backwards += 1
        self._note_backward(everyone, reached, orphans, loss)
        self._tell_backward(everyone, reached, len(orphans))
        if orphans or self.untracked.manual is not None:
            self.untracked.adopt_manual(self.optimizers, orphans, self._where)

    def _note_backward(
        self,
        everyone: list[Optimizer],
        reached: list[Optimizer],
        orphans: list[Any],
        loss: measure.Pending | None,
    ) -> None:
        for optimizer in everyone:
            interval = optimizer.interval
            interval.backwards += 1
            if orphans:
                interval.orphans.update(map(self._stream.registry.number, orphans))
            used = optimizer in reached
            if not used and reached:
                interval.others_reached = True
            used = used or bool(orphans) or not reached
            if used and loss is not None and len(interval.losses) < MAX_LOSSES:
                interval.losses.append(loss)

    def _tell_backward(
        self, everyone: list[Optimizer], reached: list[Optimizer], orphans: int
    ) -> None:
        pending = self.forwards.pending
        subjects = {
            "optimizer": tuple(map(_NUMBER, reached)),
            "model": tuple(dict.fromkeys(map(_NUMBER, filter(_REACHED, pending)))),
            HEARD: (_ALL_RANKS, *map(_HEARD, everyone)),
        }
        values = {"reached": len(reached), "untracked": orphans}
        self._stream.tell(self._stream.make("loss.backward", self._where, subjects, values))

    def _around(self) -> Around:
        """All who may have to name the cause of a failure, and the models that were called."""
        heard = tuple(optimizer.heard for optimizer in self.live())
        return heard, [record.module for record in self.forwards.pending]

    # -- clearing -----------------------------------------------------------------------------

    def cleared(self, thing: Any | None, where: Location | None) -> None:
        """``zero_grad`` was called on an optimizer, a model, or something of the user's."""
        self.backward_ends()
        # A step that was written by hand shows only now, and came before.
        self.untracked.settle_update(self.optimizers, self._finish_step)
        for optimizer in self.live():
            if not optimizer.manual and optimizer.thing() is thing:
                optimizer.ledger.announce_clearing()
                if optimizer.has_moved:
                    self._used.append((optimizer, where))
                else:
                    self._tell_cleared(optimizer, where)
            elif optimizer.ledger.observe(optimizer.parameters()):
                self._tell_cleared(optimizer, where)

    def _tell_used(self) -> None:
        """Tell of gradients that a step cleared once it had used them: at its end, or when
        it computes others."""
        used, self._used = self._used, []
        for optimizer, where in used:
            optimizer.ledger.announce_clearing()
            self._tell_cleared(optimizer, where)

    def _tell_cleared(
        self, optimizer: Optimizer, where: Location | None, *, observed: bool = False
    ) -> None:
        if not observed:
            self.forwards.discarded()
        subjects: dict[str, tuple[int, ...]] = {"optimizer": (optimizer.number,)}
        if not observed and optimizer.note_clearing():
            others = [o for o in self.live() if o is not optimizer]
            subjects["other"] = tuple(other.number for other in others)
            for other in others:
                other.interval.other_cleared = True
        if not optimizer.cleared_again and optimizer.ledger.touched:
            alone = len(self.optimizers) == 1 and not (self.last_write or self._stepping)
            optimizer.lost(self._where, alone=alone)
            self.vain.lost(optimizer)
            self.windows.lost(optimizer, where)
        optimizer.cleared_again = True
        if optimizer.interval.losses:
            optimizer.interval.discard_losses()
        told, make = {"observed": observed}, self._stream.make
        event = make("optimizer.zero_grad", where, subjects, told, step=optimizer.steps)
        self._stream.tell(event)

    # -- stepping -----------------------------------------------------------------------------

    def step_begins(self, thing: Any, where: Location | None, optimizer: Optimizer) -> None:
        """Torch's hook before a step. Only the outermost counts; an earlier one may have raised."""
        if self._stepping and self._is_stepping(thing):
            if steps_in_progress(thing) > 1:
                self._stepping.append((thing, where, None))
                return
            self._stepping = [one for one in self._stepping if one[0] is not thing]
        self._stepping.append((thing, where, None))
        if self.in_backward:
            self.backward_ends()
        self._before_update(True)
        parameters = optimizer.parameters()
        if optimizer.ledger.observe(parameters):
            self._tell_cleared(optimizer, self.last_write or where, observed=True)
        if self.cuts.window is not None or self.cuts.left:
            self.cuts.step_begins(optimizer)
        snapshot = optimizer.before = Snapshot(optimizer, parameters, optimizer.last)
        if optimizer.suspects:
            keep_suspects(optimizer, snapshot, self._stream.registry)
        optimizer.first = optimizer.first or snapshot.norms
        self._stepping[-1] = (thing, where, optimizer)

    def _is_stepping(self, thing: Any) -> bool:
        return any(other is thing for other, _, _ in self._stepping)

    def step_ends(self, thing: Any) -> None:
        """Torch's hook after a step."""
        stepping = self._stepping
        if not stepping or (stepping[-1][0] is not thing and not self._is_stepping(thing)):
            return
        last, where, optimizer = stepping.pop()
        while last is not thing:
            last, where, optimizer = stepping.pop()
        if optimizer is None:
            return
        if self.in_backward:
            self.backward_ends()
        snapshot, optimizer.before = optimizer.before, None
        if snapshot is not None:
            self._finish_step(optimizer, snapshot, where)
        if self._used:
            self._tell_used()

    def _finish_step(
        self, optimizer: Optimizer, snapshot: Snapshot, where: Location | None
    ) -> None:
        stream = self._stream
        stream.last_step_where = where or stream.last_step_where
        reading = StepReading(optimizer, snapshot, stream.registry, self._ownership)
        if norms := reading.bad_norms():
            optimizer.interval.origin = self.nonfinite.gradient_found(norms, self.last_write)
        elif reading.is_flat():
            optimizer.interval.origin = self.slopes.flat(optimizer, self._around()[1])
        values, concerned = self._facts.of(
            optimizer, snapshot, reading.facts, self._where, self.last_write
        )
        if optimizer.interval.origin:
            values = {**values, "origin": optimizer.interval.origin}
        if values["starved"]:
            values = {**values, **self._about_starving(optimizer, values)}
        if self.cuts.is_asked(optimizer):
            self.cuts.stepped(optimizer, snapshot, reading.norms)
        self.forwards.stepped(optimizer)
        event = stream.make(
            "optimizer.step",
            where,
            {
                "optimizer": (optimizer.number,),
                "model": tuple(self.untracked.models),
                "parameter": tuple(sorted(concerned)) if concerned else (),
                HEARD: (optimizer.heard,),
            },
            values,
            stream.context(stage="train", optimizer_step=optimizer.steps),
            step=optimizer.steps,
        )
        stream.draft(resolved(event, reading))
        self.readings.append(reading)
        if optimizer.ledger.backwards > 1 or self.windows.of:
            self.windows.stepped(optimizer, where)
        self._stepped(optimizer, snapshot)

    def _about_starving(self, optimizer: Optimizer, values: dict[str, Any]) -> dict[str, Any]:
        """Return what the models of an optimizer without gradients were doing."""
        called, unused = self.forwards.called_for(optimizer)
        unrecorded = self.forwards.tell_unrecorded(optimizer)
        named = self.cuts.name(optimizer, others=values["others_reached"])
        found = {"forward_unused": unused, "forward_unrecorded": unrecorded, "cut_known": named}
        cut = called and values["others_reached"] and not values["trained_before"]
        found["other_model_reached"] = bool(self.untracked.models)
        found["backward_reached_nothing"] = cut or values["backward_reached_nothing"]
        if found["backward_reached_nothing"] and not unrecorded:
            found |= self.slopes.starving(optimizer, self.live(), self._around()[1], found, values)
        return found

    def _stepped(self, optimizer: Optimizer, snapshot: Snapshot) -> None:
        tell_rates(stream := self._stream, optimizer, self.optimizers.values())
        if not optimizer.steps:
            ownsteps.tell(stream, optimizer)
        optimizer.steps += 1
        optimizer.interval = Interval()
        optimizer.tell_sharers(self.optimizers.values())
        optimizer.ledger.stepped(snapshot.parameters, stock=optimizer.stock)
        for loop in stream.loops:
            loop.steps += 1
        if self._rounds.end_with(optimizer):
            self.untracked.stepped()
            self.last_write = None
            self._rounds.done()

    def written(self, gradient: Any, where: Location | None) -> None:
        """A call cleared a gradient in place through an alias that has a version of its own."""
        self.untracked.settle_update(self.optimizers, self._finish_step)
        pointer = gradient.data_ptr()
        for optimizer in self.live():
            if optimizer.ledger.cleared:
                continue
            held = (p.grad for p in optimizer.parameters() if p.grad is not None)
            if any(one.data_ptr() == pointer for one in held):
                optimizer.ledger.announce_clearing()
                self._tell_cleared(optimizer, where)

    # -- sampling -----------------------------------------------------------------------------

    def forget(self) -> None:
        """Steps go by unwatched: nothing seen before may be compared with what comes after."""
        self.in_backward = False
        self._stepping = []
        self.cuts.leave()
        for optimizer in self.live():
            optimizer.forget()
        self._used = []
        self.untracked.forget()
