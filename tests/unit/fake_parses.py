"""Builders of a fake parsing experiment: parses, training, metrics and the tables around them, in the real contracts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from earshot import contracts, data_facts, media, parse_scoring
from earshot.files import write_json

CLASSES = ("Speech", "Car", "Dog", "Frying_(food)", "Fire_alarm", "Cello", "Telephone_bell_ringing", "Baby_laughter")
FEATURES = "clap + clip"
REFERENCE = "valor_plus_plus"
PUBLISHED = {"han": "HAN", "valor": "VALOR", "valor_plus": "VALOR+", "valor_plus_plus": "VALOR++", "link": "LINK"}
SLOSS = {"enabled": True, "mu": {"mode": "learnable", "init": 0.0}}
LINK = {
    "tsam": {"enabled": True},
    "sloss": SLOSS,
    "plsim": {"enabled": True, "eval_source": "ungated"},
    "train": {"epochs": 12},
}
PLAIN = {"structure": {"dim": 256}, "train": {"epochs": 12}}


@dataclass(frozen=True)
class Parser:
    """A variant: how often it is right about a class in a second, and its settings."""

    plugin: str
    skill: float
    hyper: Mapping[str, Any] = field(default_factory=dict)
    features: str = FEATURES
    leak: bool = False
    summary: str = ""


def changed(**groups: Mapping[str, Any]) -> dict[str, Any]:
    """LINK's settings with some of them changed."""
    return {name: {**given, **groups.get(name, {})} for name, given in LINK.items()}


PARSERS = {
    "han": Parser("han", 0.83, PLAIN, "vggish + resnet152 + r2plus1d", summary="HAN: the hybrid attention network."),
    REFERENCE: Parser("valor_plus_plus", 0.88, PLAIN, summary="VALOR++: learns from pseudo-labels of CLIP and CLAP."),
    "link_without_plsim": Parser("link", 0.895, changed(plsim={"enabled": False}), summary="LINK without words."),
    "link": Parser("link", 0.91, LINK, summary="LINK: VALOR++ with TSAM, S-LOSS and PLSIM."),
    "link_oracle": Parser(
        "link", 0.96, changed(plsim={"eval_source": "gated_oracle"}), leak=True, summary="LINK, shown labels."
    ),
}


def given(
    parsers: Mapping[str, Parser] = PARSERS, seeds: Sequence[int] = (0, 1), title: str = "Parsing demo"
) -> SimpleNamespace:
    """A job's params."""
    told = [
        {
            "variant": name,
            "plugin": p.plugin,
            "published": PUBLISHED[p.plugin],
            "hyper": {},
            "features": p.features,
            "summary": p.summary,
        }
        for name, p in parsers.items()
    ]
    plugins = {"llp": "llp", "other": "parsing_folder"}
    return SimpleNamespace(plugins=plugins, title=title, split="test", seeds=list(seeds), parsers=told, reference=REFERENCE)


def clip_id(clip: int) -> str:
    """The name of a test clip."""
    return f"test_{clip:04d}"


def truth_of(clips: int, classes: int = len(CLASSES)) -> np.ndarray:
    """What is true (N, 2, C, 10): one to three events a clip, most of them both heard and seen, some apart in time."""
    rng = np.random.default_rng(11)
    truth = np.zeros((clips, 2, classes, 10), bool)
    for clip in range(clips):
        for number in rng.choice(classes, 1 + clip % 3, replace=False):
            onset = int(rng.integers(0, 7))
            offset = int(rng.integers(onset + 2, 11))
            kind = rng.random()
            if kind < 0.8:
                truth[clip, 0, number, onset:offset] = True
            if kind > 0.2:
                shift = int(rng.integers(0, 3)) if kind > 0.6 else 0
                truth[clip, 1, number, min(onset + shift, 8) : offset] = True
    return truth


