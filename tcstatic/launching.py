"""What a launcher tells each process that it starts: torchrun, srun, mpirun, or a cluster's own."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, final

# What parts one launch from another; a launcher sets some of these, the same for all it starts.
NAMES: Final = (
    "TORCHELASTIC_RUN_ID",
    "MASTER_ADDR",
    "MASTER_PORT",
    "SLURM_JOB_ID",
    "SLURM_STEP_ID",
    "PMIX_NAMESPACE",
)
STEP: Final = "SLURM_STEP_NUM_TASKS"
# The rank, and how many processes there are, in all and on this host; torch's own come first.
_KINDS: Final = (
    ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE"),
    ("PMI_RANK", "PMI_SIZE", "MPI_LOCALNRANKS"),
    ("SLURM_PROCID", STEP, ""),
)
WORLDS: Final = tuple(world for _, world, _ in _KINDS)
LOCALS: Final = (*(local for _, _, local in _KINDS if local), "LOCAL_SIZE")
_NODES: Final = re.compile(r"(\d+)(?:\(x(\d+)\))?")


@final
@dataclass(frozen=True, slots=True)
class Launch:
    """One process of several that a launcher has started: its `rank` among all of them, how many
    there are in the `world`, and how many of those are `here`, on this host.

    Sources: torch's `torchrun`, Open MPI's "Environment variables set for MPI applications", Intel
    MPI's ``PMI_`` variables, and "OUTPUT ENVIRONMENT VARIABLES" of Slurm's srun. In a batch script
    Slurm sets a rank too, but no step: what is started there without srun is alone.
    """

    rank: int
    world: int
    here: int

    @property
    def many_hosts(self) -> bool:
        """Whether some of the processes are on other hosts."""
        return self.here < self.world


def launch(environment: Mapping[str, str] = os.environ) -> Launch | None:
    """Return what the launcher has told this process, None where it was started alone."""
    for rank, world, local in _KINDS:
        ours, size = number(rank, environment), number(world, environment)
        if ours is None or size is None:
            continue
        if size < 2:
            return None
        here = number(local, environment) if local else _tasks_here(environment)
        return Launch(ours, size, min(here or size, size))
    return None


def place(environment: Mapping[str, str] = os.environ) -> int | None:
    """Return which of the processes of this host this is, where a launcher has told it."""
    names = ("LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID")
    return next((found for name in names if (found := number(name, environment)) is not None), None)


def rank(environment: Mapping[str, str] = os.environ) -> int | None:
    """Return the rank that a launcher has told, None where there is none."""
    told = launch(environment)
    return number("RANK", environment) if told is None else told.rank


def number(name: str, environment: Mapping[str, str] = os.environ) -> int | None:
    """Return the number that the environment has under a name, None where it has no such."""
    try:
        return int(environment[name])
    except (KeyError, ValueError):
        return None


def _tasks_here(environment: Mapping[str, str]) -> int | None:
    """How many tasks of a Slurm step are on this node: its list is like ``2(x3),1``."""
    counts: list[int] = []
    for one, times in _NODES.findall(environment.get("SLURM_STEP_TASKS_PER_NODE", "")):
        counts += [int(one)] * int(times or 1)
    node = number("SLURM_NODEID", environment) or 0
    return counts[node] if node < len(counts) else None
