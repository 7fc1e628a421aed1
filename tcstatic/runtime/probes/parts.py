"""What one site's call means, given the object it was made on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Final, final

from tcstatic.model import Needs, Site
from tcstatic.runtime.probes.averages import Averages
from tcstatic.runtime.probes.batches import Batches
from tcstatic.runtime.probes.clearing import cleared_elsewhere, wrote_elsewhere
from tcstatic.runtime.probes.clipping import Clipping, written_bound
from tcstatic.runtime.probes.dropouts import Dropouts
from tcstatic.runtime.probes.forwards import Forwards
from tcstatic.runtime.probes.graphs import Graphs
from tcstatic.runtime.probes.kept import Kept
from tcstatic.runtime.probes.loaders import Loaders
from tcstatic.runtime.probes.loops import Loop
from tcstatic.runtime.probes.optimizers import Optimizer, on_host
from tcstatic.runtime.probes.ownership import Ownership
from tcstatic.runtime.probes.pipelines import Pipelines
from tcstatic.runtime.probes.portions import Portions
from tcstatic.runtime.probes.replicas import Replicas
from tcstatic.runtime.probes.roles import (
    ACTOR,
    LOADER,
    MODULE,
    OPTIMIZER,
    PIPELINE,
    SCALER,
    SCHEDULER,
    TENSOR,
    role_of,
)
from tcstatic.runtime.probes.rounding import Rounding
from tcstatic.runtime.probes.rounds import Rounds
from tcstatic.runtime.probes.scaling import scaled
from tcstatic.runtime.probes.schedules import Schedules, tell_rates
from tcstatic.runtime.probes.stream import Stream
from tcstatic.runtime.probes.structure import Structure, flatten
from tcstatic.runtime.probes.ties import Ties
from tcstatic.runtime.probes.unheld import Unheld
from tcstatic.runtime.probes.unmatched import Unmatched
from tcstatic.runtime.probes.untouchable import untouchable
from tcstatic.runtime.probes.updates import Updates
from tcstatic.runtime.probes.vain import tell_trained

# Kinds whose result is told of together with the receiver, as is that of a clearing.
_WRITING: Final = frozenset({"call", "grad.write"})
# Models are looked at in each of so many first steps, then in one of as many.
_LOOKS: Final = 16
_ANSWERED: Final = frozenset({"model.train", "model.eval"})


@final
class Parts:
    """The followers of one process, and the calls that reach them.

    `untouchable` tells whether reading tensors now would become part of a recording or a transform.

    State: `_calls` the receivers whose calls are in progress, as (site kind, receiver), so that
    the site of the result knows whose result it is; `_bounds` what clipping was given, by line.
    """

    def __init__(
        self,
        stream: Stream,
        needs: Needs,
        round_done: Callable[[], None],
        backward_seen: Callable[[], None],
    ) -> None:
        self.stream, self.needs = stream, needs
        self.queued_before, self.on_host = 0, True
        self._rounds = rounds = Rounds(stream, round_done)
        self.ownership = ownership = Ownership(stream.registry)
        self.ties = Ties(stream, ownership)
        self.structure = Structure(stream, ownership, self.ties)
        self.graphs = Graphs(stream, needs, lambda: self.forwards.roots().values())
        self.averages = Averages(stream, self.structure.inherited)
        self.schedules, self.batches = Schedules(stream), Batches(stream)
        self.replicas = Replicas(stream, ownership, self.structure, lambda: self.updates.live())
        portions = Portions(stream, self.replicas, self.structure)
        self.loaders = Loaders(stream, self.batches, portions)
        hooks = (self.replicas.before_update, self._round_begins)
        self.updates = Updates(stream, ownership, self.structure, rounds, *hooks, self.graphs)
        self.clipping, self.kept = Clipping(stream, self.updates), Kept(stream, self.updates)
        self.unmatched, self.rounding = Unmatched(stream), Rounding(stream)
        self.unheld = Unheld(stream, ownership, self.structure.initials)
        self.forwards = Forwards(
            stream,
            self.structure,
            ownership,
            backward_seen,
            self.updates.backward_ends,
            self.graphs,
            self.batches.trained,
            self.unheld.gave,
        )
        self.updates.forwards = self.forwards
        self.pipelines = Pipelines(self.forwards, self.updates, self.replicas)
        self._torch: Any = sys.modules["torch"]
        self.untouchable = untouchable(self._torch)
        self.dropouts = Dropouts(stream)
        self._calls: dict[str, Any] = {}
        self._bounds: dict[int, float] = {}

    # -- made, called, returned, assigned -----------------------------------------------------

    def made(self, site: Site, value: Any) -> None:
        """A call returned something that may be a model or an optimizer."""
        if role_of(value) == SCALER:
            self.updates.halves.scaler_made(value, site.location)
        elif site.kind == "sampler.new":
            self.loaders.sampler_made(value, site.location)
        for thing in flatten(value):
            role = role_of(thing)
            if role == SCHEDULER:
                if (driven := self._driven(thing)) is not None:
                    self.schedules.made(thing, driven, site.location)
            elif role == LOADER:
                self.loaders.made(thing, site.location)
            elif role == OPTIMIZER:
                # Without hooks it wraps the optimizer that will tell of its steps itself.
                if "_optimizer_step_pre_hooks" in vars(thing) and hasattr(thing, "param_groups"):
                    self.structure.optimizer_made(site.location)
                    record = self.updates.known(thing, site.location, made=True)
                    self.loaders.rebuilds.made(record, site.location)
            else:
                self.structure.model_returned(thing, site, site.location)
                if self.ownership.shared:
                    self.ties.made(thing)

    def scheduled(self, site: Site, scheduler: Any) -> None:
        """A scheduler's step is about to be called, on whatever step."""
        self.replicas.scheduled(site)
        if (driven := self._driven(scheduler)) is not None:
            self.schedules.stepped(scheduler, driven, self.updates.live(), site.location)

    def _driven(self, scheduler: Any) -> Optimizer | None:
        """The optimizer whose rates a scheduler sets, past what wraps it."""
        optimizer = getattr(scheduler, "optimizer", None)
        if role_of(optimizer) != OPTIMIZER or not hasattr(optimizer, "param_groups"):
            return None
        return self.updates.known(optimizer, None)

    def clearing(self, site: Site, thing: Any, *, watching: bool) -> None:
        """Gradients of `thing` are about to be cleared."""
        if watching:
            self._calls[site.kind] = thing
        self.replicas.passed(site)

    def backward(self, site: Site, thing: Any, *, watching: bool) -> None:
        """A backward from `thing` is about to be called."""
        self.replicas.passed(site)
        if not watching:
            return
        updates, whole = self.updates, False
        if updates.in_backward:
            updates.backward_ends()
        if role_of(thing) == TENSOR:
            if updates.cuts.window is not None:
                updates.cuts.loss(thing, site.location)
            if not self.loaders.classes.over:
                self.loaders.classes.read(thing, site.location)
            whole = thing.numel() == 1 and thing.requires_grad
        updates.backward_begins(site.location, thing if whole else None)

    def backward_over(self) -> None:
        """The call of a backward has returned."""
        self.updates.backward_ends()
        self.replicas.backward_over()
        if self.updates.cuts.window is not None:
            self.updates.cuts.backward_over()

    def called(self, site: Site, thing: Any, *, watching: bool) -> None:
        """Another method of `thing` is about to be called."""
        kind = site.kind
        if kind in _ANSWERED:
            self._calls[kind] = thing
        if watching or kind == "model.freeze":
            self._about_to_call(site, thing)
        if kind in _WRITING and role_of(thing) == TENSOR:
            self.replicas.wrote(site, thing)
        self.replicas.passed(site)  # now that gradients are noted as the backward left them

    def _about_to_call(self, site: Site, thing: Any) -> None:
        kind, role = site.kind, role_of(thing)
        if kind == "sampler.set_epoch":
            self.loaders.told_epoch(thing, site.location)
        elif kind == "model.freeze":
            self._froze(site, thing, role)
        elif kind == "grad.clip":
            self._update_begins()
            self.clipping.begins()
        elif kind == "grad.write" and role == TENSOR:
            self._written_in_place(site, thing)
        elif role == SCALER and thing.is_enabled():
            scaled(self.stream, site, thing, self._update_begins)
        elif kind == "optimizer.step" and role in (OPTIMIZER, ACTOR):
            self._update_begins()
        elif kind == "optimizer.step" and role == PIPELINE:
            self.pipelines.begins(site, thing)

    def _froze(self, site: Site, thing: Any, role: str) -> None:
        if role in (MODULE, TENSOR):
            parameters = list(thing.parameters()) if role == MODULE else [thing]
            self.unheld.froze(parameters, site.location, self.updates.live())
            self.structure.froze(thing, parameters, site.location)

    def _written_in_place(self, site: Site, gradient: Any) -> None:
        self._update_begins()
        self.updates.last_write = site.location
        if site.callee.endswith(("zero_", "fill_")) and not gradient.requires_grad:
            self.updates.written(gradient, site.location)

    def _update_begins(self) -> None:
        self.updates.backward_ends()
        self.replicas.before_update()

    def argument(self, site: Site, value: Any, frame: FrameType, *, watching: bool) -> None:
        """A collective, or clipping, is about to be given something."""
        if site.kind == "dist.collective":
            self.replicas.brings(site, value, frame, watching=watching)
        elif isinstance(value, int | float):
            self._bounds[site.location.line] = float(value)

    def returned(self, site: Site, value: Any, frame: FrameType) -> None:
        """A call returned, on a watched step."""
        kind = site.kind
        thing = value if "gives" in site.arguments else self._calls.pop(kind, None)
        if kind == "optimizer.zero_grad":
            self.updates.cleared(thing, site.location)
            cleared_elsewhere(self.stream, thing, self.updates.live(), site.location)
        elif kind == "grad.clip":
            stock = site.callee.startswith("torch.nn.utils.")
            if (bound := self._bounds.pop(site.location.line, None)) is None:
                bound = written_bound(site)
            self.clipping.ends(site.location, bound, stock=stock)
            self.replicas.clipped(site, value)
        elif kind == "dist.collective":
            self.replicas.outcomes.returned(site, value)
        elif kind == "optimizer.step":
            self.pipelines.ends()
        elif kind in _ANSWERED and role_of(thing) == MODULE:
            self.structure.mode_called(thing, site, site.location)
        elif kind == "call" and "dropout" in site.callee:
            self.dropouts.called(site, frame)
        elif kind == "call" and site.arguments.keys() & {"makes", "layer"}:
            self.graphs.made(site, value)

    def called_model(self, site: Site, model: Any, frame: FrameType) -> None:
        """A model, or a loss, is about to be called."""
        if self.updates.cuts.window is not None:
            self.updates.cuts.calls(model)
        if self.averages.concerns(model):
            self.averages.called(model, site.location)
        self.forwards.begins(model, site.location, frame)
        self.replicas.model_begins()

    def given(self, site: Site, value: Any, frame: FrameType) -> None:
        """A model or a loss is about to be given something."""
        if self.batches.due:
            self.batches.given(site, value, self.forwards.open_in(frame))

    def assigned(self, site: Site, thing: Any, *, watching: bool) -> None:
        """An attribute is about to be set: the place counts, what it did is read from state."""
        self.replicas.passed(site)
        if role_of(thing) != TENSOR:
            return
        if site.attribute == "data":
            self.structure.initials.wrote(thing, site.location)
        if site.attribute == "requires_grad" and thing.is_leaf:
            self._froze(site, thing, TENSOR)
        if site.attribute == "grad":
            number = self.stream.registry.number(thing)
            if watching:
                self._update_begins()
                self.updates.last_write = site.location
            self.replicas.wrote(site, thing)
            held = thing.is_leaf and self.ownership.had_owner(thing)
            if held and not thing.requires_grad:
                subjects, how = {"parameter": (number,)}, {"how": "given_frozen"}
                self.stream.tell(self.stream.make("grad.write", site.location, subjects, how))
            if not held and watching:
                wrote_elsewhere(self.stream, site, number, self.updates.live())

    # -- torch --------------------------------------------------------------------------------

    def step_begins(self, optimizer: Any) -> None:
        """Torch's hook before a step."""
        # Five frames of ours lie between torch's hook and the look at them.
        where = self.stream.locator.here(5, thread=self.stream.thread)
        record = self.updates.known(optimizer, where)
        self.step_nears(optimizer, record)
        self.structure.step_begins(optimizer, record.number)
        self.updates.step_begins(optimizer, where, record)
        if self.ownership.shared and not record.steps:
            for root in self.forwards.roots().values():
                self.ties.made(root)

    def step_nears(self, optimizer: Any, known: Optimizer | None = None) -> None:
        """A step is about to begin, watched or not."""
        record = known or self.updates.known(optimizer, None)
        if self.unmatched.waiting:
            self.unmatched.settle()
        if record.number not in self.rounding.idle:
            self.rounding.begins(record)

    def step_ends(self, optimizer: Any) -> None:
        """Torch's hook after a step."""
        if self.rounding.looks or self.kept.taken or self.ties.ties:
            record = self.updates.known(optimizer, None)
            self.rounding.ends(record)
            self.kept.stepped(record)
            self.ties.look(record, self.updates.live())
        if self.on_host and self._torch.cuda.is_initialized():
            self.on_host = on_host(optimizer)
        self.updates.step_ends(optimizer)
        self.replicas.stepped()

    @property
    def look_is_due(self) -> bool:
        """Whether models are to be looked at after this step of some optimizer."""
        step, turn = self.stream.step, self.stream.rounds
        fresh = turn - self.stream.began < _LOOKS
        return fresh or step > self.structure.due or not turn % _LOOKS

    def look(self, optimizer: Any) -> None:
        """A watched step is done: look at the models, if it is time."""
        record = self.updates.known(optimizer, None)
        self.structure.stepped(record.number, record.steps - 1)
        self.unheld.stepped(record, self.updates.live)

    def step_passed(self, optimizer: Any) -> None:
        """A step that is not watched: count it."""
        record = self.updates.known(optimizer, None)
        tell_rates(self.stream, record, self.updates.optimizers.values())
        self.rounding.ends(record)
        record.steps, record.missed = record.steps + 1, True
        self.unheld.stepped(record, self.updates.live)
        self.updates.cuts.passed(record)
        self.kept.stepped(record)
        if self._rounds.end_with(record):
            self._rounds.done()

    def _round_begins(self) -> None:
        if self.replicas.expected:
            self.replicas.round_begins([*self.forwards.roots().values()])

    def forget(self) -> None:
        """The next steps are not watched."""
        self.updates.forget()
        self.updates.windows.of = {}
        self.forwards.forget()
        self.replicas.forget()
        self._calls, self.dropouts.seen = {}, {}
        self.stream.tell(self.stream.make("gap", None, {}))

    def loop_ended(self, loop: Loop) -> None:
        """A loop is over."""
        self.forwards.loop_ended(loop)
        self.updates.windows.ends(self.updates.optimizers, loop)

    def tell_trained(self) -> None:
        """The run ends, parts of which nobody watched."""
        tell_trained(self.stream, self.updates.live(), self.updates.gone)

    def last_words(self, *, patient: bool) -> Iterator[tuple[str, Callable[[], None]]]:
        """The run ends: what is told only then, each by the name of its probe. Whoever is `patient`
        waits a moment for other ranks. Gradients in eval mode are wanted for the input; a loss
        scaler may have skipped all steps.
        """
        if patient:
            yield "ranks", self.replicas.await_others
            yield "mesh", self.replicas.check_mesh
        updates = self.updates
        several = len(updates.optimizers) > 1
        meant = several or self.stream.loss_scaled or self.forwards.discarded_in_eval
        yield "vain", lambda: updates.vain.settle(meant=meant)
        for one in (updates.cuts, self.unheld, self.rounding, self.averages, self.structure):
            yield type(one).__name__.lower(), one.settle
        if self.stream.step:
            yield "unmatched", self.unmatched.settle
        yield "schedules", lambda: self.schedules.finish(updates.live())
        yield "untracked", lambda: updates.untracked.settle(updates.live())
        yield "windows", lambda: updates.windows.settle(updates.optimizers)
        yield "graphs", lambda: self.graphs.settle(updates.live())

    def settle(self, *, over: bool) -> None:
        """The run ends or pauses: settle what is open; once it is `over`, what ranks compare."""
        self.updates.backward_ends()
        self.updates.untracked.settle_update(self.updates.optimizers, self.updates._finish_step)
        self.forwards.finish()
        if over:
            self.replicas.finish()
