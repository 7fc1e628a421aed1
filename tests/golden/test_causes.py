"""One fault gives one finding, at the line to mend, whichever of the possible causes it has."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Final

import pytest

from tests.golden.causing import CAUSES, Program, programs, told
from tests.golden.running import runs

PROGRAMS: Final = programs()
# What the run shows is the same for two causes: the line to mend is another link of the chain.
ALIKE: Final = {
    "TCS103/optimizer_of_the_frozen_part",
    "TCS143/weights_in_half_precision",
    "TCS405/probabilities_of_the_trainer",
    "TCS610/stream_is_not_divided",
}
# The line to mend does nothing that a run sees: a condition that is never met, a word in a table.
UNSEEN: Final = {"TCS117/accumulation_longer_than_the_epoch", "TCS405/softmax_by_name"}


def test_there_are_enough() -> None:
    assert len(PROGRAMS) >= 120
    assert min(Counter(one.name.partition("/")[0] for one in PROGRAMS).values()) >= 3
    assert {program.name for program in PROGRAMS} >= ALIKE | UNSEEN
    assert len(ALIKE | UNSEEN) <= len(PROGRAMS) // 10
    assert len(UNSEEN) <= len(PROGRAMS) // 50


def test_each_has_one_line_to_mend() -> None:
    names = Counter(program.name for program in PROGRAMS)
    entries = {f"{path.parent.name}/{path.stem}" for path in CAUSES.glob("TCS*/*")}
    assert set(names.values()) == {1}
    assert set(names) == entries - {name for name in entries if name.endswith("__pycache__")}


def test_all_are_described() -> None:
    text = (CAUSES / "README.md").read_text(encoding="utf-8")
    assert [program.name for program in PROGRAMS if f"`{program.name}`" not in text] == []


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_the_line_to_mend_is_named_first(program: Program, tmp_path: Path) -> None:
    said = told(runs(), program, tmp_path)
    assert said.status == (0,) * program.ranks
    assert [code for _, code, _, _ in said.findings] == [program.code], said.findings
    assert said.first is (program.name not in ALIKE | UNSEEN), said.findings
    assert said.among is (program.name not in UNSEEN), said.candidates
