"""A program rewritten with the sites of its calls, run in this process, and what it made known."""

from __future__ import annotations

import builtins
import sys
import textwrap
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tcstatic.model import Event, Needs, ProbeCounts, RunOptions
from tcstatic.rewrite import compile_plan
from tcstatic.runtime.live.codecache import fetch
from tcstatic.runtime.probes import Watch

UNTOLD = frozenset({"name", "own", "home", "maker", "lasted"})


class Recorded:
    """The `call` events of a program."""

    def __init__(self, folder: Path, text: str, *, name: str = "program") -> None:
        self.events: list[Event] = []
        self.script = folder / f"{name}.py"
        self.script.write_text(textwrap.dedent(text), encoding="utf-8")
        plan = compile_plan(self.script, folder, (), RunOptions(), scoped=False, calls=True)
        files = [str(folder / file.path) for file in plan.files]
        self.watch = Watch(
            plan.sites,
            str(folder),
            Needs(frozenset()),
            1.0,
            self.events.extend,
            lambda: None,
            files,
        )
        self.calls: Any = self.watch._calls
        self.module = types.ModuleType(name)
        self.module.__file__ = str(self.script)
        self._code = fetch(plan.files[0].code)

    def run(self) -> ProbeCounts:
        """Run the program to its end; what it raises is raised."""
        before = sys.modules.get(self.module.__name__)
        sys.modules[self.module.__name__] = self.module
        builtins._tcstatic = self.watch  # type: ignore[attr-defined]
        try:
            exec(self._code, self.module.__dict__)
        finally:
            counts = self.watch.close()
            del builtins._tcstatic  # type: ignore[attr-defined]
            if before is None:
                del sys.modules[self.module.__name__]
            else:
                sys.modules[self.module.__name__] = before
        return counts

    def values(self, name: str) -> list[Mapping[str, Any]]:
        """What the events say of one function, without its name and what tells of
        the program as a whole."""
        return [
            {field: said for field, said in event.values.items() if field not in UNTOLD}
            for event in self.events
            if event.kind == "call" and event.values.get("name") == name
        ]

    def names(self) -> list[str]:
        """What was called, in the order in which it returned."""
        return [one.values["name"] for one in self.events if "name" in one.values]


def recorded(folder: Path, text: str) -> Recorded:
    """Run a program; nothing of ours may fail in it."""
    program = Recorded(folder, text)
    counts = program.run()
    assert counts.disabled == ()
    return program
