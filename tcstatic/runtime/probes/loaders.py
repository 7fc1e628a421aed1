"""Passes over loaders: what is trained on and what evaluated with, in which order, how far."""

from __future__ import annotations

import linecache
import re
import sys
import weakref
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, final

from tcstatic.model import Location, Site
from tcstatic.runtime.probes.batches import TIMES, Batches, Fetches
from tcstatic.runtime.probes.classes import Classes
from tcstatic.runtime.probes.codes import defined_at
from tcstatic.runtime.probes.loops import Loop
from tcstatic.runtime.probes.portions import Portions
from tcstatic.runtime.probes.prints import Kept, Prints
from tcstatic.runtime.probes.rebuilds import Rebuilds
from tcstatic.runtime.probes.roles import LOADER, role_of
from tcstatic.runtime.probes.rows import Overlap, Rows, rows_of
from tcstatic.runtime.probes.samples import Sample, sample_of, tells, tensors_in
from tcstatic.runtime.probes.signatures import looked_up
from tcstatic.runtime.probes.stream import HEARD, Stream, listener
from tcstatic.runtime.probes.weighing import are_of_rows
from tcstatic.runtime.probes.workers import gives_alike, seeds_alike

# Words in names of what measures, and of what does so with the data of training on purpose.
_MEASURES: Final = re.compile(
    r"(?<![a-z])([Vv]al|[Vv]alid\w*|[Tt]est|[Ee]val\w*|[Dd]ev|[Hh]old_?out|[Hh]eld)(?![a-z])"
)
_ONE_BATCH: Final = re.compile("overfit|one batch|single batch|sanity|debug", re.IGNORECASE)
_OF_TRAINING: Final = re.compile("train|fit", re.IGNORECASE)
_TARGET: Final = re.compile(r"\s*([\w.]+(?:\s*,\s*[\w.]+)*)\s*(?::[^=]+)?=[^=]")
_WRAPPED: Final = 8  # datasets within one another
_MANY_WORKERS: Final = 4


@final
class Pass:
    """One pass over a loader.

    `begun` is the step in which it began, `graphless` whether gradients were not recorded then,
    `epoch` what its sampler had been told. `looking` tells whether its items are looked at:
    `samples` are those of the first, to compare what the `workers` give (0: they are not compared);
    `shared` whether other ranks are told of its items; `rows` of the first, None where none are
    kept, and whether more are `wanted`.
    """

    __slots__ = (
        "begun",
        "epoch",
        "graphless",
        "loader",
        "looking",
        "rows",
        "samples",
        "shared",
        "wanted",
        "workers",
    )

    def __init__(self, loader: Any, begun: int, *, graphless: bool) -> None:
        self.loader = weakref.ref(loader)
        self.begun = begun
        self.graphless = graphless
        self.epoch: Any = None
        self.looking = False
        self.shared = self.wanted = False
        self.rows: Kept | None = None
        self.workers = 0
        self.samples: list[tuple[Sample, ...]] = []


