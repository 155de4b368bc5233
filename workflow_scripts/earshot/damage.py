"""Decoding with damaged packets: what a tolerant player shows of a video whose bytes were hit on the way.

Every byte of every video packet is replaced by a random one with probability 1 / `rate`, as ffmpeg's bitstream filter `noise`
does: packet headers and the first key frame are not spared, while the container, with its time stamps and the decoder's set-up,
stays whole. The decoder shows what it can and conceals the rest. A frame that never comes out, or comes out in another size, is
replaced by the last good one, before the first good frame by that one, and in a video without any by black.
"""

from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from av.codec.context import Flags
from numpy.typing import NDArray

from earshot.errors import MediaError
from earshot.media import upright

Picture = NDArray[np.uint8]


def damaged_frames(path: str | Path, rate: int, rng: np.random.Generator) -> Iterator[Picture]:
    """Frames (H, W, 3) RGB, display rotation applied: as many as the file has packets with data."""
    times = _times(path)
    shown, last = 0, None
    for time, picture in _decoded(path, rate, rng):
        place = shown if time is None else bisect_left(times, time)
        if place < shown or place >= len(times):
            continue
        last = picture if last is None else last
        for _ in range(shown, place):
            yield last
        yield picture
        shown, last = place + 1, picture
    for _ in range(shown, len(times)):
        yield _black(path) if last is None else last


def _times(path: str | Path) -> list[int]:
    """Presentation times of the packets with data, in order."""
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise MediaError("no video stream")
            packets = [packet for packet in container.demux(video=0) if packet.size]
            times = [packet.dts if packet.pts is None else packet.pts for packet in packets]
    except av.error.FFmpegError as error:
        raise MediaError(f"undecodable: {error.strerror}") from error
    return sorted(time for time in times if time is not None)


def _decoded(path: str | Path, rate: int, rng: np.random.Generator) -> Iterator[tuple[int | None, Picture]]:
    """(time, frame) of what decodes, in the decoder's order."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        context.thread_count = 1  # with several, what is concealed depends on their timing
        context.flags |= Flags.output_corrupt
        size = context.width, context.height
        for packet in container.demux(stream):
            try:
                frames = context.decode(_damaged(packet, rate, rng) if packet.size else None)
            except av.error.FFmpegError:
                continue
            for frame in frames:
                if (frame.width, frame.height) == size:
                    yield frame.pts, upright(frame)


def _damaged(packet: av.Packet, rate: int, rng: np.random.Generator) -> av.Packet:
    payload = np.frombuffer(bytes(packet), np.uint8).copy()
    chances = rng.bit_generator.random_raw(-(-len(payload) // 2)).view(np.uint32)[: len(payload)]
    hit = np.flatnonzero(chances < 2**32 // rate)
    payload[hit] = rng.bit_generator.random_raw(len(hit)).astype(np.uint8)
    copy = av.Packet(len(payload))  # with the padding that decoders read into; a packet made of bytes has none
    copy.update(payload.tobytes())
    copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
    copy.is_keyframe = packet.is_keyframe
    return copy


def _black(path: str | Path) -> Picture:
    """A black frame of the size that the undamaged first one has."""
    with av.open(str(path)) as container:
        return np.zeros_like(upright(next(container.decode(video=0))))
