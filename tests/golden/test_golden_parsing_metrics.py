"""The parsing scores against runs of the official evaluation, to the last bit.

Truth comes from LLP's lists, so what compares with it needs the data folder beside the project; made-up matrices do not.
"""

import hashlib
import json
from functools import cache
from pathlib import Path

import avvp_fill as fill
import numpy as np
import pytest

from earshot.datasets import llp
from earshot.metrics import parsing_f_score

FOLDER = Path(__file__).parent / "avvp"
EVAL = json.loads((FOLDER / "eval_golden.json").read_text())
EDGE = json.loads((FOLDER / "edge_golden.json").read_text())
INPUTS = dict(np.load(FOLDER / "eval_inputs.npz", allow_pickle=False))
OURS = {"a": "A", "v": "V", "av": "AV", "type": "TypeAV", "event": "EventAV"}
SETS = ("uniform", "noisy_oracle", "exact_half")
BASELINES = EVAL["results"]["whole_split_baselines"]
COLUMNS = ("A", "V", "EventAV", "AV")  # of the stored lists


def ours(published):
    """A summary under our names of metrics."""
    level = {"Seg": "seg", "Event": "evt"}
    return {f"f_score_{level[k.split('-')[0]]}_{OURS[k.split('-')[1]]}": value for k, value in published.items()}


@cache
def index(root, version):
    return llp.index(root, llp.Options(audio_events=version))


@cache
def labels(root, version, names):
    """Truth (N, 2, 25, 10) and weak labels (N, 25) of videos by name."""
    listed = index(root, version)
    number = {name: k for k, name in enumerate(listed.classes)}
    rows = {f"videos/{name}.mp4": [] for name in names}
    weak = np.zeros((len(names), 25), np.float32)
    place = {video: k for k, video in enumerate(rows)}
    for event in listed.events:
        if event.video in rows:
            rows[event.video].append((number[event.label], event.onset, event.offset, event.modality))
            if event.modality == "weak":
                weak[place[event.video], number[event.label]] = 1
    return parsing_f_score.targets(25, list(rows.values())), weak


@cache
def names_of(root, split):
    clips = index(root, "v2024").clips
    return tuple(Path(clip.video).name.removesuffix(".mp4") for clip in clips if clip.split == split)


@pytest.fixture(scope="module")
def root(shared):
    return shared / "data" / "llp"


def test_classes_are_in_the_published_order():
    assert list(llp.SPEC.classes) == EVAL["categories"]


@pytest.mark.parametrize("version", ["v2024", "v2020"])
@pytest.mark.parametrize("name", SETS)
def test_every_video_of_sixty_scores_as_published(root, name, version):
    truth, _ = labels(root, version, tuple(INPUTS["names"].tolist()))
    decided = parsing_f_score.decisions(INPUTS[f"{name}_global"], INPUTS[f"{name}_frame"])
    found = parsing_f_score.per_video(decided, truth)
    published = EVAL["results"][f"{name}/{version}"]
    for level, key in (("seg", "per_video_seg[a,v,event,av]"), ("evt", "per_video_event[a,v,event,av]")):
        assert np.stack([found[f"f_score_{level}_{kind}"] for kind in COLUMNS], axis=1).tolist() == published[key]
    assert parsing_f_score.summary(found) == ours(published["summary"])


def scores_of(kind, split, truth, weak):
    """The scores (N, 25) and (N, 10, 2, 25) of a baseline, given the truth and the weak labels of a split."""
    segments = np.ascontiguousarray(truth.transpose(0, 3, 1, 2)).astype(np.float32)
    everywhere = np.broadcast_to(weak[:, None, None], segments.shape)

    def noisy(clean, name):
        noise = fill.unit(f"avvp/{split}/{name}", clean.shape)
        return np.clip(0.5 + np.float32(0.4) * (2 * clean - 1) + 0.28 * noise, 0.001, 0.999).astype(np.float32)

    return {
        "all_zero": lambda: (np.zeros_like(weak), np.zeros_like(segments)),
        "all_one": lambda: (np.ones_like(weak), np.ones_like(segments)),
        "weak_label_everywhere": lambda: (weak, everywhere),
        "weak_label_audio_only": lambda: (weak, everywhere * np.array([1, 0], np.float32)[:, None]),
        "dense_oracle_gate_off": lambda: (np.ones_like(weak), segments),
        "dense_oracle_gated_by_weak": lambda: (weak, segments),
        "noisy_oracle_fill": lambda: (noisy(weak, "global"), noisy(segments, "frame")),
    }[kind]()


@pytest.mark.parametrize("baseline", BASELINES)
def test_whole_splits_score_as_published(root, baseline):
    split, kind, version = baseline.split("/")
    told, weak = labels(root, "v2024", names_of(root, split))  # predictions are made from the newer lists
    truth, _ = labels(root, version, names_of(root, split))
    decided = parsing_f_score.decisions(*scores_of(kind, split, told, weak))
    assert parsing_f_score.summary(parsing_f_score.per_video(decided, truth)) == ours(BASELINES[baseline])


def matrices(case, whose):
    """Listed rows of bits as (1, 2, 25, 10)."""
    found = np.zeros((1, 2, 25, 10), bool)
    for modality, name in enumerate(("audio", "visual")):
        for number, bits in case[f"{whose}_{name}"]:
            found[0, modality, number] = [bit == "1" for bit in bits]
    return found


@pytest.mark.parametrize("case", EDGE["cases"], ids=lambda case: case["name"])
def test_made_up_matrices_score_as_published(case):
    found = parsing_f_score.per_video(matrices(case, "pred"), matrices(case, "gt"))
    for level, name in parsing_f_score.LEVELS.items():
        assert {kind: found[f"f_score_{level}_{OURS[kind]}"].tolist() for kind in case[name]} == {
            kind: [value] for kind, value in case[name].items()
        }


@pytest.mark.parametrize("bits", EDGE["runs"])
def test_runs_are_those_published(bits):
    tp, fp, fn = parsing_f_score.event_tables()
    mask = int(bits[::-1], 2)
    runs = [(1 << end) - (1 << start) for start, end in EDGE["runs"][bits]]
    assert sum(runs) == mask
    assert (tp[mask, mask], fp[mask, mask], fn[mask, mask]) == (len(runs), 0, 0)
    for run in runs:
        assert (tp[run, mask], fp[run, mask], fn[run, mask]) == (1, 0, len(runs) - 1)


def test_event_tables_are_those_of_every_pair_published():
    tables, published = parsing_f_score.event_tables(), EDGE["exhaustive_event_table"]
    assert hashlib.sha256(np.stack(tables).tobytes()).hexdigest() == published["sha256"]
    assert [int(table.sum(dtype=int)) for table in tables] == [published[f"sum_{name}"] for name in ("TP", "FP", "FN")]
