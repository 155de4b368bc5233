"""Builders of fake results: predictions and the tables around them, in the real contracts, from a few numbers."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from earshot import contracts, tuning
from earshot.files import write_json

PROTOCOL = {"name": "online", "order": "shuffled", "views": 2, "index_base": 0}
CLASSES = ("Dog", "Bell", "Rain", "Engine", "Violin", "Applause", "Siren", "Hammer")
SOUNDS = (
    "Bark",
    "Howl",
    "Church bell",
    "Raindrop",
    "Car idling",
    "Fiddle",
    "Clapping",
    "Ambulance",
    "Hammering",
    "Hum",
)
SOUND_OF = (0, 0, 1, 2, 3, 4, 5, 6, 7, -1)  # video class of each sound
SKILL = {"source": 0.35, "tent": 0.4, "vitta": 0.5, "audio_assisted": 0.62, "audio_no_cycle": 0.56}
LISTENS = ("audio_assisted", "audio_no_cycle")
METHODS = [
    {
        "variant": "source",
        "plugin": "source",
        "hyper": {},
        "predicts": "none",
        "batched": True,
        "two_pass": False,
        "summary": "The source model, unchanged.",
    },
    {
        "variant": "tent",
        "plugin": "tent",
        "hyper": {"lr": 1e-4},
        "predicts": "before",
        "batched": True,
        "two_pass": True,
        "summary": "Minimises the entropy of its own answer.",
    },
    {
        "variant": "vitta",
        "plugin": "vitta",
        "hyper": {},
        "predicts": "after",
        "batched": False,
        "two_pass": False,
        "summary": "Aligns the statistics of features with those of clean training clips.",
    },
    {
        "variant": "audio_assisted",
        "plugin": "audio_assisted",
        "hyper": {"n_max": 5},
        "predicts": "after",
        "batched": False,
        "two_pass": False,
        "summary": "ViTTA plus a pseudo-label that a sound tagger helps to make, repeated until the views agree.",
    },
]
DROP = {"clean": 0.0, "gauss": 0.25, "motion": 0.12, "rain": 0.18, "h265_abr": 0.05}


def clip_ids(count: int) -> list[str]:
    """Names of clips, one class after the other."""
    return [f"{CLASSES[i % len(CLASSES)].lower()}/clip_{i:04d}" for i in range(count)]


def prediction_rows(
    methods: Sequence[str],
    seeds: Sequence[int] = (0,),
    clips: int = 24,
    classes: int = len(CLASSES),
    corruption: str = "gauss",
    missing: Iterable[int] = (),
    skill: Mapping[str, float] = SKILL,
) -> list[dict[str, Any]]:
    """Rows of PREDICTIONS: each method is right with its skill less the corruption's drop."""
    gone, rows = set(missing), []
    for method in methods:
        for seed in seeds:
            rng = np.random.default_rng([len(method), seed, len(corruption), ord(corruption[0])])
            order = np.random.default_rng([seed, 7]).permutation(clips)
            place = {"corruption": corruption, "severity": 0 if corruption == "clean" else 5}
            for position, clip in enumerate(order):
                chance = skill.get(method, 0.5) + 0.3 - DROP.get(corruption, 0.2)
                rows.append(_row(rng, method, seed, position, int(clip), classes, chance, int(clip) in gone) | place)
    return rows


def stream_rows(corruptions: Sequence[str], methods: Sequence[str], clips: int = 24) -> list[dict[str, Any]]:
    """Rows of a continual stream: the conditions one after the other."""
    rows = []
    for number, corruption in enumerate(corruptions):
        part = prediction_rows(methods, clips=clips, corruption=corruption)
        rows += [{**row, "position": row["position"] + number * clips} for row in part]
    return rows


