"""What a program speaks of, and whether that leaves gradients to one plain loop of training."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, final

from tcstatic.program.source import syntax

IsScheduler = Callable[[Path, syntax.Call], bool]
KINDS: Final[Mapping[str, str]] = {
    "zero_grad": "optimizer.zero_grad",
    "backward": "loss.backward",
    "step": "optimizer.step",
}
# Of the standard library and the rest: what starts no threads, calls nothing back later, and
# makes no objects out of files.
_IMPORTED: Final = frozenset(
    """__future__ PIL abc argparse bisect collections copy csv cv2 dataclasses datetime einops enum
    functools glob gzip hashlib heapq io itertools json logging math matplotlib numpy os pandas
    pathlib platform psutil random re rich scipy seaborn shutil sklearn statistics string struct sys
    tabulate tempfile tensorboard tensorboardX textwrap time torch torchaudio torchvision tqdm
    typing uuid warnings yaml zipfile""".split()
)
# Whoever speaks of these looks at gradients, moves parameters by hand, or lets others call.
_TELLING: Final = frozenset(
    """grad autograd func functional_call fx jit multiprocessing distributed swa_utils AveragedModel
    parametrize parametrizations parametrized prune weight_norm spectral_norm vector_to_parameters
    deepcopy settrace setprofile excepthook setattr delattr allow_pickle read_pickle
    attrgetter methodcaller""".split()
)
# Methods that are called where the source does not say so, and may do anything there.
_DEFINED: Final = frozenset(
    """step zero_grad backward __getattr__ __getattribute__ __setattr__ __del__ __exit__ __aexit__
    __get__ __set__ __delete__ __torch_function__ __torch_dispatch__ __init_subclass__
    __set_name__""".split()
)
_IN_PLACE: Final = re.compile(r"(?!_)\w*[^\W_]_")
_ALLOWED: Final = frozenset({"clip_grad_norm_", "clip_grad_value_", "requires_grad_"})
_MAKERS: Final = frozenset(
    """zeros ones empty full rand randn randint arange tensor defaultdict Counter dict list
    set""".split()
)
_CONTEXTS: Final = frozenset(
    """autocast no_grad enable_grad inference_mode set_grad_enabled open tqdm fork_rng
    TemporaryDirectory NamedTemporaryFile""".split()
)
_BASES: Final = frozenset(
    """Module Dataset IterableDataset Sampler object NamedTuple Protocol Enum ABC Generic""".split()
)
_REFUSED: Final = (
    syntax.Global, syntax.Nonlocal, syntax.AsyncFunctionDef, syntax.TryStar, syntax.Await,
)  # fmt: skip


@final
@dataclass(slots=True)
class Spoken:
    """The files of a program as one: `parents` of all nodes, `mentions` of each name, the `calls`
    of the three methods, `own` names of functions and classes, and those of `parameters`; `bound`
    are names that may stand for one of its `modules` (their last names). `told`: something in it is
    not as it is to be."""

    is_scheduler: IsScheduler
    modules: frozenset[str]
    parents: dict[syntax.AST, syntax.AST] = field(default_factory=dict)
    mentions: dict[str, list[syntax.AST]] = field(default_factory=dict)
    calls: list[syntax.Call] = field(default_factory=list)
    own: dict[str, list[syntax.AST]] = field(default_factory=dict)
    bound: set[str] = field(default_factory=set)
    parameters: set[str] = field(default_factory=set)
    told: bool = False


def gather(program: Spoken, path: Path, tree: syntax.Module) -> None:
    """Add a file."""
    nodes = list(syntax.walk(tree))
    for node in nodes:
        for child in syntax.iter_child_nodes(node):
            program.parents[child] = node
    for node in nodes:
        for name in _names(node):
            program.mentions.setdefault(name, []).append(node)
            program.told = program.told or _is_telling(name, node)
        _define(program, node)
        if isinstance(node, syntax.Attribute) and node.attr in KINDS:
            call = program.parents[node]
            if not isinstance(call, syntax.Call) or call.func is not node:
                program.told = True  # a method that is handed on
            elif node.attr != "step" or not program.is_scheduler(path, call):
                program.calls.append(call)


def _define(program: Spoken, node: syntax.AST) -> None:
    """Note what a node gives a name to."""
    if isinstance(node, syntax.FunctionDef | syntax.ClassDef):
        program.own.setdefault(node.name, []).append(node)
    elif isinstance(node, syntax.arg):
        program.parameters.add(node.arg)
    elif isinstance(node, syntax.alias) and node.name.rpartition(".")[2] in program.modules:
        program.bound.add(node.asname or node.name.partition(".")[0])


def _names(node: syntax.AST) -> Iterator[str]:
    """What a node speaks of, by name."""
    if isinstance(node, syntax.Name):
        yield node.id
    elif isinstance(node, syntax.Attribute):
        yield node.attr
    elif isinstance(node, syntax.keyword):
        yield node.arg or ""
    elif isinstance(node, syntax.alias):
        yield from node.name.split(".")
        yield node.asname or ""


def _is_telling(name: str, node: syntax.AST) -> bool:
    if name in _TELLING or "hook" in name.lower():
        return True
    if isinstance(node, syntax.keyword) and name == "out":
        return True
    if isinstance(node, syntax.Attribute) and last_name(node.value) == "init":
        return False
    return _IN_PLACE.fullmatch(name) is not None and name not in _ALLOWED


def is_imported(trees: Iterable[syntax.Module], modules: frozenset[str], script: str) -> bool:
    """Whether only libraries are imported of which it is known what they do, and not the script,
    which would run again."""
    roots: set[str] = set()
    again = {one for one in modules if one.rpartition(".")[2] == script} | {"__main__"}
    for tree in trees:
        for node in syntax.walk(tree):
            if isinstance(node, syntax.Import | syntax.ImportFrom):
                named = _imported(node)
                if any(one == own or own.endswith(f".{one}") for one in named for own in again):
                    return False
                if not getattr(node, "level", 0):
                    roots |= {one.partition(".")[0] for one in named}
    return roots <= _IMPORTED | {one.partition(".")[0] for one in modules}


def _imported(node: syntax.Import | syntax.ImportFrom) -> set[str]:
    """The names of the modules that a statement may import."""
    names = {one.name for one in node.names}
    if isinstance(node, syntax.ImportFrom):
        names = {f"{node.module}.{one}" if node.module else one for one in names}
        names |= {node.module} if node.module else set()
    return names


def is_plain(program: Spoken, node: syntax.AST) -> bool:
    """Whether a node leaves gradients, parameters and the order of statements alone."""
    if isinstance(node, _REFUSED):
        return False
    asked = _PLAIN.get(type(node))
    return asked is None or asked(program, node)


def _is_plain_with(program: Spoken, node: syntax.With) -> bool:
    return all(last_name(item.context_expr) in _CONTEXTS for item in node.items)


def _is_plain_class(program: Spoken, node: syntax.ClassDef) -> bool:
    known = _BASES | program.own.keys()
    return all(last_name(base) in known for base in node.bases) and not node.keywords


def _is_plain_attribute(program: Spoken, node: syntax.Attribute) -> bool:
    return node.attr != "data" or isinstance(node.ctx, syntax.Load)


def _is_plain_sum(program: Spoken, node: syntax.AugAssign) -> bool:
    return isinstance(node.value, syntax.Constant) or _is_accumulator(program, node.target)


def _is_plain_item(program: Spoken, node: syntax.Subscript) -> bool:
    if not isinstance(node.ctx, syntax.Store):
        return True
    named = isinstance(node.slice, syntax.Constant) and isinstance(node.slice.value, str)
    return named or _is_accumulator(program, node.value)


def _guards_imports(program: Spoken, node: syntax.Try) -> bool:
    parts = (*node.body, *(one for handler in node.handlers for one in handler.body))
    simple = (syntax.Import, syntax.ImportFrom, syntax.Assign, syntax.Pass)
    for one in parts:
        if isinstance(one, syntax.Import | syntax.ImportFrom):
            names = {part for name in _imported(one) for part in name.split(".")}
            if getattr(one, "level", 0) or not program.modules.isdisjoint(names):
                return False  # what it runs may end half-way, and begin again
    calls = any(isinstance(one, syntax.Call) for part in parts for one in syntax.walk(part))
    return all(isinstance(one, simple) for one in parts) and not calls and not node.finalbody


def _is_plain_call(program: Spoken, node: syntax.Call) -> bool:
    name = last_name(node.func)
    if name == "getattr":
        return False
    if name == "copy":
        module = node.func.value if isinstance(node.func, syntax.Attribute) else None
        return module is not None and last_name(module) != "copy"
    if name == "load" and isinstance(node.func, syntax.Attribute):
        safe = any(
            one.arg == "weights_only"
            and isinstance(one.value, syntax.Constant)
            and one.value.value is True
            for one in node.keywords
        )
        return last_name(node.func.value) != "torch" or safe
    return True


def _is_module(program: Spoken, node: syntax.Name) -> bool:
    """Whether a name that may be one of the program's own modules is used as a value."""
    outer = program.parents[node]
    called = isinstance(outer, syntax.Call) and outer.func is node
    return node.id in program.bound and not called and not isinstance(outer, syntax.Attribute)


