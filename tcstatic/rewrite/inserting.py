"""Insert calls around expressions of a LibCST tree, and one import on an existing line."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal, final

import libcst as cst

from tcstatic.model import Site
from tcstatic.program.source import PROBES, Marks

# Which part of the node that an ordinal stands for is wrapped; an index means that argument.
Part = Literal["value", "receiver", "callee"] | int

_BLANK: Final = cst.SimpleWhitespace(" ")
_ANCHORS: Final = (cst.Call, cst.Attribute, cst.For, cst.CompFor, cst.WithItem)
_SMALL: Final = (cst.SimpleStatementLine, cst.SimpleStatementSuite)
# Nothing in these is an expression or a statement.
_LEAVES: Final = frozenset(
    {
        cst.Name,
        cst.Integer,
        cst.SimpleString,
        cst.SimpleWhitespace,
        cst.TrailingWhitespace,
        cst.ParenthesizedWhitespace,
        cst.EmptyLine,
        cst.Newline,
        cst.Comma,
        cst.Dot,
        cst.AssignEqual,
        cst.LeftParen,
        cst.RightParen,
        cst.Import,
        cst.ImportFrom,
    }
)
# Of these the leftmost part is written first; whatever else stands first is its own token.
_LEFTMOST: Final[dict[type[cst.CSTNode], str]] = {
    cst.Call: "func",
    cst.Attribute: "value",
    cst.Subscript: "value",
    cst.BinaryOperation: "left",
    cst.BooleanOperation: "left",
    cst.Comparison: "left",
    cst.IfExp: "body",
    cst.ConcatenatedString: "left",
}
# What stands before the value of these is no keyword, so that it may begin as a word does.
_FREE: Final = frozenset(
    {cst.Expr, cst.Assign, cst.AnnAssign, cst.AugAssign, cst.Arg, cst.Element, cst.DictElement}
)
_WORDS: Final = (cst.Name, cst.Integer, cst.Float, cst.Imaginary, cst.Await, cst.Lambda, cst.Yield)


@final
@dataclass(frozen=True, slots=True)
class ImportPlace:
    """Where the import goes: a line of the module's body (or None), before or after what stands
    there. Ordinals before `bound` are evaluated before it."""

    line: int | None
    append: bool
    bound: int


class OutOfStep(Exception):
    """LibCST's tree does not have the statements that ``ast`` found, in the same order."""


class Inserter(cst.CSTTransformer):
    """Wraps what the sites name. `ordinal` and `statement` count as the facts of the module do, and
    only grow; `silenced` is above 0 inside of an f-string field that prints its own source."""

    def __init__(
        self,
        statements: Sequence[Marks],
        sites: Mapping[int, Sequence[tuple[Part, Site]]],
        bound: int,
    ) -> None:
        super().__init__()
        self.insertions = 0
        self._statements = statements
        self._sites = sites
        self._wanted = sorted(sites)
        self._bound = bound
        self._ordinal = 0
        self._statement = 0
        self._silenced = 0
        self._in_string = 0
        self._wraps: dict[int, list[tuple[Site, bool]]] = {}
        self._free: set[int] = set()

    def on_visit(self, node: cst.CSTNode) -> bool:
        if isinstance(node, _SMALL):
            return self._visit_line(len(node.body))
        if isinstance(node, cst.BaseCompoundStatement):
            mark = self._mark(self._statement)
            if not self._enter(mark.last, mark.following):
                return False
            self._statement += 1
        elif isinstance(node, cst.BaseSmallStatement):
            self._check()
            self._statement += 1
        elif isinstance(node, cst.FormattedString):
            self._in_string += 1
        elif isinstance(node, cst.FormattedStringExpression) and node.equal is not None:
            self._silenced += 1
        if isinstance(node, _ANCHORS):
            self._meet(node)
        self._note_free(node)
        return type(node) not in _LEAVES

    def on_leave(self, original_node: Any, updated_node: Any) -> Any:
        if isinstance(original_node, cst.FormattedString):
            self._in_string -= 1
        elif isinstance(original_node, cst.FormattedStringExpression) and original_node.equal:
            self._silenced -= 1
        wraps = self._wraps.pop(id(original_node), None)
        if wraps is None:
            return updated_node
        return self._wrapped(original_node, updated_node, wraps)

    def _mark(self, index: int) -> Marks:
        if index >= len(self._statements):
            raise OutOfStep(f"statement {index}")
        return self._statements[index]

    def _check(self) -> None:
        if self._mark(self._statement).first != self._ordinal:
            raise OutOfStep(f"statement {self._statement}")

    def _visit_line(self, length: int) -> bool:
        return self._enter(self._mark(self._statement + length - 1).last, self._statement + length)

    def _enter(self, last: int, following: int) -> bool:
        """Whether to walk on to the statement `following`; if not, be there at once."""
        self._check()
        first_wanted = bisect_left(self._wanted, self._ordinal)
        if first_wanted < len(self._wanted) and self._wanted[first_wanted] < last:
            return True
        self._statement, self._ordinal = following, last
        return False

    def _meet(self, node: Any) -> None:
        ordinal = self._ordinal
        self._ordinal += 1
        sites = self._sites.get(ordinal)
        if not sites or self._silenced:
            return
        by_import = ordinal < self._bound
        if by_import and self._in_string:
            return  # before Python 3.12 the quotes of __import__("...") may end the string
        for part, site in sites:
            child = _part(node, part)
            self._wraps.setdefault(id(child), []).append((site, by_import))

    def _note_free(self, node: Any) -> None:
        """Remember a child that no keyword stands directly before."""
        if type(node) in _FREE:
            self._free.add(id(node.value))
        elif isinstance(node, cst.For | cst.CompFor):
            if not node.whitespace_after_in.empty:
                self._free.add(id(node.iter))
        elif isinstance(node, cst.Return):
            if getattr(node.whitespace_after_return, "empty", True) is False:
                self._free.add(id(node.value))
        elif id(node) in self._free and type(node) in _LEFTMOST:
            self._free.add(id(getattr(node, _LEFTMOST[type(node)])))

    def _wrapped(self, original: Any, updated: Any, wraps: list[tuple[Site, bool]]) -> Any:
        outer = (updated.lpar, updated.rpar)
        inner = updated.with_changes(lpar=(), rpar=()) if updated.lpar else updated
        if isinstance(inner, cst.Tuple | cst.Yield | cst.GeneratorExp):
            inner = inner.with_changes(lpar=(cst.LeftParen(),), rpar=(cst.RightParen(),))
        elif not updated.lpar and id(original) not in self._free and not _begins_word(original):
            outer = ((cst.LeftParen(),), (cst.RightParen(),))
        for site, by_import in sorted(wraps, key=lambda wrap: wrap[0].number):
            inner = _call(site, inner, by_import)
            self.insertions += 1
        return inner.with_changes(lpar=outer[0], rpar=outer[1])


