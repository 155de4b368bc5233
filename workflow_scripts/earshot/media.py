"""The module that touches PyAV (as `damage` does) and ffmpeg: probing, decoding, encoding, sound tracks.

Frames are RGB uint8 (T, H, W, 3) with display rotation applied; waves are float32 in [-1, 1] (N,). A file that cannot be
read raises `MediaError`, whose message says what is wrong with it.
"""

import math
import shutil
import subprocess
import threading
import wave as wave_file
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, partial
from itertools import chain
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import av
import ffmpeg
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from earshot.errors import MediaError
from earshot.files import atomic_path
from earshot.seeking import pick

Frames = NDArray[np.uint8]
Wave = NDArray[np.float32]

_UNSHOWN = 2  # frames that a header may count and no packet holds, as AVI files with B-frames do
_UNEVEN = 0.25  # a gap between frames this far from the median, as a share of it, makes the frame rate variable
_BITEXACT = {"fflags": "+bitexact", "flags:v": "+bitexact", "flags:a": "+bitexact", "map_metadata": -1}
# libx264's output depends on its number of threads; one thread a clip, clips in parallel
H264 = {"vcodec": "libx264", "preset": "veryfast", "crf": 18, "pix_fmt": "yuv420p", "threads": 1}
LOSSLESS = {"vcodec": "libx264rgb", "preset": "ultrafast", "qp": 0, "pix_fmt": "rgb24", "threads": 1}
_MP4_SOUND = {"aac", "alac", "ac3", "eac3", "flac", "mp2", "mp3", "mp3float", "opus"}  # others are copied into Matroska
_MP4_PICTURE = {"h264", "hevc", "mpeg4", "av1", "vp9", "libdav1d", "mpeg2video"}
_HDR = {16: "PQ", 18: "HLG"}  # transfer characteristics of ITU-T H.273
_BLOCK_BYTES = 64_000_000  # of decoded frames held at a time
_OF_THREAD = threading.local()


@dataclass(frozen=True)
class Probe:
    """Facts read from a file without decoding more than one frame; `level` of the sound in dBFS, if it was decoded."""

    frames: int
    fps: float
    width: int
    height: int
    duration: float
    audio_rate: int
    bit_rate: int
    remark: str
    level: float = math.nan  # root mean square over all channels; -inf: digital silence; NaN: no sound that can be decoded


@cache
def ffmpeg_binary() -> str:
    """Path of the ffmpeg on PATH, else of the one that imageio-ffmpeg ships."""
    found = shutil.which("ffmpeg")
    if found:
        return found
    import imageio_ffmpeg

    return imageio_ffmpeg.get_ffmpeg_exe()


@cache
def ffmpeg_version() -> str:
    """First line of `ffmpeg -version`."""
    return subprocess.run([ffmpeg_binary(), "-version"], capture_output=True, text=True, check=True).stdout.split("\n")[0]


@dataclass(frozen=True)
class Source:
    """An open video: what decides how its frames are written again, and the frames themselves.

    `sound` names the codecs of all audio tracks; `warnings` say what the conversion to 8-bit RGB loses; `frames()` gives each
    frame with the time at which it is shown, in ticks of `time_base` after the file's own start.
    """

    time_base: Fraction
    fps: Fraction
    bit_rate: int
    container: str
    codec: str
    sound: tuple[str, ...]
    warnings: tuple[str, ...]
    frames: Callable[[], Iterator[tuple[Frames, int]]]

    def suffix(self, keeps_picture: bool = False) -> str:
        """Suffix of a container that takes the audio tracks as they are or, with `keeps_picture`, the video packets."""
        if keeps_picture and self.container == "avi":
            return ".avi"  # its packets have no times that another container would show
        if keeps_picture:
            return ".mp4" if self.codec in _MP4_PICTURE else ".mov" if "mov" in self.container else ".mkv"
        return ".mp4" if set(self.sound) <= _MP4_SOUND else ".mkv"


