"""Slow-down on several GPUs: `python -m tests.benchmarks.gpus [RANKS] [RUNS] [STEPS]`."""

from __future__ import annotations

import sys

from tests.benchmarks.pairs import measure, table


def main() -> None:
    """Print paired runs of DDP and FSDP2 within the default budget."""
    ranks, runs, steps = (
        int(sys.argv[place]) if len(sys.argv) > place else usual
        for place, usual in ((1, 2), (2, 5), (3, 150))
    )
    rows = []
    for how in ("ddp", "fsdp2"):
        pair = measure("gpt2.py", [str(steps), how], budget="1%", runs=runs, ranks=ranks)
        rows.append((f"gpt2 {how}, {ranks} ranks, budget 1 %", pair, 1.01))
        print(table("Several GPUs, bf16", rows), flush=True)
        each = [w / b for w, b in zip(pair.watched, pair.bare, strict=True)]
        print(f"ratios {each}, findings {pair.findings}", flush=True)


if __name__ == "__main__":
    main()
