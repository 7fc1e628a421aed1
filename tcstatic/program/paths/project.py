"""The modules of a project: found by name, read once, their names looked up on demand."""

from __future__ import annotations

import builtins
import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Final, final

from tcstatic.errors import InputError, input_problem
from tcstatic.model import Location
from tcstatic.program.paths.mattering import matches, touches
from tcstatic.program.paths.surroundings import Surroundings, beginning
from tcstatic.program.source import SourceText, decode, module_name, parse, syntax

# Trees that are kept at a time, by the number of their lines: about 1 KB a line.
KEPT_LINES: Final = 150_000
# Modules that one file's analysis reads at most: what lies further away stays unknown.
MOST_READ: Final = 60
_BUILTINS: Final = frozenset(dir(builtins))
# An optimizer or a scheduler that is built, by its name.
_BUILT: Final = re.compile(r"(\w+) = [\w.]*\b(?:optim|lr_scheduler)\.[A-Z]\w*\(")


@final
class Module:
    """One source file. `lines` are the numbers of lines that hold a word that matters."""

    def __init__(self, path: Path, name: str, file: str, text: SourceText, tree: syntax.Module):
        self.path = path
        self.name = name
        self.file = file
        self.text = text
        self.tree = tree
        self.bindings = _bindings(tree)
        self.stars = tuple(_stars(tree))
        self.package = name if path.stem == "__init__" else name.rpartition(".")[0]
        self.main = False
        self.scope = 0
        self._lines: list[int] | None = None
        self._touches: dict[syntax.AST, bool] = {}
        self._handed: dict[syntax.AST, frozenset[str]] = {}
        self.stored: dict[syntax.AST, frozenset[str]] = {}

    @cached_property
    def tried(self) -> tuple[tuple[int, int], ...]:
        """The lines of the bodies of ``try`` statements: (first, last)."""
        return tuple(
            (node.body[0].lineno, node.body[-1].end_lineno or node.body[-1].lineno)
            for node in statements_in(self.tree)
            if isinstance(node, syntax.Try)
        )

    @cached_property
    def defaults(self) -> frozenset[int]:
        """The expressions that are defaults of parameters, by their identity."""
        return frozenset(
            id(default)
            for node in syntax.walk(self.tree)
            if isinstance(node, syntax.FunctionDef | syntax.AsyncFunctionDef)
            for default in (*node.args.defaults, *node.args.kw_defaults)
        )

    def touches(self, node: syntax.AST) -> bool:
        """Whether a function may do something to what is trained."""
        known = self._touches.get(node)
        if known is None:
            known = self._touches[node] = touches(self.segment(node))
        return known

    def handed(self, node: syntax.AST) -> frozenset[str]:
        """The names that a function gives as they are to what it calls."""
        known = self._handed.get(node)
        if known is None:
            known = self._handed[node] = frozenset(_handed(node))
        return known

    def segment(self, node: syntax.AST) -> str:
        """The lines of a definition."""
        first, last = node.lineno, node.end_lineno or node.lineno  # type: ignore[attr-defined]
        return "\n".join(self.text.lines[first - 1 : last])

    def matters(self, node: syntax.AST) -> bool:
        """Whether a function holds anything that training is about."""
        if self._lines is None:
            self._lines = _lines_of(self.text.text)
        first, last = node.lineno, node.end_lineno or node.lineno  # type: ignore[attr-defined]
        return any(first <= line <= last for line in self._lines)

    def begins(self, node: syntax.AST) -> bool:
        """Whether a function is worth a look of its own: it holds what training is about, or
        builds some of it and hands that to another function."""
        if self.matters(node):
            return True
        text = self.segment(node)
        if "optim" not in text and "lr_scheduler" not in text:
            return False
        return any(
            re.search(rf"\b[a-z_]\w*\((?:[^()]|\([^()]*\))*\b{name}\b", text)
            for name in dict.fromkeys(_BUILT.findall(text))
        )

    def location(self, node: syntax.expr | syntax.stmt, function: str) -> Location:
        """The place of a node, in the words of a report."""
        span = self.text.span(node)
        return Location(
            self.file,
            span.line,
            span.column,
            span.end_line,
            span.end_column,
            function or "<module>",
        )


