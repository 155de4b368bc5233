"""Extractors: which frames and sounds they take, and that their models compute what the libraries' do."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from clap_files import small_clap
from hypothesis import given
from hypothesis import strategies as st
from test_audio_models import disturbed, extracted
from test_library_backbones import clip_folder, clip_of
from torch.nn import functional
from torchvision import models
from transformers import CLIPImageProcessor, CLIPTokenizer, RobertaTokenizer

from earshot import (
    contracts,
    features,
    hearing,
    importing,
    label_spaces,
    media,
    plugins,
    pseudo_labels,
    tagger_weights,
    weights,
)
from earshot.backbones import WeightsError
from earshot.errors import SetupError
from earshot.extractors import Wanted, _frames, _sound
from earshot.frames import Frames
from earshot.loading import ClipLoader, FrameCache
from helpers import tone

__all__ = ["clip_folder"]
SECONDS = 10


# --- videos -----------------------------------------------------------------------------------------------------------


def rising_tone(rate):
    """Ten seconds, each of a pitch of its own, louder and louder, over noise that leaves no band empty."""
    tones = np.concatenate([tone(1, rate, 200 * (1 + second), 0.02 * (1 + second)) for second in range(SECONDS)])
    return tones + 0.05 * np.random.default_rng(0).standard_normal(len(tones)).astype(np.float32)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """A folder with a video of ten seconds at 16 Hz, whose brightness tells the time, and what goes wrong with others."""
    root = tmp_path_factory.mktemp("videos")
    levels = np.linspace(20, 230, 160).round().astype(np.uint8)
    frames = np.broadcast_to(levels[:, None, None, None], (160, 48, 64, 3)).copy()
    frames[:, 8:24, 10:40, 0] //= 2
    media.write_video(root / "good.mp4", frames, 16, rising_tone(48_000), 48_000)
    media.write_video(root / "mute.mp4", frames[::-1], 16)
    (root / "broken.mp4").write_bytes((root / "good.mp4").read_bytes()[:3000])
    return root


def clips_table(folder, names, gone=()):
    row = dict.fromkeys((f.name for f in contracts.CLIPS), 0)
    text = {"sha256": "", "source": "", "group": "", "split": "test"}
    rows = [
        {
            **row,
            **text,
            "clip_id": name,
            "video": f"{name}.mp4",
            "available": name not in gone,
            "problem": "lost" * (name in gone),
        }
        for name in names
    ]
    contracts.write(rows, contracts.CLIPS, folder / "clips.parquet", {})
    return str(folder / "clips.parquet")


def classes_table(folder, names):
    rows = [{"class_id": i, "name": name, "prompt": name} for i, name in enumerate(names)]
    contracts.write(rows, contracts.CLASSES, folder / "classes.parquet", {})
    return str(folder / "classes.parquet")


def extract(videos, folder, plugin, weights_path, options=None, names=("good", "mute", "broken", "gone"), batch=2, threads=1):
    out = (str(folder / f"{plugin}.npy"), str(folder / f"{plugin}.parquet"))
    clips = clips_table(folder, names, gone=("gone",))
    features.extract(plugin, options or {}, str(weights_path), clips, str(videos), batch, "cpu", 1, threads, *out)
    return features.read(out[0])


def manifest_of(path, folder):
    """What the rule that fetches checkpoints writes."""
    importing.fetch({"path": str(path)}, str(folder), True, str(folder / "manifest.json"))
    return folder / "manifest.json"


def saved(model, folder):
    """A model in the layout of its own library, as a published file."""
    torch.save(model.state_dict(), folder / "model.pth")
    return manifest_of(folder / "model.pth", folder)


def test_frames_are_picked_among_those_of_eight_a_second():
    """Both ends and evenly between them; of 30 Hz the frame nearest to each time."""
    places = np.round(np.linspace(0, 79, 10))
    expected = [int(np.argmin([abs(n / 30 - place / 8 - 1e-9) for n in range(300)])) for place in places]
    assert _frames.picks(300, 30, 10, 8).tolist() == expected
    assert _frames.picks(80, 8, 80, 8).tolist() == list(range(80))
    assert _frames.picks(240, 24, 80, 8).tolist() == list(range(0, 240, 3))
    assert _frames.picks(80, 8, 10, 8, "centres").tolist() == list(range(4, 80, 8))
    assert _frames.picks(300, 30, 10, 8, "centres").tolist() == [15 + 30 * second for second in range(10)]


@given(st.integers(1, 2000), st.floats(0.5, 120), st.sampled_from([10, 80]), st.sampled_from(["endpoints", "centres"]))
def test_picks_are_frames_of_the_video_in_order(n, fps, count, rule):
    found = _frames.picks(n, fps, count, 8.0, rule)
    assert len(found) == count and found[0] >= 0 and found[-1] < n and (np.diff(found) >= 0).all()
    if rule == "endpoints":
        assert found[0] == 0 and found[-1] >= n - 2 - 1.5 * fps / 8


def test_a_video_of_another_length_is_taken_as_a_whole():
    assert _frames.picks(40, 8, 10, 8).tolist() == np.round(np.linspace(0, 39, 10)).astype(int).tolist()
    assert _frames.picks(1, 8, 10, 8).tolist() == [0] * 10


# --- CLIP -------------------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_clip_features_are_those_of_the_library(clip_folder, videos, tmp_path):
    """With the library's own image processor, which squeezes to a square if it is told to."""
    found = extract(
        videos, tmp_path, "clip", manifest_of(clip_folder, tmp_path), {"variant": "mini", "interpolation": "bicubic"}
    )
    assert found.available.tolist() == [True, True, False, False]
    assert found.problems[2].startswith("undecodable") and found.problems[3] == "lost"
    library, _ = clip_of(clip_folder)
    processor = CLIPImageProcessor(do_center_crop=False, size={"height": 32, "width": 32})
    for row, name in enumerate(("good", "mute")):
        frames = media.read_frames(videos / f"{name}.mp4")
        picked = [frames[int(at)] for at in np.round(np.linspace(0, 79, 10)) * 2]
        pixels = processor(images=picked, return_tensors="pt")["pixel_values"]
        expected = functional.normalize(library.get_image_features(pixel_values=pixels).pooler_output, dim=1)
        np.testing.assert_allclose(found.array[row], expected.numpy(), atol=2e-3)
        assert np.abs(found.array[row][0] - found.array[row][9]).max() > 2e-2, "frames differ by far more than that"
    assert found.facts["weights"] == {"origin": f"path {clip_folder.name}", "sha256": found.facts["weights"]["sha256"]}
    assert found.facts["origin"] == "videos" and found.facts["options"]["frame_rule"] == "endpoints"


