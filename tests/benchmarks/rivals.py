"""Recording and inference, paired with the `traincheck` package on the same script.

    python -m tests.benchmarks.rivals VENV [--pairs N] [--steps N]

VENV is a virtual environment with `traincheck` and the same torch. Collecting is compared by what
it adds to a step, inference by the CPU time of the whole command over the records that it read
(TrainCheck's are lines of its trace, ours are events), each on a trace of its own tool.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tcstatic.trace import open_trace

WORKLOAD: Final = Path(__file__).parent / "workloads" / "mlp.py"
SIZES: Final = "256, 128, {steps}"
LONG: Final = 12_000  # steps of ours; they take seconds less than theirs
COLLECTING: Final = 0.1  # of the time that theirs adds to a step
INFERRING: Final = 20.0  # times faster for each record


def main() -> None:
    """Print both comparisons, with their bounds."""
    parser = argparse.ArgumentParser(description="Compare recording and inference with TrainCheck.")
    parser.add_argument("venv", type=Path)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--steps", type=int, default=30)
    given = parser.parse_args()
    compare(given.venv, given.pairs, given.steps)


def compare(venv: Path, pairs: int, steps: int) -> None:
    """Print both comparisons over so many pairs; `steps` are those that TrainCheck collects."""
    theirs = venv / "bin"
    added: list[tuple[float, float]] = []
    speed: list[tuple[float, float]] = []
    for number in range(pairs):
        with tempfile.TemporaryDirectory() as folder:
            here = Path(folder)
            short, long = _script(here / "short.py", steps), _script(here / "long.py", LONG)
            bare = _step([sys.executable, short])
            collected = _step(
                [theirs / "traincheck-collect", "-p", short, "--output-dir", here / "theirs"]
            )
            watched = [sys.executable, "-m", "tcstatic", "run", "--quiet", "--trace"]
            recorded = _step([*watched, here / "ours", long])
            added.append((recorded - bare, collected - bare))
            speed.append((_ours(here / "ours"), _theirs(theirs, here / "theirs")))
        print(f"pair {number}: bare {bare * 1e3:.2f} ms a step", flush=True)
    _say("collecting, ms added to a step", added, COLLECTING, 1e3)
    _say("inferring, CPU ms a record", speed, 1 / INFERRING, 1e3)


def _script(path: Path, steps: int) -> Path:
    text = WORKLOAD.read_text(encoding="utf-8")
    sizes = SIZES.format(steps=steps)
    path.write_text(re.sub(r"\(int\(word\).*\)", sizes, text), encoding="utf-8")
    return path


def _step(command: Sequence[str | Path]) -> float:
    """Return the seconds a step that the workload printed, wherever the tool sends its output."""
    done = _run(command)
    found = re.search(r"STEP ([0-9.]+)", done.stdout + done.stderr)
    if found is None:
        raise SystemExit(f"{command[0]} failed:\n{done.stderr[-2000:]}")
    return float(found[1])


def _ours(trace: Path) -> float:
    records = sum(run.count for run in open_trace(trace).runs)
    words = [sys.executable, "-m", "tcstatic", "infer", trace, "-o", trace.parent / "ours.yaml"]
    return _cpu(words) / records


def _theirs(tools: Path, trace: Path) -> float:
    records = 0
    for file in trace.glob("trace_*"):
        with file.open("rb") as lines:
            records += sum(1 for _ in lines)
    words = [tools / "traincheck-infer", "-f", trace, "-o", trace.parent / "theirs.json"]
    return _cpu(words) / records


def _cpu(command: Sequence[str | Path]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = _run(command)
    if done.returncode:
        raise SystemExit(f"{command[0]} failed:\n{done.stderr[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _run(command: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
    words = list(map(str, command))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=False)


def _say(title: str, pairs: Sequence[tuple[float, float]], bound: float, scale: float) -> None:
    ours, theirs = (statistics.median(side) * scale for side in zip(*pairs, strict=True))
    ratio = statistics.median(one / other for one, other in pairs)
    print(f"{title}: {ours:.4f} against {theirs:.4f}, ratio {ratio:.4f} (bound {bound:.3f})")


if __name__ == "__main__":
    main()
