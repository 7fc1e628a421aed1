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

    def eager(tell: Callable[..., None], arguments: int) -> Callable[..., None]:
        """Return a hook that hands on its first `arguments`, outside of compiled regions."""

        def hook(*given: Any) -> None:
            if is_compiling():
                return
            tell(*given[:arguments])

        return hook

    handles = [
        register_optimizer_step_pre_hook(eager(hooked.step_begins, 1)),
        register_optimizer_step_post_hook(eager(hooked.step_ends, 1)),
        register_module_module_registration_hook(eager(hooked.module_registered, 3)),
        register_module_parameter_registration_hook(eager(hooked.parameter_registered, 3)),
    ]

    def remove() -> None:
        for handle in handles:
            handle.remove()

    return remove
