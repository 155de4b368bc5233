"""The config: what is wrong is named, with the way out."""

import copy
import re
from pathlib import Path

import pytest
import yaml

from earshot import checks, config, plugins
from earshot.config import ConfigError, load

ROOT = Path(__file__).parents[2]


@pytest.fixture
def values():
    return yaml.safe_load((ROOT / "config.yaml").read_text())


def test_the_default_config_is_valid_and_so_are_its_overrides(values):
    assert checks.check(load(values)) > 3


def change(values, path, value):
    *parents, last = path.split(".")
    for key in parents:
        values = values[key]
    values[last] = value


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("experiments.demo.methods", ["tentt"], r"experiments.demo: unknown method 'tentt'; available: aa_affine, "),
        ("experiments.demo.corruptions", ["snoww"], r"unknown corruption 'snoww'; available: bit_error, brightness"),
        ("experiments.demo.backbones", ["resnet"], r"unknown backbone 'resnet'; available: "),
        ("experiments.demo.datasets", ["ucf"], r"experiments.demo: unknown dataset 'ucf'; available: ave, avmit, avs_ms3"),
        ("experiments.demo.severities", [6], r"severities.0: .* less than or equal to 5 \(given: 6\)"),
        ("experiments.demo.seeds", "three", r"experiments.demo.seeds: .*list \(given: 'three'\)"),
        ("targets", ["dmeo"], r"targets: unknown experiment 'dmeo'; available: .*, demo, "),
        ("runtime.torch_threads", "many", r"runtime.torch_threads: .* \(given: 'many'\)"),
        ("runtim", {}, r"runtim: Extra inputs are not permitted"),
        ("protocol.name", "onlin", r"protocol.name: .*'online', 'episodic', .*\(given: 'onlin'\)"),
        ("experiments.demo.audio_model", "vgg", r"unknown audio model 'vgg'; available: ast, beats"),
        ("experiments.demo.corruptions", ["clean"], r"the clean condition is asked for by `clean: true`"),
        ("experiments.demo.corruptions", ["sound_wind"], r"ask for it by `sound: {corruption: sound_wind, severity: 5}`"),
        (
            "experiments.demo.sound",
            {"corruption": "gauss", "severity": 1},
            r"not a corruption of the sound; available: sound_cl",
        ),
        ("corruption.position", "online", r"it needs `materialise: false`"),
        ("corruption.encode", {"codec": "h266"}, r"corruption.encode.codec: .*\(given: 'h266'\)"),
        ("corruption.shards", 0, r"corruption.shards: .* \(given: 0\)"),
        ("backbones", {}, r"backbone 'tanet_small' has no weights for dataset 'demo': .* `scratch` .*fit: none \| head"),
        ("backbones.tanet_small.weights", "imagenet", r"`weights` is `random`, `scratch`, or a section"),
        (
            "backbones.tanet_small.weights",
            {"checkpoint": "k400"},
            r"unknown checkpoint 'k400'; available: ast_audioset",
        ),
        ("backbones.tanet_small.weights", {"random": True, "fit": "all"}, r"takes neither a checkpoint nor training"),
        ("backbones.tanet_small.weights", {"fit": "head"}, r"without a checkpoint there is nothing to keep"),
        (
            "backbones.tanet_small.weights",
            {"fit": "all", "statistics": {"mean": "m", "var": "v"}},
            r"they need one that is not trained on",
        ),
        (
            "backbones.tanet_small.weights_of",
            {"ucf": "random"},
            r"weights_of: unknown dataset 'ucf'; available: ave, avmit, avs_ms3",
        ),
        ("checkpoints", {"a": {}}, r"exactly one of path, url, hub, torchvision; given: none"),
        ("checkpoints", {"a": {"path": "x", "hub": "y/z"}}, r"exactly one of .*; given: path, hub"),
        ("checkpoints", {"a": {"url": "https://a.example/w"}}, r"a checkpoint from a URL needs its `sha256`"),
        ("protocol.view_sampling", "even", r"protocol.view_sampling: .*'uniform_equidist'"),
        ("protocol", {"name": "episodic", "batch": 4}, r"`episodic` starts every clip afresh: it cannot take batches of 4"),
        ("compute.precision", "fp8", r"compute.precision: .*'fp32', 'tf32' or 'bf16'"),
        ("audio_models.ast.bank", "demo_sounds", r"give exactly one of bank, checkpoint, scores; given: bank, checkpoint"),
        ("audio_models.ast", {"plugin": "ast", "bank": "demo_sounds"}, r"audio model 'ast' takes `checkpoint`, not `bank`"),
        ("audio_models.ast.hyper", {"lr": 1}, r"'ast' is not trained here: it takes `options`, not `hyper`"),
        ("audio_models.ast.options", {"rate_hz": 32_000}, r"'ast' listens at 16000 Hz"),
        ("audio_models.panns.options", {"rate_hz": "fast"}, r"'panns_cnn14' listens at 32000 or 16000 Hz"),
        ("audio_models.ast.classes", "k400", r"audio model 'ast' takes no `classes`"),
        ("audio_models.clap.classes", "", r"audio model 'clap_zero_shot' needs `classes`"),
        ("checkpoints.ast_audioset.classes", "audiosett", r"unknown label space 'audiosett'; give one of dataset, audioset527"),
        ("label_maps.ave.ast", "gpt", r"unknown mapper 'gpt'; available: llm, local_llm, near_names, same_names"),
        ("mappers.reviewed", {"plugin": "exact"}, r"'reviewed' is how maps that are files are called"),
        ("mappers.llm.plugin", "gpt", r"unknown mapper 'gpt'; available: embedding, exact, local, openai"),
        ("experiments.demo.mapper", "gpt", r"unknown mapper 'gpt'"),
        ("experiments.ave_c.mapper", "reviewed", r"the label map of dataset 'ave' is no file that was reviewed"),
        ("label_maps", {}, r"no label map from audio model 'demo_tagger' to dataset 'demo'"),
    ],
)
def test_a_mistake_is_named_with_the_way_out(values, path, value, message):
    change(values, path, value)
    with pytest.raises(ConfigError, match=message):
        load(values)


