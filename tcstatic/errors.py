"""Every exception that tcstatic raises on purpose. The exit code sits on the class."""

from __future__ import annotations

from typing import ClassVar


class TcstaticError(Exception):
    """Base of all errors that are printed as one line, without a traceback.

    The text follows one grammar: what, where, got, expected, cure.
    """

    exit_code: ClassVar[int] = 3


class InputError(TcstaticError):
    """The user's input (a path, an option, a rule file, a script) cannot be used."""

    exit_code: ClassVar[int] = 2


class RuleError(InputError):
    """A rule file does not follow the schema; carries file and line in its text."""


class PlanError(InputError):
    """A compiled plan is missing, damaged, or of another version."""


class ConditionError(InputError):
    """The text of a precondition cannot be parsed."""


class Unlearnable(TcstaticError):
    """No precondition rejects all negative examples and covers a positive one; says why."""


class Undecided(TcstaticError):
    """The solver gave up within its work limit: neither yes nor no."""


def input_problem(
    what: str, *, where: str = "", got: str = "", expected: str = "", cure: str = ""
) -> str:
    """Return one line in the grammar of all messages: where, what, got, expected, cure."""
    line = f"{where}: {what}" if where else what
    if got:
        line += f", got {got}"
    if expected:
        line += f"; expected {expected}"
    if cure:
        line += f"; {cure}"
    return line
