"""Tensors that nodes have saved, and their way to the host: no device is waited for."""

from __future__ import annotations

import sys
from typing import Any, final


@final
class Copied:
    """A tensor on its way to the host."""

    def __init__(self, tensor: Any) -> None:
        torch: Any = sys.modules["torch"]
        self._event: Any = None
        if tensor.device.type == "cuda":
            self.host = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu", pin_memory=True)
            self.host.copy_(tensor, non_blocking=True)
            self._event = torch.cuda.Event()
            self._event.record()
        else:
            self.host = tensor.detach().clone()

    def is_there(self) -> bool:
        """Whether it has arrived."""
        return self._event is None or bool(self._event.query())


def saved(node: Any, name: str) -> Any:
    """Return a tensor that a node has saved, None where a hook of the program would bring it."""
    try:
        raw = getattr(node, f"_raw_saved_{name}", None)
        if raw is None or raw.unpack_hook is not None:
            return None
        saved = getattr(node, f"_saved_{name}")
    except (AttributeError, RuntimeError):
        return None
    torch: Any = sys.modules["torch"]
    plain = type(saved) in (torch.Tensor, torch.nn.Parameter) and saved.layout == torch.strided
    return saved if plain and saved.device.type in ("cpu", "cuda") else None
