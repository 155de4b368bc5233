"""Pretrained audio models: they hear what the libraries' own pipelines hear, alone or in a batch, and import is strict."""

import json
import re

import numpy as np
import pytest
import torch
from clap_files import laions, small_clap, write_tokenizer
from pydantic import ValidationError
from safetensors.torch import load_file
from torch.nn import functional
from torchaudio.compliance import kaldi
from transformers import (
    ASTConfig,
    ASTFeatureExtractor,
    ASTForAudioClassification,
    ClapFeatureExtractor,
    RobertaTokenizer,
)  # fmt: skip

from earshot import plugins, text_heads
from earshot.audio_models import _kaldi, _logmel
from earshot.backbones import WeightsError

SOUNDS = 6
PRETRAINED = ["ast", "beats", "clap_zero_shot", "htsat", "panns_cnn14"]
NAMES = ["a dog", "rain", "speech", "a car horn", "a flute", "silence"]


def disturbed(model):
    """Give every weight and statistic a value of its own, so that no two layers are alike."""
    generator = torch.Generator().manual_seed(0)
    for name, value in model.state_dict().items():
        if value.is_floating_point() and not name.startswith("logit_scale"):
            value += 0.1 * torch.rand(value.shape, generator=generator) - (0 if name.endswith("running_var") else 0.05)
    return model.eval()


def noise(samples, seed=0):
    """Noise that grows louder."""
    return torch.randn(samples, generator=torch.Generator().manual_seed(seed)) * torch.linspace(0.01, 0.3, samples)


def batch_of(waves, size):
    """Waves (N,) of any lengths as (B, size), zeros after the end of each, and their lengths."""
    return torch.stack([functional.pad(wave, (0, size - len(wave))) for wave in waves]), torch.tensor([len(w) for w in waves])


def built(name, **options):
    """A plug-in, a small form of its model, and the samples of its window."""
    module = plugins.load("audio_models", name)
    chosen = module.tiny().model_copy(update=options)
    torch.manual_seed(0)
    spec = module.spec(chosen)
    return module, disturbed(module.build(SOUNDS, chosen)), round(spec.rate_hz * spec.window_s)


@pytest.mark.parametrize("name", PRETRAINED)
def test_specs(name):
    module = plugins.load("audio_models", name)
    spec = module.spec(module.Options())
    assert spec.rate_hz == module.RATE_HZ
    zero_shot = name == "clap_zero_shot"
    assert (spec.activation, spec.short) == (("softmax", "repeat") if zero_shot else ("sigmoid", "pad"))
    assert module.tiny() != module.Options() and module.spec(module.tiny()).rate_hz == module.RATE_HZ


@pytest.mark.parametrize(
    ("name", "options", "n"),
    [
        ("ast", {}, 86_594_063),
        ("beats", {}, 90_716_927),
        ("panns_cnn14", {}, 80_753_615),
        ("htsat", {}, 27_534_488 + 527 * (768 * 6 + 1)),
        ("clap_zero_shot", {}, 27_534_488 + 512 * (768 + 1 + 512 + 1) + 512 * 527),
    ],
)
def test_size_is_the_published_one(name, options, n):
    """Those of HTS-AT and CLAP, from the trunk's; that of BEATs is the file's without repetitions."""
    module = plugins.load("audio_models", name)
    with torch.device("meta"):
        model = module.build(527, module.Options(**options))
    assert sum(parameter.numel() for parameter in model.parameters()) == n


