"""Runs that are interrupted in every stage, in every way, and go on to the same bytes when they are started again.

Slow: `pytest -m slow tests/workflow/test_interruptions.py` takes a quarter of an hour.
"""

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from checkout import Checkout

TARGETS = ("demo", "demo_avvp", "demo_ave")
STAGES = {"datasets", "corruptions", "audio", "backbones", "adaptation", "results", "parsing", "prompting"}
PATIENCE = 600  # s that one start may take
INTO = 0.4  # s that a job has run when it is interrupted: it reads or writes then, having imported what it needs or not

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Checksums of a run that nothing happened to."""
    checkout = Checkout(tmp_path_factory.mktemp("undisturbed"))
    checkout.run(*TARGETS)
    return results(checkout)


def results(checkout):
    """Checksums of all but what tells how long the training of a prompter took."""
    timed = (".costs.parquet", "tables/demo_ave/scores.")
    return {path: found for path, found in checkout.checksums().items() if not any(part in path for part in timed)}


def stage_of(rule):
    """The file that a rule stands in."""
    files = (Path(__file__).parents[2] / "rules").glob("*.smk")
    return next(file.stem for file in files if re.search(rf"^(use )?rule ({rule}:|\w+ as {rule} )", file.read_text(), re.M))


def running(folder):
    """The rules of the jobs that run now, as the page of progress tells."""
    page = folder / "results" / "progress.txt"
    text = page.read_text() if page.exists() else ""
    return re.findall(r"^  (\w+) ?.*, for ", text.partition("running\n")[2].partition("\n\n")[0], re.M)


def _heed_interrupts():
    """A process that was started in the background of a shell ignores SIGINT, and hands that on."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Interrupted:
    """A checkout whose runs are interrupted in jobs that were not interrupted yet, until a run comes to its end."""

    def __init__(self, folder, strike):
        self.checkout, self.strike = Checkout(folder), strike
        self.struck, self.starts = set(), 0

    def start(self):
        self.starts += 1
        (self.checkout.folder / "results" / "progress.txt").unlink(missing_ok=True)  # of the start before
        command = self.checkout.command("--cores", "2", "--", *TARGETS)
        place = {"cwd": self.checkout.folder, "env": self.checkout.environment(), "start_new_session": True}
        with open(self.checkout.folder / f"start-{self.starts}.log", "w") as log:
            return subprocess.Popen(command, **place, stdout=log, stderr=log, preexec_fn=_heed_interrupts)

    def once(self):
        """One start; the exit status, None if it was interrupted."""
        process, end = self.start(), time.monotonic() + PATIENCE
        while process.poll() is None:
            assert time.monotonic() < end, self.told()
            fresh = set(running(self.checkout.folder)) - self.struck
            if fresh:
                time.sleep(INTO)
                hit = set(running(self.checkout.folder)) & fresh
                if hit and process.poll() is None:
                    self.strike(process)
                    process.wait(timeout=60)
                    self.struck |= hit
                    return None
            time.sleep(0.02)
        return process.returncode

    def told(self):
        return (self.checkout.folder / f"start-{self.starts}.log").read_text()[-4000:]

    def to_the_end(self):
        while (status := self.once()) is None:
            assert self.starts < 100
        assert status == 0, self.told()
        return self.checkout


def interrupt(process):
    """Ctrl-C on a terminal: every process of the foreground gets it."""
    os.killpg(process.pid, signal.SIGINT)


def kill(process):
    """The power is cut, or a machine is shut down: all at once."""
    os.killpg(process.pid, signal.SIGKILL)


def kill_snakemake_alone(process):
    """Memory runs out, say: jobs that run go on for a while, and the next start meets them."""
    os.kill(process.pid, signal.SIGKILL)


@pytest.mark.parametrize("strike", [interrupt, kill, kill_snakemake_alone])
def test_interrupted_in_every_stage_a_run_goes_on_to_the_same_bytes(undisturbed, tmp_path, strike):
    interrupted = Interrupted(tmp_path, strike)
    checkout = interrupted.to_the_end()
    assert {stage_of(rule) for rule in interrupted.struck} == STAGES
    assert interrupted.starts > 20
    assert results(checkout) == undisturbed
    assert "Nothing to be done" in checkout.run(*TARGETS)
    assert "LockException" not in "".join(path.read_text() for path in tmp_path.glob("start-*.log"))


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 GiB that is a folder of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1g", "tmpfs", str(place)], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"needs a small file system, and none can be mounted: {made.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def leave(disk, free):
    """Fill the disk but for so many bytes."""
    ballast = disk / "ballast"
    ballast.unlink(missing_ok=True)
    room = shutil.disk_usage(disk).free - free
    with open(ballast, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, room))


def test_on_a_full_disk_a_run_stops_and_goes_on_to_the_same_bytes_when_there_is_room(undisturbed, small_disk):
    checkout = Checkout(small_disk / "project")
    failed = set()
    for free in [2**exponent * 125_000 for exponent in range(1, 12)]:  # 250 kB, and twice as much each time
        leave(small_disk, free)
        text = checkout.run(*TARGETS, check=False)
        assert "LockException" not in text
        if "Nothing to be done" in text or "(100%) done" in text:
            break
        told = text + checkout.logs()
        assert "No space left on device" in told, f"{free} bytes free: {told[-4000:]}"
        failed |= set(re.findall(r"^Error in rule (\w+):", text, re.M))
    (small_disk / "ballast").unlink()
    checkout.run(*TARGETS)
    assert len({stage_of(rule) for rule in failed}) > 2, failed
    assert results(checkout) == undisturbed
