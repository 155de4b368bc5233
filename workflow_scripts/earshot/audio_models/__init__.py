"""Audio models: from a wave to scores of named sounds, one file each. A plug-in defines

* `SPEC`, an `AudioModel`;
* `build(n_classes) -> nn.Module` that maps waves (B, N) at `rate_hz` to logits (B, A);
* `Hyper(BaseModel)` and `train(...)` if it is trained here.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class AudioModel:
    """What an audio model expects: sampling rate in Hz and windows of `window_s` seconds; longer sound is averaged."""

    title: str
    rate_hz: int
    window_s: float
    source: str