def _row(
    rng: np.random.Generator, method: str, seed: int, position: int, clip: int, classes: int, chance: float, gone: bool
) -> dict[str, Any]:
    label = clip % classes
    logits = rng.normal(size=classes).astype(np.float32)
    top = label if rng.random() < chance else int(rng.integers(classes))
    logits[top] = logits.max() + 1
    listens = method in LISTENS and clip % 6 != 5 and not gone
    cyclic = method == "audio_assisted"
    steps = 0 if method == "source" or gone else (int(rng.integers(0, 6)) if cyclic else 1)
    stop = {0: "rising", 5: "max"}.get(steps, "converged") if cyclic else ""
    probability = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    return {
        "method": method,
        "seed": seed,
        "position": position,
        "clip_id": clip_ids(clip + 1)[clip],
        "label": label,
        "available": not gone,
        "problem": "truncated: 3 of 20 frames" if gone else "",
        "prediction": -1 if gone else int(logits.argmax()),
        "confidence": float("nan") if gone else float(probability.max()),
        "entropy": float("nan") if gone else float(-(probability * np.log(probability)).sum()),
        "steps": steps,
        "stop": "" if gone else stop,
        "heard": listens,
        "audio_class": (label if rng.random() < 0.8 else int(rng.integers(classes))) if listens else -1,
        "kappa": 0.8 if listens else float("nan"),
        "alpha": 0.4 if listens else float("nan"),
        "target_max": 0.7 if listens else float("nan"),
        "loss_first": 1.5 if steps else float("nan"),
        "loss_last": 1.2 if steps else float("nan"),
        "agree": not gone,
        "logits": [] if gone else logits.tolist(),
    }


def write_predictions(
    folder: Path,
    rows: list[dict[str, Any]],
    corruption: str = "gauss",
    severity: int | None = None,
    dataset: str = "toy",
    backbone: str = "tiny",
    **facts: Any,
) -> Path:
    """Write one predictions file with the facts that the workflow stores; a stream's rows keep their own conditions."""
    severity = (0 if corruption == "clean" else 5) if severity is None else severity
    runs = dict.fromkeys((row["method"], row["seed"]) for row in rows)
    if corruption not in ("continual", "mixed"):
        rows = [{**row, "corruption": corruption, "severity": severity} for row in rows]
    given = {
        "experiment": "demo",
        "dataset": dataset,
        "corruption": corruption,
        "severity": severity,
        "backbone": backbone,
        "protocol": PROTOCOL,
        "clips_digest": f"{dataset}/{corruption}/{severity}",
        "split": "test",
        "runs": [[method, method, {}, seed] for method, seed in runs],
    }
    path = folder / dataset / f"{corruption}-{severity}" / f"{backbone}.parquet"
    contracts.write(rows, contracts.PREDICTIONS, path, given | facts)
    return path


def write_experiment(
    folder: Path,
    corruptions: Sequence[str] = tuple(DROP),
    methods: Sequence[str] = tuple(m["variant"] for m in METHODS),
    seeds: Sequence[int] = (0, 1),
    clips: int = 40,
    dataset: str = "toy",
    backbone: str = "tiny",
) -> list[Path]:
    """Write the predictions of one dataset and backbone under several conditions; clip 3 is gone under all but clean."""
    paths = []
    for corruption in corruptions:
        gone = () if corruption == "clean" else (3,)
        rows = prediction_rows(methods, seeds, clips, corruption=corruption, missing=gone)
        paths.append(write_predictions(folder / "predictions", rows, corruption, dataset=dataset, backbone=backbone))
    return paths


def clip_row(clip: int, corruption: str = "", **changes: Any) -> dict[str, Any]:
    """A row of CLIPS, or of CORRUPTED_CLIPS if a corruption is named."""
    name = clip_ids(clip + 1)[clip]
    row = {
        "clip_id": name,
        "video": f"{name}.mp4",
        "split": "test",
        "label": clip % len(CLASSES),
        "start": 0.0,
        "end": 1.0,
        "duration": 1.0,
        "frames": 12,
        "fps": 12.0,
        "width": 64,
        "height": 48,
        "audio_rate": 0 if clip % 6 == 5 else 16_000,
        "level": float("nan") if clip % 6 == 5 else -20.0,
        "sha256": "0" * 64,
        "available": True,
        "problem": "",
        "source": "made by fake_results",
        "group": "",
    }
    if corruption:
        row |= {"corruption": corruption, "severity": 5, "seed": 0, "psnr": 18.0}
    return row | changes


