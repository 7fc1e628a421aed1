"""What `check` says of a trace is what `run` said while it was recorded, event by event.

A seeded choice of programs; all of them (some minutes) where TCSTATIC_EVERY_PROGRAM is set.
"""

from __future__ import annotations

import json
import os
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import pytest

from tcstatic import pipeline
from tcstatic.invariants.relations import check_params
from tcstatic.invariants.rules import default_rules_folder, load_rules
from tcstatic.pipeline import Request
from tcstatic.report import to_json
from tests.golden.running import FIXTURES, TCSTATIC, runs

# They talk to another rank, or do with one process where nobody launches more.
RANKED = frozenset(
    "local_sgd expert_parallel tensor_parallel population_training ddp_gloo bloom_176b".split()
)
EVERY = bool(os.environ.get("TCSTATIC_EVERY_PROGRAM"))
CHOSEN = 14


@final
@dataclass(frozen=True, slots=True)
class Program:
    """A script by its name, as a file or as text; whatever is wrong with it."""

    name: str
    path: Path | None
    text: str = ""
    ranks: int = 1

    def written(self, folder: Path) -> str:
        if self.path is not None:
            return str(self.path)
        script = folder / "train.py"
        script.write_text(self.text, encoding="utf-8")
        return str(script)


def programs() -> list[Program]:
    """All fixtures that can be run, and all examples of rules that are judged live."""
    found = []
    for path in [
        *FIXTURES.glob("scripts/*/train.py"),
        *FIXTURES.glob("healthy/*.py"),
        *FIXTURES.glob("stories/*/*.py"),
    ]:
        name = path.relative_to(FIXTURES).with_suffix("").as_posix()
        ranked = {path.stem, path.parent.name} & RANKED
        found.append(Program(name, path, ranks=2 if ranked else 1))
    for rule in load_rules([default_rules_folder()], schema=check_params):
        if "run" in rule.feeds:
            for number, one in enumerate(rule.examples):
                name = f"{rule.code}-{number}-{one.kind}"
                found.append(Program(name, None, one.text, one.ranks))
    return sorted(found, key=lambda one: one.name)


def chosen() -> list[Any]:
    """The programs to record, those of two ranks marked as such."""
    every = programs()
    some = every if EVERY else random.Random(4).sample(every, CHOSEN)
    always = {"healthy/gan_zero_other", "scripts/ddp_gloo/train", "stories/flat_loss/bad"}
    named = {one.name: one for one in [*some, *(p for p in every if p.name in always)]}
    return [
        pytest.param(one, id=name, marks=[pytest.mark.distributed] if one.ranks > 1 else [])
        for name, one in sorted(named.items())
    ]


@pytest.mark.parametrize("program", chosen())
def test_replay_equals_live(program: Program, tmp_path: Path) -> None:
    trace, report = tmp_path / "trace", tmp_path / "report.json"
    words = ("run", "--quiet", "--trace", str(trace), "--report", str(report))
    script = program.written(tmp_path)
    ended = runs().fork(*TCSTATIC, *words, script, cwd=tmp_path, ranks=program.ranks)
    assert ended.status == (0,) * program.ranks, ended.stderr
    live = json.loads(report.read_text(encoding="utf-8"))
    replayed = json.loads(to_json(pipeline.check([str(trace)], Request("", ""))))
    assert live["probes"]["sampled"] == 1.0
    for part in ("findings", "invariants", "probes", "ranks", "incomplete", "skipped", "script"):
        assert replayed[part] == live[part], part
    assert replayed["exit_status"] == int(any(f["severity"] != "note" for f in live["findings"]))
