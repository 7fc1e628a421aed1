"""What comparing copies costs as ranks grow in number, with a thread for each rank.

    python -m tests.benchmarks.scale [--ranks N ...] [--steps N] [--parameters N] [--node N]

Every rank has a connection of its own to one TCPStore, and publishes what it noted of each step, as
large as that of a model with so many parameters; rank 0 compares. In the last step one rank holds
another value of one parameter, which has to be named. Times are CPU time of a rank's own calls.
With `--node` briefs are gathered for each so many ranks, in a store of their own; `requests` are
those that the job's store answers for a step.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, Final

import torch.distributed as dist

from tcstatic.runtime.probes.exchange import Brief, Exchange
from tcstatic.runtime.probes.meeting import Meeting
from tcstatic.runtime.probes.partings import Round, values_parted
from tcstatic.runtime.probes.relay import Node

RANKS: Final = (2, 16, 64, 256)
STEPS: Final = 8
PARAMETERS: Final = 148  # of GPT-2 124M
LEAST_SECONDS: Final = 120.0


def noted(step: int, parameters: int, world: int) -> Round:
    """What every rank notes of a step."""
    names = [f"transformer.h.{number}.attn.c_attn.weight" for number in range(parameters)]
    values = {name: float(hash((name, step)) % (1 << 52)) for name in names}
    gradients = {name: value / 3.0 for name, value in values.items()}
    return Round(step, values, gradients, tuple(range(world)), (1, 2, 3, 4), {}, (1e-3,))


def connected(port: int, *, serves: bool = False) -> dist.TCPStore:
    """A rank's connection to the store."""
    seconds = timedelta(seconds=LEAST_SECONDS)
    return dist.TCPStore("127.0.0.1", port, None, serves, seconds, wait_for_workers=False)


def exchange(
    store: dist.TCPStore, rank: int, world: int, beside: int, asked: list[int]
) -> Exchange:
    """A rank's part, over a connection of its own; `beside`: so many ranks are on its node, 0 where
    nothing is gathered there. `asked` counts the requests to the job's store."""
    c10d = SimpleNamespace(_get_default_store=lambda: store)
    group: Any = SimpleNamespace(distributed_c10d=c10d, PrefixStore=dist.PrefixStore)
    far = Meeting(group)
    native = far._ask

    def counted(question: Callable[[Any], Any]) -> Any:
        asked[0] += 1
        return native(question)

    setattr(far, "_ask", counted)  # noqa: B010

    def serve() -> tuple[Meeting, str]:
        own = connected(0, serves=True)
        return Meeting(group, own), str(own.port)

    def reach(port: str) -> Meeting:
        return Meeting(group, connected(int(port)))

    return Exchange(far, rank, world, Node(far, rank, beside, serve, reach) if beside else None)


def measured(world: int, steps: int, parameters: int, beside: int) -> dict[str, float]:
    """Run so many ranks; return milliseconds a step, and bytes that a rank leaves in one."""
    server = connected(0, serves=True)
    turns = [threading.Barrier(world) for _ in range(2 * steps)]
    spent = [0.0] * world
    requests = [0.0]
    culprit, named, asked = world - 1, [""], [0]

    def other(rank: int) -> None:
        mine = exchange(connected(server.port), rank, world, beside, asked)
        for step in range(steps):
            own = noted(step, parameters, world)
            if rank == culprit and step == steps - 1:
                name = list(own.values)[parameters // 2]
                own = replace(own, values={**own.values, name: 1.0})
            began = time.thread_time()
            mine.publish((0, step), own)
            spent[rank] += time.thread_time() - began
            turns[2 * step].wait()
            turns[2 * step + 1].wait()
        while not named[0]:
            mine.answer()
            time.sleep(0.01)

    def first() -> None:
        mine = exchange(connected(server.port), 0, world, beside, asked)
        for step in range(steps):
            turns[2 * step].wait()
            own = noted(step, parameters, world)
            began = time.thread_time()
            found = mine.gathered((0, step), own)
            spent[0] += time.thread_time() - began
            turns[2 * step + 1].wait()
        requests[0] = asked[0] / steps
        until = time.monotonic() + LEAST_SECONDS
        while found is None and time.monotonic() < until:
            time.sleep(0.01)
            mine.answer()
            found = mine.gathered((0, steps - 1), own)
        parted = values_parted(None, found[0]).partings if found else ()
        named[0] = f"{parted[0].name} {parted[0].apart}" if parted else "nothing"

    everyone = [threading.Thread(target=first)]
    everyone += [threading.Thread(target=other, args=(rank,)) for rank in range(1, world)]
    for one in everyone:
        one.start()
    for one in everyone:
        one.join()
    middle = list(noted(0, parameters, world).values)[parameters // 2]
    return {
        "rank 0, ms": spent[0] / steps * 1e3,
        "another, ms": sum(spent[1:]) / (world - 1) / steps * 1e3,
        "requests": requests[0],
        "bytes": float(len(Brief.of(noted(0, parameters, world)).to_text())),
        "whole, bytes": float(len(noted(0, parameters, world).to_json())),
        "named": float(named[0] == f"{middle} ({culprit},)"),
    }


def main(arguments: Sequence[str] = ()) -> None:
    """Print a line for each number of ranks."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--ranks", type=int, nargs="*", default=RANKS)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--parameters", type=int, default=PARAMETERS)
    parser.add_argument("--node", type=int, default=0)
    options = parser.parse_args(arguments)
    for world in options.ranks:
        found = measured(world, options.steps, options.parameters, options.node)
        print(f"{world:6} ranks  " + "  ".join(f"{k} {v:10.3f}" for k, v in found.items()))


if __name__ == "__main__":
    main(sys.argv[1:])