_PLAIN: Final[Mapping[type, Callable[[Spoken, Any], bool]]] = {
    syntax.Try: _guards_imports,
    syntax.With: _is_plain_with,
    syntax.ClassDef: _is_plain_class,
    syntax.FunctionDef: lambda program, node: node.name not in _DEFINED,
    syntax.Call: _is_plain_call,
    syntax.Attribute: _is_plain_attribute,
    syntax.Name: lambda program, node: node.id != "type" and not _is_module(program, node),
    syntax.AugAssign: _is_plain_sum,
    syntax.Subscript: _is_plain_item,
}


def _is_accumulator(program: Spoken, target: syntax.expr) -> bool:
    """Whether a name stands for a number or a listing of the program's own, and for no parameter:
    all that is ever assigned to it is a literal, or is made anew."""
    if isinstance(target, syntax.Subscript):
        return _is_accumulator(program, target.value)
    if not isinstance(target, syntax.Name | syntax.Attribute):
        return False
    name = target.id if isinstance(target, syntax.Name) else target.attr
    stores = [
        node
        for node in program.mentions.get(name, ())
        if isinstance(node, syntax.Name | syntax.Attribute)
        and isinstance(node.ctx, syntax.Store)
        and not isinstance(program.parents[node], syntax.AugAssign)
    ]
    made = all(_is_made(program, one) for one in stores)
    return bool(stores) and made and name not in program.parameters


