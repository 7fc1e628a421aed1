"""Nodes of the graph that torch records for a backward."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, Final

from tcstatic.model import Site

NOTE: Final = "tcstatic"  # under which a node's own notes keep the place of the call that made it
# Operations whose derivative is zero wherever they have one.
FLAT: Final = frozenset("round floor ceil trunc sign sgn".split())


def notes_alone(site: Site) -> bool:
    """Whether the results of a site are only noted, for the graphs of the steps that are read."""
    if site.kind != "call" or site.probe != "after" or site.attribute or "dropout" in site.callee:
        return False
    return "makes" in site.arguments and "layer" not in site.arguments


def signed(number: int) -> int:
    """Return a number of 64 bits with its sign, without which torch tells what nodes have saved."""
    return number - (1 << 64) if number >> 63 > 0 else number


def kind_of(node: Any) -> str:
    """Return what a node is the backward of: "Mul", "NllLoss", without its version."""
    return type(node).__name__.rstrip("0123456789").removesuffix("Backward")


def walk(root: Any, most: int) -> Iterator[Any]:
    """Yield the nodes of a graph from its root on, each once, and about so many at most."""
    waiting, seen = [root], {root}
    yield root
    while waiting and len(seen) < most:
        for node, _ in waiting.pop().next_functions:
            if node is not None and node not in seen:
                seen.add(node)
                waiting.append(node)
                yield node


def nodes_in(output: Any, limit: int = 8) -> list[Any]:
    """Return the autograd nodes of the tensors in a model's output."""
    torch: Any = sys.modules["torch"]
    if type(output) is torch.Tensor:
        node = output.grad_fn
        return [] if node is None else [node]
    found: list[Any] = []
    todo = [output]
    while todo and len(found) < limit:
        item = todo.pop()
        if isinstance(item, torch.Tensor):
            if item.grad_fn is not None:
                found.append(item.grad_fn)
        elif isinstance(item, dict):
            todo.extend(list(item.values())[:limit])
        elif isinstance(item, tuple | list):
            todo.extend(item[:limit])
        elif hasattr(item, "__dict__") and not callable(item):
            todo.extend(list(vars(item).values())[:limit])
    return found
