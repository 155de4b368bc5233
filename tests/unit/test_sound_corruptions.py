"""Corruptions of the sound: levels against READ's measured figures, and what holds for every plug-in."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from earshot import media, plugins
from earshot.corruptions import FAMILIES, sound_codec
from earshot.errors import MediaError, SetupError
from earshot.randomness import numpy_generator
from helpers import tone

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "sound" / "audio.json").read_text())
NAMES = [name for name in plugins.available("corruptions") if name.startswith("sound_")]
BEDS = ("traffic", "crowd", "rain", "thunder", "wind")
NOISES = ("sound_gauss", *(f"sound_{bed}" for bed in BEDS))
RATE = 16_000


def corrupt(name, wave, severity=3, preset="default", seed=0, rate=RATE, beds=""):
    plugin = plugins.load("corruptions", name)
    return plugin.sound(wave, rate, plugin.SPEC.value(preset, severity), numpy_generator(seed), str(beds))


def speech_like(seconds=2.0, channels=1, rate=RATE):
    """A voice whose pitch glides, in syllables, over a faint noise; channels differ in level."""
    t = np.arange(int(seconds * rate)) / rate
    phase = 2 * np.pi * np.cumsum(120 + 20 * np.sin(2 * np.pi * 0.7 * t)) / rate
    voice = sum(np.sin(k * phase) / (1 + k) for k in range(1, 25)) * np.maximum(np.sin(2 * np.pi * 4 * t), 0)
    voice += 0.02 * np.random.default_rng(0).standard_normal(len(t))
    return (0.4 * voice / np.abs(voice).max() * np.linspace(1, 0.5, channels)[:, None]).T.astype(np.float32)


def rms(signal):
    return float(np.sqrt(np.mean(np.square(signal, dtype=np.float64))))


@pytest.fixture
def beds(tmp_path):
    """A folder of recordings shorter than the clips, at another rate than theirs."""
    noise = np.random.default_rng(1).standard_normal((5, 8_000))
    for name, samples in zip(BEDS, noise, strict=True):
        media.write_wave(tmp_path / f"{name}.wav", (0.05 * samples).astype(np.float32), 22_050)
    return tmp_path


def test_all_are_there():
    others = ("sound_clipping", "sound_reverb", "sound_codec", "sound_dropout", "sound_offset")
    assert set(NAMES) >= {*NOISES, *others}


@pytest.mark.parametrize("name", NAMES)
def test_facts_are_complete(name):
    spec = plugins.load("corruptions", name).SPEC
    assert spec.family in FAMILIES and spec.family == "sound"
    assert all(len(values) == 5 for values in spec.severities.values())
    assert ("read" in spec.severities) == (name in NOISES)


@pytest.mark.parametrize("severity", range(1, 6))
def test_gauss_as_measured_on_read(severity):
    sine = tone(20)[:, None]
    out, facts = corrupt("sound_gauss", sine, severity, "read")
    expected = {key: GOLDEN["gaussian"][key][severity - 1] for key in ("resid_sd", "snr_db", "clip_frac")}
    residual = out.astype(np.float64) - sine
    assert residual.std() == pytest.approx(expected["resid_sd"], rel=0.005)
    assert 20 * np.log10(rms(sine) / rms(residual)) == pytest.approx(expected["snr_db"], abs=0.05)
    assert facts["snr_db_saturated"] == pytest.approx(expected["snr_db"], abs=0.05)
    assert np.mean(np.abs(out) >= 1) == facts["saturated_share"] == pytest.approx(expected["clip_frac"], rel=0.06, abs=4e-5)


@pytest.mark.parametrize("severity", range(1, 6))
def test_overlay_as_measured_on_read(severity, tmp_path):
    """A bed shorter than the clip, from time 0, by the gain relative to its own level; every sample kept."""
    bed = tone(1.0, hertz=1000, level=0.1)
    media.write_wave(tmp_path / "rain.wav", bed, RATE)
    clip = tone(4.0, level=0.2)[: GOLDEN["overlay"]["samples_in"], None]
    out, facts = corrupt("sound_rain", clip, severity, "read", beds=tmp_path)
    residual, repeated = (out - clip)[:, 0].astype(np.float64), np.resize(bed, len(clip))
    assert out.shape == clip.shape
    factor = residual @ repeated / (repeated @ repeated)
    assert factor == pytest.approx(GOLDEN["overlay"]["amplitude_factor"][severity - 1], abs=0.001)
    assert factor == pytest.approx(GOLDEN["overlay"]["measured_factor"][severity - 1], rel=0.002)
    assert np.abs(residual - factor * repeated).max() < 1e-4  # 16 bits of the WAV
    assert facts["bed"] == "rain.wav"
    assert facts["bed_sha256"] == hashlib.sha256((tmp_path / "rain.wav").read_bytes()).hexdigest()


def test_the_exact_sample_count_of_read_is_kept():
    clip = speech_like(4)[: GOLDEN["overlay"]["samples_in"]]
    assert len(clip) == 48_007
    assert all(corrupt(name, clip)[0].shape == clip.shape for name in NAMES)


@pytest.mark.parametrize("name", NOISES)
@pytest.mark.parametrize("own", [True, False])
def test_the_ratio_is_met_before_saturation(name, own, beds):
    clip = 0.2 * speech_like(channels=2)
    for severity, wanted in enumerate((20, 10, 5, 0, -5), start=1):
        out, facts = corrupt(name, clip, severity, beds=beds if own else "")
        assert facts["snr_db"] == pytest.approx(wanted, abs=0.1)
        if not facts["saturated_share"]:
            assert 20 * np.log10(rms(clip) / rms(out.astype(np.float64) - clip)) == pytest.approx(wanted, abs=0.1)
    if name != "sound_gauss":
        assert facts["bed"] == (f"{name.removeprefix('sound_')}.wav" if own else "synthetic")


def test_saturation_is_stated():
    clip = np.clip(4 * speech_like(), -1, 1)
    out, facts = corrupt("sound_gauss", clip, 5)
    assert np.abs(out).max() == 1
    assert 0.05 < facts["saturated_share"] < 1
    assert facts["snr_db"] == pytest.approx(-5, abs=0.1) and facts["snr_db_saturated"] > -4.8


@pytest.mark.parametrize("name", NAMES)
def test_shapes_and_determinism(name):
    for channels, count in ((1, 1), (1, 4001), (2, 4001), (6, 3000), (2, 0)):
        clip = speech_like(0.5, channels)[:count]
        before = clip.copy()
        out, facts = corrupt(name, clip)
        again, same = corrupt(name, clip)
        assert out.shape == clip.shape and out.dtype == np.float32
        assert np.isfinite(out).all() and np.abs(out).max(initial=0) <= 1
        assert out.tobytes() == again.tobytes() and facts == same
        assert np.array_equal(clip, before)
        json.dumps(facts, allow_nan=False)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "sound_codec"])
def test_another_seed_is_another_draw(name):
    spec = plugins.load("corruptions", name).SPEC
    clip = speech_like(1.0)
    same = np.array_equal(corrupt(name, clip, seed=1)[0], corrupt(name, clip, seed=2)[0])
    assert same == (spec.randomness == "none")


@pytest.mark.parametrize("name", NAMES)
def test_silence(name):
    clip = np.zeros((8000, 2), np.float32)
    out, facts = corrupt(name, clip)
    assert np.abs(out).max() < 1e-3
    if name in NOISES:
        assert np.array_equal(out, clip) and facts["snr_db"] is None and "silence" in facts["note"]
        noisy, facts = corrupt(name, clip, preset="read")
        assert np.any(noisy) and facts["snr_db"] is None


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_samples_that_are_no_numbers(name, bad):
    clip = speech_like(0.1)
    clip[7] = bad
    with pytest.raises(MediaError, match="sound with non-finite samples"):
        corrupt(name, clip)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "sound_offset"])
def test_distance_grows_with_severity(name):
    clip = speech_like(3.0)
    for preset in plugins.load("corruptions", name).SPEC.severities:
        distances = [rms(corrupt(name, clip, severity, preset)[0].astype(float) - clip) for severity in range(1, 6)]
        assert distances == sorted(distances) and distances[0] > 0 and distances[4] > 1.2 * distances[0], distances


def test_gauss_and_reverb_draw_per_channel_and_beds_do_not():
    clip = np.repeat(speech_like(), 2, axis=1)
    for name, alike in (("sound_gauss", False), ("sound_reverb", False), ("sound_rain", True)):
        out, _ = corrupt(name, clip)
        assert np.array_equal(out[:, 0], out[:, 1]) == alike


def test_a_missing_recording_is_named_with_the_way_out(tmp_path):
    with pytest.raises(SetupError, match=r"no noise recording 'crowd\.wav' .*put one there, or .*synthetic"):
        corrupt("sound_crowd", speech_like(0.1), beds=tmp_path)


def test_a_useless_recording_is_named(tmp_path):
    media.write_wave(tmp_path / "crowd.wav", np.zeros(1000, np.float32), RATE)
    (tmp_path / "wind.wav").write_bytes(b"no sound")
    for name in ("crowd", "wind"):
        with pytest.raises(SetupError, match=rf"noise recording '.*{name}\.wav'"):
            corrupt(f"sound_{name}", speech_like(0.1), beds=tmp_path)


def test_a_long_recording_starts_at_random_under_snr_and_at_0_under_read(tmp_path):
    bed = np.linspace(-0.5, 0.5, 20_000, dtype=np.float32)  # tells where a piece was taken
    media.write_wave(tmp_path / "wind.wav", bed, RATE)
    quiet = np.full((1000, 1), 1e-3, np.float32)
    firsts = {float(corrupt("sound_wind", quiet, 1, "read", seed, beds=tmp_path)[0][0, 0]) for seed in range(5)}
    assert len(firsts) == 1
    firsts = {float(corrupt("sound_wind", quiet, 1, seed=seed, beds=tmp_path)[0][0, 0]) for seed in range(5)}
    assert len(firsts) == 5


def test_a_pause_in_a_recording_is_not_taken(tmp_path):
    bed = np.zeros(60_000, np.float32)
    bed[30_000:30_100] = tone(1)[:100]
    media.write_wave(tmp_path / "thunder.wav", bed, RATE)
    facts = [corrupt("sound_thunder", speech_like(0.05), seed=seed, beds=tmp_path)[1] for seed in range(10)]
    assert all(row["snr_db"] == pytest.approx(5, abs=0.1) for row in facts)


def test_a_stand_in_repeats_without_a_click():
    for bed in BEDS:
        made = plugins.load("corruptions", f"sound_{bed}").stand_in(8000, numpy_generator(bed))
        assert len(made) == 80_000
        assert abs(made[0] - made[-1]) < 6 * rms(np.diff(made))


def test_stand_ins_have_their_bands():
    """Share of the energy below 500 Hz: rumbling ones hold nearly all of it there, hissing ones nearly none."""
    for bed, least, most in (
        *(("traffic", 0.6, 1), ("wind", 0.99, 1), ("thunder", 0.95, 1)),
        *(("rain", 0, 0.05), ("crowd", 0.2, 0.85)),
    ):
        power = np.abs(np.fft.rfft(plugins.load("corruptions", f"sound_{bed}").stand_in(RATE, numpy_generator(bed)))) ** 2
        assert least <= power[:5000].sum() / power.sum() <= most, bed


def test_clipping_cuts_the_wanted_share():
    clip = speech_like(channels=2)
    for severity, share in enumerate((0.01, 0.05, 0.10, 0.20, 0.40), start=1):
        out, facts = corrupt("sound_clipping", clip, severity)
        assert np.mean(out != clip) == pytest.approx(share, abs=0.001) == facts["cut_share"]
        assert np.abs(out).max() == pytest.approx(facts["threshold"])


def test_clipping_leaves_a_clip_with_long_pauses_its_sound():
    clip = np.concatenate([speech_like(), np.zeros((96_000, 1), np.float32)])
    out, facts = corrupt("sound_clipping", clip, 5)
    assert facts["threshold"] > 0 and np.any(out)
    assert facts["cut_share"] == pytest.approx(0.4 / 4, abs=0.001)


def test_reverb_keeps_the_level_and_decays_as_stated():
    click = np.zeros((3 * RATE, 1), np.float32)
    click[100] = 0.5
    for severity, (rt60, ratio) in enumerate(((0.3, 10), (0.6, 5), (1.0, 0), (1.5, -3), (2.5, -6)), start=1):
        out, facts = corrupt("sound_reverb", click, severity)
        power = out[:, 0].astype(np.float64) ** 2
        assert power[:100].sum() < 1e-12
        assert 10 * np.log10(power[100] / power[101:].sum()) == pytest.approx(ratio, abs=0.05)
        left = 10 * np.log10(power[100 + int(rt60 * RATE / 2) :].sum() / power[101:].sum())
        assert left == pytest.approx(-30, abs=1)  # half of RT60, half of 60 dB
        assert rms(out) == pytest.approx(rms(click), rel=1e-3)
        assert facts["rt60_s"] == rt60 and facts["direct_to_reverberant_db"] == ratio


def test_codec_is_aligned_with_the_clip():
    for rate in (RATE, 44_100):
        clip = speech_like(1.3, rate=rate)[:, 0]
        for severity, most in ((1, 1), (5, 0.0003 * rate)):  # the speech coder's own shift is about 0.1 ms
            out, facts = corrupt("sound_codec", clip[:, None], severity, rate=rate)
            size = 2 * len(clip)
            products = np.fft.irfft(np.fft.rfft(out[:, 0], size) * np.fft.rfft(clip, size).conj())
            lag = (int(products.argmax()) + size // 2) % size - size // 2
            assert abs(lag) <= most, (rate, severity, lag)
            assert facts["codec"] == "libopus"


def test_codec_codes_each_channel_alone():
    clip = speech_like(0.4, 2)
    assert np.array_equal(corrupt("sound_codec", clip)[0][:, 1:], corrupt("sound_codec", clip[:, 1:])[0])


def test_codec_names_the_encoder_that_is_missing(monkeypatch):
    monkeypatch.setattr(sound_codec, "_ENCODER", "libnone")
    sound_codec._require_encoder.cache_clear()
    with pytest.raises(SetupError, match="no encoder 'libnone'"):
        corrupt("sound_codec", speech_like(0.1))
    sound_codec._require_encoder.cache_clear()


@pytest.mark.parametrize("seconds", [0.3, 2.0, 12.3])
def test_dropout_silences_the_wanted_share(seconds):
    clip = np.full((int(seconds * RATE), 2), 0.1, np.float32)
    for severity, share in enumerate((0.10, 0.25, 0.50, 0.75, 1.0), start=1):
        for seed in range(5):
            out, facts = corrupt("sound_dropout", clip, severity, seed=seed)
            silent = (out == 0).all(axis=1)
            assert np.array_equal(silent, (out == 0).any(axis=1))
            assert silent.mean() == pytest.approx(share, abs=1 / len(clip)) == facts["silent_share"]


def test_dropout_gaps_are_of_50_to_500_ms():
    clip = np.full((60 * RATE, 1), 0.1, np.float32)
    out, facts = corrupt("sound_dropout", clip, 1)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], out[:, 0] == 0, [0]]).astype(int)))
    lengths = np.sort(edges[1::2] - edges[::2]) / RATE
    assert 10 < len(lengths) == facts["gaps"]
    assert lengths[1] >= 0.05 and lengths[-1] <= 0.5  # one gap is cut to meet the share


@pytest.mark.parametrize("rate", [RATE, 11_025])
def test_offset_is_exact(rate):
    clip = speech_like(3.1, 2, rate)
    for severity, late in enumerate((0.25, 0.5, 1.0, 2.0, 4.0), start=1):
        out, facts = corrupt("sound_offset", clip, severity, rate=rate)
        samples = round(late * rate)
        assert facts["offset_s"] == pytest.approx(late, abs=0.51 / rate)
        assert not out[:samples].any()
        assert np.array_equal(out[samples:], clip[: max(0, len(clip) - samples)])
