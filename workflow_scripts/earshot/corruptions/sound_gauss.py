"""Gaussian noise in the sound: y = a + g n, n ~ N(0, 1), independent by sample and channel, saturated to [-1, 1].

By default g gives a signal-to-noise ratio, relative to the clip's own level over its whole length. In the preset "read" g is
sigma on samples in [-1, 1], whatever the clip's level. Source: READ (test-time adaptation for audio and video), whose
Kinetics50-C and VGGSound-C have sigma .08 to .38; our spec, `corruptions.md` section 8. READ's code fails on stereo; ours draws
noise for each channel.
"""

import numpy as np

from earshot.corruptions import Corruption
from earshot.corruptions._sound import SNR_DB, Facts, Level, Wave, guarded, mixed, normals

SPEC = Corruption(
    "Gaussian noise in the sound",
    family="sound",
    unit="signal-to-noise ratio in dB; in preset read, standard deviation of the noise",
    severities={
        "default": SNR_DB,
        "read": (("sigma", 0.08), ("sigma", 0.12), ("sigma", 0.18), ("sigma", 0.26), ("sigma", 0.38)),
    },
    source="READ's audio corruptions; levels by ratio are ours",
    randomness="noise",
)


@guarded
def sound(wave: Wave, rate: int, value: Level, rng: np.random.Generator, beds: str) -> tuple[Wave, Facts]:
    """Add noise at ("snr", dB) or ("sigma", standard deviation) to a wave (N, C)."""
    return mixed(wave, normals(wave.size, rng).reshape(wave.shape), value)
