import pytest

from earshot import orphans
from earshot.errors import SetupError

SQUEUE = '#!/bin/sh\ncat "{queue}"\n'
SCANCEL = '#!/bin/sh\necho "$@" >> "{cancelled}"\n{then}\n'


@pytest.fixture
def logs(tmp_path):
    folder = tmp_path / ".snakemake" / "slurm_logs"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Programs that stand in for SLURM's: a queue in a file, which `then` empties when jobs are cancelled."""

    def install(jobs, then='true > "{queue}"', squeue=SQUEUE):
        places = {"queue": tmp_path / "queue", "cancelled": tmp_path / "cancelled"}
        places["queue"].write_text("".join(f"{number:<20}{log!s:<4096}\n" for number, log in jobs.items()))
        programs = {"squeue": squeue.format(**places), "scancel": SCANCEL.format(**places, then=then.format(**places))}
        for name, text in programs.items():
            (tmp_path / name).write_text(text)
            (tmp_path / name).chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
        return places["cancelled"]

    return install


def test_jobs_that_log_to_this_folder_are_cancelled_and_no_others(logs, slurm, tmp_path):
    elsewhere = tmp_path / "other" / ".snakemake" / "slurm_logs"
    cancelled = slurm(
        {"7": logs / "rule_a" / "7.log", "8": elsewhere / "rule_a" / "8.log", "9": logs / "rule_b" / "x y" / "%j.log"}
    )
    assert orphans.cancel(logs) == ["7", "9"]
    assert cancelled.read_text() == "7 9\n"


def test_nothing_is_cancelled_where_no_job_is_left(logs, slurm):
    cancelled = slurm({})
    assert orphans.cancel(logs) == []
    assert not cancelled.exists()


def test_a_folder_from_which_no_job_was_submitted_asks_nothing(slurm, tmp_path):
    slurm({}, squeue="#!/bin/sh\nexit 1\n")
    assert orphans.cancel(tmp_path / "absent") == []


def test_where_slurm_is_absent_nothing_is_asked(logs, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert orphans.cancel(logs) == []


def test_a_job_that_does_not_end_is_named(logs, slurm):
    slurm({"7": logs / "7.log"}, then="")
    with pytest.raises(SetupError, match=r"do not end: 7; see to them \(squeue, scancel\)"):
        orphans.cancel(logs, patience_s=0)


def test_a_cluster_that_does_not_answer_stops_the_run(logs, slurm):
    slurm({}, squeue="#!/bin/sh\necho 'error: it is down' >&2\nexit 1\n")
    with pytest.raises(SetupError, match=r"still write here \(error: it is down\)"):
        orphans.cancel(logs)
