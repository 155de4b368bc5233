"""Traffic noise in the sound: a recording of it, or a stand-in, added to all channels and saturated to [-1, 1].

By default at a signal-to-noise ratio, relative to the clip's own level over its whole length; in the preset "read" amplified by
a gain relative to the recording's own level. Source: READ's audio corruptions; our spec, `corruptions.md` section 8.

The stand-in is a low rumble, and the louder and brighter noise of tyres of vehicles that pass one after the other.
"""

import numpy as np

from earshot.corruptions._beds import SECONDS, age, band, shaped, sound_of, spec_of
from earshot.corruptions._sound import Signal, uniforms

SPEC = spec_of("Traffic noise in the sound")


def stand_in(rate: int, rng: np.random.Generator) -> Signal:
    """10 s of rumble below 200 Hz with four passing vehicles, each a swell of 0.5 to 1.5 s."""
    swells = np.zeros(SECONDS * rate)
    for place, width, level in uniforms(12, rng).reshape(4, 3):
        away = age(rate, place * SECONDS) - SECONDS / 2  # loudest half a turn after the event, where it cannot wrap
        swells += (0.5 + level) * np.exp(-0.5 * (away / (0.5 + width)) ** 2)
    rumble = shaped(rate, rng, lambda f: band(f, 30, 150) / np.sqrt(1 + f / 50))
    tyres = shaped(rate, rng, lambda f: band(f, 80, 700))
    return 0.5 * rumble + swells * (0.7 * rumble + tyres)


sound = sound_of("traffic", stand_in)
