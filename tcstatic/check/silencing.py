"""Findings that a comment beside the line that they name allows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tcstatic.model import Finding, Suppression


def parted(
    findings: Iterable[Finding], suppressions: Sequence[Suppression]
) -> tuple[tuple[Finding, ...], tuple[Finding, ...]]:
    """Return the findings that are told, and those that are silenced."""
    told: list[Finding] = []
    silenced: list[Finding] = []
    for one in findings:
        allowed = any(mark.covers(one) for mark in suppressions)
        (silenced if allowed else told).append(one)
    return tuple(told), tuple(silenced)
