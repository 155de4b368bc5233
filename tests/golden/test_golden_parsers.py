"""HAN and the VALOR family against runs of the reference code, one optimiser step included; LINK's formulas against our spec.

The published inputs enter through the same pooling as feature files do: CLAP's map by its constant matrix, ResNet's frames by
their mean.
"""

import json
from pathlib import Path

import avvp_fill as fill
import numpy as np
import pytest
import torch
from torch import nn

from earshot import parsers, plugins
from earshot.extractors import clap, resnet152
from earshot.parsers import _sloss

FOLDER = Path(__file__).parent / "avvp"
GOLDEN = json.loads((FOLDER / "model_golden.json").read_text())
ARRAYS = np.load(FOLDER / "model_golden.npz")
LINK = json.loads((FOLDER / "link_golden.json").read_text())
PLUGINS = {
    "HAN": ("han", {}),
    "VALOR": ("valor", {}),
    "VALOR_PLUS": ("valor_plus", {}),
    "VALOR_PLUS_PLUS": ("valor_plus_plus", {}),
    "VALOR_PLUS_PLUS_prenorm": (
        "valor_plus_plus",
        {"structure": {"dim": 256, "heads": 8, "ff": 1024, "layers": 2, "norm_where": "pre_norm"}},
    ),
}


def pooled(name, values):
    """Features (4, 10, D) of a published input."""
    rows = {64: clap.pooled, 80: resnet152.pooled}.get(values.shape[1], lambda array: array)
    return torch.from_numpy(np.stack([rows(row) for row in values]))


def batch(name, dtype):
    shapes = GOLDEN["configs"][name]["input_shapes"]
    audio, visual, motion = (pooled(name, fill.unit(f"in/{part}/{name}", shapes[part])) for part in shapes)
    labels, heard, seen = (torch.from_numpy(ARRAYS[key]) for key in ("labels", "pseudo_audio", "pseudo_visual"))
    parts = [part.to(dtype) for part in (audio, visual, motion, labels, heard, seen)]
    return parsers.Batch(*parts)


def model(name, dtype):
    plugin, given = PLUGINS[name]
    module = plugins.load("parsers", plugin)
    hyper = module.Hyper.model_validate(given)
    sizes = GOLDEN["configs"][name]["input_shapes"]
    shape = parsers.Shape(sizes["audio"][-1], sizes["visual"][-1], sizes["visual_st"][-1], 25)
    built = module.build(shape, hyper).to(dtype)
    listed = GOLDEN["configs"][name]["state_dict"]
    published = {key: torch.from_numpy(fill.param(key, size)).to(dtype) for key, size in listed}
    built.load_state_dict(module.import_weights(published, built))
    return module, hyper, built.eval()


@pytest.mark.parametrize("name", PLUGINS)
def test_every_published_parameter_is_used_or_known_to_be_unused(name):
    _, _, built = model(name, torch.float64)
    config = GOLDEN["configs"][name]
    sizes = {key: int(np.prod(size)) for key, size in config["state_dict"]}
    assert sum(sizes.values()) == config["n_params"]
    assert set(sizes) - set(built.state_dict()) == set(config["params_without_gradient"])