def test_features_do_not_depend_on_batches_and_threads(clip_folder, videos, tmp_path):
    manifest, options = manifest_of(clip_folder, tmp_path), {"variant": "mini"}
    whole = extract(videos, tmp_path, "clip", manifest, options).array.copy()
    again = extract(videos, tmp_path, "clip", manifest, options, threads=3).array.copy()
    alone = extract(videos, tmp_path, "clip", manifest, options, batch=1).array
    assert np.array_equal(whole, again), "threads change nothing at all"
    np.testing.assert_allclose(alone, whole, atol=1e-6)


def test_frame_rules_and_antialiasing_are_seen(clip_folder, videos, tmp_path):
    manifest = manifest_of(clip_folder, tmp_path)
    read = {}
    for name, option in (("plain", {}), ("centres", {"frame_rule": "centres"}), ("mimicking", {"resize_antialias": False})):
        module = plugins.load("extractors", "clip")
        encoder = module.load(manifest, module.Options(variant="mini", **option), "cpu")
        read[name] = encoder.read(videos / "good.mp4")
    assert read["plain"].shape == (10, 3, 32, 32) and read["plain"].dtype == np.float32
    grey = [float(frames[0, 2].mean()) for frames in read.values()]
    assert grey[1] > grey[0] + 5, "the middle of the first second is brighter than its start"
    assert not np.array_equal(read["plain"], read["mimicking"])


