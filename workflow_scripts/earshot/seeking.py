"""Decoding only the packets that wanted frames depend on, with the pixels and numbers of decoding all frames in order.

A wanted frame needs the packets from the last point before it at which decoding can start up to its own, less those of
pictures that nothing depends on. The headers of H.264 and H.265 units say both. Packets' times give the order of showing, and
frames that the decoder gives in another one end the attempt.
Everything else (other codecs, parameters that change on the way, edit lists, interlaced pictures, damage) is left to the
caller, who decodes all frames in order. Clauses: ITU-T H.264, 7.4.1; ITU-T H.265, 7.4.2.2.
"""

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]

_WORTH = 0.9  # the share of packets above which decoding all of them is as good
_DEEPEST = 16  # frames that a decoder may hold back to bring them in order
_CONTAINERS = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"}  # in others, units may be laid out in another way


class _DoubtfulError(Exception):
    """Decoding in order might treat this file in another way."""


class Unit(NamedTuple):
    """What a packet's header says of its picture.

    start: what follows it in decoding and in showing does not depend on what comes before it;
    spare: no picture of its own temporal layer or of a lower one depends on it.
    """

    start: bool
    spare: bool
    layer: int


@dataclass(frozen=True)
class _Plan:
    """Runs of packets to decode, less the skipped ones; `places` in the order of showing, which are frame numbers."""

    runs: Sequence[range]
    skipped: Sequence[bool]
    places: Sequence[int]
    wanted: frozenset[int]

    @property
    def decoded(self) -> int:
        """How many packets are decoded."""
        return sum(not self.skipped[at] for run in self.runs for at in run)


def pick(path: str | Path, wanted: Collection[int], convert: Callable[[av.VideoFrame], Picture]) -> dict[int, Picture] | None:
    """The wanted frames of the first video stream by number, made arrays by `convert`; those beyond the end are left out.

    None where the answer might differ from that of decoding all frames in order, or would take as long.
    """
    if len(wanted) > _WORTH * (max(wanted) + 1):
        return None
    try:
        plan = plan_of(path, wanted)
        if not plan.wanted or plan.decoded > _WORTH * plan.runs[-1].stop:
            return None
        with av.open(str(path)) as container:
            return _decoded(container, plan, convert)
    except (av.error.FFmpegError, UnicodeDecodeError, _DoubtfulError):
        return None


def plan_of(path: str | Path, wanted: Collection[int]) -> _Plan:
    """Read packets, without decoding, until those of all wanted frames have come, and choose the ones to decode."""
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context if container.streams.video else None
        if context is None or context.name not in _READERS or container.format.name not in _CONTAINERS:
            raise _DoubtfulError
        read, extradata = _READERS[context.name], context.extradata or b""
        width = _length_size(context.name, extradata)
        units, times = [], []
        for packet in islice(_packets(container), max(wanted) + 1 + _DEEPEST):
            if packet.pts is None:
                raise _DoubtfulError
            units.append(read(bytes(packet), width))
            times.append(packet.pts)
    if not units or not units[0].start or len(set(times)) < len(times):
        raise _DoubtfulError
    order = {time: place for place, time in enumerate(sorted(times))}
    places = [order[time] for time in times]
    if places[0] != 0:
        raise _DoubtfulError  # decoders drop pictures that are shown before the first one and lack what they depend on
    if context.reorder_depth and places == list(range(len(places))):
        raise _DoubtfulError  # the decoder will bring pictures in an order that these times do not tell
    return _plan(units, places, frozenset(wanted))


def _packets(container: Any) -> Iterator[av.Packet]:
    """The packets of the first video stream; raises at one that is cut or hidden or changes the decoder's set-up."""
    for packet in container.demux(container.streams.video[0]):
        if packet.is_corrupt or packet.is_discard or any(side.data_type == "new_extradata" for side in packet.iter_sidedata()):
            raise _DoubtfulError
        if packet.size:
            yield packet


def _plan(units: Sequence[Unit], places: Sequence[int], wanted: frozenset[int]) -> _Plan:
    """For each wanted frame, the packets from the last start that it follows in both orders up to its own."""
    starts = [at for at, unit in enumerate(units) if unit.start]
    spans = [(0, 1)]  # the first packet may hold the encoder's mark, by which decoders know old encoders' faults
    for at, place in enumerate(places):
        if place in wanted:
            start = bisect_right(starts, at) - 1
            while places[starts[start]] > place:  # a picture that is shown before a start may depend on what precedes that
                start -= 1
            spans.append((starts[start], at + 1))
    top = max(unit.layer for unit in units)
    skipped = [unit.spare and unit.layer == top and place not in wanted for unit, place in zip(units, places, strict=True)]
    return _Plan(_joined(spans), skipped, places, wanted & set(places))


