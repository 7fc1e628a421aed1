"""Torch's own hooks: what happens inside libraries that nobody rewrote."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class Hooked(Protocol):
    """Who is told; each method contains its own errors."""

    def step_begins(self, optimizer: Any) -> None: ...
    def step_ends(self, optimizer: Any) -> None: ...
    def module_registered(self, parent: Any, name: str, child: Any) -> None: ...
    def parameter_registered(self, module: Any, name: str, parameter: Any) -> None: ...


def install(hooked: Hooked) -> Callable[[], None]:
    """Register with torch; return a function that takes everything back."""
    import torch
    from torch.nn.modules.module import (
        register_module_module_registration_hook,
        register_module_parameter_registration_hook,
    )
    from torch.optim.optimizer import (
        register_optimizer_step_post_hook,
        register_optimizer_step_pre_hook,
    )

    is_compiling = torch.compiler.is_compiling

    def before(optimizer: Any, args: Any, kwargs: Any) -> None:
        if is_compiling():
            return
        hooked.step_begins(optimizer)

    def afterwards(optimizer: Any, args: Any, kwargs: Any) -> None:
        if is_compiling():
            return
        hooked.step_ends(optimizer)

    def module(parent: Any, name: str, child: Any) -> None:
        if is_compiling():
            return
        hooked.module_registered(parent, name, child)

    def parameter(owner: Any, name: str, value: Any) -> None:
        if is_compiling():
            return
        hooked.parameter_registered(owner, name, value)

    handles = [
        register_optimizer_step_pre_hook(before),
        register_optimizer_step_post_hook(afterwards),
        register_module_module_registration_hook(module),
        register_module_parameter_registration_hook(parameter),
    ]

    def remove() -> None:
        for handle in handles:
            handle.remove()

    return remove
