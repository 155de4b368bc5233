"""What the corruptions that are encoders share: options under which libx264 and libx265 give the same bytes each time."""

from typing import Any

X264: dict[str, Any] = {"vcodec": "libx264", "threads": 1, "pix_fmt": "yuv420p"}  # its bytes depend on its threads
# with frame threads, above all with a rate buffer, libx265 gives other bytes from run to run
X265: dict[str, Any] = {
    "vcodec": "libx265",
    "x265-params": "frame-threads=1:wpp=0:log-level=error",
    "pix_fmt": "yuv420p",
    "tag:v": "hvc1",
}


def held_to(target: int) -> dict[str, Any]:
    """An average bit rate of `target` bit/s, with a rate buffer of a second."""
    return {"video_bitrate": target, "maxrate": target, "bufsize": target}
