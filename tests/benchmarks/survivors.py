"""Why some mutants of `tests.benchmarks.injecting` are not found, or not at the mutated line."""

from __future__ import annotations

from typing import Final

# By operator, or by operator, program and line where mutants of one operator differ.
REASONS: Final[dict[str | tuple[str, str, int], str]] = {}


def reason_of(operator: str, script: str, line: int) -> str:
    """Return why a mutant survives; nothing where that is not known."""
    return REASONS.get((operator, script, line)) or REASONS.get(operator, "")
