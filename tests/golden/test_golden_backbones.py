"""Published key layouts, logits and source statistics of full-size TANet and Video Swin-B."""

import fill
import numpy as np
import pytest
import torch

from earshot import importing
from earshot.backbones import WeightsError


@pytest.fixture(params=["tanet_source", "swin_source"])
def source(request):
    return request.getfixturevalue(request.param)


def test_the_fill_is_the_one_that_made_the_numbers(source):
    for name, (total, norm) in source.keys["fill_sum_l2"].items():
        tensor = source.published[name].double()
        assert (float(tensor.sum()), float(tensor.norm())) == pytest.approx((total, norm), rel=1e-5, abs=1e-4)


def test_keys_are_the_published_ones_in_their_order(source):
    """Every parameter and buffer of ours has one published name, and the other way round, with the same shape."""
    own = {source.to_published(key): tuple(tensor.shape) for key, tensor in source.model.state_dict().items()}
    assert own == {key: tuple(shape) for key, shape, _ in source.keys["entries"]}
    parameters = [source.to_published(key) for key, _ in source.model.named_parameters()]
    assert sorted(parameters) == sorted(key for key, _, kind in source.keys["entries"] if kind == "param")
    assert sum(parameter.numel() for parameter in source.model.parameters()) == source.keys["num_params"]


def test_every_tensor_arrives_where_it_belongs(source):
    for key, tensor in source.model.state_dict().items():
        if tensor.is_floating_point():
            assert torch.equal(tensor, source.published[source.to_published(key)]), key


def test_source_logits(source):
    assert len(source.logits) == 3
    for key, expected in source.logits.items():
        name, size = key.split("@")
        with torch.no_grad():
            logits = source.model(fill.clip(name, 16, int(size))[None])[0]
        np.testing.assert_allclose(logits, expected, atol=5e-5)


def test_source_statistics_are_the_weighted_mean_of_batches(source):
    assert [source.to_published(f"{name}.")[:-1] for name in source.moments] == [layer["name"] for layer in source.layers]
    for name, layer in zip(source.moments, source.layers, strict=True):
        mean, var = source.moments[name]
        assert len(mean) == layer["channels"]
        assert float(mean.double().sum()) == pytest.approx(layer["mean_sum"], abs=1e-4 * max(1, layer["mean_l1"]))
        assert float(mean.double().abs().sum()) == pytest.approx(layer["mean_l1"], rel=1e-4)
        assert float(var.double().sum()) == pytest.approx(layer["var_sum"], rel=1e-4)
        np.testing.assert_allclose(mean[:3], layer["mean_head"], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(var[:3], layer["var_head"], rtol=1e-4, atol=1e-5)


def test_published_heads_are_recognised(source):
    assert importing.head_rows(source.published) == 101
    assert importing.head_rows({f"module.{key}": tensor for key, tensor in source.published.items()}) == 101


def test_a_published_key_that_is_missing_is_named(source):
    lacking = dict(source.published)
    key = next(name for name, _, kind in source.keys["entries"] if (kind == "param" and "layers" in name) or "layer3" in name)
    lacking.pop(key)
    lacking["optimizer.state"] = torch.zeros(1)
    with pytest.raises(WeightsError, match=r"missing .*; surplus .*optimizer"):
        source.module.import_weights(lacking, source.model)
