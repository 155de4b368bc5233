"""Sets of segments on disk that tests train prompters on, with encoders that take milliseconds."""

from pathlib import Path

import numpy as np

from earshot import contracts, encoder_weights, feature_store, prompting
from earshot.errors import MediaError
from earshot.prompters import _trunks
from earshot.prompting_data import Sources

CLASSES, RATE, PX = ("bell", "cat", "dog"), 32_000, 32
SPLITS = {"train": 6, "val": 3, "test": 4}
RUNTIME = {"device": "cpu", "training_threads": 1, "torch_threads": 1}
NANO = (_trunks.Swin(32, 8, (1, 1, 1, 1), (1, 1, 1, 1), 2), _trunks.Htsat(32, 64, 8, (1, 1, 1, 1), (1, 1, 1, 1), 2, 1))
SMALL_HEAD = {"cmbs": {"visual": 16, "audio": 8, "relations": {"width": 16, "ff": 16}}}


class Set:
    """Clips of one event each, whose colour shows the class and whose pitch tells it."""

    def __init__(self, folder, missing=(), segments=10):
        self.folder, self.segments = Path(folder), segments
        self.clips = [(f"{split}/{k}", split, k % len(CLASSES)) for split, count in SPLITS.items() for k in range(count)]
        rng = np.random.default_rng(0)
        self.onsets = [(int(a), int(a) + int(b)) for a, b in zip(rng.integers(0, 5, 20), rng.integers(2, 6, 20), strict=True)]
        self._tables()
        self._array("frames", self._frames(rng), (segments, PX, PX, 3), "uint8", missing)
        self._array("waves", self._waves(rng), (segments * RATE,), "int16", missing)
        encoder_weights.initialise_encoders(
            {"name": "nano", "kind": "swin_htsat", "size": "nano", "seed": 0, "runtime": RUNTIME}, self.path("encoders", "st")
        )

    def path(self, name, suffix="parquet"):
        return str(self.folder / f"{name}.{suffix}")

    def _tables(self):
        blank = dict.fromkeys(("start", "end", "duration", "fps", "level"), 0.0) | dict.fromkeys(
            ("frames", "width", "height", "audio_rate"), 0
        )
        rest = {"sha256": "", "source": "made", "group": "", "available": True, "problem": ""}
        rows = [{**blank, **rest, "clip_id": c, "video": f"{c}.mp4", "split": s, "label": k} for c, s, k in self.clips]
        contracts.write(rows, contracts.CLIPS, self.path("clips"), {})
        named = [{"class_id": n, "name": name, "prompt": name} for n, name in enumerate(CLASSES)]
        contracts.write(named, contracts.CLASSES, self.path("classes"), {})
        events = [
            {"clip_id": clip, "modality": side, "class_id": label, "onset": start, "offset": end}
            for (clip, _, label), (start, end) in zip(self.clips, self.onsets, strict=False)
            for side in ("audio", "visual")
        ]
        contracts.write(events, contracts.EVENTS, self.path("events"), {})
        contracts.write([], contracts.QUESTIONS, self.path("questions"), {"words": []})

    def _array(self, name, rows, shape, dtype, missing):
        clips = [clip for clip, *_ in self.clips]
        made = (MediaError("no file") if clip in missing else row for clip, row in zip(clips, rows, strict=True))
        feature_store.write(made, clips, shape, {"made": name}, self.path(name, "npy"), self.path(name), dtype=dtype)

    def _frames(self, rng):
        for (_, _, label), (start, end) in zip(self.clips, self.onsets, strict=False):
            frames = rng.integers(0, 80, (self.segments, PX, PX, 3), dtype=np.uint8)
            frames[start:end, 8:24, 8:24, label] = 250
            yield frames

    def _waves(self, rng):
        time = np.arange(RATE) / RATE
        for (_, _, label), (start, end) in zip(self.clips, self.onsets, strict=False):
            wave = rng.normal(0, 100, (self.segments, RATE))
            wave[start:end] += 8_000 * np.sin(2 * np.pi * 300 * 3**label * time)
            yield wave.ravel().astype(np.int16)

    @property
    def sources(self):
        tables = (self.path(name) for name in ("clips", "classes", "events", "questions"))
        return Sources(*tables, {name: self.path(name, "npy") for name in ("frames", "waves")})

    def inputs(self, plugin="dgsct", seed=0, modules=None, optim=None, **train):
        hyper = {"train": {"epochs": 3, "batch": 3, "at_once": None, **train}, "optim": optim or {"lr": 3e-3}, **SMALL_HEAD}
        facts = {
            "experiment": "e",
            "dataset": "made",
            "prompter": plugin,
            "task": "ave",
            "encoders": "nano",
            "trained_on": "made",
        }
        tokens = {"dgsct": {"reduction": 4, "tokens": 2}}.get(plugin, {})
        own = {**tokens, **(modules or {})}
        encoders = self.path("encoders", "st")
        return prompting.Inputs(self.sources, encoders, "ave", plugin, "nano", hyper, own, seed, RUNTIME, facts, code="c")
