"""The rule about the linter's own comments; no training event is in it, so no yaml either."""

from __future__ import annotations

from typing import Final

from tcstatic.model import Example, Invariant

REMOVE_SUPPRESSION: Final = "remove-suppression"
USELESS: Final = Invariant(
    code="TCS001",
    name="useless-suppression",
    relation="suppression",
    params={},
    severity="warning",
    message="the comment silences nothing: {reason}",
    why="It hides the next finding on its line, and tells of a danger that is not there.",
    cure="Remove the comment, or name the rule that it is about.",
    examples=(
        Example("bad", "optimizer.zero_grad()  # noqa: TCS112\n", "nothing is wrong on this line"),
        Example("good", "total = 0  # noqa\n", "look-alike: a bare noqa may be meant for others"),
    ),
    feeds=("lint",),
    fix=REMOVE_SUPPRESSION,
)