def _lines_of(text: str) -> list[int]:
    """The numbers of the lines that hold a word that matters."""
    found: list[int] = []
    breaks, line = 0, 1
    for start in sorted({match.start() for match in matches(text)}):
        line += text.count("\n", breaks, start)
        breaks = start
        if not found or found[-1] != line:
            found.append(line)
    return found


@final
class Project:
    """The files below a root; `overlay` holds text that stands for what lies on disk.

    State: the modules read lately, every file that was asked for, and the folders all of whose
    files were looked at.
    """

    def __init__(self, root: Path, overlay: Mapping[Path, bytes] | None = None) -> None:
        self.root = root
        self._overlay = dict(overlay or {})
        self._modules: OrderedDict[Path, Module] = OrderedDict()
        self._broken: set[Path] = set()
        self._found: dict[tuple[str, Path], tuple[Path, ...]] = {}
        self._lines = 0
        self._around: dict[Path, Surroundings] = {}
        self.read: set[Path] = set()
        self.folders: set[Path] = set()

    def module(self, path: Path) -> Module:
        """The module in a file. Raises InputError where it cannot be read or parsed."""
        known = self._modules.get(path)
        if known is None and len(self.read) >= MOST_READ:
            raise InputError(
                input_problem("too many modules belong to one program", where=str(path))
            )
        self.read.add(path)
        if known is not None:
            self._modules.move_to_end(path)
            return known
        text = decode(self.content(path), str(path))
        tree = parse(text.text, str(path))
        module = Module(path, module_name(path, self.root), self._relative(path), text, tree)
        self._keep(module)
        return module

    def content(self, path: Path) -> bytes:
        """The bytes of a file, or what stands for them. Raises InputError."""
        if path in self._overlay:
            return self._overlay[path]
        try:
            return path.read_bytes()
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise InputError(input_problem(f"cannot be read ({reason})", where=str(path))) from None

    def around(self, module: Module) -> Surroundings:
        """What lies around a module, by its text."""
        start = beginning(module.path, self.root)
        self.folders.add(self.root if start.is_relative_to(self.root) else start)
        known = self._around.get(start)
        if known is None:
            known = self._around[start] = Surroundings(start, self.root, self._text)
        return known

    def _text(self, path: Path) -> bytes:
        try:
            return self.content(path)
        except InputError:
            return b""

    def find(self, name: str, beside: Path) -> Module | None:
        """The project's own module of that name: below the root, or beside the asking file's
        top folder (where a script's own imports are looked for)."""
        for candidate in self._candidates(name, beside.parent):
            if candidate in self._broken:
                continue
            try:
                return self.module(candidate)
            except InputError:
                if len(self.read) < MOST_READ:
                    self._broken.add(candidate)
        return None

    def _candidates(self, name: str, beside: Path) -> tuple[Path, ...]:
        """The files that a module of that name may lie in, for those who ask from a folder."""
        known = self._found.get((name, beside))
        if known is None:
            parts = name.split(".")
            found = []
            for folder in self._folders(beside):
                base = folder.joinpath(*parts)
                if base.parent.is_dir():
                    pair = (base / "__init__.py", base.with_name(f"{base.name}.py"))
                    found += [one for one in pair if one in self._overlay or one.is_file()]
            known = self._found[(name, beside)] = tuple(found)
        return known

    def _folders(self, beside: Path) -> Iterator[Path]:
        folder = beside
        yield folder
        while folder != self.root and (folder / "__init__.py").is_file():
            folder = folder.parent
        if folder != beside:
            yield folder
        if self.root not in (beside, folder):
            yield self.root

    def _keep(self, module: Module) -> None:
        self._modules[module.path] = module
        self._lines += len(module.text.lines)
        while self._lines > KEPT_LINES and len(self._modules) > 1:
            _, oldest = self._modules.popitem(last=False)
            self._lines -= len(oldest.text.lines)

    def _relative(self, path: Path) -> str:
        try:
            return path.relative_to(self.root).as_posix()
        except ValueError:
            return path.as_posix()


