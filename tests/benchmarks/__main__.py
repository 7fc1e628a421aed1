"""`make bench`: what a watched and a recorded run cost here, and what lint and rewriting cost.

Slow-down is paired (the same script bare and watched, in turn) and is the median of the ratios.
With ``TRAINCHECK`` (a virtual environment that has it, and the same torch), it is compared as well.
One GPU: ``python -m tests.benchmarks.gpu``. Rewriting all of torch takes minutes, at the end.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks import calls, linting, rewriting, rivals, tracing
from tests.benchmarks.pairs import WORKLOADS, measure, table

NEAR_1_MS = ("mlp.py", ["256", "128", "600"])
NEAR_10_MS = ("cnn.py", ["32", "32", "200"])


def slow_down() -> None:
    """Print the ratios of watched to bare steps, in full watch and within the default budget."""
    rows = []
    for name, (script, arguments), bound in (
        ("MLP, steps near 1 ms", NEAR_1_MS, 1.30),
        ("CNN, steps of 10 ms and more", NEAR_10_MS, 1.05),
    ):
        for label, budget in (("budget 1 %", "1%"), ("full watch", "100%")):
            rows.append((f"{name}, {label}", measure(script, arguments, budget=budget), bound))
    print(table("Slow-down on CPU, one thread, median of 5 pairs", rows), flush=True)


def start_up() -> None:
    """Print the start-up of the command, and what a warm run adds to python's own."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "nothing.py")
        script.write_text("import torch\n", encoding="utf-8")
        bare = _seconds([sys.executable, str(script)])
        _seconds([sys.executable, "-m", "tcstatic", "run", "--quiet", str(script)])
        watched = _seconds([sys.executable, "-m", "tcstatic", "run", "--quiet", str(script)])
    shown = _seconds([sys.executable, "-m", "tcstatic", "--help"])
    print(f"tcstatic --help: {shown:.3f} s; a warm run adds {watched - bare:.3f} s to {bare:.3f} s")


def memory() -> None:
    """Print the peak resident memory of a bare and of a watched run (bound: +2 % or 40 MB)."""
    for script, arguments in (NEAR_1_MS, NEAR_10_MS):
        command = [sys.executable, str(WORKLOADS / script), *arguments]
        watched = [sys.executable, "-m", "tcstatic", "run", "--quiet", *command[1:]]
        bare_mb, watched_mb = _peak(command), _peak(watched)
        print(f"peak memory of {script}: {bare_mb:.0f} MB, watched {watched_mb - bare_mb:+.0f} MB")


def _peak(command: list[str], runs: int = 3) -> float:
    """Return the median peak of a process (its largest child is not counted), in MB."""
    peaks = []
    for _ in range(runs):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, _, usage = os.wait4(process.pid, 0)
        peaks.append(usage.ru_maxrss / 1024)
    return statistics.median(peaks)


def _seconds(command: list[str], runs: int = 5) -> float:
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    """Print all figures."""
    start_up()
    memory()
    slow_down()
    tracing.main()
    rival = os.environ.get("TRAINCHECK")
    if rival:
        rivals.compare(Path(rival), pairs=3, steps=30)
    else:
        print("not compared with TrainCheck: the environment's TRAINCHECK names no venv with it")
    calls.main()
    linting.main()
    rewriting.main()


if __name__ == "__main__":
    main()
