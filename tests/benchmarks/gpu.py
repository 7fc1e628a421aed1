"""Slow-down on one GPU: `python -m tests.benchmarks.gpu [RUNS] [STEPS]`."""

from __future__ import annotations

import sys

from tests.benchmarks.pairs import measure, table


def main() -> None:
    """Print paired runs within the default budget, in full watch, and recorded."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    steps = sys.argv[2] if len(sys.argv) > 2 else "150"
    rows = []
    for title, budget, times, record, bound in (
        ("budget 1 %", "1%", runs, False, 1.01),
        ("full watch", "100%", 2, False, 1.05),
        ("recorded", "100%", 2, True, 1.05),
    ):
        for script in ("gpt2.py", "resnet50.py"):
            name = f"{script.removesuffix('.py')}, {title}"
            pair = measure(script, [steps], budget=budget, runs=times, record=record)
            rows.append((name, pair, bound))
        print(table("One GPU, bf16", rows), flush=True)


if __name__ == "__main__":
    main()
