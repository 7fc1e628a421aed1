"""Slow-down on one GPU: `python -m tests.benchmarks.gpu [RUNS] [STEPS]`."""

from __future__ import annotations

import sys

from tests.benchmarks.pairs import measure, table


def main() -> None:
    """Print the table of paired runs within the default budget, and in full watch."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    steps = sys.argv[2] if len(sys.argv) > 2 else "150"
    rows = []
    for script in ("gpt2.py", "resnet50.py"):
        name = script.removesuffix(".py")
        rows.append((f"{name}, budget 1 %", measure(script, [steps], budget="1%", runs=runs), 1.01))
        print(table("One GPU, bf16", rows), flush=True)
    for script in ("gpt2.py", "resnet50.py"):
        name = script.removesuffix(".py")
        rows.append((f"{name}, full watch", measure(script, [steps], budget="100%", runs=2), 1.05))
        print(table("One GPU, bf16", rows), flush=True)


if __name__ == "__main__":
    main()
