"""Builders of a fake prompting experiment: predictions, views, trainings, costs and scores, in the real contracts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fake_parses
import numpy as np
import pandas as pd

from earshot import contracts, data_facts, prompt_scoring, prompt_views
from earshot.files import write_json

CLASSES = ("Bark", "Bell", "Flute")
SEGMENTS, BACKGROUND = 4, len(CLASSES)
REFERENCE = "none"
ENCODERS = "small, trained on demo"
TASK = {
    "plugin": "ave",
    "summary": "Audio-visual event localisation.",
    "segments": SEGMENTS,
    "frame_px": 16,
    "truth": ("segments", "label"),
    "metrics": ("segment_accuracy",),
    "select_by": "segment_accuracy",
    "published": "ave",
}
ANSWERING = {
    **TASK,
    "plugin": "avqa",
    "summary": "Questions about what is heard and seen.",
    "truth": ("question", "answer", "kind"),
    "metrics": ("accuracy_AQ", "accuracy_VQ", "accuracy_Avg"),
    "select_by": "accuracy_Avg",
    "published": "avqa",
}
PUBLISHED = {"none": "", "dgsct": "DG-SCT", "lavish": "LAVisH", "lavish_htsat": "LAVisH*"}


@dataclass(frozen=True)
class Prompter:
    """A variant: how often it is right about a segment, and its settings."""

    plugin: str
    skill: float
    modules: Mapping[str, Any] = field(default_factory=dict)
    encoders: str = ENCODERS
    trainable: int = 2_000_000
    summary: str = ""

    @property
    def hyper(self) -> dict[str, Any]:
        """What a run tells of its settings."""
        own = {} if self.plugin == "none" else {"tokens": 32, **self.modules}
        return {"task": {"train": {"keep": "best", "accumulation": "correct"}}, "modules": own}


PROMPTERS = {
    REFERENCE: Prompter("none", 0.5, trainable=500_000, summary="The frozen encoders alone."),
    "lavish_htsat": Prompter("lavish_htsat", 0.6, summary="Latent tokens."),
    "dgsct_two_tokens": Prompter("dgsct", 0.65, {"tokens": 2}, summary="Fewer latent tokens."),
    "dgsct": Prompter("dgsct", 0.8, summary="Guidance by channel, place and time."),
}


def given(
    prompters: Mapping[str, Prompter] = PROMPTERS,
    seeds: Sequence[int] = (0, 1),
    title: str = "Prompting demo",
    task: Mapping[str, Any] = TASK,
) -> SimpleNamespace:
    """A job's params."""
    told = [
        {
            "variant": name,
            "plugin": p.plugin,
            "published": PUBLISHED[p.plugin],
            "hyper": {"modules": dict(p.modules)},
            "summary": p.summary,
        }
        for name, p in prompters.items()
    ]
    plugins = {"toy": "ave", "other": "synthetic"}
    named = {"title": title, "split": "test", "seeds": list(seeds), "reference": REFERENCE}
    return SimpleNamespace(**named, prompters=told, plugins=plugins, task=dict(task))


def truth_of(clips: int) -> np.ndarray:
    """The class of each segment (N, T): a run of one class a clip, and background around it."""
    labels = np.full((clips, SEGMENTS), BACKGROUND, np.int64)
    for clip in range(clips):
        labels[clip, clip % 2 : 3 + clip % 2] = clip % len(CLASSES)
    return labels


def scores_of(truth: np.ndarray, skill: float, seed: int) -> np.ndarray:
    """Scores (N, T, C + 1) whose largest is the truth as often as the skill says."""
    rng = np.random.default_rng([round(1000 * skill), seed])
    said = np.where(rng.random(truth.shape) < skill, truth, rng.integers(0, BACKGROUND + 1, truth.shape))
    return np.eye(BACKGROUND + 1, dtype=np.float32)[said]


