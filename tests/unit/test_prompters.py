"""Prompted encoders: what they compute, keep, train and take over."""

import copy
import re
import resource
import time

import numpy as np
import pytest
import torch
import torchaudio
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from earshot import plugins
from earshot.backbones import WeightsError
from earshot.prompters import _hearing, _trunks, dgsct, lavish, lavish_htsat, none
from earshot.prompters._guidance import Aligned, Guidance, GuidanceHyper
from earshot.prompters._latent import LatentAdapter, LatentHyper, Place


def built(module=dgsct, size="small", **hyper):
    """A prompter whose Swin-V2 computes something: its last norms are 0 as initialised, which leaves its blocks out."""
    torch.manual_seed(0)
    encoders = _trunks.build_encoders(module.ENCODERS, size)
    for name, one in encoders.visual.named_parameters():
        if re.search(r"blocks\.\d+\.norm\d\.weight", name):
            nn.init.ones_(one)
    return module.build(encoders, module.Hyper(**hyper))


def opened(pair):
    """With gates that are not 0, so that modules change what comes out."""
    for name, one in pair.named_parameters():
        if name.endswith(("gate", "gate_av")):
            one.data.fill_(0.3)
    return pair


def inputs(pair, count=4):
    torch.manual_seed(1)
    return [torch.randn(one.shape) for one in pair.example(count)]


# --- modules ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("own", "other"), [(Place(9, 16), Place(16, 8)), (Place(16, 8), Place(9, 16))])
@pytest.mark.parametrize(
    "given_", [{}, {"align": "bicubic", "use_bn": False}, {"temporal_weight": 0.1, "gate_then_norm": True}]
)
def test_the_gradients_of_a_module_are_those_of_its_function(own, other, given_):
    torch.manual_seed(0)
    one = Guidance(own, other, GuidanceHyper(tokens=3, reduction=2, **given_), gated=True).double()
    one.gate.data.fill_(0.5), one.gate_av.data.fill_(0.5)
    x, o = (torch.randn(2, *place, dtype=torch.float64, requires_grad=True) for place in (own, other))
    assert torch.autograd.gradcheck(lambda x, o: one(x, o, True)[:2], (x, o), fast_mode=True)


@given(st.integers(2, 5), st.integers(2, 5), st.integers(1, 6), st.integers(1, 6))
@settings(max_examples=20, deadline=None)
def test_tokens_and_channels_may_be_mixed_in_any_order(own_side, other_side, own_half, other_half):
    own, other = Place(own_side**2, 2 * own_half), Place(other_side**2, 2 * other_half)
    one = Aligned(own, other, LatentHyper(reduction=1, groups=1), gated=True).double()
    tokens = torch.randn(3, *other, dtype=torch.float64)
    plain = one.fc(one.conv_adapter(tokens[..., None])[..., 0])
    torch.testing.assert_close(one.aligned(tokens).transpose(1, 2), plain)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_a_bottleneck_is_two_grouped_convolutions_of_one_pixel(groups):
    one = LatentAdapter(16, LatentHyper(reduction=2, groups=groups), gated=False).double().eval()
    x = torch.randn(3, 5, 16, dtype=torch.float64)
    z = one.up_sampler(one.bn1(one.down_sampler(one.ln_before(x).transpose(1, 2)[..., None])[..., 0])[..., None].relu())[..., 0]
    torch.testing.assert_close(one.squeezed(x), one.ln_post(one.bn2(z).transpose(1, 2)))


def test_a_bottleneck_that_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="24 channels by `reduction: 8` does not divide into `groups: 2`"):
        LatentAdapter(24, LatentHyper(), gated=True)


def test_a_module_of_the_first_stage_has_as_many_parameters_as_published_but_for_the_one_without_a_use():
    own, other = Place(4096, 96), Place(2304, 192)
    with torch.device("meta"):
        one = Guidance(own, other, GuidanceHyper(), gated=True)
    assert sum(p.numel() for p in one.parameters()) + 1 == 9_501_980  # gate_tk


# --- encoders ---------------------------------------------------------------------------------------------------------


