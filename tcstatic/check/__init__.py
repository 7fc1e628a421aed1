"""Events -> monitors -> findings with causes."""

from tcstatic.check.driver import Driver
from tcstatic.check.silencing import parted

__all__ = ["Driver", "parted"]
