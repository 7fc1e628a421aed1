"""The special methods behind Python's operators."""

from __future__ import annotations

from tcstatic.program.source import syntax

_BINARY = {
    syntax.Add: "add",
    syntax.Sub: "sub",
    syntax.Mult: "mul",
    syntax.MatMult: "matmul",
    syntax.Div: "truediv",
    syntax.FloorDiv: "floordiv",
    syntax.Mod: "mod",
    syntax.Pow: "pow",
    syntax.LShift: "lshift",
    syntax.RShift: "rshift",
    syntax.BitAnd: "and",
    syntax.BitOr: "or",
    syntax.BitXor: "xor",
}

OPERATORS: dict[type, tuple[str, str]] = {
    kind: (f"__{name}__", f"__r{name}__") for kind, name in _BINARY.items()
}
"""Operator -> the method of the left operand, and the reflected one of the right operand."""

INPLACE: dict[type, str] = {kind: f"__i{name}__" for kind, name in _BINARY.items()}

UNARY: dict[type, str] = {
    syntax.USub: "__neg__",
    syntax.UAdd: "__pos__",
    syntax.Invert: "__invert__",
}

COMPARISONS: dict[type, tuple[tuple[str, ...], tuple[str, ...]]] = {
    syntax.Eq: (("__eq__",), ("__eq__",)),
    syntax.NotEq: (("__ne__", "__eq__"), ("__ne__", "__eq__")),
    syntax.Lt: (("__lt__",), ("__gt__",)),
    syntax.LtE: (("__le__",), ("__ge__",)),
    syntax.Gt: (("__gt__",), ("__lt__",)),
    syntax.GtE: (("__ge__",), ("__le__",)),
}
