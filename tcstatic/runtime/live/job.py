"""A job: the processes that train together, their parts on disk, and the one report of them all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, final

from tcstatic import launching
from tcstatic.caching import write_whole
from tcstatic.errors import TcstaticError
from tcstatic.model import Report
from tcstatic.report import from_json, merge, to_json, write
from tcstatic.runtime.live.terminal import complain

# A rank of another host cannot be asked whether it lives: it is taken for dead after this silence.
SILENCE_SECONDS: Final = 60.0
LOCK_SECONDS: Final = 5.0
# Linux's PF_EXITING in the flags of /proc/PID/stat.
EXITING: Final = 0x4


def current_rank() -> int | None:
    """This process's rank: by torch.distributed if that is initialised, else by its launcher."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None:
        try:
            if distributed.is_available() and distributed.is_initialized():
                return int(distributed.get_rank())
        except (AttributeError, RuntimeError, ValueError):
            pass
    return launching.rank()


@final
@dataclass(frozen=True, slots=True)
class Part:
    """What one process has to say, and who it is; `child`: another process of the job made it."""

    host: str
    pid: int
    born: str
    rank: int | None
    finished: bool
    steps: int
    child: bool
    written: float
    report: Report

    @property
    def alive(self) -> bool:
        """Whether the process still runs, as far as that can be known."""
        if self.host != socket.gethostname():
            return time.time() - self.written < SILENCE_SECONDS
        return _birth(self.pid) == self.born

    @property
    def title(self) -> str:
        return f"process {self.pid}" if self.rank is None else f"rank {self.rank}"


