"""What the calls of a loss scaler tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tcstatic.model import Site
from tcstatic.runtime.probes.stream import Stream


def scaled(stream: Stream, site: Site, scaler: Any, update_begins: Callable[[], None]) -> None:
    """A method of a loss scaler is about to be called."""
    if site.kind == "scaler.scale":
        stream.loss_scaled = True
        _tell(stream, site, scaler, "scaler.scale")
    elif site.kind in {"scaler.unscale", "optimizer.step"}:
        update_begins()
        _tell(stream, site, scaler, "scaler.unscale")  # its step unscales, if nobody has
        if site.kind == "optimizer.step":
            _tell(stream, site, scaler, "scaler.step")


def _tell(stream: Stream, site: Site, scaler: Any, kind: str) -> None:
    subjects = {"scaler": (stream.registry.number(scaler),)}
    stream.tell(stream.make(kind, site.location, subjects))
