"""Runs examples under tcstatic, many in one process: torch is imported once, each run is a fork.

Reads one request a line from stdin and answers it with one line on stdout, both json. A request
holds the `folder` to run in, the `script` in it, `ranks` and the codes to `ignore`; the answer
`status` (of the script), its `output` and the `report` (None where none was written).
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from tcstatic.model import Invariant, RunOptions
from tcstatic.pipeline import Request, load_invariants
from tcstatic.rewrite import compile_plan
from tcstatic.runtime.live import run_script
from tests.golden.running import forked, launch, preload


def serve() -> None:
    """Answer requests until stdin ends."""
    preload()
    torch.set_num_threads(1)
    invariants = load_invariants(Request("", ""))
    for line in sys.stdin:
        print(json.dumps(_answer(json.loads(line), invariants)), flush=True)


def _answer(request: dict[str, Any], invariants: Sequence[Invariant]) -> dict[str, Any]:
    folder, ranks = Path(request["folder"]), request["ranks"]
    kept = [one for one in invariants if one.code not in request["ignore"]]
    outputs = [str(folder / f"rank{rank}") for rank in range(ranks)]
    ends = forked(
        functools.partial(_become, folder, request["script"], kept),
        cwd=str(folder),
        environment=launch(ranks) if ranks > 1 else {},
        outputs=outputs,
    )
    report = folder / "report.json"
    printed = [Path(f"{one}.{stream}").read_text() for one in outputs for stream in ("out", "err")]
    return {
        "status": max(ends, key=abs),
        "output": "".join(printed),
        "report": json.loads(report.read_bytes()) if report.exists() else None,
    }


def _become(folder: Path, script: str, invariants: Sequence[Invariant]) -> int:
    options = RunOptions(reports=(str(folder / "report.json"),), quiet=True)
    plan = compile_plan(folder / script, folder, invariants, options)
    run_script(plan, [script])


if __name__ == "__main__":
    serve()