def test_a_wrong_override_lists_the_legal_ones(values):
    values["methods"] |= {"slow": {"plugin": "tent", "hyper": {"learning_rate": 1}}}
    with pytest.raises(ConfigError, match=r"methods.slow.hyper: learning_rate.*Legal keys: optimizer, lr, steps"):
        checks.check(load(values))


def test_wrong_options_of_a_backbone_list_the_legal_ones(values):
    values["backbones"]["big"] = {"plugin": "video_swin", "options": {"size": "huge"}}
    with pytest.raises(ConfigError, match=r"backbones.big.options: size.*Legal keys: variant, frames"):
        checks.check(load(values))


def test_an_experiment_expands_into_cells_and_runs(values):
    config = load(values)
    cells = list(config.cells("demo"))
    assert [(cell.corruption, cell.severity) for cell in cells] == [
        ("clean", 0), ("gauss", 5), ("contrast", 5), ("h265_abr", 5),
    ]  # fmt: skip
    runs = config.runs("demo")
    assert len(runs) == 4 * 3
    assert len({(run.variant, run.seed) for run in runs}) == len(runs)


@pytest.mark.parametrize(
    ("protocol", "cells", "streamed"),
    [
        ("continual", [("continual", 3), ("continual", 5)], [("rain", 5), ("gauss", 5), ("clean", 0)]),
        ("mixed", [("clean", 0), ("mixed", 3), ("mixed", 5)], [("rain", 5), ("gauss", 5)]),
        ("two_pass", [("clean", 0), ("rain", 3), ("rain", 5), ("gauss", 3), ("gauss", 5)], [("gauss", 5)]),
    ],
)
def test_a_protocol_decides_what_one_job_streams(values, protocol, cells, streamed):
    changed = {"corruptions": ["rain", "gauss"], "severities": [3, 5], "protocol": {"name": protocol}}
    values["experiments"]["demo"].update(changed)
    config = load(values)
    found = list(config.cells("demo"))
    assert [(cell.corruption, cell.severity) for cell in found] == cells
    assert config.conditions(found[-1]) == streamed
    assert config.protocol_of("demo").clips_at_once == (12 if protocol == "two_pass" else 1)


def test_an_experiments_protocol_changes_only_what_it_says(values):
    values["protocol"] |= {"evaluation_clips": 3, "order": "listed"}
    values["experiments"]["demo"]["protocol"] = {"name": "two_pass"}
    protocol = load(values).protocol_of("demo")
    assert (protocol.name, protocol.evaluation_clips, protocol.order) == ("two_pass", 3, "listed")
    values["experiments"]["demo"]["protocol"] = {"index_base": 1}
    with pytest.raises(ConfigError, match=r"experiments.demo.protocol: set `index_base` in the config's `protocol:`"):
        load(values)


def test_the_papers_tables_are_ready(values):
    config = load(values)
    for name in ("ucf101_c", "kinetics_sounds_c", "ave_c", "avmit_c"):
        assert len(list(config.cells(name))) == 5 * 13
        assert set(config.experiments[name].methods) == set(plugins.available("methods"))
    groups = config.experiments["ucf101_c"].class_groups
    assert {name: len(set(classes)) for name, classes in groups.items()} == {"audible": 51, "silent": 50}
    assert not set(groups["audible"]) & set(groups["silent"])


def test_splits_are_corrupted_only_where_someone_needs_them(values):
    values["experiments"]["demo"]["tune"]["corruptions"] = ["gauss"]
    config = load(values)
    tune = config.experiments["demo"].tune
    others = set(config.experiments["demo"].corruptions) - set(tune.corruptions)
    assert others
    assert all(config.splits_to_corrupt("demo", name, 5) == ["test", "val"] for name in tune.corruptions)
    assert all(config.splits_to_corrupt("demo", name, 5) == ["test"] for name in others)


