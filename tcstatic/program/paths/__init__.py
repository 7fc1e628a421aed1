"""A module's source -> what may happen when it runs, in which order: abstract event paths."""

from tcstatic.program.paths.exploring import Exploration, Root, explore
from tcstatic.program.paths.project import Module, Project

__all__ = ["Exploration", "Module", "Project", "Root", "explore"]
