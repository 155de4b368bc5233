"""Training of modules between two frozen encoders, with the head of a task, and what they say of a split.

A job that is killed goes on after its last epoch: all randomness is keyed by (seed, epoch), so the result has the same bytes
as that of an undisturbed run on a CPU. The epoch is chosen by the validation split, never by the split of the results.
"""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from earshot import contracts, encoder_weights, feature_store, plugins, prompt_views, prompting_data, questions, weights
from earshot.config import merged, overrides
from earshot.epochs import Best, Means, metric
from earshot.files import fingerprint, sha256_of_file
from earshot.importing import checkpoint_facts, read_published
from earshot.label_spaces import identity
from earshot.memory import Peak
from earshot.prompters import Encoded
from earshot.prompting_data import Items, Sources
from earshot.randomness import seed_of
from earshot.resuming import Resume
from earshot.tasks import Batch, Shape

_CLASSES = {"segments", "label"}  # labels by which pooled vectors are drawn
_SAVE_EVERY = 60.0  # s: what a killed job may lose; writing the state of a large pair takes seconds


@dataclass(frozen=True)
class Inputs:
    """What a job is told; `hyper` are overrides of the task's settings, `modules` of the prompter's."""

    sources: Sources
    encoders: str
    task: str
    plugin: str
    size: str
    hyper: Mapping[str, Any]
    modules: Mapping[str, Any]
    seed: int
    runtime: Mapping[str, Any]
    facts: Mapping[str, Any]
    code: str = ""


def inputs_of(job: Any) -> Inputs:
    """From what a rule gives its script: tables and arrays by name, encoders, and plain values."""
    given = job.input
    arrays = {name: str(given.get(name)) for name in ("frames", "waves", "masks", "motion") if given.get(name)}
    sources = Sources(given.clips, given.classes, given.events, given.questions, arrays)
    return Inputs(sources, given.encoders, **job.params.job, facts=job.params.facts, code=job.params.code)


class Prompted(nn.Module):
    """Prompted encoders with the head of a task."""

    def __init__(self, prompter: Any, head: nn.Module) -> None:
        super().__init__()
        self.prompter, self.head = prompter, head

    def forward(self, batch: Batch) -> tuple[Encoded, Mapping[str, Tensor]]:
        """What the encoders and the head make of clips."""
        segments = batch.frames.shape[1]
        frames = self.prompter.look(batch.frames.flatten(0, 1))
        encoded = self.prompter(frames, self.prompter.listen(batch.waves, segments))
        if "negatives" in batch.labels:
            others = self.prompter.look(batch.labels["negatives"].flatten(0, 1))
            encoded = replace(encoded, negatives=self.prompter.plain(others))
        return encoded, self.head(encoded, batch)

    def kept(self) -> dict[str, Tensor]:
        """The tensors that training changes; the frozen encoders are not among them."""
        parts = (("prompter", self.prompter.state()), ("head", self.head.state_dict()))
        return {f"{part}.{name}": tensor for part, state in parts for name, tensor in state.items()}

    def take(self, state: Mapping[str, Tensor]) -> None:
        """Load what `kept` gave; raises KeyError where something is missing or too much."""
        wanted = self.kept()
        if set(state) != set(wanted):
            raise KeyError(f"weights of other modules or of another head, e.g. {sorted(set(state) ^ set(wanted))[0]}")
        with torch.no_grad():
            for name, tensor in wanted.items():
                if state[name].shape != tensor.shape:
                    raise ValueError(
                        f"weights of another model: {name} is {tuple(state[name].shape)}, not {tuple(tensor.shape)}"
                    )
                tensor.copy_(state[name])


