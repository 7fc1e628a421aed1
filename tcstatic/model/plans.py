"""The compiled plan: all that the user's process needs, computed ahead of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, final

from tcstatic.model.events import Scalar
from tcstatic.model.invariants import Invariant, Verdict
from tcstatic.model.sites import Probe, Site
from tcstatic.model.suppressions import Suppression

PLAN_SCHEMA: Final = "tcstatic-plan/1"
OnViolation = Literal["warn", "fail", "stop"]


@final
@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the user asked of a run.

    `overhead_budget` is a share of a step (0.01 = 1 %); `trace` the folder to record into, or '';
    `mesh` how ranks are laid out, as `Mesh` reads it, or ''.
    """

    reports: tuple[str, ...] = ()
    on_violation: OnViolation = "warn"
    overhead_budget: float = 0.01
    quiet: bool = False
    trace: str = ""
    mesh: str = ""


@final
@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that was left alone, and why (data, shown in the report)."""

    path: str
    reason: str


@final
@dataclass(frozen=True, slots=True)
class PlannedFile:
    """A file of the program: the hash of its source, and where its instrumented code lies.

    `source_hash` is the sha256 of the bytes on disk; `code` names the cache entry (a marshalled
    code object that carries the original lines and columns), '' where the file has no site.
    """

    path: str
    source_hash: str
    code: str = ""


@final
@dataclass(frozen=True, slots=True)
class Unprobed:
    """A site, by name alone, that got no probe because of what else the source tells."""

    file: str
    line: int
    column: int
    probe: Probe
    kind: str
    reason: str


@final
@dataclass(frozen=True, slots=True)
class Fact:
    """What the source tells of every run of a program, in words (`reason`).

    `words` name kinds of events that do not occur in it, or what else a relation speaks of in vain;
    `field` is a field of events that is one of `values` wherever it is there (none: never there).
    """

    reason: str
    words: tuple[str, ...] = ()
    field: str = ""
    values: tuple[Scalar, ...] = ()


@final
@dataclass(frozen=True, slots=True)
class ProbePlan:
    """Sites, invariants in scope and options of one program; saved as ``plan.json``.

    `root` is the folder that locations are relative to (the script's own folder), `assumed` what
    its source tells of every run. Calls of the functions of `libraries` (names of packages) are
    comparable between programs, where calls are told of. `suppressions` are what comments silence.
    """

    root: str
    script: str
    sites: tuple[Site, ...] = ()
    invariants: tuple[Invariant, ...] = ()
    out_of_scope: tuple[tuple[str, Verdict], ...] = ()
    files: tuple[PlannedFile, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    options: RunOptions = field(default_factory=RunOptions)
    unprobed: tuple[Unprobed, ...] = ()
    assumed: tuple[Fact, ...] = ()
    libraries: tuple[str, ...] = ()
    suppressions: tuple[Suppression, ...] = ()
