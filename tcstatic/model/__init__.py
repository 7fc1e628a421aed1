"""The nouns of tcstatic, as frozen dataclasses. No behaviour beyond their own fields."""

from tcstatic.model.events import EVENT_KINDS, Context, Event, Member, Scalar
from tcstatic.model.findings import (
    Finding,
    InvariantCounts,
    Observation,
    ProbeCounts,
    Report,
    RuleVerdict,
    Witness,
)
from tcstatic.model.fixes import Edit, Fix
from tcstatic.model.hypotheses import FieldSeen, Group, Hypothesis, Interval, Vocabulary
from tcstatic.model.invariants import (
    Blame,
    Example,
    Feed,
    Invariant,
    Needs,
    Severity,
    Support,
    Verdict,
    VerdictName,
)
from tcstatic.model.outcomes import Failed, RewriteOutcome, Rewritten, Unchanged
from tcstatic.model.plans import (
    PLAN_SCHEMA,
    OnViolation,
    PlannedFile,
    ProbePlan,
    RunOptions,
    Skipped,
    Unprobed,
)
from tcstatic.model.sites import Location, Probe, Site

__all__ = [
    "EVENT_KINDS",
    "PLAN_SCHEMA",
    "Blame",
    "Context",
    "Edit",
    "Event",
    "Example",
    "Failed",
    "Feed",
    "FieldSeen",
    "Finding",
    "Fix",
    "Group",
    "Hypothesis",
    "Interval",
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
    "RuleVerdict",
    "RunOptions",
    "Scalar",
    "Severity",
    "Site",
    "Skipped",
    "Support",
    "Unchanged",
    "Unprobed",
    "Verdict",
    "VerdictName",
    "Vocabulary",
    "Witness",
]
