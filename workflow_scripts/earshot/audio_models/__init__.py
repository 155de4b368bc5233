"""Audio models: from waves to scores of named sounds, one file each. A plug-in defines

* `RATE_HZ`, a literal: the rate it listens at; one that has others names them in `OTHER_RATES_HZ`, and has the option
  `rate_hz`, which then decides;
* `Options`, a pydantic model of what may vary in its architecture; the defaults are the published model;
* `spec(options) -> AudioModel`: what it expects to hear;
* `build(n_classes, options) -> nn.Module` that maps waves (B, N), zeros after the end of each, and the length of each in
  samples, (B,), to logits (B, A);
* `tiny() -> Options`: the same structure, small enough for tests;

one whose weights are published also

* `import_weights(state, model) -> state_dict`, from every published key layout to the keys of `model`, strict;
* perhaps `labels_in(checkpoint) -> list[str]`: the classes of the head as AudioSet's ids, where the file itself tells them;
* perhaps `head_from_text(state, folder, prompts, options) -> dict[str, Tensor]`, which makes a head of the names of sounds
  (zero-shot) from a checkpoint and the folder of its tokenizer;

and one that is trained here `Hyper` and `mix`, as `small_tagger` does. `precomputed` stands for scores made elsewhere.
"""

from dataclasses import dataclass
from typing import Literal

Activation = Literal["sigmoid", "softmax"]


@dataclass(frozen=True)
class AudioModel:
    """What an audio model expects: sampling rate in Hz and windows of `window_s` seconds; longer sound is averaged.

    `short` says how a wave shorter than a window is filled: `pad` with zeros, `repeat` it as often as it fits and pad the
    rest, or `loop` it to the end. `activation` turns logits into probabilities: `sigmoid` where sounds may coincide.
    """

    title: str
    rate_hz: int
    window_s: float
    source: str
    activation: Activation = "sigmoid"
    short: Literal["pad", "repeat", "loop"] = "pad"
