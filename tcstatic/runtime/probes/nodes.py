"""Nodes of the graph that torch records for a backward."""

from __future__ import annotations

from typing import Any


def kind_of(node: Any) -> str:
    """Return what a node is the backward of: "Mul", "NllLoss", without its version."""
    return type(node).__name__.rstrip("0123456789").removesuffix("Backward")
