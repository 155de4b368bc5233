"""Every present and future plug-in keeps the contract of its kind."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from earshot import corruptions, plugins
from earshot.adaptation import Clip, Context
from earshot.backbones import WeightsError
from earshot.mappers import Question
from earshot.moments import recorded
from earshot.randomness import numpy_generator

TASKS = ("classification", "parsing", "localisation", "segmentation", "answering")

ALL = [(kind, name) for kind in plugins.KINDS for name in plugins.available(kind)]
CLASSES = 5
PHOTOGRAPHS = np.load(Path(__file__).parents[1] / "golden" / "corruptions" / "arrays.npz")


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_it_documents_its_source(kind, name):
    module = plugins.load(kind, name)
    assert module.__doc__ and len(module.__doc__) > 80
    from_nowhere = kind == "mappers" or name in ("source", "precomputed")
    assert "Source" in module.__doc__ or "SPEC" in vars(module) or from_nowhere


def test_unknown_keys_list_the_legal_ones():
    with pytest.raises(
        plugins.UnknownPlugin, match="unknown corruption 'snoww'; available: bit_error, brightness, clean, contrast,"
    ):
        plugins.load("corruptions", "snoww")


def test_listing_plugins_imports_nothing():
    import subprocess
    import sys

    code = (
        "import sys; sys.path.insert(0, 'workflow_scripts'); from earshot import plugins, layout, digests; "
        "[plugins.available(k) for k in plugins.KINDS]; digests.of('methods.tent'); "
        "sys.exit('torch' in sys.modules or 'av' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=__file__.rsplit("/tests/", 1)[0]).returncode == 0


CORRUPTIONS = plugins.available("corruptions")
# severities of these are of different kinds or leave room for chance, as the published tables do
NOT_MONOTONE = {"clean", "saturate", "frost", "glass", "sound_offset"}


def kind_of(module):
    kinds = [name for name in ("apply", "codec", "decode", "sound") if hasattr(module, name)]
    assert len(kinds) == 1, kinds
    return kinds[0]


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_corruption_says_what_it_is(name):
    module = plugins.load("corruptions", name)
    spec = module.SPEC
    assert "default" in spec.severities
    assert all(len(values) == 5 for values in spec.severities.values())
    assert spec.title and spec.unit and spec.source and spec.family in corruptions.FAMILIES
    assert (spec.family == "sound") == name.startswith("sound_") == (kind_of(module) == "sound")
    assert spec.randomness in ("none", "noise", "layer")


def test_the_twelve_exist_and_aliases_lead_to_them():
    assert len(set(corruptions.UCF101C)) == 12
    assert set(corruptions.UCF101C) <= set(CORRUPTIONS)
    assert set(corruptions.ALIASES.values()) <= set(corruptions.UCF101C)
    assert not set(corruptions.ALIASES) & set(CORRUPTIONS)


PER_FRAME = [name for name in CORRUPTIONS if hasattr(plugins.load("corruptions", name), "apply")]


def corrupted(module, frame, value, key="a"):
    rng = numpy_generator(key, bits=128)
    return module.apply(frame, value, module.draw(*frame.shape[:2], value, rng) if hasattr(module, "draw") else None)


@pytest.mark.parametrize("name", PER_FRAME)
def test_corruption_of_frames(name):
    module = plugins.load("corruptions", name)
    frame = PHOTOGRAPHS["input_cat"]
    frame.flags.writeable = False
    distances = []
    for value in module.SPEC.severities["default"]:
        out = corrupted(module, frame, value)
        assert (out.shape, out.dtype) == (frame.shape, np.uint8)
        assert np.array_equal(out, corrupted(module, frame, value))
        distances.append(np.square(out.astype(float) - frame).mean())
    if hasattr(module, "combine"):
        return  # what it does shows along time; its own tests look there
    assert distances == sorted(distances) or name in NOT_MONOTONE
    assert distances[0] > 0 or name == "clean"
    middle = module.SPEC.severities["default"][2]
    same = np.array_equal(corrupted(module, frame, middle, "b"), corrupted(module, frame, middle))
    assert same == (module.SPEC.randomness == "none")


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (9, 7), (33, 47)])
@pytest.mark.parametrize("name", PER_FRAME)
def test_corruption_takes_any_size(name, shape):
    module = plugins.load("corruptions", name)
    frame = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    for values in module.SPEC.severities.values():
        assert corrupted(module, frame, values[4]).shape == frame.shape


@pytest.mark.parametrize("name", [name for name in CORRUPTIONS if hasattr(plugins.load("corruptions", name), "codec")])
def test_corruption_that_is_an_encoder(name):
    module = plugins.load("corruptions", name)
    assert module.codec(module.SPEC.value("ucf101c", 1), 100_000)["vcodec"] in ("libx264", "libx265")


@pytest.fixture(scope="module", params=plugins.available("backbones"))
def backbone(request):
    module = plugins.load("backbones", request.param)
    options = module.tiny()
    torch.manual_seed(0)
    return module, options, module.build(CLASSES, options).eval()


def batch(module, options, clips=1):
    spec = module.spec(options)
    generator = torch.Generator().manual_seed(0)
    return torch.randn(clips, 3, spec.frames, spec.size, spec.size, generator=generator)


def test_backbone_maps_clips_to_logits_by_way_of_features(backbone):
    module, options, model = backbone
    with torch.no_grad():
        logits, features = model(batch(module, options)), model.features(batch(module, options))
        assert logits.shape == (1, CLASSES)
        assert features.dim() == 2
        torch.testing.assert_close(model.head(features), logits)
    assert isinstance(model.head, torch.nn.Linear)


def test_backbone_is_the_same_each_time_and_clip_by_clip(backbone):
    module, options, model = backbone
    clips = batch(module, options, clips=2)
    with torch.no_grad():
        together = model(clips)
        assert torch.equal(together, model(clips))
        torch.testing.assert_close(together[1:], model(clips[1:]), atol=1e-4, rtol=1e-4)


def test_backbone_layers_for_alignment_run(backbone):
    module, options, model = backbone
    layers, candidates = module.aligned_layers(model), module.candidate_layers(model)
    assert layers and set(layers) < set(candidates)
    with recorded(model, candidates) as seen, torch.no_grad():
        model(batch(module, options))
    assert set(layers) <= set(seen)
    for name in layers:
        assert seen[name][0].shape == model.get_submodule(name).weight.shape


def test_backbone_imports_strictly(backbone):
    module, _, model = backbone
    state = model.state_dict()
    imported = module.import_weights({f"module.{k}": v for k, v in state.items()}, model)
    assert set(imported) == set(state)
    model.load_state_dict(imported)
    first = next(key for key in state if key.endswith("weight"))
    lacking = {key: value for key, value in state.items() if key != first}
    with pytest.raises(WeightsError, match=f"missing {re.escape(first)}"):
        module.import_weights(lacking, model)
    with pytest.raises(WeightsError, match=r"surplus .*sur\.plus"):
        module.import_weights({**state, "sur.plus": torch.zeros(1)}, model)
    with pytest.raises(WeightsError, match=r"shapes .*\(1, 1, 1\), not"):
        module.import_weights({**state, first: torch.zeros(1, 1, 1)}, model)


def test_backbone_refuses_options_that_it_does_not_have(backbone):
    module, *_ = backbone
    with pytest.raises(ValueError, match="colour"):
        module.Options(colour="red")


def test_backbone_spec_is_whole(backbone):
    module, *_ = backbone
    for options in (module.Options(), module.tiny()):
        spec = module.spec(options)
        assert spec.title and spec.source and spec.frames > 0
        assert min(spec.resize if isinstance(spec.resize, tuple) else (spec.resize,)) >= spec.size


@pytest.mark.parametrize("name", plugins.available("backbones"))
def test_backbone_is_adapted_by_vitta(name):
    """Every backbone takes a ViTTA step: its statistics have gradients, its late layers move, its answer changes."""
    module, vitta = plugins.load("backbones", name), plugins.load("methods", "vitta")
    options = module.tiny()
    torch.manual_seed(0)
    model = module.build(CLASSES, options).eval()
    layers = module.aligned_layers(model)
    widths = {name: len(model.get_submodule(name).weight) for name in layers}
    context = Context({name: (torch.zeros(width), torch.ones(width)) for name, width in widths.items()})
    views = batch(module, options, clips=2)
    before = model(views[:1]).detach()
    prefixes = tuple(f"{name}." for name in module.last_stage(model))
    assert any(f"{name}.".startswith(prefixes) for name in layers), "the last stage has none of the aligned layers"
    method = vitta.Method(model, vitta.Hyper(lr=1e-3, adapt_dropout="off"), context)
    (outcome,) = method.adapt([Clip(views, views[:1])])
    assert outcome.logits.isfinite().all() and outcome.loss_first > 0
    assert not torch.equal(outcome.logits, before[0])


LISTENING = [name for name in plugins.available("audio_models") if "build" in plugins.definitions("audio_models", name)]


@pytest.mark.parametrize("name", LISTENING)
def test_audio_model(name):
    module = plugins.load("audio_models", name)
    options = module.tiny()
    spec = module.spec(options)
    assert spec.rate_hz == getattr(options, "rate_hz", module.RATE_HZ)
    size = round(spec.rate_hz * spec.window_s)
    model = module.build(7, options).eval()
    lengths = torch.tensor([size, size // 3, 1])
    waves = 0.1 * torch.randn(3, size) * (torch.arange(size) < lengths[:, None])
    with torch.no_grad():
        together = model(waves, lengths)
        alone = torch.cat([model(wave[None], length[None]) for wave, length in zip(waves, lengths, strict=True)])
        silence = model(torch.zeros(1, size), torch.tensor([size]))
    assert together.shape == (3, 7)
    assert together.isfinite().all() and silence.isfinite().all()
    torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", plugins.available("audio_models"))
def test_an_audio_model_says_where_what_it_knows_comes_from(name):
    origins = {"mix", "import_weights", "import_scores"} & plugins.definitions("audio_models", name)
    assert len(origins) == 1, "a bank, a checkpoint or scores made elsewhere"
    assert isinstance(plugins.describe("audio_models", name)["rate_hz"], int)
    assert plugins.load("audio_models", name).Options


QUESTION = Question("d", ("Bark", "Meow, purr"), ("dog", "cat_video"), ("dog", "cat video"))


@pytest.mark.parametrize("name", plugins.available("mappers"))
def test_mapper(name):
    module = plugins.load("mappers", name)
    needs_model = module.Options.model_fields.get("model")
    options = module.Options(**({"model": "m"} if needs_model and needs_model.is_required() else {}))
    mapper = module.Mapper(QUESTION, options)
    assert isinstance(mapper.model, str) and isinstance(mapper.prompt, str)
    assert json.loads(json.dumps(mapper.identity)) == mapper.identity
    assert mapper.most_requests(2) >= 0
    assert not [field for field in module.Options.model_fields if "key" in field and field != "key_env"]


@pytest.mark.parametrize("name", plugins.available("datasets"))
def test_dataset(name):
    module = plugins.load("datasets", name)
    assert module.SPEC.title and module.SPEC.task in TASKS
    if module.SPEC.classes is not None:
        assert len(set(module.SPEC.classes)) == len(module.SPEC.classes)
    assert module.Options()
