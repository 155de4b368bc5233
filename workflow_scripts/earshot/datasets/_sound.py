"""A bank of synthetic sounds with a vocabulary of its own, finer than the video classes' and worded differently.

Waves are float32 (N,) at 16 kHz. `perform` gives a sound alone; `synthesize` records it: some room, a level, a
background of some colour. Pitch, tempo, timbre and onset are drawn for every excerpt, so some sounds are at times
mistaken for each other, as real ones are: ratchet, clock and typing; engine and blades; rustling, cloth and water.
"""

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

Wave = NDArray[np.float32]
Samples = NDArray[np.float64]
Maker = Callable[[int, np.random.Generator], Samples]

RATE = 16_000
_TURN = 2 * np.pi


# --- building blocks --------------------------------------------------------------------------------------------------


def _clock(n: int) -> Samples:
    return np.arange(n) / RATE


def _sine(frequency: Samples | float, n: int) -> Samples:
    """A sine whose frequency in Hz may change over time (N,)."""
    return np.sin(_TURN * np.cumsum(np.broadcast_to(frequency, n)) / RATE)


def _stack(base: Samples | float, n: int, amplitudes: Iterable[float]) -> Samples:
    """Harmonics 1, 2, ... of a base frequency in Hz; those above 7 kHz are left out."""
    top, phase = float(np.max(base)), _TURN * np.cumsum(np.broadcast_to(base, n)) / RATE
    wave, power = np.zeros(n), np.ones(n, np.complex128)
    turn = np.exp(1j * phase)  # its powers are the harmonics: far cheaper than a sine each
    for k, amplitude in enumerate(amplitudes, 1):
        if k * top < 7000:
            power *= turn
            wave += amplitude * power.imag
    return wave


def _band(n: int, rng: np.random.Generator, low: float, high: float, slope: float = 0.0) -> Samples:
    """Noise of unit deviation between two frequencies in Hz, its amplitude falling as 1 / f ** slope."""
    length = _fast(n)
    f = np.fft.rfftfreq(length, 1 / RATE) + 1.0
    below, above = np.square(low / f), np.square(f / high)
    gain = 1 / (1 + below * below * below) / (1 + above * above * above)
    if slope:
        gain *= np.exp(-slope * np.log(f))
    wave = np.fft.irfft(np.fft.rfft(rng.standard_normal(length)) * gain, length)[:n]
    return wave / (wave.std() + 1e-12)


