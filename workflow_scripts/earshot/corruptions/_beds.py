"""Noise beds: recordings in a user's folder, or seeded stand-ins made of shaped noise.

A folder holds one WAV file per noise (traffic.wav, crowd.wav, ...), of any rate and number of channels; it is mixed down to
mono, brought to the clip's rate and added to all channels alike. A short bed is repeated, a long one cut: from time 0 under
"gain", as in READ, and from a random place under "snr". Nothing is ever downloaded. Results with stand-ins must not be compared
with published ones, which used recordings; the facts of a clip name its bed for that reason.

Stand-ins last 10 s and end where they begin, so that repeating them makes no click.
"""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy import fft

from earshot import media
from earshot.corruptions import Corruption
from earshot.corruptions._sound import (
    SNR_DB,
    Facts,
    Level,
    Signal,
    Sound,
    Wave,
    guarded,
    mean_square,
    mixed,
    normals,
    uniforms,
)  # fmt: skip
from earshot.errors import MediaError, SetupError
from earshot.files import sha256_of_file

SECONDS = 10
CONTROL_RATE = 100  # Hz; what varies slowly is made at this rate and interpolated
READ_GAIN_DB: tuple[Level, ...] = (("gain", 1.0), ("gain", 2.0), ("gain", 4.0), ("gain", 6.0), ("gain", 8.0))
_STAND_IN_RMS = 0.1  # -20 dBFS, a usual level of recordings; matters under "gain" only

StandIn = Callable[[int, np.random.Generator], Signal]


def spec_of(title: str) -> Corruption:
    """Facts about a corruption by a noise bed."""
    return Corruption(
        title,
        family="sound",
        unit="signal-to-noise ratio in dB; in preset read, gain of the recording in dB",
        severities={"default": SNR_DB, "read": READ_GAIN_DB},
        source="READ's audio corruptions; levels by ratio are ours",
        randomness="noise",
    )


def sound_of(name: str, stand_in: StandIn) -> Sound:
    """The `sound` of a plug-in: adds `name`.wav of the user's folder, or the stand-in, at ("snr", dB) or ("gain", dB)."""

    @guarded
    def sound(wave: Wave, rate: int, value: Level, rng: np.random.Generator, beds: str) -> tuple[Wave, Facts]:
        return add_bed(wave, rate, value, rng, beds, name, stand_in)

    return sound


def add_bed(
    wave: Wave, rate: int, value: Level, rng: np.random.Generator, beds: str, name: str, stand_in: StandIn
) -> tuple[Wave, Facts]:
    """Add the noise `name` to a wave (N, C): `beds`/`name`.wav, or the stand-in if `beds` is ""."""
    if beds:
        bed, digest = _recording(str(Path(beds, f"{name}.wav")), rate)
        facts: Facts = {"bed": f"{name}.wav", "bed_sha256": digest}
    else:
        bed, facts = _levelled(stand_in(rate, rng)), {"bed": "synthetic"}
    piece = _piece(bed, len(wave), rng) if value[0] == "snr" else np.resize(bed, len(wave))
    out, mixing = mixed(wave, piece[:, None], value)
    return out, facts | mixing


@lru_cache(maxsize=10)
def _recording(path: str, rate: int) -> tuple[Signal, str]:
    name, folder = Path(path).name, Path(path).parent
    if not Path(path).exists():
        remedy = "put one there, or name no folder of noise beds to use synthetic stand-ins"
        raise SetupError(f"no noise recording '{name}' in '{folder}': {remedy}")
    try:
        bed = media.read_wave(path, rate).astype(np.float64)
    except MediaError as error:
        raise SetupError(f"noise recording '{path}': {error}") from error
    if not np.isfinite(bed).all() or not np.any(bed):
        raise SetupError(f"noise recording '{path}': silent, or with non-finite samples")
    bed.flags.writeable = False
    return bed, sha256_of_file(path)


def _levelled(bed: Signal) -> Signal:
    return np.clip(bed * (_STAND_IN_RMS / mean_square(bed) ** 0.5), -1, 1)


def _piece(bed: Signal, count: int, rng: np.random.Generator) -> Signal:
    """`count` samples from a random place of a longer bed, or a shorter one repeated."""
    places = len(bed) - count + 1
    if places <= 1:
        return np.resize(bed, count)
    start = int(uniforms(1, rng)[0] * places)
    piece = bed[start : start + count]
    if not np.any(piece):  # a pause of the recording, which no gain brings to the wanted level
        start = min(int(np.argmax(np.abs(bed))), places - 1)
    return bed[start : start + count]


def time(rate: int) -> Signal:
    """Times of a stand-in's samples, in s."""
    return np.arange(SECONDS * rate) / rate


def band(frequency: Signal, low: float, high: float) -> Signal:
    """Amplitude response of a band-pass with slopes of 12 dB an octave."""
    power = frequency**4
    return np.sqrt(power / (power + low**4) * high**4 / (power + high**4))


def filtered(signal: Signal, rate: int, response: Callable[[Signal], Signal]) -> Signal:
    """A signal of SECONDS, of any rate, through a filter given by its amplitude response over Hz; at `rate`, unit RMS."""
    spectrum = fft.rfft(signal) * response(np.arange(len(signal) // 2 + 1) / SECONDS)
    out = fft.irfft(spectrum, SECONDS * rate)
    return out / max(mean_square(out) ** 0.5, np.finfo(float).tiny)


def shaped(rate: int, rng: np.random.Generator, response: Callable[[Signal], Signal]) -> Signal:
    """Noise of that spectrum; unit RMS."""
    return filtered(normals(SECONDS * rate, rng), rate, response)


def slow(rate: int, rng: np.random.Generator, low: float, high: float) -> Signal:
    """A random control signal that varies at `low` to `high` Hz; unit RMS."""
    control = shaped(CONTROL_RATE, rng, lambda f: band(f, low, high))
    return np.interp(time(rate), time(CONTROL_RATE), control, period=SECONDS)


def age(rate: int, start: float) -> Signal:
    """Time since an event at `start`, in s, which recurs with the stand-in."""
    return (time(rate) - start) % SECONDS
