"""One command's worth of learning: earlier results and new runs -> a file, and words about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import final

from tcstatic.caching import write_whole
from tcstatic.errors import InputError, input_problem
from tcstatic.infer.explaining import explained
from tcstatic.infer.inferring import Events, Inferred, Wanted, joined, learn_from, observe, observed
from tcstatic.infer.keeping import Written, beside, packed
from tcstatic.infer.merging import Merged, merged, read_earlier, together
from tcstatic.infer.observing import claim_of, propose
from tcstatic.infer.surveying import Survey
from tcstatic.invariants.relations import RELATIONS


@final
@dataclass(frozen=True, slots=True)
class Lesson:
    """What a command has learnt: from which runs, of which some were known already (`again`); and
    what was written `before`."""

    found: Inferred
    merged: Merged
    surveys: Mapping[str, Survey]
    again: Sequence[str]
    before: Mapping[str, Written]
    wanted: Wanted

    def write(self, path: Path) -> None:
        """Write the rules, and the observations beside them; raise InputError where it cannot."""
        if not self.merged.texts:
            raise InputError(self._nothing())
        text = "\n".join([self._heading(), *self.merged.texts])
        for target, content in ((path, text.encode()), (beside(path), packed(self.merged.kept))):
            try:
                write_whole(target, content)
            except OSError as error:
                problem = "the invariants cannot be written"
                got = error.strerror or type(error).__name__
                raise InputError(input_problem(problem, where=str(target), got=got)) from None

    def summary(self, path: Path) -> str:
        """One line about what was learnt and written."""
        counts: dict[str, int] = {}
        for one in self.merged.learnt:
            counts[one.relation] = counts.get(one.relation, 0) + 1
        by = ", ".join(f"{number} {name}" for name, number in sorted(counts.items())) or "none"
        carried = len(self.merged.texts) - len(self.merged.learnt)
        also = f", and {carried} carried over as they stand" if carried else ""
        known = f"; known already: {', '.join(self.again)}" if self.again else ""
        return (
            f"tcstatic: {len(self.merged.learnt)} invariants ({by}) of {self.found.hypotheses} "
            f"hypotheses, from {self.found.events} events{also}: {path}{known}"
        )

    def why(self, code: str) -> str:
        """What the invariant of this code rests on; raise InputError where none has it."""
        codes = {one.claim: named for named, one in self.merged.kept.written.items()}
        by_code = {codes[claim]: n for n, claim in enumerate(self.found.claims)}
        whole = joined(self.surveys)
        if code in by_code:
            one = self.found.learned[by_code[code]]
            (examples,) = observed(whole, [one.hypothesis])
            return explained(code, one.hypothesis, one, examples)
        claims = {named: one.claim for named, one in self.before.items()}
        for hypothesis in propose(whole.vocabulary()):
            if claim_of(hypothesis) == claims.get(code):
                (examples,) = observed(whole, [hypothesis])
                return explained(code, hypothesis, None, examples)
        known = sorted(by_code, key=lambda one: (len(one), one))
        raise InputError(
            input_problem(
                f"--why: nothing with the code {code!r} was learnt from these runs",
                expected=f"one of {known[0]} to {known[-1]}" if known else "",
            )
        )

    def _heading(self) -> str:
        said = (
            f"Learnt by tcstatic infer from {self.found.events} events of {len(self.surveys)} runs "
            f"({', '.join(sorted(self.surveys))}): {len(self.merged.learnt)} of "
            f"{self.found.hypotheses} hypotheses."
        )
        # A comment ends at the end of its line, and yaml has no control characters in it.
        return "# " + "".join(one if one.isprintable() else "?" for one in said)

    def _nothing(self) -> str:
        runs = f"{len(self.surveys)} run{'s' if len(self.surveys) != 1 else ''}"
        steps = sum(
            one.runs.total()
            for survey in self.surveys.values()
            for one in survey.distinct
            if one.event.kind == "optimizer.step"
        )
        return input_problem(
            f"nothing was learnt from {self.found.events} events of {runs}, and nothing is written",
            got=f"{steps} optimizer steps, {self.found.hypotheses} hypotheses",
            expected=f"something that holds {self.wanted.support} times (--min-support "
            f"{self.wanted.support})",
            cure="record a run that trains for some steps (tcstatic run --trace DIR SCRIPT)"
            + (", or more runs" if steps else ""),
        )


def lesson(
    runs: Mapping[str, Events],
    wanted: Wanted,
    executor: Executor | None = None,
    *,
    earlier: Path | None = None,
    progress: Callable[[int], object] | None = None,
) -> Lesson:
    """Learn from runs, and from what an earlier file rests on; see `merging` for what is kept of
    it. Raises InputError where the file, or a trace, cannot be read."""
    before = read_earlier(earlier) if earlier is not None else None
    new = observe(runs, executor, progress)
    surveys, again = together(before.kept.surveys if before else {}, new)
    asked = before.wanted(wanted) if before else wanted
    found = learn_from(surveys, asked, executor)
    written = before.kept.written if before else {}
    result = merged(found, surveys, before, wanted.relations)
    return Lesson(found, result, surveys, again, written, wanted)


def relations_named(text: str) -> tuple[str, ...]:
    """The relations of a list with commas; raise InputError where there is no such relation."""
    named = tuple(dict.fromkeys(one.strip() for one in text.split(",") if one.strip()))
    known = ", ".join(sorted(RELATIONS))
    if text and not named:
        raise InputError(input_problem("--relations", got=repr(text), expected=f"some of {known}"))
    for name in named:
        if name not in RELATIONS:
            raise InputError(
                input_problem(f"unknown relation {name!r}", expected=f"some of {known}")
            )
    return named
