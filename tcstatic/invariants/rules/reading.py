"""yaml -> plain values with the line of every key. Strict: no anchors, tags, or duplicate keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn, final

import yaml

from tcstatic.errors import RuleError, input_problem
from tcstatic.invariants.rules.files import read_bytes

KeyPath = tuple[str | int, ...]

# Rules nest four deep; the limit keeps us from Python's recursion limit.
MAX_DEPTH: Final = 20
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG: Final = "tag:yaml.org,2002:"


@final
@dataclass(frozen=True, slots=True)
class Document:
    """The value of a rule file, and the line (from 1) at which each key or item starts."""

    file: str
    value: Any
    lines: Mapping[KeyPath, int] = field(default_factory=dict)

    def where(self, path: KeyPath) -> str:
        """Return ``file:line`` of the key at `path`, or of the nearest one around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return f"{self.file}:{self.lines.get(path, 1)}"


def read_document(file: Path) -> Document:
    """Return the content of one rule file; raise RuleError with file and line."""
    content = read_bytes(file)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise RuleError(
            input_problem(
                "the rule file is not UTF-8 text",
                where=f"{file}:{line}",
                got=f"the byte 0x{content[error.start]:02x}",
            )
        ) from None
    reader = _Reader(str(file), text)
    try:
        return reader.document()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{file}:{mark.line + 1}" if mark else str(file)
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
        context = getattr(error, "context", None)
        reason = f"{context}: {problem}" if context else str(problem)
        reason = " ".join(reason.split())
        raise RuleError(input_problem(f"no valid yaml ({reason})", where=where)) from None


class _Reader:
    """Builds values from yaml's event stream; state: the stream and the lines seen so far."""

    def __init__(self, file: str, text: str) -> None:
        self._file = file
        self._lines: dict[KeyPath, int] = {}
        self._events: Iterator[Any] = yaml.parse(text, Loader=_LOADER)
        self._scalars: Any = yaml.SafeLoader("")

    def document(self) -> Document:
        next(self._events)  # the start of the stream
        if isinstance(next(self._events), yaml.StreamEndEvent):
            raise RuleError(input_problem("the rule file holds no rule", where=self._file))
        value = self._value(next(self._events), ())
        next(self._events)  # the end of the document
        event = next(self._events)
        if not isinstance(event, yaml.StreamEndEvent):
            self._refuse(event, "a second document", "one document a file; use a list of rules")
        return Document(self._file, value, self._lines)

    def _value(self, event: Any, path: KeyPath) -> Any:
        self._check(event, path)
        self._lines.setdefault(path, _line(event))
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(path)
        return self._mapping(path)

    def _sequence(self, path: KeyPath) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._value(event, (*path, len(items))))
        return items

    def _mapping(self, path: KeyPath) -> dict[str, Any]:
        values: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            self._check(event, path)
            if not isinstance(event, yaml.ScalarEvent) or event.value == "<<":
                self._refuse(event, "this key is no plain word", "a name")
            key = event.value
            if key in values:
                first = self._lines[(*path, key)]
                self._refuse(event, f"duplicate key {key!r}", f"it once (first in line {first})")
            self._lines[(*path, key)] = _line(event)
            values[key] = self._value(next(self._events), (*path, key))
        return values

    def _check(self, event: Any, path: KeyPath) -> None:
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            self._refuse(event, "anchors and aliases are not allowed", "the value itself")
        if event.tag is not None and event.tag != f"{_TAG}str":
            self._refuse(event, f"the tag {event.tag!r} is not allowed", "a plain value")
        if len(path) > MAX_DEPTH:
            self._refuse(event, "nested too deeply", f"at most {MAX_DEPTH} levels")

    def _scalar(self, event: Any) -> Any:
        text = event.value
        tag = self._scalars.resolve(yaml.ScalarNode, text, event.implicit)
        kind = tag.removeprefix(_TAG)
        if event.tag is not None or kind == "str":
            return text
        construct = {
            "null": self._scalars.construct_yaml_null,
            "bool": self._scalars.construct_yaml_bool,
            "int": self._scalars.construct_yaml_int,
            "float": self._scalars.construct_yaml_float,
        }.get(kind)
        try:
            if construct is not None:
                return construct(yaml.ScalarNode(tag, text))
        except ValueError:
            pass
        self._refuse(event, f"{text[:40]!r} is read as a {kind}", "text in quotes")

    def _refuse(self, event: Any, problem: str, expected: str) -> NoReturn:
        where = f"{self._file}:{_line(event)}"
        raise RuleError(input_problem(problem, where=where, expected=expected))


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1
