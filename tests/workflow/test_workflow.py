"""The whole DAG on tiny data: complete, repeatable to the byte, restartable, and re-run exactly where code changed."""

import re
import shutil

import numpy as np
import pytest
import torch
import yaml
from browser import opened
from checkout import Checkout
from safetensors.torch import load_file

from earshot import contracts, media, plugins, tables, weights


def test_everything_is_made(finished):
    results = finished.folder / "results"
    rows = contracts.read(results / "metrics" / "demo.parquet", contracts.METRICS)
    cells = {(row["corruption"], row["method"], row["seed"]) for row in rows if row["metric"] == "top1"}
    methods = ("source", "tent", "vitta", "audio_assisted")
    for corruption in ("clean", "gauss", "contrast", "h265_abr", "mean"):
        assert {(corruption, method, seed) for method in methods for seed in (0, 1, -1)} <= cells
    page = (results / "reports" / "demo.html").read_text()
    assert "<img" in page
    assert "http://" not in page.replace("http://www.w3.org", "") and 'src="https' not in page
    assert 'href="reports/demo.html"' in (results / "report.html").read_text()
    assert (results / "mlflow" / "demo.json").exists()
    assert (results / "mlflow.db").exists()
    assert list((results / "figures" / "demo").glob("*.svg"))
    events = contracts.read(finished.folder / "data" / "demo_parsing" / "events.parquet", contracts.EVENTS)
    assert {row["modality"] for row in events} == {"audio", "visual", "weak"}


def test_a_run_tells_how_far_it_is(finished):
    told = [line for line in finished.first.splitlines() if line.startswith("[earshot] ")]
    *_, last = told
    done, planned = map(int, re.search(r"all: (\d+) of (\d+) jobs", last).groups())
    assert done == planned == len(told) > 10
    assert any(re.match(r"\[earshot\] adaptation: \d+ of \d+ jobs \|.* about .* left", line) for line in told)
    page = (finished.folder / "results" / "progress.txt").read_text()
    assert re.search(r"^  targets +1 of 1$", page, re.M) and "failed" not in page


def test_snakemakes_own_report_holds_figures_and_tables(finished, chromium):
    text = finished.run("--report", "snakemake.html")
    page = (finished.folder / "snakemake.html").read_text()
    assert "Report created" in text
    for name in ("accuracy-demo-tanet_small", "accuracy.html", "Adaptation"):
        assert name in page
    with opened(chromium, (finished.folder / "snakemake.html").as_uri()) as seen:
        seen.page.get_by_text("Adaptation").first.wait_for()
        assert not [problem for problem in seen.problems if problem.startswith("left")]


def test_a_second_run_has_nothing_to_do(finished):
    assert "Nothing to be done" in finished.run()


def test_predictions_hold_every_clip_in_a_seeded_order(finished):
    path = finished.folder / "results" / "predictions" / "demo" / "demo" / "gauss-5" / "tanet_small.parquet"
    rows = contracts.read(path, contracts.PREDICTIONS)
    clips = contracts.read(finished.folder / "data" / "demo" / "clips.parquet", contracts.CLIPS)
    test_clips = {row["clip_id"] for row in clips if row["split"] == "test"}
    orders = {}
    for row in rows:
        orders.setdefault((row["method"], row["seed"]), []).append((row["position"], row["clip_id"]))
    assert len(orders) == 8
    assert all({clip for _, clip in order} == test_clips for order in orders.values())
    assert orders["source", 0] == orders["vitta", 0] != orders["source", 1]
    steps = {row["steps"] for row in rows if row["method"] == "audio_assisted"}
    assert steps and max(steps) <= 5
    facts = contracts.facts_of(path)
    assert facts["protocol"]["name"] == "online"
    assert facts["severity"] == 5


@pytest.mark.slow  # a killed run that goes on is held to the same bytes in any case
def test_one_core_gives_the_same_bytes(finished, tmp_path):
    other = Checkout(tmp_path)
    other.run(cores=1)
    assert other.checksums() == finished.checksums()


def corrupting(folder):
    return any((folder / "data" / "demo-c").rglob("*.json"))


def training(folder):
    return any((folder / "data" / "weights").rglob("*.resume.pt"))


