"""How fast a dataset of UCF101's size is indexed, and what a kill costs: `python benchmarks/index_speed.py [--source DIR]`.

Makes a tree with UCF101's 101 class folders and 25 groups of hard links to a few hundred small clips (those of `--source`, a
folder of videos, else generated ones), and indexes it with two workers. Prints clips a second against the same probe one by
one in one process, and against one `ffprobe` a file if there is one, on a sample; then kills an indexing run and says what
the next one had to do. Hard links share their bytes, so reading them from a cold disk is not measured.
"""

import argparse
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow_scripts"))

from earshot import contracts, indexing, label_spaces, media, probing
from earshot.datasets import Parts

SAMPLE = 300  # files that are probed one by one
CLASSES = label_spaces.read("ucf101").names
RUN = """
import sys
from earshot import indexing
root, out = sys.argv[1:]
paths = {name: f"{out}/{name}.parquet" for name in ("clips", "classes", "events", "findings")}
indexing.index_dataset("ucf101", "ucf101", root, {}, 2, journal=f"{out}/probed.jsonl", **paths)
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clips", type=int, default=13_320)
    parser.add_argument("--source", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root, out = Path(folder, "media"), Path(folder, "tables")
        files = tree(root, originals(given.source, Path(folder, "made")), given.clips)
        seconds = whole_run(root, out)
        print(f"{given.clips} clips indexed in {seconds:.1f} s by two workers: {given.clips / seconds:.0f} clips/s")
        one_by_one(files, given.clips / seconds)
        killed(root, Path(folder, "killed"), given.clips, seconds, out)


def originals(source, made):
    """Small real clips, or generated ones of UCF101's size."""
    if source:
        return sorted(path for path in source.rglob("*") if path.suffix in (".mp4", ".avi"))[:400]
    rng = np.random.default_rng(0)
    for number in range(40):
        frames = rng.integers(0, 256, (1, 240, 320, 3), np.uint8).repeat(50, 0)
        wave = rng.standard_normal(32_000).astype(np.float32) * 0.1 if number % 2 else None
        media.write_video(made / f"{number}.mp4", frames, 25.0, wave)
    return sorted(made.iterdir())


def tree(root, sources, count):
    """The folders and lists of UCF101, each file a link to one of `sources`."""
    places = itertools.product(range(1, 26), range(1, 8), enumerate(CLASSES, 1))
    lists = {"trainlist01.txt": [], "testlist01.txt": []}
    found = []
    for (group, clip, (number, name)), source in zip(places, itertools.cycle(sources), strict=False):
        if len(found) == count:
            break
        place = f"{name}/v_{name}_g{group:02d}_c{clip:02d}.avi"
        path = root / "UCF-101" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.hardlink_to(source) if source.stat().st_dev == path.parent.stat().st_dev else shutil.copyfile(source, path)
        found.append(path)
        test = group <= 7
        lists["testlist01.txt" if test else "trainlist01.txt"].append(place if test else f"{place} {number}")
    folder = root / "ucfTrainTestlist"
    folder.mkdir()
    (folder / "classInd.txt").write_text("".join(f"{k} {name}\n" for k, name in enumerate(CLASSES, 1)))
    for name, lines in lists.items():
        (folder / name).write_text("\n".join(lines) + "\n")
    return found


def command(root, out):
    out.mkdir(parents=True, exist_ok=True)
    return [sys.executable, "-c", RUN, str(root), str(out)]


def environment():
    return {**os.environ, "PYTHONPATH": str(Path(indexing.__file__).parents[1]), "OMP_NUM_THREADS": "1"}


def whole_run(root, out):
    """Seconds of a whole indexing job, in a process of its own."""
    start = time.perf_counter()
    subprocess.run(command(root, out), env=environment(), check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def one_by_one(files, speed):
    """Print the gain over probing file after file."""
    step = max(1, len(files) // SAMPLE)
    sample = files[::step][:SAMPLE]
    start = time.perf_counter()
    for path in sample:
        probing.probe_one((path, Parts()))
    alone = len(sample) / (time.perf_counter() - start)
    print(f"the same probe one by one in one process: {alone:.0f} clips/s, so {speed / alone:.2f}x")
    ffprobe = shutil.which("ffprobe")
    if not ffprobe:
        print("no ffprobe on PATH: not compared with one process a file")
        return
    start = time.perf_counter()
    for path in sample:
        asked = [ffprobe, "-v", "error", "-count_packets", "-show_streams", "-show_format", "-of", "json", str(path)]
        subprocess.run(asked, check=True, stdout=subprocess.DEVNULL)
    outside = len(sample) / (time.perf_counter() - start)
    print(f"one ffprobe a file, which decodes no sound and hashes nothing: {outside:.0f} clips/s, so {speed / outside:.2f}x")


def killed(root, out, count, seconds, whole):
    """Kill a run in the middle, go on, and compare."""
    child = subprocess.Popen(command(root, out), env=environment(), start_new_session=True, stdout=subprocess.DEVNULL)
    journal = out / "probed.jsonl"
    while not journal.exists() or journal.read_bytes().count(b"\n") < count // 2:
        time.sleep(0.2)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    kept = journal.read_bytes().count(b"\n")
    rest = whole_run(root, out)
    pairs = [(out / f"{name}.parquet", whole / f"{name}.parquet") for name in ("clips", "findings")]
    equal = all(one.read_bytes() == other.read_bytes() for one, other in pairs)
    print(f"killed with {kept} of {count} probed; the next run took {rest:.1f} s of {seconds:.1f}, equal bytes: {equal}")
    again = whole_run(root, out)
    print(f"run again with nothing new: {again:.1f} s; clips in the table: {len(contracts.read_clips(out / 'clips.parquet'))}")


if __name__ == "__main__":
    main()
