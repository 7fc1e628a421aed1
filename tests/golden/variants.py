"""Variants of a story, equal in meaning: other names, modules, classes, company and aliases.

A story has top-level classes and functions, and a function `train` that first builds `model` and
`optimizer` and then loops. Everything else is read from its source. Comments travel with lines.
"""

import ast
import random
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import TypeVar

import libcst as cst

ENTRY = "train.py"
# Classes that are neither models nor layers; a split story keeps them in a module of their own.
ENGINES = frozenset({"BF16Optimizer", "ReplicatedModel", "RunningMean"})
WORDS = ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heron", "inlet", "jade")
COMPANION = """
{name} = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
{name}_optimizer = torch.optim.SGD({name}.parameters(), lr=0.05)
{name}_samples = torch.Generator().manual_seed({seed})
"""
COMPANION_STEP = """
points = torch.randn(16, 4, generator={name}_samples)
{name}_optimizer.zero_grad()
{name}_loss = F.mse_loss({name}(points), points.sum(1, keepdim=True))
{name}_loss.backward()
{name}_optimizer.step()
"""

Statement = cst.SimpleStatementLine | cst.BaseCompoundStatement
Files = dict[str, str]
Node = TypeVar("Node", bound=cst.CSTNode)


def write_variants(story: Path, target: Path, *, seed: int) -> list[Path]:
    """Write five variants of a story's `bad.py` and `good.py`; return the scripts to start.

    Each goes to `target/VARIANT/{bad,good}/train.py`, with its own modules beside it where it is
    split. The same seed writes the same bytes, and names things alike in bad and good.
    """
    scripts = []
    for label in ("bad", "good"):
        source = (story / f"{label}.py").read_text(encoding="utf-8")
        for variant, make in VARIANTS.items():
            folder = target / variant / label
            folder.mkdir(parents=True, exist_ok=True)
            rng = random.Random(f"{seed} {story.name} {variant}")
            for name, text in make(cst.parse_module(source), rng).items():
                (folder / name).write_text(text, encoding="utf-8")
            scripts.append(folder / ENTRY)
    return scripts


def _renamed(module: cst.Module, rng: random.Random) -> Files:
    """Every local variable, parameter, function and class gets another name."""
    tree = ast.parse(module.code)
    keywords = {node.arg for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg}
    methods = {
        item.name
        for node in tree.body
        if isinstance(node, ast.ClassDef)
        for item in node.body
        if isinstance(item, ast.FunctionDef)
    }
    names = sorted(_bound(tree) - keywords - _imported(tree) - methods - {"self", "_"})
    rng.shuffle(names)
    fresh = {
        name: cst.Name(_styled(f"{rng.choice(WORDS)}_{number}", like=name))
        for number, name in enumerate(names)
    }
    return {ENTRY: _replaced(module, fresh).code}


def _styled(name: str, *, like: str) -> str:
    if like.isupper():
        return name.upper()
    return name.title().replace("_", "") if like[0].isupper() else name


def _split(module: cst.Module, rng: random.Random) -> Files:
    """Models and the classes that drive them live in modules beside the script."""
    defined = {name: part for part in module.body for name in _defined(part)}
    classes = {name for name, part in defined.items() if isinstance(part, cst.ClassDef)}
    models = _closure(classes - ENGINES, defined)
    engines = _closure(classes & ENGINES, defined) - models
    homes = {
        rng.choice(("network", "modeling", "layers")): models,
        rng.choice(("engine", "machinery", "support")): engines,
        "train": defined.keys() - models - engines,
    }
    return {f"{home}.py": _module_text(module, home, homes) for home in homes}


def _module_text(module: cst.Module, home: str, homes: Mapping[str, Set[str]]) -> str:
    """The module `home`: its own statements after the imports that they need."""

    def owner(part: Statement) -> str:
        # What defines nothing (docstring, calls, the guard at the end) stays in the script.
        return next((name for name, owned in homes.items() if owned & _defined(part)), "train")

    imports = [part for part in module.body if _is_import(part)]
    own = [part for part in module.body if not _is_import(part) and owner(part) == home]
    needed = _used(own)
    head = [part for part in imports if _imported(_tree([part])) & needed]
    for other, owned in homes.items():
        if other != home and owned & needed:
            names = ", ".join(sorted(owned & needed))
            head.append(_line(f"from {other} import {names}"))
    at = 1 if home == "train" else 0  # behind the docstring
    return module.with_changes(body=[*own[:at], *head, *own[at:]]).code


def _in_a_class(module: cst.Module, rng: random.Random) -> Files:
    """What `train` does becomes a class: its set-up in `__init__`, its loop in `fit`."""
    name = rng.choice(("Trainer", "Experiment", "TrainingRun"))
    function, setup, rest = _train_parts(module)
    parameters = [parameter.name.value for parameter in function.params.params]
    shared = {*parameters, *_bound(_tree(setup))}
    fields = {field: cst.parse_expression(f"self.{field}") for field in shared}
    keep = cst.parse_module("".join(f"self.{field} = {field}\n" for field in parameters)).body
    begin = [*keep, *(_replaced(statement, fields) for statement in setup)]
    loop = [_replaced(statement, fields) for statement in rest]
    arguments = ", ".join(parameters)
    skeleton = (
        f"class {name}:\n"
        f"    def __init__(self, {arguments}):\n        pass\n\n"
        f"    def fit(self):\n        pass\n"
    )
    trainer = cst.ensure_type(_line(skeleton), cst.ClassDef)
    trainer = trainer.with_changes(leading_lines=function.leading_lines)
    first, second = (cst.ensure_type(part, cst.FunctionDef) for part in trainer.body.body)
    methods = [_with_body(first, begin), _with_body(second, loop)]
    trainer = trainer.with_changes(body=trainer.body.with_changes(body=methods))
    start = _line(f"{name}({arguments}).fit()")
    called = _with_body(function, [start])
    return {ENTRY: _with_train(module, [trainer, called])}