def adapting(folder):
    made = sum(1 for _ in (folder / "results" / "parts").rglob("*.predictions.parquet"))
    return made > 6  # the first four come from tuning


def test_a_killed_run_goes_on_to_the_same_bytes(finished, tmp_path):
    """SIGKILL to the whole process group in the middle of training, of synthesis and of adaptation."""
    other = Checkout(tmp_path)
    for moment in (training, corrupting, adapting):  # training comes first: it may be over before the last set is corrupted
        assert other.kill_when(moment), f"the run ended before {moment.__name__}"
    other.run()
    assert other.checksums() == finished.checksums()
    assert not list(other.folder.glob("data/**/*.resume.pt"))


def test_two_runs_at_once_are_refused(finished):
    import fcntl

    with open(finished.folder / ".snakemake" / "earshot.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        text = finished.run("--forcerun", "make_tables", check=False)
    assert "another run of this workflow is under way" in text


RESULTS = {
    *("score_predictions", "make_tables", "draw_figures", "write_report", "write_overview", "log_to_mlflow"),
    "record_environment",
}
TUNED = {"try_hyper", "tune_methods", "adapt_clips"}
LIBRARY = "workflow_scripts/earshot"


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        ("methods/tent.py", "entropy(logits).mean()", "entropy(logits).mean() * 1", TUNED | RESULTS),
        ("methods/tent.py", "# ", "# (edited) ", set()),
        (
            "corruptions/contrast.py",
            "means = channel_sums",
            "means = 1 * channel_sums",
            {"synthesize_corruption", "draw_contact_sheets", "adapt_clips"} | RESULTS,
        ),
        (
            "label_map.py",
            '"dropped": dropped',
            '"dropped": list(dropped)',
            {"map_labels", "report_label_map"} | TUNED | RESULTS,
        ),
        ("tables.py", "def number(", "_EDITED = 1\n\n\ndef number(", {"make_tables", "log_to_mlflow"}),
    ],
    ids=["method", "comment", "corruption", "label map", "tables"],
)
def test_an_edit_re_runs_exactly_its_dependents(finished, tmp_path, file, old, new, expected):
    copy = copy_of(finished, tmp_path / "copy")
    path = f"{LIBRARY}/{file}"
    if old == "# ":
        (copy.folder / path).write_text((copy.folder / path).read_text() + "\n# a remark\n")
    else:
        copy.edit(path, old, new)
    assert copy.jobs() == expected


def test_what_changes_speed_alone_does_nothing_again(finished, tmp_path):
    copy = copy_of(finished, tmp_path / "copy")
    with (copy.folder / "tests/config/tiny.yaml").open("a") as file:
        file.write("\nruntime: { offline: true, loading_threads: 4, frame_cache_mb: 10, workers: 3 }\n")
    assert copy.jobs() == {"record_environment", "write_report", "write_overview", "log_to_mlflow"}  # which tell of the config


def test_a_new_seed_computes_only_itself(finished, tmp_path):
    copy = copy_of(finished, tmp_path / "copy")
    parts = copy.folder / "results" / "parts"
    before = {path: path.stat().st_mtime_ns for path in parts.rglob("*.parquet")}
    copy.edit("tests/config/tiny.yaml", "seeds: [0, 1]", "seeds: [0, 1, 2]")
    target = "results/predictions/demo/demo/contrast-5/tanet_small.parquet"
    copy.run(target)
    after = {path: path.stat().st_mtime_ns for path in parts.rglob("*.parquet")}
    assert all(after[path] == time for path, time in before.items())
    assert len(after) - len(before) == 4 * 2  # four methods, predictions and timings
    seeds = {row["seed"] for row in contracts.read(copy.folder / target, contracts.PREDICTIONS)}
    assert seeds == {0, 1, 2}


