"""Watch: one object per process that turns what probes and hooks see into events."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable, Sequence
from sys import _getframe
from threading import get_ident
from time import perf_counter
from types import FrameType
from typing import Any, Final, final

from tcstatic.model import Event, Mesh, Needs, ProbeCounts, Site
from tcstatic.runtime.probes import entry
from tcstatic.runtime.probes.budget import Budget
from tcstatic.runtime.probes.calls import Calls
from tcstatic.runtime.probes.entry import Handler
from tcstatic.runtime.probes.loops import Loop, loop_over, watched
from tcstatic.runtime.probes.nodes import notes_alone
from tcstatic.runtime.probes.roles import MODULE, OPTIMIZER, SCHEDULER, role_of
from tcstatic.runtime.probes.stream import Stream

_MADE: Final = frozenset({MODULE, OPTIMIZER})
_MAKING: Final = frozenset(
    "model.new wrap.new optimizer.new model.load scheduler.new loader.new sampler.new".split()
)


@final
class Watch:
    """Follows one process from its rewritten code and torch's hooks to events.

    Never raises into the user's program, but for what `settle` raises on purpose.
    State: `_parts` is what needs torch, made when torch arrives; `values`, `receivers` and
    `targets` what is done at each site, empty until then; `_disabled` the probes that raised;
    `_calls` those that are recorded one by one, if that was asked for;
    `_noting` the sites that are for graphs alone, which are among `values` while `_notes` is set;
    `_busy` guards against our own reads being watched.
    """

    def __init__(
        self,
        sites: Sequence[Site],
        root: str,
        needs: Needs,
        budget: float,
        emit: Callable[[Sequence[Event]], None],
        settle: Callable[[], None],
        files: Sequence[str] = (),
        *,
        libraries: Sequence[str] = (),
        all_calls: bool = True,
        mesh: Mesh | None = None,
    ) -> None:
        self._sites = {site.number: site for site in sites}
        self._needs = needs
        self._settle = settle
        self._stream = Stream(root, emit, self._sites, mesh)
        self._budget = Budget(budget)
        self._timed = budget < 1.0  # nothing depends on it where every step is watched
        recorded = [site for site in sites if files and "part" in site.arguments]
        named = frozenset() if all_calls else needs.calls
        self._calls = Calls(recorded, self._stream, self._budget, files, libraries, named)
        self._parts: Any = None
        self._untouchable: Callable[[], bool] = bool
        self._remove: Callable[[], None] | None = None
        self._hooks: list[Callable[..., None]] = []
        self._disabled: dict[str, str] = {}
        self._busy, self._main = False, get_ident()
        self._noting: dict[int, Handler] = {}
        self._notes = True
        self.values: dict[int, Handler] = {}
        self.receivers: dict[int, Handler] = {}
        self.targets: dict[int, Handler] = {}
        if "torch" in sys.modules:
            self.torch_imported()

    after = staticmethod(entry.after)
    on = staticmethod(entry.on)
    target = staticmethod(entry.target)
    loop = staticmethod(entry.loop)

    @property
    def steps(self) -> int:
        """Steps of the optimizer that stepped most often."""
        return self._stream.step

    def torch_imported(self) -> None:
        """Torch is there: register its hooks and make ready what reads tensors."""
        if self._parts is not None:
            return
        self._guarded("torch", self._install)

    def _install(self) -> None:
        from tcstatic.runtime.probes import torch_hooks
        from tcstatic.runtime.probes.parts import Parts
        from tcstatic.runtime.probes.states import handler_of

        self._parts = Parts(self._stream, self._needs, self._round_done, self._from_backward)
        self._untouchable = self._parts.untouchable
        for number, site in self._sites.items():
            if "part" in site.arguments:
                continue
            of_state = handler_of(site, self._parts, self._budget, self._saving)
            if of_state is not None:
                self.values[number] = self.receivers[number] = of_state
                continue
            self.values[number] = self._of_value(site)
            if site.attribute == "given" or notes_alone(site):
                self._noting[number] = self.values[number]
            self.receivers[number] = self._of_receiver(site)
            self.targets[number] = self._of_target(site)
        parts = self._parts
        self._calls.install(self.values, self.receivers, parts.updates, parts.ownership)
        self._remove, self._hooks = torch_hooks.install(self)
        entry.attach(self)

    def dynamo_imported(self) -> None:
        """Torch's compiler is there: keep out of its graphs and its counts."""
        if not self._hooks:
            self.torch_imported()
        self._guarded("torch.compile", entry.dynamo_is_here, self._hooks, [Watch.at_site])

    def counts(self) -> ProbeCounts:
        """Return what was watched so far."""
        return ProbeCounts(
            installed=len(self._sites),
            events=self._stream.events,
            sampled=round(self._budget.sampled, 6),
            disabled=tuple(sorted(self._disabled.items())),
            thinned=tuple(self._calls.notes()),
        )

    def flush(self) -> None:
        """Hand on everything that is known, before a save; training may go on."""
        self._guarded("flush", self._flush)

    def _flush(self, *, over: bool = False) -> None:
        if self._parts is not None:
            self._parts.settle(over=over)
        self._stream.flush()

    def close(self, *, patient: bool = False) -> ProbeCounts:
        """Stop watching: hand on what is known, take the hooks back; see `Parts.last_words`."""
        self._guarded("flush", lambda: self._flush(over=True))
        if self._parts is not None and self._budget.sampled < 1.0:
            self._guarded("flush", self._parts.tell_trained)
        if self._parts is not None:
            for name, work in self._parts.last_words(patient=patient):
                self._guarded(name, work)
            self._guarded("flush", self._stream.flush)
        entry.attach(None)
        if self._remove is not None:
            self._guarded("torch", self._remove)
            self._remove = None
        return self.counts()

    def pause(self) -> None:
        """Stop watching without a word (a forked child)."""
        entry.attach(None)
        if self._parts is not None:
            self._parts.updates.cuts.leave()
        if self._remove is not None:
            self._remove()
            self._remove = None

    # -- what rewritten code tells ------------------------------------------------------------

    def at_site(self, number: int, handler: Handler, thing: Any) -> None:
        """A site was reached: see to it in the time of our own, switch it off if that raises.

        What dynamo evaluates is switched off first of all: nothing of ours is any of its frames.
        """
        if self._busy or get_ident() != self._main:
            return
        before = entry.switch(None)
        self._busy = True
        start = perf_counter() if self._timed else 0.0
        try:
            if not self._untouchable():
                handler(thing, _getframe(2))
        except Exception as problem:
            self._site_off(number, problem)
        finally:
            self._busy = False
            if self._timed:
                self._budget.spent += perf_counter() - start
            if before is not None:
                entry.switch(before)

    def saw_loop(self, number: int, iterable: Iterable[Any]) -> Iterable[Any]:
        """A `for` statement begins."""
        site = self._sites.get(number)
        if self._parts is None or site is None or get_ident() != self._main:
            return iterable
        seen = self._parts.loaders.taken()
        loop = loop_over(site, iterable, from_loader=seen is not None)
        loader = iterable if seen is None else seen
        if "within" in site.arguments:  # a comprehension asks for its iterator now, come what may
            if not loop.batches:
                return iterable
            try:
                iterable = iter(iterable)
            except Exception:
                return iterable  # and raises again, from the user's own line
        if loop.loaded:
            self._guarded("loader.next", self._parts.loaders.begins, loop, loader)
        return watched(iterable, loop, self._loop_turns, self._loop_ends, self._loop_gives)

    def _loop_turns(self, loop: Loop) -> None:
        if loop.index == 0:
            self._stream.enter(loop)

    def _loop_gives(self, loop: Loop, item: Any) -> None:
        self._guarded("loader.next", self._parts.loaders.takes, loop, item)

    def _loop_ends(self, loop: Loop) -> None:
        if self._stream.leave(loop):
            if loop.load is not None:
                self._guarded("loader.next", self._parts.loaders.ends, loop)
            if self._budget.watching and self._parts is not None:
                self._guarded("loop.step", self._parts.loop_ended, loop)

    # -- what is done at a site: decided once ---------------------------------------------------

    def _of_value(self, site: Site) -> Handler:
        parts, budget, kind = self._parts, self._budget, site.kind
        if site.attribute == "given":
            return functools.partial(parts.given, site)
        if site.attribute and site.probe == "after":
            return lambda value, frame: parts.argument(site, value, frame, watching=budget.watching)
        if kind == "model.forward":
            return self._of_output(site)
        if kind == "loader.next":
            return lambda value, frame: parts.loaders.fetched(site, value)
        if kind in _MAKING:
            return lambda value, frame: parts.made(site, value)

        def returned(value: Any, frame: FrameType) -> None:
            if budget.watching:
                parts.returned(site, value, frame)

        def went_back(value: Any, frame: FrameType) -> None:
            if budget.watching:
                parts.backward_over()

        return went_back if kind == "loss.backward" else returned

    def _of_output(self, site: Site) -> Handler:
        parts, budget, dropped = self._parts, self._budget, "result" in site.arguments

        def forward(value: Any, frame: FrameType) -> None:
            if budget.watching:
                parts.forwards.ends(value, frame, dropped=dropped, where=site.location)
            if role_of(value) in _MADE:
                parts.made(site, value)

        return forward

    def _of_receiver(self, site: Site) -> Handler:
        parts, budget, kind = self._parts, self._budget, site.kind
        if kind == "model.forward":
            return self._of_module(site)
        if kind == "loader.next":
            return lambda thing, frame: parts.loaders.passes(thing)
        if kind == "optimizer.zero_grad":
            return lambda thing, frame: parts.clearing(site, thing, watching=budget.watching)
        if kind == "loss.backward":
            return lambda thing, frame: parts.backward(site, thing, watching=budget.watching)
        always, stepped = kind == "model.freeze", kind == "optimizer.step"

        def called(thing: Any, frame: FrameType) -> None:
            if stepped and role_of(thing) == SCHEDULER:
                parts.scheduled(site, thing)
            elif always or budget.watching:
                parts.called(site, thing, watching=budget.watching)

        return called

    def _of_module(self, site: Site) -> Handler:
        parts, budget = self._parts, self._budget

        def forward(thing: Any, frame: FrameType) -> None:
            parts.structure.initials.used()
            if budget.watching and role_of(thing) == MODULE:
                parts.called_model(site, thing, frame)
            elif parts.averages.concerns(thing):  # one is evaluated once all steps are done
                parts.averages.called(thing, site.location)

        return forward

    def _of_target(self, site: Site) -> Handler:
        parts, budget = self._parts, self._budget
        return lambda thing, frame: parts.assigned(site, thing, watching=budget.watching)

    def _saving(self, thing: Any, frame: FrameType) -> None:
        self.flush()
        self._settle()

    # -- what torch tells ---------------------------------------------------------------------

    def step_begins(self, optimizer: Any) -> None:
        """An optimizer's step begins."""
        if self._budget.watching:
            self._guarded("optimizer.step", self._parts.step_begins, optimizer)
        else:
            self._guarded("optimizer.step", self._parts.step_nears, optimizer)

    def step_ends(self, optimizer: Any) -> None:
        """An optimizer's step is done."""
        if self._budget.watching:
            self._guarded("optimizer.step", self._parts.step_ends, optimizer)
            if self._parts.look_is_due:
                self._guarded("model.look", self._parts.look, optimizer)
        else:
            self._guarded("optimizer.step", self._parts.step_passed, optimizer)

    def module_registered(self, parent: Any, name: str, child: Any) -> None:
        """A submodule is being set."""
        self._guarded("model.mutate", self._parts.structure.module_registered, parent, name, child)

    def parameter_registered(self, module: Any, name: str, parameter: Any) -> None:
        """A parameter is being set."""
        self._guarded(
            "model.mutate", self._parts.structure.parameter_registered, module, name, parameter
        )

    def _from_backward(self) -> None:
        """A gradient reached a model's output: a backward is under way, whoever called it."""
        if self._budget.watching and not self._parts.updates.in_backward:
            where = self._stream.locator.here(2, thread=self._main)
            self._guarded("loss.backward", self._parts.updates.backward_begins, where)

    def _kept_back(self) -> int:
        """Return how many events wait for the next round, which is the last that they wait for.

        They are those of this round where the device has not got there yet; and in a full watch,
        where the steps look like those before them: it costs less to judge two at once.
        """
        parts, waiting = self._parts, self._stream.waiting()
        readings, parts.updates.readings = parts.updates.readings, []
        if not parts.on_host:
            return int(max(waiting - parts.queued_before, 0))
        if parts.queued_before or not self._budget.full or not all([r.usual() for r in readings]):
            return 0
        return waiting

    # -- containment --------------------------------------------------------------------------

    def _note_graphs(self) -> None:
        """From one step to the next, look at what only graphs are told of, or no longer."""
        due = self._parts.graphs.due or self._parts.batches.due
        if due and not self._notes:
            self.values.update(self._noting)
        elif self._notes and not due:
            for number in self._noting:
                self.values.pop(number, None)
        self._notes = due
        initials = self._parts.structure.initials
        while initials.left:
            self.values.pop(initials.left.pop(), None)

    def _round_done(self) -> None:
        if self._stream.began == self._stream.rounds:
            self._budget.grant()
        self._note_graphs()
        self._stream.flush(self._kept_back())
        self._parts.queued_before = self._stream.waiting()
        was = self._budget.watching
        watching = self._budget.step_done()
        self._settle()
        if was and not watching:
            self._parts.forget()

    def _guarded(self, probe: str, work: Callable[..., None], *args: Any) -> None:
        """Run a probe: count its time, and switch it off if it raises."""
        if probe in self._disabled:
            return
        outer, self._busy = self._busy, True
        start = perf_counter()
        try:
            if not self._untouchable():
                work(*args)
        except Exception as problem:
            self._disabled[probe] = f"{type(problem).__name__}: {problem}"
        finally:
            self._busy = outer
            if not outer:
                self._budget.spent += perf_counter() - start

    def _site_off(self, number: int, problem: Exception) -> None:
        for handlers in (self.values, self.receivers, self.targets, self._noting):
            handlers.pop(number, None)
        site = self._sites[number]
        probe = f"{site.kind} at {site.location.file}:{site.location.line}"
        self._disabled[probe] = f"{type(problem).__name__}: {problem}"
