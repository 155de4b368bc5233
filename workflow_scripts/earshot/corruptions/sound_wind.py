"""Wind in the sound: a recording of it, or a stand-in, added to all channels and saturated to [-1, 1].

By default at a signal-to-noise ratio, relative to the clip's own level over its whole length; in the preset "read" amplified by
a gain relative to the recording's own level. Source: READ's audio corruptions; our spec, `corruptions.md` section 8.

The stand-in is noise below 500 Hz in slow gusts.
"""

import numpy as np

from earshot.corruptions import Corruption
from earshot.corruptions._beds import READ_GAIN_DB, add_bed, band, shaped, slow
from earshot.corruptions._sound import SNR_DB, Facts, Level, Signal, Wave, guarded

SPEC = Corruption(
    "Wind in the sound",
    family="sound",
    unit="signal-to-noise ratio in dB; in preset read, gain of the recording in dB",
    severities={"default": SNR_DB, "read": READ_GAIN_DB},
    source="READ's audio corruptions; levels by ratio are ours",
    randomness="noise",
)


@guarded
def sound(wave: Wave, rate: int, value: Level, rng: np.random.Generator, beds: str) -> tuple[Wave, Facts]:
    """Add the noise to a wave (N, C) at ("snr", dB) or ("gain", dB)."""
    return add_bed(wave, rate, value, rng, beds, "wind", stand_in)


def stand_in(rate: int, rng: np.random.Generator) -> Signal:
    """10 s of noise between 20 and 400 Hz in gusts of some seconds."""
    gusts = np.exp(0.6 * slow(rate, rng, 0.1, 0.6))
    return gusts * shaped(rate, rng, lambda f: np.where(f < 500, band(f, 20, 300), 0) / np.sqrt(1 + f / 60))
