"""Labels, few-shot rows and questions out of the published lists, against what the reference code makes of them."""

import json
from pathlib import Path

import numpy as np
import pytest

from earshot import prompting_data, questions, shots
from earshot.datasets import ave, llp, music_avqa
from earshot.metrics import parsing_f_score

FOLDER = Path(__file__).parent / "dgsct"
FEW = json.loads((FOLDER / "fewshot_selection.json").read_text())
TOKENS = json.loads((FOLDER / "avqa_tokens.json").read_text())


@pytest.fixture(scope="module")
def listed(shared):
    return ave.index(shared / "data" / "ave", ave.Options())


@pytest.fixture(scope="module")
def labels(listed):
    """The class of every second of all clips, (4143, 10)."""
    places = {clip.clip: place for place, clip in enumerate(listed.clips)}
    events = [[] for _ in listed.clips]
    for event in listed.events:
        place = listed.classes.index(event.label), event.onset, event.offset, event.modality
        events[places[event.clip]].append(place)
    return prompting_data.segment_classes(parsing_f_score.targets(28, events))


def checked(chosen, golden):
    """Hold chosen rows, by their numbers in a published list, to a golden entry."""
    assert len(chosen) == golden["n"]
    assert golden["indices"] is None or chosen.tolist() == golden["indices"]
    assert int((chosen * np.arange(1, len(chosen) + 1)).sum()) == golden["checksum"]


def test_labels_of_aves_segments_are_the_published_ones(listed, labels):
    golden, test = FEW["ave_labels"], np.array([clip.split == "test" for clip in listed.clips])
    assert labels[test].size == golden["test_segments"]
    assert int((labels[test] == 28).sum()) == golden["test_background"]
    assert int(labels[test].sum()) == golden["test_label_sum"]
    assert int(labels.sum()) == golden["all_label_sum"]
    assert int((labels == 28).sum()) == golden["all_background"]


def test_aves_few_shot_rows_are_the_published_ones(shared, listed):
    lines = (shared / "data" / "ave" / "Annotations.txt").read_text().splitlines()[1:]
    numbers = {line: number for number, line in enumerate(lines)}
    train = (shared / "data" / "ave" / "trainSet.txt").read_text().splitlines()
    clips = [clip for clip in listed.clips if clip.split == "train"]
    classes = np.array([listed.classes.index(clip.label) for clip in clips])
    assert dict(zip(listed.classes, np.bincount(classes).tolist(), strict=True)) == FEW["ave_train_per_class"]
    places = np.array([numbers[line] for line in train])
    for count, golden in FEW["ave"].items():
        checked(places[shots.first_of_each(classes, int(count))], golden)


def test_llps_few_shot_rows_are_the_published_ones(shared):
    listed = llp.index(shared / "data" / "llp", llp.Options())
    places = {clip.video: place for place, clip in enumerate(c for c in listed.clips if c.split == "train")}
    weak = np.zeros((len(places), 25), np.float32)
    for event in listed.events:
        if event.modality == "weak" and event.video in places:
            weak[places[event.video], listed.classes.index(event.label)] = 1
    classes = shots.single_classes(weak)
    counts = np.bincount(classes[classes != shots.NONE], minlength=25).tolist()
    assert dict(zip(listed.classes, counts, strict=True)) == FEW["llp_single_label_per_class"]
    for count, golden in FEW["llp"].items():
        checked(shots.first_of_each(classes, int(count)), golden)


def test_questions_are_the_published_numbers(shared):
    options = music_avqa.Options(questions=".", vocabulary="ques_vocab.txt")
    listed = music_avqa.index(shared / "data" / "avqa", options)
    golden = TOKENS["checks"]["json/avqa-val.json"]
    words = questions.vocabulary(listed.questions, listed.words)["words"]
    found = questions.tokens([row.text for row in listed.questions], words)
    assert found.shape == (golden["n"], TOKENS["max_len"]) and TOKENS["pad_id"] == 0
    assert int((found > 0).sum(1).max()) == golden["max_len"]
    assert int(found.sum()) == golden["sum_token_ids"]
    assert sum(listed.classes.index(row.answer) for row in listed.questions) == golden["sum_answer_ids"]
