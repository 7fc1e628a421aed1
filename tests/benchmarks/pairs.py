"""Paired runs: the same script under python and under `tcstatic run`, in turn."""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

WORKLOADS = Path(__file__).parent / "workloads"


@final
@dataclass(frozen=True, slots=True)
class Pair:
    """Ratios of watched to bare, one per pair of runs, and what the last report said."""

    bare: tuple[float, ...]
    watched: tuple[float, ...]
    sampled: float
    events: int
    findings: int

    @property
    def ratio(self) -> float:
        """The median of the ratios pair by pair."""
        return statistics.median(w / b for w, b in zip(self.watched, self.bare, strict=True))


def measure(
    script: str,
    arguments: Sequence[str],
    *,
    budget: str,
    runs: int = 5,
    record: bool = False,
    ranks: int = 1,
) -> Pair:
    """Run a workload `runs` times bare and watched, in turn; times are seconds per step.

    With `record` the watched run writes a trace; several `ranks` are started by torchrun.
    """
    path = str(WORKLOADS / script)
    bare, watched = [], []
    report: dict[str, dict[str, float]] = {}
    found = 0
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "report.json")
        python = [sys.executable]
        if ranks > 1:
            python += ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}"]
        under = [*python, "-m", "tcstatic", "run", "--quiet", "--overhead-budget", budget]
        for number in range(runs):
            bare.append(_seconds([*python, path, *arguments]))
            asked = ["--report", file]
            if record:
                asked += ["--trace", os.path.join(folder, f"trace-{number}")]
            watched.append(_seconds([*under, *asked, path, *arguments]))
            loaded = json.loads(Path(file).read_text())
            report, found = loaded, len(loaded["findings"])
    probes = report["probes"]
    return Pair(tuple(bare), tuple(watched), probes["sampled"], int(probes["events"]), found)


def _seconds(command: Sequence[str]) -> float:
    """Return the seconds per step that the workload printed."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    found = re.search(r"^STEP ([0-9.]+)$", done.stdout, re.MULTILINE)
    if found is None:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return float(found[1])


def table(title: str, rows: Sequence[tuple[str, Pair, float]]) -> str:
    """Return a table of pairs with the bound that each is held to."""
    lines = [
        title,
        f"{'workload':34} {'bare ms':>9} {'ratio':>7} {'bound':>6} {'sampled':>8} events",
    ]
    for name, pair, bound in rows:
        bare = statistics.median(pair.bare) * 1e3
        figures = f"{bare:9.3f} {pair.ratio:7.3f} {bound:6.2f} {pair.sampled:8.3f} {pair.events}"
        lines.append(f"{name:34} {figures}")
    return "\n".join(lines)
