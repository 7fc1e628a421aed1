"""The rules that a project asks for, and why each of the others has no say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, final

from tcstatic.errors import InputError
from tcstatic.invariants.rules.choosing import matching, select_rules
from tcstatic.lint.own_rules import USELESS
from tcstatic.lint.settings import Settings, concerns
from tcstatic.model import Invariant, Verdict

_RUN_ONLY: Final = Verdict("OUT_OF_SCOPE", "decided by a run (tcstatic run), not from the source")


@final
@dataclass(frozen=True, slots=True)
class Chosen:
    """Rules of one project: all that there are, those to judge, and those chosen in vain."""

    known: tuple[Invariant, ...]
    judged: tuple[Invariant, ...]
    out_of_scope: Mapping[str, Verdict]
    tells_useless: bool

    @property
    def names(self) -> dict[str, Invariant]:
        """Return all rules by code and by name."""
        return {word: one for one in self.known for word in (one.code, one.name)}


def choose_rules(
    rules: Sequence[Invariant],
    settings: Settings,
    *,
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    extend: Sequence[str] = (),
) -> Chosen:
    """Return the rules for a project; what the command line says of `select` wins.

    Raises InputError for a word that matches no rule.
    """
    known = (USELESS, *rules)
    try:
        # Checked by themselves, so that the message names the file.
        select_rules(
            known,
            select=settings.select,
            ignore=settings.ignore,
            extend=settings.extend_select,
        )
    except InputError as error:
        raise InputError(f"{settings.file}: {str(error).removeprefix('--')}") from None
    chosen = select_rules(
        known,
        select=select or settings.select,
        ignore=(*settings.ignore, *ignore),
        extend=(*settings.extend_select, *extend),
    )
    out: dict[str, Verdict] = {}
    judged = []
    for one in chosen:
        if "lint" not in one.feeds:
            out[one.code] = _RUN_ONLY
        elif not concerns(one.torch, settings.torch):
            reason = f"about torch {one.torch}, and the project is on torch {settings.torch}"
            out[one.code] = Verdict("OUT_OF_SCOPE", reason)
        elif one is not USELESS:
            judged.append(one)
    return Chosen(known, tuple(judged), out, USELESS in chosen)


def codes_of(words: Sequence[str], known: Sequence[Invariant], where: str) -> frozenset[str]:
    """Return the codes that the words of a setting mean; `where` is for messages."""
    return frozenset(one.code for word in words for one in matching(word, known, where))