def _two_models(module: cst.Module, rng: random.Random) -> Files:
    """A second, healthy model is trained in the same loop."""
    words = {"name": rng.choice(("probe", "critic", "baseline")), "seed": rng.randrange(1000)}
    function, setup, rest = _train_parts(module)
    built = cst.parse_module(COMPANION.strip().format(**words)).body
    stepped = cst.parse_module(COMPANION_STEP.strip().format(**words)).body
    loop = _into_innermost(cst.ensure_type(rest[0], cst.For), stepped, first=rng.random() < 0.5)
    body = [*setup, *built, loop, *rest[1:]]
    return {ENTRY: _with_train(module, [_with_body(function, body)])}


def _aliased(module: cst.Module, rng: random.Random) -> Files:
    """The loop reaches model and optimizer through a dict."""
    box = rng.choice(("objects", "parts", "state"))
    keys = rng.sample(("model", "optimizer"), 2)
    function, setup, rest = _train_parts(module)
    entries = ", ".join(f'"{key}": {key}' for key in keys)
    alias = _line(f"{box} = {{{entries}}}")
    # Single quotes: the stories use these names inside double-quoted f-strings.
    reads = {key: cst.parse_expression(f"{box}['{key}']") for key in keys}
    body = [*setup, alias, *(_replaced(statement, reads) for statement in rest)]
    return {ENTRY: _with_train(module, [_with_body(function, body)])}


VARIANTS: Mapping[str, Callable[[cst.Module, random.Random], Files]] = {
    "renamed": _renamed,
    "split": _split,
    "in_a_class": _in_a_class,
    "two_models": _two_models,
    "aliased": _aliased,
}


class _Replace(cst.CSTTransformer):
    """Puts expressions in the place of names; attributes and keywords are not names."""

    def __init__(self, replacements: Mapping[str, cst.BaseExpression]) -> None:
        super().__init__()
        self.replacements = replacements

    def leave_Name(self, original_node: cst.Name, updated_node: cst.Name) -> cst.BaseExpression:
        return self.replacements.get(original_node.value, updated_node)

    def leave_Attribute(
        self, original_node: cst.Attribute, updated_node: cst.Attribute
    ) -> cst.Attribute:
        return updated_node.with_changes(attr=original_node.attr)

    def leave_Arg(self, original_node: cst.Arg, updated_node: cst.Arg) -> cst.Arg:
        return updated_node.with_changes(keyword=original_node.keyword)


def _replaced(node: Node, replacements: Mapping[str, cst.BaseExpression]) -> Node:
    return cst.ensure_type(node.visit(_Replace(replacements)), type(node))


def _line(text: str) -> Statement:
    return cst.parse_module(text).body[0]


def _block(owner: cst.FunctionDef | cst.For) -> list[Statement]:
    return [line for line in owner.body.body if isinstance(line, Statement)]


def _train_parts(
    module: cst.Module,
) -> tuple[cst.FunctionDef, list[Statement], list[Statement]]:
    """The function `train`, its statements before the loop, and the loop with what follows."""
    for part in module.body:
        if isinstance(part, cst.FunctionDef) and part.name.value == "train":
            body = _block(part)
            at = next(index for index, line in enumerate(body) if isinstance(line, cst.For))
            return part, body[:at], body[at:]
    raise ValueError("the story has no function 'train'")


def _with_body(function: cst.FunctionDef, body: Sequence[Statement]) -> cst.FunctionDef:
    return function.with_changes(body=function.body.with_changes(body=body))


def _with_train(module: cst.Module, parts: Sequence[Statement]) -> str:
    """The module's text, with `parts` in the place of the function `train`."""
    function, _, _ = _train_parts(module)
    at = list(module.body).index(function)
    return module.with_changes(body=[*module.body[:at], *parts, *module.body[at + 1 :]]).code


def _into_innermost(loop: cst.For, lines: Sequence[Statement], *, first: bool) -> cst.For:
    """The loop with `lines` at the start or the end of its innermost loop's body."""
    body = _block(loop)
    at = next((index for index, line in enumerate(body) if isinstance(line, cst.For)), None)
    if at is not None:
        body[at] = _into_innermost(cst.ensure_type(body[at], cst.For), lines, first=first)
    else:
        body = [*lines, *body] if first else [*body, *lines]
    return loop.with_changes(body=loop.body.with_changes(body=body))


def _tree(parts: Iterable[Statement]) -> ast.Module:
    return ast.parse(cst.Module(body=list(parts)).code)


def _bound(tree: ast.Module) -> set[str]:
    """Names that the source itself gives: to variables, parameters, functions and classes."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
    return names


def _defined(part: Statement) -> set[str]:
    """Names that a statement at the top level defines there."""
    (node,) = _tree([part]).body
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else []
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _used(parts: Iterable[Statement]) -> set[str]:
    return {node.id for node in ast.walk(_tree(parts)) if isinstance(node, ast.Name)}


def _imported(tree: ast.Module) -> set[str]:
    aliases = [
        alias
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    ]
    return {(alias.asname or alias.name).partition(".")[0] for alias in aliases}


def _is_import(part: Statement) -> bool:
    return isinstance(_tree([part]).body[0], ast.Import | ast.ImportFrom)


def _closure(names: Set[str], defined: Mapping[str, Statement]) -> set[str]:
    """The names and all that their definitions use, as far as the module defines it."""
    closed: set[str] = set()
    waiting = set(names)
    while waiting:
        name = waiting.pop()
        closed.add(name)
        waiting |= (_used([defined[name]]) & defined.keys()) - closed
    return closed