def _handed(node: syntax.AST) -> Iterator[str]:
    for call in syntax.walk(node):
        if not isinstance(call, syntax.Call) or getattr(call.func, "id", "") in _BUILTINS:
            continue
        for given in (*call.args, *(one.value for one in call.keywords)):
            inner = given.value if isinstance(given, syntax.Starred) else given
            if isinstance(inner, syntax.Name):
                yield inner.id


def statements_in(node: Any) -> Iterator[syntax.stmt]:
    """All statements within a definition or a module, however deep; expressions are not opened."""
    for part in ("body", "orelse", "finalbody", "handlers", "cases"):
        for inner in getattr(node, part, ()) or ():
            if isinstance(inner, syntax.stmt):
                yield inner
            yield from statements_in(inner)


def definitions_around(
    tree: syntax.AST, line: int
) -> list[syntax.ClassDef | syntax.FunctionDef | syntax.AsyncFunctionDef]:
    """The functions and classes whose lines a line is one of, from the outermost in."""
    return [
        node
        for node in statements_in(tree)
        if isinstance(node, syntax.ClassDef | syntax.FunctionDef | syntax.AsyncFunctionDef)
        and node.lineno <= line <= (node.end_lineno or node.lineno)
    ]


def title_around(tree: syntax.AST, line: int) -> str:
    """What people call the function that a line lies in: its name behind that of its class, or of
    the function around it; '' outside of all."""
    return ".".join(one.name for one in definitions_around(tree, line)[-2:])


def function_around(
    tree: syntax.AST, line: int
) -> syntax.FunctionDef | syntax.AsyncFunctionDef | None:
    """The innermost function that a line lies in."""
    found = None
    for node in definitions_around(tree, line):
        if not isinstance(node, syntax.ClassDef):
            found = node
    return found


def absolute(module: Module, name: str, level: int) -> str:
    """The absolute name of an import; relative ones start at the module's own package."""
    if not level:
        return name
    parts = module.package.split(".") if module.package else []
    base = parts[: len(parts) - (level - 1)] if level > 1 else parts
    return ".".join([*base, name] if name else base)


def _bindings(tree: syntax.Module) -> dict[str, syntax.stmt]:
    """The statement that binds each module-level name last, as written."""
    found: dict[str, syntax.stmt] = {}
    for statement in _top_level(tree.body):
        for name in _bound(statement):
            found[name] = statement
    return found


def _top_level(body: list[syntax.stmt]) -> Iterator[syntax.stmt]:
    for statement in body:
        if isinstance(statement, syntax.If) and _for_types_only(statement.test):
            yield from _top_level(statement.orelse)
            continue
        yield statement
        if isinstance(statement, syntax.If | syntax.Try | syntax.With | syntax.For | syntax.While):
            yield from _top_level(getattr(statement, "orelse", []))
            for handler in getattr(statement, "handlers", ()):
                yield from _top_level(handler.body)
            yield from _top_level(statement.body)


def _for_types_only(test: syntax.expr) -> bool:
    name = test.attr if isinstance(test, syntax.Attribute) else getattr(test, "id", "")
    return bool(name == "TYPE_CHECKING")


def _bound(statement: syntax.stmt) -> Iterator[str]:
    if isinstance(statement, syntax.FunctionDef | syntax.AsyncFunctionDef | syntax.ClassDef):
        yield statement.name
    elif isinstance(statement, syntax.Import | syntax.ImportFrom):
        for alias in statement.names:
            if alias.name != "*":
                whole = isinstance(statement, syntax.Import) and not alias.asname
                yield alias.name.partition(".")[0] if whole else alias.asname or alias.name
    elif isinstance(statement, syntax.Assign):
        for target in statement.targets:
            yield from _names(target)
    elif isinstance(statement, syntax.AnnAssign) and statement.value is not None:
        yield from _names(statement.target)


def _names(target: syntax.expr) -> Iterator[str]:
    if isinstance(target, syntax.Name):
        yield target.id
    elif isinstance(target, syntax.Tuple | syntax.List):
        for item in target.elts:
            yield from _names(item)


def _stars(tree: syntax.Module) -> Iterator[tuple[str, int]]:
    for statement in _top_level(tree.body):
        if isinstance(statement, syntax.ImportFrom) and statement.names[0].name == "*":
            yield statement.module or "", statement.level
