"""Names that a module binds by import or as a module-level alias, and what they stand for."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable
from typing import Final

from tcstatic.program.source.facts import Import

_BUILTINS: Final = frozenset(dir(builtins))
# Names that a star import of torch or one of its packages gives; what is missing here follows the
# case of its first letter.
_STARRED: Final = {
    name: f"{module}.{name}"
    for module, names in {
        "torch.optim": "Adam AdamW SGD RMSprop Adagrad Adadelta Adamax ASGD LBFGS NAdam RAdam "
        "Rprop SparseAdam Optimizer Adafactor Muon lr_scheduler swa_utils",
        "torch.optim.lr_scheduler": "StepLR MultiStepLR LambdaLR ExponentialLR CosineAnnealingLR "
        "CosineAnnealingWarmRestarts ReduceLROnPlateau OneCycleLR CyclicLR LinearLR ConstantLR "
        "SequentialLR PolynomialLR ChainedScheduler MultiplicativeLR LRScheduler",
        "torch.utils.data": "DataLoader Dataset TensorDataset Subset RandomSampler Sampler "
        "SequentialSampler WeightedRandomSampler BatchSampler ConcatDataset IterableDataset "
        "DistributedSampler random_split get_worker_info",
        "torch.nn.parallel": "DistributedDataParallel DataParallel",
        "torch.nn": "functional init utils Module Parameter",
        "torch": "nn optim Tensor Generator Size",
    }.items()
    for name in names.split()
}


class Names:
    """What a module's names stand for, as far as its own text tells; grows while it is read."""

    def __init__(self, module: str, package: bool) -> None:
        self.imports: dict[str, str] = {}
        self.modules: set[str] = set()
        self.stars: list[str] = []
        self.imported: list[Import] = []
        self._package = module if package else module.rpartition(".")[0]

    def add_import(self, node: ast.Import) -> None:
        for alias in node.names:
            self.imported.append(Import(alias.name, ()))
            self.modules.add(alias.name)
            if alias.asname:
                self.imports[alias.asname] = alias.name
            else:
                root = alias.name.partition(".")[0]
                self.modules.add(root)
                self.imports[root] = root

    def add_import_from(self, node: ast.ImportFrom) -> None:
        module = self.absolute(node.module or "", node.level)
        if module is None:
            return
        self.imported.append(Import(module, tuple(alias.name for alias in node.names)))
        for alias in node.names:
            if alias.name == "*":
                self.stars.append(module)
            else:
                self.imports[alias.asname or alias.name] = f"{module}.{alias.name}".lstrip(".")

    def absolute(self, module: str, level: int) -> str | None:
        """The absolute name of a relative import, or None where it leaves the top package."""
        if not level:
            return module
        parts = self._package.split(".") if self._package else []
        if level - 1 > len(parts):
            return None
        base = parts[: len(parts) - (level - 1)]
        return ".".join([*base, module] if module else base)

    def add_aliases(self, body: Iterable[ast.stmt]) -> None:
        """Follow ``F = nn.functional``: a module-level name for something imported."""
        for statement in body:
            if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
                target, path = statement.targets[0], chain(statement.value)
                if isinstance(target, ast.Name) and path and path[0] in self.imports:
                    self.imports.setdefault(target.id, self.dotted(path)[0])

    def dotted(self, path: tuple[str, ...]) -> tuple[str, bool]:
        """The dotted name of a chain of names, and whether an import stands at its root."""
        root, rest = path[0], path[1:]
        stands_for = self.imports.get(root) or self._starred(root)
        if stands_for is not None:
            return ".".join((stands_for, *rest)), True
        return (f".{rest[-1]}" if rest else root), False

    def _starred(self, name: str) -> str | None:
        stars = [star for star in self.stars if star.partition(".")[0] == "torch"]
        if not stars or name in _BUILTINS or name.startswith("_"):
            return None
        known = _STARRED.get(name)
        if known and known.rpartition(".")[0] in stars:
            return known
        upper = name[0].isupper()
        for star in stars:
            if upper == (star == "torch.nn") and star in (
                "torch",
                "torch.nn",
                "torch.nn.functional",
            ):
                return f"{star}.{name}" if upper else None
        return None


def chain(node: ast.AST) -> tuple[str, ...] | None:
    """``a.b.c`` as ``("a", "b", "c")``; None for anything else."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    return (node.id, *reversed(parts))
