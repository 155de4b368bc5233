"""Crowd noise in the sound: a recording of it, or a stand-in, added to all channels and saturated to [-1, 1].

By default at a signal-to-noise ratio, relative to the clip's own level over its whole length; in the preset "read" amplified by
a gain relative to the recording's own level. Source: READ's audio corruptions; our spec, `corruptions.md` section 8.

The stand-in is a babble without words: 12 voices, each a buzz of changing pitch with syllables at 3 to 6 Hz, in the band of
speech.
"""

import numpy as np

from earshot.corruptions._beds import CONTROL_RATE, SECONDS, band, filtered, shaped, slow, sound_of, spec_of, time
from earshot.corruptions._sound import Signal, uniforms

SPEC = spec_of("Crowd noise in the sound")
_VOICE_RATE = 8_000  # Hz; voices hold nothing above half of it


def stand_in(rate: int, rng: np.random.Generator) -> Signal:
    """10 s of 12 voices, with a little breath noise."""
    voices = np.zeros(SECONDS * _VOICE_RATE)
    for pitch, start, level in uniforms(36, rng).reshape(12, 3):
        voices += (0.4 + level) * _voice(90 + 160 * pitch, start, rng)
    return filtered(voices, rate, _speech) + 0.2 * shaped(rate, rng, _speech)


def _voice(hertz: float, start: float, rng: np.random.Generator) -> Signal:
    """A buzz about that pitch, in Hz, that starts at that part of a period."""
    turns = np.cumsum(hertz * 2 ** (0.15 * slow(CONTROL_RATE, rng, 0.5, 3))) / CONTROL_RATE
    turns *= round(turns[-1]) / turns[-1]  # so that the end meets the beginning
    phase = np.interp(time(_VOICE_RATE), np.arange(len(turns) + 1) / CONTROL_RATE, [0, *turns]) + start
    syllables = np.maximum(slow(_VOICE_RATE, rng, 3, 6) + 0.3, 0)
    return syllables * (2 * (phase % 1) - 1)


def _speech(frequency: Signal) -> Signal:
    return band(frequency, 200, 3500)


sound = sound_of("crowd", stand_in)