@contextmanager
def open_video(path: str | Path, allow_hdr: bool = False) -> Iterator[Source]:
    """Open a video to read its frames (H, W, 3) with their times.

    Raises MediaError if the file cannot be read, a frame decodes with errors, or its transfer curve is one of high dynamic
    range, whose conversion without tone mapping would be wrong, unless `allow_hdr`.
    """
    with _open(path) as container:
        if not container.streams.video:
            raise MediaError("no video stream")
        stream = container.streams.video[0]
        context = stream.codec_context
        context.thread_count = 1  # clips are worked on in parallel
        transfer = _HDR.get(int(context.color_trc or 0))
        if transfer and not allow_hdr:
            raise MediaError(f"high dynamic range ({transfer}): convert it to standard range, or set `allow_hdr: true`")
        base = stream.time_base or Fraction(1, 90_000)
        begins = Fraction(container.start_time or 0, av.time_base)
        yield Source(
            time_base=base,
            fps=stream.average_rate or stream.guessed_rate or Fraction(25),
            bit_rate=container.bit_rate or 0,
            container=container.format.name,
            codec=context.name,
            sound=tuple(track.codec_context.name for track in container.streams.audio),
            warnings=tuple(_losses(context.format, transfer)),
            frames=partial(_timed, container, stream, round(begins / base)),
        )


def _losses(pixels: Any, transfer: str | None) -> Iterator[str]:
    if pixels is None:
        return
    depth = max(part.bits for part in pixels.components)
    if depth > 8:
        yield f"{depth}-bit samples ({pixels.name}) were cut to 8 bits"
    if transfer:
        yield f"high dynamic range ({transfer}) was converted without tone mapping"
    if any(part.is_alpha for part in pixels.components):
        yield f"transparency ({pixels.name}) was dropped"


def _timed(container: Any, stream: Any, begins: int) -> Iterator[tuple[Frames, int]]:
    for number, frame in enumerate(container.decode(stream)):
        if frame.is_corrupt:
            raise MediaError(f"undecodable: frame {number} is damaged")
        time = round(number / (stream.average_rate * stream.time_base)) if frame.pts is None else frame.pts - begins
        yield upright(frame), time


