"""What `snakemake --use-conda` asks of conda, answered without conda: environments are virtual environments made by uv.

This is no conda: there is no solver and no channel. Of an environment file it takes the Python version, and installs the pip
section for real; any other package of conda's is refused, so that a file that grows one is noticed. `install` puts it in place.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import yaml

KNOWN = {"pip"}  # beside python: what a virtual environment has anyway
PLATFORM = "linux-64"


def install(folder, uv):
    """Make `folder`, to be put first on PATH, with a `conda` that uses that uv, and what Snakemake sources to activate."""
    programs = folder / "bin"
    programs.mkdir(parents=True)
    conda = programs / "conda"
    conda.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{Path(__file__).resolve()}" "{uv}" "{folder}" "$@"\n')
    conda.chmod(0o755)
    (programs / "activate").write_text('export CONDA_PREFIX="$1" PATH="$1/bin:$PATH"\n')
    return programs


def main(uv, folder, *words):
    """Answer one command of conda's."""
    with open(Path(folder) / "calls.log", "a") as log:
        log.write(" ".join(words) + "\n")
    match words:
        case ("--version",):
            print("conda 25.1.0")
        case ("info", "--json"):
            print(json.dumps({"conda_prefix": folder, "platform": PLATFORM, "conda_version": "25.1.0"}))
        case ("config", "--get", "channel_priority", "--json"):
            print(json.dumps({"get": {"channel_priority": "strict"}}))
        case ("clean", *_):
            pass
        case ("env", "create", *options):
            create(uv, Path(options[options.index("--file") + 1]), options[options.index("--prefix") + 1])
        case _:
            sys.exit(f"no answer to: conda {' '.join(words)}")


def create(uv, file, prefix):
    """A virtual environment in `prefix` with what an environment file asks for."""
    given = yaml.safe_load(file.read_text(encoding="utf-8"))
    if given.keys() - {"name", "channels", "dependencies"}:
        sys.exit(f"{file}: keys {sorted(given)} are not all known")
    pins, python = [], ""
    for wanted in given["dependencies"]:
        if isinstance(wanted, dict):
            pins += wanted["pip"]
        elif wanted.startswith("python="):
            python = wanted.removeprefix("python=")
        elif wanted not in KNOWN:
            sys.exit(f"{file}: {wanted}: only conda has that")
    listing = Path(f"{prefix}.txt")
    listing.parent.mkdir(parents=True, exist_ok=True)
    listing.write_text("\n".join(pins) + "\n")
    unset = ("UV_FIND_LINKS", "VIRTUAL_ENV", "CONDA_PREFIX")
    kept = {name: value for name, value in os.environ.items() if name not in unset}
    subprocess.run([uv, "venv", "--quiet", "--python", python, prefix], check=True, env=kept)
    fetch = [uv, "pip", "install", "--quiet", "--python", f"{prefix}/bin/python", "--requirement", str(listing)]
    subprocess.run(fetch, check=True, env=kept)


if __name__ == "__main__":
    main(*sys.argv[1:])
