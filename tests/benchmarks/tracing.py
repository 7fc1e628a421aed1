"""What recording costs, what a trace weighs, how fast it is checked and learnt from: `make bench`.

Alone: ``python -m tests.benchmarks.tracing``.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tcstatic.check.replay import judged
from tcstatic.model import Event, Invariant, ProbeCounts, Recording
from tcstatic.pipeline import Request, load_invariants
from tcstatic.trace import Recorder, Run, open_trace

WORKLOADS = Path(__file__).parent / "workloads"
NEAR_10_MS = ("cnn.py", "32", "32", "120")
PAIRS = 3
EVENTS = 300_000
LEARNT_FROM = (250_000, 500_000, 1_000_000)
SLOW_DOWN, BYTES, SPEED = 1.30, 30.0, 300_000.0
SECONDS, MEGABYTES = 60.0, 2048.0


def main() -> None:
    """Print all figures, each with the bound that it is held to."""
    with tempfile.TemporaryDirectory() as folder:
        recording(Path(folder))
        rules = load_invariants(Request("", ""))
        run = open_trace(Path(folder, f"trace-{PAIRS - 1}")).runs[0]
        print(f"bytes an event, {run.count} events: {run.size / run.count:.1f} (bound {BYTES:.0f})")
        for name, course in COURSES.items():
            checking(run, Path(folder, name.replace(" ", "-")), rules, name, course)
        for count in LEARNT_FROM:
            learning(run, Path(folder, f"learnt-{count}"), count)


def recording(folder: Path) -> None:
    """Print the ratio of a recorded run's steps to the same run's without us."""
    ratios, bare_ms = [], []
    for number in range(PAIRS):
        bare = _seconds([str(WORKLOADS / NEAR_10_MS[0]), *NEAR_10_MS[1:]])
        words = ["-m", "tcstatic", "run", "--quiet", "--trace", str(folder / f"trace-{number}")]
        recorded = _seconds([*words, str(WORKLOADS / NEAR_10_MS[0]), *NEAR_10_MS[1:]])
        bare_ms.append(bare * 1e3)
        ratios.append(recorded / bare)
    print(
        f"recording, CNN steps of {statistics.median(bare_ms):.1f} ms, one thread, median of"
        f" {PAIRS} pairs: x{statistics.median(ratios):.3f} (bound {SLOW_DOWN:.2f})",
        flush=True,
    )


def checking(run: Run, folder: Path, rules: Sequence[Invariant], name: str, course: Course) -> None:
    """Print how fast a long trace of a kind is written, read, and checked, in CPU seconds: by the
    rules alone, and with what is learnt from it."""
    start = time.process_time()
    long = written_longer(run, folder, EVENTS, course)
    written = time.process_time() - start
    count = long.count
    start = time.process_time()
    sum(1 for _ in long.events())
    read = time.process_time() - start
    print(f"{name}: writing, with making the events: {count / written:,.0f} events a second")
    print(f"{name}: bytes an event: {long.size / count:.1f} (bound {BYTES:.0f})")
    print(f"{name}: reading: {count / read:,.0f} events a second")
    learnt = folder.with_suffix(".yaml")
    words = [sys.executable, "-m", "tcstatic", "infer", str(folder), "-o", str(learnt)]
    subprocess.run(words, check=True, capture_output=True)
    more = load_invariants(Request("", "", invariants=(str(learnt),)))
    for what, asked in (("rules", rules), ("rules and learnt invariants", more)):
        start = time.process_time()
        report = judged(long, asked)
        took = time.process_time() - start
        print(
            f"{name}: check, {len(report.invariants.in_scope)} {what}, {len(report.findings)}"
            f" findings: {count / took:,.0f} events a second (bound {SPEED:,.0f})",
            flush=True,
        )


def as_it_was(event: Event) -> Event:
    """Rounds repeat themselves."""
    return event


def scheduled(event: Event) -> Event:
    """The learning rate is another one at each step."""
    return _members(event, lambda number: {"learning_rate": 0.1 / (1 + event.step)})


def converged(event: Event) -> Event:
    """At each step it is not decided of other parameters whether they have changed."""
    open_ = {"changed": None, "since": event.step}
    return _members(event, lambda number: open_ if hash((event.step, number)) % 4 == 0 else {})


def uneven(event: Event) -> Event | None:
    """Of the forward passes some are left out: no two rounds have as many."""
    left_out = event.kind == "model.forward" and hash((event.step, event.sequence)) % 2
    return None if left_out else event


def _members(event: Event, more: Callable[[int], Mapping[str, Any]]) -> Event:
    members = tuple(
        one._replace(fields={**one.fields, **more(one.number)}) for one in event.members
    )
    return event._replace(members=members) if members else event


Course = Callable[[Event], Event | None]
COURSES: Mapping[str, Course] = {
    "rounds alike": as_it_was,
    "another rate at each step": scheduled,
    "converged": converged,
    "uneven rounds": uneven,
}


def learning(run: Run, folder: Path, count: int) -> None:
    """Print what the command takes that learns from a trace so long."""
    count = written_longer(run, folder, count).count
    words = ["-m", "tcstatic", "infer", str(folder), "-o", str(folder.with_suffix(".yaml"))]
    process = subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    took, peak = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
    print(
        f"infer, {count:,} events: {took:.1f} s of CPU, {peak:.0f} MB, status {status}"
        f" (bounds {SECONDS:.0f} s, {MEGABYTES:.0f} MB for 1,000,000)",
        flush=True,
    )


def written_longer(run: Run, folder: Path, count: int, course: Course = lambda one: one) -> Run:
    """Write a trace of so many events, as if the run had gone on, and in this way."""
    recorder = Recorder(Recording(str(folder), "", "", out_of_scope=run.facts.out_of_scope))
    for event in filter(None, map(course, lengthened(list(run.events()), count))):
        recorder.take(event)
        if event.kind == "optimizer.step":
            recorder.settled()
    recorder.end(0, 0, ProbeCounts())
    return open_trace(folder).runs[0]


def lengthened(events: Sequence[Event], count: int) -> Iterator[Event]:
    """Yield the events, and their middle again and again, as if training had gone on."""
    steps = max(event.step for event in events)
    first, last = steps // 3, 2 * steps // 3
    middle = [event for event in events if first <= event.step < last]
    yield from (event for event in events if event.step < first)
    sequence = max(event.sequence for event in events)
    for turn in range(max(count - len(events), 0) // len(middle) + 1):
        more, further = turn * (last - first), (turn + 1) * sequence
        for event in middle:
            fields = dict(event.context.fields)
            for name in ("step", "optimizer_step"):
                if name in fields:
                    fields[name] += more
            yield event._replace(
                step=event.step + more,
                sequence=event.sequence + further,
                context=event.context._replace(fields=fields),
            )


def _seconds(words: Sequence[str]) -> float:
    """Return the seconds per step that the workload printed."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, env=environment, check=False
    )
    found = re.search(r"^STEP ([0-9.]+)$", done.stdout, re.MULTILINE)
    if found is None:
        raise SystemExit(f"{' '.join(words)} failed:\n{done.stderr[-2000:]}")
    return float(found[1])


if __name__ == "__main__":
    main()