@contextmanager
def _open(path: str | Path) -> Iterator[av.container.InputContainer]:
    path = Path(path)
    if not path.exists():
        raise MediaError("missing: no such file")
    if path.stat().st_size == 0:
        raise MediaError("empty: the file has no bytes")
    try:
        with av.open(str(path)) as container:
            yield container
    except (av.error.FFmpegError, UnicodeDecodeError) as error:
        raise MediaError(f"undecodable: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return text.splitlines()[0]


def probe(path: str | Path, listen: bool = False) -> Probe:
    """Read a video's facts from its packets and its first frame and, if `listen`, from its whole first audio track.

    The container's frame count is not trusted: packets are counted, and a file whose packets fall short of what its header
    announces is truncated. Raises MediaError if the file is missing, empty, undecodable, truncated or has no video.
    """
    with _open(path) as container:
        if not container.streams.video:
            raise MediaError("no video stream")
        stream = container.streams.video[0]
        audio = container.streams.audio[0] if container.streams.audio else None
        announced, rate = stream.frames, stream.average_rate or stream.guessed_rate
        first, packets, times = None, 0, []
        track = _Level() if listen and audio else None
        for packet in container.demux([stream, audio] if track and audio else [stream]):
            if track and packet.stream is audio:
                track.hear(packet)
            elif packet.size and packet.pts is not None:
                packets += 1
                times.append(packet.pts)
                if first is None:
                    first = next(iter(stream.decode(packet)), None)
        if first is None:
            first = next(iter(stream.decode(None)), None)
        if first is None or not packets:
            raise MediaError("undecodable: no frame can be decoded")
        if announced - packets > _UNSHOWN:
            raise MediaError(f"truncated: {packets} of {announced} frames")
        height, width = upright(first).shape[:2]
        fps = float(rate) if rate else 0.0
        duration = float(container.duration / av.time_base) if container.duration else packets / max(fps, 1e-6)
        remarks = [*(["variable frame rate"] if _uneven(times) else []), *(track.problems if track else [])]
        hz, level = audio.rate if audio else 0, track.dbfs if track else math.nan
        return Probe(packets, fps, width, height, duration, hz, container.bit_rate or 0, "; ".join(remarks), level)


class _Level:
    """The root mean square of a track that comes packet by packet."""

    def __init__(self) -> None:
        self.power, self.count = 0.0, 0
        self.problems: list[str] = []

    def hear(self, packet: Any) -> None:
        """Decode a packet; what cannot be decoded is a problem, and ends the hearing."""
        if self.problems:
            return
        try:
            for frame in packet.decode():
                samples = _full_scale(frame)
                self.power += float(np.vdot(samples, samples))
                self.count += samples.size
        except av.error.FFmpegError as error:
            self.problems.append(f"sound cannot be decoded: {_reason(error)}")
        if not math.isfinite(self.power):
            self.problems.append("sound with non-finite samples")

    @property
    def dbfs(self) -> float:
        if self.problems or not self.count:
            return math.nan
        return 10 * math.log10(self.power / self.count) if self.power else -math.inf


def _full_scale(frame: Any) -> NDArray[np.float64]:
    """Samples of all channels (N,), full scale being 1."""
    samples = frame.to_ndarray().reshape(-1)
    if samples.dtype.kind == "f":
        return samples.astype(np.float64)
    middle = 128 if samples.dtype == np.uint8 else 0
    return (samples.astype(np.float64) - middle) / 2.0 ** (8 * samples.dtype.itemsize - 1)


def _uneven(times: Sequence[int]) -> bool:
    gaps = np.diff(np.sort(np.asarray(times, dtype=np.int64)))
    middle = np.median(gaps) if len(gaps) else 0
    return bool(len(gaps) and np.any(np.abs(gaps - middle) > max(1, _UNEVEN * middle)))


def upright(frame: av.VideoFrame) -> Frames:
    """A frame (H, W, 3) with the display rotation applied, which PyAV reports and does not apply."""
    picture: Frames = _reformatter().reformat(frame, format="rgb24", threads=1).to_ndarray()  # type: ignore[assignment]
    turned = np.rot90(picture, k=round(frame.rotation / 90) % 4) if frame.rotation else picture
    return np.ascontiguousarray(turned)  # the rows of a narrow frame are padded


def _reformatter() -> VideoReformatter:
    """One for each thread: setting it up, and starting its threads, costs four times what turning a small frame to RGB does."""
    if not hasattr(_OF_THREAD, "reformatter"):
        _OF_THREAD.reformatter = VideoReformatter()
    return _OF_THREAD.reformatter


def frame_blocks(path: str | Path, block: int = 64, every: int = 1) -> Iterator[Frames]:
    """Yield all frames in order, or every n-th, in blocks (<= block, H, W, 3) of bounded size."""
    with _open(path) as container:
        if not container.streams.video:
            raise MediaError("no video stream")
        held: list[Frames] = []
        for number, frame in enumerate(container.decode(video=0)):
            if number % every:
                continue
            held.append(upright(frame))
            if len(held) == min(block, max(1, _BLOCK_BYTES // held[0].nbytes)):
                yield np.stack(held)
                held = []
        if held:
            yield np.stack(held)


def read_frames(path: str | Path, indices: Iterable[int] | None = None) -> dict[int, Frames]:
    """Decode the wanted frames once: {index: (H, W, 3)}; None means all.

    Packets that they do not depend on are skipped where that changes nothing (`seeking`), and decoding stops after the last
    wanted frame. Indices beyond the end are absent from the answer; raises MediaError if no wanted frame could be decoded.
    """
    wanted = None if indices is None else set(indices)
    found = pick(path, wanted, upright) if wanted else None
    if found is None:
        found = decode_in_order(path, wanted)
    if not found:
        raise MediaError("undecodable: none of the wanted frames can be decoded")
    return found


def decode_in_order(path: str | Path, wanted: Collection[int] | None) -> dict[int, Frames]:
    """Decode all frames up to the last wanted one, or to the end: {index: (H, W, 3)} of the wanted ones."""
    last = max(wanted) if wanted else None
    found: dict[int, Frames] = {}
    with _open(path) as container:
        if not container.streams.video:
            raise MediaError("no video stream")
        for index, frame in enumerate(container.decode(video=0)):
            if wanted is None or index in wanted:
                found[index] = upright(frame)
            if index == last:
                break
    return found


def read_wave(path: str | Path, rate: int) -> Wave:
    """Decode the first audio track as mono at `rate` Hz, the mean of its channels: (N,) float32.

    An empty array means that there is no audio track. Raises MediaError if the track cannot be decoded.
    """
    with _open(path) as container:
        if not container.streams.audio:
            return np.zeros(0, np.float32)
        # not mixed down by FFmpeg, which makes equal channels 3 dB louder
        return _samples(container, rate).mean(1, dtype=np.float32)


def level_dbfs(wave: Wave) -> float:
    """Root mean square of a wave (N,) or (N, C) in dBFS; -inf for digital silence or non-finite samples."""
    power = float(np.mean(np.square(wave, dtype=np.float64))) if wave.size else 0.0
    return 10 * math.log10(power) if power > 0 and math.isfinite(power) else -math.inf


def read_sound(path: str | Path) -> tuple[Wave, int]:
    """Decode the first audio track as it is: a wave (N, C) float32 and its rate in Hz; raises MediaError if there is none."""
    with _open(path) as container:
        if not container.streams.audio:
            raise MediaError("no audio stream")
        rate = container.streams.audio[0].rate
        return _samples(container, rate), rate


def _samples(container: Any, rate: int) -> Wave:
    """The first audio track at `rate` Hz: (N, C) float32."""
    stream = container.streams.audio[0]
    resampler = av.AudioResampler(format="flt", layout=stream.layout, rate=rate)
    parts = [out.to_ndarray() for frame in container.decode(stream) for out in resampler.resample(frame)]
    parts += [out.to_ndarray() for out in resampler.resample(None)]
    samples = np.concatenate([part.reshape(-1) for part in parts]) if parts else np.zeros(0)
    return samples.astype(np.float32).reshape(-1, stream.channels)


def write_wave(path: str | Path, wave: Wave, rate: int) -> None:
    """Write (N,) float32 as a 16-bit mono WAV, atomically."""
    with atomic_path(path) as temporary, wave_file.open(str(temporary), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(_to_int16(wave).tobytes())


def load_wave(path: str | Path) -> Wave:
    """Read back what `write_wave` wrote: (N,) float32; raises MediaError for a file that is gone or damaged."""
    try:
        with wave_file.open(str(path), "rb") as file:
            samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
            whole = len(samples) == file.getnframes()
    except (OSError, EOFError, ValueError, wave_file.Error) as error:
        raise MediaError(f"cannot be read from '{path}': {error or type(error).__name__}") from error
    if not whole:
        raise MediaError(f"is cut off in '{path}': delete the folder to extract it again")
    return (samples / 32768).astype(np.float32)


def _to_int16(wave: Wave) -> NDArray[np.int16]:
    return np.clip(np.rint(wave * 32768), -32768, 32767).astype(np.int16)


def write_flac(path: str | Path, wave: Wave, rate: int) -> None:
    """Write (N,) float32 as 16-bit mono FLAC, atomically and with the same bytes each time."""
    source = ffmpeg.input("pipe:", format="s16le", ar=rate, ac=1)
    with atomic_path(path) as temporary:
        output = source.output(str(temporary), acodec="flac", **_BITEXACT)
        run_ffmpeg(output, [_to_int16(wave).tobytes()])


def write_video(path: str | Path, frames: Frames, fps: float, audio: Wave | None = None, audio_rate: int = 16_000) -> None:
    """Encode frames (T, H, W, 3), and a wave (N,) or (N, 2) if given, as H.264 and AAC in MP4; same input, same bytes.

    At a rate that is usual for shared videos (CRF 25, 32 kbit/s), so that starving it further has something to take.

    By the ffmpeg program: encoding in this process would start faster, but gave other bytes from run to run where the width
    is no multiple of 16.
    """
    with atomic_path(path) as temporary:
        if audio is None:
            return _encode(temporary, iter([frames]), fps, crf=25)
        sound = temporary.with_suffix(".s16")
        try:
            sound.write_bytes(_to_int16(audio).tobytes())
            channels = 1 if audio.ndim == 1 else audio.shape[1]
            track = ffmpeg.input(str(sound), format="s16le", ar=audio_rate, ac=channels).audio
            _encode(temporary, iter([frames]), fps, track, crf=25, acodec="aac", audio_bitrate="32k", aac_coder="fast")
        finally:
            sound.unlink(missing_ok=True)


def _encode(path: str | Path, blocks: Iterator[Frames], fps: float, *sound: object, **codec: object) -> None:
    """Pipe blocks of frames (T, H, W, 3) into libx264; odd sizes lose their last row or column: 4:2:0 needs even ones."""
    first = next(blocks, None)
    if first is None:
        raise MediaError("no frames to encode")
    height, width = (size - size % 2 for size in first.shape[1:3])
    rate = Fraction(fps).limit_denominator(1001 * 120)
    raw = ffmpeg.input("pipe:", format="rawvideo", pix_fmt="rgb24", s=f"{width}x{height}", framerate=str(rate))
    feed = (np.ascontiguousarray(block[:, :height, :width]).tobytes() for block in chain([first], blocks))
    run_ffmpeg(ffmpeg.output(raw.video, *sound, str(path), **{**H264, **codec}, **_BITEXACT), feed)


def encode_timed(
    path: str | Path, frames: Iterable[tuple[Frames, int]], source: Source, sound_from: str | Path, options: Mapping[str, Any]
) -> None:
    """Encode frames (H, W, 3) at the times of `source`, copying all audio tracks of `sound_from` packet by packet.

    Frames travel in a container of their own (NUT), because a pipe of raw frames has no times: a variable frame rate and a
    picture that starts after its sound stay as they are. `options` are ffmpeg's encoder options; with a subsampled pixel
    format, odd sizes lose their last row or column.
    """
    timed = iter(frames)
    first = next(timed, None)
    if first is None:
        raise MediaError("no frames to encode")
    # ffmpeg moves the start of each input to 0, and so the picture that starts after the sound
    raw = ffmpeg.input("pipe:", format="nut", itsoffset=float(first[1] * source.time_base))
    base = f"{source.time_base.numerator}/{source.time_base.denominator}"
    shown = max(1, round(1 / (source.fps * source.time_base)))  # a last frame that lasts no time would be lost
    output = ffmpeg.output(
        raw.video, ffmpeg.input(str(sound_from))["a?"], str(path),
        acodec="copy", fps_mode="passthrough", enc_time_base=base,
        **{"bsf:v": f"setts=pts=PTS:dts=DTS:duration={shown}"}, **options, **_BITEXACT,
    )  # fmt: skip
    with _running(output) as pipe:
        _write_nut(pipe, chain([first], timed), source.time_base, even="420" in str(options["pix_fmt"]))


def _write_nut(pipe: IO[bytes], timed: Iterator[tuple[Frames, int]], base: Fraction, even: bool) -> None:
    first, start = next(timed)
    height, width = (size - size % 2 * even for size in first.shape[:2])
    if not (height and width):
        raise MediaError(f"a frame of {first.shape[1]}x{first.shape[0]} is too small to encode")
    with av.open(pipe, "w", format="nut") as container:
        stream = container.add_stream("rawvideo", rate=1 / base)
        stream.width, stream.height, stream.pix_fmt = width, height, "rgb24"
        stream.time_base = stream.codec_context.time_base = base
        for frame, time in chain([(first, start)], timed):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame[:height, :width]), format="rgb24")
            picture.pts, picture.time_base = time, base
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))


