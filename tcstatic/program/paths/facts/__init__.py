"""Facts that rules ask of happenings: one small provider a file, each registers itself."""

from tcstatic.program.paths.facts import grad_modes, losses, probabilities, terms  # noqa: F401
from tcstatic.program.paths.facts.registry import complete, provides, surveys

__all__ = ["complete", "provides", "surveys"]
