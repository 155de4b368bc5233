"""Decoding the frames of one clip against decoding the whole video: python benchmarks/decode_speed.py [video]

Without an argument a video of 20 s is generated.
"""

import sys
import tempfile
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "workflow_scripts"))

import numpy as np


def main(video: str = "") -> None:
    from earshot import media, sampling

    with tempfile.TemporaryDirectory() as folder:
        path = Path(video) if video else Path(folder) / "generated.mp4"
        if not video:
            rng = np.random.default_rng(0)
            base = rng.integers(0, 255, (240, 320, 3), dtype=np.uint8)
            media.write_video(path, np.stack([np.roll(base, t, 1) for t in range(500)]), 25)
        n = media.probe(path).frames
        wanted = np.union1d(sampling.uniform(n, 16), sampling.uniform_equidistant(n, 16, 2)).tolist()
        seconds = {}
        for name, call in (("all", lambda: media.read_frames(path)), ("wanted", lambda: media.read_frames(path, wanted))):
            call()
            start = time.perf_counter()
            call()
            seconds[name] = time.perf_counter() - start
    print(f"{n} frames: all {seconds['all']:.3f} s, the {len(wanted)} wanted {seconds['wanted']:.3f} s,", end=" ")
    print(f"ratio {seconds['all'] / seconds['wanted']:.2f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