def transcode(source: str | Path, path: str | Path, **codec: object) -> None:
    """Re-encode the video of `source` with ffmpeg alone, keeping time stamps and copying the audio packets.

    `codec` are ffmpeg output options such as `vcodec` and `video_bitrate`.
    """
    given = ffmpeg.input(str(source))
    video = given.video.filter("crop", "trunc(iw/2)*2", "trunc(ih/2)*2")
    # no `fps_mode` before ffmpeg 5.1; `vsync` went in 8: the bundled and all current ones know `fps_mode`
    run_ffmpeg(ffmpeg.output(video, given["a?"], str(path), acodec="copy", fps_mode="passthrough", **codec, **_BITEXACT))


def replace_sound(source: str | Path, path: str | Path, wave: Wave, rate: int) -> None:
    """Write `source` with its video packets copied and a wave (N, C) as its only sound: lossless, ALAC or, in AVI, PCM.

    The audio starts where the first track of the source starts.
    """
    sound = Path(path).with_suffix(".s16")
    try:
        sound.write_bytes(_to_int16(wave).tobytes())
        track = ffmpeg.input(str(sound), format="s16le", ar=rate, ac=wave.shape[1], itsoffset=_sound_start(source))
        picture = ffmpeg.input(str(source))["v:0"]
        codec = {"acodec": "pcm_s16le"} if Path(path).suffix == ".avi" else {"acodec": "alac", "sample_fmt": "s16p"}
        run_ffmpeg(ffmpeg.output(picture, track.audio, str(path), vcodec="copy", **codec, **_BITEXACT))
    finally:
        sound.unlink(missing_ok=True)


