"""Rain in the sound: a recording of it, or a stand-in, added to all channels and saturated to [-1, 1].

By default at a signal-to-noise ratio, relative to the clip's own level over its whole length; in the preset "read" amplified by
a gain relative to the recording's own level. Source: READ's audio corruptions; our spec, `corruptions.md` section 8.

The stand-in is a high-passed hiss that swells a little, and some 60 droplets a second.
"""

import numpy as np

from earshot.corruptions._beds import SECONDS, band, filtered, shaped, slow, sound_of, spec_of
from earshot.corruptions._sound import Signal, uniforms

SPEC = spec_of("Rain in the sound")


def stand_in(rate: int, rng: np.random.Generator) -> Signal:
    """10 s of hiss above 1.5 kHz with droplets, which are clicks between 1 and 4 kHz."""
    clicks = np.zeros(SECONDS * rate)
    place, size = uniforms(2 * 60 * SECONDS, rng).reshape(2, -1)
    np.add.at(clicks, (place * len(clicks)).astype(int), (1 - size) ** -0.3 - 1)  # many small drops, few large ones
    low = min(1500, rate / 6)  # keeps a band at low sampling rates
    hiss = shaped(rate, rng, lambda f: band(f, low, 12_000))
    return hiss * (1 + 0.15 * slow(rate, rng, 0.1, 1)) + 0.7 * filtered(clicks, rate, lambda f: band(f, low / 1.5, 2.5 * low))


sound = sound_of("rain", stand_in)