@torch.no_grad()
def test_captions_score_frames_as_clip_does(clip_folder, videos, tmp_path):
    """Words are used as they stand; logits are CLIP's own."""
    manifest, names = manifest_of(clip_folder, tmp_path), ["a", "b"]
    captions = ("A photo of people talking.", "A photo of a vaccum cleaner.")
    module = plugins.load("extractors", "clip")
    vectors = module.class_vectors(manifest, Wanted(tuple(names), captions), module.Options(variant="mini"))
    found = extract(videos, tmp_path, "clip", manifest, {"variant": "mini"}, names=("good",))
    library, tokenizer = clip_of(clip_folder)
    texts = functional.normalize(
        library.get_text_features(**tokenizer(list(captions), padding=True, return_tensors="pt")).pooler_output, dim=1
    )
    expected = library.logit_scale.exp() * torch.tensor(found.array) @ texts.T
    np.testing.assert_allclose(pseudo_labels.scores(found.array, vectors), expected.numpy(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(vectors.table, texts, atol=1e-5, rtol=1e-5)
    assert vectors.facts["captions"] == list(captions) and isinstance(tokenizer, CLIPTokenizer)


# --- networks of torchvision ------------------------------------------------------------------------------------------


@torch.no_grad()
def test_resnet_features_are_means_over_eight_frames(videos, tmp_path, monkeypatch):
    monkeypatch.setattr(plugins.load("extractors", "resnet152"), "_SIZE", 64)  # 224 px take long
    torch.manual_seed(0)
    library = disturbed(models.resnet18(weights=None))
    found = extract(videos, tmp_path, "resnet152", saved(library, tmp_path), {"layers": 18}, names=("good", "broken"))
    library.fc = torch.nn.Identity()
    frames = media.read_frames(videos / "good.mp4")
    pixels = torch.from_numpy(np.stack([frames[2 * n] for n in range(80)])).permute(0, 3, 1, 2)
    small = functional.interpolate(pixels.float(), (64, 64), mode="bilinear", antialias=True).round() / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406])[:, None, None], torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    expected = library((small - mean) / std).view(10, 8, 512).mean(1)
    np.testing.assert_allclose(found.array[0], expected.numpy(), atol=2e-2 * float(expected.std()), rtol=2e-2)
    assert found.array.shape == (2, 10, 512) and found.available.tolist() == [True, False]


@torch.no_grad()
def test_motion_features_are_of_ten_clips_of_eight_frames(videos, tmp_path, monkeypatch):
    monkeypatch.setattr(plugins.load("extractors", "r2plus1d"), "_SIZE", 32)  # 112 px take long
    module = plugins.load("backbones", "r2plus1d_18")
    torch.manual_seed(0)
    model = disturbed(module.build(3, module.Options(variant="mini", frames=8)))
    published = {key.replace("head.", "fc.").replace("encoder.", ""): value for key, value in model.state_dict().items()}
    torch.save(published, tmp_path / "model.pth")
    manifest = manifest_of(tmp_path / "model.pth", tmp_path)
    found = extract(videos, tmp_path, "r2plus1d", manifest, {"variant": "mini"}, names=("good",))
    frames = media.read_frames(videos / "good.mp4")
    mean, std = (torch.tensor(v)[:, None, None, None] for v in ((0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)))
    for second in (0, 7):
        pixels = torch.from_numpy(np.stack([frames[16 * second + 2 * n] for n in range(8)])).permute(0, 3, 1, 2)
        small = functional.interpolate(pixels.float(), (32, 32), mode="bilinear", antialias=True).round() / 255
        expected = model.features(((small.transpose(0, 1) - mean) / std)[None])[0]
        np.testing.assert_allclose(found.array[0, second], expected.numpy(), atol=2e-2 * float(expected.std()), rtol=2e-2)