def _sound_start(path: str | Path) -> float:
    """When the first audio track starts, in seconds after the file's start."""
    with _open(path) as container:
        track = container.streams.audio[0]
        begins = Fraction(container.start_time or 0, av.time_base)
        return float(max(Fraction(0), Fraction(track.start_time or 0) * (track.time_base or Fraction(1, track.rate)) - begins))


def run_ffmpeg(output: ffmpeg.nodes.OutputStream, feed: Iterable[bytes] = ()) -> None:
    """Run a graph, feeding `feed` to its standard input; raises MediaError with ffmpeg's last words if it fails."""
    with _running(output) as pipe:
        for chunk in feed:
            pipe.write(chunk)


@contextmanager
def _running(output: ffmpeg.nodes.OutputStream) -> Iterator[IO[bytes]]:
    """Run a graph while its standard input, which is yielded, is being fed."""
    quiet = output.global_args("-hide_banner", "-loglevel", "error", "-nostats", "-filter_threads", "1")
    command = ffmpeg.compile(quiet, cmd=ffmpeg_binary())
    command.insert(1, "-y")
    with TemporaryFile() as errors:  # a pipe could fill up and stop ffmpeg while it is being fed
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors) as process:
            assert process.stdin
            try:
                with suppress(BrokenPipeError):  # ffmpeg has stopped reading: its exit status and its words, below, say why
                    yield process.stdin
                    process.stdin.close()
            except BaseException:
                process.kill()
                raise
        errors.seek(0)
        words = errors.read().decode(errors="replace").strip()
    if process.returncode:
        raise MediaError(f"ffmpeg failed ({process.returncode}): {words.splitlines()[0] if words else 'no message'}")
