"""Calls of libraries' functions and classes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from tcstatic.program.paths import (
    builtin,
    forwards,
    gradients,
    lookup,
    methods,
    objects,
    parameters,
)
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.operations import HARMLESS, REGIONS, canonical, role_of
from tcstatic.program.paths.values import Const, Listing, Node, Object, Unknown, Value, options
from tcstatic.program.source import syntax

Keywords = Mapping[str, Value]
# Functions of libraries that rules look at as events of their own.
_TOLD: Final = re.compile(
    r"^(torch\.(cuda\.|mps\.|xpu\.)?manual_seed(_all)?|random\.seed|numpy\.random\.seed|"
    r"torch\.seed|.*\.(seed_everything|set_seed)|torch\.utils\.data\.random_split|"
    r"torch\.(save|load)|torch\.nn\.functional\.(\w*dropout\d?d?|"
    r"scaled_dot_product_attention)|.*\.train_test_split|"
    r"torch\.nn\.init\.\w+|torch\.nn\.utils\.\w+|torch\.set_default_\w+)$"
)
_STOPS: Final = frozenset({"sys.exit", "os._exit", "os.abort", "builtins.exit", "builtins.quit"})


def call(
    m: Machine, path: str, arguments: tuple[Value, ...], keywords: Keywords, at: syntax.expr
) -> Value:
    """What a call of something outside of the project gives."""
    if path in _STOPS:
        m.leave("stop")
        return Unknown("never")
    if path.startswith("builtins."):
        return builtin.call(m, path[9:], arguments, keywords, at)
    handler = _HANDLERS.get(path)
    if handler is not None:
        return handler(m, path, arguments, keywords, at)
    if path in REGIONS:
        return objects.library_object(m, path, "region", arguments, keywords, at)
    if path.startswith("torch."):
        gradients.by_function(m, path, arguments, keywords, at)
        special = _torch(m, path, arguments, keywords, at)
        if special is not None:
            return special
    role = role_of(path)
    if role:
        plain = path.removesuffix(".from_pretrained")
        made = objects.library_object(m, plain, role, arguments, keywords, at)
        if plain != path:
            forwards.set_mode(m, made, None)  # the hub's models are loaded in eval mode
        return made
    if _TOLD.match(path):
        return _told(m, path, arguments, keywords, at)
    _given_away(m, path, arguments, keywords, at)
    return m.node(canonical(path), arguments, at, keywords=dict(keywords))


def _given_away(
    m: Machine, path: str, arguments: tuple[Value, ...], keywords: Keywords, at: syntax.expr
) -> None:
    """What a library that may train is given, it may change."""
    if path.endswith(".zero_grad"):
        gradients.written_somewhere(m, at)  # a method that is called on its class
    if path.partition(".")[0] not in HARMLESS:
        methods.escape(m, (*arguments, *keywords.values()), at)
        if gradients.may_clear(path.rpartition(".")[2]):
            gradients.written_somewhere(m, at)


def _torch(
    m: Machine, path: str, arguments: tuple[Value, ...], keywords: Keywords, at: syntax.expr
) -> Value | None:
    last = path.rpartition(".")[2]
    if forwards.is_loss(path) and last[:1].islower():
        return forwards.loss_value(m, canonical(path), arguments, keywords, at)
    if "clip_grad" in last:
        return _clip(m, last, arguments, keywords, at)
    if path.startswith("torch.distributed.") and last.islower():
        return _distributed(m, path, last, arguments, keywords, at)
    if last == "fully_shard":
        return _shard(m, arguments, at)
    if last == "Parameter":
        made = m.node("parameter", arguments, at)
        made.keywords = {**keywords, "#tokens": Const(frozenset({(made.number, 0)}))}
        return made
    return None


def _clip(
    m: Machine, last: str, arguments: tuple[Value, ...], keywords: Keywords, at: syntax.expr
) -> Value:
    target = arguments[0] if arguments else keywords.get("parameters", Const(None))
    tokens, complete = parameters.held(m, (target,))
    every = frozenset(o.number for o in m.objects.values() if o.role == "optimizer")
    owners = parameters.owners(m, tokens)
    m.emit(
        "grad.clip",
        at,
        subjects={"optimizer": owners},
        maybe=frozenset() if complete and owners else every,
        values={"operation": last, "#elsewhere": complete and not owners},
        arguments=arguments,
        keywords=dict(keywords),
    )
    return m.node(last, (), at)


def _distributed(
    m: Machine,
    path: str,
    last: str,
    arguments: tuple[Value, ...],
    keywords: Keywords,
    at: syntax.expr,
) -> Value:
    if last == "init_process_group":
        m.emit("dist.init", at, keywords=dict(keywords))
    elif path.count(".") == 2 and not last.startswith(("get_", "is_", "destroy", "new_")):
        m.emit(
            "dist.collective",
            at,
            values={"operation": last},
            arguments=arguments,
            keywords=dict(keywords),
        )
    return m.node(f"dist.{last}", arguments, at, keywords=dict(keywords))


def _shard(m: Machine, arguments: tuple[Value, ...], at: syntax.expr) -> Value:
    for one in options(arguments[0], 4) if arguments else ():
        if isinstance(one, Object):
            parameters.replace_parameters(m, one)
            m.emit(
                "wrap.new",
                at,
                subjects={"model": (one.number,)},
                values={"type": "fully_shard", "how": "replaces"},
            )
    return arguments[0] if arguments else Const(None)


def _told(
    m: Machine, path: str, arguments: tuple[Value, ...], keywords: Keywords, at: syntax.expr
) -> Value:
    operation = canonical(path) if path.startswith("torch.") else path
    made = m.node(operation, arguments, at, keywords=dict(keywords))
    m.emit(
        "model.save" if path == "torch.save" else "call",
        at,
        values={"operation": operation, "path": path},
        arguments=arguments,
        keywords=dict(keywords),
        node=made,
        result=made,
    )
    return made


def _compile(m: Machine, path: str, arguments: tuple[Value, ...], *_: Any) -> Value:
    return arguments[0] if arguments else Unknown("decorator")


def _deep_copy(
    m: Machine, path: str, arguments: tuple[Value, ...], keywords: Keywords, at: syntax.expr
) -> Value:
    return objects.deep_copy(m, arguments[0], at) if arguments else Const(None)


def _shallow_copy(
    m: Machine, path: str, arguments: tuple[Value, ...], keywords: Keywords, at: syntax.expr
) -> Value:
    """``copy.copy``: of a model, another name for the same parameters."""
    if any(isinstance(one, Object) and one.role == "model" for one in arguments[:1]):
        return arguments[0]
    return _deep_copy(m, path, arguments, keywords, at)


def _backward(
    m: Machine, path: str, arguments: tuple[Value, ...], keywords: Keywords, at: syntax.expr
) -> Value:
    for value in arguments[:1]:
        for one in lookup.items(m, value) if isinstance(value, Listing) else [value]:
            methods.backward(m, one, at)
    return Const(None)


def _partial(
    m: Machine, path: str, arguments: tuple[Value, ...], keywords: Keywords, at: syntax.expr
) -> Value:
    return Object("functools.partial", "partial", arguments, keywords, m.place(at))


def _chain(
    m: Machine, path: str, arguments: tuple[Value, ...], keywords: Keywords, at: syntax.expr
) -> Value:
    return m.node("chain", arguments, at)


def _through(
    m: Machine, path: str, arguments: tuple[Value, ...], keywords: Keywords, at: syntax.expr
) -> Value:
    given = arguments or tuple(keywords.values())[:1]
    return given[0] if given else m.node(path, (), at)


Handler = Callable[[Machine, str, tuple[Value, ...], Keywords, syntax.expr], Value]
_HANDLERS: Final[dict[str, Handler]] = {
    "torch.compile": _compile,
    "torch.jit.script": _compile,
    "copy.deepcopy": _deep_copy,
    "copy.copy": _shallow_copy,
    "torch.autograd.backward": _backward,
    "functools.partial": _partial,
    "itertools.chain": _chain,
    "itertools.chain.from_iterable": _chain,
    "tqdm.tqdm": _through,
    "tqdm.auto.tqdm": _through,
    "tqdm.notebook.tqdm": _through,
    "tqdm.rich.tqdm": _through,
    "tqdm.trange": _chain,
    "rich.progress.track": _through,
    "itertools.islice": _through,
    "itertools.cycle": _through,
    "typing.cast": lambda m, p, a, k, at: a[1] if len(a) > 1 else Const(None),
    "torch.autograd.Variable": _through,
}

__all__ = ["Node", "call"]
