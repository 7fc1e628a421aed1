"""A script -> the plan of its run, with instrumented code in the cache."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final, final

from tcstatic import __version__
from tcstatic.caching import cache_folder
from tcstatic.check.scope import MayHold, outside_of, told_cheaply
from tcstatic.errors import InputError
from tcstatic.model import (
    Failed,
    Invariant,
    PlannedFile,
    ProbePlan,
    Rewritten,
    RunOptions,
    Site,
    Skipped,
    Unchanged,
    Unprobed,
    Verdict,
    VerdictName,
)
from tcstatic.program.source import (
    ModuleFacts,
    Tree,
    decode,
    linked,
    local_modules,
    module_name,
    parse,
    read_tree,
    suppressions_in,
)
from tcstatic.rewrite.callplan import Asked, CallPlan, named_by
from tcstatic.rewrite.instrumenting import compile_instrumented, instrument
from tcstatic.rewrite.proving import answered, proved, round_of
from tcstatic.rewrite.scoping import Scoping, recorded
from tcstatic.rewrite.selection import merged, select_sites
from tcstatic.rewrite.worlds import facts_of, world_of
from tcstatic.runtime.live.codecache import fetch, store
from tcstatic.runtime.live.pruning import used

# Part of every cache key: raise it with each change in what is selected or inserted.
SELECTION: Final = "8"
_LINTED: Final = Verdict("OUT_OF_SCOPE", "decided from the source by tcstatic lint")
# A file of an included package without any of these has no site that matters, but for its calls.
_WORTH_READING: Final = re.compile(rb"torch|\.(?:step|backward|zero_grad|train|eval)\(")
_CLEARS: Final = re.compile(rb"\.zero_grad\b")


@final
@dataclass(frozen=True, slots=True)
class _Read:
    """A file of the program with its facts."""

    path: Path
    name: str
    source: bytes
    tree: Tree
    facts: ModuleFacts


def compile_plan(
    script: Path,
    root: Path,
    invariants: Sequence[Invariant],
    options: RunOptions,
    include: tuple[str, ...] = (),
    *,
    out_of_scope: tuple[tuple[str, Verdict], ...] = (),
    scoped: bool = True,
    calls: bool = False,
    may_hold: MayHold = told_cheaply,
) -> ProbePlan:
    """Plan a run: find the script's own files, choose sites, store instrumented code.

    `root` is what `sys.path[0]` will be; paths of files are relative to it, or absolute outside. A
    file that cannot be read or rewritten is in `skipped` and runs as it is. What the source decides
    is not probed, unless `scoped` is False. `calls`: with sites for all `call` events, and not only
    for those that invariants are about. `may_hold` tells whether a precondition can hold in this
    program. Raises InputError where a package of `include` is unknown.
    """
    script, root = script.absolute(), root.absolute()
    watched = tuple(one for one in invariants if "run" in one.feeds)
    unwatched = ((one.code, _LINTED) for one in invariants if "run" not in one.feeds)
    own = local_modules(script, root, ())
    asked = Asked(every=calls, named=frozenset() if calls else named_by(watched))
    include = (*include, *asked.packages(include))
    every = local_modules(script, root, include)
    read, skipped = _read_all(own, every, root, calls=bool(asked))
    whole = len(read) == len(every)
    scope = _Scope(script, root, tuple(read), scoped and not skipped, asked, whole=whole)
    left, decided = _left_to_the_run(watched, scope, may_hold)
    if scope.problem:
        skipped.append(Skipped(file_name(script, root), scope.problem))
    files, sites, unprobed = _sites(read, scope, skipped)
    return ProbePlan(
        root=str(root),
        script=str(script),
        sites=sites,
        invariants=left,
        out_of_scope=(*out_of_scope, *unwatched, *decided),
        files=files,
        skipped=(*skipped, *scope.unrecorded()),
        options=options,
        unprobed=unprobed,
        assumed=scope.assumed,
        libraries=include if asked else (),
        suppressions=tuple(mark for one in read for mark in suppressions_in(one.source, one.name)),
    )


def _left_to_the_run(
    watched: Sequence[Invariant], scope: _Scope, may_hold: MayHold
) -> tuple[tuple[Invariant, ...], tuple[tuple[str, Verdict], ...]]:
    """The invariants that the source does not decide, and the verdicts on the others by code."""
    outside = outside_of(watched, scope.assumed, may_hold)
    inside = tuple(one for one in watched if one.code not in outside)
    proofs = scope.proved(inside)
    left = tuple(one for one in inside if one.code not in proofs)
    return left, (*_verdicts("OUT_OF_SCOPE", outside), *_verdicts("HOLDS", proofs))


def _sites(
    read: Sequence[_Read], scope: _Scope, skipped: list[Skipped]
) -> tuple[tuple[PlannedFile, ...], tuple[Site, ...], tuple[Unprobed, ...]]:
    """The files that are instrumented with their sites, and the sites that are not probed; files
    that cannot be instrumented are added to `skipped`."""
    files: list[PlannedFile] = []
    sites: list[Site] = []
    unprobed: list[Unprobed] = []
    for one in read:
        chosen, left = scope.sites(one, len(sites) + 1)
        code = _code(one, chosen)
        if isinstance(code, Skipped):
            skipped.append(code)
            continue
        files.append(PlannedFile(one.name, hashlib.sha256(one.source).hexdigest(), code))
        sites.extend(chosen)
        unprobed.extend(left)
    return tuple(files), tuple(sites), tuple(unprobed)


def _verdicts(name: VerdictName, reasons: Mapping[str, str]) -> Iterator[tuple[str, Verdict]]:
    return ((code, Verdict(name, reason)) for code, reason in reasons.items())


def _clears_once(sources: Iterable[bytes]) -> bool:
    """Whether a program may be one round over and over, at a glance."""
    return sum(len(_CLEARS.findall(source)) for source in sources) == 1


@final
class _Scope:
    """What the source of a whole program decides; nothing where `known` is False."""

    def __init__(
        self,
        script: Path,
        root: Path,
        read: tuple[_Read, ...],
        known: bool,
        asked: Asked,
        *,
        whole: bool,
    ) -> None:
        self._modules = {module_name(one.path, root): one.facts for one in read}
        self._world = world_of([(one.source, one.facts) for one in read], complete=known)
        recorder, problem = recorded(script, root, self._world)
        self._scoping = Scoping(self._world, recorder) if known else None
        # What is recorded is for other invariants too, which may ask what these do not.
        proving = known and whole and not asked and _clears_once(one.source for one in read)
        trees = {one.path: one.tree for one in read} if proving else {}
        self._line = round_of(script, trees, self._modules, self._world, recorder)
        sources = [one.source for one in read]
        name = file_name(script, root)
        self._calls = CallPlan(self._modules, sources, name, asked) if asked else None
        self.assumed = facts_of((one.facts for one in read), self._world) if known else ()
        self.problem = f"planned by names alone ({problem})" if problem else ""

    def proved(self, invariants: Sequence[Invariant]) -> dict[str, str]:
        """What no run can violate of what is in scope, by code, why; `sites` leaves out what is
        probed for nothing else."""
        found = proved(invariants, self._line)
        if found and self._scoping is not None:
            watched = (one for one in invariants if one.code not in found)
            self._scoping.answer(answered(watched, self._line))
        return found

    def sites(self, one: _Read, first: int) -> tuple[tuple[Site, ...], tuple[Unprobed, ...]]:
        """The sites of a file that are probed, numbered from `first`, and those that are not."""
        facts = linked(one.facts, self._modules)
        by_name = select_sites(facts, 1)
        kept: Sequence[Site] = by_name
        left: Sequence[tuple[Site, str]] = ()
        if self._scoping is not None:
            kept, left = self._scoping.split(one.path, facts, by_name)
        numbered = (replace(site, number=number) for number, site in enumerate(kept, first))
        sites = _located(tuple(numbered), one.name)
        if self._calls is not None:
            sites = self._with_calls(one, facts, sites, first, self._calls)
        return sites, tuple(_unprobed(one, *pair) for pair in left)

    def unrecorded(self) -> Sequence[Skipped]:
        """Calls that are asked for, and are not recorded."""
        return self._calls.skipped if self._calls is not None else ()

    def _with_calls(
        self,
        one: _Read,
        facts: ModuleFacts,
        sites: tuple[Site, ...],
        first: int,
        calls: CallPlan,
    ) -> tuple[Site, ...]:
        """All sites of a file; without those of its calls if it cannot be rewritten with them."""
        more = _located(calls.sites(one.name, facts), one.name)
        every = merged(sites, more, first) if more else sites
        code = _code(one, every) if more else ""
        if isinstance(code, str):
            return every
        calls.refused(one.name, code.reason)
        return sites


def _unprobed(read: _Read, site: Site, reason: str) -> Unprobed:
    where = site.location
    return Unprobed(read.name, where.line, where.column, site.probe, site.kind, reason)


def _read_all(
    own: tuple[Path, ...], everything: tuple[Path, ...], root: Path, *, calls: bool
) -> tuple[list[_Read], list[Skipped]]:
    read: list[_Read] = []
    skipped: list[Skipped] = []
    for path in everything:
        name = file_name(path, root)
        try:
            source = path.read_bytes()
            if not calls and path not in own and not _WORTH_READING.search(source):
                continue
            text = decode(source, str(path))
            tree = parse(text.text, str(path))
            facts = read_tree(path, text, tree, module_name(path, root))
        except OSError as error:
            skipped.append(Skipped(name, error.strerror or type(error).__name__))
        except InputError as error:
            skipped.append(Skipped(name, str(error)))
        else:
            read.append(_Read(path, name, source, tree, facts))
    return read, skipped


def file_name(path: Path, root: Path) -> str:
    """How a plan names a file: relative to `root` with slashes, absolute where it lies outside."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _located(sites: Sequence[Site], name: str) -> tuple[Site, ...]:
    return tuple(replace(site, location=replace(site.location, file=name)) for site in sites)


