"""Corruptions: one file each. A plug-in defines

* `SPEC`, a `Corruption`, whose `severities` hold five values by preset;
* `apply(frames, value, rng) -> frames`, on (T, H, W, 3) uint8 in and out, **or**
* `codec(value, bit_rate) -> dict`, the ffmpeg output options of a corruption that is an encoder.

Frames are corrupted one at a time with a generator of their own, so results do not depend on blocks or workers.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Corruption:
    """Facts about a corruption. `severities` maps a preset to five values in `unit`; `randomness` says what is drawn anew."""

    title: str
    family: str  # noise | photometric | blur | weather | compression
    unit: str
    severities: dict[str, tuple]
    source: str
    randomness: str = "none"  # none | per_frame
