"""The schema of a rule: one mapping -> one invariant, or one line that says what is wrong."""

from __future__ import annotations

import difflib
import re
import string
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, NoReturn, get_args

from tcstatic.errors import ConditionError, InputError, RuleError, input_problem
from tcstatic.invariants.conditions import parse
from tcstatic.invariants.rules.reading import Document, KeyPath
from tcstatic.model import EVENT_KINDS, Blame, Example, Feed, Invariant, Severity, Support

CheckParams = Callable[[str, Mapping[str, Any]], None]

REQUIRED: Final = ("code", "name", "relation", "that", "severity", "message", "why", "cure")
LINT: Final = ("that", "when", "unless", "message", "blame")
OPTIONAL: Final = (
    "when unless doubt blame explains references examples status feeds sometimes fix torch "
    "lint seen support".split()
)
SUPPORT: Final = ("held", "contexts", "excluded", "runs")
FEEDS: Final[tuple[Feed, ...]] = get_args(Feed)
CODE: Final = re.compile(r"[A-Z]{2,4}\d{3,5}", re.ASCII)
_NAME: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_STATUS: Final = re.compile(r"preview|learnt|stable since \d+(\.\d+)*", re.ASCII)
_TORCH: Final = re.compile(r"(>=|<=|==|!=|<|>|~=)\d+(\.\d+)*(, *(>=|<=|==|!=|<|>|~=)\d+(\.\d+)*)*")
_MAX_RANKS: Final = 8
MOST_TOLD: Final = 400  # characters of what is wrong
_KINDS: Final[dict[type, str]] = {
    str: "text",
    int: "a whole number",
    list: "a list",
    dict: "a mapping",
}


def to_invariant(document: Document, path: KeyPath, schema: CheckParams | None) -> Invariant:
    """Return the invariant at `path`; `schema` judges the parameters of its relation."""
    return _RuleReader(document, path).invariant(schema)


