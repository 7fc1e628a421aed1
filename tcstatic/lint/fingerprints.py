"""What stays the same of a finding when lines above it come and go."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace

from tcstatic.model import Finding


def with_fingerprints(
    findings: Iterable[Finding], line_of: Callable[[str, int], str]
) -> tuple[Finding, ...]:
    """Return the findings, sorted by place, each with its fingerprint.

    It is made of file, code, enclosing function and the text of the line (`line_of`, its blanks
    normalised); equal ones are numbered from above.
    """
    seen: Counter[tuple[str, ...]] = Counter()
    done = []
    for one in sorted(findings, key=place):
        where = one.where
        text = " ".join(line_of(where.file, where.line).split())
        key = (where.file, one.code, where.function, text)
        done.append(replace(one, fingerprint=_digest((*key, str(seen[key])))))
        seen[key] += 1
    return tuple(done)


def place(finding: Finding) -> tuple[str, int, int, str]:
    """Return what findings are sorted by."""
    where = finding.where
    return (where.file, where.line, where.column, finding.code)


def _digest(parts: tuple[str, ...]) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]
