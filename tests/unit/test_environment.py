"""What a run ran on."""

import shutil
import subprocess

import pytest

from earshot import environment


@pytest.fixture
def repository(tmp_path):
    if not shutil.which("git"):
        pytest.skip("needs git, which is not installed")
    (tmp_path / "tracked").write_text("1")
    someone = ["-c", "user.name=x", "-c", "user.email=x@example.com"]
    for command in (["init", "-q"], ["add", "tracked"], [*someone, "commit", "-q", "-m", "First"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    return tmp_path


def test_the_revision_is_the_commit_and_tells_of_edits(repository):
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=repository, capture_output=True, text=True, check=True
    ).stdout.strip()
    assert environment.revision(repository) == commit
    (repository / "new").write_text("not tracked")
    assert environment.revision(repository) == commit
    (repository / "tracked").write_text("2")
    assert environment.revision(repository) == f"{commit}+edits"


def test_a_repository_around_the_folder_is_not_its_own(repository, tmp_path_factory):
    (repository / "inner").mkdir()
    assert environment.revision(repository / "inner") == "unknown"
    assert environment.revision(tmp_path_factory.mktemp("outside")) == "unknown"


def test_everything_is_plain_values():
    told = environment.describe({"seed": 0})
    assert told["config"] == {"seed": 0} and {"revision", "python", "libraries", "cores", "gpus"} <= set(told)
    assert told["libraries"]["torch"] != "not installed"
