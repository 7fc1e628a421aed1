"""``python -m tests.benchmarks.calls``: what one call costs, with and without a `call` event.

CPU time in one process, one thread: the same loop bare and rewritten, in turn; the least of seven
rounds.
"""

from __future__ import annotations

import builtins
import os
import sys
import tempfile
import time
import types
from pathlib import Path
from typing import Final

from tcstatic.model import Needs, RunOptions
from tcstatic.rewrite import compile_plan
from tcstatic.runtime.live.codecache import fetch
from tcstatic.runtime.probes import Watch

ROUNDS: Final = 7
TIMES: Final = 2_000
_HEAD: Final = """
import torch
import torch.nn.functional as F
from torch import nn
class Things:
    fetch = max
class Layer(nn.Module):
    def forward(self, x): return x
def one(x): return x
def three(x, y, flag=True): return x, y
x, layer, linear, things = torch.ones(4, 8), Layer(), nn.Linear(8, 8), Things()
def loop(times):
    for _ in range(times):
        """
CASES: Final = {
    "a function, one number": "one(3)",
    "a function, one tensor": "one(x)",
    "a function, three arguments": "three(x, x, flag=False)",
    "a module of the user's": "layer(x)",
    "torch.nn.Linear": "linear(x)",
    "F.relu": "F.relu(x)",
    "x.mul_": "x.mul_(1.0)",
    "not wanted, found out at run time": "things.fetch(1, 2)",
}


def main() -> None:
    """Print a line for each case."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TCSTATIC_CACHE"] = str(Path(folder, "cache"))
        print("one call, us:            bare   recorded      adds   beyond the limit adds")
        for name, text in CASES.items():
            bare, recorded, beyond = measured(Path(folder), text)
            cells = f"{bare:8.2f} {recorded:10.2f} {recorded - bare:9.2f} {beyond - bare:12.2f}"
            print(f"{name:36s}{cells}", flush=True)


def measured(folder: Path, text: str) -> tuple[float, float, float]:
    """Return microseconds of a call: bare, with each call an event, and beyond the limit."""
    script = folder / "program.py"
    script.write_text(f"{_HEAD}{text}\n", encoding="utf-8")
    plan = compile_plan(script, folder, (), RunOptions(), scoped=False, calls=True)
    files = [str(folder / file.path) for file in plan.files]
    best = [1e9, 1e9, 1e9]
    code = compile(script.read_bytes(), str(script), "exec")
    for _ in range(ROUNDS):
        best[0] = min(best[0], _run(code))
        for index, limit in ((1, 10**9), (2, 100)):
            watch = Watch(
                plan.sites, str(folder), Needs(frozenset()), 1.0, _nothing, _nothing, files
            )
            watch._calls.sampling.full_events = limit
            builtins._tcstatic = watch  # type: ignore[attr-defined]
            best[index] = min(best[index], _run(fetch(plan.files[0].code), watch))
            watch.close()
    return best[0], best[1], best[2]


def _run(code: types.CodeType, watch: Watch | None = None) -> float:
    module = types.ModuleType("program")
    module.__file__ = code.co_filename
    sys.modules["program"] = module
    exec(code, module.__dict__)
    module.__dict__["loop"](TIMES)
    if watch is not None:
        watch.flush()
        watch._stream.step = 1  # not among those that are told of beyond the limit
    begin = time.process_time()
    module.__dict__["loop"](TIMES)
    return (time.process_time() - begin) / TIMES * 1e6


def _nothing(*given: object) -> None:
    return None


if __name__ == "__main__":
    main()
