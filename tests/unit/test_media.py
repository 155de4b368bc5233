"""Decoding, encoding and probing on real small files."""

import numpy as np
import pytest
from scipy.io import wavfile

from earshot import media
from helpers import moving_square, tone


def test_probe_reads_what_was_written(video):
    facts = media.probe(video)
    assert (facts.frames, facts.fps, facts.width, facts.height) == (16, 16.0, 32, 32)
    assert facts.audio_rate == 16_000
    assert facts.duration == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("truncated.mp4", "undecodable"),
        ("cut.mp4", "truncated"),
        ("empty.mp4", "empty"),
        ("text.mp4", "undecodable"),
        ("only sound.mp4", "no video stream"),
        ("absent.mp4", "missing"),
    ],
)
def test_probe_says_what_is_wrong(zoo, name, reason):
    with pytest.raises(media.MediaError, match=reason):
        media.probe(zoo / name)


def test_frames_survive_encoding_closely(video):
    frames = media.read_frames(video)
    assert sorted(frames) == list(range(16))
    clean = moving_square()
    error = np.abs(np.stack([frames[i] for i in range(16)]).astype(int).mean(-1) - clean.mean(-1))
    assert error.mean() < 6  # chroma is subsampled; luminance is not


def test_only_wanted_frames_come_back_and_they_are_the_right_ones(video):
    everything = media.read_frames(video)
    some = media.read_frames(video, [3, 11])
    assert sorted(some) == [3, 11]
    assert all(np.array_equal(some[i], everything[i]) for i in some)


def test_blocks_are_all_frames_in_order(video):
    blocks = list(media.frame_blocks(video, block=5))
    assert [len(block) for block in blocks] == [5, 5, 5, 1]
    everything = media.read_frames(video)
    assert np.array_equal(np.concatenate(blocks), np.stack([everything[i] for i in range(16)]))


@pytest.mark.parametrize("size", [32, 72])  # 72 is no multiple of 16: encoders pad it
def test_same_input_same_bytes(tmp_path, size):
    made = set()
    for i in range(5):
        clutter = [np.random.default_rng(i).bytes(200_000) for _ in range(20)]  # what a fresh buffer may hold
        media.write_video(tmp_path / "a.mp4", moving_square(16, size), 16, tone())
        made.add((tmp_path / "a.mp4").read_bytes())
        assert clutter
    assert len(made) == 1


def test_odd_sizes_lose_their_last_row_and_column(tmp_path):
    media.write_video(tmp_path / "odd.mp4", moving_square(size=33), 16)
    assert (media.probe(tmp_path / "odd.mp4").width, media.probe(tmp_path / "odd.mp4").height) == (32, 32)


def test_wave_is_resampled_and_mixed_down(tmp_path):
    stereo = np.stack([tone(1, 44_100), np.zeros(44_100, np.float32)], 1)
    media.write_video(tmp_path / "stereo.mp4", moving_square(), 16, stereo, 44_100)
    wave = media.read_wave(tmp_path / "stereo.mp4", 16_000)
    assert len(wave) == pytest.approx(16_000, rel=0.1)
    spectrum = np.abs(np.fft.rfft(wave[:16_000]))
    assert spectrum.argmax() == pytest.approx(440, abs=2)


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_mixing_down_keeps_the_level_of_equal_channels(tmp_path, channels):
    wave = tone(1, level=0.9)  # which 3 dB more would clip
    wavfile.write(tmp_path / "loud.wav", 16_000, np.repeat(wave[:, None], channels, 1))
    assert media.read_wave(tmp_path / "loud.wav", 16_000) == pytest.approx(wave, abs=1e-5)


def test_wave_files_round_trip(tmp_path):
    wave = tone()
    media.write_wave(tmp_path / "a.wav", wave, 16_000)
    assert np.abs(media.load_wave(tmp_path / "a.wav") - wave).max() < 1 / 32_000
    media.write_flac(tmp_path / "a.flac", wave, 16_000)
    assert np.abs(media.read_wave(tmp_path / "a.flac", 16_000) - wave).max() < 1 / 32_000


def test_a_clip_without_sound_has_an_empty_wave(zoo):
    assert len(media.read_wave(zoo / "no sound.mp4", 16_000)) == 0


def test_failure_of_ffmpeg_leaves_nothing_behind(tmp_path):
    with pytest.raises(media.MediaError):
        media.write_video(tmp_path / "none.mp4", np.zeros((4, 1, 1, 3), np.uint8), 16)
    assert list(tmp_path.iterdir()) == []


def test_rotation_is_applied(video, tmp_path):
    import ffmpeg

    tall = tmp_path / "tall.mp4"
    media.write_video(tall, moving_square(size=32)[:, :24], 16)
    turned = tmp_path / "turned.mp4"
    media.run_ffmpeg(ffmpeg.input(str(tall), display_rotation=90).output(str(turned), c="copy"))
    assert (media.probe(turned).width, media.probe(turned).height) == (24, 32)
    upright, plain = media.read_frames(turned)[0], media.read_frames(tall)[0]
    assert np.array_equal(upright, np.rot90(plain))
