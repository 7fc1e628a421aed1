"""Outcomes of rewriting a file are values: one bad file never ends a run of many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from tcstatic.model.plans import Skipped


@final
@dataclass(frozen=True, slots=True)
class Rewritten:
    """The instrumented text, and how many probes were inserted."""

    path: str
    text: str
    insertions: int


@final
@dataclass(frozen=True, slots=True)
class Unchanged:
    """The file has no site and stays byte-identical."""

    path: str


@final
@dataclass(frozen=True, slots=True)
class Failed:
    """The rewriter could not handle the file; it is used as it is."""

    path: str
    error: str


RewriteOutcome = Rewritten | Unchanged | Skipped | Failed
