"""A module's source -> what may happen when it runs, in which order: abstract event paths."""

from tcstatic.program.paths.exploring import Exploration, Root, explore, idle
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import Module, Project
from tcstatic.program.paths.sequences import Path, paths
from tcstatic.program.paths.tree import Block, Happening, happenings, loops, may_be

__all__ = [
    "Block",
    "Exploration",
    "Happening",
    "Machine",
    "Module",
    "Path",
    "Project",
    "Root",
    "explore",
    "happenings",
    "idle",
    "loops",
    "may_be",
    "paths",
]