@final
class Loaders:
    """Follows the loaders of one process.

    State: `_passing` the loader that a loop is about to go over; `_made` where each was made, by
    number; `_trained` the rows that were trained on last, with the dataset that must still live,
    their loader and the function;
    `_epochs` what a sampler had been told in the last pass of a loop, `_told_at` where;
    `_left` how many passes of a loop ended with their first batch, -1 once one went on;
    `_compared` the loaders whose workers were compared; `_fetches` the first batches, by site.
    """

    def __init__(self, stream: Stream, batches: Batches, portions: Portions) -> None:
        self._stream = stream
        self._portions = portions
        self._batches = batches
        self._fetches: dict[int, Fetches] = {}
        self._passing: Any = None
        self._made: dict[int, Location] = {}
        self._sampled: dict[int, Location] = {}
        self._rows: dict[int, Rows | None] = {}
        self._trained: tuple[weakref.ref[Any], Rows | None, int, str] | None = None
        self._prints = Prints()
        self._epochs: dict[tuple[int, int], Any] = {}
        self._told_at: dict[int, Location] = {}
        self._left: dict[int, int] = {}
        self._compared: set[int] = set()
        self._said: set[tuple[object, ...]] = set()
        self.rebuilds = Rebuilds(stream)
        self.classes = Classes(stream, self._tell_made)

    # -- what sites tell ------------------------------------------------------------------------

    def made(self, loader: Any, where: Location) -> None:
        """A loader was made; by whom, is told by the first who hands it on."""
        self._made.setdefault(self._stream.registry.number(loader), where)

    def sampler_made(self, sampler: Any, where: Location) -> None:
        """A sampler was made."""
        self._sampled.setdefault(self._stream.registry.number(sampler), where)

    def passes(self, thing: Any) -> None:
        """Something is about to be iterated."""
        self._passing = thing if role_of(thing) == LOADER else None

    def taken(self) -> Any:
        """Return the loader that was about to be iterated, once."""
        loader, self._passing = self._passing, None
        return loader

    def told_epoch(self, sampler: Any, where: Location) -> None:
        """A sampler is about to be told the epoch."""
        self._told_at[self._stream.registry.number(sampler)] = where

    # -- a pass ---------------------------------------------------------------------------------

    def begins(self, loop: Loop, loader: Any) -> None:
        """A pass over a loader begins."""
        recording = sys.modules["torch"].is_grad_enabled()
        loop.load = load = Pass(loader, self._stream.step, graphless=not recording)
        load.epoch = getattr(_distributed(loader), "epoch", None)
        number = self._stream.registry.number(loader)
        if self._once("pass", number):
            self._weighed(loop, loader, number)
        if number not in self._compared:
            load.workers = int(getattr(loader, "num_workers", 0) or 0)
        load.shared = self._portions.wanted(loop.site.number)
        load.rows = self._prints.begins(self._stream.registry.number(loader))
        load.wanted = load.rows is not None
        load.looking = load.workers > 1 or load.shared or load.wanted

    def takes(self, loop: Loop, item: Any) -> None:
        """A pass takes the next item, which is looked at."""
        load = loop.load
        if load.workers > 1:
            self._compare_workers(loop, load, item)
        if load.shared:
            load.shared = self._portions.takes(loop.site.number, item)
        if load.wanted:
            load.wanted = load.rows.takes(item, loop.index)
        load.looking = load.workers > 1 or load.shared or load.wanted

    def _compare_workers(self, loop: Loop, load: Pass, item: Any) -> None:
        registry = self._stream.registry
        samples = [sample_of(tensor, registry) for tensor in tensors_in(item)]
        load.samples.append(tuple(one for one in samples if one is not None and tells(one)))
        rounds = 3 if load.workers < _MANY_WORKERS else 2
        if len(load.samples) < rounds * load.workers:
            return
        workers, load.workers = load.workers, 0
        loader = load.loader()
        number = registry.number(loader)
        if loader is None or number in self._compared:
            return
        self._compared.add(number)
        alike = gives_alike(load.samples, workers)
        seeded = seeds_alike(getattr(loader, "worker_init_fn", None))
        where = defined_at(loader.worker_init_fn, self._stream.locator) if seeded else None
        where = where or self._drawn_at(loader, ("__iter__", "__getitem__"))
        where = where or self._made.get(number) or loop.where
        self._tell(where, number, {"workers_alike": alike, "workers": workers})

    def ends(self, loop: Loop) -> None:
        """A pass is over."""
        load = loop.load
        loader = load.loader()
        if loader is None or loop.index < 0:
            return
        if loop.steps:
            self.rebuilds.passes.append(self._stream.registry.number(loader))
        if self._stream.step > load.begun:
            self._trained_on(loop, loader, load)
        elif not loop.backwards and (load.graphless or _unrecorded(loop)):
            self._evaluated(loop, loader, load)

    def fetched(self, site: Site, item: Any) -> None:
        """The first batch of a new pass was fetched."""
        loader = self.taken()
        if loader is None or not self._batches.due:
            return
        again = self._batches.fetched(self._fetches.setdefault(site.number, Fetches()), item)
        batches = _length(loader) if again >= TIMES else 0
        if batches > 1 and self._once("fetched", site.number) and not self._meant(site.location):
            self._tell(site.location, 0, {"first_again": True, "batches": batches})

    def _meant(self, where: Location) -> bool:
        """Whether a comment beside a line says that one batch is meant."""
        line = linecache.getline(f"{self._stream.locator.root}{where.file}", where.line)
        names = f"{line.partition('#')[2]} {where.function}"
        return _ONE_BATCH.search(names) is not None

    # -- a pass that was trained on ---------------------------------------------------------------

    def _trained_on(self, loop: Loop, loader: Any, load: Pass) -> None:
        dataset = getattr(loader, "dataset", None)
        number = self._stream.registry.number(loader)
        rows = self._rows_of(loader, number)
        self._trained = None
        if load.rows is not None:
            self._prints.trained(number, load.rows, _length(loader))
        if dataset is not None:
            known = self._stream.registry.number(dataset)  # 0: as a list, it has no weak reference
            held = weakref.ref(dataset) if known else load.loader
            self._trained = (held, rows, number, loop.where.function)
        alike = self._portions.alike(loop.site.number)
        if alike is not None:
            self._tell_made(number)
            self._tell_read(loader, number)
            self._tell(loop.where, number, {"ranks_alike": alike})
        sampler = _distributed(loader)
        if sampler is not None:
            self._pass_of(sampler, loop, load)
        if "left" in loop.site.arguments:
            self._left_at_once(loop, loader)

    def _weighed(self, loop: Loop, loader: Any, number: int) -> None:
        """Look whether a sampler that draws rows by their weights has one for each."""
        sampler = _sampler_of(loader)
        kind = type(sampler)
        if kind.__name__ != "WeightedRandomSampler" or not kind.__module__.startswith("torch."):
            return
        weights, rows = len(sampler.weights), _length(loader.dataset)
        if weights < rows and are_of_rows(sampler):
            return
        where = self._sampled.get(self._stream.registry.number(sampler))
        if weights < rows and where is not None:
            heard = {HEARD: (listener("loader", number),)}
            self._stream.tell(self._stream.make("sampler.new", where, heard))
        values = {"rows_left_out": weights < rows, "weights": weights, "rows": rows}
        self._tell(loop.where, number, values)

    def _pass_of(self, sampler: Any, loop: Loop, load: Pass) -> None:
        number = self._stream.registry.number(sampler)
        key = (number, loop.site.number)
        before, self._epochs[key] = self._epochs.get(key), load.epoch
        if before is None:
            return
        where = self._told_at.get(number)
        same = before == load.epoch
        if self._once("epoch", number, same):
            if same and where is not None:
                heard = {HEARD: (listener("loader", number),)}
                self._stream.tell(self._stream.make("sampler.set_epoch", where, heard))
            values = {"same_epoch": same, "epoch_told": load.epoch, "told": where is not None}
            self._tell(loop.where, number, values)

    def _left_at_once(self, loop: Loop, loader: Any) -> None:
        site = loop.site.number
        if self._left.get(site, 0) < 0:
            return
        if loop.index > 0:
            self._left[site] = -1
            return
        self._left[site] = passes = self._left.get(site, 0) + 1
        if passes >= 2 and _length(loader) > 1 and self._once("left", site):
            line = int(loop.site.arguments["left"])
            where = replace(loop.where, line=line, column=1, end_line=line, end_column=1)
            values = {"left_at_once": True, "batches": _length(loader)}
            self._tell(where, 0, {**values, "loop_line": loop.where.line})

    # -- a pass that was evaluated with -----------------------------------------------------------

    def _evaluated(self, loop: Loop, loader: Any, load: Pass) -> None:
        if self._trained is None:
            return
        dataset, trained, number_trained, function = self._trained
        if dataset() is None:
            return
        number = self._stream.registry.number(loader)
        rows = self._rows_of(loader, number)
        overlap: Overlap = "none"
        if rows is not None and trained is not None:
            overlap = rows.overlap(trained)
        if overlap == "none" and load.rows and self._prints.shared(load.rows):
            overlap = "crossing"
        own = number != number_trained
        where = self._made.get(number)
        if overlap != "none" and not (own and self._measures(loop, where, function)):
            return
        if not self._once("overlap", number, overlap):
            return
        if overlap != "none":
            self._tell_made(number)
        values = {"trained_on": overlap != "none", "overlap": overlap}
        self._tell(loop.where, number, values)

    def _measures(self, loop: Loop, made: Location | None, trains: str) -> bool:
        """Whether names tell that a pass measures, and that not of the training data on purpose;
        the name of a function that `trains` as well tells nothing."""
        names = [loop.site.subject, self._name_at(made)]
        if any(_OF_TRAINING.search(name) for name in names):
            return False
        function = loop.where.function
        names += [] if function == trains else [function.rpartition(".")[2]]
        return any(_MEASURES.search(name) for name in names)

    def _name_at(self, made: Location | None) -> str:
        """The names that are given to what is made at a place."""
        if made is None:
            return ""
        path = f"{self._stream.locator.root}{made.file}"
        found = _TARGET.match(linecache.getline(path, made.line))
        return found.group(1) if found else ""

    # -- what is told -----------------------------------------------------------------------------

    def _rows_of(self, loader: Any, number: int) -> Rows | None:
        if number not in self._rows:
            self._rows[number] = rows_of(loader, self._stream.registry.number)
        return self._rows[number]

    def _drawn_at(self, loader: Any, names: tuple[str, ...]) -> Location | None:
        """Where the user's dataset gives its items, by a method of one of these names."""
        dataset = getattr(loader, "dataset", None)
        for _ in range(_WRAPPED):
            for name in names:
                found = defined_at(looked_up(type(dataset), name), self._stream.locator)
                if found is not None:
                    return found
            dataset = getattr(dataset, "dataset", None)
        return None

    def _tell_made(self, number: int) -> None:
        """Tell where a loader was made, for whoever may have to name it."""
        where = self._made.get(number)
        if where is not None:
            heard = {HEARD: (listener("loader", number),)}
            self._stream.tell(self._stream.make("loader.new", where, heard))

    def _tell_read(self, loader: Any, number: int) -> None:
        """Tell who chooses the rows of a loader: its sampler, or the stream that it reads."""
        registry, heard = self._stream.registry, {HEARD: (listener("loader", number),)}
        sampler = _distributed(loader, shuffling=False)
        chosen = self._sampled.get(registry.number(sampler)) if sampler is not None else None
        if chosen is not None:
            self._stream.tell(self._stream.make("sampler.new", chosen, heard))
        drawn = self._drawn_at(loader, ("__iter__",))
        if drawn is not None:
            self._stream.tell(self._stream.make("call", drawn, heard))

    def _once(self, *said: object) -> bool:
        if said in self._said:
            return False
        self._said.add(said)
        return True

    def _tell(self, where: Location | None, number: int, values: Mapping[str, Any]) -> None:
        """Tell of a loader; where its number is 0, one place is told of, and no other event."""
        stream = self._stream
        heard = {HEARD: (listener("loader", number),)} if number else {}
        stream.tell(stream.make("loader.next", where, {"loader": (number,), **heard}, values))


def _distributed(loader: Any, *, shuffling: bool = True) -> Any:
    """A loader's sampler, if it divides the rows among ranks, and shuffles by the epoch that it is
    told."""
    sampler = _sampler_of(loader)
    stock = type(sampler).__name__ == "DistributedSampler"
    wanted = stock and (not shuffling or getattr(sampler, "shuffle", False))
    return sampler if wanted else None


def _sampler_of(loader: Any) -> Any:
    batches = getattr(loader, "batch_sampler", None)
    return getattr(batches if batches is not None else loader, "sampler", None)


def _unrecorded(loop: Loop) -> bool:
    return bool(loop.forwards) and not any(record.recorded for record in loop.forwards)


def _length(thing: Any) -> int:
    """How many batches a loader has, or rows a dataset, 0 where it does not tell."""
    try:
        return len(thing)
    except Exception:
        return 0