@pytest.mark.slow  # every method is run over clips, and every protocol, by tests of the library
def test_every_method_and_every_protocol(finished, tmp_path):
    """All methods in one cell, and streams over several corruptions, from what the finished run made."""
    copy = copy_of(finished, tmp_path / "copy")
    cell = "results/predictions/{}/demo/{}-5/tanet_small.parquet".format
    names = ("continual", "mixed", "two_pass")
    copy.run(
        cell("all_methods", "gauss"), cell("all_methods", "contrast"), *(f"results/metrics/{name}.parquet" for name in names)
    )
    rows = contracts.read(copy.folder / cell("all_methods", "gauss"), contracts.PREDICTIONS)
    plugin = {"rotta_often": "rotta"}
    assert {plugin.get(row["method"], row["method"]) for row in rows if row["available"]} == set(plugins.available("methods"))
    continual = contracts.read(copy.folder / cell("continual", "continual"), contracts.PREDICTIONS)
    one = [row for row in continual if row["method"] == "vitta"]
    seen = [(row["corruption"], row["severity"]) for row in one]
    assert list(dict.fromkeys(seen)) == [("gauss", 5), ("contrast", 5), ("h265_abr", 5), ("clean", 0)]
    assert [row["position"] for row in one] == list(range(len(one)))
    online = contracts.read(copy.folder / cell("demo", "gauss"), contracts.PREDICTIONS)
    source = {row["clip_id"]: row["logits"] for row in online if row["method"] == "source" and row["seed"] == 0}
    kept = [row for row in continual if row["method"] == "source" and row["corruption"] == "gauss"]
    assert {row["clip_id"]: row["logits"] for row in kept} == source  # which keeps nothing from clip to clip
    for corruption, same in (("gauss", True), ("contrast", False)):  # the second one finds what the first one taught
        alone = contracts.read(copy.folder / cell("all_methods", corruption), contracts.PREDICTIONS)
        found = {row["clip_id"]: row["logits"] for row in alone if row["method"] == "vitta"}
        assert ({row["clip_id"]: row["logits"] for row in one if row["corruption"] == corruption} == found) is same
    mixed = contracts.read(copy.folder / cell("mixed", "mixed"), contracts.PREDICTIONS)
    clips = [row["clip_id"] for row in mixed if row["method"] == "source"]
    assert sorted(clips) == sorted(source)
    assert {row["corruption"] for row in mixed} == {"gauss", "contrast", "h265_abr"}
    metrics = contracts.read(copy.folder / "results/metrics/continual.parquet", contracts.METRICS)
    assert {row["corruption"] for row in metrics} == {"gauss", "contrast", "h265_abr", "clean", "mean"}
    facts = contracts.facts_of(copy.folder / cell("two_pass", "gauss"))
    assert facts["protocol"]["name"] == "two_pass"


def copy_of(finished, folder):
    copy = Checkout.__new__(Checkout)
    copy.folder = folder
    shutil.copytree(finished.folder, folder, symlinks=True)
    return copy


@pytest.mark.slow
def test_corrupting_in_memory_predicts_what_lossless_files_do(finished, tmp_path):
    """Also: several jobs a corrupted set, corrupted sound, and an encoder, which is written in either case."""
    experiment = {
        "datasets": ["demo"], "corruptions": ["gaussian_noise", "h265_abr"],
        "backbones": ["tanet_small"], "methods": ["source", "audio_assisted"], "audio_model": "demo_tagger",
        "sound": {"corruption": "sound_wind", "severity": 3},
    }  # fmt: skip
    found = {}
    for name, how in (("files", {"encode": {"codec": "lossless"}}), ("memory", {"materialise": False, "shards": 2})):
        copy = copy_of(finished, tmp_path / name)
        values = yaml.safe_load((copy.folder / "tests/config/tiny.yaml").read_text())
        values |= {"corruption": how, "experiments": {"other": experiment}, "targets": ["other"]}
        cells = [f"results/predictions/other/demo/{cell}/tanet_small.parquet" for cell in ("gauss-5", "h265_abr-5")]
        copy.run(*cells, config=copy.write_config("other.yaml", values))
        found[name] = [contracts.read(copy.folder / cell, contracts.PREDICTIONS) for cell in cells]
    assert repr(found["files"]) == repr(found["memory"])  # NaN is equal to itself only as text
    assert all(row["available"] for rows in found["files"] for row in rows)
    memory = tmp_path / "memory" / "data" / "demo-c"
    assert [path.name for path in sorted((memory / "h265_abr" / "5").glob("clips*.parquet"))] == [
        "clips-0.parquet", "clips-1.parquet", "clips.parquet",
    ]  # fmt: skip
    assert (memory / "sound_wind" / "3" / "audio" / "16000" / "audio.parquet").exists()
    scores = tmp_path / "memory" / "results" / "audio_scores"
    assert (scores / "demo-c/sound_wind/3/demo_tagger.parquet").read_bytes() != (
        scores / "demo/demo_tagger.parquet"
    ).read_bytes()


