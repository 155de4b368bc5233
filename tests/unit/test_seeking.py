"""Seeking gives the numbers and pixels of decoding all of them, and decodes less."""

import subprocess
from functools import cache

import av
import numpy as np
import pytest

from earshot import media, seeking

FRAMES = 60
SHAPE = "testsrc2=size=96x64:rate=25"
H264 = "-c:v libx264 -preset veryfast"
H265 = "-c:v libx265 -preset ultrafast -x265-params log-level=error"

PICKED = {  # name: options of the encoder
    "gop.mp4": f"{H264} -g 12 -x264-params b-pyramid=normal:bframes=5:b-adapt=0",
    "gop.mkv": f"{H264} -g 12",
    "pyramid.mp4": f"{H264} -g 20 -x264-params b-pyramid=strict:bframes=8:b-adapt=0:ref=6",
    "single gop.mp4": f"{H264} -x264-params bframes=3:b-adapt=0",
    "open gop.mp4": f"{H264} -g 12 -x264-params open-gop=1:bframes=3:b-adapt=0",
    "refresh.mp4": f"{H264} -g 12 -bf 2 -x264-params intra-refresh=1:b-adapt=0",
    "all intra.mp4": f"{H264} -g 1",
    "no b.mp4": f"{H264} -g 12 -bf 0",
    "baseline.mp4": f"{H264} -g 12 -profile:v baseline",
    "slices.mp4": f"{H264} -g 12 -x264-params slices=4",
    "444.mp4": f"{H264} -g 12 -pix_fmt yuv444p10le",
    "lossless.mp4": "-c:v libx264rgb -preset ultrafast -qp 0 -g 12 -pix_fmt rgb24",
    "fragments.mp4": f"{H264} -g 12 -movflags frag_keyframe+empty_moov",
    "h265.mp4": f"{H265}:keyint=12:bframes=4:b-adapt=0:b-pyramid=1",
    "h265.mkv": f"{H265}:keyint=12:open-gop=0",
    "h265 leading.mp4": f"{H265}:keyint=12:open-gop=0:radl=2:bframes=3:b-adapt=0",
    "h265 layers.mp4": f"{H265}:keyint=24:temporal-layers=3:bframes=3:b-adapt=0",
    "h265 10 bit.mp4": f"{H265}:keyint=12 -pix_fmt yuv420p10le",
}
IN_ORDER = {
    "fields.mp4": f"{H264} -g 12 -x264-params interlaced=1",
    "stream.ts": f"{H264} -g 12",
    "h264.avi": f"{H264} -g 12",
    "fields.avi": "-c:v mpeg4 -bf 2 -flags +ildct+ilme",
    "mpeg4.avi": "-c:v mpeg4 -bf 2 -vtag XVID -g 12",
    "mpeg4.mp4": "-c:v mpeg4 -bf 2 -g 30",
    "vp9.webm": "-c:v libvpx-vp9 -cpu-used 6 -b:v 100k -lag-in-frames 25 -g 12",
    "mpeg2.mkv": "-c:v mpeg2video -bf 2",
    "mjpeg.avi": "-c:v mjpeg -pix_fmt yuvj420p",
    "vp8.webm": "-c:v libvpx -g 12 -auto-alt-ref 1 -lag-in-frames 16 -b:v 200k",
}


@cache
def encoders():
    listed = subprocess.run([media.ffmpeg_binary(), "-hide_banner", "-encoders"], capture_output=True, text=True, check=True)
    return {line.split()[1] for line in listed.stdout.splitlines() if line.startswith(" V")}


def ffmpeg(folder, arguments, path):
    subprocess.run([media.ffmpeg_binary(), "-y", "-loglevel", "error", *arguments, str(path)], check=True, cwd=folder)
    return path


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """Encode a noisy test picture of 60 frames into a file, once."""
    root = tmp_path_factory.mktemp("seeking")

    def made(name, options):
        path = root / name
        if not path.exists():
            codec = options.split()[1]
            if codec not in encoders():
                pytest.skip(f"needs an ffmpeg with {codec}")
            source = f"-f lavfi -i {SHAPE}:duration={FRAMES / 25} -vf noise=alls=10:allf=t -pix_fmt yuv420p -threads 1"
            ffmpeg(root, [*source.split(), *options.split()], path)
        return path

    return made


@cache
def all_frames(path):
    return media.decode_in_order(path, None)


