"""Traces: what a recording takes, and what may be asked of one that was kept."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, final

from tcstatic.model.events import Event
from tcstatic.model.findings import ProbeCounts
from tcstatic.model.plans import Fact
from tcstatic.model.sites import Site
from tcstatic.model.suppressions import Suppression

TRACE_SCHEMA: Final = "tcstatic-trace/1"


@final
@dataclass(frozen=True, slots=True)
class Recording:
    """What is known of a process when its recording begins; `folder` is that of the whole job."""

    folder: str
    command: str
    script: str
    sites: tuple[Site, ...] = ()
    in_scope: tuple[str, ...] = ()
    out_of_scope: Mapping[str, str] = field(default_factory=dict)
    assumed: tuple[Fact, ...] = ()
    suppressions: tuple[Suppression, ...] = ()


class EventSink(Protocol):
    """Takes the events of one process, in the order in which its driver is fed.

    No method raises. `problem` is empty, or says in a few words why something is missing.
    """

    @property
    def problem(self) -> str:
        """Why not all that was taken is kept."""

    def take(self, event: Event) -> None:
        """Keep an event."""

    def take_all(self, events: Sequence[Event]) -> None:
        """Keep some events."""

    def settled(self) -> None:
        """The driver has settled what was taken so far."""

    def flush(self, rank: int | None) -> None:
        """Write what was taken so far, so that a kill does not lose it; `rank` if it has one."""

    def end(self, rank: int | None, status: int | None, probes: ProbeCounts) -> None:
        """Write the rest: the process ends, with this exit status as far as it is known."""

    def abandon(self) -> None:
        """Write nothing any more (a forked child)."""


@final
@dataclass(frozen=True, slots=True)
class Dropped:
    """A kind of event that was not kept any more from event `since` on."""

    kind: str
    count: int
    since: int


@final
@dataclass(frozen=True, slots=True)
class RunFacts:
    """What the manifest of one process tells.

    `rank` is 0, and `ranked` false, where the process was a rank of no group; `finished` says that
    it has had its last word (it was not killed); `problem` why recording stopped before, if it
    did; `seed` is torch's at the end; a version is empty where the library was not loaded;
    `assumed` is what the source tells of every run, `suppressions` what its comments silence.
    """

    name: str
    rank: int
    ranked: bool
    world_size: int
    finished: bool
    exit_status: int | None
    command: str
    script: str
    tcstatic: str
    python: str
    torch: str
    seed: int | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    sites: tuple[Site, ...] = ()
    in_scope: tuple[str, ...] = ()
    out_of_scope: Mapping[str, str] = field(default_factory=dict)
    probes: ProbeCounts = field(default_factory=ProbeCounts)
    dropped: tuple[Dropped, ...] = ()
    problem: str = ""
    assumed: tuple[Fact, ...] = ()
    suppressions: tuple[Suppression, ...] = ()


ABSENT: Final = object()  # what a question is asked of a field that is not there
# What is asked of one field: fields of one answer are judged alike.
Question = Callable[[Any], Hashable]
Questions = tuple[tuple[str, Question], ...]


@final
@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of events of one kind, by the names of fields; `members` is None where nothing
    is asked of them."""

    values: Questions = ()
    context: Questions = ()
    members: Questions | None = None


# What is asked of an event of this kind, with these values and subjects; None: nobody asks.
Asking = Callable[[str, Mapping[str, Any], Mapping[str, Any]], Asked | None]


class Stretch(Protocol):
    """Some events of a run, in their order, that need not all be made.

    Events of one number say the same, but for their `sequence`, `step` and `epoch`, and for what
    their contexts say under these names and as `optimizer_step`. Numbers count from 0, in the order
    in which they first come; those of another stretch mean something else.
    """

    @property
    def says(self) -> Sequence[int]:
        """Of each event, the number of what it says."""

    @property
    def firsts(self) -> Sequence[int]:
        """Where each number first comes."""

    @property
    def settled(self) -> Sequence[int]:
        """Of each event, whether the driver has settled between it and the next one."""

    def made(self, places: Sequence[int]) -> list[Event]:
        """Return the events at these places."""


class AskedStretch(Stretch, Protocol):
    """A stretch whose events can be told apart by what is asked of them, and no more."""

    def alike(self, asking: Asking, known: dict[Hashable, int]) -> list[int]:
        """Number the events so that those of one number are of one kind, place, rank and subjects,
        and answer alike, their members in any order; -1 where nobody asks. The numbers are those
        `known`, which may be handed on from one stretch of a run to the next."""


class RunView(Protocol):
    """The events of one process. Object numbers and sequences are its own."""

    @property
    def facts(self) -> RunFacts:
        """What the manifest tells."""

    def events(self, kinds: Collection[str] | None = None) -> Iterator[Event]:
        """Yield the events, or those of some kinds, in the order of recording."""

    def stretches(self) -> Iterator[AskedStretch]:
        """Yield the events in the order of recording, in parts."""


class TraceView(Protocol):
    """What a relation may ask of a trace: a job, each of its processes a run."""

    @property
    def runs(self) -> tuple[RunView, ...]:
        """The processes, by rank; one that has not trained only where no other has."""

    def events(
        self, kinds: Collection[str] | None = None, *, by_step: bool = False
    ) -> Iterator[Event]:
        """Yield the events of all runs, run by run; `by_step`: merged, and by rank in a step."""
