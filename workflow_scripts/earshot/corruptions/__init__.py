"""Corruptions: one file each, of the picture or of the sound. A plug-in defines `SPEC`, a `Corruption`, and one of

* `apply(frame, value, drawn) -> frame`: a frame (H, W, 3) uint8 RGB in, a new one of the same shape out. If something is drawn
  at random, also `draw(height, width, value, rng) -> drawn`; else `drawn` is None;
* `codec(value, bit_rate) -> dict`: the ffmpeg output options of a corruption that is an encoder;
* `decode(path, value, rng) -> iterator of frames`: a corruption of the packets, that yields what a decoder makes of them;
* `sound(wave, rate, value, rng, beds) -> (wave, facts)`: a wave (N, C) float32 in [-1, 1] at `rate` Hz, N and C kept; `beds` is
  the user's folder of noise recordings or "", and `facts` (plain values) go to the manifest.

A corruption along time has in addition to `apply` both `sources(number, count, fps, value)`, the numbers of the input frames
that make output frame `number` of `count`, or None if `value` asks for no others; and `combine(frames, value) -> frame`.

A corruption that reaches over many pixels may define `limit(value)`, the least side of a frame for which that holds; on smaller
ones it is reduced, and the manifest says so.

Each frame has a generator of its own, keyed by (seed, clip, corruption, severity, frame number), so results do not depend on
blocks or workers. What is `drawn` for a "layer" can be fixed along the clip (`temporal: per_clip`); noise is fresh in every
frame. Kernels compute in integers, or in floats whose every intermediate is exact, so that equal seeds give equal frames on
any machine.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

UCF101C = (
    *("gauss", "pepper", "salt", "shot", "zoom", "impulse", "defocus", "motion", "jpeg", "contrast", "rain", "h265_abr"),
)  # the twelve of UCF101-C, in the order of the papers' tables
ALIASES = {
    "gaussian_noise": "gauss",
    "pepper_noise": "pepper",
    "salt_noise": "salt",
    "shot_noise": "shot",
    "zoom_blur": "zoom",
    "impulse_noise": "impulse",
    "defocus_blur": "defocus",
    "motion_blur": "motion",
    "jpeg_compression": "jpeg",
}
FAMILIES = ("none", "noise", "blur", "photometric", "weather", "digital", "compression", "temporal", "sound")


@dataclass(frozen=True)
class Corruption:
    """Facts about a corruption.

    `severities` holds five values, in `unit`, under "default" and under each preset that has others. `randomness` is "none",
    "noise" (drawn anew for each frame) or "layer" (drawn for each frame, or once for a clip if the config says so).
    """

    title: str
    family: str  # one of FAMILIES
    unit: str
    severities: dict[str, Sequence[Any]]
    source: str
    randomness: str = "none"

    def value(self, preset: str, severity: int) -> Any:
        """The parameter at a severity 1 to 5; 0 gives None, which only `clean` takes."""
        return self.severities.get(preset, self.severities["default"])[severity - 1] if severity else None
