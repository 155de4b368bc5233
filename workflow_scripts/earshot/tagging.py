"""Audio taggers that are trained here, on a bank of named sounds."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from earshot import contracts, media, plugins, tagger_weights, weights
from earshot.audio_models import AudioModel
from earshot.config import overrides
from earshot.datasets import DatasetError
from earshot.errors import MediaError
from earshot.randomness import numpy_generator, seed_of

_HELD_OUT = 0.2  # share of the bank's excerpts on which the tagger's accuracy is measured


def read_bank(path: str) -> tuple[list[tuple[Path, str]], list[str]]:
    """Read a sound bank's CSV of `path,sound`; returns (file, name) pairs and the sorted names."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        if not {"path", "sound"} <= set(reader.fieldnames or ()):
            raise DatasetError(f"{path}: expected the columns path, sound; the header is {reader.fieldnames}")
        rows = [(Path(path).parent / row["path"], row["sound"]) for row in reader]
    return rows, sorted({name for _, name in rows})


def train(
    bank: str, plugin: str, options: dict[str, Any], hyper: dict[str, Any], seed: int, runtime: dict[str, Any], out: str,
    metrics_out: str,
) -> None:  # fmt: skip
    """Train a tagger on a sound bank; write its weights with their labels, and its accuracy on held-out excerpts."""
    weights.use_threads(runtime["training_threads"])
    module = plugins.load("audio_models", plugin)
    settings = overrides(module.Hyper, hyper, "audio_models.<name>.hyper")
    chosen = overrides(module.Options, options, "audio_models.<name>.options")
    rows, labels = read_bank(bank)
    waves, targets = _load_bank(rows, labels, module.spec(chosen))
    order = numpy_generator("bank", seed).permutation(len(targets))
    n_held = round(_HELD_OUT * len(order))
    held, kept = torch.from_numpy(order[:n_held]), torch.from_numpy(order[n_held:])
    torch.manual_seed(seed_of("tagger", seed) % 2**63)
    model = module.build(len(labels), chosen)
    losses = _fit(model, module, waves[kept], targets[kept], len(labels), settings, seed)
    model.eval()
    with torch.no_grad():
        right = _logits(model, waves[held]).argmax(-1) == targets[held] if n_held else torch.zeros(0)
    top1 = 100 * float(right.float().mean()) if n_held else float("nan")
    metrics = [("train", "loss", loss, "nats") for loss in losses] + [("held_out", "top1", top1, "%")]
    table = [
        {"epoch": min(i, len(losses) - 1), "split": split, "metric": name, "value": value, "unit": unit}
        for i, (split, name, value, unit) in enumerate(metrics)
    ]
    facts = tagger_weights.facts(plugin, chosen, labels, origin="trained", hyper=settings.model_dump())
    weights.save(out, model.state_dict(), facts)
    contracts.write(table, contracts.TRAINING, metrics_out, {**facts, "excerpts": len(targets), "held_out": n_held})


def _load_bank(rows: list[tuple[Path, str]], labels: list[str], spec: AudioModel) -> tuple[Tensor, Tensor]:
    """All readable excerpts as (E, N), cut or looped to one window, and their labels (E,)."""
    length = int(spec.rate_hz * spec.window_s)
    waves, targets = [], []
    for path, name in rows:
        try:
            wave = media.read_wave(path, spec.rate_hz)
        except MediaError as error:
            print(f"left out: {path}: {error}")
            continue
        if len(wave):
            waves.append(torch.from_numpy(np.resize(wave, length)))
            targets.append(labels.index(name))
    if not waves:
        raise DatasetError("the sound bank holds no sound that can be read")
    return torch.stack(waves), torch.tensor(targets)


def _fit(model: nn.Module, module: Any, waves: Tensor, targets: Tensor, n_classes: int, hyper: Any, seed: int) -> list[float]:
    steps = hyper.epochs * -(-len(waves) // hyper.batch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=hyper.lr, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    losses = []
    model.train()
    for epoch in range(hyper.epochs):
        generator = torch.Generator().manual_seed(seed_of("tagger", seed, epoch) % 2**63)
        order = torch.randperm(len(waves), generator=generator)
        total = []
        for picks in order.split(hyper.batch):
            if len(picks) < 2:
                continue
            batch, labels = _batch(module, waves, targets, picks, n_classes, hyper, generator)
            loss = nn.functional.binary_cross_entropy_with_logits(_logits(model, batch), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total.append(float(loss.detach()))
        losses.append(float(np.mean(total)))
    return losses


def _logits(model: nn.Module, waves: Tensor) -> Tensor:
    """Logits (B, A) of waves (B, N) that are sound to the end."""
    return model(waves, torch.full((len(waves),), waves.shape[1]))


def _batch(
    module: Any, waves: Tensor, targets: Tensor, picks: Tensor, n_classes: int, hyper: Any, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    others = torch.randint(len(waves), (len(picks),), generator=generator)
    mixed = [module.mix(waves[i], waves[j], hyper, generator) for i, j in zip(picks, others, strict=True)]
    labels = nn.functional.one_hot(targets[picks], n_classes).float()
    second = torch.tensor([both for _, both in mixed])
    labels[second, targets[others][second]] = 1.0
    return torch.stack([wave for wave, _ in mixed]), labels
