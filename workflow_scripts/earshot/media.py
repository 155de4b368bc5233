"""The only module that touches PyAV and ffmpeg: probing, decoding, encoding, sound tracks.

Frames are RGB uint8 (T, H, W, 3) with display rotation applied; waves are float32 in [-1, 1] (N,). A file that cannot be
read raises `MediaError`, whose message says what is wrong with it.
"""

import shutil
import subprocess
import wave as wave_file
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import chain
from pathlib import Path
from tempfile import TemporaryFile

import av
import ffmpeg
import numpy as np
from numpy.typing import NDArray

from earshot.errors import MediaError
from earshot.files import atomic_path

Frames = NDArray[np.uint8]
Wave = NDArray[np.float32]

_UNEVEN = 0.25  # a gap between frames this far from the median, as a share of it, makes the frame rate variable
_BITEXACT = {"fflags": "+bitexact", "flags:v": "+bitexact", "flags:a": "+bitexact", "map_metadata": -1}
# libx264's output depends on its number of threads; one thread a clip, clips in parallel
H264 = {"vcodec": "libx264", "preset": "veryfast", "crf": 18, "pix_fmt": "yuv420p", "threads": 1}


@dataclass(frozen=True)
class Probe:
    """Facts read from a file without decoding more than one frame."""

    frames: int
    fps: float
    width: int
    height: int
    duration: float
    audio_rate: int
    bit_rate: int
    remark: str


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


def probe(path: str | Path) -> Probe:
    """Read a video's facts from its packets and its first frame.

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
        for packet in container.demux(stream):
            if packet.size and packet.pts is not None:
                packets += 1
                times.append(packet.pts)
                if first is None:
                    first = next(iter(packet.decode()), None)
        if first is None:
            first = next(iter(stream.decode(None)), None)
        if first is None or not packets:
            raise MediaError("undecodable: no frame can be decoded")
        if announced and packets < announced:
            raise MediaError(f"truncated: {packets} of {announced} frames")
        height, width = _upright(first).shape[:2]
        fps = float(rate) if rate else 0.0
        duration = float(container.duration / av.time_base) if container.duration else packets / max(fps, 1e-6)
        remark = "variable frame rate" if _uneven(times) else ""
        return Probe(packets, fps, width, height, duration, audio.rate if audio else 0, container.bit_rate or 0, remark)


def _uneven(times: Sequence[int]) -> bool:
    gaps = np.diff(np.sort(np.asarray(times, dtype=np.int64)))
    middle = np.median(gaps) if len(gaps) else 0
    return bool(len(gaps) and np.any(np.abs(gaps - middle) > max(1, _UNEVEN * middle)))


def _upright(frame: av.VideoFrame) -> Frames:
    """A frame (H, W, 3) with the display rotation applied, which PyAV reports and does not apply."""
    picture: Frames = frame.to_ndarray(format="rgb24")  # type: ignore[assignment]
    return np.rot90(picture, k=round(frame.rotation / 90) % 4) if frame.rotation else picture


def frame_blocks(path: str | Path, block: int = 64) -> Iterator[Frames]:
    """Yield all frames in order, in blocks (<= block, H, W, 3), so that memory stays bounded."""
    with _open(path) as container:
        if not container.streams.video:
            raise MediaError("no video stream")
        held: list[Frames] = []
        for frame in container.decode(video=0):
            held.append(_upright(frame))
            if len(held) == block:
                yield np.stack(held)
                held = []
        if held:
            yield np.stack(held)


def read_frames(path: str | Path, indices: Iterable[int] | None = None) -> dict[int, Frames]:
    """Decode the wanted frames once: {index: (H, W, 3)}; None means all.

    Decoding stops after the last wanted frame. Indices beyond the end are absent from the answer; raises MediaError if
    no wanted frame could be decoded.
    """
    wanted = None if indices is None else set(indices)
    last = max(wanted) if wanted else None
    found: dict[int, Frames] = {}
    with _open(path) as container:
        if not container.streams.video:
            raise MediaError("no video stream")
        for index, frame in enumerate(container.decode(video=0)):
            if wanted is None or index in wanted:
                found[index] = _upright(frame)
            if index == last:
                break
    if not found:
        raise MediaError("undecodable: none of the wanted frames can be decoded")
    return found


def read_wave(path: str | Path, rate: int) -> Wave:
    """Decode the first audio track as mono at `rate` Hz: (N,) float32.

    An empty array means that there is no audio track. Raises MediaError if the track cannot be decoded.
    """
    with _open(path) as container:
        if not container.streams.audio:
            return np.zeros(0, np.float32)
        resampler = av.AudioResampler(format="flt", layout="mono", rate=rate)
        parts = [out.to_ndarray()[0] for frame in container.decode(audio=0) for out in resampler.resample(frame)]
        parts += [out.to_ndarray()[0] for out in resampler.resample(None)]
    return np.concatenate(parts).astype(np.float32) if parts else np.zeros(0, np.float32)


def write_wave(path: str | Path, wave: Wave, rate: int) -> None:
    """Write (N,) float32 as a 16-bit mono WAV, atomically."""
    with atomic_path(path) as temporary, wave_file.open(str(temporary), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(_to_int16(wave).tobytes())


def load_wave(path: str | Path) -> Wave:
    """Read back what `write_wave` wrote: (N,) float32."""
    with wave_file.open(str(path), "rb") as file:
        return (np.frombuffer(file.readframes(file.getnframes()), np.int16) / 32768).astype(np.float32)


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


def encode_blocks(path: str | Path, blocks: Iterable[Frames], fps: float, sound_from: str | Path) -> None:
    """Encode blocks of frames at constant `fps`, copying the audio track of `sound_from`, if any, packet by packet."""
    _encode(path, iter(blocks), fps, ffmpeg.input(str(sound_from))["a?"], acodec="copy")


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


def transcode(source: str | Path, path: str | Path, **codec: object) -> None:
    """Re-encode the video of `source` with ffmpeg alone, keeping time stamps and copying the audio packets.

    `codec` are ffmpeg output options such as `vcodec` and `video_bitrate`.
    """
    given = ffmpeg.input(str(source))
    video = given.video.filter("crop", "trunc(iw/2)*2", "trunc(ih/2)*2")
    # no `fps_mode` before ffmpeg 5.1; `vsync` went in 8: the bundled and all current ones know `fps_mode`
    run_ffmpeg(ffmpeg.output(video, given["a?"], str(path), acodec="copy", fps_mode="passthrough", **codec, **_BITEXACT))


def run_ffmpeg(output: ffmpeg.nodes.OutputStream, feed: Iterable[bytes] = ()) -> None:
    """Run a graph, feeding `feed` to its standard input; raises MediaError with ffmpeg's last words if it fails."""
    command = ffmpeg.compile(output.global_args("-hide_banner", "-loglevel", "error", "-nostats"), cmd=ffmpeg_binary())
    command.insert(1, "-y")
    with TemporaryFile() as errors:  # a pipe could fill up and stop ffmpeg while it is being fed
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors) as process:
            assert process.stdin
            try:
                for chunk in feed:
                    process.stdin.write(chunk)
                process.stdin.close()
            except BrokenPipeError:
                pass  # ffmpeg has stopped reading: its exit status and its words, below, say why
            except BaseException:
                process.kill()
                raise
        errors.seek(0)
        words = errors.read().decode(errors="replace").strip()
    if process.returncode:
        raise MediaError(f"ffmpeg failed ({process.returncode}): {words.splitlines()[0] if words else 'no message'}")
