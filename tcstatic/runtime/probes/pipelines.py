"""Pipelines of torch: a schedule calls the model of each of its stages, and the backwards."""

from __future__ import annotations

import sys
from typing import Any, Final, final

from tcstatic.model import Site
from tcstatic.runtime.probes.forwards import Forwards
from tcstatic.runtime.probes.replicas import Replicas
from tcstatic.runtime.probes.roles import MODULE, role_of
from tcstatic.runtime.probes.updates import Updates

_ONE: Final = "_stage"
_SEVERAL: Final = "_stages"


@final
class Pipelines:
    """Follows the steps of schedules (``torch.distributed.pipelining``), which no call of a model
    and no backward in the program's own source would show.

    State: `_open` whether a schedule's step is in progress.
    """

    def __init__(self, forwards: Forwards, updates: Updates, replicas: Replicas) -> None:
        self._forwards = forwards
        self._updates = updates
        self._replicas = replicas
        self._open = False

    def begins(self, site: Site, schedule: Any) -> None:
        """A schedule's step is about to be called: forward and backward of all microbatches."""
        if not getattr(schedule, "_has_backward", True):
            return
        models = models_of(schedule)
        self._updates.backward_ends()
        self._replicas.model_begins()
        frame = sys._getframe()
        for model in models:
            self._forwards.begins(model, site.location, frame)
            record = self._forwards.open_in(frame)
            if record is not None:
                record.recorded = record.reached = record.differentiated = True
                self._forwards.ends(None, frame, dropped=False)
        self._replicas.stages(models)
        self._updates.backward_begins(site.location)
        self._open = True

    def ends(self) -> None:
        """The call of a step has returned: of a schedule, if one is in progress."""
        if self._open:
            self._open = False
            self._updates.backward_ends()
            self._replicas.backward_over()


def models_of(schedule: Any) -> list[Any]:
    """Return the models of the stages that a schedule runs on this rank, each once."""
    stages = getattr(schedule, _SEVERAL, None) or [getattr(schedule, _ONE, None)]
    found = [getattr(stage, "submod", None) for stage in stages]
    return [one for one in dict.fromkeys(found) if role_of(one) == MODULE]
