"""Every dataset in miniature, from its name to what it is for: fetched or dropped, listed, verified, reported, used.

What is offered of each, and what is wrong with it, is told by `miniatures.py`; the servers are on this machine.
"""

import json
import os
import shutil
import threading
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import miniatures
import numpy as np
import pytest
from file_server import FileServer
from indexed_sets import Indexed, problems

from earshot import archives, contracts, data_report, features, plugins, published_corruptions, questions, synthesis
from earshot.acquisition import AcquisitionError, Manners, Wishes, acquire
from earshot.corrupting import Recipe

MANNERS = Manners(pause_s=0.0, attempts=2, timeout_s=5.0)
FETCHED = [name for name in miniatures.ALL if name != "folder"]
CLASSIFIED = ("ucf101", "kinetics_sounds", "kinetics50", "vggsound", "avmit", "folder")


@pytest.fixture(scope="module")
def server():
    made = FileServer()
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.released.set()
    made.shutdown()
    thread.join()
    made.server_close()


class Offered:
    """A miniature on the server, in the folder `downloads` and in the hands of a fake yt-dlp; and what is made of it."""

    def __init__(self, name, server, clips, folder):
        self.name, self.server, self.folder = name, server, folder
        self.mini = miniatures.ALL[name](clips, server.url)
        self.module = plugins.load("datasets", self.mini.plugin)
        self.options = self.module.Options(**self.mini.options)
        for path, data in {**self.mini.served, **self.mini.linked}.items():
            server.files[f"{name}/{path}"] = data
        self.root, self.downloads = folder / "media", folder / "downloads"
        for path, data in self.mini.dropped.items():
            place = (self.root if name == "folder" else self.downloads) / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
        needed = not any(shutil.which(tool) for tool in archives._TOOLS)
        self.programs = miniatures.fake_programs(folder, self.mini.videos, unrar=needed)

    def acquire(self, accept=True):
        mirrors = {path: [self.server.url(f"{self.name}/{path}")] for path in self.mini.served}
        wishes = Wishes(accept_terms=accept, mirrors=mirrors, checksums=self.mini.checksums)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PATH", f"{self.programs}{os.pathsep}{os.environ['PATH']}")
            patch.setenv("no_proxy", "127.0.0.1")
            places = (self.root, self.downloads, wishes, MANNERS, False, self.ledger)
            return acquire(self.name, self.module, self.options, *places, sleep=lambda seconds: None)

    @property
    def ledger(self):
        return self.folder / "downloaded.json"

    def asked(self):
        """How many requests the server and the fake yt-dlp got so far."""
        log = self.folder / "asked.txt"
        return len(self.server.asked), len(log.read_text().splitlines()) if log.exists() else 0

    def indexed(self):
        downloaded = "" if self.name == "folder" else str(self.ledger)
        return Indexed(self.mini.plugin, self.root, self.folder, downloaded, **self.mini.options)


@pytest.fixture(scope="module")
def made(server, tmp_path_factory):
    """Everything of a dataset, made once: `made("ave")`."""
    clips, kept = miniatures.Clips(tmp_path_factory.mktemp("clips")), {}

    def make(name):
        if name not in kept:
            offered = Offered(name, server, clips, tmp_path_factory.mktemp(name))
            manifest = offered.acquire() if name != "folder" else {"files": {}}
            kept[name] = SimpleNamespace(offered=offered, mini=offered.mini, manifest=manifest, indexed=offered.indexed())
        return kept[name]

    return make


def count(rows, **wanted):
    return Counter(row["split"] for row in rows if all(row[key] == value for key, value in wanted.items()))


@pytest.mark.parametrize("name", FETCHED)
def test_nothing_is_fetched_before_its_terms_are_accepted(name, server, tmp_path):
    offered = Offered(name, server, miniatures.Clips(tmp_path), tmp_path / "data")
    before = offered.asked()
    if offered.mini.served:
        with pytest.raises(AcquisitionError, match=r"Nothing was fetched\. .*accept_terms: true"):
            offered.acquire(accept=False)
        assert not list(offered.root.rglob("*.*"))
    else:  # what its user brought is the user's
        offered.acquire(accept=False)
        assert list(offered.root.rglob("*.*"))
    assert offered.asked() == before


@pytest.mark.parametrize("name", miniatures.ALL)
def test_all_clips_are_listed_and_those_are_found_that_are_there(name, made):
    mini, rows = made(name).mini, list(made(name).indexed.clips.values())
    assert count(rows) == mini.listed
    assert count(rows, available=True) == Counter(mini.found)
    assert {row["clip_id"] for row in rows if not row["available"]} == set(mini.gone)
    for clip, told in mini.gone.items():
        assert told in made(name).indexed.clips[clip]["problem"]


@pytest.mark.parametrize("name", miniatures.ALL)
def test_what_is_wrong_is_found_and_reported(name, made, tmp_path):
    one = made(name)
    assert Counter(row["kind"] for row in one.indexed.findings) == one.mini.findings
    page, text = tmp_path / "report.html", tmp_path / "report.md"
    data_report.write(*(one.indexed.paths[table] for table in ("clips", "classes", "findings")), str(page), str(text))
    found, listed = sum(one.mini.found.values()), sum(one.mini.listed.values())
    for told in (page.read_text(encoding="utf-8"), text.read_text(encoding="utf-8")):
        assert f"{found} of {listed} listed clips can be used." in told
    facts = contracts.facts_of(one.indexed.paths["clips"])
    assert facts["split_sha256"][:64] in text.read_text(encoding="utf-8") and len(facts["split_sha256"]) == 64


