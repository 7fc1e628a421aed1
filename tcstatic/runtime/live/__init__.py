"""What runs in the user's process: loader, probes wired to monitors, report parts.

`run_script` and `run_module` become the user's program; `attach` is called by an instrumented copy.
"""

from tcstatic.runtime.live.attach import attach
from tcstatic.runtime.live.script import run_module, run_script
from tcstatic.runtime.live.session import Session, Stop

__all__ = ["Session", "Stop", "attach", "run_module", "run_script"]