def subsets(count, tries=5):
    """Sets of frame numbers, few to many."""
    rng = np.random.default_rng(count)
    yield {count - 1}
    yield set(np.linspace(0, count - 1, 8).astype(int).tolist())
    for _ in range(tries):
        yield set(rng.choice(count, rng.integers(1, max(2, count // rng.choice([2, 5, 20]))), replace=False).tolist())


def check(path):
    """Compare `read_frames` with decoding in order; how often frames were picked."""
    everything = all_frames(path)
    picked = 0
    for wanted in subsets(len(everything)):
        found = media.read_frames(path, wanted)
        assert found.keys() == wanted
        assert all(np.array_equal(found[number], everything[number]) for number in wanted)
        picked += seeking.pick(path, wanted, media.upright) is not None
    return picked


@pytest.mark.parametrize("name", PICKED)
def test_picked_frames_are_those_of_decoding_in_order(make, name):
    assert check(make(name, PICKED[name])) > 2


@pytest.mark.parametrize("name", IN_ORDER)
def test_other_streams_are_decoded_in_order(make, name):
    assert check(make(name, IN_ORDER[name])) == 0


def test_variable_frame_rate(make):
    times = "setpts='PTS+gt(N,20)*8/25/TB+gt(N,40)*0.013/TB'"
    path = make("uneven.mp4", f"{H264} -g 12 -vf {times} -fps_mode passthrough")
    assert media.probe(path).remark == "variable frame rate"
    assert check(path) > 2


def test_rotation(make, tmp_path):
    source = make("gop.mp4", PICKED["gop.mp4"])
    turned = ffmpeg(tmp_path, ["-display_rotation", "90", "-i", source, "-c", "copy"], tmp_path / "turned.mp4")
    assert check(turned) > 2
    assert media.read_frames(turned, [50])[50].shape == (96, 64, 3)


def test_a_picture_that_starts_late(tmp_path):
    source = f"-itsoffset 0.7 -f lavfi -i {SHAPE}:duration=2 -f lavfi -i sine=duration=3 -pix_fmt yuv420p {H264} -g 12"
    assert check(ffmpeg(tmp_path, source.split(), tmp_path / "late.mp4")) > 2


@pytest.mark.parametrize("name", ["open gop.mp4", "h265.mp4"])
def test_pictures_that_lack_what_they_depend_on(make, tmp_path, name):
    """Cut at a key frame, such a stream begins with pictures that decoders drop."""
    source = make(name, PICKED[name])
    cut = ffmpeg(tmp_path, ["-ss", "0.7", "-i", source, "-c", "copy", "-copyinkf"], tmp_path / f"cut.{name[-3:]}")
    check(cut)


def test_a_stream_that_begins_with_pictures_that_cannot_be_decoded(make, tmp_path):
    """H.265 from its second random access point on: numbers of packets and of frames are not the same."""
    source = make("h265.mp4", PICKED["h265.mp4"])
    for suffix in ("mkv", "mp4"):
        path = tmp_path / f"late.{suffix}"
        with av.open(str(source)) as given, av.open(str(path), "w") as out:
            stream, starts, written = out.add_stream_from_template(given.streams.video[0]), 0, 0
            for packet in given.demux(video=0):
                starts += packet.is_keyframe
                if starts > 1 and packet.size:
                    packet.stream = stream
                    out.mux(packet)
                    written += 1
        assert len(all_frames(path)) < written
        assert check(path) == 0


def test_a_change_of_set_up_on_the_way(make, tmp_path):
    names = "gop.mp4", "pyramid.mp4"
    (tmp_path / "list").write_text("".join(f"file '{make(name, PICKED[name])}'\n" for name in names))
    joined = ["-f", "concat", "-safe", "0", "-i", "list", "-c", "copy"]
    for suffix in ("mp4", "mkv"):
        path = ffmpeg(tmp_path, joined, tmp_path / f"joined.{suffix}")
        assert len(all_frames(path)) == 2 * FRAMES
        check(path)
        assert seeking.pick(path, {100}, media.upright) is None


def test_times_that_contradict_the_order_of_showing(make, tmp_path):
    """Files whose times of showing are those of decoding: the decoder's order counts."""
    source = make("gop.mp4", PICKED["gop.mp4"])
    path = ffmpeg(tmp_path, ["-i", source, "-c", "copy", "-bsf:v", "setts=pts=DTS"], tmp_path / "flat.mp4")
    assert check(path) == 0


def sparse(name, wanted, make):
    path = make(name, PICKED[name])
    return seeking.plan_of(path, wanted).decoded


def test_few_packets_are_decoded_for_few_frames(make):
    assert sparse("gop.mp4", {13, 50}, make) <= 2 * 12  # of two groups of twelve, and the first packet
    assert sparse("all intra.mp4", {13, 50}, make) == 3
    assert sparse("h265.mp4", {13, 50}, make) <= 3 * 12  # a group begins with pictures that need the one before it
    assert sparse("single gop.mp4", {40}, make) < 30  # half of the bidirectional ones are left out


def test_numbers_beyond_the_end_are_left_out(make):
    path = make("gop.mp4", PICKED["gop.mp4"])
    found = media.read_frames(path, [3, np.int64(30), 60, 1000])
    assert sorted(found) == [3, 30]
    assert np.array_equal(found[30], all_frames(path)[30])
    with pytest.raises(media.MediaError, match="none of the wanted"):
        media.read_frames(path, [60, 61])


def test_all_or_nearly_all_frames_are_decoded_in_order(make):
    path = make("gop.mp4", PICKED["gop.mp4"])
    assert media.read_frames(path).keys() == set(range(FRAMES))
    assert seeking.pick(path, set(range(58)), media.upright) is None
    assert seeking.pick(make("no b.mp4", PICKED["no b.mp4"]), set(range(0, FRAMES, 2)), media.upright) is None


def outcome(read):
    try:
        return read()
    except media.MediaError:
        return None


@pytest.mark.parametrize("name", ["gop.mp4", "gop.mkv", "h265.mkv"])
def test_truncated_files(make, tmp_path, name):
    source = make(name, PICKED[name])
    if name == "gop.mp4":  # with its index ahead of the data
        source = ffmpeg(tmp_path, ["-i", source, "-c", "copy", "-movflags", "+faststart"], tmp_path / "fast.mp4")
    whole = source.read_bytes()
    for share in (0.2, 0.6, 0.99):
        cut = tmp_path / f"cut{share}.{name[-3:]}"
        cut.write_bytes(whole[: int(len(whole) * share)])
        for wanted in subsets(FRAMES, 1):
            found = outcome(lambda cut=cut, wanted=wanted: media.read_frames(cut, wanted))
            expected = outcome(lambda cut=cut, wanted=wanted: media.decode_in_order(cut, wanted) or None)
            assert (found is None) == (expected is None)
            if found:
                assert found.keys() == expected.keys()
                assert all(np.array_equal(found[number], expected[number]) for number in found)


@pytest.mark.parametrize("name", ["gop.mp4", "open gop.mp4", "gop.mkv"])
def test_damaged_bytes_never_give_another_frame(make, tmp_path, name):
    """What is picked from a damaged file is undamaged or what decoding in order gives, which may have lost frames before."""
    source = make(name, PICKED[name])
    undamaged, whole = all_frames(source), source.read_bytes()
    for seed in range(12):
        rng = np.random.default_rng(seed)
        hit = np.frombuffer(whole, np.uint8).copy()
        places = rng.integers(len(whole) // 5, len(whole) * 4 // 5, 1 + 5 * (seed % 3))
        hit[places] = rng.integers(0, 256, len(places))
        path = tmp_path / f"{seed}.{name[-3:]}"
        path.write_bytes(hit.tobytes())
        wanted = set(rng.choice(FRAMES, 6, replace=False).tolist())
        picked = seeking.pick(path, wanted, media.upright)
        expected = outcome(lambda path=path: media.decode_in_order(path, None))
        for number, frame in picked.items() if picked and expected else ():
            possible = [expected[number - lost] for lost in range(4) if number - lost in expected]
            assert any(np.array_equal(frame, other) for other in [undamaged[number], *possible]), (seed, number)


@pytest.mark.parametrize("name", ["gop.mp4", "no b.mp4"])
def test_a_decoding_error_leads_to_decoding_in_order(make, tmp_path, name):
    source = make(name, PICKED[name])
    with av.open(str(source)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][1]
    hit = bytearray(source.read_bytes())
    hit[packet.pos + packet.size // 4 : packet.pos + packet.size] = bytes(packet.size - packet.size // 4)
    path = tmp_path / f"hit.{name[-3:]}"
    path.write_bytes(hit)
    assert seeking.pick(path, {4, 8}, media.upright) is None
    found, expected = media.read_frames(path, {4, 8}), media.decode_in_order(path, {4, 8})
    assert all(np.array_equal(found[number], expected[number]) for number in (4, 8))


def test_files_that_are_no_videos(zoo):
    for name in ("text.mp4", "empty.mp4", "only sound.mp4", "absent.mp4"):
        assert seeking.pick(zoo / name, {3}, media.upright) is None
        with pytest.raises(media.MediaError):
            media.read_frames(zoo / name, {3})
