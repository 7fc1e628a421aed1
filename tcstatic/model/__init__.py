"""The nouns of tcstatic, as frozen dataclasses. No behaviour beyond their own fields."""

from tcstatic.model.events import EVENT_KINDS, Context, Event, Member, Scalar
from tcstatic.model.findings import (
    Finding,
    InvariantCounts,
    Observation,
    ProbeCounts,
    Report,
    Witness,
)
from tcstatic.model.invariants import Blame, Example, Invariant, Needs, Severity, Verdict
from tcstatic.model.outcomes import Failed, RewriteOutcome, Rewritten, Unchanged
from tcstatic.model.plans import (
    PLAN_SCHEMA,
    OnViolation,
    PlannedFile,
    ProbePlan,
    RunOptions,
    Skipped,
)
from tcstatic.model.sites import Location, Probe, Site

__all__ = [
    "EVENT_KINDS",
    "PLAN_SCHEMA",
    "Blame",
    "Context",
    "Event",
    "Example",
    "Failed",
    "Finding",
    "Invariant",
    "InvariantCounts",
    "Location",
    "Member",
    "Needs",
    "Observation",
    "OnViolation",
    "PlannedFile",
    "Probe",
    "ProbeCounts",
    "ProbePlan",
    "Report",
    "RewriteOutcome",
    "Rewritten",
    "RunOptions",
    "Scalar",
    "Severity",
    "Site",
    "Skipped",
    "Unchanged",
    "Verdict",
    "Witness",
]
