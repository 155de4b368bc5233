"""Thunder in the sound: a recording of it, or a stand-in, added to all channels and saturated to [-1, 1].

By default at a signal-to-noise ratio, relative to the clip's own level over its whole length; in the preset "read" amplified by
a gain relative to the recording's own level. Source: READ's audio corruptions; our spec, `corruptions.md` section 8.

The stand-in is four claps with sharp onset and long decay, made of noise below 150 Hz, over a faint rumble.
"""

import numpy as np

from earshot.corruptions._beds import SECONDS, age, band, shaped, slow, sound_of, spec_of
from earshot.corruptions._sound import Signal, uniforms

SPEC = spec_of("Thunder in the sound")


def stand_in(rate: int, rng: np.random.Generator) -> Signal:
    """10 s with four claps that fade over 0.5 to 2 s each."""
    loudness = np.full(SECONDS * rate, 0.02)
    for place, decay, level in uniforms(12, rng).reshape(4, 3):
        since = age(rate, place * SECONDS)
        loudness += (0.3 + level) * (1 - np.exp(-since / 0.03)) * np.exp(-since / (0.5 + 1.5 * decay))
    rolling = 1 + 0.4 * slow(rate, rng, 1, 8)
    return loudness * rolling * shaped(rate, rng, lambda f: band(f, 20, 120) / np.sqrt(1 + f / 40))


sound = sound_of("thunder", stand_in)
