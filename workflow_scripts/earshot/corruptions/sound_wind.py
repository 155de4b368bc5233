"""Wind in the sound: a recording of it, or a stand-in, added to all channels and saturated to [-1, 1].

By default at a signal-to-noise ratio, relative to the clip's own level over its whole length; in the preset "read" amplified by
a gain relative to the recording's own level. Source: READ's audio corruptions; our spec, `corruptions.md` section 8.

The stand-in is noise below 500 Hz in slow gusts.
"""

import numpy as np

from earshot.corruptions._beds import band, shaped, slow, sound_of, spec_of
from earshot.corruptions._sound import Signal

SPEC = spec_of("Wind in the sound")


def stand_in(rate: int, rng: np.random.Generator) -> Signal:
    """10 s of noise between 20 and 400 Hz in gusts of some seconds."""
    gusts = np.exp(0.6 * slow(rate, rng, 0.1, 0.6))
    return gusts * shaped(rate, rng, lambda f: np.where(f < 500, band(f, 20, 300), 0) / np.sqrt(1 + f / 60))


sound = sound_of("wind", stand_in)
