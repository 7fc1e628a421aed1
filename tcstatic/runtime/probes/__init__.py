"""Probes: objects in the user's process -> events."""

from tcstatic.runtime.probes.watch import Watch

__all__ = ["Watch"]
