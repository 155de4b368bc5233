"""How far a run is: counts, the estimate, and what is told of a failure."""

import io
import logging
import math
from types import SimpleNamespace

import pytest

from earshot import progress

PLAN = {"synthesize_corruption": 4, "adapt_clips": 8, "write_report": 1}
STAGES = {"synthesize_corruption": "corruptions", "adapt_clips": "adaptation", "write_report": "results"}


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def counted(clock):
    return progress.Progress(PLAN, STAGES, clock)


def run(counted, clock, number, rule, seconds):
    counted.started(number, rule, f"cell={number}", f"logs/{number}.log")
    clock.now += seconds
    return counted.finished(number)


def test_a_line_tells_stage_all_jobs_and_time(counted, clock):
    job = run(counted, clock, 1, "synthesize_corruption", 60)
    assert counted.line(job) == "corruptions: 1 of 4 jobs | all: 1 of 13 jobs (7 %), 0 running | 60 s, about 12 min left"


def test_the_estimate_knows_rules_that_were_timed_and_takes_the_mean_for_others(counted, clock):
    assert math.isnan(counted.left_s())
    run(counted, clock, 1, "synthesize_corruption", 10)
    run(counted, clock, 2, "adapt_clips", 100)
    assert counted.left_s() == pytest.approx(3 * 10 + 7 * 100 + 1 * 55)


def test_the_estimate_shares_what_is_left_among_jobs_that_run_at_once(counted, clock):
    counted.started(1, "adapt_clips", "", "")
    counted.started(2, "adapt_clips", "", "")
    clock.now += 100
    counted.finished(1)
    counted.finished(2)
    assert counted.left_s() == pytest.approx((6 * 100 + 5 * 100) / 2)


def test_time_that_running_jobs_have_had_is_not_ahead(counted, clock):
    run(counted, clock, 1, "adapt_clips", 100)
    before = counted.left_s()
    counted.started(2, "adapt_clips", "", "")
    clock.now += 40
    assert counted.left_s() == pytest.approx(before - 40)


def test_an_overdue_job_takes_nothing_off_the_others(counted, clock):
    run(counted, clock, 1, "adapt_clips", 10)
    counted.started(2, "adapt_clips", "", "")
    clock.now += 1000
    assert counted.left_s() == pytest.approx((6 * 10 + 5 * 10) / 1)


def test_what_never_said_that_it_ended_has_failed_or_is_done_when_the_run_is_over(clock):
    for well, words in (
        (True, "2 of 13 jobs (15 %), 0 running"),
        (False, "failed\n  adapt_clips: a.log\n  write_report: r.log"),
    ):
        told = progress.Progress(PLAN, STAGES, clock)
        told.started(1, "adapt_clips", "", "a.log")
        told.started(2, "write_report", "", "r.log")
        told.ended(well)
        assert words in told.page() and "\nrunning" not in told.page()


def test_a_failure_is_told_with_its_log_until_a_retry_succeeds(counted, clock):
    counted.started(1, "adapt_clips", "corruption=gauss", "logs/a.log")
    counted.stumbled(1)
    assert "failed\n  adapt_clips (corruption=gauss): logs/a.log" in counted.page()
    job = run(counted, clock, 2, "adapt_clips", 5)
    assert counted.line(job).endswith("| 1 failed")
    run(counted, clock, 1, "adapt_clips", 5)
    assert "failed" not in counted.page() and "  adaptation          2 of 8" in counted.page()


def test_the_page_tells_what_runs(counted, clock):
    counted.started(3, "write_report", "experiment=demo", "logs/r.log")
    clock.now += 7
    assert "running\n  write_report (experiment=demo), for 7 s" in counted.page()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (89, "89 s"), (90, "2 min"), (3600, "60 min"), (5400, "1 h 30 min"), (90_000, "25 h 0 min")],
)
def test_durations(seconds, text):
    assert progress.duration(seconds) == text


def event(name, **given):
    return logging.makeLogRecord({"event": name, **given})


def test_a_follower_hears_snakemakes_events(counted, clock, tmp_path):
    out = io.StringIO()
    follower = progress.Follower(counted, tmp_path / "results" / "progress.txt", out)
    follower.emit(event("job_info", jobid=1, rule_name="adapt_clips", wildcards={"seed": "0"}, log=["logs/a.log"]))
    follower.emit(event("job_error", jobid=1, log=["logs/a.log", "slurm/1.log"]))
    follower.emit(event("job_info", jobid=2, rule_name="write_report", wildcards=None, log=None))
    follower.emit(event("job_finished", job_id=2))
    follower.emit(event("job_finished", job_id=77))  # of a group, say: never told of
    follower.emit(event(None))
    told = out.getvalue().splitlines()
    assert told[0] == "[earshot] FAILED adapt_clips (seed=0): its log is logs/a.log, slurm/1.log"
    assert told[1].startswith("[earshot] results: 1 of 1 jobs | all: 1 of 13 jobs") and len(told) == 2
    page = (tmp_path / "results" / "progress.txt").read_text()
    assert page.startswith("as of 2") and "adapt_clips (seed=0): logs/a.log, slurm/1.log" in page


def test_a_full_disk_or_a_closed_terminal_ends_no_run(counted, tmp_path):
    class Closed(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    follower = progress.Follower(counted, tmp_path / "progress.txt", Closed())
    follower.emit(event("job_info", jobid=1, rule_name="adapt_clips", wildcards={}, log=[]))
    follower.emit(event("job_error", jobid=1, log=[]))
    assert "adapt_clips" in (tmp_path / "progress.txt").read_text()


def test_an_event_of_another_shape_ends_no_run(counted, tmp_path, capsys):
    follower = progress.Follower(counted, tmp_path / "progress.txt", io.StringIO())
    follower.emit(event("job_finished"))  # without the job that finished
    assert "AttributeError" in capsys.readouterr().err
    follower.emit(event("job_info", jobid=1, rule_name="adapt_clips", wildcards={}, log=[]))
    assert "adapt_clips" in (tmp_path / "progress.txt").read_text()


def test_stages_are_the_files_of_rules(tmp_path):
    rules = [("all", "/w/Snakefile"), ("adapt_clips", "/w/rules/adaptation.smk"), ("adapt_clips", "/w/rules/adaptation.smk")]
    jobs = [SimpleNamespace(rule=SimpleNamespace(name=name, snakefile=place)) for name, place in rules]
    follower = progress.follow(jobs, tmp_path / "progress.txt")
    assert follower.progress.plan == {"all": 1, "adapt_clips": 2}
    assert follower.progress.stage_of == {"all": "targets", "adapt_clips": "adaptation"}
