"""The whole path of `--use-conda`, but for conda itself, which tests/workflow/conda_stand_in.py answers for."""

import os
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

import conda_stand_in
import pytest
import yaml
from checkout import ROOT, Checkout

UV = shutil.which("uv", path=f"{ROOT / '.boot/bin'}:{os.environ['PATH']}")


class CondaCheckout(Checkout):
    """A checkout whose jobs run in environments of their own."""

    def __init__(self, folder):
        super().__init__(folder)
        self.programs = conda_stand_in.install(folder.parent / f"{folder.name}-conda", UV)

    def environment(self):
        kept = super().environment()
        return {**kept, "PATH": f"{self.programs}:{kept['PATH']}"}

    def made(self):
        """Environments by the name that their file gives them."""
        files = (self.folder / ".snakemake" / "conda").glob("*.yaml")
        return {yaml.safe_load(file.read_text())["name"]: file.with_suffix("") for file in files}


@pytest.fixture
def conda(tmp_path):
    if not UV:
        pytest.skip("needs uv, which `make` brings")
    return CondaCheckout(tmp_path / "project")


def packages(environment):
    listed = subprocess.run(
        [UV, "pip", "freeze", "--python", f"{environment}/bin/python"], capture_output=True, text=True, check=True
    )
    return dict(line.split("==") for line in listed.stdout.splitlines() if "==" in line)


def run(checkout, *arguments):
    """A run with environments; skips where no package can be fetched."""
    text = checkout.run("--use-conda", *arguments, check=False)
    if "CreateCondaEnvironmentException" in text and ("dns error" in text or "Failed to fetch" in text):
        pytest.skip("needs packages, and cannot fetch them here")
    return text


def test_jobs_run_in_the_environment_of_their_rule(conda):
    text = run(conda, "data/demo/clips.parquet")
    assert "2 of 2 steps (100%) done" in text, text[-4000:] + conda.logs()
    made = conda.made()
    assert set(made) == {"earshot-media"}  # no other rule ran, so no other environment was made
    found, wanted = packages(made["earshot-media"]), yaml.safe_load((ROOT / "envs" / "media.yaml").read_text())["dependencies"]
    pins = dict(pin.split("==") for part in wanted if isinstance(part, dict) for pin in part["pip"])
    assert {name: found[name] for name in pins} == pins
    assert "torch" not in found
    assert f"activate {made['earshot-media']}" in text.replace("'", "") or "Activating conda environment" in text


def test_a_dry_run_names_the_environments(conda):
    """A dry run names the environments that would be made for the rules of the three demos."""
    text = conda.run("--use-conda", "--dry-run", "demo", "demo_avvp", "demo_ave")
    made = [line for line in text.splitlines() if line.startswith("Conda environment envs/")]
    assert {line.split()[2] for line in made} == {f"envs/{name}.yaml" for name in ("media", "torch", "report")}


def test_a_package_that_only_conda_has_is_refused(conda):
    file = conda.folder / "envs" / "media.yaml"
    file.write_text(file.read_text().replace("  - pip\n", "  - pip\n  - ffmpeg=7\n", 1))
    text = conda.run("--use-conda", "data/demo/clips.parquet", check=False)
    assert "ffmpeg=7: only conda has that" in text


@pytest.mark.slow
def test_the_whole_demo_gives_the_same_bytes_in_environments_of_its_own(finished, conda):
    text = run(conda)
    assert "(100%) done" in text, text[-4000:] + conda.logs()
    assert set(conda.made()) == {"earshot-media", "earshot-torch", "earshot-report"}
    assert packages(conda.made()["earshot-torch"])["torch"] == version("torch")
    assert conda.checksums() == finished.checksums()


@pytest.mark.slow
def test_every_environment_can_be_made_and_has_what_its_scripts_import(conda, tmp_path):
    from test_house import IMPORTED_AS, SCRIPTS, environment_of_rules, third_party

    modules = {package: module for module, package in IMPORTED_AS.items()}
    for name in ("language", "media", "report", "torch"):
        place = tmp_path / name
        conda_stand_in.create(UV, ROOT / "envs" / f"{name}.yaml", str(place))
        scripts = [script for script in SCRIPTS if environment_of_rules()[script.stem] == name]
        wanted = sorted(
            {modules.get(package, package).replace("-", "_") for script in scripts for package in third_party(script)}
        )
        command = [place / "bin" / "python", "-I", "-c", f"import {', '.join(wanted)}"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=Path(tmp_path))
        assert done.returncode == 0, (name, done.stderr)
