"""Thunder in the sound: a recording of it, or a stand-in, added to all channels and saturated to [-1, 1].

By default at a signal-to-noise ratio, relative to the clip's own level over its whole length; in the preset "read" amplified by
a gain relative to the recording's own level. Source: READ's audio corruptions; our spec, `corruptions.md` section 8.

The stand-in is four claps with sharp onset and long decay, made of noise below 150 Hz, over a faint rumble.
"""

import numpy as np

from earshot.corruptions import Corruption
from earshot.corruptions._beds import READ_GAIN_DB, SECONDS, add_bed, age, band, shaped, slow
from earshot.corruptions._sound import SNR_DB, Facts, Level, Signal, Wave, guarded, uniforms

SPEC = Corruption(
    "Thunder in the sound",
    family="sound",
    unit="signal-to-noise ratio in dB; in preset read, gain of the recording in dB",
    severities={"default": SNR_DB, "read": READ_GAIN_DB},
    source="READ's audio corruptions; levels by ratio are ours",
    randomness="noise",
)


@guarded
def sound(wave: Wave, rate: int, value: Level, rng: np.random.Generator, beds: str) -> tuple[Wave, Facts]:
    """Add the noise to a wave (N, C) at ("snr", dB) or ("gain", dB)."""
    return add_bed(wave, rate, value, rng, beds, "thunder", stand_in)


def stand_in(rate: int, rng: np.random.Generator) -> Signal:
    """10 s with four claps that fade over 0.5 to 2 s each."""
    loudness = np.full(SECONDS * rate, 0.02)
    for place, decay, level in uniforms(12, rng).reshape(4, 3):
        since = age(rate, place * SECONDS)
        loudness += (0.3 + level) * (1 - np.exp(-since / 0.03)) * np.exp(-since / (0.5 + 1.5 * decay))
    rolling = 1 + 0.4 * slow(rate, rng, 1, 8)
    return loudness * rolling * shaped(rate, rng, lambda f: band(f, 20, 120) / np.sqrt(1 + f / 40))
