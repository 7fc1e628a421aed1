"""Traces of healthy runs -> invariants with preconditions."""

from tcstatic.infer.inferring import Events, Inferred, Wanted, infer

__all__ = ["Events", "Inferred", "Wanted", "infer"]