@dataclass(frozen=True)
class Built:
    """A task and a prompter with their settings, on their device."""

    task: ModuleType
    about: Mapping[str, Any]
    prompter: ModuleType
    hyper: Any
    modules: Any
    model: Prompted
    device: str
    encoders: Mapping[str, Any]

    def autocast(self) -> AbstractContextManager[Any]:
        """Half precision, if the settings ask for it; torch keeps norms and softmax in single precision on CUDA alone."""
        return torch.autocast(self.device.split(":")[0], torch.bfloat16, enabled=self.hyper.train.precision == "bf16")

    def forward(self, batch: Batch) -> tuple[Encoded, dict[str, Tensor]]:
        """What the model makes of clips, the head's output in single precision."""
        with self.autocast():
            encoded, output = self.model(batch)
        return encoded, {name: part.float() if part.is_floating_point() else part for name, part in output.items()}

    @property
    def knobs(self) -> dict[str, Any]:
        """All settings, as the config would spell them."""
        both = {"task": self.hyper, "modules": self.modules}
        return {name: one.model_dump(mode="json", by_alias=True) for name, one in both.items()}

    @property
    def trainable(self) -> int:
        """Parameters that training changes."""
        return sum(one.numel() for one in self.model.parameters() if one.requires_grad)

    @property
    def total(self) -> int:
        """All parameters, those of the frozen encoders among them."""
        return sum(one.numel() for one in self.model.parameters())


def build(inputs: Inputs, words: int = 0, device: str | None = None) -> Built:
    """The model of a job, with initial weights that depend on the seed; raises ConfigError for knobs that do not exist.

    `device` is used in place of the one that the config asks for.
    """
    task, prompter = plugins.load("tasks", inputs.task), plugins.load("prompters", inputs.plugin)
    hyper: Any = overrides(task.Hyper, inputs.hyper, "prompting.<name>.hyper")
    given = merged(prompter.defaults(inputs.task), inputs.modules)
    modules = overrides(prompter.Hyper, given, "prompters.<name>.hyper")
    device = device or weights.pick_device(inputs.runtime["device"])
    weights.round_products(hyper.train.precision != "fp32")
    encoders, told = encoder_weights.load(inputs.encoders, prompter.ENCODERS, inputs.size)
    torch.manual_seed(seed_of("prompter", inputs.seed) % 2**63)
    pair = prompter.build(encoders, modules)
    if hasattr(pair, "rename"):
        pair.rename(_classes(inputs))
    pair.set_trunk_mode(hyper.train.trunk_mode)
    pair.finetune(hyper.train.finetune)
    pair.checkpointing = hyper.train.checkpointing
    head = task.build(_shape(inputs, pair.widths, words), hyper)
    model = Prompted(pair, head).to(device)
    return Built(task, plugins.describe("tasks", inputs.task), prompter, hyper, modules, model, device, told)


def _classes(inputs: Inputs) -> list[str]:
    return [row["name"] for row in contracts.read(inputs.sources.classes, contracts.CLASSES)]


def _shape(inputs: Inputs, widths: Any, words: int) -> Shape:
    motion = inputs.sources.arrays.get("motion")
    size = feature_store.read(motion).array.shape[-1] if motion else 0
    return Shape(widths.visual, widths.audio, widths.levels, widths.grids, tuple(_classes(inputs)), words, size)


def train(inputs: Inputs, out: str, metrics_out: str, costs_out: str) -> None:
    """Train on the training split; write what was trained, losses and scores by epoch, and what it took."""
    weights.use_threads(inputs.runtime["training_threads"])
    task = plugins.describe("tasks", inputs.task)
    training = prompting_data.load(inputs.sources, "train", task)
    built = build(inputs, training.words)
    if count := getattr(built.hyper, "shots", 0):
        training = training.few(count)
    if not len(training) or ("segments" in task["truth"] and training.says_nothing):
        raise ValueError(f"{inputs.sources.events}: no clip of the training split has an event in any second: nothing to learn")
    held = _held_out(inputs, built)
    for split, items in (("train", training), ("val", held)):
        for name, problem in (items.missing if items else {}).items():
            print(f"left out of {split}: {name}: {problem}")
    estimate = _announce(inputs, built, training)
    resume = Resume(Path(out).with_suffix(".resume.pt"), _key(inputs, built))
    peak, trainer = Peak(built.device), _Trainer(built, training, held, inputs.seed, resume)
    metrics = trainer.run()
    facts = _facts(inputs, built, len(training), len(training.missing))
    weights.save(out, trainer.best.state or built.model.kept(), {**facts, "epoch": trainer.best.epoch})
    contracts.write(metrics, contracts.TRAINING, metrics_out, facts)
    took = {"epochs": len(trainer.seconds), "epoch_seconds": float(np.median(trainer.seconds)), "memory": peak.megabytes()}
    counted = {"trainable": built.trainable, "total": built.total}
    whose = {"dataset": inputs.facts["dataset"], "prompter": inputs.facts["prompter"], "seed": inputs.seed}
    contracts.write([{**whose, **counted, **took, **estimate}], contracts.PROMPT_COSTS, costs_out, facts)
    resume.forget()