def _code(read: _Read, sites: tuple[Site, ...]) -> str | Skipped:
    """The cache entry of a file's instrumented code, '' for a file without sites."""
    if read.facts.mentions_probes:
        return Skipped(read.name, "already instrumented")
    if not sites:
        return ""
    folder, key = cache_folder() / "code", _key(read, sites)
    entry = folder.absolute() / f"{key}.code"
    try:
        fetch(str(entry))
        used(entry)
        return str(entry)
    except (OSError, ValueError, EOFError, TypeError):
        pass
    outcome = instrument(read.path, read.source, sites)
    if isinstance(outcome, Unchanged):
        return ""
    if not isinstance(outcome, Rewritten):
        reason = outcome.error if isinstance(outcome, Failed) else outcome.reason
        return Skipped(read.name, reason)
    try:
        code = compile_instrumented(read.source, outcome.text, str(read.path))
        return store(code, folder, key)
    except Exception as error:
        return Skipped(read.name, f"{type(error).__name__}: {error}")


def _key(read: _Read, sites: tuple[Site, ...]) -> str:
    about = {
        "path": str(read.path),
        "sites": [asdict(site) for site in sites],
        "selection": SELECTION,
        "version": __version__,
        "python": [importlib.util.MAGIC_NUMBER.hex(), sys.flags.optimize],
    }
    text = json.dumps(about, sort_keys=True).encode()
    return hashlib.sha256(hashlib.sha256(read.source).digest() + text).hexdigest()
