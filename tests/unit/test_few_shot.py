"""CLIP and CLAP with modules between them, and the few- and zero-shot tasks that score the names of classes with them."""

import json

import numpy as np
import pytest
import torch
from clap_files import laions, small_clap, write_tokenizer
from torch.nn import functional as F
from transformers import CLIPTokenizer

from earshot import plugins
from earshot.backbones import WeightsError
from earshot.prompters import _clip_clap, _hearing, dgsct_clip, none_clip
from earshot.prompters._named import BACKGROUND
from earshot.tasks import Batch, Shape, _few_shot, few_shot_ave, few_shot_ave_class, few_shot_llp_class

CLASSES = ("dog_bark", "church bell", "truck")
SEGMENTS = 3  # of the clips here; those of the tasks have 10
TASKS = {"few_shot_ave": few_shot_ave, "few_shot_ave_class": few_shot_ave_class, "few_shot_llp_class": few_shot_llp_class}


@pytest.fixture(scope="module")
def encoders():
    torch.manual_seed(0)
    pair = _clip_clap.build("mini")
    with torch.no_grad():  # far from the library's tiny initial values
        for one in (*pair.visual.parameters(), *pair.audio.parameters()):
            if one.ndim > 1:
                one.mul_(3)
        pair.audio.model.logit_scale_a.fill_(2.5)
    return pair


def prompted(encoders, names=CLASSES, moved=True, plugin=dgsct_clip, **hyper):
    torch.manual_seed(1)
    pair = plugin.build(encoders, plugin.Hyper(**hyper))
    if moved:
        with torch.no_grad():
            for one in pair.adapters:
                one.gate.fill_(0.3), one.gate_av.fill_(0.2)
    pair.rename(names)
    return pair.eval()


def clips(count=2, segments=SEGMENTS, seed=0):
    generator = torch.Generator().manual_seed(seed)
    frames = torch.randint(0, 256, (count, segments, 40, 40, 3), generator=generator, dtype=torch.uint8)
    labels = {
        "segments": torch.randint(0, len(CLASSES) + 1, (count, segments), generator=generator),
        "label": torch.arange(count) % len(CLASSES),
        "weak": F.one_hot(torch.arange(count) % len(CLASSES), len(CLASSES)).float(),
    }
    return Batch(frames, 0.1 * torch.randn(count, segments * 32_000, generator=generator), labels)


def encode(pair, batch):
    return pair(pair.look(batch.frames.flatten(0, 1)), pair.listen(batch.waves, batch.frames.shape[1]))


def headed(pair, task, names=CLASSES, **hyper):
    torch.manual_seed(2)
    knobs = task.Hyper(**hyper)
    return task.build(Shape(*pair.widths, classes=names), knobs), knobs


