"""Backbones whose network comes from torchvision or transformers: same logits, same clips, nothing lost on import."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from torch.nn import functional
from torchvision.models import get_weight, video
from torchvision.transforms.functional import InterpolationMode
from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer, VideoMAEImageProcessor
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD, PILImageResampling

from earshot import contracts, importing, plugins, transforms
from earshot.backbones import IMAGENET_MEAN, IMAGENET_STD, WeightsError, _clip

CLASSES = 6
WEIGHTS = {
    "r2plus1d_18": "R2Plus1D_18_Weights.KINETICS400_V1",
    "s3d": "S3D_Weights.KINETICS400_V1",
    "mvit_v2_s": "MViT_V2_S_Weights.KINETICS400_V1",
}
LIBRARY = [*WEIGHTS, "videomae", "clip_zero_shot", "clip_linear"]
PROMPTS = ["running", "playing a flute", "a dog", "boxing", "archery", "lawn mowing"]


@dataclass
class Case:
    """A backbone, weights in the layout of its library, and the library's logits for clips."""

    module: ModuleType
    options: Any
    state: dict[str, torch.Tensor]
    logits: Callable[[torch.Tensor], torch.Tensor]
    head: str  # the published key of the head's weight


def disturbed(model):
    """Give every weight and statistic a value of its own, so that no two layers are alike."""
    generator = torch.Generator().manual_seed(0)
    for name, value in model.state_dict().items():
        if value.is_floating_point() and name != "logit_scale":
            value += 0.1 * torch.rand(value.shape, generator=generator) - (0 if name.endswith("running_var") else 0.05)
    return model.eval()


def clip(spec, n=1):
    return torch.randn(n, 3, spec.frames, spec.size, spec.size, generator=torch.Generator().manual_seed(1))


