"""Text -> facts of one module. The only room that imports ``ast``."""

from tcstatic.program.source.facts import (
    Argument,
    Call,
    Import,
    Loop,
    Marks,
    ModuleFacts,
    Store,
    With,
)
from tcstatic.program.source.localfiles import (
    LocalFiles,
    absent_candidates,
    find_local_files,
    local_modules,
    module_name,
)
from tcstatic.program.source.reading import PROBES, read_module, read_tree
from tcstatic.program.source.text import BOM, SourceText, Span, decode, parse

__all__ = [
    "BOM",
    "PROBES",
    "Argument",
    "Call",
    "Import",
    "LocalFiles",
    "Loop",
    "Marks",
    "ModuleFacts",
    "SourceText",
    "Span",
    "Store",
    "With",
    "absent_candidates",
    "decode",
    "find_local_files",
    "local_modules",
    "module_name",
    "parse",
    "read_module",
    "read_tree",
]
