"""What may take part in a program, judged by all that its files mention."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, final

from tcstatic.model import Invariant, Verdict
from tcstatic.program.source import ModuleFacts
from tcstatic.rewrite.vocabulary import DROPOUTS

# Libraries that start no processes, and make no scalers or wrappers of their own accord.
_KNOWN: Final = (
    frozenset(
        """torch torchvision torchaudio numpy scipy sklearn pandas matplotlib PIL cv2 tqdm yaml rich
        einops psutil tabulate requests seaborn tensorboard tensorboardX""".split()
    )
    | sys.stdlib_module_names
)
# Of them, those that hold ready-made models.
_MODELS: Final = frozenset({"torchvision", "torchaudio"})
_DYNAMIC: Final = re.compile(
    rb"(?<![.\w])(exec|eval|__import__|globals|vars|locals)\s*\(|\b(importlib|runpy)\b|"
    rb"\.__(dict|class|setattr|getattribute)__\b|\btorch\.hub\b|\b(jit|export)\.load\b"
)
# An attribute of any name may be set to anything.
_REBINDING: Final = re.compile(rb"(?<![.\w])(setattr|delattr)\s*\(\s*[^,]+,\s*(?![\"'])")
_RANKS: Final = re.compile(rb"distributed|process_group|device_mesh")
_SCALER: Final = re.compile(rb"[Ss]caler|torch\.(cuda\.)?amp\b|import amp\b")
_WRAPPER: Final = re.compile(rb"DataParallel|FullySharded|FSDP|DDP|fully_shard|replicate")
_SENSITIVE: Final = re.compile(rb"Dropout|BatchNorm|InstanceNorm|Transformer|\w+(Dropout|Norm)\b")
_INSENSITIVE: Final = re.compile(rb"\b(nn\.)?(LayerNorm|GroupNorm|RMSNorm|LocalResponseNorm)\b")
_LOADED: Final = re.compile(rb"(?<!load_state_dict\()\btorch\.load\s*\((?![^()]*weights_only=True)")
_NO_SCALER: Final = "no loss scaler is made"
_NO_WRAPPER: Final = "nothing wraps a model for data-parallel training"
_ONE_PROCESS: Final = "one process trains: no process group is made"
_NO_CLIPPING: Final = "no gradient is clipped"
_NO_DROPOUT: Final = "no functional dropout is called"


@final
@dataclass(frozen=True, slots=True)
class World:
    """What is known to be absent from a program; all False where something unknown takes part.

    `alone`: no other process can hold copies; `modeless`: no layer behaves otherwise in evaluation;
    `steady`: names and attributes are bound where the source shows it.
    """

    alone: bool = False
    modeless: bool = False
    scalerless: bool = False
    wrapperless: bool = False
    steady: bool = False


def world_of(files: Iterable[tuple[bytes, ModuleFacts]], *, complete: bool) -> World:
    """Judge all files of a program; `complete` tells that each of them could be read."""
    given = list(files)
    text = b"\n".join(source for source, _ in given)
    own = {facts.module for _, facts in given}
    roots = {
        one.module.partition(".")[0]
        for _, facts in given
        for one in facts.imported
        if one.module and one.module not in own
    }
    packages = {name.partition(".")[0] for name in own}
    strange = {root for root in roots if root not in _KNOWN and root not in packages}
    if not complete or _DYNAMIC.search(text):
        return World()
    steady = not _REBINDING.search(text)
    if strange:
        return World(steady=steady)
    return World(
        alone=not _RANKS.search(text),
        modeless=not roots & _MODELS and not _may_switch(text),
        scalerless=not _SCALER.search(text),
        wrapperless=not _WRAPPER.search(text),
        steady=steady,
    )


def _may_switch(text: bytes) -> bool:
    """Whether a layer may be made whose behaviour depends on the mode that it is in."""
    if _LOADED.search(text):
        return True
    return _SENSITIVE.search(_INSENSITIVE.sub(b"", text)) is not None


def out_of_scope(
    invariants: Iterable[Invariant], facts: Iterable[ModuleFacts], world: World
) -> dict[str, Verdict]:
    """Invariants about events that cannot occur, each with the reason."""
    calls = [call for one in facts for call in one.calls]
    clips = any("clip" in call.name for call in calls)
    drops = any(call.callee in DROPOUTS for call in calls)
    found = {}
    for one in invariants:
        words = {word for value in one.params.values() for word in _words(value)}
        reason = ""
        if one.relation == "equal" and "rank" in words and world.alone:
            reason = _ONE_PROCESS
        elif world.scalerless and any(word.startswith("scaler.") for word in words):
            reason = _NO_SCALER
        elif world.wrapperless and words & {"wrappers", "bypasses", "wrap.new"}:
            reason = _NO_WRAPPER
        elif world.steady and not clips and "grad.clip" in words:
            reason = _NO_CLIPPING
        elif not drops and one.relation == "argument" and one.params.get("of") == "call":
            reason = _NO_DROPOUT
        if reason:
            found[one.code] = Verdict("OUT_OF_SCOPE", reason)
    return found


def _words(value: object) -> Iterable[str]:
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, tuple | list):
        return ()
    return tuple(one for one in value if isinstance(one, str))
