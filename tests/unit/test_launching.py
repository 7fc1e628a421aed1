"""What launchers tell, and what they leave out."""

from __future__ import annotations

import pytest

from tcstatic.launching import Launch, launch, rank

TORCHRUN = {"RANK": "3", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"}
MPIRUN = {
    "OMPI_COMM_WORLD_RANK": "1",
    "OMPI_COMM_WORLD_SIZE": "2",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
}
HYDRA = {"PMI_RANK": "5", "PMI_SIZE": "6", "MPI_LOCALNRANKS": "3"}
SRUN = {
    "SLURM_PROCID": "7",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_STEP_TASKS_PER_NODE": "2(x3),1(x2)",
    "SLURM_NODEID": "3",
}
BATCH = {"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_TASKS_PER_NODE": "8"}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        (TORCHRUN, Launch(3, 8, 4)),
        ({**SRUN, **TORCHRUN}, Launch(3, 8, 4)),
        ({"RANK": "0", "WORLD_SIZE": "2"}, Launch(0, 2, 2)),
        (MPIRUN, Launch(1, 2, 2)),
        (HYDRA, Launch(5, 6, 3)),
        (SRUN, Launch(7, 8, 1)),
        ({**SRUN, "SLURM_NODEID": "9"}, Launch(7, 8, 8)),
        (BATCH, None),
        ({"WORLD_SIZE": "2"}, None),
        ({"RANK": "0", "WORLD_SIZE": "1"}, None),
        ({"RANK": "zero", "WORLD_SIZE": "2"}, None),
        ({}, None),
    ],
)
def test_a_launch(environment: dict[str, str], expected: Launch | None) -> None:
    assert launch(environment) == expected


def test_nodes_that_hold_a_part_of_the_ranks() -> None:
    assert Launch(0, 8, 4).many_hosts and not Launch(0, 8, 8).many_hosts


def test_a_rank_alone_is_still_a_rank() -> None:
    assert (rank({"RANK": "2"}), rank(SRUN), rank({})) == (2, 7, None)
