"""Copies of the project in which the workflow runs, is killed, and is edited."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
PARTS = ("Snakefile", "config.yaml", "rules", "workflow_scripts", "envs", "profiles", "tests/config")
# what a run of one config must give to the last byte; timings and logs may differ
COMPARED = (
    "predictions",
    "metrics",
    "tables",
    "tuning",
    "label_maps",
    "audio_scores",
    "source_statistics",
    "training",
    "parses",
)


class Checkout:
    """A copy of the workflow in a folder of its own."""

    def __init__(self, folder):
        self.folder = folder
        for part in PARTS:
            source, target = ROOT / part, folder / part
            target.parent.mkdir(parents=True, exist_ok=True)
            ignore = shutil.ignore_patterns("*.pyc")  # kernels stay compiled
            shutil.copytree(source, target, ignore=ignore) if source.is_dir() else shutil.copy(source, target)

    def command(self, *arguments, config="tests/config/tiny.yaml"):
        files = [config] if isinstance(config, str) else config
        return [sys.executable, "-m", "snakemake", "--configfile", *files, *arguments]

    def environment(self):
        kept = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        return {**kept, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}

    def run(self, *arguments, cores=2, check=True, config="tests/config/tiny.yaml"):
        command = self.command("--cores", str(cores), *arguments, config=config)
        done = subprocess.run(command, cwd=self.folder, env=self.environment(), capture_output=True, text=True)
        text = done.stdout + done.stderr
        assert not check or done.returncode == 0, text[-6000:] + self.logs()
        return text

    def logs(self):
        found = [path for path in (self.folder / "results" / "logs").rglob("*.log") if "Traceback" in path.read_text()]
        return "".join(f"\n--- {path}\n{path.read_text()[-2000:]}" for path in found)

    def jobs(self, *arguments, **options):
        """Names of the rules that a dry run would execute."""
        text = self.run("--dry-run", "--quiet", "rules", *arguments, **options)
        if "Job stats" not in text:
            return set()
        lines = text.partition("Job stats:")[2].partition("total")[0].splitlines()[3:]
        return {line.split()[0] for line in lines if line.strip()} - {"all"}

    def kill_when(self, ready, timeout=240):
        """Start a run, wait for `ready(folder)`, and end its whole process group with SIGKILL; tells whether it was running."""
        with open(self.folder / "killed.log", "a") as log:
            command, place = self.command("--cores", "2"), {"cwd": self.folder, "env": self.environment()}
            process = subprocess.Popen(command, **place, stdout=log, stderr=log, start_new_session=True)
        end = time.monotonic() + timeout
        while process.poll() is None and time.monotonic() < end and not ready(self.folder):
            time.sleep(0.02)
        running = process.poll() is None
        if running:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return running

    def checksums(self):
        """SHA-256 of everything that must be the same, by path."""
        found = [path for part in COMPARED for path in (self.folder / "results" / part).rglob("*") if path.is_file()]
        found += [path for kind in ("*.mp4", "*.safetensors", "clips.parquet") for path in (self.folder / "data").rglob(kind)]
        kept = [path for path in found if ".timing." not in path.name]
        return {str(path.relative_to(self.folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in kept}

    def edit(self, file, old, new):
        path = self.folder / file
        text = path.read_text()
        assert old in text, f"{old!r} is not in {file}"
        path.write_text(text.replace(old, new))

    def write_config(self, name, values):
        (self.folder / name).write_text(yaml.safe_dump(values))
        return name