def test_full_size_pairs_have_the_published_parameters():
    with torch.device("meta"):
        pair = built(size="large")
        shared = built(lavish, "large")
    count = {name: sum(one.numel() for one in part.parameters()) for name, part in pair.named_children()}
    assert count["visual"] == 195_202_932
    assert count["audio"] == 27_534_488
    audio, visual = (count[f"{side}_adapter_blocks_p1"] + count[f"{side}_adapter_blocks_p2"] for side in ("audio", "vis"))
    assert (round(audio / 1e6, 1), round(visual / 1e6, 1), round((audio + visual) / 1e6, 1)) == (67.4, 121.1, 188.5)
    aligning = sum(p.numel() for name, p in pair.named_parameters() if ".conv_adapter." in name)
    assert round(aligning / 1e6, 1) == 81.2
    assert round(sum(p.numel() for one in shared.adapters for p in one.parameters()) / 1e6, 2) == 8.45
    told = pair.estimate(1, 10)
    assert (told.trainable, told.parameters) == (audio + visual, sum(count.values()))
    assert 2 * told.macs == pytest.approx(1089e9 - 101e9, rel=0.02)  # as published, without what commuting saves
    assert 0.75 * 7.5e9 < told.activation_bytes < 7.5e9  # as published, and less than that
    assert pair.estimate(1, 10, checkpointing=True).activation_bytes < told.activation_bytes / 3