def scores_of(truth: np.ndarray, skill: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores of clips (N, C) and probabilities (N, 10, 2, C): events lose seconds or are missed, and a few are made up."""
    rng = np.random.default_rng([round(1000 * skill), seed])
    clips, _, classes, _ = truth.shape
    said = truth & (rng.random(truth.shape) < skill) & (rng.random(truth.shape[:3]) < skill + 0.06)[..., None]
    invented = rng.random((clips, 2, classes)) > 0.985 - (1 - skill) / 9
    said |= invented[..., None] & (np.arange(10) > rng.integers(0, 9, (clips, 2, classes))[..., None])
    segments = np.where(said, 0.75, 0.2) + rng.uniform(-0.15, 0.15, said.shape)
    video = np.where(said.any(axis=(1, 3)), 0.9, 0.3) + rng.uniform(-0.1, 0.1, (clips, classes))
    return video.astype(np.float32), segments.transpose(0, 3, 1, 2).astype(np.float32)


def parse_rows(video: np.ndarray, segments: np.ndarray, gone: Sequence[int] = ()) -> list[dict[str, Any]]:
    """Rows of PARSES."""
    rows = []
    for clip in range(len(video)):
        here = clip not in gone
        rows.append(
            {
                "clip_id": clip_id(clip),
                "available": here,
                "problem": "" if here else f"audio: missing: no file '{clip_id(clip)}.npy'",
                "video_prob": video[clip].tolist() if here else [],
                "segment_prob": segments[clip].ravel().tolist() if here else [],
            }
        )
    return rows


def facts(name: str, parser: Parser, seed: int, dataset: str) -> dict[str, Any]:
    """What PARSES say of themselves."""
    whose = {"dataset": dataset, "parser": name, "plugin": parser.plugin, "seed": seed, "features": parser.features}
    return {**whose, "leak": parser.leak, "split": "test", "hyper": dict(parser.hyper), "epoch": 9 + seed, "experiment": "demo"}


def write_experiment(
    folder: Path,
    parsers: Mapping[str, Parser] = PARSERS,
    seeds: Sequence[int] = (0, 1),
    clips: int = 24,
    dataset: str = "toy",
    gone: Sequence[int] = (5,),
) -> dict[str, Any]:
    """Write everything of an experiment but its videos; returns paths by kind. Clips in `gone` have no features."""
    truth = truth_of(clips)
    made: dict[str, Any] = {"parses": [], "training": []}
    for name, parser in parsers.items():
        for number, seed in enumerate(seeds):
            place = f"{dataset}/{name}/{number}.parquet"
            rows = parse_rows(*scores_of(truth, parser.skill, seed), gone)
            contracts.write(rows, contracts.PARSES, folder / "parses" / place, facts(name, parser, seed, dataset))
            contracts.write(training_rows(parser, seed), contracts.TRAINING, folder / "training" / place, {"seed": seed})
            made["parses"].append(str(folder / "parses" / place))
            made["training"].append(str(folder / "training" / place))
    made |= write_data(folder, truth, dataset)
    data = (made[name][0] for name in ("clips", "events", "classes"))
    scores = parse_scoring.score(made["parses"], *data, "test", REFERENCE)
    for name, rows, schema in (
        ("metrics", data_facts.marked(scores.metrics, {}), contracts.PARSING_METRICS),
        ("by_class", scores.classes, contracts.PARSING_CLASS_METRICS),
    ):
        made[name] = str(folder / f"{name}.parquet")
        contracts.write(rows, schema, made[name], {})
    return made


def write_data(folder: Path, truth: np.ndarray, dataset: str) -> dict[str, Any]:
    """Write clips, classes, events and the environment; clip 2 has no file."""
    names = {name: folder / "data" / dataset / f"{name}.parquet" for name in ("clips", "classes", "events")}
    clips = [
        clip_row(clip, available=clip != 2, problem="missing: no such file" if clip == 2 else "") for clip in range(len(truth))
    ]
    clips += [clip_row(clip, clip_id=f"train_{clip:04d}", split="train") for clip in range(4)]
    contracts.write(clips, contracts.CLIPS, names["clips"], {"dataset": dataset})
    named = [{"class_id": i, "name": name, "prompt": name} for i, name in enumerate(CLASSES)]
    contracts.write(named, contracts.CLASSES, names["classes"], {"dataset": dataset})
    contracts.write(event_rows(truth), contracts.EVENTS, names["events"], {"dataset": dataset})
    environment = folder / "environment.json"
    write_json(environment, {"python": "3.11.7", "packages": {"torch": "2.13.0"}, "device": "cpu"})
    return {**{name: [str(path)] for name, path in names.items()}, "environment": str(environment)}


def clip_row(clip: int, **changes: Any) -> dict[str, Any]:
    """A row of CLIPS."""
    name = changes.get("clip_id", clip_id(clip))
    size = {
        "start": 0.0,
        "end": 10.0,
        "frames": 80,
        "fps": 8.0,
        "width": 64,
        "height": 48,
        "audio_rate": 16_000,
        "duration": 10.0,
    }
    row = {"clip_id": name, "video": f"videos/{name}.mp4", "split": "test", "label": -1, **size}
    return (
        row
        | {"sha256": "0" * 64, "available": True, "problem": "", "source": "made by fake_parses", "group": "", "level": -20.0}
        | changes
    )


def event_rows(truth: np.ndarray) -> list[dict[str, Any]]:
    """Rows of EVENTS: one a second that is true, and the weak labels."""
    rows = []
    for clip, side, number, second in zip(*(places.tolist() for places in np.nonzero(truth)), strict=True):
        whose = {"clip_id": clip_id(clip), "modality": ("audio", "visual")[side], "class_id": number}
        rows.append({**whose, "onset": float(second), "offset": float(second + 1)})
    for clip, number in zip(*(places.tolist() for places in np.nonzero(truth.any(axis=(1, 3)))), strict=True):
        nowhen = {"onset": float("nan"), "offset": float("nan")}
        rows.append({"clip_id": clip_id(clip), "modality": "weak", "class_id": number, **nowhen})
    return rows


def training_rows(parser: Parser, seed: int, epochs: int = 12) -> list[dict[str, Any]]:
    """Rows of TRAINING: a falling loss, a rising score and, for LINK, its scalars."""
    rows: list[dict[str, Any]] = []
    rng = np.random.default_rng([seed, len(parser.plugin)])
    for epoch in range(1, epochs + 1):
        good = 1 - np.exp(-epoch / 3) + rng.normal(0, 0.02)
        told = {"loss": 1.4 * (1 - 0.8 * good), "loss_video": 0.5 * (1 - 0.8 * good), "lr": 3e-4}
        if parser.plugin == "link":
            told |= {"mu": 0.97 * (1 - np.exp(-epoch / 4)) + 0.02 * seed, "lambda": 1 + 1.2 * np.exp(-epoch / 4)}
            told |= {"alpha_beta_audio": 0.09 * good, "alpha_beta_visual": -0.05 * good}
        rows += [{"epoch": epoch, "split": "train", "metric": m, "value": float(v), "unit": ""} for m, v in told.items()]
        score = 65 * parser.skill * good + rng.normal(0, 0.8)
        rows.append({"epoch": epoch, "split": "val", "metric": "f_score_seg_TypeAV", "value": float(score), "unit": "%"})
    return rows


def write_videos(root: Path, clips: Sequence[int], seconds: float = 10.0) -> None:
    """Encode videos of 8 frames a second: a square whose colour changes every second, and a tone that comes and goes."""
    for clip in clips:
        frames = np.zeros((round(8 * seconds), 48, 64, 3), np.uint8)
        for t, frame in enumerate(frames):
            frame[:] = (40 + 20 * (clip % 5), 70, 90)
            frame[12:36, 4 + 5 * (t % 8) : 22 + 5 * (t % 8)] = (220, 60 + 18 * (t // 8), 40 * (clip % 6))
        time = np.arange(round(16_000 * seconds)) / 16_000
        wave = 0.4 * np.sin(2 * np.pi * 330 * time) * (np.sin(np.pi * time / 2 + clip) > 0)
        media.write_video(root / clip_row(clip)["video"], frames, 8.0, wave.astype(np.float32))
