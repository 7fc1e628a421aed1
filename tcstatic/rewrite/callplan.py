"""Which calls of a program are recorded: within a limit, and not where that could do harm."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, final

from tcstatic.model import Site, Skipped
from tcstatic.program.source import ModuleFacts
from tcstatic.rewrite.recordedcalls import own_names, why_file_unrecorded, why_unrecorded
from tcstatic.rewrite.selection import select_calls

# The script's own files come first; what lies beyond is told.
MOST_CALLS: Final = 2_000


@final
class CallPlan:
    """The sites of `call` events, file by file in the order of the plan.

    State: `_room`, how many calls may still be chosen; `skipped` what was left out, and why.
    """

    def __init__(
        self, modules: Mapping[str, ModuleFacts], sources: Iterable[bytes], script: str
    ) -> None:
        self._own = own_names(modules)
        self._room = MOST_CALLS
        self._off = why_unrecorded(sources)
        self.skipped = [Skipped(f"calls in {script}", self._off)] if self._off else []

    def sites(self, name: str, facts: ModuleFacts) -> tuple[Site, ...]:
        """The sites of one file, numbered from 1."""
        if self._off:
            return ()
        reason = why_file_unrecorded(facts)
        sites = () if reason else select_calls(facts, self._own)
        calls = dict.fromkeys(site.arguments["call"] for site in sites)
        kept = frozenset(list(calls)[: self._room])
        self._room -= len(kept)
        if len(kept) < len(calls):
            left = len(calls) - len(kept)
            reason = f"{left} of {len(calls)} are not recorded: the limit is {MOST_CALLS:,} in all"
        if reason:
            self.skipped.append(Skipped(f"calls in {name}", reason))
        return tuple(site for site in sites if site.arguments["call"] in kept)

    def refused(self, name: str, reason: str) -> None:
        """A file cannot be rewritten with the sites of its calls."""
        self.skipped.append(Skipped(f"calls in {name}", reason))
