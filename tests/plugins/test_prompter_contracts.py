"""Every present and future prompter of Swin-V2 and HTS-AT keeps the contract of its kind."""

import pytest
import torch

from earshot import plugins
from earshot.knobs import Knobs
from earshot.prompters import Encoded, Widths, _trunks

NAMES = [n for n in plugins.available("prompters") if plugins.describe("prompters", n)["encoders"] in _trunks.KINDS]
TASKS = ("ave", "avvp", "avqa", "avs_s4", "avs_ms3")


def built(name):
    module = plugins.load("prompters", name)
    torch.manual_seed(0)
    return module, module.build(_trunks.build_encoders(module.ENCODERS, "mini"), module.Hyper())


@pytest.mark.parametrize("name", NAMES)
def test_it_says_what_it_is_and_what_tasks_want_of_it(name):
    module, about = plugins.load("prompters", name), plugins.describe("prompters", name)
    assert about["rate_hz"] in (16_000, 32_000, 48_000)
    assert issubclass(module.Hyper, Knobs)
    for task in TASKS:
        module.Hyper.model_validate(module.defaults(task))


@pytest.mark.parametrize("name", NAMES)
def test_it_gives_tokens_vectors_and_maps_of_the_widths_that_it_tells(name):
    module, pair = built(name)
    frames = pair.look(torch.randint(0, 256, (4, 72, 72, 3), dtype=torch.uint8))
    sound = pair.listen(torch.randn(2, 2 * module.RATE_HZ) * 0.1, 2)
    pair.eval()
    with torch.no_grad():
        found, again = pair(frames, sound), pair(frames, sound)
    assert isinstance(found, Encoded) and isinstance(pair.widths, Widths)
    assert found.visual_pooled.shape == (4, pair.widths.visual) and found.audio_pooled.shape == (4, pair.widths.audio)
    assert [one.shape for one in found.levels] == [
        (4, side**2, width) for side, width in zip(pair.widths.grids, pair.widths.levels, strict=True)
    ]
    for map_, tokens in ((found.visual_map, found.visual), (found.audio_map, found.audio)):
        assert map_.shape == tokens.shape[:2]
        torch.testing.assert_close(map_.sum(1), torch.ones(4))
    assert torch.equal(found.visual, again.visual) and torch.equal(found.audio, again.audio)
    assert pair.plain(frames).shape == found.visual.shape


@pytest.mark.parametrize("name", NAMES)
def test_its_state_is_what_training_changes_and_can_be_written_back(name):
    module, pair = built(name)
    state = pair.state()
    assert {n for n, one in pair.named_parameters() if one.requires_grad} <= set(state)
    assert not any(n.startswith(("visual.", "audio.")) for n in state)
    taken = module.import_weights(dict(state), pair)
    assert set(taken) == set(state)
    with torch.no_grad():
        for one in pair.state().values():
            one.copy_(torch.ones_like(one))
    assert all(bool((one == 1).all()) for one in pair.state().values())


@pytest.mark.parametrize("name", NAMES)
def test_it_tells_what_a_step_will_need(name):
    _, pair = built(name)
    told = pair.estimate(2, 2, True)
    assert told.parameters == sum(one.numel() for one in pair.parameters())
    assert told.trainable == sum(one.numel() for one in pair.parameters() if one.requires_grad)
    assert told.step_macs >= told.macs > 0 and told.memory_bytes >= 4 * told.parameters
