"""What a task gets, made up: small encoded clips with labels of every kind."""

import torch

from earshot import plugins, tasks
from earshot.prompters import Encoded

CLASSES = tuple("abcdef")
LEVELS, GRIDS, AUDIO, WORDS = (6, 8, 10, 12), (8, 4, 2, 1), 7, 20
SMALL = {
    "ave": {"cmbs": {"visual": 12, "audio": 5, "relations": {"width": 8, "heads": 2, "ff": 16}}},
    "avvp": {
        "grouping": {"width": 16, "heads": 2, "depth": 2, "depth_both": 2, "tokens_hidden": 8},
        "temporal": {"hidden": 4, "relations": {"width": 8, "heads": 2, "ff": 16}},
    },
    "avqa": {"head": {"match": [16, 8, 4]}},
}
SMALL["avs_s4"] = SMALL["avs_ms3"] = {
    "head": {"channels": 8, "audio": 5, "sides": [8, 4, 2, 1], "relations": {"width": 8, "heads": 2, "ff": 16}}
}
ALL = tuple(SMALL)


def shape(motion=5):
    return tasks.Shape(LEVELS[-1], AUDIO, LEVELS, GRIDS, CLASSES, WORDS, motion)


def made(name, seed=0, motion=5, **hyper):
    """The module of a task, its settings and a small head."""
    module = plugins.load("tasks", name)
    settings = module.Hyper.model_validate({**SMALL[name], **hyper})
    torch.manual_seed(seed)
    return module, settings, module.build(shape(motion), settings)


def given(name, clips=4, seed=0, side=32, negatives=True):
    """Encoded clips of a task, and their batch."""
    segments, g = plugins.load("tasks", name).SEGMENTS, torch.Generator().manual_seed(seed)
    n = clips * segments
    levels = tuple(torch.randn(n, grid * grid, width, generator=g) for width, grid in zip(LEVELS, GRIDS, strict=True))
    audio = torch.randn(n, 4, AUDIO, generator=g)
    others = torch.randn(n, GRIDS[-1] ** 2, LEVELS[-1], generator=g) if negatives else None
    maps = (torch.full((n, GRIDS[-1] ** 2), 1 / GRIDS[-1] ** 2), torch.full((n, 4), 0.25))
    encoded = Encoded(levels[-1], audio, levels[-1].mean(dim=1), audio.mean(dim=1), *maps, levels, others)
    frames = torch.zeros(clips, segments, side, side, 3, dtype=torch.uint8)
    return encoded, tasks.Batch(frames, torch.zeros(clips, 100), labels(clips, segments, side, g))


def labels(clips, segments, side, g):
    """Labels of every kind that tasks ask for."""

    def whole(high, *size):
        return torch.randint(high, size, generator=g)

    return {
        "segments": whole(len(CLASSES) + 1, clips, segments),
        "label": whole(len(CLASSES), clips),
        "weak": whole(2, clips, len(CLASSES)).float(),
        "dense": whole(2, clips, 2, len(CLASSES), segments).bool(),
        "motion": torch.randn(clips, segments, 5, generator=g),
        "masks": whole(2, clips, segments, side, side).to(torch.uint8),
        "question": whole(WORDS, clips, 14),
        "answer": whole(len(CLASSES), clips),
        "kind": whole(9, clips),
    }


def pick(encoded, batch, clip, segments):
    """One clip of many."""
    rows = slice(clip * segments, (clip + 1) * segments)
    parts = {name: getattr(encoded, name) for name in ("visual", "audio", "visual_pooled", "audio_pooled")}
    one = Encoded(
        **{name: part[rows] for name, part in parts.items()},
        visual_map=encoded.visual_map[rows],
        audio_map=encoded.audio_map[rows],
        levels=tuple(level[rows] for level in encoded.levels),
        negatives=None if encoded.negatives is None else encoded.negatives[rows],
    )
    only = {name: value[clip : clip + 1] for name, value in batch.labels.items()}
    return one, tasks.Batch(batch.frames[clip : clip + 1], batch.waves[clip : clip + 1], only)