@pytest.mark.parametrize("size", ["mini", "small"])
def test_encoders_are_computed_as_their_libraries_compute_them(size):
    pair = built(none, size).eval()
    frames, mel = inputs(pair)
    with torch.no_grad():
        found = pair(frames, mel)
        seen = pair.visual.forward_features(frames).flatten(1, 2)
        heard = pair.audio(input_features=mel).pooler_output
    torch.testing.assert_close(found.visual, seen, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(pair.plain(frames), seen, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(pair.audio.audio_encoder.norm(found.audio).mean(1), heard, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(found.visual_pooled, found.visual.mean(1))
    shapes = [tuple(one.shape[1:]) for one in found.levels]
    assert shapes == [(g * g, c) for g, c in zip(pair.widths.grids, pair.widths.levels, strict=True)]


def test_weights_that_change_change_what_is_computed():
    pair = built(none).eval()
    given_ = inputs(pair)
    with torch.no_grad():
        before = pair(*given_).visual
        pair.visual.layers[0].blocks[1].attn.cpb_mlp[2].weight.add_(torch.randn(1, 512))
        after = pair(*given_).visual
        direct = pair.visual.forward_features(given_[0]).flatten(1, 2)
    assert not torch.equal(before, after)
    torch.testing.assert_close(after, direct, atol=2e-5, rtol=1e-4)


def test_closed_gates_leave_the_encoders_as_they_are():
    pair = built(dgsct).eval()
    given_ = inputs(pair)
    plain = none.build(_trunks.Encoders(pair.visual, pair.audio, "small"), none.Hyper()).eval()
    with torch.no_grad():
        torch.testing.assert_close(pair(*given_).visual, plain(*given_).visual)
        changed = opened(pair)(*given_).visual
        assert (changed - plain(*given_).visual).abs().max() > 0.01


def test_frozen_encoders_learn_nothing_and_modules_all_do():
    pair = opened(built(dgsct)).train()
    found = pair(*inputs(pair))
    (found.visual_pooled.square().sum() + found.audio_pooled.square().sum()).backward()
    learning = {name for name, one in pair.named_parameters() if one.grad is not None and one.grad.abs().max() > 0}
    assert all("adapter_blocks" in name for name in learning)
    assert len({name.rsplit(".", 2)[0] for name in learning}) >= 4 * 8
    assert not any(one.training for one in pair.visual.modules())


@pytest.mark.parametrize("module", [dgsct, lavish, lavish_htsat])
def test_checkpointing_changes_memory_and_nothing_else(module):
    pairs = [opened(built(module)).train() for _ in range(2)]
    pairs[1].checkpointing = True
    for pair in pairs:
        found = pair(*inputs(pair))
        (found.visual_pooled.square().sum() + found.audio_pooled.square().sum()).backward()
    for (name, one), (_, other) in zip(pairs[0].named_parameters(), pairs[1].named_parameters(), strict=True):
        assert one.grad is None or torch.equal(one.grad, other.grad), name
    for (name, one), (_, other) in zip(pairs[0].named_buffers(), pairs[1].named_buffers(), strict=True):
        assert torch.equal(one, other), name
    assert any(int(one) == 1 for name, one in pairs[1].named_buffers() if name.endswith("num_batches_tracked"))


def kept_by(pair, given_):
    """Bytes of tensors that a real forward pass keeps for the backward pass."""
    known, storages = {one.untyped_storage().data_ptr() for one in [*pair.parameters(), *pair.buffers()]}, {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            storages[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda one: one):
        found = pair(*given_)
    return sum(one.nbytes() for one in storages.values()), found


@pytest.mark.parametrize(("module", "size"), [(dgsct, "small"), (lavish, "mini")])
def test_estimates_of_memory_are_what_a_step_keeps(module, size):
    pair = built(module, size).train()
    before = copy.deepcopy(pair.state_dict())
    told = pair.estimate(1, 4)
    assert all(torch.equal(one, before[name]) for name, one in pair.state_dict().items())
    kept, _ = kept_by(pair, inputs(pair))
    assert told.activation_bytes == pytest.approx(kept, rel=0.02)
    assert told.trainable == sum(one.numel() for one in pair.parameters() if one.requires_grad)
    twice = pair.estimate(2, 4)
    assert twice.macs == pytest.approx(2 * told.macs, rel=0.02)
    assert told.macs < told.step_macs < 3 * told.macs


def test_reference_mode_lets_batch_norm_follow_and_draws_from_its_generator():
    pair = built(dgsct, mixup=True)
    given_ = inputs(pair)
    pair.set_trunk_mode("reference")
    pair.train()
    mean = pair.audio.audio_encoder.batch_norm.running_mean
    results = []
    for seed in (0, 0, 1):
        pair.generator = torch.Generator().manual_seed(seed)
        torch.manual_seed(0)
        results.append(pair(*given_).audio.detach())
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])
    assert mean.abs().max() > 0
    assert "audio.audio_encoder.batch_norm.running_mean" in pair.state()
    pair.set_trunk_mode("eval")
    assert not pair.audio.training
    assert not any(name.startswith("audio.") for name in pair.state())


def test_an_encoder_may_be_trained_as_a_whole():
    pair = built(dgsct)
    pair.finetune(("audio",))
    assert all(one.requires_grad for one in pair.audio.parameters())
    assert not any(one.requires_grad for one in pair.visual.parameters())
    assert {f"audio.{name}" for name, _ in pair.audio.named_parameters()} <= set(pair.state())
    with pytest.raises(ValueError, match="`finetune: audio`: there is no such encoder"):
        built(lavish).finetune(("audio",))


def test_half_precision_gives_nearly_the_same():
    pair = opened(built(dgsct)).eval()
    given_ = inputs(pair)
    with torch.no_grad():
        full = pair(*given_)
        with torch.autocast("cpu", torch.bfloat16):
            half = pair(*given_)
    assert half.visual_pooled.dtype == torch.float32
    assert (half.visual_pooled - full.visual_pooled).abs().max() < 0.15 * full.visual_pooled.abs().max()
    torch.testing.assert_close(half.visual_map.sum(1), torch.ones(4))


# --- what goes in -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tiles", [1, 3, 5, 10])
def test_repeated_seconds_need_to_be_heard_twice_only(tiles):
    waves = torch.randn(3, 32000, generator=torch.Generator().manual_seed(tiles)) * 0.1
    found, plain = _hearing.spectrograms(waves, tiles, 64), _hearing.log_mel(64)(waves.repeat(1, tiles))
    torch.testing.assert_close(found, plain, atol=1e-5, rtol=1e-5)


def test_waves_that_do_not_divide_into_segments_are_refused():
    with pytest.raises(ValueError, match="waves of 32001 samples do not divide into 2 segments"):
        built(none).listen(torch.zeros(1, 32001), 2)


def test_images_of_sound_are_kaldis():
    waves = torch.randn(2, 160000, generator=torch.Generator().manual_seed(0)) * 0.1
    found = built(lavish, "small").listen(waves, 10)
    assert found.shape == (20, 64, 64)
    found = _hearing.images(waves, 10, 192)
    start = int(np.linspace(0, 160000 - 17600, 10)[3])
    plain = torchaudio.compliance.kaldi.fbank(
        (waves - waves.mean(1, keepdim=True))[1:2, start : start + 16000],
        htk_compat=True, sample_frequency=16000, window_type="hanning", num_mel_bins=192, frame_shift=5.2,
    )  # fmt: skip
    torch.testing.assert_close(found[13, : len(plain)], (plain + 4.984796) / (2 * 3.707978), atol=1e-5, rtol=1e-5)
    assert not found[13, len(plain) :].any()


def test_frames_are_resized_where_their_size_differs_and_normalised():
    pair = built(none)
    frames = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    found = pair.look(frames)
    assert found.shape == (2, 3, 64, 64)
    torch.testing.assert_close(
        found[0, :, 5, 7], (frames[0, 5, 7] / 255 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    )
    assert pair.look(frames.repeat(1, 2, 2, 1)).shape == (2, 3, 64, 64)


@given(st.integers(0, 2**32))
@settings(max_examples=10, deadline=None)
def test_spectrogram_masks_are_stripes_of_bounded_width(seed):
    mel = torch.ones(4, 1, 101, 32)
    hidden = _hearing.masked(mel, torch.Generator().manual_seed(seed)) == 0
    assert (hidden.all(3).sum(2) <= 2 * 64).all()
    assert (hidden.all(2).sum(2) <= 2 * 8).all()
    assert torch.equal(hidden, hidden.all(3, keepdim=True) | hidden.all(2, keepdim=True))


# --- published weights ------------------------------------------------------------------------------------------------


def test_old_and_new_files_of_swin_are_taken_and_others_are_refused():
    encoders = _trunks.build_encoders("swin_htsat", "mini")
    wanted = {name: torch.randn_like(one) for name, one in encoders.visual.state_dict().items()}
    old = {
        re.sub(r"layers\.(\d)\.downsample", lambda found: f"layers.{int(found[1]) - 1}.downsample", k): v
        for k, v in wanted.items()
    }
    for state in (wanted, old, {f"swin.{name}": one for name, one in old.items()}, {**old, "head.weight": torch.zeros(5, 128)}):
        _trunks.import_encoder(encoders, "visual", state)
        assert all(torch.equal(one, wanted[name]) for name, one in encoders.visual.state_dict().items())
    with pytest.raises(WeightsError, match=r"missing layers\.0\.blocks\.0\.norm1\.bias"):
        _trunks.import_encoder(encoders, "visual", {k: v for k, v in wanted.items() if k != "layers.0.blocks.0.norm1.bias"})
    with pytest.raises(WeightsError, match="no file of Swin-V2: it has no"):
        _trunks.import_encoder(encoders, "visual", {"conv1.weight": torch.zeros(1)})


def test_files_of_transformers_are_taken_for_the_audio_side():
    encoders = _trunks.build_encoders("swin_htsat", "mini")
    state = {
        name: torch.randn(one.shape).to(one.dtype) for name, one in encoders.audio.state_dict().items() if "index" not in name
    }
    _trunks.import_encoder(
        encoders, "audio", {**{f"audio_model.{k}": v for k, v in state.items()}, "text_model.x": torch.zeros(1)}
    )
    assert all(torch.equal(one, encoders.audio.state_dict()[name]) for name, one in state.items())
    with pytest.raises(WeightsError, match="share one"):
        _trunks.import_encoder(_trunks.build_encoders("swin_swin", "mini"), "audio", {})


@pytest.mark.parametrize("module", [dgsct, lavish, lavish_htsat])
def test_published_modules_are_taken_with_what_they_never_used(module):
    pair = built(module, "mini")
    state = {name: torch.randn(one.shape).to(one.dtype) for name, one in pair.state().items()}
    dead = {"audio_adapter_blocks_p1.0.gate_tk": torch.ones(1)}
    others = {"CMBS.x": torch.ones(1), "adapter_token_downsampler.0.weight": torch.ones(1)}
    others |= {f"swin.{name}": one for name, one in pair.visual.state_dict().items()}
    found = module.import_weights({f"module.{k}": v for k, v in {**state, **dead, **others}.items()}, pair)
    assert set(found) == set(state)
    assert all(torch.equal(found[name], one) for name, one in state.items())
    with pytest.raises(WeightsError, match=r"unknown vis_adapter_blocks_p2.0.surplus"):
        module.import_weights({**state, "vis_adapter_blocks_p2.0.surplus": torch.ones(1)}, pair)


@pytest.mark.parametrize("task", ["avs_s4", "avs_ms3"])
def test_published_modules_of_every_task_are_taken(task):
    module = plugins.load("prompters", "dgsct")
    pair = built(module, "mini", **module.defaults(task))
    state = {name: torch.randn(one.shape).to(one.dtype) for name, one in pair.state().items()}
    unused = ("conv_adapter.weight", "ln_before.weight", "ln_before.bias", "temporal_gated.0.bias")
    dead = {name: torch.ones(1) for name in (f"vis_adapter_blocks_p1.3.{one}" for one in unused) if name not in state}
    assert dead
    assert set(module.import_weights({**state, **dead}, pair)) == set(state)


def test_a_file_made_with_other_encoders_is_refused():
    module = plugins.load("prompters", "dgsct")
    pair, others = built(module, "mini"), _trunks.build_encoders("swin_htsat", "mini")
    file = {**pair.state(), **{f"swin.{name}": one + 0.1 for name, one in others.visual.state_dict().items()}}
    with pytest.raises(WeightsError, match=r"the visual encoder in this file is not the frozen one: .*finetune: \[visual\]"):
        module.import_weights(file, pair)
    pair.finetune(["visual"])
    with pytest.raises(WeightsError, match=r"training changes visual\..*, and this file holds none"):
        module.import_weights({name: one for name, one in file.items() if not name.startswith("swin.")}, pair)
    without = plugins.load("prompters", "none")
    with pytest.raises(WeightsError, match="unknown audio_adapter_blocks_p1"):
        without.import_weights(dict(pair.state()), built(without, "mini"))


def test_unknown_sizes_and_kinds_are_named():
    with pytest.raises(ValueError, match="no encoders of size 'huge'; there are large, small,"):
        _trunks.build_encoders("swin_htsat", "huge")
    with pytest.raises(ValueError, match="no encoders of kind 'x'"):
        _trunks.build_encoders("x", "mini")


@pytest.mark.parametrize("task", ["ave", "avvp", "avqa", "avs_s4", "avs_ms3"])
def test_the_settings_of_every_task_build(task):
    module = plugins.load("prompters", "dgsct")
    pair = built(module, "small", **module.defaults(task))
    gated = {side: getattr(pair, f"{side}_adapter_blocks_p1")[0].gate is not None for side in ("audio", "vis")}
    assert gated == {"audio": task in ("ave", "avvp"), "vis": True}
    with torch.no_grad():
        assert torch.isfinite(pair.eval()(*inputs(pair, 2)).visual_pooled).all()


@pytest.mark.slow
def test_the_published_size_runs_on_a_processor():
    started = time.monotonic()
    pair = built(size="large").eval()
    made = time.monotonic()
    with torch.no_grad():
        found = pair(*inputs(pair, 1))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # GB
    print(f"built in {made - started:.0f} s, one segment in {time.monotonic() - made:.1f} s, at most {peak:.1f} GB")
    assert found.visual_pooled.shape == (1, 1536) and found.audio_pooled.shape == (1, 768)
    assert peak < 6