def _announce(inputs: Inputs, built: Built, training: Items) -> dict[str, float]:
    """Print what the training will need before it starts, and return it."""
    at_once = min(built.hyper.train.at_once or built.hyper.train.batch, len(training))
    guess = built.model.prompter.estimate(at_once, built.about["segments"], built.hyper.train.checkpointing)
    memory = guess.memory_bytes + 16 * sum(one.numel() for one in built.model.head.parameters())  # and Adam's share of it
    print(
        f"{built.trainable:,} of {built.total:,} parameters are trained; in single precision and without what the head keeps, "
        f"{at_once} clips at once need about {memory / 1e9:.1f} GB, "
        f"an epoch about {2e-12 * guess.step_macs / at_once * len(training):,.1f} TFLOP"
    )
    return {"estimated_memory": memory / 1e6, "estimated_macs": guess.macs / at_once}


def import_weights(inputs: Inputs, manifest: str, out: str) -> None:
    """Write the modules and the head of a published checkpoint; raises WeightsError if they are not of this model."""
    about, published = read_published(manifest)
    asks = "question" in plugins.describe("tasks", inputs.task)["truth"]
    built = build(inputs, questions.size_of_vocabulary(inputs.sources.questions) if asks else 0, device="cpu")
    pair = built.prompter.import_weights(published, built.model.prompter)
    head = built.task.import_weights(published, built.model.head)
    state = {f"prompter.{k}": v for k, v in pair.items()} | {f"head.{k}": v for k, v in head.items()}
    built.model.take(state)
    facts = {**_facts(inputs, built, 0, 0), "checkpoint": checkpoint_facts(about), "epoch": 0}
    weights.save(out, state, facts)


def _held_out(inputs: Inputs, built: Built) -> Items | None:
    """The validation split; None where it cannot be scored and the settings do not need it."""
    held, lacks = None, "there is none"
    if prompting_data.listed(inputs.sources, "val", built.about):
        held = prompting_data.load(inputs.sources, "val", built.about)
        if held.says_nothing:
            held, lacks = None, "no event of it is known"
    if held is None and built.hyper.train.keep == "best":
        raise ValueError(
            f"{inputs.sources.clips}: `train: {{keep: best}}` chooses by the validation split, and {lacks}; set `keep: last`"
        )
    return held


def _key(inputs: Inputs, built: Built) -> str:
    """Everything that decides the result of a training, so that a state of another one is not taken."""
    sources = inputs.sources
    arrays = [feature_store.read(path).facts for path in sources.arrays.values()]
    tables = [sha256_of_file(path) for path in [*_tables(sources), inputs.encoders]]
    where = [built.device.split(":")[0], inputs.runtime["training_threads"]]
    return fingerprint([inputs.code, inputs.plugin, inputs.task, built.knobs, inputs.seed, arrays, tables, where])


def _tables(sources: Sources) -> list[str]:
    return [sources.clips, sources.classes, sources.events, sources.questions]


def _facts(inputs: Inputs, built: Built, clips: int, missing: int) -> dict[str, Any]:
    names = _classes(inputs)
    whose = {**inputs.facts, "plugin": inputs.plugin, "hyper": built.knobs, "seed": inputs.seed}
    told = {"classes": names, "label_space": identity(names), "train_clips": clips, "train_missing": missing}
    return {**whose, **told, "encoder_weights": dict(built.encoders)}


