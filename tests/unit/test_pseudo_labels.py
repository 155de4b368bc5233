"""Pseudo-labels: thresholds, masks, where they come from, and what must not be shown."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from earshot import contracts, features, label_spaces, pseudo_labels
from earshot.errors import MediaError, SetupError
from earshot.extractors import ClassVectors

LLP = list(label_spaces.read("llp").names)
HEADER = "index,name,audio_caption,visual_caption,audio_threshold,visual_threshold"
NAMES = ["dog", "cat"]


def classes_table(folder, names=NAMES):
    rows = [{"class_id": i, "name": name, "prompt": f"a {name}"} for i, name in enumerate(names)]
    contracts.write(rows, contracts.CLASSES, folder / "classes.parquet", {})
    return str(folder / "classes.parquet")


# --- recipes ----------------------------------------------------------------------------------------------------------


def test_valors_recipe_is_there_word_for_word():
    found = pseudo_labels.recipe("valor", LLP)
    audio, visual = (dict(zip(LLP, found.captions[modality], strict=True)) for modality in ("audio", "visual"))
    assert audio["Baby_cry_infant_cry"] == "This is a sound of baby cry, infant cry"
    assert audio["Frying_(food)"] == "This is a sound of frying (food)"
    assert audio["Violin_fiddle"] == "This is a sound of violin fiddle"
    assert visual["Vacuum_cleaner"] == "A photo of a vaccum cleaner." and visual["Speech"] == "A photo of people talking."
    assert visual["Acoustic_guitar"] == "A photo of a acoustic guiter." and visual["Clapping"] == "A photo of hands clapping."
    assert len(set(audio.values())) == len(set(visual.values())) == 25


def test_a_recipe_is_read_in_the_order_of_the_dataset():
    names = ["clapping", "Frying food", "SPEECH"]
    found, whole = pseudo_labels.recipe("valor", names), pseudo_labels.recipe("valor", LLP)
    places = [LLP.index(name) for name in ("Clapping", "Frying_(food)", "Speech")]
    for modality in ("audio", "visual"):
        assert found.captions[modality] == tuple(whole.captions[modality][place] for place in places)
        assert found.thresholds[modality].tolist() == whole.thresholds[modality][places].tolist()


def test_a_users_recipe(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text(f'{HEADER}\n1,cat,a meow,"a cat, perhaps",inf,0.5\n0,dog,a bark,a dog,1e-2,-3\n', encoding="utf-8-sig")
    found = pseudo_labels.recipe(str(path), NAMES)
    assert found.captions == {"audio": ("a bark", "a meow"), "visual": ("a dog", "a cat, perhaps")}
    assert found.thresholds["audio"].tolist() == [0.01, np.inf] and found.thresholds["visual"].tolist() == [-3, 0.5]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("index,name\n0,dog\n", "expected the columns index, name, audio_caption"),
        (f"{HEADER}\n0,dog,a,b,1,1\n", r"does not fit this dataset: 1 of 2 classes are not in the label space: cat; write"),
        (f"{HEADER}\n0,dog,a,b,1,1\n1,cat,a,b,nan,1\n", "audio_threshold of 'cat' is 'nan', not a number"),
        (f"{HEADER}\n0,dog,a,b,1,1\n1,cat,a,b,1,high\n", "visual_threshold of 'cat' is 'high', not a number"),
        (f"{HEADER}\n0,dog,a,b,1,1\n1,cat,a,,1,1\n", "the row of 'cat' has no visual_caption"),
        (f"{HEADER}\n0,dog,a,b,1,1\n1,cat\n", "the row of 'cat' has no audio_caption"),
        (f"{HEADER}\n0,dog,a,b,1,1\n0,cat,a,b,1,1\n", "index must count from 0"),
        (f"{HEADER}\n0,dog,a,b,1,1\n1,dog,a,b,1,1\n", "names must be there once"),
    ],
)
def test_a_recipe_that_cannot_be_used_says_why(tmp_path, text, told):
    path = tmp_path / "mine.csv"
    path.write_text(text)
    with pytest.raises(SetupError, match=told):
        pseudo_labels.recipe(str(path), NAMES)


def test_an_unknown_recipe_names_the_known_ones():
    with pytest.raises(SetupError, match=r"no recipe of pseudo-labels.*give valor, or a CSV file of index"):
        pseudo_labels.recipe("value", NAMES)


# --- scores and labels ------------------------------------------------------------------------------------------------


def vectors(weight, members=None, activation="none", bias=None, scale=1.0):
    weight = torch.tensor(weight, dtype=torch.float32)
    members = torch.eye(len(weight), dtype=torch.bool) if members is None else torch.tensor(members)
    bias = torch.zeros(len(weight)) if bias is None else torch.tensor(bias)
    return ClassVectors(weight, bias, members, activation, scale)


def test_words_score_by_the_cosine_whatever_the_lengths():
    x = np.zeros((1, 10, 2), np.float32)
    x[0, :, 0] = 3
    x[0, 1] = (0, 0)
    found = pseudo_labels.scores(x, vectors([[2, 0], [1, 1], [-1, 0]], scale=10.0))
    assert found[0, 0] == pytest.approx([10, 10 / np.sqrt(2), -10])
    assert found[0, 1].tolist() == [0, 0, 0], "nothing is like nothing"


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_a_class_scores_as_its_best_output_among_all_outputs_of_the_model(activation):
    rng = np.random.default_rng(0)
    x, weight, bias = rng.standard_normal((3, 10, 4)).astype(np.float32), rng.standard_normal((3, 4)), [0.5, -0.5, 0.0]
    members = [[True, False, True], [False, False, False], [False, True, False]]
    found = pseudo_labels.scores(x, vectors(weight, members, activation, bias))
    logits = x.astype(float) @ weight.astype(np.float32).astype(float).T + bias
    odds = np.exp(logits)
    probabilities = odds / odds.sum(-1, keepdims=True) if activation == "softmax" else odds / (1 + odds)
    assert found[..., 0] == pytest.approx(probabilities[..., [0, 2]].max(-1), abs=1e-6)
    assert found[..., 2] == pytest.approx(probabilities[..., 1], abs=1e-6)
    assert (found[..., 1] == -np.inf).all()
    assert not pseudo_labels.label(found[..., 1:2], -1e30, -1e30).any(), "a class without outputs is never labelled"


def test_features_of_another_model_are_refused():
    with pytest.raises(SetupError, match="features of 3 dimensions cannot be scored by class vectors of 2"):
        pseudo_labels.scores(np.ones((1, 10, 3), np.float32), vectors([[1, 0]]))


def test_a_table_of_texts_has_rows_of_length_one_and_zeros_for_what_has_none():
    table = vectors([[3, 0], [0, 2], [5, 5]], [[True, True, False], [False, False, False], [False, False, True]]).table
    half = 2**-0.5
    torch.testing.assert_close(table, torch.tensor([[half, half], [0, 0], [half, half]]))


def test_a_score_at_the_threshold_is_not_above_it():
    labels = pseudo_labels.label(np.array([[1.0, 1.0, 2.0, 2.5]]), np.array([1.0, 0.5, 1.0, 1.0]), 1.0)
    assert labels.dtype == np.uint8 and labels.tolist() == [[0, 1, 1, 3]]


SCORES = st.lists(st.lists(st.floats(-5, 5), min_size=3, max_size=3), min_size=10, max_size=10)


@given(SCORES, st.lists(st.booleans(), min_size=3, max_size=3), st.floats(0, 2))
def test_masks_take_classes_away_and_add_none(values, weak, margin):
    found = np.array(values)
    labels = np.broadcast_to(pseudo_labels.label(found, 0.5, margin), (1, 2, 10, 3))
    learnt, shown = pseudo_labels.gated(labels, np.array([weak], np.float32)), pseudo_labels.ungated(labels)
    assert np.array_equal(learnt[0, 0], (found > 0.5) & np.array(weak))
    assert np.array_equal(shown[0, 1], found > 0.5 + margin)
    assert learnt.dtype == shown.dtype == np.uint8
    assert np.array_equal(shown, pseudo_labels.ungated(labels)), "weak labels have no part in what is shown"
    everything = pseudo_labels.gated(labels, np.ones((1, 3)))
    assert (shown <= everything).all() and (learnt <= everything).all()


# --- the job ----------------------------------------------------------------------------------------------------------


def store(folder, name, arrays, ids):
    shape = next(array.shape for array in arrays if isinstance(array, np.ndarray))
    path = folder / f"{name}.npy"
    features.write(arrays, ids, shape, {"extractor": name, "options": {}}, path, path.with_suffix(".parquet"))
    return str(path)


@pytest.fixture
def inputs(tmp_path):
    """Two clips that hear and see dogs and cats in turn, and one without a picture."""
    turns = np.eye(2, dtype=np.float32)[np.arange(10) % 2]
    ids = ["a", "b", "c"]
    given = {
        "audio": store(tmp_path, "audio", [turns, turns[::-1], turns], ids),
        "visual": store(tmp_path, "visual", [turns, turns, MediaError("missing: no such file")], ids),
        "classes": classes_table(tmp_path),
    }
    for modality in ("audio", "visual"):
        given[f"{modality}_vectors"] = str(tmp_path / f"{modality}.safetensors")
        facts = {"extractor": modality, "options": {}, "classes": NAMES}
        pseudo_labels.save_vectors(given[f"{modality}_vectors"], vectors(np.eye(2), scale=2.0), facts)
    return given


def made(inputs, folder, recipe="", thresholds=None, margins=None):
    out = (str(folder / "labels.npy"), str(folder / "labels.parquet"))
    thresholds = thresholds or {"audio": 1.0, "visual": 1.0}
    margins = margins or {"audio": 0.0, "visual": 1.0}
    pseudo_labels.label_segments(
        **inputs, recipe_name=recipe, thresholds=thresholds, margins=margins, out_array=out[0], out_index=out[1]
    )
    return features.read(out[0])


def test_labels_of_clips_by_modality_and_second(inputs, tmp_path):
    found = made(inputs, tmp_path)
    assert found.array.shape == (3, 2, 10, 2) and found.array.dtype == np.uint8
    turns = np.eye(2, dtype=np.uint8)[np.arange(10) % 2]
    weak = np.array([[1, 1], [1, 0], [1, 1]])
    learnt = pseudo_labels.gated(found.array, weak)
    assert np.array_equal(learnt[0], [turns, turns])
    assert np.array_equal(learnt[1], [turns[::-1] * [1, 0], turns * [1, 0]])
    assert found.available.tolist() == [True, True, False]
    assert found.problems[2] == "visual: missing: no such file" and not found.array[2].any()
    shown = pseudo_labels.ungated(found.array)
    assert np.array_equal(shown[1, 0], turns[::-1]), "not masked by the weak label"
    assert not shown[:, 1].any(), "a cosine of 1 times 2 is not above 1 by 1"
    assert found.facts["gated_only"] is False and found.facts["classes"] == NAMES
    assert found.facts["audio"]["extractor"] == "audio" and found.facts["thresholds"]["visual_margin"] == 1.0


def test_a_recipe_says_the_thresholds_class_by_class(inputs, tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text(f"{HEADER}\n0,dog,a,b,1,inf\n1,cat,a,b,3,1\n")
    found = pseudo_labels.gated(made(inputs, tmp_path, str(path)).array, np.ones((3, 2)))
    assert found[:2, 0].any(1).tolist() == [[1, 0], [1, 0]] and found[:2, 1].any(1).tolist() == [[0, 1], [0, 1]]


def test_labels_do_not_depend_on_how_many_clips_are_scored_at_once(inputs, tmp_path, monkeypatch):
    whole = made(inputs, tmp_path).array.tobytes()
    monkeypatch.setattr(pseudo_labels, "_CHUNK", 2)
    assert made(inputs, tmp_path).array.tobytes() == whole


def test_features_of_different_clips_and_vectors_of_other_classes_are_refused(inputs, tmp_path):
    other = store(tmp_path, "other", [np.ones((10, 2), np.float32)], ["a"])
    with pytest.raises(SetupError, match="of different clips"):
        made({**inputs, "visual": other}, tmp_path)
    pseudo_labels.save_vectors(inputs["visual_vectors"], vectors(np.eye(2)), {"classes": ["cat", "dog"]})
    with pytest.raises(
        SetupError, match="vectors for visual pseudo-labels are of 2 classes that are not the 2 of this dataset"
    ):
        made(inputs, tmp_path)


@pytest.mark.parametrize("fact", ["extractor", "options"])
def test_class_vectors_of_another_model_are_refused(inputs, tmp_path, fact):
    """Also where the numbers of dimensions are the same, as of CLIP's two base models."""
    facts = {"extractor": "audio", "options": {}, "classes": NAMES} | {fact: "other"}
    pseudo_labels.save_vectors(inputs["audio_vectors"], vectors(np.eye(2)), facts)
    with pytest.raises(SetupError, match=rf"for audio pseudo-labels are of different models \(their {fact} differ\)"):
        made(inputs, tmp_path)


