"""What was learnt earlier + more runs -> what all of them together teach.

Learning again from the kept observations of the earlier runs and from the new ones (`keeping`) is
exact: whatever the order in which runs are added, and in how many portions, the same is learnt as
from all of them at once. So counts and runs of support add up; an invariant that the new runs
violate gets a stronger precondition, or goes if no precondition tells its failures apart (or if it
fails in a run that it was not learnt from); `seen` widens to the contexts of the new runs; and what
too few runs supported before may appear. Codes stay with their claims; new ones get new numbers.

What a person did to the file stays: what was removed by hand is not learnt again, and what was
edited or added is carried over as it stands, letter by letter, and judged by nobody.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Final, final

from tcstatic.errors import InputError, input_problem
from tcstatic.infer.inferring import Inferred, Wanted
from tcstatic.infer.keeping import Kept, Written, beside, plain, read_kept, restored
from tcstatic.infer.surveying import Survey
from tcstatic.invariants.relations import check_params
from tcstatic.invariants.rules import load_rules
from tcstatic.invariants.rules.writing import rules_text
from tcstatic.model import Invariant

_BLOCK: Final = re.compile(r"^(?=- )", re.MULTILINE)
_CODE: Final = re.compile(r"^(?:- |  )code: *([^\s#]+)", re.MULTILINE)
_AGAIN: Final = "'"  # behind the name of a run that another one has


@final
@dataclass(frozen=True, slots=True)
class Earlier:
    """A file that was learnt before: its records as text and as they are read, by code."""

    kept: Kept
    texts: Mapping[str, str] = field(default_factory=dict)
    rules: Mapping[str, Invariant] = field(default_factory=dict)

    def untouched(self, relations: Iterable[str]) -> dict[str, str]:
        """The records, by code, that are carried over as they stand: what a person has written or
        edited, and what is of no relation that is asked for."""
        named = frozenset(relations)
        return {
            code: text
            for code, text in self.texts.items()
            if code not in self.kept.written
            or _digest(text) != self.kept.written[code].digest
            or (named and self.rules[code].relation not in named)
        }

    def dropped(self) -> frozenset[str]:
        """The claims that a person has removed from the file, now or before."""
        gone = {one.claim for code, one in self.kept.written.items() if code not in self.texts}
        return self.kept.dropped | gone

    def wanted(self, wanted: Wanted) -> Wanted:
        """What is to be learnt: nothing that was removed, or is carried over."""
        written = self.kept.written
        carried = {written[c].claim for c in self.untouched(wanted.relations) if c in written}
        return replace(wanted, without=wanted.without | self.dropped() | carried)


def read_earlier(path: Path) -> Earlier:
    """Read a file that `infer` has written, and the observations beside it; raise InputError."""
    rules = {one.code: one for one in load_rules([path], schema=check_params)}
    text = path.read_text(encoding="utf-8")
    texts = {}
    for block in _BLOCK.split(text)[1:]:
        if code := _CODE.search(block):
            texts[code[1]] = block
    if texts.keys() != rules.keys():
        raise InputError(
            input_problem(
                "these rules cannot be merged with others",
                where=str(path),
                expected="a list, one `- code: ...` after another, as infer writes it",
            )
        )
    return Earlier(read_kept(beside(path)), texts, rules)


def free_name(name: str, taken: Container[str]) -> str:
    """Return a name for a run that no other has."""
    while name in taken:
        name += _AGAIN
    return name


def together(
    earlier: Mapping[str, Survey], new: Mapping[str, Survey]
) -> tuple[dict[str, Survey], list[str]]:
    """The surveys of all runs, and the names of new runs that were there already.

    A run that has the name of another one and says something else gets a name of its own.
    """
    every = dict(earlier)
    again = []
    for name, survey in sorted(new.items()):
        namesakes = [one for one in every if one.rstrip(_AGAIN) == name]
        told = plain(survey) if namesakes else {}
        if any(plain(every[one]) == told for one in namesakes):
            again.append(name)
            continue
        free = free_name(name, every)
        every[free] = restored(free, told) if free != name else survey
    return every, again


@final
@dataclass(frozen=True, slots=True)
class Merged:
    """What is written: records as text in the order of their codes, `learnt` those of the runs, and
    what is kept beside them."""

    texts: tuple[str, ...]
    learnt: tuple[Invariant, ...]
    kept: Kept


def merged(
    found: Inferred,
    surveys: Mapping[str, Survey],
    earlier: Earlier | None = None,
    relations: Iterable[str] = (),
) -> Merged:
    """What was learnt, under the codes that its claims had before, with what is carried over."""
    earlier = earlier or Earlier(Kept({}))
    carried = earlier.untouched(relations)
    learnt = tuple(_coded(found, earlier))
    texts = {one.code: rules_text([one]) for one in learnt}
    written = {
        one.code: Written(claim, _digest(texts[one.code]))
        for one, claim in zip(learnt, found.claims, strict=True)
    }
    before = {code: one for code, one in earlier.kept.written.items() if code in carried}
    every = {code: text.strip() + "\n" for code, text in {**carried, **texts}.items()}
    return Merged(
        tuple(every[code] for code in sorted(every, key=_place)),
        tuple(sorted(learnt, key=lambda one: _place(one.code))),
        Kept(surveys, {**before, **written}, earlier.dropped()),
    )


def _coded(found: Inferred, earlier: Earlier) -> Iterator[Invariant]:
    codes = {one.claim: code for code, one in earlier.kept.written.items()}
    taken = {*earlier.texts, *earlier.kept.written}
    free = (number for number in count(1) if f"INF{number:03d}" not in taken)
    for one, claim in zip(found.invariants, found.claims, strict=True):
        code = codes.get(claim)
        number = int(code.removeprefix("INF")) if code else next(free)
        name = f"learnt-{one.relation}-{number}"
        yield replace(one, code=f"INF{number:03d}", name=name)


def _place(code: str) -> tuple[int, str]:
    return len(code), code


def _digest(text: str) -> str:
    return hashlib.sha256(text.strip().encode()).hexdigest()
