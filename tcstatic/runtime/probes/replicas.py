"""Copies on several ranks: published to the launcher's store, compared when they have arrived.

No rank waits for another while it trains: each writes what it has under (step, rank), and rank 0
compares what is there. What must be equal is declared by a wrapper, or observed: see `partings`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, Final, final

from tcstatic.model import Site
from tcstatic.model.meshes import COPIES, LAYERS
from tcstatic.runtime.probes import measure
from tcstatic.runtime.probes.causes import Causes, may_write
from tcstatic.runtime.probes.collectives import Collectives
from tcstatic.runtime.probes.contact import Contact, declared, in_parts, joins, keeps_apart
from tcstatic.runtime.probes.exchange import KEPT, Exchange
from tcstatic.runtime.probes.family import Family
from tcstatic.runtime.probes.judging import Judge
from tcstatic.runtime.probes.meeting import Meeting
from tcstatic.runtime.probes.optimizers import Optimizer
from tcstatic.runtime.probes.outcomes import Outcomes
from tcstatic.runtime.probes.ownership import Ownership
from tcstatic.runtime.probes.placed import buffers_of, has_copies, kept
from tcstatic.runtime.probes.relay import node_of
from tcstatic.runtime.probes.sources import Drawing, are_layers
from tcstatic.runtime.probes.stream import Stream
from tcstatic.runtime.probes.structure import Structure

LAST_SECONDS: Final = 5.0  # at the end of the script, for ranks that are behind
SERVING_SECONDS: Final = 1.0  # for ranks that nothing is owed by, where rank 0 serves the store
TURN_SECONDS: Final = 0.02
MAX_FAMILIES: Final = 16  # sets of parameters that backwards train together
_WRITES: Final = frozenset({"grad.write", "grad.clip"})
MAX_SITES: Final = 256  # sites passed between backward and step, per step


@final
class Replicas:
    """Follows the parameters that may be copies of those on other ranks.

    State: `_families` by the models of a backward, in order of their first; `_current` the
    family whose backward came last and is not updated yet; `_local` whether that backward left its
    gradients on this rank on purpose (``no_sync()``); `_early` the sites passed before the first
    backward that may have written to a weight, each with the wrappers that there were; `_staged`
    the models that are stages of a pipeline.
    """

    def __init__(
        self,
        stream: Stream,
        ownership: Ownership,
        structure: Structure,
        live: Callable[[], Sequence[Optimizer]],
    ) -> None:
        self._stream = stream
        self._ownership = ownership
        self._structure = structure
        self._live = live
        self._meeting: Meeting | None = None
        self._exchange: Exchange | None = None
        self._dist: Any = None
        self._world = 1
        self._off = False
        self._families: dict[tuple[int, ...], Family] = {}
        self._current: Family | None = None
        self._local = False
        self._causes = Causes(stream, live)
        self._judge: Judge | None = None
        self._early: list[tuple[Site, frozenset[int]]] = []
        self._staged: set[int] = set()
        self.collectives = Collectives(stream, self, self._name_of)
        self.outcomes = Outcomes(stream, self, self._members)
        self.drawing = Drawing()
        self._contact = Contact()

    def passed(self, site: Site) -> None:
        """A site was passed: between a backward and a step it may be where ranks part."""
        if site.kind == "loss.backward":
            self._causes.backward = site
        elif len(self._early) < MAX_SITES and may_write(site, begun=bool(self._families)):
            self._early.append((site, frozenset(self._structure.replicating)))
            self._causes.places[site.number] = site
        for family in self._families.values():
            if family.gradients is not None and len(family.sites) < MAX_SITES:
                family.sites.append(site.number)
                self._causes.places[site.number] = site
                if site.kind in _WRITES or site.attribute == "grad":
                    family.written = True

    def wrote(self, site: Site, tensor: Any) -> None:
        """A site writes to a tensor in place, or to its gradient."""
        for family in self._families.values():
            if family.gradients is not None and family.holds(tensor):
                family.writer = site.number
                self._causes.places[site.number] = site

    def brings(self, site: Site, value: Any, frame: FrameType, *, watching: bool) -> None:
        """A collective is about to be given something."""
        if site.attribute in ("reduced", "gathered"):
            self._contact.brings(value)
        if site.attribute == "reduced":
            self._reduced(site, value, frame, watching)
        if watching:
            self.outcomes.given(site, value)

    def _reduced(self, site: Site, tensor: Any, frame: FrameType, watching: bool) -> None:
        self.collectives.reduced(site, tensor)
        family = self._current
        noting = watching and family and family.group and family.gradients is None
        if noting and family and family.holds(tensor):
            self.before_update()
        if self._current is not None and self._current.brings:
            step = self._stream.last_step_where if self._current.updated else None
            where = self._stream.locator.beside(frame, step) if step else None
            operation = site.arguments["operation"]
            self._current.brings_together(tensor, operation, where or site.location)

    def _name_of(self, tensor: Any) -> str:
        named = (family.name_of(tensor) for family in self._families.values())
        return next(filter(None, named), "")

    def scheduled(self, site: Site) -> None:
        """A scheduler's step is called."""
        self.passed(site)
        self._causes.schedule = site

    def clipped(self, site: Site, result: Any) -> None:
        """Clipping returned the norm that it used."""
        self._causes.places[site.number] = site
        for family in self._families.values():
            if family.gradients is None or len(family.sites) >= MAX_SITES:
                continue
            if not family.sites or family.sites[-1] != site.number:
                family.sites.append(site.number)
            if getattr(result, "numel", lambda: 0)() == 1 and result.device.type == "cpu":
                family.results[site.number] = float(result)

    @property
    def expected(self) -> bool:
        """Whether there are other ranks that may hold copies."""
        return not self._off and self._ready()

    @property
    def world(self) -> int:
        """How many ranks there are."""
        return self._world

    def leave(self, key: str, text: str) -> None:
        """Leave a text for other ranks, while copies are `expected`."""
        if self._meeting is not None:
            self._meeting.leave(key, text)

    def take(self, keys: Sequence[str]) -> list[bytes] | None:
        """Return what other ranks have left under these keys, once all of it is there."""
        return None if self._meeting is None else self._meeting.take(keys)

    def read(self, keys: Sequence[str]) -> list[bytes] | None:
        """Return what other ranks have left under these keys, once there is something; it stays."""
        return None if self._meeting is None else self._meeting.read(keys)

    def _members(self, group: Any) -> tuple[int, ...]:
        """Return the ranks of a group, all of them for None."""
        if group is None:
            return tuple(range(self._world))
        return tuple(self._dist.get_process_group_ranks(group))

    def round_begins(self, roots: Sequence[Any]) -> None:
        """A backward: if an update came since the last one, the state after it is what counts.

        Only to be called while copies are `expected`.
        """
        self.outcomes.window_ends()
        self._current = family = self._family(roots)
        self._local = keeps_apart(roots)
        if family is None:
            return
        family.lost |= joins(roots)
        if family.round < 0 or family.gradients is not None:
            family.round += 1
            self._publish(family)
            self._compare(family)
        family.continuity.backward_begins(self._rates())
        number, known = self._stream.registry.number, self._structure.replicating
        family.backwards += not self._local and any(number(root) in known for root in roots)

    def _family(self, roots: Sequence[Any]) -> Family | None:
        registry = self._stream.registry
        wrappers = [r for r in roots if registry.number(r) in self._structure.replicating]
        ignored = {name for one in wrappers for name in getattr(one, "parameters_to_ignore", ())}
        found = self._ownership.parameters_of(wrappers or roots)
        chosen = [
            (name, p)
            for name, p in kept(found, roots)
            if p.requires_grad and name.removeprefix("module.") not in ignored
        ]
        key = tuple(sorted(registry.number(p) for _, p in chosen))
        if key and key not in self._families:
            if len(self._families) >= MAX_FAMILIES:
                return None
            inner = [one.module for one in wrappers if hasattr(one, "module")]
            numbers = tuple(registry.number(one) for one in (*roots, *inner))
            wrapped = frozenset(registry.number(one) for one in wrappers)
            early = tuple(one.number for one, known in self._early if wrapped <= known)
            prior = tuple(one.number for one, known in self._early if not wrapped <= known)
            group, index = declared(wrappers, self._dist), len(self._families)
            staged = not wrappers and not self._staged.isdisjoint(numbers)
            copied = [one for one in chosen if not staged and has_copies(one[1], self._world)]
            own = [one for one in chosen if staged or not has_copies(one[1], self._world)]
            layered = are_layers([one for _, one in chosen], roots)
            buffers = buffers_of(wrappers or roots)
            self._families[key] = Family(
                index,
                numbers,
                copied,
                group,
                (early, prior),
                own,
                buffers,
                layered=layered,
                laid_out=self._laid_out(),
                together=bool(wrappers) or in_parts(one for _, one in chosen),
            )
        return self._families.get(key)

    def stages(self, models: Sequence[Any]) -> None:
        """These models are stages of a pipeline: other ranks hold other layers."""
        self._staged.update(map(self._stream.registry.number, models))

    def _laid_out(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the ranks that hold copies of what this one does, and those that share its layers,
        as the user has said."""
        mesh, rank = self._stream.mesh, self._stream.rank
        if mesh is None or mesh.world != self._world:
            return (), ()
        return mesh.peers(rank, COPIES), mesh.peers(rank, LAYERS)

    def check_mesh(self) -> None:
        """Raise ValueError where the layout that the user has said is not that of this job."""
        mesh = self._stream.mesh
        if mesh is not None and self._meeting is not None and mesh.world != self._world:
            raise ValueError(f"it is for {mesh.world} ranks, and there are {self._world}")

    def before_update(self, stepping: bool = False) -> None:
        """Something will use or change the gradients: note them as the backward left them.

        Gradients that were not meant to be equal yet count only where a step uses them.
        """
        family = self._current
        if family is None or (self._local and not stepping):
            return
        family.rates = self._rates()
        family.continuity.step_begins(family.rates)
        if stepping:
            family.step_begins(self._live(), met=self._contact.met, local=self._local)
        if family.gradients is None:
            family.found_gradients()
        elif stepping and family.written and not family.group and family.used is None:
            family.used = measure.digests([p.grad for _, p in family.parameters])

    def model_begins(self) -> None:
        """A model is about to be called."""
        self._contact.model_begins()
        for family in self._families.values():
            family.found_buffers()

    def backward_over(self) -> None:
        """A backward is over."""
        if self._current and not self._local and self._current.gradients is None:
            self._current.backward_over()

    def stepped(self) -> None:
        """A step is over."""
        self._contact.step_ends()
        if self._current is not None:
            self._current.stepped(self._live())

    def finish(self) -> None:
        """The run ends: publish the last gradients and compare what has arrived."""
        if not self.expected:
            return
        self.collectives.finish()
        self.outcomes.window_ends()
        for family in self._families.values():
            if family.gradients is not None:
                family.round += 1
                self._publish(family, last=True)
            self._compare(family)

    def await_others(self) -> None:
        """The script is over: give ranks that are a little behind the time to publish their last
        rounds. Training waits for nobody; only who compares, and has nothing else left to do."""
        if not (self.expected and self._families and self._meeting and self._exchange):
            return
        until, rank = time.monotonic() + LAST_SECONDS, self._stream.rank
        if rank:
            self.leave(f"over/{rank}", "1")
        meeting, exchange = self._meeting, self._exchange
        _wait(lambda: meeting.gone or self._owes_nothing(exchange, meeting), until)
        if not self._stream.rank and self._judge is not None:
            for family in self._families.values():
                self._judge.settle(family)
        self._part(meeting, until)

    def _part(self, meeting: Meeting, until: float) -> None:
        """Leave the store for good; rank 0, which may be its server, after those who said that
        they are about to."""
        others = range(1, self._world)
        if self._stream.rank:
            meeting.leave(f"left/{self._stream.rank}", "1")
        else:
            meeting.leave("over/0", "1")
            soon = min(until, time.monotonic() + SERVING_SECONDS * meeting.serves)
            _wait(lambda: meeting.gone or meeting.has([f"over/{one}" for one in others]), soon)
            waiting = [other for other in others if meeting.has([f"over/{other}"])]
            left = [f"left/{other}" for other in waiting]
            _wait(lambda: meeting.gone or not left or meeting.has(left), until)
        meeting.leave_for_good()

    def _owes_nothing(self, exchange: Exchange, meeting: Meeting) -> bool:
        """Do what can be done now; return whether nothing more is to come: rank 0 says so to the
        others, which may be asked until then."""
        if self._stream.rank:
            exchange.answer()
            return meeting.has(["over/0"])
        over = meeting.has([f"over/{other}" for other in range(1, self._world)])
        self.finish()
        known = [one for one in self._families.values() if one.group or one.compared[0] >= 0]
        turns = [(one.index, turn) for one in known if not one.lost for turn in one.rounds]
        if any(map(exchange.awaits, turns)):
            return False
        return over or not (turns or self.collectives.owed or self.outcomes.owed)

    def forget(self) -> None:
        """Steps go by unwatched: the next comparison starts afresh."""
        self._current = None
        self.outcomes.forget()
        for family in self._families.values():
            family.open()
            family.continuity.forget()
            family.backwards = 0
            # All ranks watch the same steps, so all go on at the same round.
            family.round = (self._stream.step << 8) - 1 if family.round >= 0 else -1

    def _ready(self) -> bool:
        if self._meeting is not None:
            return not self._meeting.gone
        dist = self._dist
        if dist is None:
            dist = getattr(sys.modules.get("torch"), "distributed", None)
            if dist is None or not dist.is_available():
                return False
            self._dist = dist
        if not dist.is_initialized():
            return False
        self._world = dist.get_world_size()
        self._stream.rank = dist.get_rank()
        if self._world < 2:
            self._off = True
            return False
        self._meeting = far = Meeting(dist)
        node = node_of(dist, far, self._stream.rank, self._world)
        self._exchange = Exchange(far, self._stream.rank, self._world, node)
        self._judge = Judge(self._stream, self._causes, self._world)
        return True

    def _publish(self, family: Family, *, last: bool = False) -> None:
        source = "" if last else self.drawing.told()
        met = self._contact.met
        noted = family.close(self._stream.step, self._rates(), source, last=last, met=met)
        family.rounds[family.round] = noted
        for old in sorted(family.rounds)[:-KEPT]:
            del family.rounds[old]
        if self._exchange is not None and self._stream.rank:
            self._exchange.publish((family.index, family.round), noted)

    def _rates(self) -> tuple[float | None, ...]:
        return tuple(rate for one in self._live() for rate in one.group_rates())

    def _compare(self, family: Family) -> None:
        exchange, judge = self._exchange, self._judge
        if self._stream.rank or exchange is None or judge is None:
            return
        for turn in sorted(family.rounds):
            gathered = exchange.gathered((family.index, turn), family.rounds[turn])
            if gathered is not None:
                del family.rounds[turn]
                judge.judge(family, turn, *gathered)
            elif exchange.awaits((family.index, turn)):
                return  # what comes after it is judged by it


def _wait(done: Callable[[], bool], until: float) -> None:
    """Ask now and then until it is done, but no longer than that."""
    while time.monotonic() < until and not done():
        time.sleep(TURN_SECONDS)
