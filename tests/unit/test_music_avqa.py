"""MUSIC-AVQA: questions with their slots filled, as numbers of words; videos as clips; what is odd is named."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from indexed_sets import Indexed, problems, row, write_image

from earshot import contracts, media, questions
from earshot.datasets import DatasetError, QuestionRow, music_avqa
from earshot.tasks import avqa
from helpers import moving_square, tone


def question(video, number, text, values=(), answer="two", kind=("Audio", "Counting")):
    return {
        "video_id": video, "question_id": number, "type": json.dumps(kind), "question_content": text,
        "templ_values": json.dumps(values), "question_deleted": 0, "anser": answer,
    }  # fmt: skip


COUNT = "How many sounding <Object> in the video?"
LISTS = {
    "train": [
        question("00000001", 1, COUNT, ["violin"]),
        question("va00000002", 2, "Is the <Object> on the <LR>？", ["cello", "left"], "yes", ("Audio-Visual", "Existential")),
    ],
    "test": [question("00000001", 3, COUNT, ["cello"], "one"), question("00000004", 3, COUNT, ["banjo"], "zero")],
}


def write_lists(root, lists=LISTS):
    (root / "json").mkdir(parents=True, exist_ok=True)
    for split, rows in lists.items():
        (root / "json" / f"avqa-{split}.json").write_text(json.dumps(rows))
    return root


@pytest.fixture
def indexed(tmp_path):
    root = write_lists(tmp_path / "avqa")
    for folder, name in (("Real", "00000001"), ("Synthetic", "va00000002")):
        path = root / f"MUSIC-AVQA-videos-{folder}" / f"{name}.mp4"
        path.parent.mkdir()
        media.write_video(path, moving_square(80), 4, tone(20))
    return Indexed("music_avqa", root, tmp_path / "out")


def test_questions_and_clips_are_listed(indexed):
    assert [clip["video"] for clip in indexed.clips.values()] == [
        "MUSIC-AVQA-videos-Real/00000001.mp4",
        "MUSIC-AVQA-videos-Synthetic/va00000002.mp4",
        "MUSIC-AVQA-videos-Real/00000004.mp4",
    ]
    assert [clip["split"] for clip in indexed.clips.values()] == ["train", "train", "test"]
    asked = [(q["question_id"], q["split"], q["question"], q["kind"], indexed.classes[q["answer"]]) for q in indexed.questions]
    assert asked == [
        ("1", "train", "How many sounding violin in the video", "Audio-Counting", "two"),
        ("2", "train", "Is the cello on the left", "Audio-Visual-Existential", "yes"),
        ("3", "test", "How many sounding cello in the video", "Audio-Counting", "one"),
        ("3+2", "test", "How many sounding banjo in the video", "Audio-Counting", "zero"),
    ]
    assert indexed.remarks == [
        "avqa-val.json is not there: the split 'val' has no questions",
        "numbers that several questions have, told apart by +2: 1 (3)",
        "videos with questions in several splits: 1 (00000001)",
    ]
    assert len(indexed.classes) == 42


def test_questions_of_a_split_are_numbers(indexed):
    words = contracts.facts_of(indexed.paths["asked"])["words"]
    assert words == ["How", "many", "sounding", "violin", "in", "the", "video", "Is", "cello", "on", "left", "banjo"]
    found = questions.of_split(indexed.paths["asked"], "test")
    assert (found.ids, found.words) == (["3", "3+2"], 13)
    assert found.clip_ids == ["MUSIC-AVQA-videos-Real/00000001", "MUSIC-AVQA-videos-Real/00000004"]
    assert found.labels["question"].tolist() == [[1, 2, 3, 9, 5, 6, 7, *[0] * 7], [1, 2, 3, 12, 5, 6, 7, *[0] * 7]]
    assert found.labels["answer"].tolist() == [8, 3] and found.labels["kind"].tolist() == [0, 0]
    assert questions.of_split(indexed.paths["asked"], "val").labels["question"].shape == (0, 14)


def test_long_videos_are_heard_and_seen_from_end_to_end(indexed):
    frames, waves = indexed.frames(10, 32), indexed.waves(10, 8_000)
    name = "MUSIC-AVQA-videos-Real/00000001"
    assert problems(frames) == problems(waves) == {"MUSIC-AVQA-videos-Real/00000004": "missing: no such file"}
    decoded = media.read_frames(f"{indexed.root}/{name}.mp4", picks := [0, 8, 17, 26, 35, 43, 52, 61, 70, 79])
    assert np.array_equal(row(frames, name), [decoded[k] for k in picks])
    assert (row(waves, name).reshape(10, 8_000).astype(float).std(1) > 5_000).all()


def test_prepared_files_are_of_ten_seconds(tmp_path):
    root = write_lists(tmp_path / "avqa")
    for number in range(1, 61):
        write_image(root / "frames" / "00000001" / f"{number:08d}.jpg", np.full((8, 8, 3), 4 * number, np.uint8))
    (root / "sound").mkdir()
    np.save(root / "sound" / "00000001.npy", tone(10, 1_000))
    indexed = Indexed("music_avqa", root, tmp_path / "out", frames="frames", sound="sound", sound_rate=1_000)
    name = "MUSIC-AVQA-videos-Real/00000001"
    assert indexed.clips[name]["frames"] == 60 and indexed.clips[name]["available"]
    grey = row(indexed.frames(10, 8), name).mean((1, 2, 3)) / 4
    assert np.round(grey).tolist() == np.linspace(1, 60, 10).astype(int).tolist()
    assert np.array_equal(row(indexed.waves(10, 1_000), name), np.rint(tone(10, 1_000) * 32_768))


def test_a_vocabulary_decides_the_numbers(tmp_path):
    root = write_lists(tmp_path)
    words = ["the", "video", "in", "How", "many", "sounding", "violin", "Is", "cello", "on", "left", "banjo"]
    (root / "words.txt").write_text("\n".join([questions.PAD, *words]) + "\n")
    assert Indexed("music_avqa", root, tmp_path / "out", vocabulary="words.txt").questions
    assert contracts.facts_of(tmp_path / "out" / "asked.parquet")["words"] == words
    (root / "words.txt").write_text("the video in")
    with pytest.raises(DatasetError, match=r"question 1, .*: 'How' is not in the vocabulary"):
        Indexed("music_avqa", root, tmp_path / "out", vocabulary="words.txt")
    (root / "words.txt").write_text("the\nthe\n")
    with pytest.raises(DatasetError, match=r"2 words of which 1 are there twice"):
        Indexed("music_avqa", root, tmp_path / "out", vocabulary="words.txt")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([question("1", 1, COUNT, [])], r"question 1 of the list: 1 slots and 0 values"),
        ([question("1", 1, "How many?", ["x"])], "0 slots and 1 values"),
        ([question("1", 1, COUNT, ["violin"], "eleven")], "question 1: 'eleven' is none of the 42 answers"),
        ([question("1", 1, COUNT, ["violin"], kind=["Audio", "Smell"])], r"kind 'Audio-Smell' is none of"),
        ([question("a/b", 1, COUNT, ["violin"])], "'a/b' cannot be the name"),
        ([question("1", 1, "word " * 15 + "?")], r"15 words; a question has 1 to 14"),
        ([{"video_id": "1"}], "the keys video_id, question_id"),
        ({"video_id": "1"}, "a list of questions was expected"),
        ([{**question("1", 1, COUNT, ["violin"]), "type": "Audio"}], "question 1 of the list: Expecting value"),
        ([], "no question in avqa-train.json"),
    ],
)
def test_a_wrong_question_is_refused_and_named(tmp_path, rows, message):
    with pytest.raises(DatasetError, match=message):
        Indexed("music_avqa", write_lists(tmp_path, {"val": rows}), tmp_path / "out")


def test_a_list_that_is_cut_off_is_refused(tmp_path):
    write_lists(tmp_path)
    (tmp_path / "json" / "avqa-val.json").write_text(json.dumps(LISTS["test"])[:-40])
    with pytest.raises(DatasetError, match=r"avqa-val.json: no JSON"):
        music_avqa.index(tmp_path, music_avqa.Options())


def test_kinds_have_the_places_that_the_task_scores_by():
    assert questions.KINDS == avqa.KINDS


WORD = st.text("abcdefgh", min_size=1, max_size=4)


@given(st.lists(st.lists(WORD, min_size=1, max_size=14), min_size=1, max_size=6))
def test_numbers_of_words_lead_back_to_questions(asked):
    texts = [" ".join(words) for words in asked]
    rows = [QuestionRow(str(n), "x.mp4", "test", text, questions.KINDS[0], "one") for n, text in enumerate(texts)]
    words = questions.vocabulary(rows, ())["words"]
    found = questions.tokens(texts, words)
    assert found.shape == (len(texts), questions.LENGTH) and words == sorted(set(words))
    assert [" ".join(words[number - 1] for number in numbers if number) for numbers in found] == texts


@given(st.lists(WORD, max_size=5), st.sampled_from(["?", "？", " ?", ""]))
def test_slots_are_filled_in_order(values, end):
    text = "What " + " ".join("<Object>" for _ in values) + end
    assert questions.filled(text, values).split() == ["What", *values]


def test_the_real_list_is_read_without_loss(shared):
    root = shared / "data" / "avqa"
    listed = music_avqa.index(root, music_avqa.Options(questions=".", vocabulary="ques_vocab.txt"))
    assert len(listed.questions) == 4_595 and len({q.question for q in listed.questions}) == 4_595
    assert len(listed.clips) == 3_815 and len(listed.words) == 92
    assert tuple((root / "ans_vocab.txt").read_text().splitlines()) == listed.classes
    assert {q.kind for q in listed.questions} == set(questions.KINDS)
    assert listed.remarks[2].startswith("numbers that several questions have, told apart by +2: 27 (")


def test_questions_are_fetched_and_videos_dropped(tmp_path):
    found = music_avqa.sources(tmp_path, music_avqa.Options())
    lists, videos = found[:3], found[3:]
    assert [source.to for source in lists] == [f"json/avqa-{split}.json" for split in ("train", "val", "test")]
    assert all(source.origins[0].endswith(f"/data/{source.name}") for source in lists)
    assert [source.name for source in videos] == ["MUSIC-AVQA-videos-Real.zip", "MUSIC-AVQA-videos-Synthetic.zip"]
    assert not any(source.origins for source in videos) and music_avqa.SPEC.home in videos[0].by_hand
    updated = music_avqa.sources(tmp_path, music_avqa.Options(questions="json_update", archives=[]))
    assert len(updated) == 3 and updated[0].origins[0].endswith("/data/json_update/avqa-train.json")
