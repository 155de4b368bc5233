"""The generated sets for localisation, segmentation and answering: their labels are what is seen and heard."""

import hashlib

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from earshot import contracts, media
from earshot.datasets import synthetic
from earshot.datasets._answering import _KINDS, _Facts, _questions
from earshot.datasets._events import SECONDS, Event, times
from earshot.datasets._scene import OUTLINED, render, render_with_outlines
from earshot.indexing import index_dataset
from earshot.randomness import numpy_generator

SIZE = {"classes": 2, "size": 48, "fps": 4, "train": 1, "val": 1, "test": 1}


def made(root, kind, workers=1, **options):
    chosen = synthetic.Options(kind=kind, **{**SIZE, **options})
    synthetic.prepare(root, chosen, workers)
    return synthetic.index(root, chosen)


def bytes_below(root):
    return {path.relative_to(root): hashlib.sha256(path.read_bytes()).hexdigest() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", ["localisation", "segmentation", "answering"])
def test_a_set_depends_on_its_options_alone(tmp_path, kind):
    listed = made(tmp_path / "a", kind, val=0)
    assert made(tmp_path / "b", kind, workers=2, val=0) == listed
    assert bytes_below(tmp_path / "a") == bytes_below(tmp_path / "b")
    assert [clip.split for clip in listed.clips] == ["train"] * 2 + ["test"] * 2
    seconds = 5 if kind == "segmentation" else 10
    for clip in listed.clips:
        facts = media.probe(tmp_path / "a" / clip.video)
        assert facts.frames == 4 * seconds and facts.duration == pytest.approx(seconds, abs=0.2) and facts.audio_rate


def test_an_event_is_the_only_time_at_which_one_class_is_seen_and_heard():
    from earshot.datasets._localisation import _plan

    size = synthetic.Options(kind="localisation", classes=4).of_set()
    kinds = set()
    for k in range(200):
        label = size.classes[k % 4]
        events = _plan(f"v{k}", label, size)
        seen, heard = (
            {(event.label, second) for event in events for second in range(*getattr(event, side) or (0,))}
            for side in ("seen", "heard")
        )
        (own,) = [event for event in events if event.label == label]
        assert seen & heard == {(label, second) for second in range(*own.seen)} and own.seen == own.heard
        kinds |= {(bool(e.seen), bool(e.heard)) for e in events if e is not own}
    assert kinds == {(True, False), (False, True)}


def test_localised_events_are_loud_where_they_are_said_to_be(tmp_path):
    listed = made(tmp_path, "localisation")
    for clip in listed.clips:
        audio, visual = (event for event in listed.events if event.video == clip.video)
        assert (audio.modality, visual.modality) == ("audio", "visual")
        assert (audio.label, audio.onset, audio.offset) == (clip.label, visual.onset, visual.offset)
        wave, rate = media.read_sound(tmp_path / clip.video)
        inside = wave[round(audio.onset * rate) : round(audio.offset * rate)]
        assert np.sqrt(np.mean(inside**2)) > 0.01


def test_masks_are_of_the_frames_that_go_with_them(tmp_path):
    chosen = synthetic.Options(kind="segmentation", **SIZE)
    listed = made(tmp_path, "segmentation")
    assert [(row.video, row.second) for row in listed.masks] == [(clip.video, s) for clip in listed.clips for s in range(5)]
    for clip in listed.clips:
        parts = synthetic.parts(tmp_path, {"video": clip.video}, chosen)
        video = media.read_frames(tmp_path / clip.video)
        assert parts.seconds == len(parts.frames) == 5 and parts.sound is None
        for second, path in enumerate(parts.frames):
            frame = np.asarray(Image.open(path)).astype(int)
            errors = [np.abs(frame - video[number]).mean() for number in sorted(video)]
            assert np.argmin(errors) == pytest.approx(int((second + 0.5) * 4), abs=1) and min(errors) < 12
        for row in (row for row in listed.masks if row.video == clip.video):
            mask = np.asarray(Image.open(tmp_path / row.mask))
            assert mask.shape == (48, 48) and set(np.unique(mask)) == {0, 255} and 0.03 < (mask > 0).mean() < 0.6
    assert synthetic.parts(tmp_path, {"video": clip.video}, synthetic.Options()).frames is None


def test_outlines_are_where_an_object_changes_the_picture():
    events = tuple((name, 0, 12) for name in ("bouncing_ball", "beating_heart"))
    drawn, outlines = render_with_outlines(events, 12, 8, 64, np.random.default_rng(3), [2, 9])
    np.testing.assert_array_equal(drawn, render(events, 12, 8, 64, np.random.default_rng(3)))
    assert outlines.shape == (2, 2, 64, 64) and not outlines.all(0).any()
    left, right = (np.argwhere(one[0])[:, 1].mean() for one in outlines)
    assert left < 32 < right, "events are in their places"
    ground = drawn[[2, 9]].astype(int)[~outlines.any(0)]
    for one in outlines:
        assert np.abs(drawn[[2, 9]][one].astype(int).mean(0) - ground.mean(0)).max() > 20


def test_an_object_is_outlined_only_while_it_is_there():
    drawn = render_with_outlines((("bouncing_ball", 4, 8),), 12, 8, 48, np.random.default_rng(0), [2, 6, 9])
    assert drawn[1].any((2, 3)).tolist() == [[False, True, False]]


def test_all_outlined_classes_cover_a_part_of_the_picture():
    for name in OUTLINED:
        _, outlines = render_with_outlines(((name, 0, 8),), 8, 8, 48, np.random.default_rng(1), [4])
        assert 0.02 < outlines.mean() < 0.6, name


def facts_of(*events):
    return _Facts(tuple(Event(*event) for event in events), ("wheel", "ball", "heart", "fan"))


VIDEO = facts_of(
    ("wheel", (0, 10), (0, 10)), ("ball", (3, 5), (0, 10)), ("heart", (), (0, 10)), ("fan", (6, 10), ())
)  # fmt: skip
TRUE = {
    "How many sounds were heard throughout the video": "three",
    "Is there a fan sound": "yes",
    "Is there a heart sound": "no",
    "Is the fan playing longer than the ball": "yes",
    "Is the ball playing longer than the wheel": "no",
    "How many objects appeared in the entire video": "three",
    "Is there a fan in the entire video": "no",
    "Where is the ball": "middle",
    "What is the object on the left of the ball": "wheel",
    "What is the object on the right of the ball": "heart",
    "Is the wheel in the video always playing": "yes",
    "Is the ball in the video always playing": "no",
    "Is there a sound of something that is not in the video": "yes",
    "How many objects are sounding in the video": "two",
    "How many objects in the video did not sound from beginning to end": "one",
    "Where is the longest sounding object": "left",
    "Is the first seen sound coming from the left object": "yes",
    "Is the first seen sound coming from the right object": "no",
    "Is the left object playing longer than the middle object": "yes",
    "Is the middle object playing longer than the left object": "no",
    "Where is the first sounding object": "left",
    "Which object starts to sound last": "ball",
}


def test_answers_are_what_happens():
    asked = {}
    for k in range(400):
        asked |= {text: (kind, answer) for kind, text, answer in _questions(VIDEO, np.random.default_rng(k))}
    assert {text: asked[text][1] for text in TRUE} == TRUE
    assert {kind for kind, _ in asked.values()} == set(_KINDS) and len(_KINDS) == 9


def test_what_a_video_does_not_show_is_not_asked():
    silent = facts_of(("wheel", (), (0, 10)), ("ball", (), (0, 10)))
    kinds = [kind for kind, _, _ in _questions(silent, np.random.default_rng(0))]
    assert set(_KINDS) - set(kinds) == {
        "Audio-Comparative", "Audio-Visual-Location", "Audio-Visual-Comparative", "Audio-Visual-Temporal",
    }  # fmt: skip


def test_yes_and_no_are_about_even_and_questions_fit_their_places(tmp_path):
    from earshot.datasets._answering import _plan

    size = synthetic.Options(kind="answering").of_set()
    found = [one for k in range(300) for one in _questions(_plan(str(k), size), np.random.default_rng(k))]
    for kind in ("Audio-Comparative", "Audio-Visual-Comparative"):
        answers = [answer for one, _, answer in found if one == kind]
        assert 0.4 < answers.count("yes") / len(answers) < 0.6
    assert max(len(text.split()) for _, text, _ in found) <= 14


def test_a_generated_set_is_indexed_with_its_questions(tmp_path):
    listed = made(tmp_path, "answering")
    names = {question.video for question in listed.questions}
    assert names == {clip.video for clip in listed.clips}
    assert {question.answer for question in listed.questions} <= set(listed.classes)
    assert len({question.question for question in listed.questions}) == len(listed.questions)


def test_events_of_a_set_reach_its_tables(tmp_path):
    made(tmp_path / "media", "localisation")
    out = {name: str(tmp_path / f"{name}.parquet") for name in ("clips", "classes", "events")}
    options = {"kind": "localisation", **SIZE}
    index_dataset("demo", "synthetic", str(tmp_path / "media"), options, 1, **out)
    rows = contracts.read(out["events"], contracts.EVENTS)
    assert len(rows) == 12 and all(row["available"] for row in contracts.read_clips(out["clips"]))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"kind": "localisation", "seconds": 3}, "`kind: localisation` has no `seconds`"),
        ({"kind": "answering", "sounds": 1, "parsing_val": 1}, "has no `parsing_val`, `sounds`"),
        ({"kind": "segmentation", "classes": 12}, "has 9 `classes`, not 12"),
    ],
)
def test_options_of_another_kind_are_refused(options, told):
    with pytest.raises(ValidationError, match=told):
        synthetic.Options(**options)


def test_runs_of_events_stay_in_the_video():
    spans = [times(numpy_generator("times", k)) for k in range(300)]
    assert all(0 <= onset < end <= SECONDS and end - onset >= 2 for onset, end in spans) and (0, 10) in spans
