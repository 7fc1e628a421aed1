"""Where in the user's source a training event can happen."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, final

# How a site is probed; the name of the inserted function.
#   after  f(x)            -> _tcstatic.after(N, f(x))       the value of a call, or of an argument
#   on     opt.step()      -> _tcstatic.on(N, opt).step()    the receiver, before the arguments
#   target model.fc = x    -> _tcstatic.target(N, model).fc = x
#   loop   for b in data   -> for b in _tcstatic.loop(N, data)
Probe = Literal["after", "on", "target", "loop"]


@final
@dataclass(frozen=True, slots=True)
class Location:
    """A range in a source file. Lines and columns count from 1, columns in characters.

    `file` is relative to the folder of the script, or absolute where it lies outside of it.
    """

    file: str
    line: int
    column: int = 1
    end_line: int = 0
    end_column: int = 0
    function: str = "<module>"


@final
@dataclass(frozen=True, slots=True)
class Site:
    """One place that the rewriter has put a probe at.

    `kind` is the event kind that the source suggests (the run time has the last word), `callee`
    the best dotted name that the module's own source gives (``torch.optim.Adam``, or ``.step``
    where only the method's name is known), `subject` the normalised source text of the value
    looked at, `attribute` the attribute assigned to or deleted for ``target`` sites, and
    `arguments` the arguments of the call that are literals or absent, as text
    (``{"training": "False"}``; ``"<absent>"``, ``"<expression>"``).
    """

    number: int
    probe: Probe
    kind: str
    location: Location
    callee: str = ""
    subject: str = ""
    attribute: str = ""
    arguments: dict[str, str] = field(default_factory=dict)
