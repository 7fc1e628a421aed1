"""All that training makes, kept in its process and written when that ends."""

from __future__ import annotations

import atexit
import functools
import hashlib
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, final


@final
class Observer:
    """Keeps all that training makes, because most of it is gone when a script ends.

    Started first, it writes last: at exit, to a file of this process in `folder`.
    """

    def __init__(self, folder: Path) -> None:
        import numpy
        import torch
        from torch.nn.modules import module
        from torch.optim.optimizer import register_optimizer_step_post_hook

        self.path = folder / str(os.getpid())
        self.losses: list[Any] = []
        self.tensors: list[Any] = []
        self.optimizers: dict[int, Any] = {}
        random.seed(0)
        numpy.random.seed(0)
        _followed(
            torch.Tensor, "backward", lambda loss, _: self.losses.append(loss.detach().clone())
        )
        for kind in (torch.Tensor, torch.nn.Parameter):
            _followed(kind, "__deepcopy__", lambda _, made: self.tensors.append(made))
        module.register_module_parameter_registration_hook(self.registered)
        module.register_module_buffer_registration_hook(self.registered)
        register_optimizer_step_post_hook(self.stepped)
        atexit.register(self.write)

    def registered(self, _owner: Any, _name: str, tensor: Any) -> None:
        self.tensors.append(tensor)

    def stepped(self, optimizer: Any, *_: Any) -> None:
        self.optimizers[id(optimizer)] = optimizer

    def write(self) -> None:
        import numpy
        import torch

        numbers = (random.getstate(), numpy.random.get_state(), torch.get_rng_state())
        states = [one.state_dict() for one in self.optimizers.values()]
        kept = {"loss": self.losses, "tensor": self.tensors, "optimizer": states, "rng": numbers}
        lines = (f"{name}: {shown(value)}" for name, value in _flat(kept, "final"))
        self.path.write_text("\n".join(lines), encoding="utf-8")


def _followed(kind: Any, name: str, tell: Callable[[Any, Any], object]) -> None:
    """Have `tell` called after a method, with its object and its result."""
    native = getattr(kind, name)

    @functools.wraps(native)
    def method(self: Any, *args: Any, **options: Any) -> Any:
        result = native(self, *args, **options)
        tell(self, result)
        return result

    setattr(kind, name, method)


def shown(value: Any) -> str:
    """A value, or of a tensor all that may be seen of it, its bits as a digest."""
    import torch

    if not isinstance(value, torch.Tensor):
        return hashlib.sha256(repr(value).encode()).hexdigest()
    about = f"{type(value).__name__} {value.dtype} {list(value.shape)} {value.requires_grad}"
    if value.layout == torch.strided and value.untyped_storage().nbytes() == 0:
        return f"{about} without storage"
    version = None if value.is_inference() else value._version
    flat = value.detach().to_dense().contiguous().reshape(-1).view(torch.uint8)
    gradient = "" if not value.is_leaf or value.grad is None else f" gradient {shown(value.grad)}"
    return f"{about} version {version} {hashlib.sha256(flat.numpy()).hexdigest()}{gradient}"


def _flat(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _flat(item, f"{name}.{key}")
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from _flat(item, f"{name}.{number}")
    else:
        yield name, value