@pytest.mark.parametrize("name", FETCHED)
def test_a_second_time_nothing_is_asked_for_and_the_manifest_is_the_same(name, made):
    offered = made(name).offered
    before, asked = offered.ledger.read_bytes(), offered.asked()
    assert offered.acquire() == made(name).manifest
    assert (offered.ledger.read_bytes(), offered.asked()) == (before, asked)
    assert all((offered.downloads / path).read_bytes() == data for path, data in offered.mini.dropped.items())
    statuses = {entry["status"] for entry in json.loads(before)["files"].values()}
    assert statuses == ({"ok", "unavailable"} if name in ("kinetics50", "vggsound", "llp") else {"ok"})


def test_only_the_needed_clips_of_an_archive_are_kept(made):
    names = {path.name for path in made("kinetics_sounds").offered.root.rglob("*.mp4")}
    assert names == {
        f"{clip}.mp4" for clip in ("AAAAAAAAAAA_000001_000011", "CCCCCCCCCCC_000000_000010", "DDDDDDDDDDD_000127_000137")
    }
    replaced = made("kinetics_sounds").indexed.clips["train/CCCCCCCCCCC_000000_000010"]
    assert replaced["available"] and replaced["video"].startswith("replacement/")
    assert not list(made("kinetics_sounds").offered.downloads.rglob("*.t*gz"))


def test_lists_of_another_version_are_told(made):
    (told,) = [told for told in made("llp").indexed.remarks if told.startswith("lists that differ from the published ones")]
    assert ": 5 (AVVP_train.csv is an unknown version" in told


@pytest.mark.parametrize("name", CLASSIFIED)
def test_clips_of_classes_are_corrupted(name, made, tmp_path):
    one = made(name)
    recipe = Recipe("gauss", 3, "ucf101c", "per_frame", 0)
    how = {"codec": "h264", "crf": 18, "preset": "veryfast", "pix_fmt": "yuv420p"}
    task = synthesis.Task(recipe, how, True, "offline", False, "", "c", str(one.offered.root), str(tmp_path))
    out = tmp_path / "clips.parquet"
    synthesis.synthesize(one.indexed.paths["clips"], ["test"], task, 1, str(out))
    rows = contracts.read(out, contracts.CORRUPTED_CLIPS)
    assert len(rows) == one.mini.listed["test"]
    assert sum(row["available"] for row in rows) == one.mini.found["test"] > 0
    assert all(8 < row["psnr"] < 30 for row in rows if row["available"])


def test_published_corrupted_files_take_the_place_of_ours(made, tmp_path):
    theirs, out = made("ucf101_c").offered, tmp_path / "clips.parquet"
    given = {"name": "ucf101_c", "plugin": "ucf101_c", "root": str(theirs.root), "options": theirs.mini.options}
    clean = made("ucf101").indexed.paths["clips"]
    published_corruptions.take(clean, ["test"], "gauss", given, 1, "code", str(out))
    rows = contracts.read(out, contracts.CORRUPTED_CLIPS)
    assert [Path(row["clip_id"]).name.split("_")[1] for row in rows] == ["HandStandPushups", "ApplyEyeMakeup", "Basketball"]
    assert [row["available"] for row in rows] == [True, True, False] and rows[0]["audio_rate"] > 0
    published_corruptions.take(clean, ["test"], "contrast", given, 1, "code", str(out))
    assert [row["available"] for row in contracts.read(out, contracts.CORRUPTED_CLIPS)] == [False, True, False]


@pytest.mark.parametrize(
    ("name", "segments"), [("ave", 10), ("llp", 10), ("avsbench_s4", 5), ("avsbench_ms3", 5), ("music_avqa", 10)]
)
def test_clips_become_segments(name, segments, made):
    one = made(name)
    frames, waves = one.indexed.frames(segments, 32), one.indexed.waves(segments, 8_000)
    assert frames.array.shape[1:] == (segments, 32, 32, 3) and waves.array.shape[1:] == (segments * 8_000,)
    loud = {clip: int(np.abs(np.asarray(row, int)).max()) for clip, row in zip(waves.clip_ids, waves.array, strict=True)}
    audible = {clip for clip, row in one.indexed.clips.items() if row["audio_rate"]}
    assert set(problems(frames)) == set(one.mini.gone) and not set(problems(waves)) & audible
    assert audible and all(loud[clip] > 1_000 for clip in audible)
    assert all(np.asarray(row).any() for row in frames.array[frames.available])


@pytest.mark.parametrize(("name", "masks"), [("avsbench_s4", 11), ("avsbench_ms3", 10)])
def test_masks_become_arrays(name, masks, made):
    indexed = made(name).indexed
    assert len(indexed.masks) == masks
    shown = np.asarray(indexed.shown(5, 32).array)
    assert {round(float((second == 1).mean()), 2) for clip in shown for second in clip if (second == 1).any()} == {0.25}


def test_questions_become_numbers(made):
    asked = questions.of_split(made("music_avqa").indexed.paths["asked"], "test")
    assert asked.ids == ["3", "4"] and (asked.labels["question"] > 0).sum(1).tolist() == [7, 6]


def test_published_features_are_imported_whether_or_not_their_video_is_there(made, tmp_path):
    one, out = made("llp"), (str(tmp_path / "f.npy"), str(tmp_path / "f.parquet"))
    features.import_files("clip", {}, str(one.offered.root / "features"), one.indexed.paths["clips"], 0, 1, *out)
    found = features.read(out[0])
    assert found.available.all() and found.array[:, 0, 0].tolist() == [0, 1, 2, 3]
    events = Counter(event["modality"] for event in one.indexed.events)
    assert events == {"weak": 8, "audio": 2, "visual": 2}
