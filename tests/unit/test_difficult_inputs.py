"""Videos that go wrong elsewhere: each has a documented outcome, and none costs another clip."""

import json
import re

import ffmpeg
import numpy as np
import pytest
from test_synthesis import index, make, packets, times

from earshot import contracts, media
from helpers import moving_square, tone

WAYS = ("gauss", "h265_abr", "bit_error", "sound_gauss")  # on frames, by an encoder, on packets, on the sound
H264 = {"vcodec": "libx264", "threads": 1}


def source(size="64x48", seconds=1, rate=16, **options):
    """A test picture that moves, as an ffmpeg stream."""
    return ffmpeg.input(f"testsrc2=size={size}:rate={rate}:duration={seconds}", f="lavfi", **options).video


def hum(seconds=1, frequency=440):
    return ffmpeg.input(f"sine=frequency={frequency}:sample_rate=16000:duration={seconds}", f="lavfi").audio


def write(path, *streams, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    media.run_ffmpeg(ffmpeg.output(*streams, str(path), **{**H264, "pix_fmt": "yuv420p", **options}))


def odd(path):
    write(path, source("80x60").filter("format", "yuv444p").filter("crop", 65, 49), hum(), pix_fmt="yuv444p")


def uneven(path):
    write(path, source().filter("setpts", "PTS+gt(N,7)*8/16/TB"), hum(2), fps_mode="passthrough")


def turned(path):
    write(path.with_name("flat.mp4"), source(), hum())
    flat = ffmpeg.input(str(path.with_name("flat.mp4")), display_rotation=90)
    media.run_ffmpeg(flat.output(str(path), c="copy"))
    path.with_name("flat.mp4").unlink()


def deep(path):
    write(path, source(), hum(), vcodec="libx265", pix_fmt="yuv420p10le", **{"x265-params": "log-level=error"})


def hdr(path):
    curve = "log-level=error:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc"
    write(path, source(), hum(), vcodec="libx265", pix_fmt="yuv420p10le", **{"x265-params": curve})


def grey(path):
    write(path, source(), hum(), vcodec="libx264", pix_fmt="gray")


def alpha(path):
    write(path, source().filter("format", "rgba"), hum(), vcodec="qtrle", pix_fmt="argb", acodec="aac")


def late(path):
    """The picture starts 0.5 s after the sound."""
    write(path, source(itsoffset=0.5), hum(2))


def pcm(path):
    write(path, source(), hum(), vcodec="mpeg4", acodec="pcm_s16le")


def xvid(path):
    """As UCF101 is stored: the header counts a frame that no packet holds, and the first one is shown late."""
    write(path, source(), hum(), vcodec="mpeg4", bf=2, vtag="xvid", acodec="libmp3lame")


def two_tracks(path):
    write(path, source(), hum(), hum(frequency=880))


def silent(path):
    write(path, source())


def one_frame(path):
    write(path, source(seconds=0.05), hum())


def tiny(path):
    write(path, source("2x2"), hum())


SOUND = {"silent": "no audio stream"}
CASES = {  # file, maker, expected size, warning in the manifest
    "odd.mp4": (odd, (64, 48), "cut to 64x48"),
    "uneven.mp4": (uneven, (64, 48), ""),
    "turned.mp4": (turned, (48, 64), ""),
    "deep.mp4": (deep, (64, 48), "10-bit samples"),
    "grey.mp4": (grey, (64, 48), ""),
    "alpha.mov": (alpha, (64, 48), "transparency"),
    "late.mp4": (late, (64, 48), ""),
    "pcm.avi": (pcm, (64, 48), ""),
    "xvid.avi": (xvid, (64, 48), ""),
    "two tracks.mp4": (two_tracks, (64, 48), ""),
    "silent.mp4": (silent, (64, 48), ""),
    "one frame.mp4": (one_frame, (64, 48), ""),
    'it\'s "quoted" & spaced/a b.mp4': (two_tracks, (64, 48), ""),
    "tiny.mp4": (tiny, (2, 2), ""),
}


@pytest.fixture(scope="module")
def difficult(tmp_path_factory):
    root = tmp_path_factory.mktemp("difficult")
    for name, (maker, _, _) in CASES.items():
        maker(root / name)
    hdr(root / "hdr.mp4")
    media.write_video(root / "whole.mp4", moving_square(size=64), 16, tone())
    (root / "cut.mp4").write_bytes((root / "whole.mp4").read_bytes()[:-2000])
    write(root / "whole.avi", source(), hum(), vcodec="mpeg4")
    (root / "cut.avi").write_bytes((root / "whole.avi").read_bytes()[:9000])
    (root / "empty.mp4").touch()
    (root / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(5000))
    names = [*CASES, "hdr.mp4", "whole.mp4", "whole.avi", "cut.mp4", "cut.avi", "empty.mp4", "noise.mp4"]
    quoted = [f'"{name.replace(chr(34), chr(34) * 2)}",a,test' for name in names]
    (root / "labels.csv").write_text("path,label,split\n" + "\n".join(quoted) + "\n")
    # two files may not share a clip name
    (root / "labels.csv").write_text((root / "labels.csv").read_text().replace('"whole.avi",a,test\n', ""))
    text = (root / "labels.csv").read_text().replace('"cut.avi"', '"cut off.avi"')
    (root / "cut.avi").rename(root / "cut off.avi")
    (root / "labels.csv").write_text(text)
    return index(root)


@pytest.fixture(scope="module", params=WAYS)
def made(request, difficult, tmp_path_factory):
    out = tmp_path_factory.mktemp(request.param)
    rows = {row["clip_id"]: row for row in make(difficult, out, request.param, severity=1)}
    return request.param, difficult, out, rows


def clip_of(name):
    return name.rpartition(".")[0]


@pytest.mark.parametrize("name", CASES)
def test_outcome(made, name):
    corruption, root, out, rows = made
    row = rows[clip_of(name)]
    clean = {r["clip_id"]: r for r in contracts.read(root / "clips.parquet", contracts.CLIPS)}[clip_of(name)]
    _, size, warning = CASES[name]
    if corruption == "sound_gauss":
        if name == "silent.mp4":
            assert (row["available"], row["problem"]) == (False, "sound_gauss: no audio stream")
            return
        assert packets(root / name, "video") == packets(out / row["video"], "video")
        assert np.diff(times(out / row["video"])) == intervals(root / name)
        return
    if name == "tiny.mp4" and not row["available"]:  # smaller than a block of the codec
        assert corruption == "h265_abr" and "ffmpeg failed" in row["problem"]
        return
    assert row["available"], row["problem"]
    assert (row["width"], row["height"]) == size
    assert row["frames"] == clean["frames"] == (1 if name == "one frame.mp4" else 16)
    assert shape_of_first_frame(out / row["video"]) == (size[1], size[0], 3)
    assert np.diff(times(out / row["video"])) == intervals(root / name)
    assert tracks(out / row["video"]) == tracks(root / name)
    if name != "silent.mp4":
        assert packets(root / name, "audio") == packets(out / row["video"], "audio")
    if corruption != "h265_abr":
        assert warning in " ".join(json.loads((out / f"{clip_of(name)}.json").read_text())["warnings"])


def shape_of_first_frame(path):
    return media.read_frames(path, [0])[0].shape


def intervals(path):
    return pytest.approx(np.diff(times(path)), abs=0.0011)  # Matroska counts milliseconds


def tracks(path):
    import av

    with av.open(str(path)) as container:
        return len(container.streams.audio)


@pytest.mark.parametrize("name", ["late.mp4", "xvid.avi"])
def test_a_picture_that_starts_late_still_starts_late(made, name):
    _, root, out, rows = made
    before, after = times(root / name)[0], times(out / rows[clip_of(name)]["video"])[0]
    assert before > 0.1
    assert after == pytest.approx(before, abs=0.03)


@pytest.mark.parametrize(
    ("clip", "reason"),
    [
        ("cut", "truncated|undecodable"),
        ("cut off", "truncated|undecodable"),
        ("empty", "empty"),
        ("noise", "undecodable"),
    ],
)
def test_a_file_that_cannot_be_used_is_a_row_with_its_reason(made, clip, reason):
    _, _, out, rows = made
    assert not rows[clip]["available"]
    assert re.search(reason, rows[clip]["problem"])
    assert not [path for path in out.iterdir() if path.stem == clip]


def test_high_dynamic_range_is_refused_unless_it_is_allowed(difficult, tmp_path):
    rows = {row["clip_id"]: row for row in make(difficult, tmp_path / "a", "gauss", severity=1)}
    assert rows["hdr"]["problem"].startswith("gauss: high dynamic range (PQ)")
    rows = {row["clip_id"]: row for row in make(difficult, tmp_path / "b", "gauss", severity=1, allow_hdr=True)}
    assert rows["hdr"]["available"]


def test_the_good_clip_among_them_is_made(made):
    assert made[3]["whole"]["available"]
    assert list(made[2].glob(".*")) == []  # no temporary file is left