@final
class Job:
    """This process's place in its job.

    A process alone has no folder until a child of it is watched too; ranks of a launcher find one
    another by what the launcher has told them.
    """

    def __init__(
        self, reports: tuple[Path, ...], *, folder: Path | None = None, child: bool = False
    ) -> None:
        self.reports = reports
        self.child = child
        self._rank: int | None = None
        self._claimed: set[str] = set()
        self._lost: set[Path] = set()
        self._launch = None if child else launching.launch()
        if folder is None and self._launch is not None:
            folder = _launched_folder(reports, self._launch)
        self._folder = folder
        # Where a forked child, which cannot tell us that it is there, meets us.
        own = f"{socket.gethostname()} {os.getpid()} {_birth(os.getpid())}"
        self.meeting_place = self._folder or _place(own)

    @property
    def alone(self) -> bool:
        return self._folder is None

    def learn_rank(self) -> int | None:
        """The rank; what was once known stays known when the process group is taken down."""
        rank = current_rank()
        if rank is not None:
            self._rank = rank
        return self._rank

    def has_rank(self, rank: int) -> None:
        """What was seen belongs to this rank, though its process group may be gone by now."""
        self._rank = rank

    def folder(self, report: Callable[[], Report]) -> Path | None:
        """The folder shared by the job, made at the first call; None where it cannot be."""
        if self._folder is None:
            self._adopt(report())
        return self._folder

    def begin(self, report: Report) -> None:
        """Say that this process has begun, so that the others know whom to wait for."""
        if self._folder is None or not self._made(self._folder):
            self._folder = None
            return
        with self._locked():
            if not self.child and not any(self._of_this_job(part) for part in self._parts()):
                # What an earlier job of the same name has left behind, if anything.
                for path in [*self._folder.glob("part-*"), *self._folder.glob("claim-*")]:
                    path.unlink(missing_ok=True)
            self._write_part(report, 0, finished=False)

    def _of_this_job(self, part: Part) -> bool:
        """Whether an earlier job of the same name cannot have written `part`.

        A rank may be over before we have begun; but a launcher starts all ranks before one writes.
        """
        return part.alive or (part.rank != self.learn_rank() and part.written >= _started())

    def _adopt(self, report: Report) -> None:
        """From here on we are not alone."""
        if self._made(self.meeting_place):
            self._folder = self.meeting_place
            for name in self._claimed:
                self._create(name)
            self._write_part(report, 0, finished=False)

    @staticmethod
    def _made(folder: Path) -> bool:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError:
            return False
        return True

    def claim(self, name: str) -> bool:
        """Whether this process is the first of the job to ask for `name`."""
        if name in self._claimed:
            return False
        self._claimed.add(name)
        return self._folder is None or self._create(name)

    def publish(self, report: Report, steps: int, *, everywhere: bool) -> None:
        """Keep what is known by now in our part; `everywhere`: in the job's report too."""
        self._look_around(report)
        if self._folder is None:
            self._write(report)
            return
        self._write_part(report, steps, finished=False)
        if everywhere:
            with self._locked():
                self._write(_together(self._parts(), self._expected(), report)[0])

    def finish(self, report: Report, steps: int) -> Report | None:
        """Write our last part and the job's report; return the latter if nobody else will."""
        self._look_around(report)
        if self._folder is None:
            self._write(report)
            return report
        with self._locked():
            self._write_part(report, steps, finished=True)
            merged, last = _together(self._parts(), self._expected(), report)
            self._write(merged)
            if not last:
                return None
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
            return merged

    def _look_around(self, report: Report) -> None:
        if self._folder is None and self.meeting_place.is_dir():
            self._adopt(report)

    def _write(self, report: Report) -> None:
        for path in self.reports:
            try:
                write(report, path)
            except (TcstaticError, OSError) as error:
                if path not in self._lost:
                    self._lost.add(path)
                    complain(str(error))

    def _create(self, name: str) -> bool:
        assert self._folder is not None
        digest = hashlib.sha256(name.encode()).hexdigest()[:32]
        try:
            os.close(os.open(self._folder / f"claim-{digest}", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        except OSError:
            # Rather twice than never.
            return True
        return True

    def _write_part(self, report: Report, steps: int, *, finished: bool) -> None:
        assert self._folder is not None
        pid = os.getpid()
        part = {
            "host": socket.gethostname(),
            "pid": pid,
            "born": _birth(pid),
            "rank": self.learn_rank(),
            "finished": finished,
            "steps": steps,
            "child": self.child,
            "written": time.time(),
            "report": json.loads(to_json(report)),
        }
        name = hashlib.sha256(f"{part['host']} {pid}".encode()).hexdigest()[:16]
        with contextlib.suppress(OSError):
            write_whole(self._folder / f"part-{name}.json", json.dumps(part).encode(), private=True)

    def _parts(self) -> list[Part]:
        assert self._folder is not None
        parts = []
        for path in sorted(self._folder.glob("part-*.json")):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError, TcstaticError):
                parts.append(_part(json.loads(path.read_bytes())))
        return parts

    def _expected(self) -> int:
        """How many ranks the launcher has started on the hosts that share our folder; a process
        that starts the ranks by itself may have said how many these will be."""
        if self._launch is None:
            return 1
        everywhere = self._launch.many_hosts and self.reports
        return self._launch.world if everywhere else self._launch.here

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the job's lock; where it cannot be had in time, go on without it."""
        assert self._folder is not None
        try:
            import fcntl

            handle = os.open(self._folder / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC)
        except (ImportError, OSError):
            yield
            return
        try:
            until = time.monotonic() + LOCK_SECONDS
            while time.monotonic() < until:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except OSError:
                    time.sleep(0.01)
            yield
        finally:
            os.close(handle)


def _together(parts: list[Part], expected: int, own: Report) -> tuple[Report, bool]:
    """Merge the parts; also tell whether every process of the job is there and has ended."""
    parts = parts or []
    heard = [p for p in parts if p.rank is not None or p.steps or p.report.findings]
    counted = heard or parts[:1]
    reports = [replace(part.report, ranks=(part.rank or 0,)) for part in counted] or [own]
    running = [part for part in parts if not part.finished and part.alive]
    incomplete = [f"{part.title} was still running" for part in running if part in counted]
    for part in counted:
        if not part.finished and part not in running:
            incomplete.append(
                f"{part.title} ended without a last word (killed?): only what it had found by"
                f" optimizer step {part.steps} is here"
            )
    started = [part for part in parts if not part.child]
    if len(started) < expected:
        known = {part.rank for part in started}
        missing = [str(rank) for rank in range(expected) if rank not in known]
        incomplete.append(f"nothing was heard of rank {', '.join(missing)}")
    merged = merge(reports)
    # The first to fail is the cause: its launcher then ends the others.
    in_time = sorted(started, key=lambda part: part.written)
    status = [part.report.exit_status for part in in_time if part.report.exit_status is not None]
    failed = [code for code in status if code]
    ended = bool(status) and all(part.finished for part in started)
    merged = replace(
        merged,
        exit_status=failed[0] if failed else (0 if ended else None),
        incomplete=(*merged.incomplete, *incomplete),
    )
    return merged, not running and len(started) >= expected


def _part(data: dict[str, Any]) -> Part:
    return Part(**{**data, "report": from_json(json.dumps(data["report"]))})


def _launched_folder(reports: tuple[Path, ...], launch: launching.Launch) -> Path:
    """The folder that all ranks of a launcher derive alike."""
    get = os.environ.get
    names = [*launching.NAMES, "TORCHELASTIC_RESTART_COUNT"]
    known = [get(name, "") for name in names]
    if not launch.many_hosts:
        # One launch has one folder for errors; without it, and where the launch has no name of its
        # own, the ranks share their parent.
        errors = get("TORCHELASTIC_ERROR_FILE", "")
        if errors:
            known.append(str(Path(errors).parent.parent))
        elif not (get("PMIX_NAMESPACE") or get(launching.STEP)):
            known.append(str(os.getppid()))
    place = _place("\0".join(known))
    return reports[0].parent / f".{place.name}" if launch.many_hosts and reports else place


def _place(key: str) -> Path:
    digest = hashlib.sha256(f"{os.getuid()} {key}".encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"tcstatic-job-{digest}"


def _started() -> float:
    """When this process was started, in seconds since the epoch; now, where nobody can say."""
    try:
        with open("/proc/uptime", "rb") as file:
            uptime = float(file.read().split()[0])
        return time.time() - uptime + int(_birth(os.getpid())) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError):
        return time.time()


def _birth(pid: int) -> str:
    """When the process was started, '' if it is gone: a number alone is given again."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        # A killed process closes its sockets, which wakes its peers, before it becomes a zombie.
        ending = fields[0] in (b"Z", b"X") or int(fields[6]) & EXITING
        return "" if ending else fields[19].decode()
    except OSError:
        pass
    if os.path.isdir("/proc/self"):
        return ""
    try:
        os.kill(pid, 0)
    except OSError:
        return ""
    return "unknown"
