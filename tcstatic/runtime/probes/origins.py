"""What is told of a value that is given to a call besides its summary: which function its tensors
come from, and how much of what an optimizer trains lies in it."""

from __future__ import annotations

from types import GeneratorType
from typing import Any, Final, final

from tcstatic.runtime.probes.holdings import Parts
from tcstatic.runtime.probes.provenance import Provenance
from tcstatic.runtime.probes.roles import MODULE, TENSOR
from tcstatic.runtime.probes.shares import Optimizers, Shares, Standing, Structure
from tcstatic.runtime.probes.stream import Stream
from tcstatic.runtime.probes.summaries import MOST_KEYS, MOST_PARTS, PLAIN, Brief, brief_and_role

CONTAINERS: Final = (list, tuple, dict)
_Told = tuple[str, Brief]


@final
class Origins:
    """`sources` tells which function a tensor comes from.

    State: what trains, once it is known who does."""

    __slots__ = ("_shares", "_stream", "sources")

    def __init__(self, sources: Provenance, stream: Stream) -> None:
        self.sources = sources
        self._stream = stream
        self._shares: Shares | None = None

    def follow(self, optimizers: Optimizers, structure: Structure) -> None:
        """Know what trains; as `Shares` takes it."""
        self._shares = Shares(optimizers, structure)

    def standing(self) -> Standing | None:
        """What is told of modules, as long as this is the same object; None before it is known."""
        return self._shares.standing(self._stream.step) if self._shares is not None else None

    def tell(self, given: list[_Told], name: str, value: Any, role: str) -> None:
        """Add to `given` what is told of a value under a name."""
        if role == TENSOR:
            said = self.sources.of(value)
            if said:
                given.append((f"{name}_from", (PLAIN, str, said)))
            return
        shares, said = self._shares, ""
        if role == MODULE:
            said = shares.of_module(value, self._stream.step) if shares is not None else ""
        elif type(value) in CONTAINERS:
            if self.sources.any_known:
                self._look_into(given, name, value)
            said = shares.of_container(value, self._stream.step) if shares is not None else ""
        elif type(value) is GeneratorType and shares is not None:
            said = shares.of_container(value, self._stream.step)
        if said:
            given.append((f"{name}_optimized", (PLAIN, str, said)))

    def tell_held(self, given: list[_Told], name: str, parts: Parts) -> None:
        """Add what is told of an object of which it is known which tensors it holds."""
        if self._shares is None:
            return
        said = self._shares.of_holding(
            [one for _, holding in parts for one in holding], self._stream.step
        )
        if said:
            given.append((f"{name}_optimized", (PLAIN, str, said)))

    def _look_into(self, given: list[_Told], name: str, value: Any) -> None:
        """Of a container as far as it is told of by its parts."""
        if type(value) is list:
            said = self.sources.of_all(value)
            if said:
                given.append((f"{name}_from", (PLAIN, str, said)))
            return
        if type(value) is dict and len(value) > MOST_KEYS:
            return
        parts = value.items() if type(value) is dict else enumerate(value[:MOST_PARTS])
        for key, part in parts:
            if brief_and_role(part)[1] == TENSOR:
                said = self.sources.of(part)
                if said:
                    given.append((f"{name}_{key}_from", (PLAIN, str, said)))