def write_tokenizer(folder):
    """All bytes, alone and at the end of a word, and one merge: the least that CLIP's tokenizer takes."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in printable]
    letters = [*map(chr, printable), *(chr(256 + i) for i in range(len(rest)))]
    words = [*letters, *(f"{letter}</w>" for letter in letters), "in", "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\ni n\n")
    return len(words)


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    """A small CLIP model with its tokenizer, as a hub repository holds them."""
    folder = tmp_path_factory.mktemp("clip")
    n_tokens = write_tokenizer(folder)
    options = plugins.load("backbones", "clip_zero_shot").tiny()
    torch.manual_seed(0)
    disturbed(CLIPModel(_clip.config(options, n_tokens, n_tokens - 1))).save_pretrained(folder)
    return folder


def clip_of(folder):
    options, n_tokens = plugins.load("backbones", "clip_zero_shot").tiny(), 515
    model = CLIPModel(_clip.config(options, n_tokens, n_tokens - 1)).eval()
    model.load_state_dict(load_file(folder / "model.safetensors"))
    return model, CLIPTokenizer.from_pretrained(folder)


def torchvision_case(name, module):
    options = module.Options(frames=8) if name == "r2plus1d_18" else module.Options()
    torch.manual_seed(0)
    library = disturbed(getattr(video, name)(weights=None, num_classes=CLASSES))
    heads = {"r2plus1d_18": "fc", "s3d": "classifier.1", "mvit_v2_s": "head.1"}
    return Case(module, options, library.state_dict(), library, f"{heads[name]}.weight")


def videomae_case(module, folder):
    from transformers import VideoMAEConfig, VideoMAEForVideoClassification

    options = module.tiny()
    torch.manual_seed(0)
    config = VideoMAEConfig(
        image_size=64, num_frames=8, hidden_size=32, num_hidden_layers=4, num_attention_heads=2, intermediate_size=128,
        num_labels=CLASSES,
    )  # fmt: skip
    library = disturbed(VideoMAEForVideoClassification(config))
    library.save_pretrained(folder)
    state = load_file(folder / "model.safetensors")
    return Case(module, options, state, lambda clips: library(clips.transpose(1, 2)).logits, "classifier.weight")


def zero_shot_case(module, folder):
    library, tokenizer = clip_of(folder)

    def logits(clips):
        texts = tokenizer([f"a video of {name}." for name in PROMPTS], padding=True, return_tensors="pt")
        frames = clips.transpose(1, 2).flatten(0, 1)
        return library(**texts, pixel_values=frames).logits_per_image.view(len(clips), -1, CLASSES).mean(1)

    state = load_file(folder / "model.safetensors")
    head = module.head_from_text(state, folder, PROMPTS, module.tiny())
    return Case(module, module.tiny(), {**state, **head}, logits, "head.weight")


def linear_case(module, folder):
    library, _ = clip_of(folder)
    head = disturbed(torch.nn.Linear(32, CLASSES))

    def logits(clips):
        frames = clips.transpose(1, 2)
        return head(torch.stack([library.vision_model(one).pooler_output.mean(0) for one in frames]))

    state = load_file(folder / "model.safetensors") | {f"head.{key}": value for key, value in head.state_dict().items()}
    return Case(module, module.tiny(), state, logits, "head.weight")


@pytest.fixture(scope="module", params=LIBRARY)
def case(request, clip_folder, tmp_path_factory):
    name, module = request.param, plugins.load("backbones", request.param)
    if name in WEIGHTS:
        return torchvision_case(name, module)
    if name == "videomae":
        return videomae_case(module, tmp_path_factory.mktemp("videomae"))
    return (zero_shot_case if name == "clip_zero_shot" else linear_case)(module, clip_folder)


@torch.no_grad()
def test_logits_are_the_librarys(case):
    model = case.module.build(CLASSES, case.options).eval()
    state = {f"module.{key}": value for key, value in case.state.items()}
    model.load_state_dict(case.module.import_weights(state, model))
    clips = clip(case.module.spec(case.options))
    expected = case.logits(clips)
    assert expected.std() > 1e-2
    torch.testing.assert_close(model(clips), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", LIBRARY)
@torch.no_grad()
def test_logits_are_the_head_of_the_features_of_each_clip(name):
    module = plugins.load("backbones", name)
    torch.manual_seed(0)
    model = module.build(CLASSES, module.tiny()).eval()
    clips = clip(module.spec(module.tiny()), 2)
    logits = model(clips)
    assert torch.equal(logits, model.head(model.features(clips)))
    torch.testing.assert_close(torch.cat([model(one[None]) for one in clips]), logits, atol=1e-5, rtol=1e-5)


def test_import_is_strict(case):
    model = case.module.build(CLASSES, case.options)
    import_weights = case.module.import_weights
    assert set(import_weights(case.state, model)) == set(model.state_dict())
    own = model.state_dict()
    assert all(value is own[key] for key, value in import_weights(own, model).items() if "num_batches" not in key)
    weights = [key for key, value in case.state.items() if value.dim() > 3 and key.endswith("weight") and key != case.head]
    for key, ours in ((case.head, "head"), (weights[0], "encoder")):
        part = {name: value for name, value in case.state.items() if name != key}
        with pytest.raises(WeightsError, match=rf"missing {ours}[\w.]*weight; surplus none; shapes none"):
            import_weights(part, model)
        with pytest.raises(WeightsError, match=rf"missing none; surplus none; shapes {ours}[\w.]*weight: \(3,\), not"):
            import_weights({**case.state, key: torch.zeros(3)}, model)
    with pytest.raises(WeightsError, match=r"missing none; surplus [\w.]*layer9.weight; shapes none"):
        import_weights({**case.state, "layer9.weight": torch.zeros(3)}, model)


def test_other_numbers_of_classes_do_not_fit(case):
    model = case.module.build(CLASSES + 1, case.options)
    with pytest.raises(WeightsError, match=rf"shapes head.*: \({CLASSES}, \d+\), not \({CLASSES + 1}, "):
        case.module.import_weights(case.state, model)


def authors_layout(state):
    """VideoMAE's weights with the names of its authors' code."""
    names = {
        "videomae.embeddings.patch_embeddings.projection": "patch_embed.proj", "videomae.encoder.layer": "blocks",
        "attention.attention": "attn", "attention.output.dense": "attn.proj", "layernorm_before": "norm1",
        "layernorm_after": "norm2", "intermediate.dense": "mlp.fc1", "output.dense": "mlp.fc2", "classifier": "head",
    }  # fmt: skip
    plain = {}
    for key, value in state.items():
        for ours, theirs in names.items():
            key = key.replace(ours, theirs)
        plain[key] = value
    for block in range(4):
        parts = [plain.pop(f"blocks.{block}.attn.{part}.weight") for part in ("query", "key", "value")]
        plain[f"blocks.{block}.attn.qkv.weight"] = torch.cat(parts)
    return plain


def test_all_layouts_of_videomae_are_read(tmp_path):
    module = plugins.load("backbones", "videomae")
    case = videomae_case(module, tmp_path)
    assert sum(key.endswith(("q_bias", "v_bias")) for key in case.state) == 8
    new = {k.replace("q_bias", "query.bias").replace("v_bias", "value.bias"): v for k, v in case.state.items()}
    model = module.build(CLASSES, case.options)
    wanted = module.import_weights(case.state, model)
    for state in (new, authors_layout(case.state)):
        found = module.import_weights(state, model)
        assert all(torch.equal(found[key], value) for key, value in wanted.items())


PRESETS = [(name, weights, {}) for name, weights in WEIGHTS.items()] + [
    ("video_swin", f"Swin3D_{size[0].upper()}_Weights.KINETICS400_V1", {"variant": size, "preprocessing": "torchvision"})
    for size in ("tiny", "small", "base")
]


@pytest.mark.parametrize(("name", "shipped", "options"), PRESETS)
@pytest.mark.parametrize("shape", [(240, 320), (401, 300)])
def test_clips_are_those_of_torchvisions_weights(name, shipped, options, shape):
    module, weights = plugins.load("backbones", name), get_weight(shipped)
    spec, preset = module.spec(module.Options(**options)), weights.transforms()
    assert (preset.mean, preset.std) == (list(spec.mean), list(spec.std))
    assert preset.interpolation == InterpolationMode(spec.interpolation)
    assert weights.meta.get("min_temporal_size", 1) <= spec.frames == 16
    assert max(weights.meta["min_size"]) <= spec.size
    frames = torch.randint(0, 256, (2, *shape, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    clip = transforms.evaluation_crops(transforms.resized(frames.numpy(), spec), spec)[0]
    ours, theirs = transforms.normalise(clip, spec.mean, spec.std), preset(frames.permute(0, 3, 1, 2))
    level = 1 / 255 / min(spec.std)  # theirs interpolates in floats, ours in integers, which may round one level differently
    torch.testing.assert_close(ours, theirs, atol=1.01 * level, rtol=0)
    assert (ours - theirs).abs().mean() < 0.25 * level


def test_clips_are_those_of_the_image_processors():
    for name, processor, resample in (
        ("videomae", VideoMAEImageProcessor, "bilinear"),
        ("clip_zero_shot", CLIPImageProcessor, "bicubic"),
        ("clip_linear", CLIPImageProcessor, "bicubic"),
    ):
        module = plugins.load("backbones", name)
        spec = module.spec(module.Options())
        assert processor.size == {"shortest_edge": spec.resize} and processor.crop_size["height"] == spec.size == 224
        assert processor.resample == PILImageResampling[resample.upper()] and spec.interpolation == resample
        assert spec.antialias and spec.frames == 16
        wanted = (IMAGENET_MEAN, IMAGENET_STD) if name == "videomae" else (OPENAI_CLIP_MEAN, OPENAI_CLIP_STD)
        assert (spec.mean, spec.std) == tuple(map(tuple, wanted))


SIZES = [
    *((name, None, get_weight(weights).meta["num_params"]) for name, weights in WEIGHTS.items()),
    ("videomae", None, 86_534_800),
    ("video_swin", "tiny", video.Swin3D_T_Weights.DEFAULT.meta["num_params"]),
    ("video_swin", "small", video.Swin3D_S_Weights.DEFAULT.meta["num_params"]),
    ("video_swin", "base", video.Swin3D_B_Weights.DEFAULT.meta["num_params"]),
]


def n_parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


@cache
def without_memory(name, variant):
    """A published architecture with 400 classes whose tensors have shapes but no values."""
    module = plugins.load("backbones", name)
    with torch.device("meta"):
        return module.build(400, module.Options(variant=variant) if variant else module.Options())


@pytest.mark.parametrize(("name", "variant", "n"), SIZES)
def test_size_is_the_published_one(name, variant, n):
    assert n_parameters(without_memory(name, variant)) == n


@pytest.mark.parametrize(
    ("variant", "n"), [("base_patch32", 151_277_313), ("base_patch16", 149_620_737), ("large_patch14", 427_616_513)]
)
def test_size_of_clip_is_the_published_one(variant, n):
    zero_shot, linear = plugins.load("backbones", "clip_zero_shot"), plugins.load("backbones", "clip_linear")
    options = zero_shot.Options(variant=variant)
    with torch.device("meta"):
        whole = CLIPModel(_clip.config(options, 49_408, 49_407))
        assert n_parameters(whole) == n
        tower, projection = n_parameters(whole.vision_model), whole.visual_projection.weight
        assert n_parameters(zero_shot.build(9, options)) == tower + projection.numel() + 9 * len(projection)
        probe = linear.build(9, linear.Options(variant=variant))
        assert n_parameters(probe) == tower + 9 * projection.shape[1] + 9


@pytest.mark.parametrize(
    ("name", "candidates", "aligned", "first"),
    [
        ("r2plus1d_18", 37, 18, "encoder.layer3.0.conv1.0.1"),
        ("s3d", 77, 56, "encoder.features.8.branch0.1"),
        ("mvit_v2_s", 81, 66, "encoder.blocks.3.norm1"),
        ("videomae", 25, 13, "encoder.model.videomae.encoder.layer.6.layernorm_before"),
        ("clip_zero_shot", 26, 13, "encoder.vision_model.encoder.layers.6.layer_norm1"),
        ("clip_linear", 26, 13, "encoder.vision_model.encoder.layers.6.layer_norm1"),
    ],
)
def test_aligned_layers_are_those_of_the_second_half(name, candidates, aligned, first):
    module, model = plugins.load("backbones", name), without_memory(name, None)
    layers = module.aligned_layers(model)
    assert (len(module.candidate_layers(model)), len(layers), layers[0]) == (candidates, aligned, first)
    assert layers == module.candidate_layers(model)[-aligned:]


@pytest.mark.parametrize("name", LIBRARY)
def test_every_layer_runs_and_every_parameter_gets_a_gradient(name):
    module = plugins.load("backbones", name)
    torch.manual_seed(0)
    model = module.build(CLASSES, module.tiny()).eval()
    seen = {}

    def keep(layer, key):
        def hook(_, inputs, output):
            assert key not in seen, f"{key} runs twice"
            width = layer.weight.numel()
            assert width == output.shape[1 if output.dim() == 5 and isinstance(layer, torch.nn.BatchNorm3d) else -1]
            seen[key] = output.detach().mean()

        return hook

    handles = [
        model.get_submodule(key).register_forward_hook(keep(model.get_submodule(key), key))
        for key in module.candidate_layers(model)
    ]
    clips = clip(module.spec(module.tiny()))
    model(clips).logsumexp(1).sum().backward()
    assert set(seen) == set(module.candidate_layers(model)) > set(module.aligned_layers(model))
    assert [key for key, parameter in model.named_parameters() if parameter.grad is None] == []
    for handle in handles:
        handle.remove()


@pytest.mark.parametrize("name", ["mvit_v2_s", "videomae", "clip_zero_shot"])
def test_transformers_give_the_same_bits_again(name):
    module = plugins.load("backbones", name)
    torch.manual_seed(0)
    model = module.build(CLASSES, module.tiny()).eval()
    runs = []
    for _ in range(2):
        model.zero_grad()
        logits = model(clip(module.spec(module.tiny()), 2))
        logits.logsumexp(1).sum().backward()
        runs.append([logits, *(parameter.grad for parameter in model.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


@torch.no_grad()
def test_templates_are_averaged_on_the_sphere(clip_folder):
    module = plugins.load("backbones", "clip_zero_shot")
    library, tokenizer = clip_of(clip_folder)
    templates = ["a video of {}.", "a person doing {}."]
    by_template = []
    for template in templates:
        texts = tokenizer([template.format(name) for name in PROMPTS], padding=True, return_tensors="pt")
        by_template.append(functional.normalize(library.get_text_features(**texts).pooler_output, dim=1))
    wanted = library.logit_scale.exp() * functional.normalize(sum(by_template), dim=1)
    state, options = load_file(clip_folder / "model.safetensors"), module.Options(variant="mini", templates=templates)
    found = module.head_from_text(state, clip_folder, PROMPTS, options)["head.weight"]
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(by_template[0], by_template[1], atol=1e-3)


def test_head_from_text_takes_any_text_and_both_kinds_of_tokenizer_files(clip_folder, tmp_path):
    module, state = plugins.load("backbones", "clip_zero_shot"), load_file(clip_folder / "model.safetensors")
    prompts = ["høy {curly} lyd 音", "word " * 200, ""]
    head = module.head_from_text(state, clip_folder, prompts, module.tiny())["head.weight"]
    assert head.shape == (3, 16) and head.isfinite().all() and not head.requires_grad
    CLIPTokenizer.from_pretrained(clip_folder).save_pretrained(tmp_path)  # tokenizer.json
    assert torch.equal(module.head_from_text(state, str(tmp_path), prompts, module.tiny())["head.weight"], head)


def test_head_from_text_names_what_is_absent(clip_folder, tmp_path):
    module, state = plugins.load("backbones", "clip_zero_shot"), load_file(clip_folder / "model.safetensors")
    with pytest.raises(WeightsError, match=rf"{tmp_path} .*tokenizer.json, or vocab.json and merges.txt.*published beside"):
        module.head_from_text(state, tmp_path, PROMPTS, module.tiny())
    n_tokens = write_tokenizer(tmp_path)
    vocabulary = json.loads((tmp_path / "vocab.json").read_text())
    (tmp_path / "vocab.json").write_text(json.dumps({**vocabulary, "extra</w>": n_tokens}))
    with pytest.raises(
        WeightsError, match=r"shapes text_model.embeddings.token_embedding.weight: \(515, 24\), not \(516, 24\)"
    ):
        module.head_from_text(state, tmp_path, PROMPTS, module.tiny())


def test_zero_shot_weights_are_imported_from_a_folder(clip_folder, tmp_path):
    """From the checkpoint's own file, whatever it is called, and with no label space: the classes are words."""
    module = plugins.load("backbones", "clip_zero_shot")
    folder = tmp_path / "clip"
    shutil.copytree(clip_folder, folder)
    (folder / "model.safetensors").rename(folder / "mine.safetensors")
    rows = [{"class_id": i, "name": name, "prompt": name} for i, name in enumerate(PROMPTS)]
    contracts.write(rows, contracts.CLASSES, tmp_path / "classes.parquet", {})
    importing.fetch({"path": str(folder)}, str(tmp_path), True, str(tmp_path / "m.json"))
    files = (str(tmp_path / "classes.parquet"), 0, str(tmp_path / "w.safetensors"))
    importing.import_weights(str(tmp_path / "m.json"), "", "clip_zero_shot", {"variant": "mini"}, *files)
    state = load_file(folder / "mine.safetensors")
    expected = module.head_from_text(state, folder, PROMPTS, module.Options(variant="mini"))
    assert torch.equal(load_file(tmp_path / "w.safetensors")["head.weight"], expected["head.weight"])


def test_options_refuse_what_cannot_be():
    zero_shot = plugins.load("backbones", "clip_zero_shot")
    for module, wrong in (
        (zero_shot, {"templates": ["a video"]}),
        (zero_shot, {"templates": []}),
        (plugins.load("backbones", "s3d"), {"frames": 13}),
        (plugins.load("backbones", "videomae"), {"frames": 15}),
        (plugins.load("backbones", "mvit_v2_s"), {"frames": 16}),
    ):
        with pytest.raises(ValidationError):
            module.Options(**wrong)