# --- what a model says ------------------------------------------------------------------------------------------------


def run(inputs: Inputs, weights_path: str, split: str, show: int, out: str, views_out: str) -> None:
    """Write what a trained model says of every item of a split, and views of it; what cannot be used is marked unavailable."""
    weights.use_threads(inputs.runtime["torch_threads"])
    task = plugins.describe("tasks", inputs.task)
    items = prompting_data.load(inputs.sources, split, task)
    built = build(inputs, items.words)
    built.model.take(load_file(weights_path))
    trained = weights.facts_of(weights_path)
    _check_trained(inputs, built, trained, split)
    for name, problem in items.missing.items():
        print(f"left out of {split}: {name}: {problem}")
    scores, views = scores_and_views(built, items, show)
    rows = {name: _row(name, clip, own) for name, clip, own in zip(items.names, items.clip_ids, scores, strict=True)}
    rows |= {name: _row(name, clip, problem=items.missing[name]) for name, clip in _lost(inputs, split, built, items)}
    order = [name for name, _ in prompting_data.listed(inputs.sources, split, built.about)]
    facts = {
        **_facts(inputs, built, trained["train_clips"], trained["train_missing"]),
        "split": split,
        "epoch": trained["epoch"],
    }
    shape = list(scores.shape[1:])
    counted = {"trainable": built.trainable, "total": built.total}
    told = {"encoders": _named(inputs, built), "scores_shape": shape, "trunk_mode": built.hyper.train.trunk_mode, **counted}
    contracts.write([rows[name] for name in order], contracts.PROMPTED, out, {**facts, **told})
    prompt_views.write_views(views, views_out)


def _check_trained(inputs: Inputs, built: Built, trained: Mapping[str, Any], split: str) -> None:
    """Raise ValueError where weights are of other classes, or were chosen on the split that is to be scored."""
    by_name = hasattr(built.model.prompter, "rename")
    if trained["label_space"] != identity(_classes(inputs)) and not by_name:
        raise ValueError(
            f"these weights are of other classes, {', '.join(trained['classes'][:3])}, …: '{inputs.plugin}' reads no names"
        )
    chosen_here = (
        built.hyper.train.keep == "best" and trained["epoch"] and inputs.facts["trained_on"] == inputs.facts["dataset"]
    )
    if split == "val" and chosen_here:
        raise ValueError("the epoch was chosen by the validation split: score another one, or set `train: {keep: last}`")


def _named(inputs: Inputs, built: Built) -> str:
    """The frozen encoders as results name them, with a mark where they were never trained."""
    return f"{inputs.facts['encoders']}{contracts.UNTRAINED if built.encoders['origin'] == 'random' else ''}"


def _lost(inputs: Inputs, split: str, built: Built, items: Items) -> Iterator[tuple[str, str]]:
    for name, clip in prompting_data.listed(inputs.sources, split, built.about):
        if name in items.missing:
            yield name, clip


def _row(name: str, clip: str, scores: NDArray[np.float32] | None = None, problem: str = "") -> dict[str, Any]:
    """A row of PROMPTED; without finite scores the item is unavailable."""
    if scores is None or not np.isfinite(scores).all():
        told = problem or "scores that are not finite"
        return {"item": name, "clip_id": clip, "available": False, "problem": told, "scores": []}
    return {"item": name, "clip_id": clip, "available": True, "problem": "", "scores": scores.ravel().tolist()}


@dataclass(frozen=True)
class Said:
    """What a model makes of a batch of items at these places, and the scores (N, ...) that come of it."""

    picks: NDArray[np.int64]
    batch: Batch
    encoded: Encoded
    output: Mapping[str, Tensor]
    scores: NDArray[np.float32]


