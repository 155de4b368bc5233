"""Published audio models: their front ends, logits of small forms of them, and the keys of their files."""

import importlib.util
import json
from pathlib import Path

import fill
import numpy as np
import pytest
import torch

from earshot import plugins
from earshot.audio_models import _logmel
from earshot.backbones import WeightsError

LISTENING = Path(__file__).parent / "listening"
KEYS = json.loads((LISTENING / "keys.json").read_text())
OUTPUTS = np.load(LISTENING / "outputs.npz")
SHORT_S = 3.7
CASES = {  # model: plug-in, options of its small form
    "ast": ("ast", {"variant": "mini", "stride": 16}),
    "beats": ("beats", {"variant": "mini"}),
    "panns_32000": ("panns_cnn14", {"variant": "mini"}),
    "panns_16000": ("panns_cnn14", {"variant": "mini", "rate_hz": 16_000}),
    "htsat": ("htsat", {"variant": "mini"}),
    "clap": ("clap_zero_shot", {"variant": "mini"}),
    "clap_fused": ("clap_zero_shot", {"variant": "mini", "fused": True}),
}
FRAMES = {  # those whose log-mel energies are stored; of these every 16th bin for Kaldi's, every 8th for the others
    "ast": [0, 5, 200, 366, 367, 368, 369, 900, 1021, 1022, 1023],
    "beats": [0, 5, 200, 366, 367, 368, 369, 900, 997],
}
FRAMES_DB = [0, 1, 200, 370, 371, 999, 1000]


def loaded(model):
    """A plug-in's small form, with weights drawn from their published names, and its spec."""
    name, chosen = CASES[model]
    module = plugins.load("audio_models", name)
    options = module.Options(**chosen)
    network = module.build(16, options).eval()
    state = filled(model)
    if "clap" in model:
        state["head.weight"] = torch.eye(16)
    network.load_state_dict(module.import_weights(state, network))
    return network, module.spec(options)


def filled(model):
    family = "panns" if "panns" in model else model
    entries = [(f"{family}/{key}", shape, "") for key, shape in KEYS[f"{family}_mini"].items()]
    state = {name.partition("/")[2]: tensor for name, tensor in fill.checkpoint(entries).items()}
    for key, tensor in state.items():
        if key.endswith(("weight_g", "grep_a")):
            tensor += 1
        if "relative_attention_bias" in key:  # all layers share one
            tensor.copy_(state["encoder.layers.0.self_attn.relative_attention_bias.weight"])
        if family == "panns" and tensor.dim() == 4:
            tensor *= 1.5
    return state


def waves(spec):
    """Noise for a whole window, and for 3.7 s, filled up as the model expects."""
    size, short = round(spec.rate_hz * spec.window_s), round(SHORT_S * spec.rate_hz)
    batch, lengths = np.zeros((2, size), np.float32), [size, short]
    for row, n in enumerate(lengths):
        batch[row, :n] = 0.1 * fill.normal(f"wave/{spec.rate_hz}/{row}", (n,))
    if spec.short == "repeat":
        times = size // short
        batch[1, : times * short] = np.tile(batch[1, :short], times)
    return torch.from_numpy(batch), torch.tensor(lengths)


@pytest.mark.parametrize("model", CASES)
@torch.no_grad()
def test_logits(model):
    network, spec = loaded(model)
    expected = OUTPUTS[f"{model}.embedding" if "clap" in model else f"{model}.logits"]
    assert np.abs(expected[0] - expected[1]).max() > 1e-2
    # transformers' AST adds less to variances in its normalisations than the authors' does
    np.testing.assert_allclose(network(*waves(spec)), expected, atol=1e-4 if model == "ast" else 1e-5)


@pytest.mark.parametrize("model", CASES)
@torch.no_grad()
def test_front_end(model):
    network, spec = loaded(model)
    batch, lengths = waves(spec)
    expected = OUTPUTS["panns_32000.mel" if model == "htsat" else f"{model}.mel"]
    if model == "ast":
        found = network.features(batch, lengths)[:, FRAMES[model]][..., ::16]
    elif model == "beats":
        found = ((network.log_mel(batch * 2**15) - 15.41663) / (2 * 6.55582))[:, FRAMES[model]][..., ::16]
    else:
        found = network.log_mel(batch)[:, FRAMES_DB][..., ::8]
    np.testing.assert_allclose(found, expected, atol=1e-3 if model not in FRAMES else 1e-5)


@torch.no_grad()
def test_beats_masks_as_many_patches_as_the_published_code():
    network, spec = loaded("beats")
    _, sounds = network.features(*waves(spec))
    assert sounds.sum(1).tolist() == OUTPUTS["beats.tokens"].tolist()


