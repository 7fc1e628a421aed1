"""Traces of healthy runs -> invariants with preconditions."""

from tcstatic.infer.inferring import Events, Inferred, Wanted, infer, learn_from, observe
from tcstatic.infer.surveying import Survey

__all__ = ["Events", "Inferred", "Survey", "Wanted", "infer", "learn_from", "observe"]
