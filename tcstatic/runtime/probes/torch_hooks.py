"""Torch's own hooks: what happens inside libraries that nobody rewrote."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, Final, Protocol

from tcstatic.runtime.probes import entry

# What torch wraps each class's `step` in, which runs the hooks.
_WRAPPER: Final = "profile_hook_step.<locals>.wrapper"


class Hooked(Protocol):
    """Who is told; each method contains its own errors."""

    def step_begins(self, optimizer: Any) -> None: ...
    def step_ends(self, optimizer: Any) -> None: ...
    def module_registered(self, parent: Any, name: str, child: Any) -> None: ...
    def parameter_registered(self, module: Any, name: str, parameter: Any) -> None: ...


def install(hooked: Hooked) -> tuple[Callable[[], None], list[Callable[..., None]]]:
    """Register with torch; return a function that takes everything back, and the hooks."""
    from torch.nn.modules.module import (
        register_module_module_registration_hook,
        register_module_parameter_registration_hook,
    )
    from torch.optim.optimizer import (
        register_optimizer_step_post_hook,
        register_optimizer_step_pre_hook,
    )

    hooks: list[Callable[..., None]] = []

    def of(tell: Callable[..., None], arguments: int) -> Callable[..., None]:
        """Return a hook that hands on its first `arguments`."""

        def hook(*given: Any) -> None:
            entry.outside(tell, *given[:arguments])

        hooks.append(hook)
        return hook

    handles = [
        register_optimizer_step_pre_hook(of(hooked.step_begins, 1)),
        register_optimizer_step_post_hook(of(hooked.step_ends, 1)),
        register_module_module_registration_hook(of(hooked.module_registered, 3)),
        register_module_parameter_registration_hook(of(hooked.parameter_registered, 3)),
    ]

    def remove() -> None:
        for handle in handles:
            handle.remove()

    return remove, hooks


def steps_in_progress(optimizer: Any) -> int:
    """Count the calls of an optimizer's ``step`` that have begun and not ended."""
    found = 0
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code.co_qualname.endswith(_WRAPPER) and frame.f_locals["self"] is optimizer:
            found += 1
        frame = frame.f_back
    return found
