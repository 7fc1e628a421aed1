"""``with`` regions and what they mean to gradients and to steps."""

from __future__ import annotations

import re
from typing import Final

from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.operations import REGIONS
from tcstatic.program.paths.values import (
    Bound,
    Const,
    External,
    Listing,
    Node,
    Object,
    Unknown,
    Value,
    options,
)
from tcstatic.program.source import syntax

# Unknown context managers that may switch gradients, by the words in their names.
_SUSPICIOUS: Final = re.compile(r"grad|infer|eval|ctx|context", re.IGNORECASE)
_METHODS: Final = {"no_sync": "no_sync", "accumulate": "accumulate", "join": "join"}


def region_of(m: Machine, value: Value, at: syntax.expr) -> str:
    """The region that a ``with`` on this value is, or ''."""
    found = {_one(option) for option in options(value, 6)}
    if len(found) == 1:
        return found.pop()
    found.discard("")
    if found & {"no_grad", "inference_mode", "grad_off", "grad_on", "grad_unknown", "enable_grad"}:
        return "grad_unknown"
    return f"{found.pop()}?" if found else ""


def _one(value: Value) -> str:
    if isinstance(value, Object) and value.role == "region":
        return _library(value)
    if isinstance(value, External):
        return REGIONS.get(value.path, "")
    if isinstance(value, Node):
        if value.op.startswith("context:"):
            return value.op.removeprefix("context:").rpartition("|")[2]
        name = value.op.removeprefix("method:")
        if name in _METHODS:
            return _METHODS[name]
        return "grad_unknown" if _SUSPICIOUS.search(value.op) else ""
    if isinstance(value, Bound):
        return _METHODS.get(value.name, "")
    if isinstance(value, Unknown):
        return "grad_unknown" if _SUSPICIOUS.search(value.name) else ""
    return ""


def _library(value: Object) -> str:
    region = REGIONS.get(value.type if isinstance(value.type, str) else "", "")
    if region != "set_grad_enabled":
        if region in ("inference_mode", "autocast") and _switched_off(value):
            return ""
        return region
    mode = value.arguments[0] if value.arguments else value.keywords.get("mode")
    if isinstance(mode, Const):
        return "grad_on" if mode.value else "grad_off"
    return "grad_unknown"


def _switched_off(value: Object) -> bool:
    flag = value.keywords.get("enabled") or value.keywords.get("mode")
    return isinstance(flag, Const) and flag.value is False


def entered(m: Machine, value: Value, at: syntax.expr) -> Value:
    """What ``as`` binds: mostly the value itself."""
    if isinstance(value, Object | Listing | Unknown):
        return value
    return m.node("enter", (value,), at)
