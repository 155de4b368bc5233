"""The name of a part holds everything that decides its rows."""

from dataclasses import replace

import pytest

from earshot import plugins
from earshot.streaming import Cell, CellInputs, hyper_of

INPUTS = CellInputs(
    clips=["a"], root="", classes="c", weights="w", statistics="s", importance="i", audio_scores="scores", label_map="map",
    backbone={"plugin": "tanet_small", "options": {}}, dataset="d", corruption="continual", split="test",
    protocol={"name": "continual"}, batch=1, compute={"precision": "fp32", "cuda_graphs": False},
    runtime={"torch_threads": 1}, parts="", codes=dict.fromkeys(plugins.available("methods"), "code"),
)  # fmt: skip


def key(plugin="vitta", seed=0, digest="clips", hyper=None, **changed):
    cell = Cell.__new__(Cell)
    cell.inputs, cell.digest, cell.names, cell.device = replace(INPUTS, **changed), digest, ["x"], "cpu"
    cell._checksum = lambda path: f"sum of {path}"
    return cell.key(plugin, hyper_of(plugin, "tanet_small", hyper or {}, "here"), seed)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1}, {"digest": "other"}, {"hyper": {"lr": 1.0}}, {"plugin": "tent"}, {"weights": "w2"},
        {"statistics": "s2"}, {"protocol": {"name": "mixed"}}, {"batch": 2}, {"compute": {"precision": "bf16"}},
        {"corruption": "gauss"}, {"backbone": {"plugin": "tanet_small", "options": {"a": 1}}}, {"codes": {"vitta": "new"}},
        {"runtime": {"torch_threads": 2}},
    ],
)  # fmt: skip
def test_what_decides_rows_is_in_the_key(change):
    assert key(**change) != key()


def test_what_a_method_does_not_need_is_not():
    assert key(importance="i2") == key()
    assert key("eata", importance="i2") != key("eata")
    assert key(audio_scores="scores2") == key()
    assert key("audio_assisted", audio_scores="scores2") != key("audio_assisted")
    assert key("audio_fusion", label_map="map2") != key("audio_fusion")
    assert key("source", statistics="s2") == key("source")


@pytest.mark.parametrize(("plugin", "file"), [("vitta", "statistics"), ("eata", "importance")])
def test_a_file_that_is_needed_and_lacking_is_named(plugin, file):
    with pytest.raises(ValueError, match=f"method '{plugin}' needs the file of {file} of the source model"):
        key(plugin, **{file: ""})


def test_published_settings_of_a_backbone_give_way_to_the_configs():
    assert hyper_of("vitta", "video_swin", {}, "here").rho == 0.05
    assert hyper_of("vitta", "video_swin", {"rho": 0.2}, "here").rho == 0.2
    assert hyper_of("vitta", "tanet", {}, "here").rho == 0.1