def _is_made(program: Spoken, store: syntax.AST) -> bool:
    statement = program.parents[store]
    if isinstance(statement, syntax.Tuple):
        statement = program.parents[statement]
        value = statement.value if isinstance(statement, syntax.Assign) else None
        return isinstance(value, syntax.Tuple) and all(map(_is_anew, value.elts))
    if not isinstance(statement, syntax.Assign | syntax.AnnAssign):
        return False
    return statement.value is not None and _is_anew(statement.value)


def _is_anew(value: syntax.expr) -> bool:
    """Whether an expression makes what it gives."""
    if isinstance(value, syntax.Call):
        return last_name(value.func) in (
            "zeros",
            "empty",
            "defaultdict",
            "Counter",
            "dict",
            "list",
        )
    literals = (syntax.Constant, syntax.List, syntax.Dict, syntax.ListComp)
    return isinstance(value, literals) or (
        isinstance(value, syntax.UnaryOp) and isinstance(value.operand, syntax.Constant)
    )


def last_name(node: syntax.expr) -> str:
    """The last part of a dotted name, also of one that is called or indexed."""
    while isinstance(node, syntax.Call | syntax.Subscript):
        node = node.func if isinstance(node, syntax.Call) else node.value
    if isinstance(node, syntax.Attribute):
        return node.attr
    return node.id if isinstance(node, syntax.Name) else ""