@pytest.mark.parametrize("model", ["panns_32000", "panns_16000", "clap"])
def test_matrices_in_published_files_are_recognised(model):
    network, _ = loaded(model)
    front_end = network.log_mel.front_end
    np.testing.assert_allclose(front_end.banks(), OUTPUTS[f"{model}.melW"], atol=1e-7)
    if model != "clap":
        fourier = _logmel._fourier(front_end)[[1, 100], 0, ::32]
        np.testing.assert_allclose(fourier.real, OUTPUTS[f"{model}.conv_real"], atol=1e-6)
        np.testing.assert_allclose(fourier.imag, OUTPUTS[f"{model}.conv_imag"], atol=1e-6)
    stored = {"logmel_extractor.melW": torch.from_numpy(OUTPUTS[f"{model}.melW"])}
    _logmel.check_matrices(stored, front_end)
    other = "panns_16000" if model != "panns_16000" else "panns_32000"
    with pytest.raises(WeightsError, match=rf"melW: .* is unknown.*; the model's is {front_end.rate_hz} Hz"):
        _logmel.check_matrices({"logmel_extractor.melW": torch.from_numpy(OUTPUTS[f"{other}.melW"])}, front_end)


LAYOUTS = {  # layout: plug-in, options
    "ast_hub": ("ast", {}),
    "ast_authors": ("ast", {}),
    "beats": ("beats", {}),
    "panns_32000": ("panns_cnn14", {}),
    "panns_16000": ("panns_cnn14", {"rate_hz": 16_000}),
    "htsat": ("htsat", {}),
    "clap_hub": ("clap_zero_shot", {}),
    "clap_laion_fused": ("clap_zero_shot", {"fused": True}),
    "clap_laion_base": ("clap_zero_shot", {"variant": "base"}),
}


def without_memory(layout):
    """A full-size model and a checkpoint of a published layout whose tensors have shapes but, where we can, no values."""
    name, chosen = LAYOUTS[layout]
    module = plugins.load("audio_models", name)
    options = module.Options(**chosen)
    with torch.device("meta"):
        model = module.build(527, options)
        state = {key: torch.empty(shape) for key, shape in KEYS[layout].items()}
        if "clap" in layout:
            state["head.weight"] = torch.empty(527, 512)
    for key in state:
        for ending, make in _logmel._MADE.items():
            if key.endswith(ending):
                state[key] = make(model.log_mel.front_end).float()
    return module, options, model, state


@pytest.mark.parametrize("layout", LAYOUTS)
def test_published_files_are_imported_whole(layout):
    module, _, model, state = without_memory(layout)
    found = module.import_weights(state, model)
    assert {key: value.shape for key, value in found.items()} == {key: value.shape for key, value in model.state_dict().items()}
    lacking = {key: value for key, value in state.items() if ".norm1.bias" not in key and "layernorm_before.bias" not in key}
    lacking = {
        key: value for key, value in lacking.items() if "self_attn_layer_norm.bias" not in key and ".bn1.bias" not in key
    }
    assert len(lacking) < len(state)
    with pytest.raises(WeightsError, match=r"missing [\w.]+bias, .*; surplus \w*\.?optimizer; shapes none"):
        module.import_weights({**lacking, "optimizer": torch.zeros(1)}, model)


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if "clap" in name])
def test_text_towers_of_published_files_are_imported_whole(layout):
    module, options, _, state = without_memory(layout)

    class Tokenizer:
        pad_token_id = 1

        def __len__(self):
            return 50_265

    with torch.device("meta"):
        tower = module._text_tower(state, options, Tokenizer())
    in_file = sum(value.numel() for key, value in state.items() if "text_model" in key or "text_branch" in key)
    ids = sum(value.numel() for key, value in state.items() if key.endswith(("position_ids", "token_type_ids")))
    assert sum(parameter.numel() for parameter in tower.model.text_model.parameters()) == in_file - ids == 124_645_632


@torch.no_grad()
def test_full_size_trunk_of_htsat(shared):
    """Against numbers of the published code, in the data folder beside the project."""
    folder = shared / "golden" / "dgsct"
    place = importlib.util.spec_from_file_location("dgsct_fill", folder / "fill.py")
    theirs = importlib.util.module_from_spec(place)
    place.loader.exec_module(theirs)
    module, _, _, state = without_memory("htsat")
    skipped = {key for key in state if any(part in key for part in theirs.SKIP)}
    names = {key: key.replace("sed_model.", "htsat.") for key in state if key not in skipped}
    state |= {key: torch.zeros(()) for key in skipped if key.endswith("num_batches_tracked")}
    state |= {key: theirs.fill_tensor(name, state[key].shape) for key, name in names.items()}
    model = module.build(527, module.Options()).eval()
    model.load_state_dict(module.import_weights(state, model))
    wave = theirs.make_input("htsat.wave", (2, 320_000), 0.1)
    expected = np.load(folder / "htsat_real.npz")
    latent = model.features(wave).mean((2, 3))[:, :64]
    name = next(name for name in expected.files if expected[name].shape == tuple(latent.shape))
    np.testing.assert_allclose(latent, expected[name], atol=1e-5)