@pytest.mark.slow
def test_published_weights_and_statistics_give_what_was_trained_here(finished, tmp_path):
    """A checkpoint in the published layout, its classes in another order, and `.npy` statistics: the same predictions.

    Beside it a linear head on that checkpoint's encoder, and random weights, whose results are marked wherever they appear.
    """
    copy = copy_of(finished, tmp_path / "copy")
    facts = published_copy(copy.folder)
    (copy.folder / "space.csv").write_text("index,name\n" + "\n".join(f"{i},{n}" for i, n in enumerate(facts["classes"][::-1])))
    backbones = {
        "published": {
            "plugin": "tanet_small", "weights": {"checkpoint": "mine", "statistics": {"mean": "mean.npy", "var": "var.npy"}},
        },
        "probe": {
            "plugin": "tanet_small", "weights": {"checkpoint": "mine", "fit": "head"}, "train": {"epochs": 2, "views": 1},
        },
        "guess": {"plugin": "video_swin", "options": {"variant": "mini", "frames": 8}, "weights": "random"},
    }  # fmt: skip
    common = {"datasets": ["demo"], "corruptions": ["contrast"], "seeds": [0], "clean": False}
    values = {
        **yaml.safe_load((copy.folder / "tests/config/tiny.yaml").read_text()),
        "checkpoints": {"mine": {"path": "model.pth.tar", "classes": "space.csv"}},
        "backbones": backbones,
        "experiments": {
            "known": {**common, "backbones": ["published"], "methods": ["source", "vitta"]},
            "others": {**common, "backbones": ["probe", "guess"], "methods": ["source", "tent"]},
        },
        "targets": ["known", "others"],
    }
    cell = "demo/contrast-5"
    targets = (f"predictions/known/{cell}/published.parquet", "tables/others/accuracy.md")
    copy.run(*(f"results/{target}" for target in targets), config=copy.write_config("published.yaml", values))
    folder = copy.folder / "results"
    ours = contracts.read(folder / f"predictions/known/{cell}/published.parquet", contracts.PREDICTIONS)
    trained = contracts.read(folder / f"predictions/demo/{cell}/tanet_small.parquet", contracts.PREDICTIONS)
    expected = [row for row in trained if row["method"] == "source" and row["seed"] == 0]
    assert repr([row for row in ours if row["method"] == "source"]) == repr(expected)
    known = contracts.facts_of(folder / f"predictions/known/{cell}/published.parquet")["weights"]
    assert known["origin"] == "imported" and known["checkpoint"]["origin"] == "path model.pth.tar"
    imported = load_file(folder / "source_statistics/demo/published.published.safetensors")
    computed = load_file(folder / "source_statistics/demo/tanet_small.safetensors")
    assert all(torch.equal(imported[name], computed[name]) for name in computed)
    assert not list((folder / "source_statistics/demo").glob("guess*"))  # nobody asked for them
    marked = {row["backbone"] for row in contracts.read(folder / "metrics/others.parquet", contracts.METRICS)}
    assert marked == {"probe", "guess-random-weights"}
    page = (folder / "tables/others/accuracy.md").read_text()
    assert "guess-random-weights" in page and tables.NO_RESULT in page


def published_copy(folder):
    """Write a run's source model and statistics as their authors would have published them."""
    path = folder / "data/weights/tanet_small/demo/trained.safetensors"
    state, facts = load_file(path), weights.facts_of(path)
    state |= {name: state[name].flip(0) for name in ("head.weight", "head.bias")}
    renamed = {f"module.{name.replace('head.', 'new_fc.')}": tensor for name, tensor in state.items()}
    torch.save({"epoch": 1, "state_dict": renamed}, folder / "model.pth.tar")
    path = folder / "results/source_statistics/demo/tanet_small.safetensors"
    moments, layers = load_file(path), weights.facts_of(path)["layers"]
    for kind in ("mean", "var"):
        arrays = np.empty(len(layers), dtype=object)
        arrays[:] = [moments[f"{name}.{kind}"].numpy() for name in layers]
        np.save(folder / f"{kind}.npy", arrays, allow_pickle=True)
    return facts


