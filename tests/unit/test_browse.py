"""MLflow's own pages in a real browser: what a user sees after `make browse`."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import fake_results as fake
import pandas as pd
import pytest
import yaml
from browser import opened

from earshot import browse, data_facts, scoring, tables, tracking

ROOT = Path(__file__).parents[2]
METHODS = ("source", "vitta")
STARTS = 120  # seconds that a server may take on a busy machine


def free_port():
    with socket.socket() as found:
        found.bind((browse.HOST, 0))
        return found.getsockname()[1]


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """A database that holds one benchmark of two methods under two conditions, two seeds."""
    root = tmp_path_factory.mktemp("browse")
    paths = fake.write_experiment(root, corruptions=("clean", "gauss"), methods=METHODS, clips=12)
    scores = scoring.score(paths, {"toy": scoring.Vocabulary(dict(enumerate(fake.CLASSES)))})
    about = tables.about(SimpleNamespace(title="Toy", protocol=fake.PROTOCOL, split="test", seeds=[0, 1], methods=fake.METHODS))
    metrics = data_facts.marked(scores.metrics, {"toy": {"split_sha256": "5" * 64}})
    made = tables.build(metrics, about, scores.classes)
    source = tracking.Source("toy", metrics, about, {}, made, by_class=pd.DataFrame(scores.classes))
    uri = f"sqlite:///{root}/mlflow.db"
    said = tracking.log(uri, "earshot-toy", source)
    config = root / "mine.yaml"
    config.write_text(yaml.safe_dump({"mlflow": {"uri": uri}}))
    return SimpleNamespace(root=root, uri=uri, said=said, config=config, source=source)


def command(config, port):
    return [sys.executable, "-m", "earshot.browse", str(ROOT / "config.yaml"), str(config), "--port", str(port)]


def environment():
    return {**os.environ, "PYTHONPATH": str(ROOT / "workflow_scripts")}


@pytest.fixture(scope="module")
def served(database):
    """The address that `make browse` serves the database at, and what it printed."""
    port = free_port()
    address, log = f"http://{browse.HOST}:{port}", database.root / "server.log"
    with open(log, "w") as out:
        given = {"stdout": out, "stderr": out, "cwd": database.root, "env": environment()}
        process = subprocess.Popen(command(database.config, port), start_new_session=True, **given)
    try:
        end = time.monotonic() + STARTS
        while not answers(f"{address}/health"):
            assert process.poll() is None and time.monotonic() < end, log.read_text()[-3000:]
            time.sleep(0.2)
        yield SimpleNamespace(address=address, port=port, log=log)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)


def answers(url):
    try:
        return urllib.request.urlopen(url, timeout=5).status == 200
    except OSError:
        return False


def test_it_prints_where_the_runs_of_each_benchmark_are(served, database):
    wanted = f"earshot-toy: {served.address}/#/experiments/{database.said['experiment_id']}/runs?workflowType=machine_learning"
    assert wanted in served.log.read_text()


def test_it_listens_on_loopback_alone(served):
    lines = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    places = [place.split(":") for _, place, _, state, *_ in lines if state == "0A"]  # listening
    assert {host for host, port in places if int(port, 16) == served.port} == {"0100007F"}


def test_the_table_of_runs_shows_what_was_logged(served, database, chromium, tmp_path):
    url = dict(browse.links(database.uri, "earshot-", served.address))["earshot-toy"]
    with opened(chromium, url, served.address, viewport={"width": 1600, "height": 950}) as seen:
        page = seen.page
        runs = [f"{m} · {c} · seed {s} · toy · tiny" for m in METHODS for c in ("clean-0", "gauss-5") for s in (0, 1)]
        for name in [*runs, "tables · toy"]:  # never "networkidle": the page polls for ever
            page.get_by_text(name, exact=True).first.wait_for(timeout=60_000)
        assert re.search(r"\b9 matching runs\b", page.inner_text("body"))
        page.screenshot(path=tmp_path / "table.png")
        assert not seen.problems


def test_a_run_shows_its_classes_as_a_table(served, database, chromium):
    client = tracking.MlflowClient(tracking_uri=database.uri)
    experiment = database.said["experiment_id"]
    (run,) = client.search_runs([experiment], "params.method = 'vitta' and params.corruption = 'gauss' and params.seed = '1'")
    url = f"{served.address}/#/experiments/{experiment}/runs/{run.info.run_id}/artifacts"
    with opened(chromium, url, served.address, viewport={"width": 1600, "height": 950}) as seen:
        seen.page.get_by_text("classes.csv").first.click(timeout=60_000)
        seen.page.get_by_text("gain_over_source").first.wait_for(timeout=60_000)
        assert seen.page.get_by_text("Engine", exact=True).first.is_visible()
        assert not seen.problems


def test_any_tracking_server_takes_runs_by_its_address(served, database, tmp_path):
    """Through HTTP, artifacts included, and again without a change."""
    counts = [tracking.log(served.address, "earshot-remote", database.source) for _ in range(2)]
    assert [(said["created"], said["skipped"]) for said in counts] == [(9, 0), (0, 9)]
    client = tracking.MlflowClient(tracking_uri=served.address)
    (run,) = client.search_runs([counts[0]["experiment_id"]], "params.method = 'vitta' and params.seed = '0'", max_results=1)
    path = client.download_artifacts(run.info.run_id, "classes.csv", str(tmp_path))
    assert "gain_over_source" in Path(path).read_text()


def test_a_database_that_is_not_there_is_told(tmp_path):
    config = tmp_path / "mine.yaml"
    config.write_text(yaml.safe_dump({"mlflow": {"uri": "sqlite:///nowhere/mlflow.db"}}))
    done = subprocess.run(command(config, 1), cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert done.returncode == 1 and "nowhere/mlflow.db does not exist" in done.stderr and "make demo" in done.stderr
    assert not (tmp_path / "nowhere").exists()


def test_a_tracking_server_is_named(tmp_path, capsys):
    config = tmp_path / "mine.yaml"
    config.write_text(yaml.safe_dump({"mlflow": {"uri": "http://tracking.example:5000"}}))
    browse.main([str(ROOT / "config.yaml"), str(config)])
    assert "http://tracking.example:5000" in capsys.readouterr().out
