"""From a video file to logits: ours against a plain loop that opens and decodes the video anew for every view.

Both give the two views of adaptation and the evaluation clip to the model, and both start from the same files. The plain loop
does what reference code does: for each of the three clips it opens the video, decodes it up to the last frame that it needs,
resizes and crops frame by frame with Pillow, and runs the model on that clip alone. Times of decoding are told apart.

    python benchmarks/clip_speed.py [--backbone tanet] [--options '{"variant": "mini", "frames": 8}'] [--seconds 10]
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "workflow_scripts"))

import numpy as np
import torch

CLASSES, REPEATS = 101, 5


def make_video(path: Path, size: str, seconds: float, *codec: str) -> None:
    """Moving test pictures with grain, so that motion and residuals cost what real ones do."""
    from earshot import media

    source = f"testsrc2=size={size}:rate=25:duration={seconds},noise=alls=12:allf=t"
    command = [media.ffmpeg_binary(), "-v", "error", "-y", "-f", "lavfi", "-i", source, *codec, "-threads", "1", str(path)]
    subprocess.run(command, check=True)


def plain_frames(path: Path, wanted: list[int]) -> list[np.ndarray]:
    """Open a video and decode it up to the last wanted frame."""
    import av

    found = {}
    with av.open(str(path)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        for number, frame in enumerate(container.decode(video=0)):
            if number in wanted:
                found[number] = frame.to_ndarray(format="rgb24")
            if number >= max(wanted):
                break
    return [found[number] for number in wanted]


def plain_clip(frames: list[np.ndarray], spec, crop) -> torch.Tensor:
    """Crop or resize each frame with Pillow, stack, normalise: (1, 3, T, size, size)."""
    from PIL import Image

    done = []
    for frame in frames:
        picture = Image.fromarray(frame)
        if crop is not None:
            box = (crop.x, crop.y, crop.x + crop.width, crop.y + crop.height)
            picture = picture.crop(box).resize((spec.size, spec.size), Image.Resampling.BILINEAR)
        else:
            height, width = frame.shape[:2]
            resize = spec.resize if isinstance(spec.resize, int) else min(spec.resize)
            scale = resize / min(height, width)
            picture = picture.resize((int(width * scale), int(height * scale)), Image.Resampling.BILINEAR)
            left, top = (picture.width - spec.size) // 2, (picture.height - spec.size) // 2
            picture = picture.crop((left, top, left + spec.size, top + spec.size))
        done.append(torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1).float() / 255)
    clip = torch.stack(done, 1)
    mean, std = (torch.tensor(values).view(3, 1, 1, 1) for values in (spec.mean, spec.std))
    return ((clip - mean) / std)[None]


def plain(path: Path, row, spec, model) -> tuple[float, float]:
    """Seconds of decoding and of all, by the plain loop."""
    from earshot import sampling, transforms
    from earshot.randomness import numpy_generator

    start, decoding = time.perf_counter(), 0.0
    views = sampling.views("uniform_equidist", row["frames"], spec.frames, 2, np.random.default_rng(0))
    middle = sampling.evaluation(spec.sampling, row["frames"], spec.frames)
    for i, picks in enumerate([*views, *middle]):
        begin = time.perf_counter()
        frames = plain_frames(path, picks.tolist())
        decoding += time.perf_counter() - begin
        size = (row["width"], row["height"], spec.size)
        crop = transforms.multi_scale_crop(*size, numpy_generator("view", 0, i)) if i < 2 else None
        with torch.no_grad():
            model(plain_clip(frames, spec, crop))
    return decoding, time.perf_counter() - start


def ours(path: Path, row, spec, model) -> tuple[float, float]:
    """Seconds of decoding and of all, by the loader of the workflow."""
    from earshot.frames import Frames
    from earshot.loading import ClipLoader, FrameCache

    spent = [0.0]

    class Timed(Frames):
        def read(self, row, indices):
            begin = time.perf_counter()
            found = super().read(row, indices)
            spent[0] += time.perf_counter() - begin
            return found

    start = time.perf_counter()
    clip = ClipLoader(spec, Timed(path.parent), FrameCache(0), "cpu").load(row, seed=0)
    with torch.no_grad():
        model(clip.views)
        model(clip.evaluation)
    return spent[0], time.perf_counter() - start


def main() -> None:
    from earshot import media, weights

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="tanet_small")
    parser.add_argument("--options", type=json.loads, default={})
    parser.add_argument("--seconds", type=float, default=10.0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    spec = weights.spec_of(given.backbone, given.options)
    model = weights.placed(weights.build(given.backbone, given.options, CLASSES), "cpu").eval()
    kinds = {
        "XviD 320x240": ("a.avi", "320x240", ("-c:v", "mpeg4", "-vtag", "XVID", "-bf", "2", "-q:v", "4")),
        "H.264 340x256": ("b.mp4", "340x256", ("-c:v", "libx264", "-preset", "medium", "-pix_fmt", "yuv420p")),
        "H.264 640x360": ("c.mp4", "640x360", ("-c:v", "libx264", "-preset", "medium", "-pix_fmt", "yuv420p")),
    }
    print(f"{given.backbone}, {given.seconds:g} s of video, one thread; seconds a clip (decoding of them)")
    with tempfile.TemporaryDirectory() as folder:
        for title, (name, size, codec) in kinds.items():
            path = Path(folder) / name
            make_video(path, size, given.seconds, *codec)
            facts = media.probe(path)
            row = {"clip_id": "a", "video": name, "frames": facts.frames, "width": facts.width, "height": facts.height}
            best = {}
            for call in (plain, ours):
                call(path, row, spec, model)
                best[call] = min((call(path, row, spec, model) for _ in range(REPEATS)), key=lambda pair: pair[1])
            (slow_decode, slow), (fast_decode, fast) = best[plain], best[ours]
            print(
                f"{title:14} plain {slow:6.3f} ({slow_decode:5.3f})  ours {fast:6.3f} ({fast_decode:5.3f})  "
                f"{1 / slow:6.2f} -> {1 / fast:6.2f} clips/s, {slow / fast:4.2f}x; decoding {slow_decode / fast_decode:4.2f}x"
            )


if __name__ == "__main__":
    main()