def _joined(spans: Iterable[tuple[int, int]]) -> list[range]:
    """The union of spans (start, stop), as ranges with gaps between them."""
    runs: list[range] = []
    for start, stop in sorted(spans):
        if runs and start <= runs[-1].stop:
            runs[-1] = range(runs[-1].start, max(stop, runs[-1].stop))
        else:
            runs.append(range(start, stop))
    return runs


def _decoded(container: Any, plan: _Plan, convert: Callable[[av.VideoFrame], Picture]) -> dict[int, Picture]:
    """Decode the runs of a plan; a frame is recognised by its packet's place, never by counting."""
    context = container.streams.video[0].codec_context
    context.thread_count = 1  # clips are worked on in parallel, and a packet's `skip_frame` must hold for that packet
    context.options = {"err_detect": "explode"}  # what is concealed may depend on frames that are skipped here
    packets, position, found = _packets(container), 0, {}
    depth = context.reorder_depth
    for run in plan.runs:
        latest = -1
        for frame in _frames(islice(packets, run.start - position, run.stop - position), run, plan, context):
            if frame.is_corrupt or frame.interlaced_frame or frame.pts is None or frame.pts <= latest:
                raise _DoubtfulError
            latest = frame.pts
            if latest in plan.wanted:
                found[latest] = convert(frame)
        position = run.stop
        context.flush_buffers()
        context.reorder_depth = depth  # a flush may reset it
    if len(found) < len(plan.wanted):
        raise _DoubtfulError
    return found


def _frames(packets: Iterable[av.Packet], run: range, plan: _Plan, context: Any) -> Iterator[av.VideoFrame]:
    """All frames that a run of packets gives, with their places as times."""
    for at, packet in zip(run, packets, strict=True):
        packet.pts = plan.places[at]
        context.skip_frame = "NONREF" if plan.skipped[at] else "DEFAULT"
        yield from context.decode(packet)
    yield from context.decode(None)


def _length_size(codec: str, extradata: bytes) -> int:
    """Bytes of each unit's size in a packet, from the decoder's set-up; raises if units are told apart in another way."""
    at = 4 if codec == "h264" else 21
    if len(extradata) <= at or extradata[0] != 1:
        raise _DoubtfulError
    return (extradata[at] & 3) + 1


def _units(data: bytes, width: int) -> Iterator[bytes]:
    """The units of a packet, each after `width` bytes of its size; raises unless they fill it."""
    stop = 0
    while stop < len(data):
        start = stop + width
        stop = start + int.from_bytes(data[stop:start], "big")
        if not start + 2 <= stop <= len(data):
            raise _DoubtfulError
        yield data[start:stop]


def _h264(data: bytes, width: int) -> Unit:
    """Starts are IDR pictures only: what follows another key frame may depend on what comes before it."""
    heads = [unit[0] for unit in _units(data, width)]
    kinds = [head & 31 for head in heads]
    slices = {head for head, kind in zip(heads, kinds, strict=True) if kind in (1, 5)}
    # besides slices, only supplements, delimiters and filling: parameter sets on the way would be skipped with their packets
    if len(slices) != 1 or not set(kinds) <= {1, 5, 6, 9, 12}:
        raise _DoubtfulError
    (head,) = slices
    return Unit(head & 31 == 5, head & 96 == 0, 0)


def _h265(data: bytes, width: int) -> Unit:
    """Starts are all random access points: only pictures that are shown before one may depend on what comes before it."""
    heads = [(unit[0] >> 1, unit[1] & 7) for unit in _units(data, width)]
    slices = {head for head in heads if head[0] < 32}
    if len(slices) != 1 or not {kind for kind, _ in heads} - {kind for kind, _ in slices} <= {35, 38, 39, 40}:
        raise _DoubtfulError
    ((kind, layer),) = slices
    return Unit(16 <= kind < 24, kind < 16 and kind % 2 == 0, layer)


_READERS: dict[str, Callable[[bytes, int], Unit]] = {"h264": _h264, "hevc": _h265}
