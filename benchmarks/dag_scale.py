"""How large the workflow of a config is, and what planning it costs: `python benchmarks/dag_scale.py [config.yaml ...]`.

Plans (dry run) the config in a copy of the workflow that holds no data; files that a user would bring, such as checkpoints, are
empty. Prints runs, jobs, seconds and the highest memory of the planning process, and the seconds as a ratio to the demo's.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "workflow_scripts"))

from earshot import plugins  # noqa: E402
from earshot.config_files import read  # noqa: E402

# between us and what is measured: a process inherits the highest memory of the one that it was forked from
MEASURED = """\
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:]).returncode
print("KiB", resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status)
"""
PARTS = ("Snakefile", "config.yaml", "rules", "workflow_scripts", "envs", "profiles", "tests/config")


def copy(folder):
    """The workflow without its results in a folder."""
    for part in PARTS:
        source, target = ROOT / part, folder / part
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)


def bring(config, folder):
    """Empty files in place of those that a user brings."""
    places = [checkpoint.path for checkpoint in config.checkpoints.values()]
    places += [name for maps in config.label_maps.values() for name in maps.values() if "/" in name]
    places += [f"{d.root}/{d.options['labels']}" for d in config.datasets.values() if d.root and "labels" in d.options]
    for place in filter(None, places):
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).touch()
    for made in config.features.values():
        if made.root:
            (folder / made.root / plugins.describe("extractors", made.plugin)["files"]).mkdir(parents=True, exist_ok=True)
    for labels in filter(lambda labels: labels.root, config.pseudo_labels.values()):
        for side in ("CLAP", "CLIP"):
            (folder / labels.root / side / "segment_pseudo_labels").mkdir(parents=True, exist_ok=True)


def runs_of(config):
    """How many (dataset, corruption, severity, backbone, method, seed) the targets hold; parsers and prompters a seed each."""
    adapted = sum(
        len(list(config.cells(name))) * len(config.runs(name)) for name in config.targets if name in config.experiments
    )
    trained = sum(
        len(spec.datasets) * len(getattr(spec, kind)) * len(spec.seeds)
        for section, kind in ((config.parsing, "parsers"), (config.prompting, "prompters"))
        for name, spec in section.items()
        if name in config.targets
    )
    return adapted + trained


def plan(paths):
    """Jobs, seconds and MiB of planning the workflow of config files."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        copy(folder)
        bring(read([ROOT / "config.yaml", *paths]), folder)
        more = ["--configfile", *(str(path.resolve()) for path in paths)] if paths else []
        command = [sys.executable, "-m", "snakemake", *more, "--dry-run", "--quiet", "rules"]
        start = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, *command], cwd=folder, capture_output=True, text=True, check=False
        )
        seconds = time.monotonic() - start
    told = done.stdout + done.stderr
    if done.returncode:
        raise RuntimeError(told[-3000:])
    jobs = next(int(line.split()[1]) for line in told.splitlines() if line.startswith("total"))
    return jobs, seconds, int(done.stdout.rpartition("KiB ")[2]) / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("configs", nargs="*", type=Path, default=[ROOT / "tests/config/full.yaml"])
    given = parser.parse_args()
    jobs, base, memory = plan([])
    print(f"config.yaml: {jobs} jobs, {base:.1f} s, {memory:.0f} MiB")
    runs = runs_of(read([ROOT / "config.yaml", *given.configs]))
    jobs, seconds, memory = plan(given.configs)
    names = " ".join(path.name for path in given.configs)
    print(f"{names}: {runs:,} runs in {jobs:,} jobs, {seconds:.1f} s, {memory:.0f} MiB; {seconds / base:.1f} times the first")


if __name__ == "__main__":
    main()