@pytest.mark.parametrize("name", PLUGINS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
def test_outputs_losses_and_one_step_are_the_references(name, dtype, tolerance):
    module, hyper, built = model(name, dtype)
    given, kind = batch(name, dtype), "f64" if dtype == torch.float64 else "f32"
    expected = GOLDEN["configs"][name][kind]
    output = built(given)
    found = {
        "global_prob": output.video, "a_prob": output.by_modality[:, 0], "v_prob": output.by_modality[:, 1],
        "frame_prob": output.logits.sigmoid(), "frame_logits": output.logits,
    }  # fmt: skip
    for key, value in found.items():
        if f"{name}/f64/{key}" in ARRAYS:
            np.testing.assert_allclose(value.detach(), ARRAYS[f"{name}/f64/{key}"], rtol=tolerance, atol=tolerance)
    terms = module.losses(output, given, built, hyper).terms
    names = {"video": "video", "audio": "video_heard", "visual": "video_seen", "valor_a": "heard", "valor_v": "seen"}
    losses = {key: float(terms[names[key]].detach()) for key in expected["losses"]}
    assert losses == pytest.approx(expected["losses"], rel=tolerance)
    assert len(terms) == len(expected["losses"])

    total = sum(terms.values())
    assert float(total.detach()) == pytest.approx(expected["loss_total"], rel=tolerance)
    optimizer = hyper.optim.build(built)
    total.backward()
    before = {key: value.detach().clone() for key, value in built.named_parameters()}
    gradients = {key: float(value.grad.norm()) for key, value in built.named_parameters()}
    norm = nn.utils.clip_grad_norm_(built.parameters(), hyper.optim.clip or torch.inf)
    assert float(norm) == pytest.approx(expected["grad_norm_before_clip"], rel=tolerance)
    optimizer.step()
    for key, value in built.named_parameters():
        facts, value = expected["params_after_step"][key], value.detach()
        assert gradients[key] == pytest.approx(facts["grad_norm"], rel=tolerance, abs=1e-12 if kind == "f64" else 1e-6)
        if kind == "f64":  # Adam's first step is the sign of a gradient, which float32 cannot tell where it is nearly zero
            assert float(value.mean()) == pytest.approx(facts["new_mean"], rel=1e-9, abs=1e-12)
            assert float(value.abs().mean()) == pytest.approx(facts["new_abs_mean"], rel=1e-9)
            assert float((value - before[key]).abs().sum()) == pytest.approx(facts["delta_abs_sum"], rel=1e-7, abs=1e-9)
            assert float(value.flatten()[0]) == pytest.approx(facts["new_first"], rel=1e-9)
            assert float(value.flatten()[-1]) == pytest.approx(facts["new_last"], rel=1e-9)
    if kind == "f64":
        after = built(given).logits
        after = after.sigmoid() if name == "HAN" else after
        np.testing.assert_allclose(after.detach(), ARRAYS[f"{name}/f64/frame_logits_or_prob_after_step"], rtol=1e-7, atol=1e-9)


def test_the_learning_rates_of_valor_plus_plus_are_the_published_ones():
    hyper = plugins.load("parsers", "valor_plus_plus").Hyper()
    rates = [hyper.optim.rate(epoch, hyper.train.epochs) for epoch in range(1, 61)]
    assert rates == pytest.approx(GOLDEN["lr_schedule_valor_plus_plus_epochs_1_to_60"], rel=1e-12)


def test_lambda_is_that_of_the_table():
    table = LINK["lambda_table"]
    s = torch.tensor(table["s"], dtype=torch.float64)
    for mu, values in table["rows_[mu,values]"]:
        found = _sloss.weight(s, torch.tensor(mu, dtype=torch.float64))
        np.testing.assert_allclose(found, values, rtol=1e-12)


def avss_batch():
    audio = fill.unit("avss/fa", (4, 10, 32))
    visual = fill.unit("avss/fv", (4, 10, 32)) + 0.5 * audio
    heard, seen = (fill.bernoulli(f"avss/{name}", (4, 10, 25), 0.08) for name in ("pa", "pv"))
    heard[3] = seen[3] = 0
    parts = [torch.from_numpy(part) for part in (audio, visual, heard, seen)]
    weak = torch.zeros(4, 25, dtype=torch.float64)
    features = torch.stack(parts[:2], dim=2)
    return features, parsers.Batch(*parts[:2], None, weak, *parts[2:])


def similarity(**knobs):
    features, given = avss_batch()
    loss = _sloss.Similarity(_sloss.Sloss.model_validate(knobs)).double()
    return float(loss(features, given)[0])


def test_the_similarity_loss_in_both_forms_of_its_target():
    expected = LINK["avss"]
    assert similarity(target="leap_code", **{"lambda": "constant"}) == pytest.approx(expected["code_form_float64"], rel=1e-12)
    assert similarity(**{"lambda": "constant"}) == pytest.approx(expected["eiou_form_mean_float64"], rel=1e-12)
    for mu, value in expected["eiou_form_lambda_weighted_mean_by_mu"].items():
        assert similarity(mu={"init": float(mu), "mode": "fixed"}) == pytest.approx(value, rel=1e-12)
