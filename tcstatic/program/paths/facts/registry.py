"""Facts that rules ask of happenings, one small provider a file.

A provider is a function of (machine, happening) that adds to ``happening.values`` (what the event
says) or ``happening.facts`` (its context). It is registered for the kinds that it knows, and runs
once a root is finished.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final

from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.tree import Block, Happening, happenings

Provider = Callable[[Machine, Happening], None]
Survey = Callable[[Machine, Block], None]
PROVIDERS: Final[dict[str, list[Provider]]] = {}
SURVEYS: Final[list[Survey]] = []


def provides(*kinds: str) -> Callable[[Provider], Provider]:
    """Register a provider for kinds of events."""

    def register(provider: Provider) -> Provider:
        for kind in kinds:
            PROVIDERS.setdefault(kind, []).append(provider)
        return provider

    return register


def surveys(survey: Survey) -> Survey:
    """Register a function that looks at all of a root, and adds to what it finds there."""
    SURVEYS.append(survey)
    return survey


def complete(m: Machine, block: Block) -> None:
    """Let every provider have its say. Of one that looks too deep, what it has not said is lost,
    and nothing else."""
    for one in happenings(block):
        for provider in PROVIDERS.get(one.kind, ()):
            with suppress(RecursionError):
                provider(m, one)
    for survey in SURVEYS:
        with suppress(RecursionError):
            survey(m, block)