def right(scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The share of right segments by clip (N,)."""
    return (scores.argmax(axis=-1) == truth).mean(axis=1)


def judge_of(truth: np.ndarray) -> prompt_scoring.Judge:
    """What scores segments of the fake clips."""
    by_name = dict(zip(map(fake_parses.clip_id, range(len(truth))), truth, strict=True))

    def labels(items: Sequence[str]) -> dict[str, np.ndarray]:
        return {"segments": np.stack([by_name[item] for item in items])}

    def per_item(scores: np.ndarray, told: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"segment_accuracy": right(scores, told["segments"])}

    return prompt_scoring.Judge(TASK["metrics"], labels, per_item)


def items_of(clips: int) -> pd.DataFrame:
    """What is scored: the clips."""
    names = [fake_parses.clip_id(clip) for clip in range(clips)]
    return pd.DataFrame({"item": names, "clip_id": names})


def rows_of(scores: np.ndarray, gone: Sequence[int] = ()) -> list[dict[str, Any]]:
    """Rows of PROMPTED."""
    rows = []
    for clip, kept in enumerate(scores):
        here, name = clip not in gone, fake_parses.clip_id(clip)
        problem = "" if here else f"audio: missing: no track in '{name}'"
        kept_here = kept.ravel().tolist() if here else []
        rows.append({"item": name, "clip_id": name, "available": here, "problem": problem, "scores": kept_here})
    return rows


def facts(name: str, prompter: Prompter, seed: int, dataset: str = "toy", **changes: Any) -> dict[str, Any]:
    """What PROMPTED say of themselves."""
    whose = {"dataset": dataset, "task": "ave", "prompter": name, "plugin": prompter.plugin, "seed": seed, "split": "test"}
    sizes = {"trainable": prompter.trainable, "total": 8_000_000, "scores_shape": [SEGMENTS, BACKGROUND + 1]}
    how = {"encoders": prompter.encoders, "hyper": prompter.hyper, "epoch": 5 + seed, "trunk_mode": "eval"}
    return {
        **whose,
        **sizes,
        **how,
        "train_clips": 40,
        "train_missing": 0,
        "trained_on": dataset,
        "classes": len(CLASSES),
        **changes,
    }


def views_of(truth: np.ndarray, prompter: Prompter, seed: int, gone: Sequence[int] = ()) -> prompt_views.Views:
    """Vectors around a centre of their class, and two clips with maps and masks; better prompters have tighter classes."""
    rng = np.random.default_rng([round(1000 * prompter.skill), seed, 7])
    kept = [clip for clip in range(len(truth)) if clip not in gone]
    labels, shown = truth[kept], kept[:2]
    centres = 4 * np.eye(BACKGROUND + 1, 6)
    arrays = {
        side: centres[labels] + (1.4 - prompter.skill) * rng.normal(size=(*labels.shape, 6)) for side in ("audio", "visual")
    }
    frames = rng.integers(0, 256, (len(shown), SEGMENTS, 16, 16, 3), dtype=np.uint8)
    mask = np.zeros((len(shown), SEGMENTS, 16, 16), np.uint8)
    mask[:, :, 4:12, 4:12] = 1
    heat = rng.random((len(shown), SEGMENTS, 3, 3))
    arrays |= {"labels": labels, "frames": frames, "mask": mask, "truth": np.roll(mask, 2, axis=2)}
    arrays["visual_map"] = heat / heat.sum(axis=(2, 3), keepdims=True)
    if prompter.plugin == "none":
        arrays = {name: array for name, array in arrays.items() if name not in ("visual_map", "mask", "truth")}
    return prompt_views.Views([fake_parses.clip_id(c) for c in kept], [fake_parses.clip_id(c) for c in shown], arrays)


def training_rows(prompter: Prompter, seed: int, epochs: int = 6) -> list[dict[str, Any]]:
    """Rows of TRAINING: a falling loss, a rising score and, for DG-SCT, the mean of its gates."""
    rows: list[dict[str, Any]] = []
    for epoch in range(1, epochs + 1):
        good = 1 - np.exp(-epoch / 3) + 0.01 * seed
        told = {"loss": 2 - good, "lr": 5e-4} | ({"gate": 0.1 * good} if prompter.plugin == "dgsct" else {})
        rows += [{"epoch": epoch, "split": "train", "metric": m, "value": float(v), "unit": ""} for m, v in told.items()]
        score = {"metric": "segment_accuracy", "value": float(100 * prompter.skill * good), "unit": "%"}
        rows.append({"epoch": epoch, "split": "val", **score})
    return rows


def cost_row(name: str, prompter: Prompter, seed: int, dataset: str = "toy") -> dict[str, Any]:
    """A row of PROMPT_COSTS."""
    whose = {"dataset": dataset, "prompter": name, "seed": seed, "trainable": prompter.trainable, "total": 8_000_000}
    spent = {"epochs": 6, "epoch_seconds": 2.5 + seed, "memory": 900.0 + seed}
    return {**whose, **spent, "estimated_memory": 850.0, "estimated_macs": float("nan")}


def write_experiment(
    folder: Path,
    prompters: Mapping[str, Prompter] = PROMPTERS,
    seeds: Sequence[int] = (0, 1),
    clips: int = 24,
    dataset: str = "toy",
    gone: Sequence[int] = (5,),
) -> dict[str, Any]:
    """Write everything of an experiment; returns paths by kind. Clips in `gone` could not be read."""
    truth = truth_of(clips)
    made: dict[str, Any] = {"prompted": [], "views": [], "training": [], "costs": []}
    for name, prompter in prompters.items():
        for seed in seeds:
            place = f"{dataset}/{name}/{seed}"
            paths = {
                "prompted": folder / "prompted" / f"{place}.parquet",
                "views": folder / "prompted" / f"{place}.views.safetensors",
                "training": folder / "training" / f"{place}.parquet",
                "costs": folder / "training" / f"{place}.costs.parquet",
            }
            rows = rows_of(scores_of(truth, prompter.skill, seed), gone)
            contracts.write(rows, contracts.PROMPTED, paths["prompted"], facts(name, prompter, seed, dataset))
            prompt_views.write_views(views_of(truth, prompter, seed, gone), paths["views"])
            contracts.write(training_rows(prompter, seed), contracts.TRAINING, paths["training"], {})
            contracts.write([cost_row(name, prompter, seed, dataset)], contracts.PROMPT_COSTS, paths["costs"], {})
            for kind, path in paths.items():
                made[kind].append(str(path))
    made |= write_data(folder, clips, dataset)
    scores = prompt_scoring.score(made["prompted"], items_of(clips), "test", judge_of(truth), REFERENCE)
    made["metrics"] = str(folder / "metrics.parquet")
    contracts.write(data_facts.marked(scores.metrics, {}), contracts.PROMPT_METRICS, made["metrics"], {})
    return made


def write_data(folder: Path, clips: int, dataset: str) -> dict[str, Any]:
    """Write clips, classes and the environment; clip 2 has no file."""
    names = {name: folder / "data" / dataset / f"{name}.parquet" for name in ("clips", "classes")}
    rows = [
        fake_parses.clip_row(c, label=c % 3, available=c != 2, problem="missing: no such file" if c == 2 else "")
        for c in range(clips)
    ]
    contracts.write(rows, contracts.CLIPS, names["clips"], {"dataset": dataset})
    named = [{"class_id": i, "name": name, "prompt": name} for i, name in enumerate(CLASSES)]
    contracts.write(named, contracts.CLASSES, names["classes"], {"dataset": dataset})
    environment = folder / "environment.json"
    write_json(environment, {"python": "3.11.7", "packages": {"torch": "2.13.0"}, "device": "cpu"})
    return {**{name: [str(path)] for name, path in names.items()}, "environment": str(environment)}
