"""Invariants: a relation between training events, under a precondition, with its words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, final

Severity = Literal["error", "warning", "note"]
Feed = Literal["lint", "run"]
VerdictName = Literal["HOLDS", "VIOLATED", "UNKNOWN", "OUT_OF_SCOPE"]


@final
@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known of an invariant for a program; the last two names carry a reason."""

    name: VerdictName
    reason: str = ""


@final
@dataclass(frozen=True, slots=True)
class Blame:
    """One candidate for the line to mend: if `when` holds, the last event of kind `at`."""

    at: str
    when: str = ""


@final
@dataclass(frozen=True, slots=True)
class Example:
    """A whole script. `kind` says what must be found in it: its `# expect:` line, or nothing."""

    kind: Literal["bad", "good"]
    text: str
    title: str = ""
    ranks: int = 1


@final
@dataclass(frozen=True, slots=True)
class Support:
    """What an inferred invariant rests on: how often it held, in how many different contexts, how
    many failures its precondition excludes, and the runs that support it."""

    held: int
    contexts: int
    excluded: int
    runs: tuple[str, ...]


@final
@dataclass(frozen=True, slots=True)
class Invariant:
    """A relation with parameters, a precondition, and what a person reads when it breaks.

    Where `doubt` holds, a failure waits for the end of the run, and counts only if the relation
    held at no time for the same objects.
    `feeds` are the commands that can decide it, `sometimes` the severity where the source shows it
    on some paths only ('': not reported then), `fix` the name of a fix, `torch` the versions that
    it is about ('': all). `lint` holds what is said otherwise where the source decides: any of
    that, when, unless, blame, message. Of what was learnt, `seen` describes the contexts in which
    it held (what fails in others was never seen, and is no violation), `support` how it did.
    """

    code: str
    name: str
    relation: str
    params: Mapping[str, Any]
    severity: Severity
    message: str
    why: str
    cure: str
    when: str = ""
    unless: str = ""
    doubt: str = ""
    blame: tuple[Blame, ...] = ()
    explains: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    examples: tuple[Example, ...] = ()
    status: str = "preview"
    feeds: tuple[Feed, ...] = ("lint", "run")
    sometimes: Severity | Literal[""] = ""
    fix: str = ""
    torch: str = ""
    lint: Mapping[str, Any] = field(default_factory=dict)
    seen: str = ""
    support: Support | None = None
    source: str = field(default="", compare=False)

    @property
    def precondition(self) -> str:
        """The whole precondition as one boolean expression ('' when there is none)."""
        parts = [f"({self.when})"] if self.when else []
        if self.unless:
            parts.append(f"not ({self.unless})")
        return " and ".join(parts)


@final
@dataclass(frozen=True, slots=True)
class Needs:
    """What a monitor must be fed: event kinds, which state the probes have to read, and the
    functions whose calls have to be told of, by name or role."""

    events: frozenset[str]
    state: frozenset[str] = frozenset()
    calls: frozenset[str] = frozenset()
