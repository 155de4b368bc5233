"""Jobs of a dead run that still wait or run on a SLURM cluster, and would write what the next run writes."""

import shutil
import subprocess
import time
from pathlib import Path

from earshot.errors import SetupError

_ID_WIDTH = 20
_PATH_WIDTH = 4096


def cancel(logs: Path, patience_s: float = 300.0) -> list[str]:
    """Cancel this user's jobs whose logs lie under `logs`, wait until all have ended, and return their ids.

    `logs` is where Snakemake's SLURM executor keeps the logs of one working folder. Where there is none, or no SLURM, no job
    was ever submitted and nothing is asked. The caller holds the lock of that folder, so whoever submitted them is gone.
    SetupError if the cluster does not answer, or if a job has not ended after `patience_s` seconds.
    """
    if not logs.is_dir() or shutil.which("squeue") is None:
        return []
    found = left = _submitted(logs)
    if found:
        _output("scancel", *found)
    end = time.monotonic() + patience_s
    while left:
        if time.monotonic() > end:
            raise SetupError(
                f"jobs of an earlier run do not end: {', '.join(left)}; see to them (squeue, scancel), then run again"
            )
        time.sleep(1)
        left = _submitted(logs)
    return found


def _submitted(logs: Path) -> list[str]:
    """Ids of this user's jobs that wait, run or are about to end, and log to a file under `logs`."""
    listing = _output("squeue", "--me", "--all", "--noheader", f"--Format=JobID:{_ID_WIDTH},STDOUT:{_PATH_WIDTH}")
    jobs = [(line[:_ID_WIDTH].strip(), Path(line[_ID_WIDTH:].strip())) for line in listing.splitlines()]
    return [job for job, log in jobs if log.is_relative_to(logs.resolve())]


def _output(program: str, *arguments: str) -> str:
    done = subprocess.run([program, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or [f"it ended with {done.returncode}"]
        raise SetupError(
            f"{program} does not tell whether jobs of an earlier run still write here ({reason[0]}); "
            "where SLURM is gone for good, remove .snakemake/slurm_logs"
        )
    return done.stdout
