"""What holds the project together: scripts, rules, environments and the lock agree."""

import ast
import importlib.machinery
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "workflow_scripts").glob("*.py"))
RULES = {match for file in (ROOT / "rules").glob("*.smk") for match in re.findall(r"^rule (\w+):", file.read_text(), re.M)}
# packages as they are imported, by the name under which they are installed
IMPORTED_AS = {
    "ffmpeg": "ffmpeg-python", "huggingface_hub": "huggingface-hub", "imageio_ffmpeg": "imageio-ffmpeg", "yaml": "pyyaml",
    "PIL": "pillow", "sklearn": "scikit-learn",
}  # fmt: skip


def lock():
    pins = {}
    for name, version, marker in re.findall(
        r"^([\w.-]+)==([^ \\;]+)(?: ; ([^\\]*))?", (ROOT / "requirements.lock").read_text(), re.M
    ):
        if ">= '3.12'" not in marker:
            pins[name] = version
    return pins


def test_every_rule_has_a_script_of_its_name_and_the_other_way_round():
    assert {script.stem for script in SCRIPTS} == RULES


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_script(script):
    text = script.read_text()
    assert "__future__" not in text  # Snakemake puts a preamble first
    elsewhere = [place for place in sys.path if Path(place) != script.parent]
    # a one-word name could hide a library
    assert "_" in script.stem and importlib.machinery.PathFinder.find_spec(script.stem, elsewhere) is None
    assert len(text.splitlines()) <= 40
    assert ast.get_docstring(ast.parse(text))


def environments():
    return {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / "envs").glob("*.yaml")}


@pytest.mark.parametrize("name", environments())
def test_environment_pins_equal_the_lock(name):
    dependencies = environments()[name]["dependencies"]
    pins = dict(pin.split("==") for entry in dependencies if isinstance(entry, dict) for pin in entry["pip"])
    assert pins
    assert pins == {package: lock()[package] for package in pins}


def environment_of_rules():
    found = {}
    for file in (ROOT / "rules").glob("*.smk"):
        for rule in re.split(r"^rule ", file.read_text(), flags=re.M)[1:]:
            found[rule.split(":")[0]] = re.search(r"envs/(\w+)\.yaml", rule)[1]
    return found


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_environment_provides_what_a_script_imports(script):
    environment = environments()[environment_of_rules()[script.stem]]["dependencies"]
    provided = {pin.split("==")[0] for entry in environment if isinstance(entry, dict) for pin in entry["pip"]}
    assert third_party(script) <= provided


def third_party(script):
    """Packages that a script imports, at the top of modules, through the library."""
    packages, todo, seen = set(), [script], set()
    while todo:
        path = todo.pop()
        if path in seen:
            continue
        seen.add(path)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            else:
                continue
            for name in names:
                top = name.split(".")[0]
                if top == "earshot":
                    todo += modules(name)
                elif top not in sys.stdlib_module_names and top != "snakemake":
                    packages.add(IMPORTED_AS.get(top, top))
    return packages


def modules(name):
    base = ROOT / "workflow_scripts"
    parts = name.split(".")
    found = [base.joinpath(*parts[:n]) for n in range(1, len(parts) + 1)]
    files = [path / "__init__.py" if path.is_dir() else path.with_suffix(".py") for path in found]
    return [file for file in files if file.exists()]


def tracked():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("no git checkout")
    return [ROOT / name for name in listed.stdout.splitlines()]


def test_nothing_names_a_registry_or_a_path_of_one_machine():
    # put together here, so that this file does not name them either
    hosts = [".".join(("pypi", "org")), "python" + "hosted", "npm" + "js", *(f"/{top}/" for top in ("root", "home"))]
    for path in tracked():
        if path.suffix in (".npz", ".png", ".svg"):
            continue
        text = path.read_text(encoding="utf-8")
        assert not [host for host in hosts if host in text], path


def test_the_top_level_is_as_agreed():
    names = {path.relative_to(ROOT).parts[0] for path in tracked()}
    fixed = {"Snakefile", "rules", "workflow_scripts", "envs", "config.yaml", "results", "tests", "README.md"}
    customary = {
        ".ci", ".gitignore", "CHANGELOG.md", "CITATION.cff", "LICENSE", "Makefile", "benchmarks", "docs", "profiles",
        "pyproject.toml", "requirements.in", "requirements.lock", "requirements-fetch.in", "requirements-fetch.lock",
    }  # fmt: skip
    assert fixed <= names
    assert names <= fixed | customary


@pytest.mark.parametrize(
    ("file", "hashes"), [("requirements.lock", 500), ("requirements-fetch.lock", 100), ("tests/requirements-llm.lock", 8)]
)
def test_published_names_of_the_lock_have_hashes_and_no_address(file, hashes):
    text = (ROOT / file).read_text()
    assert "http" + "://" not in text and "https" + "://" not in text
    assert text.count("--hash=sha256:") >= hashes
