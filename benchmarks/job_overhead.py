"""What a job costs before it does anything: `python benchmarks/job_overhead.py`.

Every job starts Python and imports what its script needs. Prints, for Snakemake itself and each script, the CPU seconds of that
with bytecode at hand, as `make` leaves it, and for some the ratio of doing it without bytecode.
"""

import ast
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
SCRIPTS = ROOT / "workflow_scripts"
COMPARED = ("python", "snakemake", "index_dataset", "adapt_clips", "write_report")


def imports(script):
    """The import statements of a script, also those within its one block."""
    nodes = ast.walk(ast.parse(script.read_text(encoding="utf-8")))
    found = [ast.unparse(node) for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
    return "\n".join(line for line in found if "snakemake" not in line)


def cpu_s(command, **environment):
    """CPU seconds of a command, its children included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env={**os.environ, **environment}, check=True, capture_output=True, cwd=ROOT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main():
    sys.stdout.reconfigure(line_buffering=True)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPATH"] = str(SCRIPTS)
    print(f"{'':28} with [s]  without [times]")
    jobs = {"python": "", "snakemake": "import snakemake.cli"}
    jobs |= {script.stem: imports(script) for script in sorted(SCRIPTS.glob("*.py"))}
    for name, code in jobs.items():
        kept = cpu_s([sys.executable, "-c", code])
        if name not in COMPARED:
            print(f"{name:28} {kept:8.2f}")
            continue
        with tempfile.TemporaryDirectory() as empty:  # where no bytecode lies, and none is written
            bare = cpu_s([sys.executable, "-c", code], PYTHONPYCACHEPREFIX=empty, PYTHONDONTWRITEBYTECODE="1")
        print(f"{name:28} {kept:8.2f}  {bare / kept:6.1f}")


if __name__ == "__main__":
    main()