def test_the_twelve_and_their_long_names_are_understood(values):
    values["experiments"]["demo"]["corruptions"] = ["ucf101c", "jpeg_compression", "snow"]
    found = load(values).experiments["demo"].corruptions
    assert len(found) == 13
    assert found[-1] == "snow"
    assert found[:2] == ["gauss", "pepper"]


def test_corrupted_sound_is_made_for_every_split_that_listens(values):
    values["experiments"]["demo"]["sound"] = {"corruption": "sound_wind", "severity": 2}
    config = load(values)
    assert config.splits_to_corrupt("demo", "sound_wind", 2) == ["test", "val"]
    assert config.splits_to_corrupt("demo", "sound_wind", 3) == []
    assert config.splits_to_corrupt("demo", "clean", 0) == ["test"]


PARSING = {
    "datasets": {"mine": {"plugin": "parsing_folder", "root": "x"}},
    "features": {
        "heard": {"plugin": "synthetic_audio"}, "seen": {"plugin": "synthetic_visual"},
        "files": {"plugin": "vggish", "root": "x"},
    },
    "feature_sets": {"both": {"audio": "heard", "visual": "seen"}},
    "pseudo_labels": {"labels": {"audio": "heard", "visual": "seen"}},
    "parsing": {"p": {"datasets": ["mine"], "features": "both", "pseudo_labels": "labels", "parsers": ["han", "link"]}},
    "experiments": {}, "targets": ["p"],
}  # fmt: skip


def parsing_with(path, value):
    values = copy.deepcopy(PARSING)
    *parts, last = path.split(".")
    section = values
    for part in parts:
        section = section.setdefault(part, {})
    section[last] = value
    return values


def test_a_parsing_experiment_is_read_with_settings_under_settings():
    values = parsing_with("parsing.p.hyper", {"train": {"epochs": 3, "batch": 4}})
    values["parsers"] = {"link": {"plugin": "link", "hyper": {"train": {"epochs": 5}, "plsim": {"enabled": False}}}}
    loaded = config.load(values)
    assert loaded.parser_hyper("p", "link") == {"train": {"epochs": 5, "batch": 4}, "plsim": {"enabled": False}}
    assert loaded.parser_hyper("p", "han") == {"train": {"epochs": 3, "batch": 4}}


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("parsing.p.parsers", ["hann"], "unknown parser 'hann'"),
        ("parsing.p.parsers", [], "at least 1 item"),
        ("parsing.p.seeds", [0, 0], "0 is there twice"),
        ("parsing.p.seeds", [-1], "greater than or equal to 0"),
        ("parsing.p.datasets", [], "at least 1 item"),
        ("parsing.p.reference", "valor", "unknown parser 'valor'"),
        ("parsing.p.pseudo_labels", None, "parser 'link' learns from pseudo-labels"),
        ("parsing.p.features", "nothing", "unknown feature set 'nothing'"),
        ("feature_sets.both.audio", "seen", "features 'seen' are visual, not audio"),
        ("feature_sets.both.motion", "heard", "features 'heard' are audio, not visual"),
        ("features.files.root", "", "extractor 'vggish' takes `root`; given: none"),
        ("features.heard.checkpoint", "c", "takes neither files nor weights"),
        ("features.t", {"plugin": "tagger", "audio_model": "nobody"}, "unknown audio model 'nobody'"),
        ("features.c", {"plugin": "classifier", "backbone": "tanet_small"}, "`backbone` and `trained_on` go together"),
        ("pseudo_labels.labels.audio", "files", "know no classes: they cannot label"),
        ("pseudo_labels.labels.recipe", "valour", "unknown recipe 'valour'; give valor"),
        ("pseudo_labels.labels.thresholds", {"audio": 0.3}, "visual: Field required"),
        ("pseudo_labels.labels.thresholds", {"audio": float("nan"), "visual": 0}, "finite number"),
        (
            "experiments.p",
            {"datasets": [], "corruptions": [], "backbones": [], "methods": []},
            "holds that name",
        ),
    ],
)
def test_a_parsing_experiment_that_cannot_run_is_refused(path, value, told):
    with pytest.raises(config.ConfigError, match=re.escape(told)):
        config.load(parsing_with(path, value))


def test_labels_that_are_masked_are_refused_before_a_parser_would_look_at_them():
    values = parsing_with("pseudo_labels.labels.root", "x")
    with pytest.raises(config.ConfigError, match=r"parsing\.p\.link: .*eval_source: ungated"):
        checks.check(config.load(values))
    values["parsers"] = {"link": {"plugin": "link", "hyper": {"plsim": {"eval_source": "predicted"}}}}
    assert checks.check(config.load(values))
