"""Findings: invariants that did not hold, with the line to mend first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple, final

from tcstatic.model.events import Context, Event
from tcstatic.model.fixes import Fix
from tcstatic.model.invariants import Severity, Verdict
from tcstatic.model.sites import Location


@final
class Observation(NamedTuple):
    """One time a relation was judged.

    `key` identifies what it is about (so that the same failure is counted, not repeated), `facts`
    fill the message and decide the blame, `trail` are further events to show as witness. `times`
    members of one event that hold alike are one observation.
    """

    holds: bool
    event: Event
    context: Context
    key: tuple[Any, ...] = ()
    facts: Mapping[str, Any] = MappingProxyType({})
    trail: tuple[Event, ...] = ()
    times: int = 1


@final
@dataclass(frozen=True, slots=True)
class Witness:
    """One link of the chain from cause to symptom."""

    file: str
    line: int
    event: str
    step: int | None = None
    rank: int | None = None
    values: Mapping[str, Any] = field(default_factory=dict)


@final
@dataclass(frozen=True, slots=True)
class Finding:
    """An invariant that does not hold: where to mend it, how we know, why it matters."""

    code: str
    name: str
    severity: Severity
    message: str
    where: Location
    why: str
    cure: str
    step: int | None = None
    epoch: int | None = None
    rank: int | None = None
    precondition: str = ""
    witness: tuple[Witness, ...] = ()
    count: int = 1
    fingerprint: str = ""
    fix: Fix | None = None


@final
@dataclass(frozen=True, slots=True)
class RuleVerdict:
    """What is known of one rule for one file, or for several alike (`file` is empty then)."""

    code: str
    verdict: Verdict
    file: str = ""
    times: int = 1


@final
@dataclass(frozen=True, slots=True)
class InvariantCounts:
    """How the invariants fared; the codes in each class are disjoint but for `in_scope`.

    `unseen` counts what failed in contexts that no reference run had shown: no violation.
    """

    in_scope: tuple[str, ...] = ()
    checked: Mapping[str, int] = field(default_factory=dict)
    held: tuple[str, ...] = ()
    violated: tuple[str, ...] = ()
    never_triggered: tuple[str, ...] = ()
    out_of_scope: Mapping[str, str] = field(default_factory=dict)
    unseen: Mapping[str, int] = field(default_factory=dict)


@final
@dataclass(frozen=True, slots=True)
class ProbeCounts:
    """What was watched: `sampled` is the share of optimizer steps watched in full (0 to 1).

    Each with its reason: probes that were `disabled`, kinds of events that were `thinned` (not all
    were told), files that were `skipped`.
    """

    installed: int = 0
    events: int = 0
    sampled: float = 1.0
    disabled: tuple[tuple[str, str], ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    thinned: tuple[tuple[str, str], ...] = ()


@final
@dataclass(frozen=True, slots=True)
class Report:
    """Everything that a command has to say; written by `report`, schema ``tcstatic-report/1``.

    `verdicts` are filled where an explanation was asked for; `silenced` is what was found and a
    comment allows.
    """

    command: str
    script: str
    exit_status: int | None
    invariants: InvariantCounts = InvariantCounts()
    findings: tuple[Finding, ...] = ()
    probes: ProbeCounts = ProbeCounts()
    ranks: tuple[int, ...] = (0,)
    incomplete: tuple[str, ...] = ()
    verdicts: tuple[RuleVerdict, ...] = ()
    silenced: tuple[Finding, ...] = ()
