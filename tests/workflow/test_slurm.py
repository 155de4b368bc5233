"""The workflow through profiles/slurm on a SLURM cluster of this machine: what succeeds, fails, is cancelled or dies there.

Runs where SLURM's programs are installed, or may be: as root with EARSHOT_TEST_INSTALLS=1.
"""

import os
import re
import shutil
import signal
import subprocess
import time
from collections import defaultdict
from pathlib import Path

import pytest
import yaml
from checkout import ROOT, Checkout
from slurm_cluster import SlurmCluster, SlurmUnavailable

pytestmark = pytest.mark.slurm

PROFILE_FILE = "profiles/slurm/config.yaml"
PROFILE = yaml.safe_load((ROOT / PROFILE_FILE).read_text())
# as users run it, but for how often the cluster is asked: these jobs take seconds
THROUGH_SLURM = (
    "--workflow-profile", "profiles/slurm", "--slurm-init-seconds-before-status-checks", "1", "--latency-wait", "5",
)  # fmt: skip
CONFIG = ["tests/config/tiny.yaml", "tests/config/cluster.yaml"]
RESOURCES = r"^    resources:\n((?: {8}.*\n)+)"
PREDICTIONS = "results/predictions/on_cluster/demo/contrast-5/tanet_small.parquet"


@pytest.fixture(scope="module")
def cluster():
    """Two nodes with a GPU each."""
    found = SlurmCluster()
    try:
        found.install()
        found.start()
    except SlurmUnavailable as reason:
        pytest.skip(f"no SLURM cluster: {reason} (as root, EARSHOT_TEST_INSTALLS=1 installs one)")
    yield found
    found.stop()


