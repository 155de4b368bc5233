"""Parsing through the whole workflow: from videos with models of its own, and from published files of which some are broken."""

import json
import re
import shutil

import numpy as np
import pytest
from checkout import Checkout
from mlflow import MlflowClient

from earshot import contracts
from earshot.metrics.parsing_f_score import METRICS

BROKEN = {"train_0001": "missing", "train_0002": "nan", "test_0001": "shape"}


@pytest.fixture(scope="module")
def parsed(finished, tmp_path_factory):
    """A copy of the finished run in which parsers were trained as well."""
    copy = Checkout.__new__(Checkout)
    copy.folder = tmp_path_factory.mktemp("parsing") / "copy"
    shutil.copytree(finished.folder, copy.folder, symlinks=True)
    copy.run("demo_avvp")
    return copy


def results(checkout, *parts):
    return checkout.folder.joinpath("results", *parts)


def test_parsers_are_trained_scored_and_shown(parsed):
    rows = contracts.read(results(parsed, "metrics", "demo_avvp.parquet"), contracts.PARSING_METRICS)
    scores = {(row["parser"], row["seed"]) for row in rows if row["metric"] == "f_score_seg_TypeAV"}
    assert scores == {(name, seed) for name in ("han", "link", "link_oracle") for seed in (0, -1)}
    assert {row["parser"] for row in rows if row["leak"]} == {"link_oracle"}
    own = [row for row in rows if row["metric"] in METRICS]
    assert len(own) == 3 * 2 * 10 and all(0 <= row["value"] <= 100 and row["n"] == 2 for row in own)
    table = results(parsed, "tables", "demo_avvp", "scores.md").read_text()
    assert "⚠ leak" in table and "demo\\_small" in table
    page = results(parsed, "reports", "demo_avvp.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "") and 'src="https' not in page
    index = json.loads(results(parsed, "figures", "demo_avvp", "figures.json").read_text())
    assert [drawn for drawn in index["figures"] if "timeline" in drawn["name"]]
    for kind in ("best", "last"):
        assert len(list(parsed.folder.glob(f"data/weights/parsers/demo_avvp/demo_parsing/*/0/{kind}.safetensors"))) == 3
    assert not list(parsed.folder.glob("data/**/*.resume.pt"))


def test_every_epoch_is_in_mlflow(parsed):
    client = MlflowClient(f"sqlite:///{results(parsed, 'mlflow.db')}")
    experiment = client.get_experiment_by_name("earshot")
    runs = client.search_runs([experiment.experiment_id], "params.experiment = 'demo_avvp' and params.parser = 'link'")
    (run,) = runs
    history = client.get_metric_history(run.info.run_id, "train/loss")
    assert [point.step for point in history] == [1, 2]


def test_a_second_run_has_nothing_to_do_and_an_edit_trains_only_the_parsers_that_it_reaches(parsed):
    assert "Nothing to be done" in parsed.run("demo_avvp")
    parsed.edit("workflow_scripts/earshot/parsers/_sloss.py", "OPPOSED = -0.2", "OPPOSED = -0.25")
    text = parsed.run("--dry-run", "demo_avvp")
    found = re.findall(r"output: data/weights/parsers/demo_avvp/demo_parsing/([a-z_]+)/", text)
    assert set(found) == {"link", "link_oracle"}
    parsed.edit("workflow_scripts/earshot/parsers/_sloss.py", "OPPOSED = -0.25", "OPPOSED = -0.2")
    parsed.edit("workflow_scripts/earshot/metrics/parsing_f_score.py", "THRESHOLD = 0.5", "THRESHOLD = 0.4")
    jobs = parsed.jobs("demo_avvp")
    assert "score_parses" in jobs and "extract_features" not in jobs and "label_segments" not in jobs
    parsed.edit("workflow_scripts/earshot/metrics/parsing_f_score.py", "THRESHOLD = 0.4", "THRESHOLD = 0.5")


def publish(folder, clips):
    """Feature and label files in their published layout, some of them broken."""
    rng = np.random.default_rng(0)
    layouts = {"feats/vggish": (10, 128), "feats/res152": (80, 2048), "feats/r2plus1d_18": (10, 512)}
    for layout, shape in layouts.items():
        (folder / layout).mkdir(parents=True)
        for clip in clips:
            array = rng.standard_normal(shape).astype(np.float32)
            fault = BROKEN.get(clip) if layout == "feats/res152" else None
            if fault == "nan":
                array[0, 0] = np.nan
            if fault != "missing":
                np.save(folder / layout / f"{clip}.npy", array[:3] if fault == "shape" else array)
    for side in ("CLAP", "CLIP"):
        (folder / side / "segment_pseudo_labels").mkdir(parents=True)
        for clip in clips:
            labels = (rng.random((10, 4)) < 0.3).astype(np.int64)
            np.save(folder / side / "segment_pseudo_labels" / f"{clip}.npy", labels)
    whole = (folder / "feats/vggish/train_0003.npy").read_bytes()
    (folder / "feats/vggish/train_0003.npy").write_bytes(whole[: len(whole) // 2])


def test_published_files_are_taken_and_broken_ones_counted(parsed):
    clips = contracts.read(parsed.folder / "data/demo_parsing/clips.parquet", contracts.CLIPS)
    publish(parsed.folder / "published", [row["clip_id"].split("/")[-1] for row in clips])
    names = ("vggish", "resnet152", "r2plus1d")
    values = {
        "features": {name: {"plugin": name, "root": "published", "id_length": 0} for name in names},
        "pseudo_labels": {"files": {"root": "published", "audio": "demo_sound", "visual": "demo_picture"}},
        "parsing": {
            "filed": {
                "datasets": ["demo_parsing"], "features": "classic", "pseudo_labels": "files", "reference": "han",
                "parsers": ["han", "valor", "link_predicted"],
                "hyper": {"train": {"epochs": 2, "batch": 4, "keep": "last"}, "structure": {"dim": 16}},
            }
        },
    }  # fmt: skip
    config = parsed.write_config("filed.yaml", values)
    parsed.run("filed", config=["tests/config/tiny.yaml", config])
    index = contracts.read(parsed.folder / "data/demo_parsing/features/resnet152.parquet", contracts.FEATURES)
    told = {row["clip_id"].split("/")[-1]: row["problem"] for row in index if not row["available"]}
    assert set(told) == set(BROKEN) and "10, 2048" not in told["train_0001"] and "80" in told["test_0001"]
    rows = contracts.read(results(parsed, "metrics", "filed.parquet"), contracts.PARSING_METRICS)
    assert {(row["n"], row["n_missing"]) for row in rows if row["metric"] == "f_score_seg_A"} == {(1, 1)}
    log = results(parsed, "logs", "train_parser", "filed", "demo_parsing", "valor", "0.log").read_text()
    assert all(f"{clip}: " in log for clip in ("train_0001", "train_0002", "train_0003"))
    assert not any(row["leak"] for row in rows)


def test_labels_that_were_published_masked_stop_a_parser_that_would_look_at_them(parsed):
    values = {"parsing": {"filed": {"parsers": ["link"], "reference": "link"}}}
    config = parsed.write_config("leak.yaml", values)
    text = parsed.run("filed", check=False, config=["tests/config/tiny.yaml", "filed.yaml", config])
    assert "gated_oracle" in text and "Complete log" in text
