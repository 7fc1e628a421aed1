"""`tcstatic infer --executor dask://HOST:PORT` with a cluster of two workers on this machine."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tcstatic.infer.keeping import beside
from tests.golden.commands import record, tcstatic
from tests.golden.running import FIXTURES

pytestmark = [
    pytest.mark.distributed,
    pytest.mark.skipif(
        importlib.util.find_spec("distributed") is None,
        reason="distributed is not installed: pip install 'tcstatic[dask]'",
    ),
]
HEALTHY = ("weight_tying", "rnn_state")
CLUSTER = """\
import sys
from distributed import LocalCluster

if __name__ == "__main__":
    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1"
    ) as cluster:
        print(cluster.scheduler_address, flush=True)
        sys.stdin.read()
"""


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """The address of a cluster, which ends when its standard input does."""
    script = tmp_path / "cluster.py"
    script.write_text(CLUSTER, encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, str(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    ) as cluster:
        assert cluster.stdout is not None and cluster.stdin is not None
        yield cluster.stdout.readline().strip().replace("tcp://", "dask://")
        cluster.stdin.close()
        cluster.wait(timeout=300)


def test_a_cluster_learns_the_same(tmp_path: Path, address: str) -> None:
    traces = [tmp_path / name for name in HEALTHY]
    for trace in traces:
        record(FIXTURES / "healthy" / f"{trace.name}.py", trace)
    here, there = tmp_path / "here.yaml", tmp_path / "there.yaml"
    for path, options in ((here, ()), (there, ("--executor", address))):
        done = tcstatic("infer", *traces, "-o", path, *options)
        assert done.returncode == 0, done.stderr
    assert here.read_bytes() == there.read_bytes()
    assert beside(here).read_bytes() == beside(there).read_bytes()


def test_a_cluster_that_does_not_answer_is_one_line(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    record(FIXTURES / "healthy" / "weight_tying.py", trace)
    path = tmp_path / "learnt.yaml"
    done = tcstatic("infer", trace, "-o", path, "--executor", "dask://127.0.0.1:9")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1 and "no such cluster answers" in done.stderr
    assert not path.exists()