def test_networks_of_torchvision_see_frames_of_their_size(videos, tmp_path):
    torch.manual_seed(0)
    manifest = saved(models.resnet18(weights=None), tmp_path)
    module = plugins.load("extractors", "resnet152")
    seen = module.load(manifest, module.Options(layers=18), "cpu").read(videos / "good.mp4")
    assert seen.shape == (80, 3, 224, 224) and seen.dtype == np.uint8
    model = plugins.load("backbones", "r2plus1d_18").build(1, plugins.load("backbones", "r2plus1d_18").tiny())
    module = plugins.load("extractors", "r2plus1d")
    encoder = module.load(saved(model, tmp_path), module.Options(variant="mini"), "cpu")
    seen = encoder.read(videos / "good.mp4")
    assert seen.shape == (10, 3, 8, 112, 112) and seen.dtype == np.uint8
    assert (np.diff(seen[:, 2].mean((1, 2, 3))) > 5).all(), "seconds in order, brighter and brighter"


def test_a_checkpoint_of_another_network_is_refused(videos, tmp_path):
    torch.manual_seed(0)
    manifest = saved(models.resnet18(weights=None), tmp_path)
    with pytest.raises(WeightsError, match="weights do not fit"):
        extract(videos, tmp_path, "resnet152", manifest, {"layers": 34})


# --- CLAP -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clap_folder(tmp_path_factory):
    """A small CLAP model with its tokenizer, as a hub repository holds them, and the model."""
    folder = tmp_path_factory.mktemp("clap")
    model = disturbed(small_clap(folder))
    model.save_pretrained(folder)
    return folder, model


CLAP = {"variant": "mini", "fused": False}


def as_clap_hears(wave, size):
    """The published treatment, step by step, in float32 as there: samples picked, sixteen bits, cut off towards zero."""
    picked = wave[np.round(np.linspace(0, len(wave) - 1, size)).astype(int)]
    return np.trunc(np.clip(picked, -1, 1) * 32767) / np.float32(32767)


@torch.no_grad()
def test_clap_tokens_are_those_of_the_library(clap_folder, videos, tmp_path):
    folder, library = clap_folder
    found = extract(videos, tmp_path, "clap", manifest_of(folder, tmp_path), CLAP)
    assert found.available.tolist() == [True, False, False, False] and found.problems[1] == "no audio stream"
    wave = torch.from_numpy(as_clap_hears(media.read_wave(videos / "good.mp4", 48_000), 480_000))
    tower = plugins.load("audio_models", "clap_zero_shot").build(1, _sound.ClapOptions(**CLAP).of_model())
    ours = tower.log_mel(wave[None])[:, None]
    for mel, tolerance in ((extracted([wave], truncation="rand_trunc"), 1e-3), (ours, 1e-5)):
        tokens = library.audio_model(input_features=mel).last_hidden_state
        assert tokens.shape == (1, 64, 2, 32)
        finer = functional.interpolate(tokens, (2, 1024), mode="bicubic", align_corners=False)
        expected = functional.adaptive_avg_pool1d(finer.mean(2), 10)[0].T
        np.testing.assert_allclose(found.array[0], expected.numpy(), atol=tolerance)
        assert float((expected[0] - expected[9]).abs().max()) > 0.1


@torch.no_grad()
def test_clap_slices_score_as_clap_does(clap_folder, videos, tmp_path):
    folder, library = clap_folder
    manifest, captions = manifest_of(folder, tmp_path), ("This is a sound of speech", "This is a sound of chicken, rooster")
    module = plugins.load("extractors", "clap_slices")
    vectors = module.class_vectors(manifest, Wanted(("a", "b"), captions), module.Options(**CLAP))
    found = extract(videos, tmp_path, "clap_slices", manifest, CLAP, names=("good",))
    wave = torch.from_numpy(as_clap_hears(media.read_wave(videos / "good.mp4", 48_000), 480_000))
    mel = extracted([second.repeat(10) for second in wave.view(10, -1)], truncation="rand_trunc")
    texts = RobertaTokenizer.from_pretrained(folder)(list(captions), padding=True, return_tensors="pt")
    heard = library(**texts, input_features=mel)
    np.testing.assert_allclose(found.array[0], heard.audio_embeds.numpy(), atol=1e-4)
    np.testing.assert_allclose(pseudo_labels.scores(found.array, vectors)[0], heard.logits_per_audio.numpy(), atol=2e-3)
    assert vectors.scale == pytest.approx(float(library.logit_scale_a.exp()), rel=1e-5)
    assert found.array.shape == (1, 10, 16)


