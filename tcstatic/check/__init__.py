"""Events -> monitors -> findings with causes."""

from tcstatic.check.driver import Driver

__all__ = ["Driver"]
