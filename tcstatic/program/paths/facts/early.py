"""Transforms that have seen all rows before these are parted into some to train on and some to
evaluate with.

What is looked at is the text of one function, statement by statement: what is fitted on a whole
table, what is made by it, and whether that is parted behind it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, final

from tcstatic.program.paths import wording
from tcstatic.program.paths.facts.divisions import Divisions
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import Module, statements_in
from tcstatic.program.paths.tree import Block
from tcstatic.program.paths.values import Place
from tcstatic.program.source import syntax

_WORTH: Final = re.compile(r"\b(sklearn|imblearn|category_encoders)\b")
# What chooses or makes columns by looking at the labels.
_SUPERVISED: Final = frozenset(
    """SelectKBest SelectPercentile SelectFpr SelectFdr SelectFwe GenericUnivariateSelect RFE RFECV
    SelectFromModel SequentialFeatureSelector LinearDiscriminantAnalysis TargetEncoder
    NeighborhoodComponentsAnalysis PLSRegression""".split()
)
_SCORES: Final = frozenset(
    """mutual_info_classif mutual_info_regression f_classif f_regression r_regression
    chi2""".split()
)
_OVERSAMPLES: Final = frozenset(
    """SMOTE SMOTEN SMOTENC BorderlineSMOTE SVMSMOTE KMeansSMOTE ADASYN RandomOverSampler SMOTEENN
    SMOTETomek""".split()
)
_UNSUPERVISED: Final = frozenset(
    """StandardScaler MinMaxScaler MaxAbsScaler RobustScaler QuantileTransformer PowerTransformer
    PCA IncrementalPCA KernelPCA SparsePCA TruncatedSVD FastICA FactorAnalysis NMF SimpleImputer
    KNNImputer IterativeImputer""".split()
)
_CHAINS: Final = frozenset({"make_pipeline", "Pipeline", "ColumnTransformer"})
_FITS: Final = frozenset({"fit", "fit_transform", "fit_resample", "fit_sample"})
# What gives a table again.
_APPLIES: Final = frozenset({"transform", "index_select", "take", "drop"})
# What keeps all rows of a table.
_WHOLE: Final = frozenset(
    "values to_numpy drop copy fillna astype numpy cpu float double ravel toarray".split()
)
# The rows of one class are not set apart from those of another.
_LABELS: Final = re.compile(r"label|target|class|outcome|\b_?y_?\b", re.IGNORECASE)
_COLUMNS: Final = re.compile(r"col|feat|name|num(eric|erical)?$", re.IGNORECASE)
# Names of rows that were set apart before.
_APART: Final = re.compile(
    r"(^|_)(x|y)?(train(ing|_?val)?|trn?|dev|test|val|fit|fold|sub(set)?|batch|sample)(_|\d|$)"
    r"|^[xy](tr|te)(n|st)?$|tr$|pretrain|reference|source",
    re.IGNORECASE,
)
_RESAMPLE: Final = re.compile(r"from sklearn\.utils import [^#\n]*\bresample\b")
Kind = str
SELECTED: Final = "selected_early"
SCALED: Final = "scaled_early"


@final
@dataclass(frozen=True, slots=True)
class Fit:
    """A statement that fits something on all rows: what it is, of which kind, and the names of
    the table and of the labels that it is given."""

    statement: syntax.stmt
    name: str
    kind: Kind
    table: str
    labels: str


_Found = tuple[Fit, str, int]


@surveys
def early(m: Machine, block: Block) -> None:
    """``selected_early``, or ``scaled_early``, of what is fitted on all rows that are parted
    behind it: the first with their labels, or more of them than there are, the second without."""
    for module, (fit, function, line) in wording.found(block, _WORTH, _in_module):
        place = Place(module, fit.statement, function)
        tell(block, fit.kind, place, name=fit.name, parted_at=line)


def _in_module(module: Module) -> Iterator[_Found]:
    resamples = _RESAMPLE.search(module.text.text) is not None
    for node in (module.tree, *statements_in(module.tree)):
        if isinstance(node, syntax.Module | syntax.FunctionDef | syntax.AsyncFunctionDef):
            scope = _Scope(list(wording.own(node.body)), resamples)
            for fit, line in scope.found():
                yield fit, getattr(node, "name", ""), line


@final
@dataclass(slots=True)
class _Scope:
    """One function, or the statements of a module.

    `makers` are names of transforms by what they are, `apart` names of rows that were set apart
    from others, `made` names that a fit on all rows had a hand in, `columns` those of them that
    are about its columns, or are what was fitted; `sources` all that a name was made of, `refitted`
    what is fitted on rows that were set apart.
    """

    statements: list[syntax.stmt]
    resamples: bool
    makers: dict[str, tuple[str, Kind]] = field(default_factory=dict)
    apart: set[str] = field(default_factory=set)
    made: dict[str, Fit] = field(default_factory=dict)
    columns: set[str] = field(default_factory=set)
    sources: dict[str, set[str]] = field(default_factory=dict)
    refitted: set[str] = field(default_factory=set)

    def found(self) -> Iterator[tuple[Fit, int]]:
        """The fits behind which the rows are parted, each with the line that does so."""
        divisions = Divisions(self.statements)
        told: dict[int, tuple[Fit, int]] = {}
        for statement in self.statements:
            for name, line in divisions.at(statement, self.made.keys(), self.columns):
                if self._is_parted(statement, name):
                    told.setdefault(id(self.made[name].statement), (self.made[name], line))
            self._note(statement)
        for fit, line in told.values():
            if fit.kind != SCALED or fit.name not in self.refitted:
                yield fit, line

    def _is_parted(self, statement: syntax.stmt, name: str) -> bool:
        """Whether a division that names what a fit had a hand in is one of the table that it was
        fitted on, with the labels that it was given."""
        fit = self.made[name]
        used = {name for one in wording.expressions(statement) for name in wording.names(one)}
        if name in self.columns and not self._meets(used - self.columns, fit.table):
            return False
        if not fit.labels or fit.name in _OVERSAMPLES:
            return True
        return all(
            self._meets({name for one in call.args[1:] for name in _roots(one)}, fit.labels)
            for call in wording.calls(statement)
            if wording.called(call) == "train_test_split" and len(call.args) > 1
        )

    def _meets(self, names: set[str], table: str) -> bool:
        """Whether one of some names is that of a table, or of what it was made of, or is made of
        that."""
        behind = self.sources.get(table, set())
        return any(
            name == table
            or table in self.sources.get(name, ())
            or (name in self.sources and name in behind)
            for name in names
        )

    def _note(self, statement: syntax.stmt) -> None:
        """Go past a statement."""
        values, fit = _values(statement), self._fit(statement)
        used = {name for value in values for name in _roots(value)}
        is_part = any(map(self._is_part, values)) or Divisions.parts(statement)
        is_of_columns = self._is_of_columns(values, used)
        hands = [
            self.made[name]
            for name in sorted(used & self.made.keys())
            if is_of_columns
            or name not in self.columns
            or self._meets(used - self.columns, self.made[name].table)
        ]
        if fit is not None:
            is_of_columns = fit.name in _SCORES or any(wording.called(v) == "fit" for v in values)
        behind = used.union(*(self.sources.get(name, ()) for name in used))
        for name in wording.bound(statement):
            if not isinstance(statement, syntax.AugAssign):
                self._forget(name)
            self.sources[name] = behind | self.sources.get(name, set())
            if is_part:
                self.apart.add(name)
            elif fit is not None or hands:
                self.made[name] = fit or hands[0]
                self.columns.update([name] if is_of_columns else [])
        for name, value in wording.pairs(statement):
            maker = self._maker(value)
            if maker is not None:
                self.makers[name] = maker
        for call in wording.calls(statement) if fit is not None else ():
            holder = wording.name(getattr(call.func, "value", None))
            if fit is not None and holder in self.makers and wording.called(call) in _FITS:
                self.made[holder] = fit
                self.columns.add(holder)

    def _forget(self, name: str) -> None:
        self.makers.pop(name, None)
        self.made.pop(name, None)
        self.columns.discard(name)
        self.apart.discard(name)
        self.sources.pop(name, None)

    def _is_of_columns(self, values: list[syntax.expr], used: set[str]) -> bool:
        """Whether values are made of what is known of columns, and of no table."""
        parts = [one for value in values for one in syntax.walk(value)]
        if any(wording.called(one) in _APPLIES for one in parts):
            return False
        tables = (wording.name(one.value) for one in parts if isinstance(one, syntax.Subscript))
        return used & self.made.keys() <= self.columns and all(
            not name or name in self.columns for name in tables
        )

    def _is_part(self, value: syntax.expr) -> bool:
        """Whether a value is some rows of a table, or is made of such."""
        for one in syntax.walk(value):
            rows = isinstance(one, syntax.Subscript) and _takes_rows(one)
            if rows and wording.name(getattr(one, "value", None)):
                return True
        return bool({name for name in _roots(value) if name in self.apart or _APART.search(name)})

    def _maker(self, value: Any) -> tuple[str, Kind] | None:
        """What a call makes, if it is a transform of those above."""
        name = wording.called(value)
        if name in _CHAINS:
            parts = [self._maker(one) for one in syntax.walk(value) if one is not value]
            known = sorted({one for one in parts if one is not None}, key=lambda one: one[1])
            return known[-1] if known else None
        if name in _SUPERVISED or name in _OVERSAMPLES:
            return name, SELECTED
        return (name, SCALED) if name in _UNSUPERVISED else None

    def _fit(self, statement: syntax.stmt) -> Fit | None:
        """What a statement fits on all rows."""
        for call in wording.calls(statement):
            name = wording.called(call)
            if name in _SCORES and self._is_whole(call, 2):
                return Fit(statement, name, SELECTED, *_tables(call))
            if name == "resample" and self.resamples and self._is_whole(call, 1):
                replaced = [one.value for one in call.keywords if one.arg == "replace"]
                if all(getattr(one, "value", None) is not False for one in replaced):
                    return Fit(statement, name, SELECTED, _tables(call)[0], "")
            holder = getattr(call.func, "value", None)
            maker = self.makers.get(wording.name(holder)) or self._maker(_unfitted(holder))
            if name not in _FITS or maker is None:
                continue
            if self._is_whole(call, 2 if maker[1] == SELECTED else 1):
                table, labels = _tables(call)
                return Fit(statement, *maker, table, labels if maker[1] == SELECTED else "")
            self.refitted.add(maker[0])
        return None

    def _is_whole(self, call: syntax.Call, count: int) -> bool:
        """Whether a call is given so many tables, with all of their rows."""
        given = _given(call)
        return len(given) >= count and all(map(self._has_all_rows, given[:count]))

    def _has_all_rows(self, value: syntax.expr) -> bool:
        root = _table(value)
        name = wording.name(root)
        return bool(name) and name not in self.apart and not _APART.search(name)


def _given(call: syntax.Call) -> list[syntax.expr]:
    return [*call.args, *(one.value for one in call.keywords if one.arg in ("X", "y"))]


def _tables(call: syntax.Call) -> tuple[str, str]:
    """The names of the table and of the labels that a call is given."""
    names = [wording.name(_table(one)) for one in _given(call)[:2]]
    return names[0], names[1] if len(names) > 1 else ""


def _unfitted(value: Any) -> Any:
    """The transform itself, of ``Scaler().fit(x).transform`` and the like."""
    while isinstance(value, syntax.Call) and wording.called(value) == "set_output":
        value = getattr(value.func, "value", None)
    return value


def _table(value: Any) -> Any:
    """The table that a value has all rows of."""
    while True:
        if isinstance(value, syntax.Attribute) and value.attr in _WHOLE:
            value = value.value
        elif isinstance(value, syntax.Call) and wording.called(value) in _WHOLE:
            value = getattr(value.func, "value", None)
        elif isinstance(value, syntax.Subscript) and not _takes_rows(value):
            value = value.value
        else:
            return wording.bare(value) if isinstance(value, syntax.expr) else value


def _takes_rows(one: syntax.Subscript) -> bool:
    """Whether a subscript may take some rows, not columns alone."""
    index: Any = one.slice
    if isinstance(index, syntax.Tuple) and index.elts:
        first = index.elts[0]
        return not (isinstance(first, syntax.Slice) and first.lower is first.upper is None)
    if isinstance(index, syntax.List):
        return not all(_is_text(part) for part in index.elts)
    if isinstance(index, syntax.Compare):
        return not _LABELS.search(syntax.unparse(index))
    if isinstance(index, syntax.Slice | syntax.UnaryOp):
        return True
    return not _is_text(index) and not _COLUMNS.search(wording.name(index))


def _is_text(node: Any) -> bool:
    return isinstance(node, syntax.Constant) and isinstance(node.value, str)


def _values(statement: syntax.stmt) -> list[syntax.expr]:
    """What a statement binds names to."""
    held = [getattr(statement, "value", None), getattr(statement, "iter", None)]
    return [one for one in held if isinstance(one, syntax.expr)]


def _roots(value: syntax.AST) -> Iterable[str]:
    """The plain names within an expression, and what precedes their attributes."""
    found = wording.names(value)
    return found | {name.partition(".")[0] for name in found}