@torch.no_grad()
def said_of(built: Built, items: Items) -> Iterator[Said]:
    """What a model says of all items, batch by batch and in their order."""
    built.model.eval()
    at_once = built.hyper.train.at_once or built.hyper.train.batch
    for picks in np.array_split(np.arange(len(items)), math.ceil(len(items) / at_once)):
        batch = items.batch(picks).to(built.device)
        encoded, output = built.forward(batch)
        yield Said(picks, batch, encoded, output, built.task.predict(output, batch).float().cpu().numpy())


def scores_and_views(built: Built, items: Items, show: int) -> tuple[NDArray[np.float32], prompt_views.Views]:
    """Scores (N, ...) of all items, and views of them; `show`, evenly spread, with what the model looks at."""
    chosen = np.unique(np.linspace(0, len(items) - 1, min(show, len(items))).astype(np.int64))
    scores, views = [], _Views(chosen)
    for said in said_of(built, items):
        scores.append(said.scores)
        if show:
            views.add(said)
    return np.concatenate(scores), views.of(items) if show else prompt_views.Views(items.names)


class _Views:
    """Pooled vectors of all segments whose class is known, and what is drawn of a few items."""

    def __init__(self, chosen: NDArray[np.int64]) -> None:
        self.chosen = chosen
        self.parts: dict[str, list[NDArray[Any]]] = {}

    def add(self, said: Said) -> None:
        """Take the views of a batch."""
        batch, encoded, output, clips = said.batch, said.encoded, said.output, said.batch.frames.shape[:2]
        if _CLASSES & set(batch.labels):
            self._keep("visual", encoded.visual_pooled.unflatten(0, clips).half())
            self._keep("audio", encoded.audio_pooled.unflatten(0, clips).half())
        drawn = torch.from_numpy(np.flatnonzero(np.isin(said.picks, self.chosen))).to(batch.frames.device)
        if not len(drawn):
            return
        side = math.isqrt(encoded.visual_map.shape[-1])
        maps = encoded.visual_map.float().unflatten(0, clips).unflatten(-1, (side, side))
        self._keep("frames", batch.frames[drawn])
        self._keep("visual_map", maps[drawn])
        if "masks" in output:
            self._keep("mask", (output["masks"][drawn] > 0).to(torch.uint8))
            self._keep("truth", batch.labels["masks"][drawn])

    def _keep(self, name: str, part: Tensor) -> None:
        self.parts.setdefault(name, []).append(part.cpu().numpy())

    def of(self, items: Items) -> prompt_views.Views:
        """All views, with the class of every segment where the task knows it."""
        arrays = {name: np.concatenate(parts) for name, parts in self.parts.items()}
        if "segments" in items.labels:
            arrays["labels"] = items.labels["segments"].astype(np.int16)
        elif "label" in items.labels:
            arrays["labels"] = np.repeat(items.labels["label"][:, None], arrays["visual"].shape[1], axis=1).astype(np.int16)
        return prompt_views.Views(items.names, [items.names[place] for place in self.chosen], arrays)


def scores_of(built: Built, items: Items) -> dict[str, float]:
    """The mean of every metric over items in percent; raises ValueError where the model has diverged."""
    scores = np.concatenate([said.scores for said in said_of(built, items)])
    if not np.isfinite(scores).all():
        raise ValueError("what the model says is not finite")
    found = built.task.per_item(scores, items.truth())
    return {name: float(100 * np.nanmean(values)) for name, values in found.items() if not np.isnan(values).all()}


# --- training ---------------------------------------------------------------------------------------------------------


