"""Runs examples under tcstatic, many in one process: torch is imported once, each run is a fork.

Reads one request a line from stdin and answers it with one line on stdout, both json. A request
holds the `folder` to run in, the `script` in it, `ranks` and the codes to `ignore`; the answer
`status` (of the script) and `report` (None where none was written).
"""

from __future__ import annotations

import atexit
import faulthandler
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

# All that a forked run would otherwise import anew; the optimizers need dynamo.
import torch
import torch._dynamo
import torch.distributed
import torch.nn.parallel
import torch.utils.data

from tcstatic.model import Invariant, RunOptions
from tcstatic.pipeline import Request, load_invariants
from tcstatic.rewrite import compile_plan
from tcstatic.runtime.live import run_script
from tests.golden.running import free_port

SECONDS = 300  # an example takes about one; a rank that waits for ever must not stop the tests


def serve() -> None:
    """Answer requests until stdin ends."""
    torch.set_num_threads(1)
    invariants = load_invariants(Request("", ""))
    for line in sys.stdin:
        print(json.dumps(_answer(json.loads(line), invariants)), flush=True)


def _answer(request: dict[str, Any], invariants: Sequence[Invariant]) -> dict[str, Any]:
    folder = Path(request["folder"])
    kept = [one for one in invariants if one.code not in request["ignore"]]
    child = os.fork()
    if child == 0:
        _own_output(folder)
        if request["ranks"] > 1:
            _launch(folder, request["script"], kept, request["ranks"])
        _become(folder, request["script"], kept)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    report = folder / "report.json"
    return {
        "status": status,
        "report": json.loads(report.read_bytes()) if report.exists() else None,
    }


def _own_output(folder: Path) -> None:
    """Give the run its own folder and output, and nothing to read."""
    os.chdir(folder)
    nothing = os.open(os.devnull, os.O_RDONLY)
    output = os.open("output.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)


def _launch(folder: Path, script: str, invariants: Sequence[Invariant], ranks: int) -> None:
    """Start `ranks` processes as torchrun does; returns in each of them, never in the launcher."""
    os.environ.update(
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=free_port(),
        WORLD_SIZE=str(ranks),
        LOCAL_WORLD_SIZE=str(ranks),
        TORCHELASTIC_RUN_ID=str(folder),
    )
    children = []
    for rank in range(ranks):
        child = os.fork()
        if child == 0:
            os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank))
            return
        children.append(child)
    ends = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    os._exit(max(ends, key=abs) & 0xFF)


def _become(folder: Path, script: str, invariants: Sequence[Invariant]) -> NoReturn:
    options = RunOptions(reports=(str(folder / "report.json"),), quiet=True)
    plan = compile_plan(folder / script, folder, invariants, options)
    status = 3
    faulthandler.dump_traceback_later(SECONDS, exit=True)
    try:
        run_script(plan, [script])
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        # All of an exit that matters: to take torch down in every fork costs seconds.
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    serve()