def write_clips(folder: Path, clips: int = 40, dataset: str = "toy", corruptions: Sequence[str] = ()) -> list[Path]:
    """Write the clean clips.parquet, then one for each corruption; returns their paths, the clean one first."""
    clean = folder / "data" / dataset / "clips.parquet"
    contracts.write([clip_row(i) for i in range(clips)], contracts.CLIPS, clean, {"dataset": dataset})
    paths = [clean]
    for corruption in corruptions:
        path = folder / "data" / f"{dataset}-c" / corruption / "5" / "clips.parquet"
        gone = {"available": False, "problem": "truncated: 3 of 20 frames", "psnr": float("nan"), "frames": 0}
        rows = [clip_row(i, corruption, **(gone if i == 3 else {})) for i in range(clips)]
        facts = {"dataset": dataset, "corruption": corruption, "severity": 5, "materialised": True}
        contracts.write(rows, contracts.CORRUPTED_CLIPS, path, facts)
        paths.append(path)
    return paths


def write_sides(folder: Path, clips: int = 40, dataset: str = "toy", backbone: str = "tiny") -> dict[str, list[str]]:
    """Write classes, audio, audio scores, label map, training, tuning, timings and the environment; named paths."""
    rng = np.random.default_rng(5)
    made: dict[str, Path] = {
        "classes": folder / "data" / dataset / "classes.parquet",
        "audio": folder / "audio" / dataset / "audio.parquet",
        "audio_scores": folder / "audio_scores" / dataset / "tiny_tagger.parquet",
        "label_map": folder / "label_maps" / dataset / "tiny_tagger.parquet",
        "training": folder / "training" / dataset / f"{backbone}.parquet",
        "tuning": folder / "tuning" / dataset / f"{backbone}.parquet",
        "timings": folder / "predictions" / dataset / "gauss-5" / f"{backbone}.timings.parquet",
        "environment": folder / "environment.json",
    }
    names, heard = clip_ids(clips), [i % 6 != 5 for i in range(clips)]
    named = [{"class_id": i, "name": name, "prompt": name.lower()} for i, name in enumerate(CLASSES)]
    contracts.write(named, contracts.CLASSES, made["classes"], {"dataset": dataset})
    contracts.write(_sounds(names, heard), contracts.AUDIO, made["audio"], {"dataset": dataset})
    scores = [
        {"clip_id": name, "heard": heard[i], "problem": "", "scores": _scores(rng, i % len(CLASSES), heard[i])}
        for i, name in enumerate(names)
    ]
    contracts.write(scores, contracts.AUDIO_SCORES, made["audio_scores"], {"dataset": dataset, "audio_model": "tiny_tagger"})
    contracts.write(_map(), contracts.LABEL_MAP, made["label_map"], {"dataset": dataset, "audio_model": "tiny_tagger"})
    facts = {"dataset": dataset, "backbone": backbone}
    contracts.write(_training(), contracts.TRAINING, made["training"], facts)
    tuned = {"split": "val", "corruptions": ["gauss"], "severity": 5, "backbone": backbone, "dataset": dataset}
    contracts.write(_tuning(), contracts.TUNING, made["tuning"], tuned)
    timed = [
        {"method": m["variant"], "seed": 0, "position": i, "decode": 4.0, "adapt": 20.0 + 9 * j, "memory": 900.0 + j}
        for j, m in enumerate(METHODS)
        for i in range(clips)
    ]
    contracts.write(timed, contracts.TIMINGS, made["timings"], facts | {"corruption": "gauss", "severity": 5})
    write_json(made["environment"], {"python": "3.11.7", "packages": {"torch": "2.13.0", "numpy": "2.4.0"}, "device": "cpu"})
    return {name: [str(path)] for name, path in made.items()}


