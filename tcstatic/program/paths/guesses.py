"""What a value is to training, by what the program calls it: an inferred role, never a fact."""

from __future__ import annotations

import functools
import re
from typing import Final

from tcstatic.program.paths.values import Bound, Const, Node, Object, Unknown, Value

_ROLES: Final = (
    (
        "environment",
        re.compile(r"(^|_)(envs?|gym|game|simulator|sim)(_?\d|_\w{1,6})?$", re.IGNORECASE),
    ),
    ("scheduler", re.compile(r"sched|^lr_sch", re.IGNORECASE)),
    ("optimizer", re.compile(r"optim|^opt$|^opt_|_opt$|^opts?\b|^(adam|sgd)w?$", re.IGNORECASE)),
    ("scaler", re.compile(r"scaler$", re.IGNORECASE)),
    ("engine", re.compile(r"^accelerator$|^fabric$|engine$", re.IGNORECASE)),
    ("loader", re.compile(r"loader$|_dl$|^dl$|loader_?\w{0,6}$", re.IGNORECASE)),
    (
        "loss",
        re.compile(r"criterion|^loss_?f(n|unc(tion)?)$|loss_module|_loss_fn$", re.IGNORECASE),
    ),
    (
        "model",
        re.compile(
            r"(^|_)(model|net|network|encoder|decoder|generator|discriminator|backbone|"
            r"policy|critic|actor|classifier|module|net_?[GD]|unet|transformer)(_?\d|_\w{1,6})?$",
            re.IGNORECASE,
        ),
    ),
)


def role(value: Value) -> str:
    """The role that a value's name suggests, or ''."""
    name = ""
    if isinstance(value, Unknown) and value.origin != "budget":
        name = value.name
    elif isinstance(value, Node) and value.op.startswith("attr:"):
        name = value.op[5:]
    elif isinstance(value, Object) and value.role == "?":
        name = value.type_name
    elif isinstance(value, Bound):
        name = value.name
    elif isinstance(value, Node) and value.op == "item" and len(value.inputs) == 2:
        return _of_item(value.inputs[1])
    return _of_name(name)


@functools.lru_cache(maxsize=4096)
def _of_name(name: str) -> str:
    return next((kind for kind, pattern in _ROLES if pattern.search(name)), "") if name else ""


def _of_item(key: Value) -> str:
    """The role of what a state holds under a key: ``state["optimizer"]``."""
    text = key.value if isinstance(key, Const) and isinstance(key.value, str) else ""
    kept = ("optimizer", "scheduler", "scaler")
    return next((kind for kind, pattern in _ROLES if kind in kept and pattern.search(text)), "")
