"""``[tool.tcstatic]`` of the nearest pyproject.toml -> settings; unknown keys are refused."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn, final

from tcstatic.errors import InputError, input_problem

FILE: Final = "pyproject.toml"
OUTPUT_FORMATS: Final = ("text", "json", "sarif", "github", "concise")
_LISTS: Final = ("select", "ignore", "extend-select", "exclude", "rules")
_TEXTS: Final = ("baseline", "output-format", "torch")
KEYS: Final = tuple(sorted((*_LISTS, *_TEXTS, "per-file-ignores")))
_REQUIREMENT: Final = re.compile(r"torch\s*(?:\[[^\]]*\]\s*)?\(?\s*([<>=!~][^;)]*)?", re.IGNORECASE)


@final
@dataclass(frozen=True, slots=True)
class Settings:
    """What a project asks of `lint`. `file` is where it says so ('' where nothing does).

    Paths and patterns count from the folder of `file`. `torch` are the versions that the project
    runs on, as in a requirement ('' where it does not say).
    """

    file: str = ""
    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    extend_select: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    per_file_ignores: tuple[tuple[str, tuple[str, ...]], ...] = ()
    baseline: str = ""
    rules: tuple[str, ...] = ()
    output_format: str = ""
    torch: str = ""

    @property
    def folder(self) -> Path:
        """Return the folder that paths and patterns count from."""
        return Path(self.file).parent


def settings_for(folder: Path) -> Settings:
    """Return the settings of the nearest file at or above `folder` that has some."""
    for one in (folder, *folder.parents):
        found = _of_folder(one)
        if found is not None:
            return found
    return Settings()


@functools.cache
def _of_folder(folder: Path) -> Settings | None:
    path = folder / FILE
    try:
        content = path.read_bytes()
    except OSError:
        return None
    if b"tcstatic" not in content:
        return None
    import tomllib

    try:
        data = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(input_problem(f"no valid TOML ({error})", where=str(path))) from None
    tools = data.get("tool")
    table = tools.get("tcstatic") if isinstance(tools, dict) else None
    if table is None:
        return None
    return _Reader(path, content.decode(), table).settings(_required_torch(data))


class _Reader:
    """Reads one table; state: the file, its text, and the table."""

    def __init__(self, path: Path, text: str, table: Any) -> None:
        self._path = path
        self._text = text
        if not isinstance(table, dict):
            self._refuse("", "[tool.tcstatic]", got=repr(table)[:60], expected="a table")
        self._table: dict[str, Any] = table

    def settings(self, required_torch: str) -> Settings:
        for key in self._table:
            if key not in KEYS:
                self._refuse(
                    key,
                    f"unknown key {key!r} in [tool.tcstatic]",
                    expected="one of " + ", ".join(KEYS),
                    cure=near(key.replace("_", "-"), KEYS),
                )
        return Settings(
            file=str(self._path),
            select=self._words("select"),
            ignore=self._words("ignore"),
            extend_select=self._words("extend-select"),
            exclude=self._words("exclude"),
            per_file_ignores=self._per_file(),
            baseline=self._word("baseline"),
            rules=self._words("rules"),
            output_format=self._format(),
            torch=self._torch() or required_torch,
        )

    def _words(self, key: str) -> tuple[str, ...]:
        return self._checked(key, self._table.get(key, []))

    def _checked(self, key: str, value: Any) -> tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
            self._refuse(key, repr(key), got=repr(value)[:60], expected="a list of texts")
        return tuple(value)

    def _word(self, key: str) -> str:
        value = self._table.get(key, "")
        if not isinstance(value, str) or (key in self._table and not value):
            self._refuse(key, repr(key), got=repr(value)[:60], expected="text")
        return str(value)

    def _format(self) -> str:
        value = self._word("output-format")
        if value and value not in OUTPUT_FORMATS:
            expected = "one of " + ", ".join(OUTPUT_FORMATS)
            cure = near(value, OUTPUT_FORMATS)
            self._refuse(
                "output-format", "'output-format'", got=repr(value), expected=expected, cure=cure
            )
        return value

    def _torch(self) -> str:
        value = self._word("torch")
        if value and not valid_versions(value):
            expected = "a version or a range, as in '2.4' or '>=2.1,<2.6'"
            self._refuse("torch", "'torch'", got=repr(value), expected=expected)
        return value

    def _per_file(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        table = self._table.get("per-file-ignores", {})
        if not isinstance(table, dict):
            expected = "a table of patterns, each with a list of rules"
            self._refuse(
                "per-file-ignores", "'per-file-ignores'", got=repr(table)[:60], expected=expected
            )
        return tuple((pattern, self._checked(pattern, words)) for pattern, words in table.items())

    def _refuse(
        self, key: str, what: str, *, got: str = "", expected: str = "", cure: str = ""
    ) -> NoReturn:
        line = _line_of(key or "tcstatic", self._text)
        where = f"{self._path}:{line}" if line else str(self._path)
        raise InputError(input_problem(what, where=where, got=got, expected=expected, cure=cure))


def _line_of(key: str, text: str) -> int:
    """The line on which a key stands, below the head of our table; 0 where it is not found."""
    begun = False
    for number, line in enumerate(text.splitlines(), 1):
        begun = begun or "tool.tcstatic" in line or (line.strip() == "[tool]")
        if begun and re.match(rf"\s*(\[.*)?[\"']?{re.escape(key)}[\"']?\s*([=.\]])", line):
            return number
    return 0


def near(word: str, known: tuple[str, ...]) -> str:
    """Return the cure for a word that is almost a known one, or ''."""
    close = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {close[0]!r}?" if close else ""


def _required_torch(data: Mapping[str, Any]) -> str:
    """What the project itself says that it needs of torch, or ''."""
    project = data.get("project")
    wanted = project.get("dependencies") if isinstance(project, dict) else None
    for one in wanted if isinstance(wanted, list) else ():
        found = _REQUIREMENT.match(one.strip()) if isinstance(one, str) else None
        if found and found[1] and valid_versions(found[1].strip()):
            return str(found[1].strip())
    return ""


def valid_versions(text: str) -> bool:
    """Return whether `text` is a version or a range of versions."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        SpecifierSet(as_range(text))
    except InvalidSpecifier:
        return False
    return True


def as_range(text: str) -> str:
    """Return a range as it stands; of a bare version, the range of its patches."""
    return text if text[:1] in "<>=!~" else f"=={text.strip().removesuffix('.*')}.*"


def concerns(rule: str, project: str) -> bool:
    """Return whether a rule about some versions of torch matters to a project on others."""
    if not rule or not project:
        return True
    from packaging.specifiers import SpecifierSet

    both = SpecifierSet(f"{rule},{as_range(project)}")
    return any(f"{major}.{minor}.{patch}" in both for major, minor, patch in _releases())


@functools.cache
def _releases() -> tuple[tuple[int, int, int], ...]:
    """Versions that exist or may come; what lies between two of them decides nothing."""
    return tuple(
        (major, minor, patch)
        for major, minors in ((1, 14), (2, 40), (3, 20))
        for minor in range(minors)
        for patch in range(3)
    )
