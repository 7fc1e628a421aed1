"""The compiled plan: all that the user's process needs, computed ahead of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, final

from tcstatic.model.invariants import Invariant, Verdict
from tcstatic.model.sites import Probe, Site

PLAN_SCHEMA: Final = "tcstatic-plan/1"
OnViolation = Literal["warn", "fail", "stop"]


@final
@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the user asked of a run.

    `overhead_budget` is a share of a step (0.01 = 1 %); `trace` the folder to record into, or ''.
    """

    reports: tuple[str, ...] = ()
    on_violation: OnViolation = "warn"
    overhead_budget: float = 0.01
    quiet: bool = False
    trace: str = ""


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
class ProbePlan:
    """Sites, invariants in scope and options of one program; saved as ``plan.json``.

    `root` is the folder that locations are relative to (the script's own folder).
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
