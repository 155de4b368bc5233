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
    assert all(
        (results(parsed, "figures", "demo_avvp") / clip["file"]).exists()
        for entry in index["gallery"]
        for clip in entry["clips"]
    )
    assert sum(len(entry["clips"]) for entry in index["gallery"]) == 2
    for kind in ("best", "last"):
        assert len(list(parsed.folder.glob(f"data/weights/parsers/demo_avvp/demo_parsing/*/0/{kind}.safetensors"))) == 3
    assert not list(parsed.folder.glob("data/**/*.resume.pt"))


def test_every_epoch_is_in_mlflow(parsed):
    client = MlflowClient(f"sqlite:///{results(parsed, 'mlflow.db')}")
    experiment = client.get_experiment_by_name("earshot-demo_avvp")
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
    jobs = parsed.jobs("--", "demo_avvp")
    assert "score_parses" in jobs and "extract_features" not in jobs and "label_segments" not in jobs
    parsed.edit("workflow_scripts/earshot/metrics/parsing_f_score.py", "THRESHOLD = 0.4", "THRESHOLD = 0.5")


COUNTS = {"train": 6, "val": 2, "test": 2}
IDS = {split: [f"-_{split:_<5}{n:04d}" for n in range(count)] for split, count in COUNTS.items()}
BROKEN = {"-_train0001": "missing", "-_train0002": "nan", "-_test_0001": "shape"}


def write_lists(folder):
    """LLP in miniature: clips of two classes, and events of those in val and test."""
    folder.mkdir()
    dense = "filename\tonset\toffset\tevent_labels\n"
    for split, file in (("train", "AVVP_train.csv"), ("val", "AVVP_val_pd.csv"), ("test", "AVVP_test_pd.csv")):
        names = [f"{one}_10_20" for one in IDS[split]]
        (folder / file).write_text("filename\tevent_labels\n" + "".join(f"{name}\tSpeech,Dog\n" for name in names))
        dense += "".join(f"{name}\t2\t6\tDog\n" for name in names if split != "train")
    (folder / "AVVP_eval_audio.csv").write_text(dense + "-_test_0000_10_20\t9\t9\tSpeech\n")
    (folder / "AVVP_eval_visual.csv").write_text(dense)


def publish(folder):
    """Feature and label files in their published layout, some of them broken."""
    rng = np.random.default_rng(0)
    clips = [one for ids in IDS.values() for one in ids]
    layouts = {"feats/vggish": (10, 128), "feats/res152": (80, 2048), "feats/r2plus1d_18": (10, 512)}
    labels = {f"{side}/segment_pseudo_labels": (10, 25) for side in ("CLAP", "CLIP")}
    for layout, shape in {**layouts, **labels}.items():
        (folder / layout).mkdir(parents=True)
        for clip in clips:
            array = (
                rng.standard_normal(shape).astype(np.float32) if layout in layouts else (rng.random(shape) < 0.3).astype(int)
            )
            fault = BROKEN.get(clip) if layout == "feats/res152" else None
            array = array * np.nan if fault == "nan" else array[:3] if fault == "shape" else array
            if fault != "missing":
                np.save(folder / layout / f"{clip}.npy", array)
    cut = folder / "feats/vggish/-_train0003.npy"
    cut.write_bytes(cut.read_bytes()[:2000])


FILED = {
    "datasets": {"mini_llp": {"plugin": "llp", "root": "data/mini_llp"}},
    "features": {
        **{name: {"plugin": name, "root": "published", "id_length": 11} for name in ("vggish", "resnet152", "r2plus1d")},
        "heard": {"plugin": "synthetic_audio"}, "seen": {"plugin": "synthetic_visual"},
    },
    "pseudo_labels": {"files": {"root": "published", "id_length": 11, "audio": "heard", "visual": "seen"}},
    "parsing": {
        "filed": {
            "datasets": ["mini_llp"], "features": "classic", "pseudo_labels": "files", "reference": "han",
            "parsers": ["han", "valor", "link_predicted"],
            "hyper": {"train": {"epochs": 2, "batch": 4, "keep": "last"}, "structure": {"dim": 16}},
        }
    },
}  # fmt: skip


@pytest.mark.slow
def test_published_files_are_taken_and_broken_ones_counted(parsed):
    write_lists(parsed.folder / "data" / "mini_llp")  # where the workflow writes as well
    publish(parsed.folder / "published")
    config = ["tests/config/tiny.yaml", parsed.write_config("filed.yaml", FILED)]
    parsed.run("filed", config=config)
    index = contracts.read(parsed.folder / "data/mini_llp/features/resnet152.parquet", contracts.FEATURES)
    told = {row["clip_id"].split("/")[-1][:11]: row["problem"] for row in index if not row["available"]}
    assert set(told) == set(BROKEN) and "80" in told["-_test_0001"]
    rows = contracts.read(results(parsed, "metrics", "filed.parquet"), contracts.PARSING_METRICS)
    assert {(row["n"], row["n_missing"]) for row in rows if row["metric"] == "f_score_seg_A"} == {(1, 1)}
    log = results(parsed, "logs", "train_parser", "filed", "mini_llp", "valor", "0.log").read_text()
    assert all(f"{clip}_10_20: " in log for clip in ("-_train0001", "-_train0002", "-_train0003"))
    assert not any(row["leak"] for row in rows)
    table = results(parsed, "tables", "filed", "scores.md").read_text()
    assert "valor, ours" in table and "| HAN |" in table  # beside what papers print
    assert "-_test_0000_10_20" in results(parsed, "reports", "filed.html").read_text()  # an event that lasts no time
    assert "Nothing to be done" in parsed.run("filed", config=config)


@pytest.mark.slow
def test_labels_that_were_published_masked_stop_a_parser_that_would_look_at_them(parsed):
    config = parsed.write_config("leak.yaml", {"parsing": {"filed": {"parsers": ["link"], "reference": "link"}}})
    text = parsed.run("filed", check=False, config=["tests/config/tiny.yaml", "filed.yaml", config])
    assert "already masked by the weak labels" in text
