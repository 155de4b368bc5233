"""Datasets on disk that tests index and cut into segments, and the tables and arrays that come of it."""

from pathlib import Path

import numpy as np
from PIL import Image

from earshot import contracts, feature_store, indexing, segments

_TABLES = ("clips", "classes", "events")


class Indexed:
    """A dataset that was indexed: its tables as rows, and its segments."""

    def __init__(self, plugin, root, folder, downloaded="", **options):
        self.folder, self.root = Path(folder), str(root)
        paths = {name: str(self.folder / f"{name}.parquet") for name in (*_TABLES, "asked", "masks", "findings")}
        indexing.index_dataset("test", plugin, self.root, options, workers=1, downloaded=downloaded, **paths)
        self.paths = paths
        self.clips = {row["clip_id"]: row for row in contracts.read(paths["clips"], contracts.CLIPS)}
        self.classes = [row["name"] for row in contracts.read(paths["classes"], contracts.CLASSES)]
        self.events = contracts.read(paths["events"], contracts.EVENTS)
        self.questions = contracts.read(paths["asked"], contracts.QUESTIONS)
        self.findings = contracts.read(paths["findings"], contracts.FINDINGS)
        self.masks = contracts.read(paths["masks"], contracts.MASKS)
        self.remarks = contracts.facts_of(paths["clips"])["remarks"]
        self.source = segments.Dataset(plugin, options, self.root, paths["clips"])

    def frames(self, count, px, threads=1, **how):
        return self._made("frames", segments.write_frames, self.source, count, px, threads, **how)

    def waves(self, count, rate, threads=1):
        return self._made("waves", segments.write_waves, self.source, count, rate, threads)

    def shown(self, count, px):
        return self._made("masks", segments.write_masks, self.root, self.paths["clips"], self.paths["masks"], count, px, 1)

    def _made(self, name, write, *args, **how):
        out = self.folder / f"{name}.npy"
        write(*args, str(out), str(out.with_suffix(".parquet")), **how)
        return feature_store.read(out)


def problems(made):
    """Why clips have no row, by name."""
    return {clip: problem for clip, problem in zip(made.clip_ids, made.problems, strict=True) if problem}


def row(made, clip):
    """The row of a clip."""
    return np.asarray(made.array[made.clip_ids.index(clip)])


def write_image(path, pixels, **how):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels)).save(path, **how)
