"""Text of a condition -> its tree, by a whitelist over Python's own syntax tree."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Collection
from typing import Final, NoReturn

from tcstatic.errors import ConditionError, input_problem
from tcstatic.invariants.conditions.tree import (
    And,
    Compare,
    Condition,
    Constant,
    Field,
    Has,
    Not,
    Operator,
    Or,
)

# Longer texts are no preconditions but accidents, and Python's parser recurses.
MAX_LENGTH: Final = 10_000

_OPERATORS: Final[dict[type[ast.cmpop], Operator]] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.In: "in",
    ast.NotIn: "in",
}
_MIRRORED: Final[dict[Operator, Operator]] = {
    "==": "==",
    "!=": "!=",
    "<": ">",
    "<=": ">=",
    ">": "<",
    ">=": "<=",
}


def parse(text: str, *, known: Collection[str] = ()) -> Condition:
    """Return the tree of `text`; raise ConditionError with one line that says what and where.

    With `known`, a field outside of it is refused, and the nearest name is suggested.
    """
    if not text.strip():
        raise ConditionError(input_problem("the condition is empty", expected="an expression"))
    if len(text) > MAX_LENGTH:
        raise ConditionError(
            input_problem(
                "the condition is too long",
                got=f"{len(text)} characters",
                expected=f"at most {MAX_LENGTH}",
            )
        )
    try:
        # Parentheses, so that a condition may be folded over several lines of yaml; an expression
        # that starts with ours has closed it: "a) or (b".
        body = ast.parse(f"({text}\n)", mode="eval").body
        if body.col_offset == 0 and not isinstance(body, ast.Tuple | ast.GeneratorExp):
            raise SyntaxError("unmatched ')'")
        return _Reader(text, frozenset(known)).condition(body)
    except (SyntaxError, ValueError) as error:
        reason = getattr(error, "msg", None) or str(error)
        raise ConditionError(
            input_problem(
                f"the condition {_shown(text)} is no expression ({reason})",
                expected="fields, constants, == != < <= > >= in, and, or, not",
            )
        ) from None
    except (RecursionError, MemoryError):
        raise ConditionError(
            input_problem(f"the condition {_shown(text)} is nested too deeply")
        ) from None


def _shown(text: str) -> str:
    line = " ".join(text.split())
    return repr(line if len(line) <= 80 else line[:77] + "...")


class _Reader:
    """Walks one expression; state: the text, for messages, and the fields that are allowed."""

    def __init__(self, text: str, known: frozenset[str]) -> None:
        self._text = text
        self._known = known

    def condition(self, node: ast.expr) -> Condition:
        match node:
            case ast.BoolOp(op=ast.And(), values=values):
                return And(tuple(map(self.condition, values)))
            case ast.BoolOp(op=ast.Or(), values=values):
                return Or(tuple(map(self.condition, values)))
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return Not(self.condition(operand))
            case ast.Compare(left=left, ops=operators, comparators=comparators):
                pairs = zip([left, *comparators], operators, comparators, strict=False)
                links = tuple(self._compare(node, one, op, other) for one, op, other in pairs)
                return links[0] if len(links) == 1 else And(links)
            case ast.Call(func=ast.Name(id="has"), args=[asked], keywords=[]):
                return Has(self._field(asked).name)
            case _ if _is_field(node):
                return self._field(node)
        self._refuse(node, "is not allowed", "a field, a comparison, and, or, not")

    def _compare(
        self, node: ast.Compare, left: ast.expr, operator: ast.cmpop, right: ast.expr
    ) -> Condition:
        if isinstance(operator, ast.Is | ast.IsNot):
            equals = "==" if isinstance(operator, ast.Is) else "!="
            self._refuse(node, "uses 'is'", f"'{equals}'")
        name = _OPERATORS[type(operator)]
        if name == "in":
            return self._membership(left, operator, right)
        if not _is_field(left):
            if not _is_field(right):
                self._refuse(node, "compares without a field", "a field on at least one side")
            return Compare(self._field(right), _MIRRORED[name], self._constant(left))
        if _is_field(right):
            return Compare(self._field(left), name, self._field(right))
        return Compare(self._field(left), name, self._constant(right))

    def _membership(self, left: ast.expr, operator: ast.cmpop, right: ast.expr) -> Condition:
        if not isinstance(right, ast.Tuple | ast.List):
            self._refuse(right, "stands after 'in'", "a tuple of constants")
        inside = Compare(self._field(left), "in", tuple(map(self._constant, right.elts)))
        return Not(inside) if isinstance(operator, ast.NotIn) else inside

    def _field(self, node: ast.expr) -> Field:
        if not _is_field(node):
            self._refuse(node, "is no field", "a name, with or without dots")
        name = ast.unparse(node)
        if self._known and name not in self._known:
            near = difflib.get_close_matches(name, sorted(self._known), n=1)
            raise ConditionError(
                input_problem(
                    f"unknown field {name!r} in the condition {_shown(self._text)}",
                    expected="one of " + ", ".join(sorted(self._known)),
                    cure=f"did you mean {near[0]!r}?" if near else "",
                )
            )
        return Field(name)

    def _constant(self, node: ast.expr) -> Constant:
        match node:
            case ast.Constant(value=bool() | int() | float() | str() | None as value):
                return Constant(value)
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
                if not isinstance(value, bool):
                    return Constant(-value)
        self._refuse(node, "is no constant", "a number, a string, True, False or None")

    def _refuse(self, node: ast.expr, problem: str, expected: str) -> NoReturn:
        raise ConditionError(
            input_problem(
                f"{_shown(ast.unparse(node))} {problem} in the condition {_shown(self._text)}",
                expected=expected,
            )
        )


def _is_field(node: ast.expr) -> bool:
    if isinstance(node, ast.Call):
        return _across_witnesses(node)
    while isinstance(node, ast.Attribute):
        node = node.value
    return isinstance(node, ast.Name)


def _across_witnesses(node: ast.Call) -> bool:
    """Whether this is ``same(x)`` or ``distinct(x)``: the name of a field."""
    match node:
        case ast.Call(func=ast.Name(id="same" | "distinct"), args=[asked], keywords=[]):
            return not isinstance(asked, ast.Call) and _is_field(asked)
    return False
