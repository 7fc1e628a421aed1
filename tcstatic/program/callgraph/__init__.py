"""Files of a program -> who calls whom in it. The only room that imports ``networkx``.

Values flow from assignments to a fixed point: functions, classes, objects and containers, through
names, attributes, items, arguments and results. What is found are possible calls.

What counts as a call:

- A call of a class is one of its ``__init__`` (and of a ``__new__`` of its own); of a class that
  has none, one of the class. Decorating is a call of the decorator.
- Special methods, getters and setters are called by who uses the operator or the attribute.
- The body of a class and a comprehension are part of what they stand in; a lambda is a function.
- A generator is called where it is made, not where it is resumed.
- A function that is handed to a library may be called by it: that is a call by who hands it over.
  A call of an object whose class derives from a library's, such as ``torch.nn.Module``, is one of
  its ``forward``.
- Where two definitions have one dotted name (in two branches, or a property and its setter), they
  are one function here.
"""

from tcstatic.program.callgraph.building import build
from tcstatic.program.callgraph.graph import CallGraph, Function, Unknown
from tcstatic.program.callgraph.modules import Skipped
from tcstatic.program.callgraph.selection import program_of

__all__ = ["CallGraph", "Function", "Skipped", "Unknown", "build", "program_of"]
