"""Debian packages that some tests need and may install: as root, with EARSHOT_TEST_INSTALLS=1, which `.ci/run` sets."""

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

ALLOWED = "EARSHOT_TEST_INSTALLS"


class CannotInstall(Exception):
    """Why a package cannot be installed here."""


def install(*packages):
    """Install packages by apt-get, one process at a time."""
    if os.environ.get(ALLOWED) != "1":
        raise CannotInstall(f"{ALLOWED} is not 1")
    if os.getuid() != 0 or shutil.which("apt-get") is None:
        raise CannotInstall("installing takes root and apt-get")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with open(Path(tempfile.gettempdir()) / "earshot-apt.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *packages]):
            done = subprocess.run(["apt-get", *command], env=environment, capture_output=True, text=True, check=False)
            if done.returncode:
                raise CannotInstall(f"apt-get {command[0]} failed: {done.stderr.strip()[-500:]}")
