"""Fixes: what a linter would change in the text, as data; `rewrite` applies them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final


@final
@dataclass(frozen=True, slots=True)
class Edit:
    """One replacement. Lines and columns count from 1, columns in characters, the end exclusive."""

    file: str
    line: int
    column: int
    end_line: int
    end_column: int
    text: str


@final
@dataclass(frozen=True, slots=True)
class Fix:
    """How a finding can be mended. `safe`: a correct program's behaviour cannot change by it."""

    title: str
    safe: bool
    edits: tuple[Edit, ...]
