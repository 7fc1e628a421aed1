"""Words of a user -> rules: codes, first letters of codes, names."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from tcstatic.errors import InputError, input_problem
from tcstatic.model import Invariant


def select_rules(
    found: Sequence[Invariant],
    *,
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    extend: Sequence[str] = (),
) -> tuple[Invariant, ...]:
    """Return those of `found` that are chosen, sorted by code.

    Without `select` all are taken; `extend` adds to it, `ignore` wins. Raises InputError for a word
    that matches nothing.
    """
    chosen = {one.code for word in select for one in matching(word, found, "--select")}
    chosen |= {one.code for word in extend for one in matching(word, found, "--extend-select")}
    dropped = {one.code for word in ignore for one in matching(word, found, "--ignore")}
    return tuple(
        one
        for one in sorted(found, key=lambda one: one.code)
        if (one.code in chosen or not select) and one.code not in dropped
    )


def matching(word: str, found: Sequence[Invariant], option: str) -> tuple[Invariant, ...]:
    """Return the rules that a word means; raise InputError naming `option` where there is none."""
    matches = tuple(one for one in found if one.code.startswith(word) or one.name == word)
    if word and matches:
        return matches
    words = sorted({word for one in found for word in (one.code, one.name)})
    near = difflib.get_close_matches(word, words, n=1)
    raise InputError(
        input_problem(
            f"{option} matches no rule",
            got=repr(word),
            expected="a code, the first letters of one, or a name",
            cure=f"did you mean {near[0]!r}?" if near else "",
        )
    )
