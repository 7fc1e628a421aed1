"""Facts that rules ask of happenings: one small provider a file, each registers itself."""

from tcstatic.program.paths.facts import losses  # noqa: F401
from tcstatic.program.paths.facts.registry import complete, provides, surveys

__all__ = ["complete", "provides", "surveys"]