def test_class_vectors_come_back(tmp_path):
    given = vectors([[1, 2], [3, 4]], [[True, True], [False, False]], "sigmoid", [0.5, 0.25])
    pseudo_labels.save_vectors(tmp_path / "v.safetensors", given, {"classes": NAMES})
    found = pseudo_labels.load_vectors(tmp_path / "v.safetensors")
    assert (found.activation, found.scale) == ("sigmoid", 1.0)
    assert all(torch.equal(getattr(found, name), getattr(given, name)) for name in ("weight", "bias", "members"))
    assert found.facts["never_labelled"] == ["cat"] and found.facts["classes"] == NAMES


def test_class_vectors_are_those_of_extractors_that_know_classes(tmp_path):
    pseudo_labels.embed(
        "synthetic_audio", {"dim": 64, "signal": 3.0}, "", classes_table(tmp_path), "", "", str(tmp_path / "v.safetensors")
    )
    with pytest.raises(SetupError, match="extractor 'vggish' cannot say which classes are there"):
        pseudo_labels.embed("vggish", {}, "", classes_table(tmp_path), "", "", str(tmp_path / "w.safetensors"))
    with pytest.raises(SetupError, match=r"features of extractor 'clip' that come from files have no words.*\(checkpoint\)"):
        pseudo_labels.embed("clip", {}, "", classes_table(tmp_path), "", "", str(tmp_path / "w.safetensors"))
    found = pseudo_labels.load_vectors(tmp_path / "v.safetensors")
    assert found.weight.shape == (2, 64) and found.facts["extractor"] == "synthetic_audio"


