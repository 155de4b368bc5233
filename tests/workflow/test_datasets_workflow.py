"""Datasets by name through the whole workflow: fetched or dropped, indexed, reported, and corrupted or taken as published."""

import os
import shutil

import miniatures
import pytest
from checkout import Checkout
from file_server import files  # noqa: F401

from earshot import archives, contracts

NAMES = ("ucf101", "ucf101_c", "vggsound")
EXPERIMENT = {
    "datasets": ["mini_ucf101", "mini_vggsound"], "corruptions": ["gauss"], "backbones": ["tanet_small"], "methods": ["source"]
}  # fmt: skip
CORRUPTED = [f"data/mini_{name}-c/gauss/5/clips.parquet" for name in ("ucf101", "vggsound")]
REPORTS = [f"data_mini_{name}" for name in NAMES]


@pytest.fixture
def offered(files, tmp_path, monkeypatch):  # noqa: F811
    """A checkout, a server and a fake yt-dlp that have three datasets in miniature; UCF101-C was dropped by hand."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    checkout, clips = Checkout(tmp_path / "checkout"), miniatures.Clips(tmp_path)
    checkout.entries, videos = {}, {}
    for name in NAMES:
        mini = miniatures.ALL[name](clips, files.url)
        files.files.update(mini.served)
        videos |= mini.videos
        mirrors = {path: [files.url(path)] for path in mini.served}
        checkout.entries[f"mini_{name}"] = {"plugin": mini.plugin, "options": mini.options, "mirrors": mirrors}
        for path, data in mini.dropped.items():
            place = checkout.folder / "data" / f"mini_{name}" / "downloads" / path
            place.parent.mkdir(parents=True)
            place.write_bytes(data)
    programs = miniatures.fake_programs(tmp_path, videos, not any(shutil.which(tool) for tool in archives._TOOLS))
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    return checkout


def config_of(checkout, accept):
    """The tiny config with the three datasets and an experiment that asks for two of them."""
    entries = {name: {**entry, "accept_terms": accept} for name, entry in checkout.entries.items()}
    values = {
        "datasets": entries,
        "experiments": {"mini": EXPERIMENT},
        "corruption": {"published": {"mini_ucf101": "mini_ucf101_c"}},
        "downloads": {"pause_s": 0},
    }
    return ["tests/config/tiny.yaml", checkout.write_config(f"mini_{accept}.yaml", values)]


def test_datasets_come_by_name_and_are_verified_and_used(offered, files):  # noqa: F811
    refused = config_of(offered, accept=False)
    offered.run("data_mini_ucf101", config=refused, check=False)
    log = offered.folder / "results/logs/download_dataset/mini_ucf101.log"
    assert "set `datasets.mini_ucf101.accept_terms: true`" in log.read_text() and not files.asked

    config = config_of(offered, accept=True)
    offered.run(*REPORTS, *CORRUPTED, config=config)
    for name, counts in (("ucf101", "11 of 12"), ("ucf101_c", "1 of 2"), ("vggsound", "2 of 3")):
        page = (offered.folder / f"results/reports/data_mini_{name}.html").read_text()
        assert f"{counts} listed clips can be used." in page
        assert f"{counts} listed clips" in (offered.folder / f"results/tables/data_mini_{name}.md").read_text()
    assert "Private video" in page

    published, ours = (contracts.read(offered.folder / path, contracts.CORRUPTED_CLIPS) for path in CORRUPTED)
    assert [row["available"] for row in published] == [True, True, False]
    assert "mini_ucf101_c/media" in published[0]["video"] and ours[0]["available"] and ours[0]["psnr"] < 30

    assert (offered.folder / "data/mini_ucf101/probed.jsonl").exists()
    assert not list(offered.folder.glob("<*"))  # params are not paths to Snakemake, which leaves their pathvars as they are

    asked = list(files.asked)
    assert "Nothing to be done" in offered.run(*REPORTS, *CORRUPTED, config=config)
    assert files.asked == asked and not list(offered.folder.glob("data/*/downloads/UCF101.rar"))
    assert (offered.folder / "data/mini_ucf101_c/downloads/UCF101-C.zip").exists()