class ClusterRun:
    """One run of Snakemake through the profile, in a copy of the project."""

    def __init__(self, cluster, folder, *targets):
        self.cluster, self.checkout = cluster, Checkout(folder)
        shutil.copy(Path(__file__).with_name("cluster.smk"), folder)
        self.targets = targets

    def start(self):
        command = self.checkout.command("--snakefile", "cluster.smk", *THROUGH_SLURM, "--", *self.targets, config=CONFIG)
        environment = {**self.checkout.environment(), **self.cluster.environment()}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        with open(self.checkout.folder / "run.log", "w") as log:
            place = {"cwd": self.checkout.folder, "env": environment, "start_new_session": True}
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **place)

    def end(self):
        """Wait for the end: the exit status and all that was printed."""
        try:
            self.process.wait(600)
        finally:
            self.kill()
        return self.process.returncode, self.text()

    def kill(self):
        """SIGKILL to Snakemake and its children here; what runs on the cluster is not touched."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def text(self):
        return (self.checkout.folder / "run.log").read_text()

    def times_begun(self, kind):
        path = self.checkout.folder / "results" / "cluster" / f"{kind}.runs"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def wait_for(self, happens, seconds=240):
        """Wait until something is the case while Snakemake runs."""
        end = time.monotonic() + seconds
        while not happens():
            assert self.process.poll() is None and time.monotonic() < end, self.text()
            time.sleep(0.2)

    def submitted(self, rule):
        """What SLURM knows of each job of a rule that this run and those before it in its folder submitted, in order."""
        numbers = re.findall(r"submitted with SLURM jobid (\d+) \(log: \S*/rule_" + rule + "/", self.text())
        return [self.cluster.facts(number) for number in numbers]


@pytest.fixture(scope="module")
def workflow(cluster, tmp_path_factory):
    """The workflow itself, from nothing to predictions; started early, since most of the time is spent on waiting."""
    run = ClusterRun(cluster, tmp_path_factory.mktemp("workflow"), PREDICTIONS)
    # as users fill it in, where GPUs have a partition of their own
    gpus = "    slurm_partition: {}\n    {}constraint: a100"
    run.checkout.edit(PROFILE_FILE, gpus.format("main", "# "), gpus.format("gpus", ""))
    run.checkout.edit(PROFILE_FILE, "  # slurm_extra:", "  slurm_extra:")
    run.start()
    yield run
    run.kill()


@pytest.fixture(scope="module")
def mishaps(cluster, workflow, tmp_path_factory):
    """One run in which a job fails once, one always, one is cancelled from outside, and four share two GPUs."""
    names = ("a.fails_once", "b.fails_always", "c.waits", *(f"{i}.gpu" for i in range(4)))
    run = ClusterRun(cluster, tmp_path_factory.mktemp("mishaps"), *(f"results/cluster/{name}" for name in names))
    run.start()
    run.wait_for(lambda: run.times_begun("c"))
    [waiting] = [job["JobId"] for job in run.submitted("wait_at_first")]
    cluster.run("scancel", waiting)
    run.status, run.output = run.end()
    return run


def made(run, name):
    return (run.checkout.folder / "results" / "cluster" / name).exists()


def test_a_job_that_fails_once_gets_more_memory_and_time_and_succeeds(mishaps):
    first, second = mishaps.submitted("fail_once")
    assert (first["JobState"], second["JobState"]) == ("FAILED", "COMPLETED")
    assert (first["MinMemoryNode"], second["MinMemoryNode"]) == ("1000M", "2000M")
    assert (first["TimeLimit"], second["TimeLimit"]) == ("00:05:00", "00:10:00")
    assert made(mishaps, "a.fails_once")


def test_a_job_that_always_fails_is_tried_as_often_as_the_profile_says(mishaps):
    jobs = mishaps.submitted("fail_always")
    assert len(jobs) == mishaps.times_begun("b") == PROFILE["retries"] + 1
    assert [job["MinMemoryNode"] for job in jobs] == ["4000M", "8000M", "12000M"]
    assert [job["TimeLimit"] for job in jobs] == ["01:00:00", "02:00:00", "03:00:00"]


def test_a_failed_run_says_so_and_where_the_log_is(mishaps):
    assert mishaps.status != 0
    logs = {Path(log) for log in re.findall(r"\S+/slurm_logs/rule_fail_always/\S+/\d+\.log", mishaps.output)}
    assert logs
    assert all("this is why" in log.read_text() for log in logs)


def test_a_cancelled_job_is_noticed_and_runs_again(mishaps):
    assert [job["JobState"] for job in mishaps.submitted("wait_at_first")] == ["CANCELLED", "COMPLETED"]
    assert made(mishaps, "c.waits")


def test_one_failed_job_does_not_keep_others_from_running(mishaps):
    assert all(made(mishaps, f"{i}.gpu") for i in range(4))
    assert not made(mishaps, "b.fails_always")


def test_jobs_never_share_a_gpu(mishaps):
    jobs = mishaps.submitted("show_gpu")
    users = defaultdict(list)
    for job in jobs:
        node, device = (mishaps.checkout.folder / "results" / "cluster" / f"{number_of(job)}.gpu").read_text().split()
        assert node == job["NodeList"]
        users[node, device].append((job["StartTime"], job["EndTime"]))
    assert sorted(len(times) for times in users.values()) in ([1, 3], [2, 2])
    for times in users.values():
        ends = [end for _, end in sorted(times)]
        begins = [begin for begin, _ in sorted(times)]
        assert all(end <= begin for end, begin in zip(ends, begins[1:], strict=False))


def number_of(job):
    return re.search(r"wildcards_(\d+)", job["Comment"])[1]


def test_a_killed_run_is_resumed_and_its_orphaned_jobs_are_cancelled_first(cluster, tmp_path):
    run = ClusterRun(cluster, tmp_path, "results/cluster/d.waits")
    run.start()
    run.wait_for(lambda: run.times_begun("d"))
    [orphan] = [job["JobId"] for job in run.submitted("wait_at_first")]
    run.kill()
    assert cluster.facts(orphan)["JobState"] == "RUNNING"
    run.start()
    status, text = run.end()
    assert status == 0, text
    assert f"cancelled jobs of an earlier run that was killed: {orphan}" in text
    [job] = run.submitted("wait_at_first")
    assert cluster.facts(orphan)["JobState"] == "CANCELLED"
    assert cluster.facts(orphan)["EndTime"] <= job["StartTime"]
    assert made(run, "d.waits")


@pytest.mark.slow
def test_a_job_that_runs_out_of_time_gets_enough_of_it(cluster, tmp_path):
    run = ClusterRun(cluster, tmp_path, "results/cluster/f.takes_long")
    run.start()
    status, text = run.end()
    assert status == 0, text
    jobs = run.submitted("take_long")
    assert [(job["JobState"], job["TimeLimit"]) for job in jobs] == [("TIMEOUT", "00:01:00"), ("COMPLETED", "00:02:00")]
    assert made(run, "f.takes_long")


@pytest.mark.slow
def test_a_job_whose_node_dies_runs_on_another(cluster, tmp_path):
    run = ClusterRun(cluster, tmp_path, "results/cluster/e.waits")
    run.start()
    run.wait_for(lambda: run.times_begun("e"))
    [job] = run.submitted("wait_at_first")
    cluster.kill_node(job["NodeList"])
    status, text = run.end()
    cluster.start_node(job["NodeList"])
    assert status == 0, text
    assert "node failure" in text
    dead, again = run.submitted("wait_at_first")
    assert (dead["JobState"], again["JobState"]) == ("NODE_FAIL", "COMPLETED")
    assert dead["NodeList"] != again["NodeList"]
    assert made(run, "e.waits")


def test_predictions_from_the_cluster_are_those_of_a_local_run(workflow, tmp_path):
    """Videos, their table, a corrupted set, a trained model, adaptation; the last two with a GPU each."""
    local = Checkout(tmp_path)
    local.run(PREDICTIONS, config=CONFIG)
    status, text = workflow.end()
    assert status == 0, text + workflow.checkout.logs()
    assert PREDICTIONS in local.checksums()
    assert workflow.checkout.checksums() == local.checksums()
    rules = ("prepare_dataset", "index_dataset", "synthesize_corruption", "train_source", "adapt_clips")
    [*_, train, adapt] = [job for rule in rules for job in workflow.submitted(rule)]
    assert {job["JobState"] for rule in rules for job in workflow.submitted(rule)} == {"COMPLETED"}
    assert train["TresPerJob"] == adapt["TresPerJob"] == "gres:gpu:1"


def test_partitions_constraints_and_options_of_the_profile_reach_the_cluster(workflow):
    status, text = workflow.end()
    assert status == 0, text
    [without], [with_gpu] = workflow.submitted("prepare_dataset"), workflow.submitted("adapt_clips")
    assert (without["Partition"], without["Features"]) == ("main", "(null)")
    assert (with_gpu["Partition"], with_gpu["Features"]) == ("gpus", "a100")
    assert without["Nice"] == with_gpu["Nice"] == "100"


def test_what_the_cluster_made_is_finished_for_a_run_without_it(workflow):
    status, text = workflow.end()
    assert status == 0, text
    assert workflow.checkout.jobs("--", PREDICTIONS, config=CONFIG) == set()


def test_every_rule_with_a_gpu_has_the_partition_of_the_gpus():
    """In the profile one anchor names it; a rule that is forgotten there would wait for a GPU where there is none."""
    found = set()
    for file in (ROOT / "rules").glob("*.smk"):
        blocks = re.split(r"^(?:use )?rule ", file.read_text(), flags=re.M)[1:]
        with_gpu = {re.match(r"\w+", block)[0] for block in blocks if "gpu=1" in block}
        inherited = {m[2] for block in blocks if (m := re.match(r"(\w+) as (\w+) with:", block)) and m[1] in with_gpu}
        found |= with_gpu | inherited
    assert found == set(PROFILE["set-resources"])
    assert len({str(values) for values in PROFILE["set-resources"].values()}) == 1


def test_every_rule_asks_for_more_at_every_retry():
    blocks = [block for file in (ROOT / "rules").glob("*.smk") for block in re.findall(RESOURCES, file.read_text(), re.M)]
    asked = [line.strip() for block in blocks for line in block.splitlines() if re.match(r" +(mem_mb|runtime)=", line)]
    assert asked
    assert not [line for line in asked if not re.fullmatch(r"\w+=growing\([\d_]+\),", line)]
    assert all("attempt *" in PROFILE["default-resources"][name] for name in ("mem_mb", "runtime"))