# --- published labels -------------------------------------------------------------------------------------------------


def clips_table(folder, ids):
    row = dict.fromkeys((f.name for f in contracts.CLIPS), 0)
    text = {"video": "", "sha256": "", "problem": "", "source": "", "group": "", "split": "test", "available": False}
    contracts.write([{**row, **text, "clip_id": clip_id} for clip_id in ids], contracts.CLIPS, folder / "clips.parquet", {})
    return str(folder / "clips.parquet")


def imported(root, ids, id_length=11, names=("Dog", "Car")):
    out = (str(root / "labels.npy"), str(root / "labels.parquet"))
    pseudo_labels.import_labels(str(root), classes_table(root, names), clips_table(root, ids), id_length, 1, *out)
    return features.read(out[0])


def test_published_labels_are_read_and_never_shown_unmasked(tmp_path):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (2, 10, 25))
    for folder, one in zip(("CLAP", "CLIP"), labels, strict=True):
        place = tmp_path / folder / "segment_pseudo_labels"
        place.mkdir(parents=True)
        np.save(place / "AP0061o0Nvk.npy", one)
        np.save(place / "only_in_one.npy" if folder == "CLAP" else place / "other.npy", one)
        np.save(place / "wrong_value.npy", one + 1)
        np.save(place / "wrong_kinds.npy", one.astype(float))
        np.save(place / "wrong_shape.npy", one[:5])
    ids = ["v/AP0061o0Nvk_1.5_11.5", "only_in_one", "wrong_value", "wrong_kinds", "wrong_shape", "absent"]
    found = imported(tmp_path, ids)
    assert found.available.tolist() == [True, *[False] * 5]
    told = [
        "", "missing: no file 'CLIP/segment_pseudo_labels/only_in_one.npy'",
        "'CLAP/segment_pseudo_labels/wrong_value.npy' holds values other than 0 and 1",
        "'CLAP/segment_pseudo_labels/wrong_kinds.npy' holds float64, not integers",
        "'CLAP/segment_pseudo_labels/wrong_shape.npy' holds shape (5, 25), not (10, 25)",
        "missing: no file 'CLAP/segment_pseudo_labels/absent.npy'",
    ]  # fmt: skip
    assert list(found.problems) == told
    assert np.array_equal(pseudo_labels.gated(found.array[:1], np.ones((1, 2)))[0], labels[..., [3, 1]]), "in its own order"
    assert not pseudo_labels.gated(found.array, np.zeros((6, 2))).any()
    assert found.facts["gated_only"] is True
    with pytest.raises(ValueError, match=r"already masked by the weak labels of all splits.*gated_oracle"):
        pseudo_labels.ungated(found.array)


def test_labels_that_are_all_zero_are_still_known_to_be_masked(tmp_path):
    for folder in ("CLAP", "CLIP"):
        (tmp_path / folder / "segment_pseudo_labels").mkdir(parents=True)
        np.save(tmp_path / folder / "segment_pseudo_labels" / "a.npy", np.zeros((10, 25), np.int64))
    with pytest.raises(ValueError, match="already masked"):
        pseudo_labels.ungated(imported(tmp_path, ["a"]).array)


def test_published_labels_are_of_no_other_classes_than_those_of_llp(tmp_path):
    with pytest.raises(SetupError, match=r"of LLP's classes, and this dataset has others: 1 of 2 .*: Cow"):
        imported(tmp_path, ["a"], names=("Dog", "Cow"))


def test_without_any_published_label_the_folder_is_named(tmp_path):
    with pytest.raises(SetupError, match=r"CLAP/segment_pseudo_labels' holds no file that can be used.*'a.npy'"):
        imported(tmp_path, ["a"])
