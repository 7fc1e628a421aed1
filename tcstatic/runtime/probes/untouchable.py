"""Whether tensors may be read now, or reading would become part of a recording or transform."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def untouchable(torch: Any) -> Callable[[], bool]:
    """Return what is asked at every probe, bound to as little as possible."""
    transform: Callable[[], Any] = torch._C._functorch.peek_interpreter_stack
    tracing: Callable[[], bool] = torch._C._is_tracing
    initialized = torch.cuda.is_initialized
    capturing: Callable[[], bool] = torch._C._cuda_isCurrentStreamCapturing
    # Once it is there, CUDA stays: a forked child, in which it cannot be asked, is not watched.
    there = False

    def transformed() -> bool:
        return transform() is not None or tracing()

    def is_untouchable() -> bool:
        nonlocal there
        if transform() is not None or tracing():
            return True
        if not there:
            there = initialized()
        return there and capturing()

    # Without CUDA in torch there is nothing to capture.
    return is_untouchable if torch.backends.cuda.is_built() else transformed
