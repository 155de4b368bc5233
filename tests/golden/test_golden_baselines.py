"""NORM, DUA, TENT, SHOT and T3A on TANet, two steps of three clips, against numbers of the reference implementations."""

import fill
import numpy as np
import pytest
import torch
from golden_files import golden

from earshot.adaptation import Clip, Context, evaluate
from earshot.methods import dua, norm, shot, source, t3a, tent
from earshot.streams import Arrival, run_stream

BASELINES = golden("baselines_tanet")


def clip_of(name):
    evaluation = fill.clip(name, 16, 64)[None]
    return Clip(evaluation[:0], evaluation)


def followed(tanet_source, plugin, hyper, two_pass=True):
    """Outcomes of the six clips under a protocol, and the logits of all."""
    arrivals = [Arrival(lambda name=name: clip_of(name)) for name in BASELINES["clips"]]
    stream = run_stream(plugin, hyper, tanet_source.model, Context(two_pass=two_pass), arrivals, BASELINES["batch_size"])
    outcomes = [outcome for outcome, _ in stream]
    return outcomes, np.stack([outcome.logits for outcome in outcomes])


def losses(outcomes):
    return [float(outcomes[first].loss_first) for first in (0, 3)]


def test_source(tanet_source):
    _, logits = followed(tanet_source, source, source.Hyper())
    np.testing.assert_allclose(logits, BASELINES["source"]["eval_logits"], atol=2e-4)


def test_norm(tanet_source):
    _, logits = followed(tanet_source, norm, norm.Hyper())
    np.testing.assert_allclose(logits, BASELINES["norm"]["eval_logits"], atol=2e-4)


@pytest.mark.parametrize(("run", "atol"), [("tent", 5e-4), ("tent_large_lr", 3e-2)])
def test_tent(tanet_source, run, atol):
    expected = BASELINES[run]
    outcomes, logits = followed(tanet_source, tent, tent.Hyper(lr=expected["lr"]))
    np.testing.assert_allclose(losses(outcomes), expected["entropy_per_step"], rtol=1e-3 if run == "tent" else 2e-2)
    np.testing.assert_allclose(logits, expected["eval_logits"], atol=atol)


@pytest.mark.parametrize("run", ["shot", "shot_as_published"])
def test_shot(tanet_source, run, monkeypatch):
    expected, seen = BASELINES[run], []
    labels = shot.pseudo_labels
    monkeypatch.setattr(shot, "pseudo_labels", lambda *given: seen.append(labels(*given)) or seen[-1])
    hyper = shot.Hyper(lr=expected["lr"], guard_empty_classes=expected["empty_class_guard"], adapt_dropout="off")
    outcomes, logits = followed(tanet_source, shot, hyper)
    assert [found.tolist() for found in seen] == [expected["pseudo_labels"]]
    first, second = losses(outcomes)
    assert first == pytest.approx(expected["loss_per_step"][0], rel=1e-4)
    assert second == pytest.approx(expected["loss_per_step"][1], rel=1e-2)
    np.testing.assert_allclose(logits, expected["eval_logits"], atol=1e-2)


@pytest.mark.parametrize("k", [1, 20])
def test_t3a(tanet_source, k):
    _, logits = followed(tanet_source, t3a, t3a.Hyper(filter_k=k))
    np.testing.assert_allclose(logits, BASELINES[f"t3a_K{k}"]["online_logits"], atol=2e-4)


def test_dua_on_given_copies(tanet_source, monkeypatch):
    """The reference's numbers are for copies that are already augmented, four a video."""
    expected, videos = BASELINES["dua_core"], iter((0, 1))

    def given(clip, n):
        video = next(videos)
        return torch.stack([fill.clip(f"dua/{video}/{copy}", 16, 64) for copy in range(n)])

    monkeypatch.setattr(dua, "geometric_copies", given)
    method = dua.Method(tanet_source.fresh(), dua.Hyper(copies=4), Context())
    for video in (0, 1):
        method.adapt([clip_of("eval/0")])
        wanted = expected[f"eval_logits_after_video_{video}"]
        logits = [evaluate(method.model, clip_of(name).evaluation) for name in BASELINES["clips"][: len(wanted)]]
        np.testing.assert_allclose(np.stack(logits), wanted, atol=2e-4)
