"""Facts that rules ask of happenings: one small provider a file, each registers itself."""

from tcstatic.program.paths.facts import (  # noqa: F401
    accumulating,
    clipping,
    copies,
    cutting,
    dropouts,
    freezing,
    grad_modes,
    kept,
    layers,
    leaves,
    loaders,
    losses,
    membership,
    modes,
    moving,
    orders,
    outside,
    probabilities,
    ranks,
    rates,
    rebinding,
    rebuilding,
    repeating,
    scaling,
    seeds,
    splits,
    standing,
    starving,
    stepping,
    terms,
    totals,
    writing,
)
from tcstatic.program.paths.facts.registry import complete, provides, surveys

__all__ = ["complete", "provides", "surveys"]
