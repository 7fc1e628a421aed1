"""Text -> facts of one module. The only room that imports ``ast``."""

from tcstatic.program.source.comments import Comment, find_comments, suppressions_in
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
from tcstatic.program.source.gradient_uses import uses_gradients
from tcstatic.program.source.linking import linked
from tcstatic.program.source.localfiles import (
    LocalFiles,
    absent_candidates,
    find_local_files,
    local_modules,
    module_name,
    package_files,
)
from tcstatic.program.source.probed import Found, Mismatch, compile_probed, probes_in
from tcstatic.program.source.reading import PROBES, read_module, read_tree
from tcstatic.program.source.text import BOM, SourceText, Span, Tree, decode, parse

__all__ = [
    "BOM",
    "PROBES",
    "Argument",
    "Call",
    "Comment",
    "Found",
    "Import",
    "LocalFiles",
    "Loop",
    "Marks",
    "Mismatch",
    "ModuleFacts",
    "SourceText",
    "Span",
    "Store",
    "Tree",
    "With",
    "absent_candidates",
    "compile_probed",
    "decode",
    "find_comments",
    "find_local_files",
    "linked",
    "local_modules",
    "module_name",
    "package_files",
    "parse",
    "probes_in",
    "read_module",
    "read_tree",
    "suppressions_in",
    "uses_gradients",
]
