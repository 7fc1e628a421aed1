"""A session: probes wired to monitors in one process, its findings told, its report kept."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, final

from tcstatic.check import Driver, parted
from tcstatic.model import (
    Event,
    EventSink,
    Finding,
    InvariantCounts,
    ProbeCounts,
    ProbePlan,
    Report,
    RunOptions,
)
from tcstatic.report import finding_block, summary
from tcstatic.runtime.live.imports import when_imported
from tcstatic.runtime.live.job import Job
from tcstatic.runtime.live.terminal import say
from tcstatic.runtime.probes import Watch

# How much a killed process may have seen and not written.
PART_SECONDS: Final = 5.0
# A process group may come late, and be taken down again: how often a process looks for its rank.
RANK_STEPS: Final = 64
PROBES: Final = ("after", "on", "target", "loop")


@final
class Stop(SystemExit):
    """Ends the program at the first error: passes `except Exception`, runs every `finally`."""

    def __init__(self) -> None:
        super().__init__(1)


@final
@dataclass(frozen=True, slots=True)
class Calling:
    """How the program was started, as the report tells it."""

    command: str
    script: str
    options: RunOptions


@final
class Session:
    """Watches this process until `finish`. Only `settle` ever raises, and only `Stop`.

    State: the driver's findings, whether an error was seen, and has stopped the run, what of our
    own has failed, the script's exit `status` once it has ended, and the one `promised` to Python
    before threads were joined. Nothing is ever reset: a forked child makes a session of its own.
    """

    def __init__(
        self, plan: ProbePlan, calling: Calling, job: Job, sink: EventSink | None = None
    ) -> None:
        self.plan = plan
        self.calling = calling
        self.job = job
        self.pid = os.getpid()
        self.status: int | None = None
        self.promised: int | None = None
        # A class: dynamo traces a callable that it finds in builtins, but no module there.
        self.probes = type("_tcstatic", (), {})
        self._lock = threading.RLock()
        self._finished = False
        self._failures: dict[str, str] = {}
        self._errors = False
        self._stopped = False
        self._settled = 0
        self._published = time.monotonic()
        self._last_counts = ProbeCounts()
        self._sink = sink
        self._driver = Driver(plan.invariants)
        self._watch = Watch(
            plan.sites,
            plan.root,
            self._driver.needs,
            calling.options.overhead_budget,
            self._emit,
            self.settle,
            # Calls are told of where they are recorded, and those that invariants name.
            [os.path.join(plan.root, file.path) for file in plan.files]
            if sink or self._driver.needs.calls
            else [],
            libraries=plan.libraries,
            all_calls=sink is not None,
        )

    def start(self) -> None:
        """Begin to watch: from here on, `probes` holds the functions that rewritten code calls."""
        for name in PROBES:
            setattr(self.probes, name, staticmethod(getattr(self._watch, name)))
        self.job.begin(self.report())
        when_imported("torch", self._torch_imported)
        when_imported("torch._dynamo", self._dynamo_imported)

    @property
    def busy(self) -> bool:
        """Whether the calling thread is in the midst of judging."""
        return self._lock._is_owned()  # type: ignore[attr-defined,no-any-return]

    def settle(self) -> None:
        """Judge what is due, tell what is new; raises Stop after an error if so asked."""
        with self._lock:
            if self._finished:
                return
            due = time.monotonic() - self._published > PART_SECONDS
            self._settled += 1
            # Nothing to tell at most steps: they must cost next to nothing.
            early = self._settled < RANK_STEPS
            if due or early or self._driver.failing or not self._settled % RANK_STEPS:
                self.job.learn_rank()
                self._judge(final=False)
            if due:
                if self._sink is not None:
                    self._sink.flush(self.job.learn_rank())
                self._publish(everywhere=self.job.alone)
        if self._errors and self.calling.options.on_violation == "stop":
            if not (self._stopped or self.calling.options.quiet):
                say("tcstatic: stopped at the first error, as --on-violation stop asks")
            self._stopped = True
            raise Stop

    def judge(self) -> None:
        """As `settle`, at the end of the script, with threads still running; never raises."""
        with self._lock:
            if not self._finished:
                with self._contained("probes"):
                    self._watch.flush()
                self._judge(final=False)

    def finish(self) -> None:
        """Judge what is pending, take the probes away, write the report; once."""
        with self._lock:
            if self._finished or os.getpid() != self.pid:
                return
            self._close()
            self._judge(final=True)
            if self._sink is not None:
                self._sink.end(self.job.learn_rank(), self.status, self._last_counts)
            self._finished = True
            with self._contained("report"):
                merged = self.job.finish(self.report(), self._steps())
                if merged is not None:
                    self._errors = self._errors or _has_error(merged.findings)
                    if not self.calling.options.quiet:
                        say(summary(merged))

    def abandon(self) -> None:
        """In a forked child: nothing is seen from here on, and nothing is written."""
        # The lock may have been held by a thread that the child does not have.
        self._lock = threading.RLock()
        self._finished = True
        if self._sink is not None:
            self._sink.abandon()
        with self._contained("probes"):
            self._watch.pause()

    def final_status(self, status: int) -> int:
        """The process's exit status, given the script's own."""
        failed = self._errors and self.calling.options.on_violation != "warn"
        return 1 if failed and status == 0 else status

    def report(self) -> Report:
        """Everything that is known by now."""
        plan, driver = self.plan, self._driver
        probes = self._last_counts if self._finished else self._counts()
        counts = InvariantCounts()
        findings: tuple[Finding, ...] = ()
        silenced: tuple[Finding, ...] = ()
        with self._contained("report"):
            counts = driver.counts()
            findings, silenced = parted(driver.findings(), plan.suppressions)
        out = {code: verdict.reason for code, verdict in plan.out_of_scope}
        skipped = tuple((file.path, file.reason) for file in plan.skipped)
        if self._sink is not None and self._sink.problem:
            self._failures.setdefault("trace", self._sink.problem)
        return Report(
            command=self.calling.command,
            script=self.calling.script,
            exit_status=self.status,
            invariants=replace(counts, out_of_scope={**out, **counts.out_of_scope}),
            findings=findings,
            probes=replace(
                probes,
                disabled=(*probes.disabled, *self._failures.items()),
                skipped=(*probes.skipped, *skipped),
            ),
            ranks=(self.job.learn_rank() or 0,),
            silenced=silenced,
        )

    def _emit(self, events: Sequence[Event]) -> None:
        with self._lock:
            if self._finished:
                return
            if self._sink is not None:
                self._sink.take_all(events)
            if events and events[-1].rank:
                self.job.has_rank(events[-1].rank)
            if "monitors" in self._failures:
                return
            try:
                self._driver.feed_all(events)
            except Exception as error:
                self._failed("monitors", error)

    def _judge(self, *, final: bool) -> None:
        new: tuple[Finding, ...] = ()
        with self._contained("monitors"):
            settled = self._driver.settle(final=final, whole=not self.status)
            new, _ = parted(settled, self.plan.suppressions)
        if self._sink is not None and not final:
            self._sink.settled()
        self._errors = self._errors or _has_error(new)
        for finding in new:
            with self._contained("report"):
                if self.job.claim(finding.fingerprint) and not self.calling.options.quiet:
                    say(finding_block(finding))
        if new:
            self._publish(everywhere=True)

    def _publish(self, *, everywhere: bool) -> None:
        self._published = time.monotonic()
        if self.job.alone and not self.job.reports:
            return
        with self._contained("report"):
            self.job.publish(self.report(), self._steps(), everywhere=everywhere)

    def _close(self) -> None:
        with self._contained("probes"):
            self._last_counts = self._watch.close(patient=not self.status)

    def _counts(self) -> ProbeCounts:
        counts = ProbeCounts()
        with self._contained("probes"):
            counts = self._watch.counts()
        return counts

    def _steps(self) -> int:
        steps = 0
        with self._contained("probes"):
            steps = self._watch.steps
        return steps

    def _torch_imported(self) -> None:
        with self._contained("probes"):
            self._watch.torch_imported()

    def _dynamo_imported(self) -> None:
        with self._contained("probes"):
            self._watch.dynamo_imported()

    @contextlib.contextmanager
    def _contained(self, part: str) -> Iterator[None]:
        """Training goes on whatever fails in here; the summary names the first failure."""
        try:
            yield
        except Exception as error:
            self._failed(part, error)

    def _failed(self, part: str, error: Exception) -> None:
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        self._failures.setdefault(part, reason)


def _has_error(findings: Iterable[Finding]) -> bool:
    return any(finding.severity == "error" for finding in findings)