def test_a_sound_is_quantised_towards_zero():
    wave = np.array([0.5 / 32767, -1.9 / 32767, 1.5, -2.0, 0.0], np.float32)
    assert (_sound.quantised(wave) * 32767).tolist() == [0, -1, 32767, -32767, 0]


@given(st.integers(10, 3000))
def test_seconds_are_tenths_of_equal_length(n):
    found = _sound.seconds(np.arange(n, dtype=np.float32))
    assert found.shape == (10, n // 10)
    assert found[:, 0].tolist() == [round(n * k / 10) for k in range(10)]


def test_samples_are_picked_and_not_filtered():
    spec = plugins.load("audio_models", "clap_zero_shot").spec(plugins.load("audio_models", "clap_zero_shot").tiny())
    wave = np.arange(960_001, dtype=np.float32)
    picked = _sound.as_published(wave, spec)
    assert len(picked) == 480_000 and picked[0] == 0 and picked[-1] == 960_000
    assert set(np.diff(picked)) <= {2.0, 3.0}


# --- models of this workflow ------------------------------------------------------------------------------------------


SOUNDS = ["Bark", "Meow", "Hum"]


@pytest.fixture(scope="module")
def tagger(tmp_path_factory):
    module = plugins.load("audio_models", "small_tagger")
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("tagger") / "tagger.safetensors"
    state = module.build(3, module.tiny()).state_dict()
    weights.save(path, state, tagger_weights.facts("small_tagger", module.tiny(), SOUNDS, origin="trained"))
    return path


def label_map(folder, pairs, space=None):
    rows = [
        {
            "audio_class": SOUNDS.index(sound), "audio_name": sound, "video_class": number, "video_name": name,
            "weight": float(number >= 0), "origin": "reviewed", "prompt_sha256": "",
        }
        for sound, number, name in pairs
    ]  # fmt: skip
    facts = {"label_space": space or label_spaces.identity(SOUNDS), "file_sha256": "00", "audio_labels": SOUNDS}
    contracts.write(rows, contracts.LABEL_MAP, folder / "map.parquet", facts)
    return folder / "map.parquet"


def test_a_tagger_says_of_a_second_what_it_says_of_its_window(tagger, videos, tmp_path):
    """From features and class vectors alone, the probabilities of the whole model; each class by its best sound."""
    found = extract(videos, tmp_path, "tagger", tagger)
    assert found.available.tolist() == [True, False, False, False] and found.array.shape == (4, 10, 96)
    spec, model = hearing.load(tagger, "cpu")
    wave = media.read_wave(videos / "good.mp4", 16_000)
    length = len(wave) // 10
    seconds = [wave[start : start + length] for start in np.round(np.linspace(0, len(wave), 11))[:10].astype(int)]
    logits = hearing.listen(model, [np.tile(one, 3)[:32_000] for one in seconds], [32_000] * 10)
    mapped = label_map(tmp_path, [("Bark", 0, "animals"), ("Meow", 0, "animals"), ("Hum", -1, "")])
    module = plugins.load("extractors", "tagger")
    vectors = module.class_vectors(tagger, Wanted(("animals", "cars"), ("", ""), mapped), module.Options())
    scores = pseudo_labels.scores(found.array[:1], vectors)[0]
    np.testing.assert_allclose(scores[:, 0], logits.sigmoid()[:, :2].amax(1).numpy(), atol=1e-5)
    assert (scores[:, 1] == -np.inf).all() and spec.short == "loop"
    assert vectors.facts["label_map"] == "00" and found.facts["weights"]["plugin"] == "small_tagger"
    assert float(logits.std(0).max()) > 1e-2, "seconds differ"


def test_label_maps_that_do_not_fit_a_tagger_are_refused(tagger, tmp_path):
    module = plugins.load("extractors", "tagger")
    for mapped, told in (
        (None, "through a label map: name one"),
        (label_map(tmp_path, [("Bark", 0, "animals")], space="3-abc"), "maps the sounds of label space 3-abc"),
    ):
        with pytest.raises(SetupError, match=told):
            module.class_vectors(tagger, Wanted(("animals",), ("",), mapped), module.Options())
    other = label_map(tmp_path, [("Bark", 0, "birds")])
    with pytest.raises(SetupError, match="maps to classes that this dataset lacks: birds"):
        module.class_vectors(tagger, Wanted(("animals",), ("",), other), module.Options())


def test_taggers_without_a_linear_layer_at_the_end_are_refused(videos, tmp_path):
    """HTS-AT ends in a convolution, and BEATs applies its head to patches."""
    for name, told in (("htsat", "has no linear layer"), ("beats", "not applied once to each window")):
        module = plugins.load("audio_models", name)
        torch.manual_seed(0)
        path = tmp_path / f"{name}.safetensors"
        state = module.build(3, module.tiny()).state_dict()
        weights.save(path, state, tagger_weights.facts(name, module.tiny(), SOUNDS, origin="imported"))
        with pytest.raises(SetupError, match=told):
            extract(videos, tmp_path, "tagger", path, names=("good",))


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    path, names = tmp_path_factory.mktemp("classifier") / "w.safetensors", ["Playing cello", "dog-barking", "singing"]
    state = disturbed(weights.build("tanet_small", {}, 3)).state_dict()
    weights.save(path, state, {"backbone": "tanet_small", "options": {}, "classes": names, "origin": "trained"})
    return path


@torch.no_grad()
def test_a_classifier_says_of_a_second_what_it_says_of_a_clip_of_it(classifier, videos, tmp_path):
    found = extract(videos, tmp_path, "classifier", classifier)
    assert found.available.tolist() == [True, True, False, False]
    frames = media.read_frames(videos / "good.mp4")
    media.write_video(tmp_path / "second.mp4", np.stack([frames[n] for n in range(48, 64)]), 16)
    model = weights.load_backbone(classifier, "tanet_small", {}, ["Playing cello", "dog-barking", "singing"], "cpu").eval()
    loader = ClipLoader(weights.spec_of("tanet_small", {}), Frames(tmp_path), FrameCache(0), "cpu")
    logits = model(loader.evaluation({"clip_id": "s", "video": "second.mp4", "frames": 16}))[0]
    module = plugins.load("extractors", "classifier")
    vectors = module.class_vectors(classifier, Wanted(("Singing", "Cats", "dog barking"), ("", "", "")), module.Options())
    scores = pseudo_labels.scores(found.array[:1], vectors)[0, 3]
    np.testing.assert_allclose(scores[[0, 2]], logits.softmax(0)[[2, 1]].numpy(), atol=2e-2)
    assert scores[1] == -np.inf and vectors.activation == "softmax"
    assert (vectors.table.norm(dim=1).round(decimals=4) == torch.tensor([1.0, 0.0, 1.0])).all()


def test_a_classifier_of_other_classes_is_refused(classifier):
    module = plugins.load("extractors", "classifier")
    with pytest.raises(SetupError, match="none of the 3 classes of the backbone is one of the 2 of this dataset"):
        module.class_vectors(classifier, Wanted(("cats", "cars"), ("", "")), module.Options())


@given(st.integers(1, 400))
def test_clips_of_seconds_lie_in_their_seconds(n):
    spec = weights.spec_of("tanet_small", {})
    found = plugins.load("extractors", "classifier").picks(n, spec)
    assert found.shape == (10, 8) and found.min() >= 0 and found.max() < n
    if n >= 10:
        edges = np.round(np.linspace(0, n, 11))
        assert ((found >= edges[:-1, None]) & (found < edges[1:, None])).all()


# --- made up ----------------------------------------------------------------------------------------------------------


NAMES = ["Speech", "Dog", "Car"]


def synthesized(folder, options, plugin="synthetic_audio"):
    def event(clip, modality, number, onset=float("nan"), offset=float("nan")):
        return {"clip_id": clip, "modality": modality, "class_id": number, "onset": onset, "offset": offset}

    rows = [event("a", "weak", 1), event("a", "audio", 1, 2, 5), event("a", "visual", 1, 0, 10), event("b", "weak", 2)]
    contracts.write(rows, contracts.EVENTS, folder / "events.parquet", {})
    clips, classes = clips_table(folder, ["a", "b", "none"], gone=("a", "b", "none")), classes_table(folder, NAMES)
    out = (str(folder / f"{plugin}.npy"), str(folder / f"{plugin}.parquet"))
    features.synthesize(plugin, options, clips, classes, str(folder / "events.parquet"), *out)
    return features.read(out[0])


def test_made_up_features_need_no_videos_and_tell_their_classes(tmp_path):
    options = {"dim": 128, "signal": 1.0}
    found = synthesized(tmp_path, options)
    assert found.array.shape == (3, 10, 128) and found.available.all() and found.facts["origin"] == "synthetic"
    out = str(tmp_path / "v.safetensors")
    pseudo_labels.embed("synthetic_audio", options, "", str(tmp_path / "classes.parquet"), "", "", out)
    there = pseudo_labels.scores(found.array, pseudo_labels.load_vectors(out)) > 0.4
    assert there[0, :, 1].tolist() == [False] * 2 + [True] * 3 + [False] * 5, "the dense events, as they are"
    assert not there[0, :, [0, 2]].any() and not there[2].any() and not there[1, :, :2].any()


def test_weak_labels_are_heard_or_seen_for_a_while(tmp_path):
    """In both tables together, each somewhere; the two modalities draw the same kind."""
    placed = plugins.load("extractors", "synthetic_audio")._synthetic.placed
    weak = [{"modality": "weak", "class_id": 1, "onset": float("nan"), "offset": float("nan")}]
    drawn = [[placed(m, f"clip {i}", weak, NAMES, 0) for m in ("audio", "visual")] for i in range(200)]
    lengths = np.array(drawn).sum((2, 3))
    assert (lengths.max(1) >= 2).all() and lengths.max() == 10
    kinds = (lengths > 0).mean(0)
    assert 0.65 < kinds[0] < 0.95 and 0.55 < kinds[1] < 0.85
    assert not np.array(drawn)[..., [0, 2]].any()


def test_made_up_features_are_drawn_from_seed_and_clip_alone(tmp_path):
    first = synthesized(tmp_path, {"dim": 16}).array.copy()
    assert np.array_equal(first, synthesized(tmp_path, {"dim": 16}).array)
    others = [{"dim": 16, "seed": 1}, {"dim": 16, "signal": 1.0}]
    assert all(not np.array_equal(first, synthesized(tmp_path, options).array) for options in others)
    assert not np.allclose(first, synthesized(tmp_path, {"dim": 16}, "synthetic_visual").array)
    assert np.abs(np.linalg.norm(first, axis=2) - 1).max() < 1, "noise of about length 1"
    assert np.array_equal(synthesized(tmp_path, {"dim": 16, "signal": 1.0}).array[2], first[2]), "a clip without classes"


# --- jobs -------------------------------------------------------------------------------------------------------------


def test_a_job_without_any_readable_video_says_so(clip_folder, videos, tmp_path):
    with pytest.raises(SetupError, match=r"no video below '.*' has features; of the first clip, 'broken': undecodable"):
        extract(videos, tmp_path, "clip", manifest_of(clip_folder, tmp_path), {"variant": "mini"}, names=("broken", "gone"))


def test_a_video_that_decodes_to_something_odd_costs_its_clip_alone(clip_folder, videos, tmp_path, monkeypatch):
    """Such as frames of several sizes, which cannot be stacked."""
    plain = media.read_frames

    def odd(path, indices=None):
        found = plain(path, indices)
        return found if path.stem == "good" else {n: frame[: 40 + 8 * (n < 80)] for n, frame in found.items()}

    monkeypatch.setattr("earshot.frames.read_frames", odd)
    found = extract(videos, tmp_path, "clip", manifest_of(clip_folder, tmp_path), {"variant": "mini"}, names=("good", "mute"))
    assert found.available.tolist() == [True, False] and found.problems[1].startswith("cannot be made features of: all input")


def test_extractors_say_what_they_cannot_do(videos, tmp_path):
    with pytest.raises(SetupError, match="extractor 'vggish' makes no features of videos"):
        extract(videos, tmp_path, "vggish", "")
    files = (str(tmp_path / "x.npy"), str(tmp_path / "x.parquet"))
    with pytest.raises(SetupError, match="extractor 'clip' makes features of files or videos"):
        features.synthesize("clip", {}, "", "", "", *files)


@pytest.mark.parametrize("name", plugins.available("extractors"))
def test_every_extractor_keeps_the_contract(name):
    module, about = plugins.load("extractors", name), plugins.describe("extractors", name)
    assert about["modality"] in ("audio", "visual") and about["weights"] in ("checkpoint", "tagger", "backbone", "")
    spec = module.spec(module.Options())
    assert spec.title and spec.source and module.Options.model_config["extra"] == "forbid"
    assert bool(about["files"]) == hasattr(module, "pooled") == bool(spec.published)
    assert bool(about["weights"]) == hasattr(module, "load")
    assert hasattr(module, "make") == (not about["files"] and not about["weights"])
    if about["files"]:
        assert module.pooled(np.ones(spec.published, np.float32)).shape == (10, spec.dim)
    assert "\n" not in about["summary"] and Path(module.__file__).stem == name


def test_facts_hold_nothing_of_this_machine(clip_folder, videos, tmp_path):
    found = extract(videos, tmp_path, "clip", manifest_of(clip_folder, tmp_path), {"variant": "mini"})
    told = json.dumps([found.facts, found.problems])
    assert str(tmp_path) not in told and str(videos) not in told and str(clip_folder) not in told


def test_real_videos_have_features_and_labels(shared, tagger, classifier, tmp_path):
    """Of a heard and a seen second at least: from videos to pseudo-labels, with models that know nothing."""
    root = shared / "data" / "stamps-av" / "parsing" / "videos"
    names = tuple(sorted(path.stem for path in root.glob("test_*.mp4"))[:2])
    heard = extract(root, tmp_path, "tagger", tagger, names=names)
    seen = extract(root, tmp_path, "classifier", classifier, names=names)
    assert heard.available.all() and seen.available.all()
    assert heard.array.std(1).max() > 0 and seen.array.std(1).max() > 0, "seconds differ"
    classes = classes_table(tmp_path, ["Singing", "Dog barking"])
    mapped = str(label_map(tmp_path, [("Bark", 1, "Dog barking"), ("Hum", 0, "Singing")]))
    files = {name: str(tmp_path / name) for name in ("heard.safetensors", "seen.safetensors", "l.npy", "l.parquet")}
    pseudo_labels.embed("tagger", {}, str(tagger), classes, "", mapped, files["heard.safetensors"])
    pseudo_labels.embed("classifier", {}, str(classifier), classes, "", "", files["seen.safetensors"])
    limits, margins = {"audio": 0.0, "visual": 1.0}, {"audio": 0.0, "visual": 0.0}
    arrays = (str(tmp_path / "tagger.npy"), str(tmp_path / "classifier.npy"))
    pseudo_labels.label_segments(*arrays, *list(files.values())[:2], classes, "", limits, margins, *list(files.values())[2:])
    labels = pseudo_labels.ungated(features.read(files["l.npy"]).array)
    assert labels[:, 0].all() and not labels[:, 1].any(), "above 0 all, above 1 none: they are probabilities"
