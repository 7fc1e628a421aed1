"""What is known of one module after its analysis; who reads it from a cache needs no analyser."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from tcstatic.model import Finding, Verdict


@final
@dataclass(frozen=True, slots=True)
class Analysis:
    """Of one module: its body, and its functions that the body does not call.

    A finding may lie in another file than `path`: in one that it imports. `depends` are the files
    that were read for it, itself first. `skipped` says why it was not analysed at all. `coverage`
    maps a kind of site to (those whose role is known, all).
    """

    path: Path
    findings: tuple[Finding, ...] = ()
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    depends: tuple[Path, ...] = ()
    skipped: str = ""
    coverage: Mapping[str, tuple[int, int]] = field(default_factory=dict)
