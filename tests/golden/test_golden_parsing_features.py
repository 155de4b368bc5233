"""CLAP's pooling as one matrix, and the rule of pseudo-labels, against numbers of the public code."""

import json
from pathlib import Path

import avvp_fill
import numpy as np
import pytest
import torch
from torch.nn import functional

from earshot import label_spaces, plugins, pseudo_labels
from earshot.extractors import _sound

AVVP = Path(__file__).parent / "avvp"


@pytest.fixture(scope="module")
def labels():
    return json.loads((AVVP / "model_golden.json").read_text(encoding="utf-8"))["pseudo_labels"]


def test_the_pooling_matrix_is_that_of_the_reference():
    with np.load(AVVP / "model_golden.npz", allow_pickle=False) as arrays:
        np.testing.assert_allclose(_sound.pooling(), arrays["clap_pool_matrix_10x64"], rtol=0, atol=1e-15)
    np.testing.assert_allclose(_sound.pooling().sum(1), 1, rtol=0, atol=1e-12)
    assert _sound.pooling().min() < 0, "bicubic weights overshoot"


def step_by_step(tokens):
    """Tokens (64, D) as the reference pools them, one operation after another: (10, D)."""
    token_map = tokens.T.reshape(1, -1, 2, 32)
    finer = functional.interpolate(token_map, (2, 1024), mode="bicubic", align_corners=False)
    return functional.adaptive_avg_pool1d(finer.mean(2), 10)[0].T


@pytest.mark.parametrize(("kind", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_pooled_tokens_are_the_reference_form(kind, tolerance):
    tokens = torch.from_numpy(avvp_fill.unit("in/tokens", (64, 768))).to(kind)
    pooled = plugins.load("extractors", "clap").pooled(tokens.numpy())
    np.testing.assert_allclose(pooled, step_by_step(tokens).numpy(), rtol=0, atol=tolerance)


def test_a_linear_layer_before_or_after_pooling_is_the_same():
    """Also with a bias, since the rows of the matrix sum to one; so pooled features are all that parsers need."""
    tokens = torch.from_numpy(avvp_fill.unit("in/tokens", (64, 24)))
    weight, bias = (
        torch.from_numpy(avvp_fill.param(name, shape)) for name, shape in (("fc_a.weight", (16, 24)), ("fc_a.bias", (16,)))
    )
    before = step_by_step(tokens @ weight.T + bias)
    after = torch.from_numpy(plugins.load("extractors", "clap").pooled(tokens.numpy())) @ weight.T + bias
    torch.testing.assert_close(after, before, rtol=0, atol=1e-12)
    frames = torch.from_numpy(avvp_fill.unit("in/frames", (80, 24)))
    each = (frames @ weight.T + bias).view(10, 8, -1).mean(1)
    of_means = torch.from_numpy(plugins.load("extractors", "resnet152").pooled(frames.numpy())) @ weight.T + bias
    torch.testing.assert_close(of_means, each, rtol=0, atol=1e-12)


def test_the_recipe_holds_the_thresholds_of_the_reference(labels):
    found = pseudo_labels.recipe("valor", label_spaces.read("llp").names).thresholds
    for modality in ("audio", "visual"):
        assert found[modality].tolist() == labels[f"thresholds_{modality}"]


@pytest.mark.parametrize(
    ("modality", "centre", "tie"), [("audio", 1, 4.0), ("visual", 16, 14.0)], ids=["audio", "visual"]
)  # fmt: skip
def test_labels_are_those_of_the_reference(labels, modality, centre, tie):
    scores = 4 * avvp_fill.unit(f"pl/logits_{modality[0]}", (10, 25)) + centre
    scores[0, 3] = tie  # exactly the threshold
    weak = avvp_fill.bernoulli("pl/label", (25,), 0.3)
    weak[3] = 1
    made = pseudo_labels.label(scores, np.array(labels[f"thresholds_{modality}"]), 0.0)
    both = np.stack([made, made])[None]
    assert pseudo_labels.gated(both, weak[None])[0, 0].tolist() == labels[modality]
    assert made[0, 3] == 0