class _Trainer:
    """The loop over epochs, which are counted from 1."""

    def __init__(self, built: Built, training: Items, held: Items | None, seed: int, resume: Resume) -> None:
        self.built, self.training, self.held, self.seed, self.resume = built, training, held, seed, resume
        self.settings = built.hyper.train
        self.optimizer = built.hyper.optim.build(built.model.head, built.model.prompter)
        self.best = Best(self.settings.keep, "first", self.settings.epochs)
        self.metrics: list[dict[str, Any]] = []
        self.seconds: list[float] = []
        self.saved = time.monotonic()

    def run(self) -> list[dict[str, Any]]:
        """Train all remaining epochs; returns the rows of the training table."""
        for epoch in range(self._restore() + 1, self.settings.epochs + 1):
            if self._tired(epoch):
                break
            started = time.monotonic()
            self._epoch(epoch)
            if self.held is not None:
                found = scores_of(self.built, self.held)
                self.metrics += [metric(epoch, "val", name, value, "%") for name, value in found.items()]
                self.best.look(epoch, found[self.built.about["select_by"]], self.built.model.kept())
            self.seconds.append(time.monotonic() - started)
            if time.monotonic() - self.saved >= _SAVE_EVERY:
                self._save(epoch)
        return self.metrics

    def _tired(self, epoch: int) -> bool:
        """Whether too many epochs have passed without a gain."""
        waited = epoch - 1 - self.best.epoch
        return bool(self.settings.patience and self.best.state and waited >= self.settings.patience)

    def _epoch(self, epoch: int) -> None:
        """One pass over the training split."""
        factor = self.built.hyper.optim.factor(epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor
        torch.manual_seed(seed_of("dropout", self.seed, epoch) % 2**63)
        self.built.model.train()
        means = Means()
        for picks in self._batches(epoch):
            self._step(picks, epoch, means)
        if not math.isfinite(means.of("loss")):
            raise ValueError(f"training diverged in epoch {epoch}: its loss is {means.of('loss')}; lower `optim: {{lr: …}}`")
        self.metrics += [metric(epoch, "train", name, value, unit) for name, value, unit in means.all()]
        self.metrics += [metric(epoch, "train", "lr", self.built.hyper.optim.lr * factor, "")]
        print(f"epoch {epoch}: loss {means.of('loss'):.4f}")

    def _batches(self, epoch: int) -> Iterator[NDArray[np.int64]]:
        generator = torch.Generator().manual_seed(seed_of("order", self.seed, epoch) % 2**63)
        for picks in torch.randperm(len(self.training), generator=generator).split(self.settings.batch):
            yield picks.numpy()

    def _step(self, picks: NDArray[np.int64], epoch: int, means: Means) -> None:
        """One step of the optimiser, over parts of a batch that fit into memory; their gradients are averaged by clip."""
        at_once = self.settings.at_once or len(picks)
        parts = [picks[start : start + at_once] for start in range(0, len(picks), at_once)]
        thrown_away = self.settings.accumulation == "reference"
        self.optimizer.zero_grad()
        for number, part in enumerate(parts):
            batch = self.training.batch(part, self.seed, epoch).to(self.built.device)
            found = self.built.task.losses(self.built.forward(batch)[1], batch, self.built.hyper, epoch)
            loss = torch.stack(list(found.terms.values())).sum()
            last = number == len(parts) - 1
            if not thrown_away or last:
                (loss if thrown_away else loss * (len(part) / len(picks))).backward()
            told = {f"loss_{name}": term.detach() for name, term in found.terms.items()}
            means.add({"loss": loss.detach(), **told}, len(part))
        if self.built.hyper.optim.clip:
            learnt = [one for group in self.optimizer.param_groups for one in group["params"]]
            nn.utils.clip_grad_norm_(learnt, self.built.hyper.optim.clip)
        self.optimizer.step()

    def _save(self, epoch: int) -> None:
        state = {"model": self.built.model.kept(), "optimizer": self.optimizer.state_dict(), "best": self.best.told()}
        self.resume.save({"epoch": epoch, "metrics": self.metrics, "seconds": self.seconds, **state})
        self.saved = time.monotonic()

    def _restore(self) -> int:
        """Take up the state of a killed job; returns its last epoch, 0 if there is none."""
        state = self.resume.restore()
        if state is None:
            return 0
        self.built.model.take(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.best.take(state["best"])
        self.metrics, self.seconds = state["metrics"], state["seconds"]
        print(f"going on after epoch {state['epoch']}")
        return int(state["epoch"])
