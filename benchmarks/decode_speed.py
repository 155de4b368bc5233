"""Decoding the frames of a clip against decoding every frame up to the last of them: python benchmarks/decode_speed.py

Videos of 7 s (UCF101's usual length) and 60 s are generated in several encodings. The frames are those of one evaluation clip,
and of that clip with the two views of adaptation. A dash marks encodings that are decoded in order in either case.
"""

import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "workflow_scripts"))

import numpy as np

REPEATS, FRAMES = 5, 16
ENCODINGS = {
    "H.264, GOP 250": ("a.mp4", "-c:v libx264 -preset veryfast -crf 18 -pix_fmt yuv420p"),
    "H.264, GOP 12": ("b.mp4", "-c:v libx264 -preset veryfast -crf 18 -pix_fmt yuv420p -g 12"),
    "H.265": ("c.mp4", "-c:v libx265 -preset ultrafast -x265-params log-level=error"),
    "XviD-like": ("d.avi", "-c:v mpeg4 -vtag XVID -bf 2 -q:v 4"),
}


def best(call) -> float:
    taken = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return min(taken)


def main() -> None:
    from earshot import media, sampling, seeking

    with tempfile.TemporaryDirectory() as folder:
        for seconds in (7, 60):
            for title, (name, codec) in ENCODINGS.items():
                path = Path(folder) / f"{seconds}{name}"
                source = f"testsrc2=size=320x240:rate=25:duration={seconds},noise=alls=12:allf=t"
                command = [media.ffmpeg_binary(), "-v", "error", "-f", "lavfi", "-i", source, *codec.split(), str(path)]
                subprocess.run(command, check=True)
                n = media.probe(path).frames
                middle = sampling.evaluation("uniform", n, FRAMES)
                views = sampling.views("uniform_equidist", n, FRAMES, 2, np.random.default_rng(0))
                for which, picks in (("evaluation", middle), ("with views", np.concatenate([middle, views]))):
                    wanted = set(picks.ravel().tolist())
                    slow, fast = (best(partial(read, path, wanted)) for read in (media.decode_in_order, media.read_frames))
                    skips = seeking.pick(path, wanted, media.upright) is not None
                    ratio = f"{slow / fast:5.2f}x" if skips else "    -"
                    print(
                        f"{title:15} {seconds:3} s  {which}  in order {1e3 * slow:6.0f} ms  ours {1e3 * fast:6.0f} ms  {ratio}"
                    )


if __name__ == "__main__":
    main()
