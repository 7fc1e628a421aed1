"""Events <-> segments on disk. The only room that talks to the storage library (pyarrow)."""

from tcstatic.trace.folders import claim_folder, prepare_folder
from tcstatic.trace.reader import Run, Trace, open_trace
from tcstatic.trace.recorder import Recorder

__all__ = ["Recorder", "Run", "Trace", "claim_folder", "open_trace", "prepare_folder"]