@pytest.mark.parametrize("name", PRETRAINED)
@torch.no_grad()
def test_a_batch_of_mixed_lengths_is_heard_as_each_wave_alone(name):
    _, model, size = built(name)
    waves = [noise(n, seed) for seed, n in enumerate((size, size // 3, 7_777, 1))]
    together = model(*batch_of(waves, size))
    assert together.shape == (4, SOUNDS) and together.isfinite().all()
    assert (together[0] - together[1]).abs().max() > 1e-4
    alone = torch.cat([model(*batch_of([wave], size)) for wave in waves])
    torch.testing.assert_close(together, alone, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("name", PRETRAINED)
@torch.no_grad()
def test_silence_and_shreds_of_sound_have_finite_logits(name):
    _, model, size = built(name)
    lengths = [1, 2, 399, 400, 559, 560, 1_024, size - 1, size]
    assert model(torch.zeros(len(lengths), size), torch.tensor(lengths)).isfinite().all()
    assert model(*batch_of([noise(n) for n in lengths], size)).isfinite().all()
    assert model(torch.ones(1, size), torch.tensor([size])).isfinite().all()


@pytest.mark.parametrize("name", PRETRAINED)
def test_every_parameter_takes_part(name):
    _, model, size = built(name)
    model(*batch_of([noise(size), noise(size // 3)], size)).logsumexp(1).sum().backward()
    assert [key for key, parameter in model.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize("name", PRETRAINED)
def test_own_keys_are_imported_as_they_are(name):
    module, model, _ = built(name)
    own = model.state_dict()
    assert all(torch.equal(own[key], value) for key, value in module.import_weights(own, model).items())
    assert not any("log_mel" in key for key in own)  # what the model makes itself is not stored
    for wrong, told in (
        ({key: value for key, value in own.items() if key != "head.weight"}, "missing head.weight|no `predictor`"),
        ({**own, "head.weight": torch.zeros(3)}, r"shapes head.weight: \(3,\), not \(6, "),
        ({**own, "layer9.weight": torch.zeros(3)}, "surplus layer9.weight"),
    ):
        with pytest.raises(WeightsError, match=told):
            module.import_weights(wrong, model)


@pytest.mark.parametrize("window", ["hanning", "povey"])
@pytest.mark.parametrize("samples", [400, 559, 560, 16_000, 59_237])
def test_filterbanks_are_kaldis(window, samples):
    waves = torch.stack([noise(samples, seed) + 0.1 for seed in (0, 1)])
    expected = [kaldi.fbank(w[None], num_mel_bins=128, window_type=window, sample_frequency=16_000) for w in waves]
    found = _kaldi.KaldiLogMel(getattr(_kaldi, window)())(waves)
    assert found.shape[1] == _kaldi.n_frames(torch.tensor(samples))
    torch.testing.assert_close(found, torch.stack(expected), atol=1e-5, rtol=1e-5)


# --- AST


@pytest.fixture(scope="module")
def ast_library():
    """A small model of the library."""
    torch.manual_seed(0)
    config = ASTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=128, frequency_stride=16, time_stride=16,
        num_labels=SOUNDS,
    )  # fmt: skip
    return disturbed(ASTForAudioClassification(config))


@torch.no_grad()
def test_ast_hears_what_the_library_does(ast_library, tmp_path):
    module, model, size = built("ast")
    ast_library.save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    assert any(".encoder.layer.1.attention.attention.query." in key for key in state)
    model.load_state_dict(module.import_weights(state, model))
    waves = [noise(round(16_000 * seconds), seed) for seed, seconds in enumerate((10, 3.7, 10.24, 0.03))]
    inputs = ASTFeatureExtractor()([wave.numpy() for wave in waves], sampling_rate=16_000, return_tensors="pt")
    torch.testing.assert_close(model.features(*batch_of(waves, size)), inputs["input_values"], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(model(*batch_of(waves, size)), ast_library(**inputs).logits, atol=1e-5, rtol=1e-5)
    long = noise(12 * 16_000)
    inputs = ASTFeatureExtractor()(long.numpy(), sampling_rate=16_000, return_tensors="pt")
    torch.testing.assert_close(model(*batch_of([long], len(long))), ast_library(**inputs).logits, atol=1e-5, rtol=1e-5)


def authors_ast(state):
    """The weights of the library's model with the names of its authors' code."""
    names = {
        r"audio_spectrogram_transformer\.embeddings\.distillation_token": "v.dist_token",
        r"audio_spectrogram_transformer\.embeddings\.position_embeddings": "v.pos_embed",
        r"audio_spectrogram_transformer\.embeddings\.patch_embeddings\.projection": "v.patch_embed.proj",
        r"audio_spectrogram_transformer\.(embeddings\.)?": "v.", r"v\.layers": "v.blocks", "layernorm_before": "norm1",
        "layernorm_after": "norm2", r"attention\.o_proj": "attn.proj", r"attention\.": "attn.", r"v\.layernorm": "v.norm",
        r"classifier\.layernorm": "mlp_head.0", r"classifier\.dense": "mlp_head.1",
    }  # fmt: skip
    plain = {}
    for key, value in state.items():
        for ours, theirs in names.items():
            key = re.sub(ours, theirs, key)
        plain[f"module.{key}"] = value
    for block in range(2):
        for leaf in ("weight", "bias"):
            parts = [plain.pop(f"module.v.blocks.{block}.attn.{part}_proj.{leaf}") for part in "qkv"]
            plain[f"module.v.blocks.{block}.attn.qkv.{leaf}"] = torch.cat(parts)
    heads = {f"module.v.{head}.{leaf}": torch.zeros(1000) for head in ("head", "head_dist") for leaf in ("weight", "bias")}
    return plain | heads


def test_all_layouts_of_ast_are_read(ast_library):
    module, model, _ = built("ast")
    state = ast_library.state_dict()
    wanted, found = (module.import_weights(layout, model) for layout in (state, authors_ast(state)))
    assert set(wanted) == set(found) and all(torch.equal(found[key], value) for key, value in wanted.items())


# --- log-mel spectrograms in dB, PANNs and HTS-AT


@pytest.mark.parametrize("rate", [32_000, 16_000])
def test_the_rate_of_panns_is_an_option(rate):
    module = plugins.load("audio_models", "panns_cnn14")
    spec = module.spec(module.Options(rate_hz=rate))
    assert (spec.rate_hz, spec.window_s) == (rate, 10.0)
    with pytest.raises(ValidationError):
        module.Options(rate_hz=8_000)


def panns_state(model, front_end):
    """A file of the authors, with the matrices of a front end."""
    state = {
        re.sub(r"blocks\.(\d)", lambda found: f"conv_block{int(found[1]) + 1}", key).replace("head.", "fc_audioset."): value
        for key, value in model.state_dict().items()
    }
    return state | {ending.removeprefix("."): make(front_end) for ending, make in _logmel._MADE.items()}


def test_panns_of_another_rate_are_refused_with_a_way_out():
    module, model, _ = built("panns_cnn14")
    _, other, _ = built("panns_cnn14", rate_hz=16_000)
    for network, wrong in ((model, other), (other, model)):
        found = module.import_weights(panns_state(network, network.log_mel.front_end), network)
        assert all(torch.equal(found[key], value) for key, value in network.state_dict().items())
        rate = wrong.log_mel.front_end.rate_hz
        with pytest.raises(WeightsError, match=rf"conv_real.weight: .* file is {rate} Hz, .*set the option `rate_hz`"):
            module.import_weights(panns_state(network, wrong.log_mel.front_end), network)


@pytest.mark.parametrize("name", ["panns_cnn14", "htsat"])
def test_another_mel_matrix_is_refused(name):
    module, model, _ = built(name)
    prefix = "sed_model." if name == "htsat" else ""
    state = {f"{prefix}logmel_extractor.melW": 1.1 * model.log_mel.banks}
    with pytest.raises(WeightsError, match=rf"{prefix}logmel_extractor.melW: .* unknown, .*model's is 32000 Hz.*: (set|take)"):
        module.import_weights(state, model)


def test_each_mean_over_time_of_htsat_is_that_of_its_convolution():
    _, model, size = built("htsat")
    with torch.no_grad():
        features = model.features(noise(size)[None])
        logits = model(noise(size)[None], torch.tensor([size]))
    assert features.shape == (1, model.trunk.config.hidden_size, 2, 32)
    weight, bias = model.head.weight, model.head.bias
    padded = functional.pad(features, (1, 1))
    steps = [torch.einsum("bdfk,adfk->ba", padded[..., t : t + 3], weight) + bias for t in range(32)]
    torch.testing.assert_close(logits, torch.stack(steps).mean(0), atol=1e-5, rtol=1e-5)


# --- CLAP


@pytest.fixture(scope="module")
def clap_folder(tmp_path_factory):
    """A small CLAP model with its tokenizer, as a hub repository holds them, and the model."""
    folder = tmp_path_factory.mktemp("clap")
    model = disturbed(small_clap(folder))
    model.save_pretrained(folder)
    return folder, model


def extracted(waves, **options):
    """What the library's extractor, set as the published models have it, makes of waves."""
    extractor = ClapFeatureExtractor(frequency_min=50, padding="repeatpad", **options)
    return extractor([wave.numpy() for wave in waves], sampling_rate=48_000, return_tensors="pt")["input_features"]


def repeated(wave, size):
    times = size // len(wave)
    return functional.pad(wave.repeat(times), (0, size - times * len(wave)))


@pytest.mark.parametrize(("fused", "truncation"), [(False, "rand_trunc"), (True, "fusion")])
def test_clap_listens_as_the_library_does(fused, truncation):
    _, model, size = built("clap_zero_shot", fused=fused)
    waves = [noise(size), noise(3 * 48_000 + 7, 1), torch.zeros(48_000)]
    found = model.log_mel(torch.stack([repeated(wave, size) for wave in waves]))
    torch.testing.assert_close(found, extracted(waves, truncation=truncation)[:, 0], atol=2e-3, rtol=1e-5)


@torch.no_grad()
def test_clap_scores_are_the_librarys(clap_folder):
    folder, library = clap_folder
    module, model, size = built("clap_zero_shot")
    state = load_file(folder / "model.safetensors")
    head = module.head_from_text(state, folder, NAMES, module.tiny())
    model.load_state_dict(module.import_weights({**state, **head}, model))
    waves = [noise(size), noise(3 * 48_000, 1)]
    texts = RobertaTokenizer.from_pretrained(folder)(
        [f"This is a sound of {n}." for n in NAMES], padding=True, return_tensors="pt"
    )
    expected = library(**texts, input_features=extracted(waves, truncation="rand_trunc")).logits_per_audio
    found = model(torch.stack([repeated(wave, size) for wave in waves]), torch.tensor([size, size]))
    assert expected.std() > 1e-2
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-5)


@torch.no_grad()
def test_clap_templates_are_averaged_on_the_sphere(clap_folder):
    folder, library = clap_folder
    module, tokenizer = plugins.load("audio_models", "clap_zero_shot"), RobertaTokenizer.from_pretrained(folder)
    templates, by_template = ["This is a sound of {}.", "{} in the distance"], []
    for template in templates:
        texts = tokenizer([template.format(name) for name in NAMES], padding=True, return_tensors="pt")
        by_template.append(library.get_text_features(**texts).pooler_output)
    wanted = library.logit_scale_a.exp() * functional.normalize(sum(by_template), dim=1)
    options = module.Options(variant="mini", templates=templates)
    found = module.head_from_text(library.state_dict(), folder, NAMES, options)["head.weight"]
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(by_template[0], by_template[1], atol=1e-3)
    with pytest.raises(ValidationError):
        module.Options(templates=["a sound"])


def test_all_layouts_of_clap_are_read(clap_folder):
    folder, library = clap_folder
    module, model, _ = built("clap_zero_shot")
    states = library.state_dict(), laions(library.state_dict())
    heads = [module.head_from_text(state, folder, NAMES, module.tiny()) for state in states]
    assert torch.equal(*(head["head.weight"] for head in heads))
    wanted, found = (module.import_weights({**state, **heads[0]}, model) for state in states)
    assert set(wanted) == set(found) and all(torch.equal(found[key], value) for key, value in wanted.items())


def test_fused_clap_models_are_told_from_others(clap_folder):
    _, library = clap_folder
    module, model, _ = built("clap_zero_shot")
    _, for_fused, _ = built("clap_zero_shot", fused=True)
    plain = {**laions(library.state_dict()), "head.weight": torch.zeros(SOUNDS, 16)}
    patches = "module.audio_branch.patch_embed"
    fused = plain | {f"{patches}.{key}": torch.zeros(3) for key in ("mel_conv2d.weight", "fusion_model.local_att.0.weight")}
    assert set(module.import_weights(fused, for_fused)) == set(for_fused.state_dict())
    with pytest.raises(WeightsError, match=r"checkpoint is a fused CLAP model.*option `fused: true`"):
        module.import_weights(fused, model)
    with pytest.raises(WeightsError, match=r"checkpoint is not a fused CLAP model.*option `fused: false`"):
        module.import_weights(plain, for_fused)


def test_clap_head_from_text_takes_any_text_and_both_kinds_of_tokenizer_files(clap_folder, tmp_path):
    folder, library = clap_folder
    module, state = plugins.load("audio_models", "clap_zero_shot"), library.state_dict()
    prompts = ["høy {curly} lyd 音", "word " * 200, ""]
    head = module.head_from_text(state, folder, prompts, module.tiny())["head.weight"]
    assert head.shape == (3, 16) and head.isfinite().all() and not head.requires_grad
    RobertaTokenizer.from_pretrained(folder).save_pretrained(tmp_path)  # tokenizer.json
    assert torch.equal(module.head_from_text(state, str(tmp_path), prompts, module.tiny())["head.weight"], head)


def test_clap_head_does_not_depend_on_the_batches_of_texts(clap_folder, monkeypatch):
    folder, library = clap_folder
    module = plugins.load("audio_models", "clap_zero_shot")
    whole = module.head_from_text(library.state_dict(), folder, NAMES, module.tiny())["head.weight"]
    monkeypatch.setattr(text_heads, "BATCH", 4)
    parts = module.head_from_text(library.state_dict(), folder, NAMES, module.tiny())["head.weight"]
    torch.testing.assert_close(parts, whole, atol=1e-5, rtol=1e-5)


def test_clap_head_from_text_names_what_is_absent(clap_folder, tmp_path):
    _, library = clap_folder
    module, state = plugins.load("audio_models", "clap_zero_shot"), library.state_dict()
    with pytest.raises(WeightsError, match=rf"{tmp_path} .*tokenizer.json, or vocab.json and merges.txt.*published beside"):
        module.head_from_text(state, tmp_path, NAMES, module.tiny())
    n_tokens = write_tokenizer(tmp_path)
    vocabulary = json.loads((tmp_path / "vocab.json").read_text())
    (tmp_path / "vocab.json").write_text(json.dumps({**vocabulary, "extra": n_tokens}))
    with pytest.raises(WeightsError, match=rf"word_embeddings.weight: \({n_tokens}, 24\), not \({n_tokens + 1}, 24\)"):
        module.head_from_text(state, tmp_path, NAMES, module.tiny())
    without_text = {key: value for key, value in state.items() if not key.startswith("text_")}
    write_tokenizer(tmp_path)
    with pytest.raises(WeightsError, match=r"missing model\.text_model"):
        module.head_from_text(without_text, tmp_path, NAMES, module.tiny())


# --- BEATs


def beats_file(model, labels):
    """A file of the authors: the convolution as directions and lengths, and the bias of positions once for each layer."""
    names = {
        "patches.": "patch_embedding.", "patch_norm.": "layer_norm.", "projection.": "post_extract_proj.",
        "places.": "encoder.pos_conv.0.", "norm.": "encoder.layer_norm.", "head.": "predictor.",
    }  # fmt: skip
    state = {}
    for key, value in model.state_dict().items():
        found = next((theirs + key.removeprefix(ours) for ours, theirs in names.items() if key.startswith(ours)), key)
        for ours, theirs in (("attention_norm", "self_attn_layer_norm"), ("attention.", "self_attn.")):
            found = found.replace(ours, theirs)
        if key.startswith("blocks."):
            found = f"encoder.layers.{found.removeprefix('blocks.')}".replace(".norm.", ".final_layer_norm.")
        state[found] = value
    bias = state.pop("distances.weight")
    state |= {f"encoder.layers.{i}.self_attn.relative_attention_bias.weight": bias for i in range(2)}
    kernel = state.pop("encoder.pos_conv.0.weight")
    state["encoder.pos_conv.0.weight_g"] = kernel.norm(dim=(0, 1), keepdim=True)
    state["encoder.pos_conv.0.weight_v"] = 3 * kernel
    return {"cfg": {"encoder_layers": 2}, "model": state, "label_dict": dict(enumerate(labels))}


def test_files_of_beats_are_read():
    module, model, _ = built("beats")
    mids = [f"/m/{i}" for i in (5, 3, 1, 0, 2, 4)]
    file = beats_file(model, mids)
    found = module.import_weights(file["model"], model)
    for key, value in model.state_dict().items():
        torch.testing.assert_close(found[key], value)
    assert module.labels_in(file) == mids
    backwards = dict(reversed([(str(row), mid) for row, mid in file["label_dict"].items()]))
    assert module.labels_in({**file, "label_dict": backwards}) == mids


def test_files_of_beats_that_cannot_be_used_are_refused():
    module, model, _ = built("beats")
    file = beats_file(model, [f"/m/{i}" for i in range(SOUNDS)])
    pretrained = {key: value for key, value in file["model"].items() if not key.startswith("predictor.")}
    for use, given in (
        (module.labels_in, {**file, "model": pretrained}),
        (lambda s: module.import_weights(s, model), pretrained),
    ):
        with pytest.raises(WeightsError, match=r"pretrained only and has no `predictor`.*take a fine-tuned one"):
            use(given)
    for without in ({"model": file["model"]}, file["model"]):
        with pytest.raises(WeightsError, match=r"no `label_dict`, .*order of their own: take a fine-tuned one"):
            module.labels_in(without)
    with pytest.raises(WeightsError, match="names 2 classes for a predictor of 6"):
        module.labels_in({**file, "label_dict": {0: "/m/0", 1: "/m/1"}})
    half = {key: value for key, value in file["model"].items() if not key.endswith("weight_g")}
    with pytest.raises(WeightsError, match=r"pos_conv.0.weight_v: its companion .*weight_g is missing"):
        module.import_weights(half, model)


def test_relative_positions_of_beats_are_those_of_t5():
    """With more buckets, and for greater distances."""
    from transformers.models.t5.modeling_t5 import T5Attention

    module = plugins.load("audio_models", "beats")
    places = torch.arange(1_700)
    expected = T5Attention._relative_position_bucket(places[None] - places[:, None], True, 320, 800)
    assert torch.equal(module._buckets(1_700, torch.device("cpu")), expected)
    assert set(np.unique(expected)) == {*range(160), *range(161, 320)}
