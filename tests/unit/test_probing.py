"""Probing many files: once each, whatever happens meanwhile."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from earshot import media, probing
from earshot.datasets import Parts

FRAMES = np.zeros((8, 32, 32, 3), np.uint8)


def clips(folder, count, start=0):
    """Small videos whose bytes differ, as targets."""
    first = folder / "first.mp4"
    if not first.exists():
        media.write_video(first, FRAMES, 8.0, np.full(8000, 0.1, np.float32), 8000)
    found = []
    for number in range(start, start + count):
        path = folder / f"clip{number:04d}.mp4"
        path.write_bytes(first.read_bytes() + b"\0" * number)
        found.append((path, Parts()))
    return found


def asked(monkeypatch, tmp_path):
    """A list of the names of files that are probed, in whatever process."""
    log, real = tmp_path / "asked.log", probing.probe_one

    def noted(target):
        with log.open("a") as file:
            file.write(f"{target[0].name}\n")
        return real(target)

    monkeypatch.setattr(probing, "probe_one", noted)
    return lambda: sorted(log.read_text().split()) if log.exists() else []


def test_facts_come_in_order_with_level_and_length(tmp_path):
    media.write_video(tmp_path / "tone.mp4", FRAMES, 8.0, 0.5 * np.sin(np.arange(16_000) / 5).astype(np.float32), 16_000)
    media.write_video(tmp_path / "quiet.mp4", FRAMES, 8.0, np.zeros(16_000, np.float32), 16_000)
    media.write_video(tmp_path / "mute.mp4", FRAMES, 8.0)
    names = ("tone", "absent", "quiet", "mute")
    tone, absent, quiet, mute = probing.probe_files([(tmp_path / f"{name}.mp4", Parts()) for name in names], 2)
    assert tone["level"] == pytest.approx(20 * math.log10(0.5 / math.sqrt(2)), abs=0.3)
    assert tone["duration"] == pytest.approx(1.0, abs=0.1) and tone["frames"] == 8
    assert quiet["level"] == -math.inf and quiet["audio_rate"] == 16_000
    assert math.isnan(mute["level"]) and mute["audio_rate"] == 0
    assert not absent["available"] and absent["problem"] == "missing: no such file" and absent["sha256"] == ""


def test_a_file_of_several_clips_is_probed_once(tmp_path, monkeypatch):
    names = asked(monkeypatch, tmp_path)
    (one,) = clips(tmp_path, 1)
    assert len(probing.probe_files([one, one, one], 1)) == 3
    assert names() == ["clip0000.mp4"]


def test_a_later_call_probes_only_what_is_new_or_changed(tmp_path, monkeypatch):
    journal, targets = tmp_path / "probed.jsonl", clips(tmp_path, 3)
    before = probing.probe_files(targets, 1, journal)
    names = asked(monkeypatch, tmp_path)
    targets[1][0].write_bytes(targets[1][0].read_bytes() + b"more")
    targets += clips(tmp_path, 1, start=3)
    after = probing.probe_files(targets, 1, journal)
    assert names() == ["clip0001.mp4", "clip0003.mp4"]
    assert [repr(after[k]) == repr(before[k]) for k in range(3)] == [True, False, True]
    assert len(journal.read_text().splitlines()) == 4


def test_facts_that_other_code_found_are_found_again(tmp_path, monkeypatch):
    journal, targets = tmp_path / "probed.jsonl", clips(tmp_path, 2)
    probing.probe_files(targets, 1, journal)
    monkeypatch.setattr(probing.digests, "of", lambda _: "another")
    names = asked(monkeypatch, tmp_path)
    probing.probe_files(targets, 1, journal)
    assert len(names()) == 2


@pytest.mark.parametrize("damage", [b"", b'{"code": "', b"\xff\xfe\n", b"[1, 2]\n", b'{"key": 3}\n'])
def test_a_damaged_journal_costs_only_its_own_lines(tmp_path, monkeypatch, damage):
    journal, targets = tmp_path / "probed.jsonl", clips(tmp_path, 3)
    whole = probing.probe_files(targets, 1, journal)
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(lines[0] + damage + (b"" if damage and not damage.endswith(b"\n") else lines[1]))
    assert repr(probing.probe_files(targets, 1, journal)) == repr(whole)
    assert len([json.loads(line) for line in journal.read_text().splitlines()]) == 3


def test_a_file_that_kills_its_decoder_costs_only_itself(tmp_path, monkeypatch):
    targets, real = clips(tmp_path, 40), probing.probe_one
    monkeypatch.setattr(probing, "probe_one", lambda target: os._exit(9) if target == targets[21] else real(target))
    found = probing.probe_files(targets, 2)
    assert [k for k, facts in enumerate(found) if not facts["available"]] == [21]
    assert "its decoder crashed" in found[21]["problem"] and found[21]["sha256"]


def test_a_file_that_never_ends_costs_only_itself(tmp_path, monkeypatch):
    targets, real = clips(tmp_path, 3), probing.probe_one
    monkeypatch.setattr(probing, "probe_one", lambda target: time.sleep(60) if target == targets[1] else real(target))
    found = probing.probe_files(targets, 2, limit_s=0.5)
    assert [facts["available"] for facts in found] == [True, False, True]
    assert "took longer than 0.5 s" in found[1]["problem"]


_SLOW = """
import sys, time
from pathlib import Path
from earshot import probing
from earshot.datasets import Parts
real = probing.probe_one
def slow(target):
    time.sleep(0.05)
    return real(target)
probing.probe_one = slow
folder = Path(sys.argv[1])
probing.probe_files([(path, Parts()) for path in sorted(folder.glob("clip*.mp4"))], 2, folder / "probed.jsonl")
"""


def test_a_killed_run_goes_on_where_it_was_with_equal_results(tmp_path, monkeypatch):
    targets, journal = clips(tmp_path, 120), tmp_path / "probed.jsonl"
    env = {**os.environ, "PYTHONPATH": str(Path(probing.__file__).parents[1])}
    child = subprocess.Popen([sys.executable, "-c", _SLOW, str(tmp_path)], env=env, start_new_session=True)
    while not journal.exists() or journal.read_bytes().count(b"\n") < 20:
        assert child.poll() is None
        time.sleep(0.02)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    kept = journal.read_bytes().count(b"\n")
    names = asked(monkeypatch, tmp_path)
    resumed = probing.probe_files(targets, 2, journal)
    assert 20 <= kept < 120 and len(names()) == 120 - kept
    assert repr(resumed) == repr(probing.probe_files(targets, 1))
