"""A site before it has a number and a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final

from tcstatic.model import Probe
from tcstatic.program.source import Span


@final
@dataclass(frozen=True, slots=True)
class Sketch:
    """What the table of sites says about one expression; see `Site` for the fields."""

    probe: Probe
    kind: str
    span: Span
    function: str
    callee: str = ""
    subject: str = ""
    attribute: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict)
