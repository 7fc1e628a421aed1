"""What may take part in a program, judged by all that its files mention."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, final

from tcstatic.model import Fact
from tcstatic.program.source import ModuleFacts
from tcstatic.rewrite.inputsites import first_batches
from tcstatic.rewrite.vocabulary import DROPPING

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
_SENSITIVE: Final = re.compile(
    rb"[Dd]ropout|BatchNorm|InstanceNorm|Transformer|\w+Norm\b|MultiheadAttention|\.training\b"
)
_INSENSITIVE: Final = re.compile(rb"\b(nn\.)?(LayerNorm|GroupNorm|RMSNorm|LocalResponseNorm)\b")
_LOADED: Final = re.compile(rb"(?<!load_state_dict\()\btorch\.load\s*\((?![^()]*weights_only=True)")
_AUTOCAST: Final = re.compile(rb"autocast|\bamp\b")
# torch.optim.swa_utils has a scheduler of its own.
_SCHEDULER: Final = re.compile(rb"lr_scheduler|[Ss]chedul|swa_utils|SWALR")
_NO_SCALER: Final = "no loss scaler is made"
_NO_WRAPPER: Final = "nothing wraps a model for data-parallel training"
_ONE_PROCESS: Final = "one process trains: no process group is made"
_NO_CLIPPING: Final = "no gradient is clipped"
_NO_DROPOUT: Final = "no functional dropout is called"
_NO_AUTOCAST: Final = "nothing is autocast"
_NO_SCHEDULER: Final = "no learning-rate scheduler is made"
_OWN_GRADIENTS: Final = "the program makes a use of gradients of its own"


@final
@dataclass(frozen=True, slots=True)
class World:
    """What is known to be absent from a program; where something unknown takes part, that is only
    what no site tells of.

    `alone`: no other process can hold copies; `modeless`: no layer behaves otherwise in evaluation;
    `castless`: nothing is autocast; `unscheduled`: no scheduler sets the learning rate; `steady`:
    names and attributes are bound where the source shows it; `passing`: no site is of an iterator
    that is made for its first item alone.
    """

    alone: bool = False
    modeless: bool = False
    scalerless: bool = False
    wrapperless: bool = False
    castless: bool = False
    unscheduled: bool = False
    steady: bool = False
    passing: bool = False


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
    if not complete:
        return World()
    passing = not any(_fetches(facts) for _, facts in given)
    if _DYNAMIC.search(text):
        return World(passing=passing)
    steady = not _REBINDING.search(text)
    if strange:
        return World(steady=steady, passing=passing)
    return World(
        alone=not _RANKS.search(text),
        modeless=not roots & _MODELS and not _may_switch(text),
        scalerless=not _SCALER.search(text),
        wrapperless=not _WRAPPER.search(text),
        castless=not _AUTOCAST.search(text),
        unscheduled=not _SCHEDULER.search(text),
        steady=steady,
        passing=passing,
    )


def _fetches(facts: ModuleFacts) -> bool:
    """Whether a file has a site of a loader's first batch."""
    return any(True for call in facts.calls for _ in first_batches(call, facts))


def _may_switch(text: bytes) -> bool:
    """Whether a layer may be made whose behaviour depends on the mode that it is in."""
    if _LOADED.search(text):
        return True
    return _SENSITIVE.search(_INSENSITIVE.sub(b"", text)) is not None


def facts_of(modules: Iterable[ModuleFacts], world: World) -> tuple[Fact, ...]:
    """What is known of every run of a program: events that do not occur, values that do not."""
    everything = list(modules)
    calls = [call for one in everything for call in one.calls]
    clips = any("clip" in call.name for call in calls)
    drops = any(call.callee in DROPPING for call in calls)
    scaler = ("scaler.scale", "scaler.unscale", "scaler.step", "scaler.update")
    wrapper = ("wrappers", "bypasses", "wrap.new")
    scheduler = ("scheduler.new", "scheduler.step", "scheduler")
    job = ("rank", "dist.init", "dist.collective")
    known = (
        (world.alone, Fact(_ONE_PROCESS, job, "rank", (0,))),
        (world.alone, Fact(_ONE_PROCESS, (), "world_size", (1,))),
        (world.scalerless, Fact(_NO_SCALER, scaler, "loss_scaled", (False,))),
        (world.wrapperless, Fact(_NO_WRAPPER, wrapper, "wrapped", (False,))),
        (world.castless, Fact(_NO_AUTOCAST, (), "autocast", ())),
        (world.unscheduled, Fact(_NO_SCHEDULER, scheduler)),
        (world.steady and not clips, Fact(_NO_CLIPPING, ("grad.clip",))),
        # of a call that decides whether it drops
        (not drops, Fact(_NO_DROPOUT, ("active",))),
        # a step is not all that gradients are for
        (any(one.uses_gradients for one in everything), Fact(_OWN_GRADIENTS, ("never_stepped",))),
    )
    return tuple(fact for holds, fact in known if holds)
