"""Which calls of a program are recorded: within a limit, and not where that could do harm."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, final

from tcstatic.errors import InputError
from tcstatic.invariants.relations import needs_of
from tcstatic.model import Invariant, Site, Skipped
from tcstatic.program.source import ModuleFacts, package_files
from tcstatic.rewrite.recordedcalls import own_names, why_file_unrecorded, why_unrecorded
from tcstatic.rewrite.selection import select_calls

# The script's own files come first; what lies beyond is told.
MOST_CALLS: Final = 2_000


@final
@dataclass(frozen=True, slots=True)
class Asked:
    """Which calls are told of: `every` one, or those of the functions that are `named`, by dotted
    name or by the role in which a library knows them."""

    every: bool = False
    named: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return self.every or bool(self.named)

    def packages(self, include: tuple[str, ...]) -> tuple[str, ...]:
        """The packages of these functions that can be read, without those that are included."""
        known = {name.partition(".")[0] for name in include} | {"torch", "__main__"}
        roots = sorted({name.partition(".")[0] for name in self.named} - known)
        return tuple(root for root in roots if _can_be_read(root))

    def chosen(self, sites: Iterable[Site]) -> Iterator[Site]:
        """The sites of those calls that may be asked for."""
        sites = tuple(sites)
        if self.every:
            return iter(sites)
        names = {part for one in self.named for part in _last_names(one)}
        texts = {one.partition(" -> ")[2] for one in self.named if " -> " in one}
        indirect = bool({"forward", "__call__"} & names) or any(map(_is_layer, self.named))
        calls = {
            site.arguments["call"]
            for site in sites
            if site.arguments["part"] == "value"
            and (
                site.subject in texts
                or indirect
                or site.callee.rpartition(".")[2] in names
                or site.subject.rpartition(".")[2] in names
            )
        }
        return (site for site in sites if site.arguments["call"] in calls)


EVERY: Final = Asked(every=True)


def named_by(invariants: Iterable[Invariant]) -> frozenset[str]:
    """The functions whose calls some invariants are about."""
    return frozenset(name for one in invariants for name in needs_of(one).calls)


def _last_names(name: str) -> Iterator[str]:
    """What a call of a function may be written as: an ``__init__`` is called by its class."""
    *_, before, last = ("", *name.partition(" -> ")[0].split("."))
    yield last
    if last == "__init__":
        yield before


def _is_layer(name: str) -> bool:
    """Whether this is a class of torch's whose objects are called, whatever they are named."""
    return name.startswith("torch.nn.") and name.rpartition(".")[2][:1].isupper()


def _can_be_read(package: str) -> bool:
    try:
        return bool(package_files(package))
    except InputError:
        return False


@final
class CallPlan:
    """The sites of `call` events, file by file in the order of the plan.

    State: `_room`, how many calls may still be chosen; `skipped` what was left out, and why.
    """

    def __init__(
        self,
        modules: Mapping[str, ModuleFacts],
        sources: Iterable[bytes],
        script: str,
        asked: Asked = EVERY,
    ) -> None:
        self._asked = asked
        self._own = own_names(modules)
        self._room = MOST_CALLS
        self._off = why_unrecorded(sources)
        self.skipped = [Skipped(f"calls in {script}", self._off)] if self._off else []

    def sites(self, name: str, facts: ModuleFacts) -> tuple[Site, ...]:
        """The sites of one file, numbered from 1."""
        if self._off:
            return ()
        reason = why_file_unrecorded(facts)
        sites = () if reason else tuple(self._asked.chosen(select_calls(facts, self._own)))
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