@contextmanager
def unvalidated() -> Iterator[None]:
    """LibCST without its own validation of nodes, which refuses some that are valid, or fails:
    ``not((a if b else c))``, ``a if(lambda: b)else c``. What it would find, comparing the syntax
    trees finds too."""
    native = cst.CSTNode.__post_init__
    cst.CSTNode.__post_init__ = lambda self: None  # type: ignore[method-assign]
    try:
        yield
    finally:
        cst.CSTNode.__post_init__ = native  # type: ignore[method-assign]


def _part(node: Any, part: Part) -> Any:
    if isinstance(node, cst.For | cst.CompFor):
        return node.iter
    if isinstance(node, cst.WithItem):
        return node.item
    if isinstance(node, cst.Attribute):
        return node.value
    if part == "receiver":
        return node.func.value
    if part == "callee":
        return node.func
    return node if part == "value" else node.args[part].value


def _begins_word(node: Any) -> bool:
    """Whether an expression begins as a word does, so that white space must stand before it."""
    while type(node) in _LEFTMOST:
        node = getattr(node, _LEFTMOST[type(node)])
        if node.lpar:
            return False
    if isinstance(node, cst.SimpleString | cst.FormattedString):
        return bool(node.prefix)
    return isinstance(node, _WORDS)


def _call(site: Site, value: Any, by_import: bool) -> cst.Call:
    base: cst.BaseExpression = cst.Name(PROBES)
    if by_import:
        quoted = cst.SimpleString(f'"{PROBES}"')
        base = cst.Call(cst.Name("__import__"), [cst.Arg(quoted)])
    number = cst.Arg(cst.Integer(str(site.number)), comma=cst.Comma(whitespace_after=_BLANK))
    return cst.Call(cst.Attribute(base, cst.Name(site.probe)), [number, cst.Arg(value)])


def import_place(
    module: cst.Module, statements: Sequence[Marks], ordinals: int, wanted: Sequence[int]
) -> ImportPlace:
    """Choose the line for the import: after docstring and ``__future__`` imports, else with the
    first simple statement, before it where that holds a site itself."""
    index = 0
    simple: ImportPlace | None = None
    for number, statement in enumerate(module.body):
        if isinstance(statement, cst.SimpleStatementLine):
            first, index = index, index + len(statement.body)
            if _is_future(statement) or (number == 0 and _is_docstring(statement)):
                simple = ImportPlace(number, True, statements[index - 1].last)
            elif simple is None:
                begin, end = statements[first].first, statements[index - 1].last
                append = bisect_left(wanted, begin) == bisect_left(wanted, end)
                simple = ImportPlace(number, append, end if append else begin)
        else:
            index = statements[index].following
    return simple or ImportPlace(None, True, ordinals)


def with_import(module: cst.Module, place: ImportPlace) -> cst.Module:
    """The module with ``import _tcstatic`` on the chosen line."""
    if place.line is None:
        return module
    line: Any = module.body[place.line]
    added = cst.Import([cst.ImportAlias(cst.Name(PROBES))])
    parting = cst.Semicolon(whitespace_after=_BLANK)
    if place.append:
        last = line.body[-1]
        if isinstance(last.semicolon, cst.Semicolon):
            tail = line.trailing_whitespace
            before: Any = last.semicolon.whitespace_after
            blank = cst.SimpleWhitespace(before.value + tail.whitespace.value)
            line = line.with_changes(trailing_whitespace=tail.with_changes(whitespace=blank))
        body = [*line.body[:-1], last.with_changes(semicolon=parting), added]
    else:
        body = [added.with_changes(semicolon=parting), *line.body]
    changed = list(module.body)
    changed[place.line] = line.with_changes(body=body)
    return module.with_changes(body=changed)


def _is_future(line: cst.SimpleStatementLine) -> bool:
    return any(
        isinstance(part, cst.ImportFrom)
        and isinstance(part.module, cst.Name)
        and part.module.value == "__future__"
        for part in line.body
    )


def _is_docstring(line: cst.SimpleStatementLine) -> bool:
    first = line.body[0]
    return isinstance(first, cst.Expr) and isinstance(
        first.value, cst.SimpleString | cst.ConcatenatedString
    )
