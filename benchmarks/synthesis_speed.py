"""Making corrupted videos against the least that any way of making them costs; called by corruption_speed.py.

The floor decodes the same video and encodes frames that were corrupted beforehand, with the same encoder settings, copying the
sound. Our whole path decodes, corrupts, encodes, copies the sound, measures, and writes checksums and a manifest. CPU time is
that of this process and of the ffmpeg programs that it starts. For an encoder, the floor is the encoder alone.
"""

import os
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from earshot import contracts, indexing, media, synthesis
from earshot.corrupting import Corrupter, Recipe
from earshot.corruptions import UCF101C

ENCODING = {"codec": "h264", "crf": 18, "preset": "veryfast", "pix_fmt": "yuv420p"}
MOST = 1.3


def whole_path(frames_of, sizes, count, severity, rounds=5):
    """Print ms of CPU time a frame of the floor and of our path for the twelve, least of alternating rounds, and the ratio."""
    print(f"\nwhole path, severity {severity}, videos of {count} frames with sound, ms of CPU time a frame (least of {rounds})")
    print(f"{'':10}" + "".join(f"{f'{width}x{height}: floor':>16}{'ours':>8}{'ratio':>8}" for height, width in sizes))
    ratios = {size: [] for size in sizes}
    with tempfile.TemporaryDirectory() as folder:
        rows = {size: video(Path(folder, f"{size[1]}x{size[0]}"), frames_of(count, *size)) for size in sizes}
        for name in UCF101C:
            line = f"{name:10}"
            for size in sizes:
                root, row = rows[size]
                task = task_of(root, name, severity)
                task.recipe.warm()
                ready = beforehand(root, row, task)
                spent = [(cpu(floor, root, row, task, ready), cpu(ours, root, row, task)) for _ in range(rounds)]
                least, path = (1e3 * min(side) / count for side in zip(*spent, strict=True))
                ratios[size].append(path / least)
                line += f"{least:16.2f}{path:8.2f}{path / least:8.2f}"
            print(line, flush=True)
    for (height, width), values in ratios.items():
        within = sum(value <= MOST for value in values)
        print(f"{width}x{height}: {within} of {len(values)} at most {MOST} (goal 9), largest {max(values):.2f} (goal 2)")


def video(root, frames):
    """A folder with one video of these frames, with sound, and its row."""
    root.mkdir()
    rng = np.random.default_rng(0)
    frames = np.stack(list(frames))
    sound = (0.1 * rng.standard_normal(int(16_000 * len(frames) / 25))).astype(np.float32)
    media.write_video(root / "clip.mp4", frames, 25, sound)
    (root / "labels.csv").write_text("path,label,split\nclip.mp4,a,test\n")
    out = {name: str(root / f"{name}.parquet") for name in ("clips", "classes", "events")}
    indexing.index_dataset("bench", "folder", str(root), {"labels": "labels.csv"}, 1, **out)
    return root, contracts.read(out["clips"], contracts.CLIPS)[0]


def task_of(root, name, severity):
    recipe = Recipe(name, severity, "ucf101c", "per_frame", 0)
    return synthesis.Task(recipe, ENCODING, True, "offline", False, "", "code", str(root), "")


def beforehand(root, row, task):
    """The corrupted frames with their times, in memory; none for an encoder."""
    if task.kind != "apply":
        return []
    with media.open_video(root / row["video"]) as source:
        frames, times = zip(*source.frames(), strict=True)
    corrupter = Corrupter(task.recipe, row["clip_id"], row["frames"], row["fps"])
    return list(zip((after for _, after in corrupter.stream(frames)), times, strict=True))


def floor(root, row, task, ready):
    path = root / row["video"]
    with tempfile.TemporaryDirectory() as folder, media.open_video(path) as source:
        out = Path(folder, "out.mp4")
        if task.kind == "codec":
            media.transcode(path, out, **task.recipe.module.codec(task.recipe.value, source.bit_rate))
        else:
            decoded = (pair for _, pair in zip(source.frames(), ready, strict=True))
            media.encode_timed(out, decoded, source, path, media.H264)


def ours(root, row, task):
    with tempfile.TemporaryDirectory() as folder:
        made = synthesis.corrupt_clip(row, replace(task, out=folder))
        assert made["available"], made["problem"]


def cpu(call, *arguments):
    """CPU seconds of a call, programs that it starts included."""
    before = used()
    call(*arguments)
    return used() - before


def used():
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def two_cores(frames_of, size, count, clips=16):
    """Print the throughput of two cores and two workers over that of one core and one worker, on the same set of clips."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        print("one core only: its throughput was not compared")
        return
    with tempfile.TemporaryDirectory() as folder:
        root, row = video(Path(folder, "clips"), frames_of(count, *size))
        rows = [{**row, "clip_id": f"clip{number}"} for number in range(clips)]
        contracts.write(rows, contracts.CLIPS, root / "clips.parquet", {})
        print(f"\n{clips} clips of {count} frames at {size[1]}x{size[0]}: clips a second")
        print(f"{'':10} a loop that shares nothing: {1 / spin(cores):.2f} times, which is what this machine allows")
        for name in ("gauss", "defocus"):
            seconds = {}
            for workers in (1, 2) * 3:
                os.sched_setaffinity(0, cores[:workers])
                task = replace(task_of(root, name, 5), out=str(Path(folder, f"{name}{workers}")), code=str(time.time()))
                start = time.perf_counter()
                out = str(Path(folder, "out.parquet"))
                synthesis.synthesize(str(root / "clips.parquet"), ["test"], task, workers, out)
                seconds.setdefault(workers, []).append(time.perf_counter() - start)
            one, two = (min(seconds[workers]) for workers in (1, 2))
            print(f"{name:10} one core {clips / one:.2f}, two cores {clips / two:.2f}: {one / two:.2f} times (goal 1.8)")
        os.sched_setaffinity(0, cores)


def spin(cores):
    """Seconds that two cores take for two loops over those that one takes."""
    seconds = []
    for workers in (1, 2):
        os.sched_setaffinity(0, cores[:workers])
        with ProcessPoolExecutor(workers) as pool:
            list(pool.map(loop, range(workers)))
            start = time.perf_counter()
            list(pool.map(loop, range(4)))
            seconds.append(time.perf_counter() - start)
    return seconds[1] / seconds[0]


def loop(_):
    return sum(i * i for i in range(10_000_000))