def _sounds(names: Sequence[str], heard: Sequence[bool]) -> list[dict[str, Any]]:
    return [
        {
            "clip_id": name,
            "wave": f"{i}.wav" if heard[i] else "",
            "rate": 16_000,
            "samples": 16_000 if heard[i] else 0,
            "level": -20.0 if heard[i] else float("-inf"),
            "heard": heard[i],
            "problem": "",
        }
        for i, name in enumerate(names)
    ]


def _scores(rng: np.random.Generator, label: int, heard: bool) -> list[float]:
    if not heard:
        return [0.0] * len(SOUNDS)
    scores = rng.normal(-3, 1, len(SOUNDS))
    scores[SOUND_OF.index(label if rng.random() < 0.85 else int(rng.integers(len(CLASSES))))] += 5
    return scores.astype(float).tolist()


def _map() -> list[dict[str, Any]]:
    return [
        {
            "audio_class": i,
            "audio_name": sound,
            "video_class": SOUND_OF[i],
            "video_name": CLASSES[SOUND_OF[i]] if SOUND_OF[i] >= 0 else "",
            "weight": 1.0 if SOUND_OF[i] >= 0 else 0.0,
            "origin": "reviewed",
            "prompt_sha256": "ab" * 32,
        }
        for i, sound in enumerate(SOUNDS)
    ]


def _training() -> list[dict[str, Any]]:
    rows = []
    for epoch in range(8):
        good = 1 - np.exp(-(epoch + 1) / 3)
        rows += [
            {"epoch": epoch, "split": "train", "metric": "loss", "value": 2.1 * (1 - 0.9 * good), "unit": "nats"},
            {"epoch": epoch, "split": "train", "metric": "top1", "value": 97 * good, "unit": "%"},
            {"epoch": epoch, "split": "val", "metric": "top1", "value": 88 * good, "unit": "%"},
        ]
    return rows


def _tuning() -> list[dict[str, Any]]:
    tried = {"vitta": ("lr", (1e-5, 5e-5, 1e-4)), "audio_assisted": ("alpha_max", (0.3, 0.5, 0.7))}
    return [
        {**tuning.trial(m, f'{{"{key}": {value}}}', 24 + 2 * i - i * i, 48), "chosen": i == 1}
        for m, (key, values) in tried.items()
        for i, value in enumerate(values)
    ]


def write_videos(folder: Path, paths: Sequence[Path], dataset: str = "toy", clips: Iterable[int] = range(8)) -> None:
    """Encode the videos that clips.parquet files name: a moving shape a class, dimmed and noisy under corruptions."""
    from earshot import media

    for path in paths:
        clean = path.parent.name == dataset
        root = folder / "data" / dataset / "media" if clean else path.parent
        for clip in clips:
            frames = _frames(clip, 0 if clean else len(path.parent.parent.name))
            media.write_video(root / clip_row(clip)["video"], frames, 12.0)


def _frames(clip: int, noise: int) -> np.ndarray:
    """Twelve frames (12, 48, 64, 3) of a coloured shape on a gradient."""
    rng = np.random.default_rng([clip, noise])
    y, x = np.mgrid[0:48, 0:64]
    hue = np.array([(37 * clip) % 255, (91 * clip + 120) % 255, (173 * clip + 60) % 255])
    made = []
    for t in range(12):
        ground = np.stack([x * 2 + 40, y * 3 + 30, 200 - x * 2], -1).astype(float)
        wave = np.abs((x - 10 - 4 * t) if clip % 2 else (y - 24)) + np.abs(y - 24 - 8 * np.sin(t + clip)) * (1 + clip % 3)
        frame = np.where((wave < 14)[..., None], hue, ground)
        made.append(frame + rng.normal(0, 9 * noise, frame.shape))
    return np.clip(made, 0, 255).astype(np.uint8)
