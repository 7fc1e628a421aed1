"""Rule files -> invariants: read, validated, selected."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tcstatic.errors import RuleError, input_problem
from tcstatic.invariants.rules.choosing import select_rules
from tcstatic.invariants.rules.files import rule_files
from tcstatic.invariants.rules.reading import read_document
from tcstatic.invariants.rules.schema import CheckParams, to_invariant
from tcstatic.model import Invariant


def load_rules(
    paths: Sequence[Path],
    *,
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    schema: CheckParams | None = None,
) -> tuple[Invariant, ...]:
    """Return the invariants of all rule files that `paths` name, sorted by code.

    `select` and `ignore` hold codes, prefixes of codes, or names; without `select` all are taken,
    and `ignore` wins. `schema(relation, params)` raises ValueError where the parameters of a
    relation, or its name, are wrong. Raises RuleError with file and line, InputError for a word
    that selects nothing.
    """
    found = [one for file in rule_files(paths) for one in _of_file(file, schema)]
    refuse_duplicates(found)
    return select_rules(found, select=select, ignore=ignore)


def _of_file(file: Path, schema: CheckParams | None) -> list[Invariant]:
    document = read_document(file)
    if isinstance(document.value, list):
        if not document.value:
            raise RuleError(input_problem("the rule file holds no rule", where=document.where(())))
        places = range(len(document.value))
        return [to_invariant(document, (place,), schema) for place in places]
    return [to_invariant(document, (), schema)]


def refuse_duplicates(found: Sequence[Invariant]) -> None:
    """Raise RuleError where two rules share a code or a name."""
    seen: dict[str, Invariant] = {}
    for one in found:
        for word in (one.code, one.name):
            if word in seen:
                raise RuleError(
                    input_problem(
                        f"{word} is defined twice",
                        where=one.source,
                        expected=f"it only once (first in {seen[word].source})",
                    )
                )
            seen[word] = one
