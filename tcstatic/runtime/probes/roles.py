"""Which part a live object plays in training, decided by its type."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any, Final

from tcstatic.runtime.probes.frames import names_in

MODULE: Final = "model"
OPTIMIZER: Final = "optimizer"
SCHEDULER: Final = "scheduler"
SCALER: Final = "scaler"
TENSOR: Final = "tensor"
LOADER: Final = "loader"
ACTOR: Final = "actor"  # has step() and zero_grad() but is none of torch's: perhaps an optimizer
PIPELINE: Final = "pipeline"  # runs the forwards and backwards of its stages
OTHER: Final = ""
_CALLERS: Final = 4  # frames between functional dropout and the module that it is a part of

# Where the wrappers keep what they wrap, by the name of their class.
_WRAPPED: Final = {
    "DistributedDataParallel": "module",
    "DataParallel": "module",
    "FullyShardedDataParallel": "_fsdp_wrapped_module",
    "OptimizedModule": "_orig_mod",
}

_roles: dict[type, str] = {}


def role_of(thing: object) -> str:
    """Return the role of `thing`; '' for what training does not know. Cached by type."""
    kind = type(thing)
    role = _roles.get(kind)
    if role is None:
        role = _decide(kind)
        if "torch" in sys.modules:
            _roles[kind] = role
    return role


def _decide(kind: type) -> str:
    torch: Any = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "optim"):
        return OTHER
    table = (
        (torch.Tensor, TENSOR),
        (torch.nn.Module, MODULE),
        (torch.optim.Optimizer, OPTIMIZER),
        (torch.amp.GradScaler, SCALER),
        (torch.optim.lr_scheduler.LRScheduler, SCHEDULER),
        (torch.utils.data.DataLoader, LOADER),
    )
    for base, role in table:
        if issubclass(kind, base):
            return role
    if any(base.__name__.endswith("GradScaler") for base in kind.__mro__):
        return SCALER
    if any("DataLoader" in base.__name__ for base in kind.__mro__):
        return LOADER  # a wrapper around one, as accelerate's
    if any(base.__name__ == "_PipelineSchedule" for base in kind.__mro__):
        return PIPELINE
    if callable(getattr(kind, "step", None)) and callable(getattr(kind, "zero_grad", None)):
        return ACTOR
    return OTHER


def is_replicating(module: object) -> bool:
    """Tell whether `module` is a wrapper that keeps equal copies on all ranks (DDP)."""
    return type(module).__name__ == "DistributedDataParallel"


def wrapped_module(module: object) -> Any | None:
    """Return what a data-parallel or compiling wrapper wraps, or None for any other module."""
    attribute = _WRAPPED.get(type(module).__name__)
    return None if attribute is None else getattr(module, attribute, None)


def module_around(frame: FrameType | None) -> Any:
    """Return the module whose method runs, or whose ``forward`` has called the function that runs;
    None where no module is concerned."""
    for calls in range(_CALLERS):
        if frame is None:
            break
        code = frame.f_code
        own = names_in(frame).get(code.co_varnames[0]) if code.co_argcount else None
        if role_of(own) == MODULE and (not calls or code.co_name == "forward"):
            return own
        frame = frame.f_back
    return None