def _fast(n: int) -> int:
    """The next length that is a multiple of a high power of two, which Fourier transforms are quick at."""
    step = 1 << max(n.bit_length() - 3, 0)
    return -(-n // step) * step


def _wander(n: int, rng: np.random.Generator, rate: float) -> Samples:
    """A smooth random curve in [0, 1] that changes about `rate` times a second."""
    knots = rng.uniform(0, 1, int(n / RATE * rate) + 3)
    return np.interp(_clock(n) * rate + rng.uniform(), np.arange(len(knots)), knots)


def _times(n: int, rng: np.random.Generator, rate: float, jitter: float = 0.05) -> list[float]:
    """Onsets in s at `rate` Hz from a random start, each off by `jitter` of the interval."""
    start = rng.uniform(-0.2, 0.8)
    return [(start + k + rng.normal(0, jitter)) / rate for k in range(int(n / RATE * rate) + 1)]


def _placed(n: int, events: Iterable[tuple[float, Samples]]) -> Samples:
    """Sum of short waves set at their onsets in s."""
    out = np.zeros(n)
    for onset, wave in events:
        start = max(int(onset * RATE), 0)
        part = wave[: max(n - start, 0)]
        out[start : start + len(part)] += part
    return out


def _ping(frequency: float, decay: float, rng: np.random.Generator, glide: float = 0.0, hiss: float = 0.0) -> Samples:
    """A struck resonance: frequency in Hz, decay in s, `glide` octaves of pitch over the decay, a burst of noise."""
    n = int(6 * decay * RATE)
    t = _clock(n)
    wave = _sine(frequency * 2 ** (glide * t / decay), n)
    burst = hiss * rng.standard_normal(n) * np.exp(-t / (0.25 * decay))
    return (wave + burst) * np.exp(-t / decay) * np.minimum(t / 0.001, 1)


# --- sounds of what is seen -------------------------------------------------------------------------------------------


def _ratchet(n: int, rng: np.random.Generator) -> Samples:
    pitch, rate = rng.uniform(1800, 4200), rng.uniform(7, 18)
    slowing = rng.uniform(-0.25, 0.25)
    times = [t * (1 + slowing * t * RATE / n) for t in _times(n, rng, rate, 0.03)]
    return _placed(n, [(t, rng.uniform(0.8, 1.1) * _ping(pitch, 0.003, rng, 0.0, 0.8)) for t in times])


def _thud(n: int, rng: np.random.Generator) -> Samples:
    pitch, rate = rng.uniform(90, 220), rng.uniform(1.4, 3.2)
    return _placed(n, [(t, _ping(pitch, rng.uniform(0.03, 0.05), rng, -0.5, 0.5)) for t in _times(n, rng, rate)])


def _ticking(n: int, rng: np.random.Generator) -> Samples:
    pitch, rate = rng.uniform(1400, 3600), rng.uniform(2, 5.5)
    pair = (1.0, rng.uniform(0.75, 0.95))
    times = _times(n, rng, rate, 0.01)
    return _placed(n, [(t, pair[k % 2] * _ping(pitch * pair[k % 2], 0.005, rng, 0.0, 0.5)) for k, t in enumerate(times)])


def _heartbeat(n: int, rng: np.random.Generator) -> Samples:
    pitch, rate, gap = rng.uniform(45, 100), rng.uniform(1.0, 1.9), rng.uniform(0.22, 0.32)
    beats = []
    for t in _times(n, rng, rate, 0.02):
        beats += [(t, _ping(pitch, 0.04, rng, -0.3, 0.1))]
        beats += [(t + gap / rate, 0.7 * _ping(pitch * 1.25, 0.03, rng, -0.3, 0.1))]
    return _placed(n, beats)


def _chirp(n: int, rng: np.random.Generator) -> Samples:
    pitch, rate, glide = rng.uniform(2500, 5000), rng.uniform(3, 8), rng.choice([-0.5, 0.5]) * rng.uniform(0.6, 1.4)
    calls = []
    for t in _times(n, rng, rate, 0.1):
        m = int(rng.uniform(0.04, 0.09) * RATE)
        shape = np.hanning(m)
        calls.append((t, shape * _sine(pitch * rng.uniform(0.93, 1.07) * 2 ** (glide * np.linspace(0, 1, m)), m)))
    return _placed(n, calls)


def _song(n: int, rng: np.random.Generator) -> Samples:
    pitch, notes, t = rng.uniform(1500, 3000), [], rng.uniform(0, 0.3)
    while t < n / RATE:
        m = int(rng.uniform(0.12, 0.4) * RATE)
        vibrato = 1 + rng.uniform(0, 0.02) * np.sin(_TURN * rng.uniform(6, 18) * _clock(m))
        glide = 2 ** (rng.uniform(-0.25, 0.25) * np.linspace(0, 1, m))
        notes.append((t, np.hanning(m) ** 0.5 * _sine(pitch * 2 ** rng.uniform(-0.4, 0.4) * glide * vibrato, m)))
        t += m / RATE + rng.uniform(0.03, 0.2)
    return _placed(n, notes)


def _rustling(n: int, rng: np.random.Generator) -> Samples:
    hiss = _band(n, rng, rng.uniform(1500, 2800), 7000) * _wander(n, rng, rng.uniform(5, 10)) ** 2
    crackle = []
    for _ in range(int(n / RATE * rng.uniform(15, 40))):
        snap = _ping(rng.uniform(2500, 6000), 0.002, rng, 0.0, 1.0)
        crackle.append((rng.uniform(0, n / RATE), rng.uniform(0.3, 2) * snap))
    return hiss + _placed(n, crackle)


def _idling(n: int, rng: np.random.Generator) -> Samples:
    base = rng.uniform(24, 48) * (1 + 0.04 * _wander(n, rng, 8))
    engine = _stack(base, n, 1 / np.arange(1, 18) ** rng.uniform(0.5, 0.9) * rng.uniform(0.3, 1.0, 17))
    throb = 1 + 0.5 * _sine(base / 2, n)
    return engine * throb + rng.uniform(0.2, 0.6) * _band(n, rng, 80, 900, 0.5)


def _revving(n: int, rng: np.random.Generator) -> Samples:
    turn = 0.5 - 0.5 * np.cos(_TURN * (rng.uniform(0.4, 0.9) * _clock(n) + rng.uniform()))
    base = rng.uniform(45, 75) * (1 + rng.uniform(1.0, 2.2) * turn)
    engine = _stack(base, n, 1 / np.arange(1, 25) ** rng.uniform(0.4, 0.8) * rng.uniform(0.3, 1.0, 24))
    return (engine + 0.3 * _band(n, rng, 200, 2500, 0.5)) * (0.5 + turn)


def _horn(n: int, rng: np.random.Generator) -> Samples:
    low, step = rng.uniform(360, 620), rng.choice([5 / 4, 4 / 3, 3 / 2])
    second = np.floor(_clock(n) * rng.uniform(1.4, 3.0) + rng.uniform()) % 2
    return _stack(low * np.where(second > 0, step, 1.0), n, rng.uniform(0.5, 1.0, 9) / np.arange(1, 10) ** 0.7)


def _siren(n: int, rng: np.random.Generator) -> Samples:
    swing = 0.5 - 0.5 * np.cos(_TURN * (rng.uniform(0.3, 1.2) * _clock(n) + rng.uniform()))
    base = rng.uniform(450, 700) * 2 ** (rng.uniform(0.7, 1.3) * swing)
    return _stack(base, n, rng.uniform(0.3, 1.0, 6) / np.arange(1, 7))


def _flapping(n: int, rng: np.random.Generator) -> Samples:
    events, high = [], rng.uniform(500, 1600)
    for t in _times(n, rng, rng.uniform(4, 9), 0.15):
        m = int(rng.uniform(0.06, 0.14) * RATE)
        envelope = np.linspace(0, 1, m) ** 0.5 * np.linspace(1, 0, m) ** 2
        events.append((t, rng.uniform(0.4, 1.2) * envelope * _band(m, rng, 80, high, 0.3)))
    return _placed(n, events) + 0.05 * _band(n, rng, 100, 3000, 0.5)


def _strike(pitch: float, decay: float, partials: Iterable[float], rng: np.random.Generator) -> Samples:
    """A struck bell: inharmonic partials, of which the higher ones die sooner."""
    m = int(3 * decay * RATE)
    t, wave = _clock(m), np.zeros(m)
    for ratio in partials:
        if pitch * ratio < 7000:
            fade = np.exp(-t * (0.5 + 0.5 * ratio) / decay)
            wave += rng.uniform(0.4, 1.0) * fade * np.sin(_TURN * (pitch * ratio * t + rng.uniform()))
    return wave * np.minimum(t / 0.002, 1)


def _church_bell(n: int, rng: np.random.Generator) -> Samples:
    pitch, decay = rng.uniform(260, 620), rng.uniform(0.7, 1.4)
    strike = _strike(pitch, decay, (0.5, 1, 1.19, 1.5, 2, 2.52, 3.01, 4.1), rng)
    return _placed(n, [(t, strike) for t in _times(n, rng, rng.uniform(0.7, 1.4), 0.03)])


def _hand_bell(n: int, rng: np.random.Generator) -> Samples:
    pitch, decay = rng.uniform(800, 2000), rng.uniform(0.2, 0.45)
    strike = _strike(pitch, decay, (1, 2.0, 2.76, 4.2, 5.4), rng)
    return _placed(n, [(t, rng.uniform(0.6, 1) * strike) for t in _times(n, rng, rng.uniform(2.5, 6), 0.08)])


def _gurgling(n: int, rng: np.random.Generator) -> Samples:
    count = int(n / RATE * rng.uniform(10, 25))
    plops = []
    for _ in range(count):
        blip = _ping(rng.uniform(250, 1300), rng.uniform(0.012, 0.04), rng, rng.uniform(0.1, 0.4))
        plops.append((rng.uniform(-0.05, n / RATE), rng.uniform(0.3, 1) * blip))
    return _placed(n, plops) + 0.06 * _band(n, rng, 200, 1500, 0.5)


def _whirr(n: int, rng: np.random.Generator) -> Samples:
    beat, hum = rng.uniform(14, 34), rng.uniform(90, 220)
    air = _band(n, rng, 150, rng.uniform(900, 2500), 0.4) * (1 + rng.uniform(0.4, 0.9) * _sine(beat, n))
    return air + rng.uniform(0.15, 0.6) * _stack(hum, n, (1, 0.6, 0.4, 0.3))


# --- sounds of what is never seen -------------------------------------------------------------------------------------


def _dial(n: int, rng: np.random.Generator) -> Samples:
    shift = rng.uniform(0.93, 1.08)
    tone = _sine(350 * shift, n) + rng.uniform(0.6, 1) * _sine(440 * shift, n)
    if rng.uniform() < 0.4:
        tone = tone * (np.floor(_clock(n) * rng.uniform(2, 4) + rng.uniform()) % 2)
    return tone


def _thunder(n: int, rng: np.random.Generator) -> Samples:
    roll = _band(n, rng, 25, rng.uniform(120, 320), 1.0) * _wander(n, rng, 4) ** 1.5
    crack = _band(n, rng, 60, 2500, 1.0) * np.exp(-np.abs(_clock(n) - rng.uniform(0, n / RATE)) / 0.15)
    return roll + rng.uniform(0, 0.8) * crack


def _typing(n: int, rng: np.random.Generator) -> Samples:
    keys, t = [], rng.uniform(0, 0.2)
    while t < n / RATE:
        press = _ping(rng.uniform(700, 2200), 0.006, rng, 0.0, 1.2)
        keys += [(t, rng.uniform(0.5, 1) * press), (t + rng.uniform(0.05, 0.09), 0.35 * press)]
        t += rng.gamma(3.0, 0.05) + 0.04
    return _placed(n, keys)


def _zap(n: int, rng: np.random.Generator) -> Samples:
    shots, top, decay = [], rng.uniform(2500, 5000), rng.uniform(0.05, 0.12)
    for t in _times(n, rng, rng.uniform(1.5, 5), 0.15):
        m = int(4 * decay * RATE)
        clock = _clock(m)
        sweep = 180 + top * np.exp(-clock / decay)
        shots.append((t, _stack(sweep, m, (1, 0, 0.3)) * np.exp(-clock / decay / 1.5)))
    return _placed(n, shots)


def _water(n: int, rng: np.random.Generator) -> Samples:
    flow = _band(n, rng, rng.uniform(300, 700), rng.uniform(3500, 7000), 0.3) * (0.8 + 0.4 * _wander(n, rng, 3))
    return flow + rng.uniform(0.2, 0.9) * _gurgling(n, rng)


def _kettle(n: int, rng: np.random.Generator) -> Samples:
    pitch = rng.uniform(1700, 3000) * (1 + 0.06 * np.linspace(0, rng.uniform(-1, 1), n))
    shake = 1 + 0.004 * _sine(rng.uniform(8, 20), n)
    return _stack(pitch * shake, n, (1, 0.3, 0.1)) + rng.uniform(0.1, 0.4) * _band(n, rng, 1500, 6500)


_SEEN: dict[str, dict[str, Maker]] = {
    "spinning_wheel": {"Ratchet clicks": _ratchet},
    "bouncing_ball": {"Rubber thud": _thud},
    "swinging_pendulum": {"Clock ticking": _ticking},
    "beating_heart": {"Pulse thumping": _heartbeat},
    "flying_bird": {"Chirp": _chirp, "Whistled song": _song},
    "falling_leaves": {"Dry foliage rustling": _rustling},
    "driving_car": {"Engine idling": _idling, "Engine revving": _revving},
    "blinking_beacon": {"Two-tone horn": _horn, "Wailing siren": _siren},
    "waving_flag": {"Cloth flapping": _flapping},
    "ringing_bell": {"Church bell": _church_bell, "Hand bell": _hand_bell},
    "rising_bubbles": {"Gurgling": _gurgling},
    "rotating_fan": {"Blade whirr": _whirr},
}
_UNSEEN: dict[str, Maker] = {
    "Dial tone": _dial,
    "Thunder rumble": _thunder,
    "Typing": _typing,
    "Laser zap": _zap,
    "Running water": _water,
    "Kettle whistle": _kettle,
}
_MAKERS: dict[str, Maker] = {name: maker for group in (*_SEEN.values(), _UNSEEN) for name, maker in group.items()}

SOUNDS: tuple[str, ...] = tuple(_MAKERS)
SOUND_OF_CLASS: dict[str, tuple[str, ...]] = {label: tuple(makers) for label, makers in _SEEN.items()}
UNRELATED: tuple[str, ...] = tuple(_UNSEEN)


# --- recordings -------------------------------------------------------------------------------------------------------


def perform(name: str, seconds: float, rng: np.random.Generator) -> Wave:
    """A sound alone (N,), of unit root mean square, in a drier or wetter room."""
    n = round(seconds * RATE)
    wave = _MAKERS[name](n, rng)
    if rng.uniform() < 0.5:
        wave = _in_room(wave, rng)
    ramp = min(n, RATE // 100)
    wave[:ramp] *= np.linspace(0, 1, ramp)
    wave[n - ramp :] *= np.linspace(1, 0, ramp)
    return (wave / (np.sqrt(np.mean(wave**2)) + 1e-9)).astype(np.float32)


def _in_room(wave: Samples, rng: np.random.Generator) -> Samples:
    """Add the tail of a small room: noise that decays in 0.04 to 0.15 s."""
    decay, n = rng.uniform(0.04, 0.15), len(wave)
    tail = rng.standard_normal(int(4 * decay * RATE)) * np.exp(-np.arange(int(4 * decay * RATE)) / RATE / decay)
    length = _fast(n + len(tail))
    wet = np.fft.irfft(np.fft.rfft(wave, length) * np.fft.rfft(tail, length), length)[:n]
    return wave + rng.uniform(0.2, 0.7) * wet * (wave.std() / (wet.std() + 1e-12))


def ambience(seconds: float, rng: np.random.Generator) -> Wave:
    """Background noise (N,) of unit root mean square: white to brown, at times with a mains hum."""
    n = round(seconds * RATE)
    wave = _band(n, rng, 30, rng.uniform(2000, 7500), rng.uniform(0.0, 1.1))
    if rng.uniform() < 0.25:
        wave = wave + rng.uniform(0.2, 0.8) * _stack(rng.choice([50.0, 60.0]), n, (1, 0.5, 0.7, 0.2, 0.3))
    return (wave / wave.std()).astype(np.float32)


def synthesize(name: str, seconds: float, rng: np.random.Generator) -> Wave:
    """Record a sound of the bank (N,) within [-0.98, 0.98]: level -34 to -16 dBFS, signal to noise -4 to 28 dB."""
    level, ratio = rng.uniform(-34, -16), rng.triangular(-4, 14, 28)
    wave = perform(name, seconds, rng) + np.float32(10 ** (-ratio / 20)) * ambience(seconds, rng)
    return limited(wave * np.float32(10 ** (level / 20)))


def limited(wave: Wave) -> Wave:
    """Scale a wave down where its peak would clip."""
    peak = float(np.max(np.abs(wave), initial=0.0))
    return wave * np.float32(0.98 / peak) if peak > 0.98 else wave
