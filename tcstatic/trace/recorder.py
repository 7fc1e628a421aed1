"""The sink of one process: events -> segments and a manifest in its part of the job's folder."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, final

from tcstatic.caching import write_whole
from tcstatic.model import Dropped, Event, ProbeCounts, Recording
from tcstatic.trace.manifest import MANIFEST, seed, told, versions, world_size
from tcstatic.trace.pressure import Pressure
from tcstatic.trace.segments import Segment
from tcstatic.trace.shielding import shielded

# Events that wait as they are; then they become rows. So few that no device runs dry meanwhile.
MOST_PENDING: Final = 256
LOOKS: Final = 64  # a process group may be taken down again before anything is written


@final
class Recorder:
    """Keeps the events of this process until `end`.

    State: `_pending` events not yet in `_segment`, None where the driver has settled; `_part` the
    folder, made at the first write; `_events` and `_steps` taken so far, `_kept` how many of them
    lie on disk; `_dropped` kinds that are given up; `problem`, after which nothing is written.
    """

    def __init__(self, recording: Recording) -> None:
        self.problem = ""
        self._folder = Path(recording.folder)
        self._told = told(recording)
        self._part: Path | None = None
        self._lock = threading.RLock()
        self._pending: list[Event | None] = []
        self._segment = Segment()
        self._number = 0
        self._events = 0
        self._steps = 0
        self._kept = (0, 0)
        self._rank: int | None = None
        self._world_size = 1
        self._settled = 0
        self._fresh = False
        self._dropped: dict[str, Dropped] = {}
        self._pressure = Pressure()
        # The first table that a process writes loads what writes it: now, rather than in a step.
        self._segment.parquet()

    def take(self, event: Event) -> None:
        """Keep an event."""
        if self._dropped and event.kind in self._dropped:
            known = self._dropped[event.kind]
            self._dropped[event.kind] = Dropped(known.kind, known.count + 1, known.since)
            return
        self._pending.append(event)
        self._fresh = True
        if len(self._pending) >= MOST_PENDING:
            self._safely(self._drain)

    def take_all(self, events: Sequence[Event]) -> None:
        """Keep some events."""
        if self._dropped:
            for event in events:
                self.take(event)
            return
        self._pending += events
        self._fresh = self._fresh or bool(events)
        if len(self._pending) >= MOST_PENDING:
            self._safely(self._drain)

    def settled(self) -> None:
        """The driver has settled what was taken so far."""
        if self._fresh:
            self._pending.append(None)
            self._fresh = False
            if self._world_size < 2 and self._settled < LOOKS:
                self._settled += 1
                self._world_size = world_size()

    def flush(self, rank: int | None) -> None:
        """Write what was taken so far."""
        self._rank = rank
        self._safely(self._flush)

    def end(self, rank: int | None, status: int | None, probes: ProbeCounts) -> None:
        """Write the rest, and that this was all."""
        self._rank = rank
        self._safely(self._end, status, probes)

    def abandon(self) -> None:
        """Write nothing any more. The lock may be held by a thread that a child does not have."""
        self._lock = threading.RLock()
        self.problem = "abandoned"
        self._pending = []
        self._segment = Segment()

    def _safely(self, work: Any, *args: Any) -> None:
        """Whatever fails in here, training goes on; what is written already stays. A signal that
        comes meanwhile finds each event whole."""
        with self._lock, shielded():
            if self.problem:
                self._pending = []
                return
            try:
                with self._pressure.working():
                    work(*args)
            except Exception as error:
                reason = getattr(error, "strerror", None) or str(error)
                self.problem = f"recording stopped ({type(error).__name__}: {reason})"
                self._pending = []
                self._segment = Segment()
                # What could not be written is not promised.
                self._events, self._steps = self._kept
                with contextlib.suppress(Exception):
                    self._write_manifest(finished=False, status=None, probes=ProbeCounts())

    def _drain(self) -> None:
        pending, self._pending = self._pending, []
        for event in pending:
            if event is None:
                self._segment.settled()
                continue
            if self._segment.full:
                self._write_segment()
                self._segment = Segment()
                self._number += 1
            self._segment.add(event)
            kind = event.kind
            self._pressure.count(kind)
            self._events += 1
            self._steps += kind == "optimizer.step"
        self._segment.gather()

    def _flush(self) -> None:
        self._drain()
        self._write_segment()
        self._write_manifest(finished=False, status=None, probes=ProbeCounts())
        kind = self._pressure.written()
        if kind is not None:
            self._dropped[kind] = Dropped(kind, 0, self._events)

    def _end(self, status: int | None, probes: ProbeCounts) -> None:
        self._drain()
        self._write_segment()
        self._write_manifest(finished=True, status=status, probes=probes)

    def _write_segment(self) -> None:
        if self._segment.rows:
            self._write(f"segment-{self._number:06d}.parquet", self._segment.parquet())
            self._kept = (self._events, self._steps)

    def _write_manifest(self, *, finished: bool, status: int | None, probes: ProbeCounts) -> None:
        manifest = {
            **self._told,
            "versions": versions(),
            "seed": seed(),
            "rank": self._rank,
            "world_size": max(self._world_size, world_size()),
            "finished": finished,
            "exit_status": status,
            "problem": self.problem,
            "events": self._events,
            "steps": self._steps,
            "dropped": [asdict(one) for one in self._dropped.values()],
            "probes": asdict(probes),
        }
        self._write(MANIFEST, json.dumps(manifest, indent=1).encode())

    def _write(self, name: str, content: bytes) -> None:
        if self._part is None:
            self._part = self._new_part()
        with self._pressure.waiting():
            write_whole(self._part / name, content)

    def _new_part(self) -> Path:
        """Make the folder of this process, which no other process of the job has."""
        for number in range(1, 10_000):
            more = f"-{number}" if number > 1 else ""
            path = self._folder / f"rank-{self._rank or 0:05d}{more}"
            with contextlib.suppress(FileExistsError):
                path.mkdir(parents=True)
                return path
        raise OSError("too many parts")