class _RuleReader:
    """Reads one rule; state: the document, and the path of the rule within it."""

    def __init__(self, document: Document, path: KeyPath) -> None:
        self._document = document
        self._path = path
        value: Any = document.value
        for key in path:
            value = value[key]
        if not isinstance(value, dict):
            self._refuse((), "a rule", got=_described(value), expected="a mapping")
        self._rule: dict[str, Any] = value

    def invariant(self, schema: CheckParams | None) -> Invariant:
        self._check_keys(self._rule, (), REQUIRED, OPTIONAL)
        code = self._matching(
            "code", CODE, "two to four capitals and three to five digits, as in TCS112"
        )
        name = self._matching("name", _NAME, "lower-case words joined by '-'")
        relation = self._text(self._rule, ("relation",))
        severity = self._choice(("severity",), get_args(Severity))
        message = self._text(self._rule, ("message",))
        self._check_placeholders(message)
        return Invariant(
            code=code,
            name=name,
            relation=relation,
            params=self._params(relation, schema),
            severity=severity,
            message=message,
            why=self._text(self._rule, ("why",)),
            cure=self._text(self._rule, ("cure",)),
            when=self._condition(self._rule, ("when",)),
            unless=self._condition(self._rule, ("unless",)),
            doubt=self._condition(self._rule, ("doubt",)),
            blame=self._blame(),
            explains=self._codes(code),
            references=self._texts(("references",)),
            examples=self._examples(),
            status=self._optional(
                "status", _STATUS, "'preview', 'learnt' or 'stable since VERSION'"
            )
            or "preview",
            feeds=self._feeds(),
            sometimes=self._choice(("sometimes",), ("warning", "note"))
            if "sometimes" in self._rule
            else "",
            fix=self._optional("fix", _NAME, "the name of a fix: lower-case words joined by '-'"),
            torch=self._optional("torch", _TORCH, "versions, as in '>=2.0,<2.6'"),
            lint=self._lint(relation, schema) if "lint" in self._rule else {},
            seen=self._condition(self._rule, ("seen",)),
            support=self._support() if "support" in self._rule else None,
            source=self._document.where(self._path),
        )

    def _params(self, relation: str, schema: CheckParams | None) -> dict[str, Any]:
        params = self._of_kind(self._rule, ("that",), dict)
        if schema is not None:
            try:
                schema(relation, params)
            except (ValueError, InputError) as error:
                self._refuse(self._blamed_key(str(error)), str(error))
            except Exception as error:
                self._refuse(("that",), f"{relation} cannot have these parameters ({error!r})")
        return dict(params)

    def _lint(self, relation: str, schema: CheckParams | None) -> dict[str, Any]:
        """What the rule says otherwise where the source decides."""
        given = self._of_kind(self._rule, ("lint",), dict)
        self._check_keys(given, ("lint",), (), LINT)
        found: dict[str, Any] = {}
        if "that" in given:
            found["that"] = dict(self._of_kind(given, ("lint", "that"), dict))
            if schema is not None:
                try:
                    schema(relation, found["that"])
                except (ValueError, InputError) as error:
                    self._refuse(("lint", "that"), str(error))
        for key in ("when", "unless"):
            if key in given:
                dropped = given[key] == {"when": "always", "unless": "never"}[key]
                found[key] = "" if dropped else self._condition(given, ("lint", key))
        if "message" in given:
            found["message"] = self._text(given, ("lint", "message"))
            self._check_placeholders(found["message"])
        if "blame" in given:
            found["blame"] = [
                {"at": one.at, "when": one.when} for one in self._blame(("lint", "blame"), given)
            ]
        return found

    def _support(self) -> Support:
        """What an inferred rule rests on."""
        given = self._of_kind(self._rule, ("support",), dict)
        self._check_keys(given, ("support",), SUPPORT, ())
        held, contexts, excluded = (self._count(given, ("support", key)) for key in SUPPORT[:3])
        runs = self._of_kind(given, ("support", "runs"), list)
        for number, run in enumerate(runs):
            if not isinstance(run, str):
                path = ("support", "runs", number)
                self._refuse(path, "a run", got=_described(run), expected="text")
        return Support(held, contexts, excluded, tuple(runs))

    def _count(self, item: Mapping[str, Any], path: KeyPath) -> int:
        number = int(self._of_kind(item, path, int))
        if number < 0:
            self._refuse(path, f"{path[-1]!r}", got=str(number)[:60], expected="0 or more")
        return number

    def _blamed_key(self, problem: str) -> KeyPath:
        """The first key under `that` that the relation's message names, else `that` itself."""
        if "unknown relation" in problem:
            return ("relation",)
        inside = (*self._path, "that")
        for path in self._document.lines:
            if path[: len(inside)] != inside or path == inside:
                continue
            if f"'{path[-1]}'" in problem or problem.startswith(f"{path[-1]}: "):
                return path[len(self._path) :]
        return ("that",)

    def _blame(
        self, where: KeyPath = ("blame",), within: Mapping[str, Any] | None = None
    ) -> tuple[Blame, ...]:
        found = []
        for path, item in self._mappings(where, within):
            self._check_keys(item, path, ("at",), ("when",))
            at = self._text(item, (*path, "at"))
            if at not in EVENT_KINDS:
                self._refuse(
                    (*path, "at"),
                    f"unknown event kind {at!r}",
                    expected="one of the event kinds",
                    cure=_near(at, EVENT_KINDS),
                )
            found.append(Blame(at, self._condition(item, (*path, "when"))))
        return tuple(found)

    def _examples(self) -> tuple[Example, ...]:
        found = []
        for path, item in self._mappings(("examples",)):
            kinds = [kind for kind in ("bad", "good") if kind in item]
            if len(kinds) != 1:
                self._refuse(
                    path,
                    "an example is either bad or good",
                    got=", ".join(kinds or sorted(item)),
                    expected="exactly one of bad, good",
                )
            kind = kinds[0]
            self._check_keys(item, path, (kind,), ("title", "ranks"))
            text = self._text(item, (*path, kind), strip=False)
            title = self._text(item, (*path, "title")) if "title" in item else ""
            example_kind: Any = kind
            found.append(Example(example_kind, text, title, self._ranks(item, path)))
        return tuple(found)

    def _ranks(self, item: Mapping[str, Any], path: KeyPath) -> int:
        if "ranks" not in item:
            return 1
        ranks = self._of_kind(item, (*path, "ranks"), int)
        if not 1 <= ranks <= _MAX_RANKS:
            self._refuse((*path, "ranks"), "ranks", got=str(ranks), expected=f"1 to {_MAX_RANKS}")
        return int(ranks)

    def _feeds(self) -> tuple[Feed, ...]:
        words = self._texts(("feeds",))
        for number, word in enumerate(words):
            if word not in FEEDS or word in words[:number]:
                self._refuse(
                    ("feeds", number),
                    "'feeds'",
                    got=repr(word),
                    expected="each of lint, run at most once",
                    cure=_near(word, FEEDS),
                )
        return tuple(one for one in FEEDS if one in words) or FEEDS

    def _codes(self, own: str) -> tuple[str, ...]:
        codes = self._texts(("explains",))
        for number, code in enumerate(codes):
            if not CODE.fullmatch(code) or code == own:
                self._refuse(
                    ("explains", number),
                    f"'explains' names {code!r}",
                    expected="codes of other rules, as in TCS112",
                )
        return codes

    def _check_placeholders(self, message: str) -> None:
        try:
            fields = [
                name + (f"!{conversion}" if conversion else "") + (f":{form}" if form else "")
                for _, name, form, conversion in string.Formatter().parse(message)
                if name is not None
            ]
        except ValueError as error:
            self._refuse(("message",), f"the message has a broken placeholder ({error})")
        for field in fields:
            if not field.isidentifier():
                self._refuse(
                    ("message",),
                    f"the message has the placeholder {'{' + field[:60] + '}'!r}",
                    expected="a name in braces, as in {optimizer}",
                )

    def _condition(self, item: Mapping[str, Any], path: KeyPath) -> str:
        if path[-1] not in item:
            return ""
        text = self._text(item, path)
        try:
            parse(text)
        except ConditionError as error:
            self._refuse(path, str(error))
        return text

    def _check_keys(
        self,
        item: Mapping[str, Any],
        path: KeyPath,
        required: Collection[str],
        optional: Collection[str],
    ) -> None:
        known = sorted({*required, *optional})
        for key, value in item.items():
            if key not in known:
                self._refuse(
                    (*path, key),
                    f"unknown key {key!r}",
                    expected="one of " + ", ".join(known),
                    cure=_near(key, known),
                )
            if value is None or value == "" or value == [] or value == {}:
                self._refuse(
                    (*path, key), f"the key {key!r} is empty", expected="a value, or no key"
                )
        for key in required:
            if key not in item:
                self._refuse(path, f"the key {key!r} is missing")

    def _mappings(
        self, path: KeyPath, within: Mapping[str, Any] | None = None
    ) -> list[tuple[KeyPath, dict[str, Any]]]:
        holder = self._rule if within is None else within
        if path[-1] not in holder:
            return []
        items = self._of_kind(holder, path, list)
        for number, item in enumerate(items):
            if not isinstance(item, dict):
                self._refuse((*path, number), "an item", got=_described(item), expected="a mapping")
        return [((*path, number), item) for number, item in enumerate(items)]

    def _texts(self, path: KeyPath) -> tuple[str, ...]:
        if path[-1] not in self._rule:
            return ()
        items = self._of_kind(self._rule, path, list)
        for number, item in enumerate(items):
            if not isinstance(item, str) or not item.strip():
                self._refuse((*path, number), "an item", got=_described(item), expected="text")
        return tuple(items)

    def _text(self, item: Mapping[str, Any], path: KeyPath, *, strip: bool = True) -> str:
        """The text at `path`; prose is folded into one line."""
        text = str(self._of_kind(item, path, str))
        if not text.strip():
            self._refuse(path, f"the key {path[-1]!r} is empty", expected="a value, or no key")
        return " ".join(text.split()) if strip else text

    def _matching(self, key: str, pattern: re.Pattern[str], expected: str) -> str:
        text = self._text(self._rule, (key,))
        if not pattern.fullmatch(text):
            self._refuse((key,), key, got=repr(text), expected=expected)
        return text

    def _optional(self, key: str, pattern: re.Pattern[str], expected: str) -> str:
        return self._matching(key, pattern, expected) if key in self._rule else ""

    def _choice(self, path: KeyPath, choices: tuple[Any, ...]) -> Any:
        text = self._text(self._rule, path)
        if text not in choices:
            self._refuse(
                path,
                str(path[-1]),
                got=repr(text),
                expected="one of " + ", ".join(choices),
                cure=_near(text, choices),
            )
        return text

    def _of_kind(self, item: Mapping[str, Any], path: KeyPath, kind: type) -> Any:
        value = item[str(path[-1])]
        if not isinstance(value, kind) or isinstance(value, bool):
            self._refuse(path, f"{path[-1]!r}", got=_described(value), expected=_KINDS[kind])
        return value

    def _refuse(
        self, path: KeyPath, what: str, *, got: str = "", expected: str = "", cure: str = ""
    ) -> NoReturn:
        where = self._document.where((*self._path, *path))
        problem = input_problem(
            _cut(what), where=where, got=_cut(got), expected=expected, cure=_cut(cure)
        )
        raise RuleError(" ".join(problem.split()))


def _near(word: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(word, sorted(known), n=1)
    return f"did you mean {near[0]!r}?" if near else ""


def _cut(text: str) -> str:
    """What a line may hold of a text that a file gives: its begin and its end."""
    half = MOST_TOLD // 2
    return text if len(text) <= MOST_TOLD else f"{text[:half]}...{text[-half:]}"


def _described(value: Any) -> str:
    for kind in (dict, list):
        if isinstance(value, kind):
            return _KINDS[kind]
    return repr(value)[:60]
