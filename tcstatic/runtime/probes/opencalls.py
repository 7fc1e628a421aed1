"""One call in the source, and one that has begun and not returned."""

from __future__ import annotations

from typing import Any, final

from tcstatic.model import Location
from tcstatic.runtime.probes.callees import Callee
from tcstatic.runtime.probes.entry import Handler
from tcstatic.runtime.probes.holdings import Parts
from tcstatic.runtime.probes.summaries import Brief


@final
class SourceCall:
    """One call in the source; `foreign`: of an included package, which knows what it calls as
    `role` where that is the user's; `stars`: what it gives is not all seen.

    State: how often it was asked for, and in which step how often; how often it was not wanted;
    how many of its calls are open, and whether its arguments and its value are looked at.
    """

    __slots__ = (
        "arguments",
        "attached",
        "callee",
        "foreign",
        "handlers",
        "in_step",
        "open",
        "role",
        "seen",
        "stars",
        "step",
        "unwanted",
        "value",
        "where",
    )

    def __init__(self) -> None:
        self.callee = self.value = 0
        self.arguments: dict[int, str] = {}
        self.where: Location | None = None
        self.handlers: dict[int, Handler] = {}
        self.attached = self.foreign = self.stars = False
        self.role = ""
        self.seen = self.step = self.in_step = self.unwanted = self.open = 0


@final
class OpenCall:
    """A call that has not returned; `since` is the last place in the order of events before it, and
    `held` what the objects that it is given held then, by their names, where that is asked; `moved`
    where the data come from that it only moves."""

    __slots__ = ("callee", "given", "held", "moved", "role", "since", "stars", "subjects")

    def __init__(self, callee: Callee, role: str, since: int, stars: bool) -> None:
        self.callee = callee
        self.role = role
        self.since = since
        self.stars = stars
        self.held: list[tuple[str, Any, Parts]] | None = None
        self.moved = ""
        self.given: list[tuple[str, Brief]] = []
        self.subjects: dict[str, tuple[int, ...]] = {}
