"""The files of a program as modules: their names, and which one an import means."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, final

from tcstatic.caching import read_whole
from tcstatic.errors import InputError
from tcstatic.program.callgraph.bindings import Bindings, bindings_of
from tcstatic.program.callgraph.exports import ANYTHING
from tcstatic.program.source import Tree, decode, module_name, parse, syntax

MOST_BYTES: Final = 1 << 26  # of a source file: beyond, it is made by a program, or has no end


@final
@dataclass(eq=False, slots=True)
class Module:
    """A file, or a folder of modules that has no file of its own (`tree` is None then)."""

    index: int
    name: str
    path: Path
    tree: Tree | None
    bindings: Bindings
    is_package: bool
    variables: dict[str, int] = field(default_factory=dict)
    external_stars: list[str] = field(default_factory=list)
    exports: set[str] | None = None


@final
@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that is not part of the graph, and why."""

    path: Path
    reason: str


@final
class Modules:
    """All modules of a program. Lookups go by place: two folders may hold modules of one name."""

    def __init__(self, files: Iterable[Path], root: Path) -> None:
        self.root = root
        self.all: list[Module] = []
        self.skipped: list[Skipped] = []
        self.nodes = 0
        """How many absolute nodes there are: variables of modules."""
        self._by_path: dict[Path, Module] = {}
        self._namespaces: dict[Path, Module] = {}
        for path in sorted(set(files)):
            self._read(path)
        self._occupied = {
            parent for path in self._by_path for parent in path.parents if root in parent.parents
        }
        self._sources = sorted({top for path in self._by_path for top in self._source(path)})
        self._bind_stars()

    def variable(self, module: Module, name: str) -> int:
        """Return the absolute node of a variable of a module."""
        found = module.variables.get(name)
        if found is None:
            found = module.variables[name] = self.nodes
            self.nodes += 1
        return found

    def find(self, name: str, importer: Module) -> Module | None:
        """Return the module that ``import name`` means in the importer, if it is the program's."""
        parts = name.split(".")
        folder = importer.path.parent
        for start in dict.fromkeys((self._top(folder), self.root)):
            found = self._at(start, parts)
            if found is not None:
                return found
        elsewhere = [found for start in self._sources if (found := self._at(start, parts))]
        return elsewhere[0] if len(elsewhere) == 1 and elsewhere[0].tree else None

    def find_from(self, level: int, name: str | None, importer: Module) -> Module | None:
        """Return the module that ``from ..name import`` means, if it is the program's."""
        if not level:
            return self.find(name or "", importer)
        folder = importer.path.parent
        for _ in range(level - 1):
            folder = folder.parent
        parts = name.split(".") if name else []
        if not parts:
            return self._folder(folder)
        return self._at(folder, parts)

    def inside(self, module: Module, name: str) -> Module | None:
        """Return the submodule `name` of a package or folder."""
        folder = module.path if module.tree is None else module.path.parent
        return self._at(folder, [name]) if module.is_package else None

    def exported(self, module: Module) -> set[str]:
        """Return the names that ``from module import *`` binds."""
        if module.exports is None:
            module.exports = set()
            listed = module.bindings.exported
            everything = set(module.bindings.bound)
            if listed is None:
                module.exports = {name for name in everything if not name.startswith("_")}
            else:
                module.exports = set(listed)
                for name in module.bindings.exporters:
                    module.exports |= self._exported_by(name, module)
        return module.exports

    def _exported_by(self, name: str, module: Module) -> set[str]:
        """What `module` exports because its module `name` does; or else all that is public."""
        part = self._at(module.path.parent, [name]) if name != ANYTHING else None
        if part is not None and part is not module:
            return self.exported(part)
        return {bound for bound in module.bindings.bound if not bound.startswith("_")}

    def _read(self, path: Path) -> None:
        try:
            tree = parse(decode(read_whole(path, MOST_BYTES), str(path)).text, str(path))
        except OSError as error:
            self.skipped.append(Skipped(path, error.strerror or str(error)))
            return
        except InputError as error:
            self.skipped.append(Skipped(path, str(error)))
            return
        bound = bindings_of(tree.body, whole_module=True)
        self._by_path[path] = self._add(path, tree, bound, path.stem == "__init__")

    def _add(self, path: Path, tree: Tree | None, bound: Bindings, is_package: bool) -> Module:
        name = module_name(path, self.root) or path.parent.name
        module = Module(len(self.all), name, path, tree, bound, is_package)
        self.all.append(module)
        return module

    def _bind_stars(self) -> None:
        """Names that come by ``import *`` are bound; repeated, because stars import stars."""
        starred = [module for module in self.all if module.bindings.stars]
        changed = True
        while changed:
            changed = False
            for module in starred:
                for star in module.bindings.stars:
                    source = self.find_from(star.level, star.module, module)
                    if source is None:
                        continue
                    source.exports = None
                    new = self.exported(source) - module.bindings.bound
                    module.bindings.bound |= new
                    changed = changed or bool(new)
        for module in self.all:
            module.exports = None
            for star in module.bindings.stars:
                if not star.level and self.find_from(0, star.module, module) is None:
                    module.external_stars.append(star.module or "")

    def _at(self, folder: Path, parts: Sequence[str]) -> Module | None:
        base = folder.joinpath(*parts)
        return (
            self._by_path.get(base / "__init__.py")
            or self._by_path.get(base.with_name(f"{base.name}.py"))
            or (self._namespace(base) if base in self._occupied else None)
        )

    def _folder(self, folder: Path) -> Module | None:
        found = self._by_path.get(folder / "__init__.py")
        return found or self._namespace(folder)

    def _namespace(self, folder: Path) -> Module:
        found = self._namespaces.get(folder)
        if found is None:
            found = self._namespaces[folder] = self._add(folder, None, Bindings(), True)
        return found

    def _top(self, folder: Path) -> Path:
        """Return the folder from which absolute imports of packages in `folder` start."""
        while folder / "__init__.py" in self._by_path and folder != folder.parent:
            folder = folder.parent
        return folder

    def _source(self, path: Path) -> Iterator[Path]:
        """Yield the folder that is put on ``sys.path`` to install what `path` is part of."""
        top = self._top(path.parent)
        if top != path.parent or top.name in ("src", "lib"):
            yield top


def import_path(node: syntax.ImportFrom) -> str:
    """Return how an import that leaves the program names its module."""
    return "." * node.level + (node.module or "")