# --- the pair ---------------------------------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("plugin", [dgsct_clip, none_clip])
def test_before_it_learns_the_pair_is_what_the_library_has(encoders, plugin):
    pair, batch = prompted(encoders, plugin=plugin, moved=False), clips(1)
    frames, sound = pair.look(batch.frames.flatten(0, 1)), pair.listen(batch.waves, SEGMENTS)
    found, library = pair(frames, sound), encoders.visual.eval().model
    torch.testing.assert_close(found.visual_pooled, library.get_image_features(frames).pooler_output, atol=2e-5, rtol=1e-4)
    expected = encoders.audio.eval().model.get_audio_features(input_features=sound).pooler_output
    torch.testing.assert_close(F.normalize(found.audio_pooled, dim=-1), expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found.visual, pair.plain(frames), atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_modules_stand_where_the_publication_has_them(encoders):
    """Both blocks up to CLIP's MLP; p1 reads the new states; p2 reads those with what p1 added, beside the MLP."""
    pair, batch = prompted(encoders), clips(1)
    frames, sound = pair.look(batch.frames.flatten(0, 1)), pair.listen(batch.waves, SEGMENTS)
    vision, encoder = encoders.visual.model.vision_model, encoders.audio.model.audio_model.audio_encoder
    fv = vision.pre_layrnorm(vision.embeddings(frames))
    normed = encoder.batch_norm(sound.transpose(1, 3)).transpose(1, 3)
    fa = encoder.patch_embed(encoder.reshape_mel2img(normed), None)
    for k, (layer, stage) in enumerate(zip(vision.encoder.layers, encoder.layers, strict=True)):
        fa = stage.blocks[0](fa, encoder.input_resolutions[k])[0]
        fv = fv + layer.self_attn(layer.layer_norm1(fv))[0]
        ra, rv = pair.audio_adapter_blocks_p1[k](fa, fv).residual, pair.vis_adapter_blocks_p1[k](fv, fa).residual
        fa, fv = fa + ra, fv + rv
        ra, rv = pair.audio_adapter_blocks_p2[k](fa, fv).residual, pair.vis_adapter_blocks_p2[k](fv, fa, True)
        fv, fa = fv + layer.mlp(layer.layer_norm2(fv)) + rv.residual, fa + ra
        if stage.downsample is not None:
            fa = stage.downsample(fa, encoder.input_resolutions[k])
    found = pair(frames, sound)
    seen = encoders.visual.model.visual_projection(vision.post_layernorm(fv[:, 0]))
    torch.testing.assert_close(found.visual_pooled, seen, atol=2e-5, rtol=1e-4)
    heard = encoders.audio.model.audio_projection(encoder.norm(fa).mean(1))
    torch.testing.assert_close(found.audio_pooled, heard, atol=2e-5, rtol=1e-4)
    on_patches = rv.map[:, 1:] / rv.map[:, 1:].sum(1, keepdim=True)
    torch.testing.assert_close(found.visual_map, on_patches, atol=1e-6, rtol=1e-5)
    assert not torch.allclose(seen, prompted(encoders, moved=False)(frames, sound).visual_pooled, atol=1e-2)


def test_shapes_and_maps(encoders):
    pair, batch = prompted(encoders), clips()
    found = encode(pair, batch)
    assert pair.widths == (8, 8, (16,), (2,))
    assert found.visual.shape == (6, 4, 16) and found.visual_map.shape == (6, 4) and found.audio_map.shape == (6, 64)
    for weights in (found.visual_map, found.audio_map):
        torch.testing.assert_close(weights.sum(1), torch.ones(6))
    assert found.levels[0].shape == found.visual.shape
    assert found.named["clip_text"].shape == found.named["clap_text"].shape == (len(CLASSES) + 1, 8)


def test_only_modules_words_and_head_learn_and_all_of_them(encoders):
    pair, batch = prompted(encoders, moved=False).train(), clips()
    head, knobs = headed(pair, few_shot_ave)
    assert not encoders.visual.training and not encoders.audio.training, "frozen encoders stay in evaluation mode"
    before = {name: one.clone() for name, one in pair.state_dict().items() if torch.is_tensor(one)}
    optimizer = knobs.optim.build(head, pair)
    for _ in range(3):  # gates start at 0 and hold back what is behind them
        optimizer.zero_grad()
        sum(few_shot_ave.losses(head(encode(pair, batch), batch), batch, knobs, 1).terms.values()).backward()
        optimizer.step()
    moved = {name for name, one in pair.state_dict().items() if name in before and not torch.equal(one, before[name])}
    statistics = {name for name in pair.state() if "running_" in name or "num_batches" in name}
    trained = {name for name, one in pair.named_parameters() if one.requires_grad}
    assert moved - statistics == trained and set(pair.state()) == trained | statistics
    assert "context" in trained and not any(name.startswith(("visual.", "audio.")) for name in trained)
    assert all(one.grad.abs().sum() > 0 for one in head.parameters())


def test_the_same_seed_gives_the_same_numbers_and_batches_do_not_matter_in_evaluation(encoders):
    batch = clips()
    with torch.no_grad():
        first, again = (encode(prompted(encoders), batch) for _ in range(2))
        alone = encode(prompted(encoders), Batch(batch.frames[:1], batch.waves[:1]))
    assert torch.equal(first.visual_pooled, again.visual_pooled) and torch.equal(first.audio_pooled, again.audio_pooled)
    torch.testing.assert_close(first.audio_pooled[:SEGMENTS], alone.audio_pooled, atol=1e-5, rtol=1e-4)


def test_computing_again_changes_no_gradient_and_no_statistic(encoders):
    found = []
    for again in (False, True):
        pair, batch = prompted(encoders).train(), clips(1)
        pair.checkpointing = again
        encode(pair, batch).audio_pooled.square().sum().backward()
        found.append((pair.vis_adapter_blocks_p1[0].fc.weight.grad, pair.vis_adapter_blocks_p1[0].bn1.running_mean.clone()))
    for plain, other in zip(*found, strict=True):
        torch.testing.assert_close(plain, other, atol=1e-6, rtol=1e-4)


def test_what_a_step_needs_is_told_before_it(encoders):
    pair = prompted(encoders)
    told = pair.estimate(2, 10)
    assert told.trainable == sum(one.numel() for one in pair.parameters() if one.requires_grad)
    assert told.activation_bytes == pytest.approx(2 * pair.estimate(1, 10).activation_bytes, rel=0.3)
    assert told.step_macs > 1.5 * told.macs > 0


def test_filters_are_those_of_the_checkpoint_at_another_rate_or_of_the_rate(encoders):
    own, theirs = (prompted(encoders, words={"mel": mel}) for mel in ("rate", "checkpoint"))
    time = torch.arange(320_000) / 32_000
    tone = torch.sin(2 * np.pi * 1000 * time)[None]
    peaks = [int(pair.listen(tone, 10).mean((0, 1, 2)).argmax()) for pair in (own, theirs)]
    banks = _hearing.Bins(32_000, 1024, 320, 50, 14_000, bins=32).banks()
    assert peaks[0] == int(banks[round(1000 / 31.25)].argmax()) and peaks[1] > peaks[0], "as if it were a higher tone"


def test_encoders_follow_the_batches_only_if_they_are_asked_to(encoders):
    pair = prompted(encoders)
    moving = "audio.model.audio_model.audio_encoder.batch_norm.running_mean"
    assert moving not in pair.state()
    pair.set_trunk_mode("reference")
    assert moving in pair.state() and pair.train().audio.training
    pair.set_trunk_mode("eval")
    assert not pair.audio.training and pair.training


# --- names ------------------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_clip_reads_learnt_words_as_it_reads_words(encoders):
    clip = encoders.visual.eval()
    tokens = clip.words.tokens(["wxyzdog bark."])
    expected = clip.model.get_text_features(input_ids=tokens.ids).pooler_output
    words = clip.model.text_model.embeddings.token_embedding(tokens.ids[0, 1:5])
    both = clip.words.tokens(["dog bark.", "a longer name."])
    torch.testing.assert_close(clip.read(both, words)[:1], expected, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_names_are_read_as_sentences_and_padding_does_not_matter(encoders):
    pair, clap = prompted(encoders, names=("dog_bark", "a rather long name")), encoders.audio.eval()
    for place, name in enumerate(("dog bark", "a rather long name", BACKGROUND)):
        tokens = clap.words.tokens([f"The sounds of {name}"])
        alone = clap.model.get_text_features(input_ids=tokens.ids, attention_mask=torch.ones_like(tokens.ids)).pooler_output
        torch.testing.assert_close(pair.heard_names[place], alone[0], atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_frozen_names_are_read_once(encoders, monkeypatch):
    pairs = prompted(encoders, plugin=none_clip), prompted(encoders)
    reads = []
    read = _clip_clap.Clip.read
    monkeypatch.setattr(_clip_clap.Clip, "read", lambda *given: reads.append(1) or read(*given))
    monkeypatch.setattr(_clip_clap.Clap, "read", lambda *given: pytest.fail("CLAP's names are never learnt"))
    batch = clips(1)
    found = encode(pairs[0], batch)
    assert not reads and found.named["clip_text"].shape == (len(CLASSES) + 1, 8)
    assert not pairs[0].state()
    encode(pairs[1], batch)
    assert len(reads) == 1


def test_a_name_that_clip_cannot_read_is_refused(encoders):
    pair = prompted(encoders, names=("x" * 80,))
    with pytest.raises(ValueError, match="87 tokens with its context, and CLIP reads 77: shorten it"):
        encode(pair, clips(1))


def test_what_was_learnt_moves_to_other_names(encoders):
    """Zero-shot: state of one set of classes fits a pair and a head of another."""
    pair, other = prompted(encoders), prompted(encoders, names=("siren", "violin", "frog", "goat", "owl"), moved=False)
    with torch.no_grad():
        pair.context.add_(1)
    other.load_state_dict(dict(pair.state()), strict=False)
    head, _ = headed(pair, few_shot_ave)
    swapped, _ = headed(other, few_shot_ave, names=("siren",) * 5)
    swapped.load_state_dict(head.state_dict())
    with torch.no_grad():
        batch = clips(1)
        found, renamed = encode(pair, batch), encode(other, batch)
        assert torch.equal(found.visual_pooled, renamed.visual_pooled)
        assert swapped.eval()(renamed, batch)["scores"].shape == (1, SEGMENTS, 6)
        pair.rename(("siren", "violin", "frog", "goat", "owl"))
        assert torch.equal(encode(pair, batch).named["clip_text"], renamed.named["clip_text"])


def write_clip_tokenizer(folder):
    """All bytes, with and without the mark of a word's end: the least that CLIP's tokenizer takes."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [*map(chr, printable), *(chr(256 + i) for i in range(256 - len(printable)))]
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return len(words)


def test_a_tokenizer_travels_with_imported_weights(encoders, tmp_path):
    n_words = write_clip_tokenizer(tmp_path)
    shape = _clip_clap.SIZES["mini"]._replace(clip_words=n_words)
    published, clip = _clip_clap.Clip(shape), _clip_clap.Clip(shape)
    _clip_clap.import_clip(published.model.state_dict(), tmp_path, clip)
    sentence = "Dog bark."
    expected = CLIPTokenizer.from_pretrained(tmp_path)(sentence)["input_ids"]
    again = _clip_clap.Clip(shape)
    again.load_state_dict({name: tensor.clone() for name, tensor in clip.state_dict().items()})
    assert again.words.tokens([sentence]).ids[0].tolist() == expected
    assert torch.equal(again.model.visual_projection.weight, published.model.visual_projection.weight)
    with pytest.raises(WeightsError, match="no files of a tokenizer"):
        _clip_clap.import_clip(published.model.state_dict(), tmp_path / "nowhere", clip)


@torch.no_grad()
def test_published_clap_weights_are_imported_strictly(tmp_path):
    (tmp_path / "clap").mkdir()
    library = small_clap(tmp_path / "clap").eval()
    width = library.config.audio_config.patch_embeds_hidden_size
    shape = _clip_clap.SIZES["mini"]._replace(
        audio=width, depths=(2, 2, 2, 2), audio_heads=(1, 2, 2, 4), mel_bins=64, spectrogram=256, window=8, clap_text=24,
        clap_text_blocks=2, clap_words=write_tokenizer(tmp_path / "clap"), clap_space=16,
    )  # fmt: skip
    clap = _clip_clap.Clap(shape).eval()
    _clip_clap.import_clap(library.state_dict(), tmp_path / "clap", clap)
    tokens = clap.words.tokens(["The sounds of rain"])
    expected = library.get_text_features(input_ids=tokens.ids, attention_mask=torch.ones_like(tokens.ids)).pooler_output
    torch.testing.assert_close(clap.read(tokens), expected)
    mel = torch.randn(1, 1, 1001, 64)
    for model in (clap.model, library):
        model.eval()
    found, same = (one.get_audio_features(input_features=mel).pooler_output for one in (clap.model, library))
    torch.testing.assert_close(found, same)
    fusion = ("mel_conv2d.weight", "fusion_model.local_att.0.weight")  # of the models for sounds of any length
    for state, patches in (
        (library.state_dict(), "audio_model.audio_encoder.patch_embed"),
        (laions(library.state_dict()), "module.audio_branch.patch_embed"),
    ):
        again = _clip_clap.Clap(shape).eval()
        _clip_clap.import_clap({**state, **{f"{patches}.{key}": torch.zeros(3) for key in fusion}}, tmp_path / "clap", again)
        assert torch.equal(again.model.get_audio_features(input_features=mel).pooler_output, found)
    state = library.state_dict()
    del state["logit_scale_a"]
    with pytest.raises(WeightsError, match="missing logit_scale_a"):
        _clip_clap.import_clap(state, tmp_path / "clap", clap)


def test_published_modules_and_words_are_imported(encoders):
    pair, fresh = prompted(encoders), prompted(encoders, moved=False)
    state = {f"module.{name}": one for name, one in pair.state().items() if name != "context"}
    state |= {"module.audio_adapter_blocks_p1.0.gate_tk": torch.ones(1), "module.clip.logit_scale": torch.ones(())}
    with pytest.raises(WeightsError, match=r"shape \(4, 16\) must lie under `prompt_learner.ctx`; found none"):
        dgsct_clip.import_weights(state, fresh)
    found = dgsct_clip.import_weights({**state, "module.prompt_learner.ctx": torch.full((4, 16), 2.0)}, fresh)
    assert set(found) == set(fresh.state()) and found["context"].eq(2).all()
    assert found["vis_adapter_blocks_p2.1.gate"] == pytest.approx(0.3)


def test_sizes_that_there_are_not_are_refused():
    with pytest.raises(ValueError, match="no CLIP and CLAP of size 'huge'; there are large, small, mini"):
        _clip_clap.build("huge")


@pytest.mark.slow
def test_the_published_size_is_clip_b32_and_htsat():
    with torch.device("meta"):
        shape = _clip_clap.SIZES["large"]
        clip, clap = _clip_clap.Clip(shape), _clip_clap.Clap(shape)
    assert sum(one.numel() for one in clip.parameters()) == 151_277_313
    encoder = clap.model.audio_model.audio_encoder
    assert len(clip.model.vision_model.encoder.layers) == sum(len(stage.blocks) for stage in encoder.layers) == 12


# --- heads ------------------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_scores_are_those_of_the_paper(encoders):
    pair, batch = prompted(encoders), clips()
    head, _ = headed(pair, few_shot_ave)
    found = encode(pair, batch)
    output = head.eval()(found, batch)
    fc, text_fc = head.visual_adapter.fc, head.text_adapter.fc
    v, t = found.visual_pooled, found.named["clip_text"]
    v, t = 0.2 * fc(v) + 0.8 * v, 0.2 * text_fc(t) + 0.8 * t
    lv = encoders.visual.model.logit_scale.exp() * F.cosine_similarity(v[:, None], t, dim=-1)
    la = 2.5 * F.cosine_similarity(found.audio_pooled[:, None], found.named["clap_text"], dim=-1)
    torch.testing.assert_close(output["scores"].flatten(0, 1), 2 * lv + 2 * la, atol=1e-4, rtol=1e-4)
    shared, _ = headed(pair, few_shot_ave, head={"fusion": "share"})
    w = lv / (lv + la)
    torch.testing.assert_close(shared.eval()(found, batch)["scores"].flatten(0, 1), w * lv + (1 - w) * la, atol=1e-3, rtol=1e-3)
    seen, heard = v.view(2, SEGMENTS, -1).mean(1), found.audio_pooled.view(2, SEGMENTS, -1).mean(1)
    alike = F.cosine_similarity(heard[:, None], seen, dim=-1)
    torch.testing.assert_close(output["audio_to_image"], 2.5 * alike, atol=1e-5, rtol=1e-4)
    scale = encoders.visual.model.logit_scale.exp()
    torch.testing.assert_close(output["image_to_audio"], scale * alike.T, atol=1e-4, rtol=1e-4)
    exact, _ = headed(pair, few_shot_ave, head={"audio_scale": "exp"})
    louder = 2 * lv + 2 * la / 2.5 * np.exp(2.5)
    torch.testing.assert_close(exact.eval()(found, batch)["scores"].flatten(0, 1), louder, atol=1e-3, rtol=1e-3)


@torch.no_grad()
def test_clips_are_scored_by_mean_features_or_mean_scores_without_background(encoders):
    pair, batch = prompted(encoders), clips()
    found = encode(pair, batch)
    by_features, by_scores = (
        headed(pair, few_shot_ave_class, head={"clip_level": level})[0].eval()(found, batch)["scores"]
        for level in ("features", "scores")
    )
    assert by_features.shape == by_scores.shape == (2, len(CLASSES))
    segments = headed(pair, few_shot_ave)[0].eval()(found, batch)["scores"]
    torch.testing.assert_close(by_scores, segments[..., :-1].mean(1), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(by_features, by_scores, atol=1e-4)


@torch.no_grad()
def test_background_may_have_a_name_in_training_alone(encoders):
    pair, batch = prompted(encoders), clips()
    head, knobs = headed(pair, few_shot_ave, head={"background": "training"})
    found = encode(pair, batch)
    assert head.train()(found, batch)["scores"].shape == (2, SEGMENTS, len(CLASSES) + 1)
    output = head.eval()(found, batch)
    scores = few_shot_ave.predict(output, batch).numpy()
    assert scores.shape == (2, SEGMENTS, len(CLASSES)) and scores.dtype == np.float32
    said = few_shot_ave.per_item(scores, {"segments": np.full((2, SEGMENTS), len(CLASSES))})
    assert said["accuracy"].tolist() == [0, 0]
    kept = batch.labels["segments"] < len(CLASSES)
    expected = 500 * F.cross_entropy(output["scores"][kept], batch.labels["segments"][kept])
    torch.testing.assert_close(few_shot_ave.losses(output, batch, knobs, 1).terms["classes"], expected)


@pytest.mark.parametrize("name", TASKS)
def test_a_few_steps_fit_a_few_clips(encoders, name):
    task, batch = TASKS[name], clips(3, seed=5)
    pair = prompted(encoders, moved=False, **dgsct_clip.defaults(name)).train()
    head, knobs = headed(pair, task, optim={"lr": 1e-2})
    optimizer = knobs.optim.build(head, pair)
    course = []
    for epoch in range(1, 9):
        optimizer.zero_grad()
        found = task.losses(head(encode(pair, batch), batch), batch, knobs, epoch)
        course.append(float(found.terms["classes"].detach()))
        sum(found.terms.values()).backward()
        torch.nn.utils.clip_grad_norm_([*pair.parameters(), *head.parameters()], knobs.optim.clip)
        optimizer.step()
    assert course[-1] < 0.7 * course[0]
    scores = task.predict(head(encode(pair, batch), batch), batch).detach().numpy()
    truth = {key: batch.labels[key].numpy() for key in task.TRUTH}
    assert set(task.per_item(scores, truth)) == set(task.METRICS)


def outputs():
    generator = torch.Generator().manual_seed(3)
    make = {"scores": (2, 3), "audio_to_image": (2, 2), "image_to_audio": (2, 2)}
    return {name: torch.randn(size, generator=generator).requires_grad_() for name, size in make.items()}


def test_losses_of_segments_weigh_by_epoch():
    found = {"classes": torch.tensor(2.0), "audio_to_image": torch.tensor(3.0), "image_to_audio": torch.tensor(4.0)}
    weights = few_shot_ave.Hyper().loss
    for epoch, of_classes in ((1, 500), (10, 500), (11, 5), (200, 5)):
        terms = _few_shot.weighted_by_epoch(found, weights, epoch).terms
        assert {name: float(one) for name, one in terms.items()} == {
            "classes": of_classes * 2, "audio_to_image": 6, "image_to_audio": 6,
        }  # fmt: skip


def test_losses_of_clips_weigh_by_themselves():
    found = {"classes": torch.tensor(2.0), "audio_to_image": torch.tensor(3.0), "image_to_audio": torch.tensor(4.0)}
    right, published = (_few_shot.OwnWeights(bracket=bracket) for bracket in ("right", "published"))
    terms = _few_shot.weighted_by_themselves(found, right, 5).terms
    assert {name: float(one) for name, one in terms.items()} == pytest.approx(
        {"classes": 2 * (2 / 14 + 0.2), "audio_to_image": 3 * (3 / 14 + 0.2), "image_to_audio": 4 * (4 / 14 + 0.2)}
    )
    misplaced = _few_shot.weighted_by_themselves(found, published, 5).terms
    assert float(misplaced["image_to_audio"]) == pytest.approx(4 * 4 / 14.2)
    assert misplaced["classes"] == terms["classes"] and misplaced["audio_to_image"] == terms["audio_to_image"]


def test_weights_pass_gradients_unless_they_are_detached():
    grads = []
    for detached in (False, True):
        output = outputs()
        found = _few_shot.parts(output, torch.tensor([0, 2]))
        terms = _few_shot.weighted_by_themselves(found, _few_shot.OwnWeights(detached=detached), 2).terms
        sum(terms.values()).backward()
        grads.append(output["scores"].grad)
    assert not torch.allclose(*grads) and (grads[0] * grads[1]).sum() > 0


def test_clips_of_several_classes_are_trained_and_scored_by_their_first():
    weak = torch.tensor([[0.0, 1, 1], [0, 0, 0]])
    output = outputs()
    batch = Batch(torch.zeros(2, 1), torch.zeros(2, 1), {"weak": weak})
    found = _few_shot.parts(output, torch.tensor([1, -1]))
    torch.testing.assert_close(found["classes"], F.cross_entropy(output["scores"][:1], torch.tensor([1])))
    terms = few_shot_llp_class.losses(output, batch, few_shot_llp_class.Hyper(), 1).terms
    expected = _few_shot.weighted_by_themselves(found, _few_shot.OwnWeights(), 1).terms
    assert terms["classes"] == expected["classes"]
    scores = np.array([[0.0, 0.1, 0.9], [0.0, 0.9, 0.1], [0.9, 0, 0], [1, 0, 0]])
    truth = {"weak": np.array([[0, 1, 1], [0, 1, 1], [0, 1, 1], [0, 0, 0]], np.float32)}
    said = few_shot_llp_class.per_item(scores, truth)
    np.testing.assert_array_equal(said["accuracy"], [0, 1, 0, np.nan])
    np.testing.assert_array_equal(said["accuracy_any"], [1, 1, 0, np.nan])


def test_seconds_and_clips_are_scored_by_the_largest():
    scores = np.array([[[0.1, 0.9], [0.8, 0.2]]])
    assert few_shot_ave.per_item(scores, {"segments": np.array([[1, 1]])})["accuracy"].tolist() == [0.5]
    assert few_shot_ave_class.per_item(scores[0], {"label": np.array([1, 1])})["accuracy"].tolist() == [1, 0]


def test_encoders_that_read_no_names_are_refused(encoders):
    pair = none_clip.build(encoders, none_clip.Hyper())
    head, _ = headed(pair, few_shot_ave)
    with pytest.raises(ValueError, match="score class names, and these encoders read none"):
        head(encode(pair, clips(1)), clips(1))


def test_published_settings():
    for name, task in TASKS.items():
        knobs, modules = task.Hyper(), dgsct_clip.Hyper(**dgsct_clip.defaults(name))
        assert [knobs.optim.factor(epoch) for epoch in (10, 11, 21, 31, 200)] == [1, 0.5, 0.25, 0.125, 0.125]
        assert (knobs.optim.lr, knobs.optim.clip, knobs.train.batch, knobs.train.patience) == (3e-4, 0.5, 2, 50)
        weights = modules.channel_weight, modules.spatial_weight, modules.temporal_weight
        assert weights == (0.2, 0.05, 0.01 if name == "few_shot_ave" else 0.05)
        assert (modules.reduction, modules.groups, modules.tokens, modules.use_bn) == (8, 2, 2, True)
        about = plugins.describe("tasks", name)
        assert about["select_by"] in about["metrics"] and about["segments"] == 10
