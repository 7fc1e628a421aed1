"""Which values are known to be no model and no optimizer, and which calls to run none."""

from __future__ import annotations

import re
import sys
from typing import Final

from tcstatic.program.paths import lookup
from tcstatic.program.paths.objects import METHODS_OF_MODELS
from tcstatic.program.paths.values import (
    Class,
    Const,
    External,
    Function,
    Listing,
    Object,
    Value,
    options,
)
from tcstatic.program.source import syntax

# Functions and classes that give plain data: no model, no optimizer, nothing that calls one.
PLAIN: Final = re.compile(
    r"torch\.(?!(load|compile|vmap|hub|func|jit|export)\b)[A-Za-z_0-9]+|"
    r"torch\.nn\.(functional|init)\.\w+|torch\.(linalg|fft|special|random|backends)\.[\w.]+|"
    r"torch\.cuda\.(?!amp|make_graphed_callables)[a-z_]\w*|torch\.distributions\.[\w.]+|"
    r"torch\.utils\.data\.\w+|torch\.distributed\.[a-z]\w*|"
    r"builtins\.(len|range|int|float|bool|str|bytes|repr|abs|round|sum|any|all|print|isinstance|"
    r"issubclass|hasattr|callable|id|hash|ord|chr|divmod|pow|open|format|input|slice|complex)"
)
# Those that run nothing of the program, but hand back what they were given.
HANDING: Final = re.compile(
    r"builtins\.(enumerate|zip|dict|list|tuple|set|frozenset|reversed|min|max)|"
    r"collections\.\w+|random\.\w+|sys\.modules|argparse\.Namespace|torch\.load|copy\.\w+"
)
_PLAIN_LIBRARIES: Final = frozenset(
    """numpy math cmath random os sys time json logging pathlib argparse datetime shutil pandas PIL
    cv2 re io statistics string csv glob socket struct hashlib uuid tempfile platform textwrap
    subprocess sklearn scipy matplotlib warnings urllib decimal fractions""".split()
)
# Methods of known objects that hand back neither the object nor another one that is trained.
PLAIN_METHODS: Final = frozenset(
    """load_state_dict state_dict step zero_grad parameters named_parameters buffers get_last_lr
    get_scale is_enabled set_epoch register_buffer""".split()
)
# Operations that give tensors and the like, whatever they are made of.
DATA: Final = frozenset("forward parameter parameters named_parameters index key".split())
_PICKING: Final = re.compile(
    r"(numpy\.)?random\.(choice|choices|sample)|sys\.modules.*|argparse\.Namespace|numpy\.load"
)
# Methods of torch's optimizers and of what goes with them; of modules, see `objects`.
_OPTIMIZER_METHODS: Final = frozenset(
    """step zero_grad state_dict load_state_dict add_param_group get_last_lr scale unscale_ update
    get_scale is_enabled set_epoch""".split()
)
_HARMLESS_DECORATORS: Final = re.compile(
    r"builtins\.(staticmethod|classmethod|property)|torch\.(no_grad|inference_mode|enable_grad)|"
    r"(contextlib\.contextmanager|functools\.(wraps|cache|lru_cache|cached_property)|"
    r"abc\.abstractmethod|typing\.\w+|dataclasses\.dataclass)"
)


def is_plain_path(path: str) -> bool:
    """Whether a library's function or class gives plain data and runs nothing of the program."""
    if path.partition(".")[0] in _PLAIN_LIBRARIES:
        return _PICKING.fullmatch(path) is None
    return PLAIN.fullmatch(path) is not None


def is_as_written(function: Function) -> bool:
    """Whether calling a function by its name runs its body: no decorator stands in between."""
    return all(
        (isinstance(one, External) and _HARMLESS_DECORATORS.fullmatch(one.path))
        or (isinstance(one, Object) and one.role == "region")
        for one in function.decorators
    )


def is_library_method(receiver: Value | None, node: syntax.Call) -> bool:
    """Whether what is called is a method of a class of torch's."""
    text = node.func.attr if isinstance(node.func, syntax.Attribute) else ""
    owners = [one for one in options(receiver) if isinstance(one, Object)] if receiver else []
    return bool(owners) and all(
        text in (METHODS_OF_MODELS if one.role in ("model", "loss") else _OPTIMIZER_METHODS)
        or (isinstance(one.type, str) and one.role not in ("model", "loss") and is_known(one))
        for one in owners
    )


def is_partial(value: Value | None) -> bool:
    return isinstance(value, Object) and value.role == "partial"


def is_known(value: Value) -> bool:
    """Whether a library's method of a value is one: of torch's own classes, or of plain data."""
    if isinstance(value, Listing | Const):
        return not (isinstance(value, Const) and value.value is None)
    if not isinstance(value, Object):
        return False
    if isinstance(value.type, Class):
        bases = list(lookup.ancestry(value.type))
        return all(isinstance(one, Class) or is_harmless_base(one) for one in bases)
    return value.type.startswith("torch.") and value.role != "?"


def is_harmless_base(one: Value) -> bool:
    if not isinstance(one, External):
        return False
    root = one.path.partition(".")[0]
    return root in sys.stdlib_module_names or root in ("torch", "builtins", "numpy")


def is_plain_object(value: Object) -> bool:
    """Whether an instance is neither model nor optimizer, nor may be one."""
    if isinstance(value.type, str):
        if value.role == "loss":
            return value.type.startswith("torch.nn.")
        return value.role in ("loader", "sampler", "dataset", "scheduler", "scaler", "region")
    if value.role in ("model", "optimizer", "loss", "?"):
        return False
    bases = list(lookup.ancestry(value.type))
    made = any(isinstance(one, Class) and "__new__" in one.namespace for one in bases)
    return not made and all(isinstance(one, Class) or is_harmless_base(one) for one in bases)