def test_a_users_folder_with_everything_that_goes_wrong(finished, zoo, tmp_path):
    """Broken, silent and oddly named files of a folder are rows that the tables count, and cost no other clip."""
    other = Checkout(tmp_path)
    mine = tmp_path / "my own videos"
    shutil.copytree(zoo, mine)
    _write_training_clips(mine)
    experiment = {
        "title": "Mine", "datasets": ["mine"], "corruptions": ["gauss"], "backbones": ["tanet_small"],
        "methods": ["source", "tent", "vitta"], "seeds": [0],
    }  # fmt: skip
    values = {
        "datasets": {"mine": {"plugin": "folder", "root": str(mine), "options": {"labels": "mine.csv"}}},
        "backbones": {"tanet_small": {"train": {"epochs": 1, "batch": 2}}},
        "experiments": {"mine": experiment},
        "targets": ["mine"],
    }
    other.run(config=other.write_config("mine.yaml", values))
    rows = contracts.read(tmp_path / "results" / "metrics" / "mine.parquet", contracts.METRICS)
    top1 = [row for row in rows if row["metric"] == "top1" and row["corruption"] in ("clean", "gauss")]
    assert top1
    assert {(row["n"], row["n_missing"]) for row in top1} == {(4, 6)}
    table = (tmp_path / "results" / "tables" / "mine" / "accuracy.md").read_text()
    assert "Clips scored: 4 of 10 in every column." in table
    page = (tmp_path / "results" / "reports" / "mine.html").read_text()
    assert "truncated" in page and "no video stream" in page


def _write_training_clips(folder):
    from helpers import moving_square

    names = [path.stem for path in sorted(folder.glob("*.mp4"))]
    lines = ["path,label,split", *(f"{name}.mp4,{'ab'[i % 2]},test" for i, name in enumerate([*names, "absent"]))]
    for i in range(4):
        media.write_video(folder / f"train {i}.mp4", moving_square(seed=i, speed=1 + i % 2), 16)
        lines.append(f"train {i}.mp4,{'ab'[i % 2]},train")
    (folder / "mine.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"methods": ["tentt"]}, "unknown method 'tentt'; available: aa_affine, aa_cycle_only, "),
        ({"seeds": "all"}, "experiments.demo.seeds"),
        ({"corruptions": ["snoww"]}, "unknown corruption 'snoww'; available: bit_error, brightness, clean, contrast"),
    ],
)
def test_a_wrong_config_stops_before_anything_runs(tmp_path, change, message):
    other = Checkout(tmp_path)
    text = other.run("--dry-run", check=False, config=other.write_config("wrong.yaml", {"experiments": {"demo": change}}))
    assert message in text
    assert "Traceback" not in text


def test_bytecode_that_a_full_disk_cut_short_is_made_anew(tmp_path):
    other = Checkout(tmp_path)
    other.jobs()
    for name in ("config", "layout"):
        (kept,) = tmp_path.rglob(f"__pycache__/{name}.cpython-*.pyc")
        kept.write_bytes(kept.read_bytes()[:1000])
    assert "prepare_dataset" in other.jobs()
    assert not [path for path in tmp_path.rglob("*.pyc") if path.stat().st_size == 1000]


def test_a_wrong_label_in_a_users_list_is_named_on_the_terminal(tmp_path):
    other = Checkout(tmp_path)
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "mine.csv").write_text("path,label,split\nx.mp4,dgo,test\n")
    options = {"labels": "mine.csv", "classes": ["cat", "dog"]}
    values = {"datasets": {"mine": {"plugin": "folder", "root": "videos", "options": options}}}
    text = other.run("data/mine/clips.parquet", check=False, config=other.write_config("mine.yaml", values))
    assert "label 'dgo' of x.mp4 is not in the class list (cat, dog)" in text
    assert "[earshot] FAILED index_dataset (dataset=mine): its log is results/logs/index_dataset/mine.log" in text
    page = (tmp_path / "results" / "progress.txt").read_text()
    assert "failed\n  index_dataset (dataset=mine): results/logs/index_dataset/mine.log" in page
