"""Watch: one object per process that turns what probes and hooks see into events."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from types import FrameType
from typing import Any, Final, final

from tcstatic.model import Event, Needs, ProbeCounts, Site
from tcstatic.runtime.probes import entry
from tcstatic.runtime.probes.budget import Budget
from tcstatic.runtime.probes.loops import Loop, watched
from tcstatic.runtime.probes.roles import (
    LOADER,
    MODULE,
    OPTIMIZER,
    TENSOR,
    role_of,
)
from tcstatic.runtime.probes.stream import Stream

_ALWAYS: Final = frozenset({"optimizer.zero_grad", "loss.backward", "model.freeze"})
_MADE: Final = frozenset({MODULE, OPTIMIZER})


@final
class Watch:
    """Follows one process from its rewritten code and torch's hooks to events.

    Never raises into the user's program, but for what `settle` raises on purpose.
    State: `_parts` is what needs torch, made when torch arrives; `_disabled` the probes that
    raised, `_off` the numbers of their sites; `_busy` guards against our own reads being watched.
    """

    def __init__(
        self,
        sites: Sequence[Site],
        root: str,
        needs: Needs,
        budget: float,
        emit: Callable[[Event], None],
        settle: Callable[[], None],
    ) -> None:
        self._sites = {site.number: site for site in sites}
        self._needs = needs
        self._settle = settle
        self._stream = Stream(root, emit, self._sites)
        self._budget = Budget(budget)
        self._parts: Any = None
        self._remove: Callable[[], None] | None = None
        self._hooks: list[Callable[..., None]] = []
        self._disabled: dict[str, str] = {}
        self._off: set[int] = set()
        self._busy = False
        self._loader_seen: Any = None
        self._bounds: dict[int, float] = {}
        self._main = threading.get_ident()
        self._after: dict[int, Callable[[Site, Any, FrameType], None]] = {}
        self._on: dict[int, Callable[[Site, Any, FrameType], None]] = {}
        if "torch" in sys.modules:
            self.torch_imported()

    # -- lifecycle ----------------------------------------------------------------------------

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

        self._parts = Parts(self._stream, self._needs, self._round_done, self._from_backward)
        self._remove, self._hooks = torch_hooks.install(self)
        entry.attach(self)

    def dynamo_imported(self) -> None:
        """Torch's compiler is there: keep out of its graphs and its counts."""
        if not self._hooks:
            self.torch_imported()
        self._guarded("torch.compile", entry.dynamo_is_here, self._hooks)

    def counts(self) -> ProbeCounts:
        """Return what was watched so far."""
        return ProbeCounts(
            installed=len(self._sites),
            events=self._stream.events,
            sampled=round(self._budget.sampled, 6),
            disabled=tuple(sorted(self._disabled.items())),
        )

    def flush(self) -> None:
        """Hand on everything that is known, before a save, a signal or the end."""
        self._guarded("flush", self._flush)

    def _flush(self) -> None:
        if self._parts is not None:
            self._parts.finish()
        self._stream.flush()

    def close(self) -> ProbeCounts:
        """Stop watching: hand on what is known, take the hooks back."""
        self.flush()
        if self._parts is not None and self._budget.sampled < 1.0:
            self._guarded("flush", self._parts.updates.tell_trained)
            self._guarded("flush", self._stream.flush)
        entry.attach(None)
        if self._remove is not None:
            self._guarded("torch", self._remove)
            self._remove = None
        return self.counts()

    def pause(self) -> None:
        """Stop watching without a word (a forked child)."""
        entry.attach(None)
        if self._remove is not None:
            self._remove()
            self._remove = None

    # -- what rewritten code tells ------------------------------------------------------------

    def saw_value(self, number: int, value: Any) -> None:
        """A call returned (or an argument was computed)."""
        if self._busy or self._parts is None or threading.get_ident() != self._main:
            return
        site = self._sites.get(number)
        if site is not None:
            self._contained(site, self._value, site, value, sys._getframe(3))

    def saw_receiver(self, number: int, thing: Any) -> None:
        """A method of `thing` (or `thing` itself) is about to be called."""
        if self._busy or self._parts is None or threading.get_ident() != self._main:
            return
        site = self._sites.get(number)
        if site is not None:
            self._contained(site, self._receiver, site, thing, sys._getframe(3))

    def saw_target(self, number: int, thing: Any) -> None:
        """An attribute of `thing` is about to be set or deleted."""
        if self._busy or self._parts is None or threading.get_ident() != self._main:
            return
        site = self._sites.get(number)
        if site is not None:
            self._contained(site, self._target, site, thing, sys._getframe(3))

    def saw_loop(self, number: int, iterable: Iterable[Any]) -> Iterable[Any]:
        """A `for` statement begins."""
        site = self._sites.get(number)
        seen, self._loader_seen = self._loader_seen, None
        if self._parts is None or site is None or threading.get_ident() != self._main:
            return iterable
        loaded = role_of(iterable) == LOADER or seen is not None
        listed = not loaded and _is_list_of_batches(iterable)
        loop = Loop(site, site.location, loaded=loaded, listed=listed)
        return watched(iterable, loop, self._loop_turns, self._loop_ends)

    def _loop_turns(self, loop: Loop) -> None:
        if loop.index == 0:
            self._stream.loops.append(loop)

    def _loop_ends(self, loop: Loop) -> None:
        loops = self._stream.loops
        if loop in loops:
            del loops[loops.index(loop)]
            if self._budget.watching and self._parts is not None:
                self._guarded("loop.step", self._parts.forwards.loop_ended, loop)

    # -- dispatch -----------------------------------------------------------------------------

    def _value(self, site: Site, value: Any, frame: FrameType) -> None:
        parts = self._parts
        kind = site.kind
        if site.attribute and site.probe == "after":
            self._argument(site, value)
        elif kind == "model.forward":
            if self._budget.watching:
                parts.forwards.ends(value, frame, dropped="result" in site.arguments)
            if role_of(value) in _MADE:
                parts.made(site, value)
        elif kind in {"model.new", "wrap.new", "optimizer.new", "model.load", "scheduler.new"}:
            parts.made(site, value)
        elif self._budget.watching:
            parts.returned(site, value, frame, self._bounds)

    def _receiver(self, site: Site, thing: Any, frame: FrameType) -> None:
        parts = self._parts
        kind = site.kind
        if kind == "model.forward":
            if role_of(thing) == MODULE and self._budget.watching:
                parts.forwards.begins(thing, site.location, frame)
        elif kind == "loader.next":
            self._loader_seen = thing if role_of(thing) == LOADER else None
        elif kind == "model.save":
            self.flush()
            self._settle()
        elif kind in _ALWAYS or self._budget.watching:
            parts.called(site, thing, watching=self._budget.watching)

    def _target(self, site: Site, thing: Any, frame: FrameType) -> None:
        self._parts.assigned(site, thing, watching=self._budget.watching)

    def _argument(self, site: Site, value: Any) -> None:
        if isinstance(value, int | float):
            self._bounds[site.location.line] = float(value)

    # -- what torch tells ---------------------------------------------------------------------

    def step_begins(self, optimizer: Any) -> None:
        """An optimizer's step begins."""
        if self._budget.watching:
            self._guarded("optimizer.step", self._parts.step_begins, optimizer)

    def step_ends(self, optimizer: Any) -> None:
        """An optimizer's step is done."""
        if self._budget.watching:
            self._guarded("optimizer.step", self._parts.step_ends, optimizer)
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
        if self._budget.watching:
            where = self._stream.locator.here(2, thread=self._main)
            self._guarded("loss.backward", self._parts.updates.backward_begins, where)

    # -- containment --------------------------------------------------------------------------

    def _round_done(self) -> None:
        keep = 0 if self._parts.on_host else self._stream.waiting() - self._parts.queued_before
        self._stream.flush(max(keep, 0))
        self._parts.queued_before = self._stream.waiting()
        was = self._budget.watching
        watching = self._budget.step_done()
        self._settle()
        if was and not watching:
            self._parts.forget()
        elif watching and not was:
            self._parts.resume()

    def _contained(self, site: Site, work: Callable[..., None], *args: Any) -> None:
        if site.number in self._off:
            return
        self._guarded(site, work, *args)

    def _guarded(self, probe: str | Site, work: Callable[..., None], *args: Any) -> None:
        """Run a probe: count its time, and switch it off if it raises."""
        if isinstance(probe, str) and probe in self._disabled:
            return
        outer, self._busy = self._busy, True
        start = time.perf_counter()
        try:
            if self._parts is None or not self._parts.untouchable():
                work(*args)
        except Exception as problem:
            self._switch_off(probe, f"{type(problem).__name__}: {problem}")
        finally:
            self._busy = outer
            if not outer:
                self._budget.spent += time.perf_counter() - start

    def _switch_off(self, probe: str | Site, reason: str) -> None:
        if isinstance(probe, Site):
            self._off.add(probe.number)
            probe = f"{probe.kind} at {probe.location.file}:{probe.location.line}"
        self._disabled[probe] = reason


def _is_list_of_batches(iterable: Any) -> bool:
    """Tell whether a plain list holds batches: pairs (or dicts) of tensors."""
    if not isinstance(iterable, list | tuple) or not iterable:
        return False
    first = iterable[0]
    items = first.values() if isinstance(first, dict) else first
    if not isinstance(first, dict | tuple | list) or not items:
        return False
    return all(role_of(item) == TENSOR for item in items)
