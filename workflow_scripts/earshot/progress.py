"""How far a run is: a line after every job, and a file that can be read at any time.

Snakemake tells how many steps are done; this adds the stage (the file of rules that a job belongs to), what runs now, an
estimate of the time left, and where the logs of failed jobs are.
"""

import logging
import math
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

from earshot.files import write_text


@dataclass(frozen=True)
class Job:
    """A job as it is told of: its rule, its wildcards in words, where its log is, and when it began in s."""

    rule: str
    wildcards: str
    log: str
    began: float


class Progress:
    """Counts of the jobs of one run. `plan` maps the rules of all jobs to their number, `stage_of` rules to stages."""

    def __init__(
        self, plan: Mapping[str, int], stage_of: Mapping[str, str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.plan, self.stage_of, self.clock = dict(plan), stage_of, clock
        self.running: dict[int, Job] = {}
        self.failed: dict[int, Job] = {}
        self.done: Counter[str] = Counter()
        self.spent: defaultdict[str, float] = defaultdict(float)  # s of finished jobs
        self.wasted = 0.0  # s of jobs that failed
        self.start = clock()

    def started(self, number: int, rule: str, wildcards: str, log: str) -> None:
        """A job was handed to a processor or to the cluster, for the first time or again."""
        self.running[number] = Job(rule, wildcards, log, self.clock())

    def finished(self, number: int) -> Job | None:
        """A job ended well; returns it, None for a job that was never told of."""
        job = self.running.pop(number, None)
        self.failed.pop(number, None)  # it was tried again
        if job:
            self.done[job.rule] += 1
            self.spent[job.rule] += self.clock() - job.began
        return job

    def stumbled(self, number: int) -> Job | None:
        """A job failed; it stays among the failed ones unless it is tried again and ends well."""
        job = self.running.pop(number, None)
        if job:
            self.failed[number] = job
            self.wasted += self.clock() - job.began
        return job

    def ended(self, well: bool) -> None:
        """The run is over: what was never said to have ended has, or failed without a word, as for want of an output."""
        for number in list(self.running):
            if well:
                self.finished(number)
            else:
                self.stumbled(number)

    def left_s(self) -> float:
        """Estimate of the s left; NaN before the first job is done.

        What remains is taken to last as long as finished jobs of the same rule, or of all rules where there are none yet, and
        to run as many at a time as did so far.
        """
        ended, spent, elapsed = self.done.total(), sum(self.spent.values()), self.clock() - self.start
        if not ended or not elapsed:
            return math.nan
        lasts = {rule: self.spent[rule] / self.done[rule] if self.done[rule] else spent / ended for rule in self.plan}
        ahead = sum((number - self.done[rule]) * lasts[rule] for rule, number in self.plan.items())
        ages = [(self.clock() - job.began, lasts.get(job.rule, 0.0)) for job in self.running.values()]
        had = sum(min(age, expected) for age, expected in ages)  # a job that is overdue takes nothing off the others
        at_once = max(1.0, (spent + self.wasted + sum(age for age, _ in ages)) / elapsed)
        return max(0.0, ahead - had) / at_once

    def line(self, job: Job) -> str:
        """One line after a job: its stage, all jobs, time."""
        stage = self.stage_of.get(job.rule, job.rule)
        done, planned = self._count(stage)
        lost = f" | {len(self.failed)} failed" if self.failed else ""
        return f"{stage}: {done} of {planned} jobs | {self._all()}{lost}"

    def _count(self, stage: str) -> tuple[int, int]:
        """Jobs of a stage that are done, and that there are."""
        own = [rule for rule in self.plan if self.stage_of.get(rule, rule) == stage]
        return sum(self.done[rule] for rule in own), sum(self.plan[rule] for rule in own)

    def _all(self) -> str:
        done, planned, left = self.done.total(), sum(self.plan.values()), self.left_s()
        share = 100 * done // planned if planned else 100
        rest = "" if math.isnan(left) or done == planned else f", about {duration(left)} left"
        so_far = duration(self.clock() - self.start)
        return f"all: {done} of {planned} jobs ({share} %), {len(self.running)} running | {so_far}{rest}"

    def page(self) -> str:
        """Everything as text: all jobs, each stage, what runs, and what failed with its log."""
        stages = dict.fromkeys(self.stage_of.get(rule, rule) for rule in self.plan)
        counts = {stage: self._count(stage) for stage in stages}
        rows = [f"  {stage:<14} {done:>6} of {planned}" for stage, (done, planned) in counts.items()]
        now = [f"  {_named(j)}, for {duration(self.clock() - j.began)}" for j in self.running.values()]
        lost = [f"  {_named(j)}: {j.log}" for j in self.failed.values()]
        parts = [[self._all()], ["stages", *rows], ["running", *now] if now else [], ["failed", *lost] if lost else []]
        return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def duration(seconds: float) -> str:
    """A time in words of at most two units."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def _named(job: Job) -> str:
    return f"{job.rule} ({job.wildcards})" if job.wildcards else job.rule


class Follower(logging.Handler):
    """Follows Snakemake's log: prints a line after every job, and keeps the page at `path` up to date."""

    def __init__(self, progress: Progress, path: str | Path, out: TextIO | None = None) -> None:
        super().__init__()
        self.progress, self.path, self.out = progress, Path(path), out
        self._keep()

    def emit(self, record: logging.LogRecord) -> None:
        """Take note of what happened to a job. Nothing that goes wrong here ends the run: what cannot be told is not."""
        try:
            told = self._hear(str(getattr(record, "event", "") or "").lower(), record)
            if told:
                print(f"[earshot] {told}", file=self.out or sys.stderr, flush=True)
        except OSError:  # a full disk, a closed terminal
            pass
        except Exception:
            self.handleError(record)  # prints it, and raises nothing

    def _hear(self, event: str, record: Any) -> str:
        """What to say of an event; empty for nothing."""
        said = ""
        if event == "job_info":
            words = ", ".join(f"{name}={value}" for name, value in (record.wildcards or {}).items())
            self.progress.started(record.jobid, record.rule_name, words, ", ".join(_texts(record.log)))
        elif event == "job_finished":
            job = self.progress.finished(record.job_id)
            said = self.progress.line(job) if job else ""
        elif event == "job_error":
            job = self.progress.stumbled(record.jobid)
            # the cluster's own log comes with the failure: a job that was cancelled or ran out of time wrote none itself
            logs = ", ".join(_texts(record.log)) if job else ""
            if job and logs:
                job = self.progress.failed[record.jobid] = replace(job, log=logs)
            said = f"FAILED {_named(job)}: its log is {job.log or 'not kept'}" if job else ""
        else:
            return ""
        self._keep()
        return said

    def ended(self, well: bool) -> None:
        """The run is over."""
        self.progress.ended(well)
        self._keep()

    def _keep(self) -> None:
        with suppress(OSError):  # a full disk
            self._write()

    def _write(self) -> None:
        write_text(self.path, f"as of {time.strftime('%Y-%m-%d %H:%M:%S')}: {self.progress.page()}")


def _texts(values: Iterable[Any] | None) -> list[str]:
    return [str(value) for value in values or ()]


def follow(jobs: Iterable[Any], path: str | Path) -> Follower:
    """A follower of the jobs that a Snakemake run is to do; the stage of a job is the name of the file that its rule is in."""
    rules = [job.rule for job in jobs]
    stages = {rule.name: Path(str(rule.snakefile)).stem for rule in rules}
    main = {name: "targets" if stage == "Snakefile" else stage for name, stage in stages.items()}
    return Follower(Progress(Counter(rule.name for rule in rules), main), path)
