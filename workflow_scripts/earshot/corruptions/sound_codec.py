"""Lossy coding of the sound: encoded as Opus at a constant bit rate by ffmpeg's libopus, and decoded.

Each channel is coded alone, as a mono stream at `value` kbit/s, so that stereo and surround are hit alike and the low-frequency
channel of 5.1 keeps its band. The codec's delay is removed and the sample count kept; below some 16 kbit/s libopus changes to
its speech coder, which leaves a shift of about 0.1 ms. Source: ours; Opus is RFC 6716.
"""

import subprocess
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import ffmpeg
import numpy as np

from earshot import media
from earshot.corruptions import Corruption
from earshot.corruptions._sound import Facts, Wave, guarded
from earshot.errors import SetupError

SPEC = Corruption(
    "Lossy coding of the sound",
    family="sound",
    unit="kbit/s per channel",
    severities={"default": (32, 24, 16, 12, 8)},
    source="ours; Opus, RFC 6716",
)
_ENCODER = "libopus"


@guarded
def sound(wave: Wave, rate: int, value: int, rng: np.random.Generator, beds: str) -> tuple[Wave, Facts]:
    """Encode a wave (N, C) at `value` kbit/s per channel and decode it; raises SetupError if ffmpeg has no libopus."""
    _require_encoder()
    out = np.stack([_coded(channel, rate, value) for channel in wave.T], axis=1)
    return np.clip(out, -1, 1), {"codec": _ENCODER, "kbit_per_s_and_channel": value}


@cache
def _require_encoder() -> None:
    command = [media.ffmpeg_binary(), "-hide_banner", "-encoders"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if _ENCODER not in listed.split():
        raise SetupError(f"this ffmpeg has no encoder '{_ENCODER}', which sound_codec needs: {media.ffmpeg_binary()}")


def _coded(channel: Wave, rate: int, kbit: int) -> Wave:
    raw = {"format": "f32le", "ar": rate}
    with TemporaryDirectory() as folder:
        coded, decoded = Path(folder, "coded.ogg"), Path(folder, "decoded.f32")
        given = ffmpeg.input("pipe:", ac=1, **raw)
        encoded = given.output(str(coded), acodec=_ENCODER, audio_bitrate=f"{kbit}k", vbr="off")
        media.run_ffmpeg(encoded, [channel.astype("<f4").tobytes()])
        media.run_ffmpeg(ffmpeg.input(str(coded)).output(str(decoded), acodec="pcm_f32le", **raw))
        out = np.fromfile(decoded, "<f4")[: len(channel)]
    return np.pad(out, (0, len(channel) - len(out))).astype(np.float32)
