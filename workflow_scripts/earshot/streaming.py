"""One cell of an experiment: every method variant and seed over the same decoded clips, by way of the part store."""

import json
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors.torch import load_file

from earshot import contracts, label_map, plugins, weights
from earshot.adaptation import Context, Evidence, NotApplicable, prediction_row
from earshot.backbones import Backbone
from earshot.config import MIXED, overrides
from earshot.files import fingerprint, sha256_of_file
from earshot.loading import ClipLoader, FrameCache, Sampling
from earshot.memory import Peak
from earshot.parts import PartStore
from earshot.randomness import seed_of
from earshot.statistics import load_aligned
from earshot.streams import Arrival, mixed_choice, run_stream, stream_order

Row = dict[str, Any]
_TOLD = ("origin", "label_space", "checkpoint", "checkpoint_label_space", "fit")  # of the weights, by results
_PREDICTIONS, _TIMINGS = "predictions", "timings"
_FILES, _OPTIONAL = ("classes", "weights"), ("statistics", "importance", "audio_scores", "label_map")


@dataclass(frozen=True)
class CellInputs:
    """Files and settings of one cell. Paths are given as text; those of `_OPTIONAL` may be empty."""

    clips: list[str]  # one table for each corruption of the stream
    root: str  # of the clean clips
    classes: str
    weights: str
    statistics: str
    importance: str
    audio_scores: str
    label_map: str
    backbone: dict[str, Any]  # plug-in and options
    dataset: str
    corruption: str
    split: str
    protocol: dict[str, Any]
    batch: int
    compute: dict[str, Any]
    runtime: dict[str, Any]
    parts: str
    codes: dict[str, str] = field(default_factory=dict)  # digest of the code of each method plug-in

    @classmethod
    def of(cls, given: Any, codes: dict[str, str], cell: dict[str, Any], runtime: dict[str, Any]) -> "CellInputs":
        """From a job's named input files, of which some may be lacking, and its settings."""
        files: dict[str, Any] = {name: str(getattr(given, name)) for name in _FILES}
        others: dict[str, Any] = {name: str(given.get(name) or "") for name in _OPTIONAL}
        clips = [given.clips] if isinstance(given.clips, str) else list(map(str, given.clips))
        return cls(clips=clips, **files, **others, codes=codes, **{**cell, "runtime": runtime})


class _Condition:
    """The clips of one table of corrupted ones: those of the cell's split, and how they are loaded."""

    def __init__(self, table: str, inputs: CellInputs, spec: Backbone, cache: FrameCache, device: str) -> None:
        listed = contracts.read(table, contracts.CORRUPTED_CLIPS)
        self.rows = [row for row in listed if row["split"] == inputs.split]
        if not self.rows:
            raise ValueError(f"{table}: no clips in split '{inputs.split}'")
        # clips that are corrupted in memory have the checksums of the clean files: how they are corrupted tells them apart
        how = {k: v for k, v in contracts.facts_of(table).items() if k not in ("ffmpeg", "contract")}
        self.digest = [how, [(r["clip_id"], r["sha256"], r["label"], r["available"]) for r in self.rows]]
        sampled = Sampling.of(inputs.protocol)
        self.loader = ClipLoader.of_corrupted(table, inputs.root, spec, cache, device, sampled)


Planned = tuple[_Condition, Row]


class Cell:
    """A cell's clips, model and context, loaded once and used by all of its runs."""

    def __init__(self, inputs: CellInputs) -> None:
        self.inputs = inputs
        weights.use_threads(inputs.runtime["torch_threads"])
        self.device = weights.pick_device(inputs.runtime["device"])
        self.names = [row["name"] for row in contracts.read(inputs.classes, contracts.CLASSES)]
        self.spec = weights.spec_of(**inputs.backbone)
        room = inputs.runtime["frame_cache_mb"] // len(inputs.clips)
        self.conditions = [_Condition(t, inputs, self.spec, FrameCache(room), self.device) for t in inputs.clips]
        self.digest = fingerprint([condition.digest for condition in self.conditions])
        self._checksum = cache(sha256_of_file)  # one reading of the weights serves all runs
        self._model: torch.nn.Module | None = None
        self._context: Context | None = None
        self._evidence: dict[str, Evidence] | None = None

    def key(self, plugin: str, hyper: Any, seed: int) -> str:
        """The name of the part that a run makes: all that decides its rows."""
        inputs = self.inputs
        facts = {
            "contract": contracts.VERSION, "code": inputs.codes[plugin], "plugin": plugin, "hyper": hyper.model_dump(),
            "seed": seed, "protocol": inputs.protocol, "dataset": inputs.dataset, "corruption": inputs.corruption,
            "clips": self.digest, "classes": self.names, "weights": self._checksum(inputs.weights),
            "backbone": inputs.backbone, "batch": inputs.batch, "compute": inputs.compute,
            "threads": inputs.runtime["torch_threads"], "device": self.device.split(":")[0],
        }  # fmt: skip
        needs = plugins.load("methods", plugin).NEEDS
        for need in ("statistics", "importance"):
            if need in needs:
                path = getattr(inputs, need)
                if not path:
                    raise ValueError(f"method '{plugin}' needs the file of {need} of the source model, and this cell has none")
                facts[need] = self._checksum(path)
        if "audio" in needs and inputs.audio_scores:
            facts["audio"] = [self._checksum(inputs.audio_scores), self._checksum(inputs.label_map)]
        return fingerprint(facts)

    def model(self) -> torch.nn.Module:
        """The source model, loaded when the first part is missing."""
        if self._model is None:
            given = self.inputs.backbone
            model: Any = weights.load_backbone(self.inputs.weights, **given, classes=self.names, device=self.device)
            weights.compute_in(model, self.inputs.compute["precision"], self.device)
            self._model = model
        return self._model

    def weights_facts(self) -> dict[str, Any]:
        """What results say of the weights: origin (imported, trained or random), checksum, label space, checkpoint."""
        known = weights.facts_of(self.inputs.weights)
        told: dict[str, Any] = {name: known[name] for name in _TOLD if name in known}
        return {**told, "sha256": self._checksum(self.inputs.weights)}

    def context(self) -> Context:
        """What methods know before the stream starts; the source model's numbers are on the device."""
        if self._context is None:
            inputs, mapped, activation = self.inputs, None, "sigmoid"
            if inputs.label_map:
                mapped, space = label_map.matrix(inputs.label_map, len(self.names))
                activation = self._activation_in(space)
            module = plugins.load("backbones", inputs.backbone["plugin"])
            self._context = Context(
                statistics=load_aligned(inputs.statistics, self.device) if inputs.statistics else {},
                label_map=mapped,
                audio_activation=activation,
                episodic=inputs.protocol["name"] == "episodic",
                two_pass=inputs.protocol["name"] == "two_pass",
                clips=sum(row["available"] for _, row in self._plan(0)),
                importance=load_file(inputs.importance, device=self.device) if inputs.importance else {},
                last_stage=tuple(module.last_stage(self.model())),
                cuda_graphs=inputs.compute["cuda_graphs"] and self.device.startswith("cuda"),
                mean=self.spec.mean,
                std=self.spec.std,
            )
        return self._context

    def _activation_in(self, space: str) -> str:
        """What makes probabilities of the audio scores; raises ValueError if the label map is of another label space."""
        scored = contracts.facts_of(self.inputs.audio_scores)
        if scored["label_space"] != space:
            raise ValueError(
                f"{self.inputs.audio_scores} and {self.inputs.label_map} speak of different audio classes "
                f"({scored['label_space']}, {space}): delete the older one to make it again"
            )
        return scored["activation"]

    def evidence(self, clip_id: str) -> Evidence | None:
        """What was heard in a clip; None if the cell has no audio model."""
        if not self.inputs.audio_scores:
            return None
        if self._evidence is None:
            scores = contracts.read(self.inputs.audio_scores, contracts.AUDIO_SCORES)
            self._evidence = {r["clip_id"]: Evidence(torch.tensor(r["scores"]), r["heard"]) for r in scores}
        return self._evidence.get(clip_id)

    def run(self, variant: str, plugin: str, hyper: Any, seed: int) -> tuple[list[Row], list[Row]]:
        """Rows of predictions and timings of one run, from the part store if they are there."""
        store, key = PartStore(self.inputs.parts), self.key(plugin, hyper, seed)
        predictions = store.get(key, contracts.PREDICTIONS, _PREDICTIONS)
        timings = store.get(key, contracts.TIMINGS, _TIMINGS)
        if predictions is None or timings is None:
            predictions, timings = self._compute(plugin, hyper, seed)
            store.put(key, timings, contracts.TIMINGS, _TIMINGS)
            store.put(key, predictions, contracts.PREDICTIONS, _PREDICTIONS)
        # a part is named by what decides it, and the variant's name does not
        return [{**row, "method": variant} for row in predictions], [{**row, "method": variant} for row in timings]

    def _plan(self, seed: int) -> list[Planned]:
        """The stream in order: under each corruption a permutation of its clips, or one of all clips in a mixed stream."""
        inputs = self.inputs
        if inputs.protocol["name"] == inputs.corruption == MIXED:
            return self._mixed(seed)
        plan: list[Planned] = []
        for condition in self.conditions:
            corruption = condition.rows[0]["corruption"]
            order = stream_order(len(condition.rows), inputs.protocol["order"], seed, inputs.dataset, corruption)
            plan += [(condition, condition.rows[index]) for index in order]
        return plan

    def _mixed(self, seed: int) -> list[Planned]:
        """Every clip once, under one of the corruptions."""
        tables = [{row["clip_id"]: row for row in condition.rows} for condition in self.conditions]
        names = list(tables[0])
        order = stream_order(len(names), self.inputs.protocol["order"], seed, self.inputs.dataset, MIXED)
        drawn = [(names[index], mixed_choice(len(tables), seed, names[index])) for index in order]
        return [(self.conditions[number], tables[number][name]) for name, number in drawn]

    def _compute(self, plugin: str, hyper: Any, seed: int) -> tuple[list[Row], list[Row]]:
        inputs, module = self.inputs, plugins.load("methods", plugin)
        placed = list(enumerate(self._plan(seed)))
        readable = [(position, condition, row) for position, (condition, row) in placed if row["available"]]
        arrivals = [self._arrival(module, condition, row, seed) for _, condition, row in readable]
        peak = Peak(self.device)
        # while CUDA captures a pass, nothing else may ask it for memory
        threads = 1 if inputs.compute["cuda_graphs"] else inputs.runtime["loading_threads"]
        outcomes = run_stream(module, hyper, self.model(), self.context(), arrivals, inputs.batch, threads)
        predictions, timings = [], []
        for (position, _, row), (outcome, times) in zip(readable, outcomes, strict=True):
            predictions.append({**_place(plugin, seed, position, row), **prediction_row(outcome)})
            timings.append({"method": plugin, "seed": seed, "position": position, **times})
        for position, (_, row) in placed:
            if not row["available"]:
                predictions.append({**_place(plugin, seed, position, row), **prediction_row(row["problem"])})
        memory = peak.megabytes()
        return sorted(predictions, key=lambda row: row["position"]), [{**row, "memory": memory} for row in timings]

    def _arrival(self, module: ModuleType, condition: _Condition, row: Row, seed: int) -> Arrival:
        views = "views" in module.NEEDS
        # a batch of a mixed stream holds several corruptions, and one of a continual stream does not
        group = "" if self.inputs.protocol["name"] == MIXED else f"{row['corruption']}-{row['severity']}"
        load = partial(condition.loader.load, row, seed, self.evidence(row["clip_id"]), views)
        return Arrival(load, seed_of("adapt", seed, row["clip_id"], row["corruption"], row["severity"]) % 2**63, group)


def _place(plugin: str, seed: int, position: int, row: Row) -> Row:
    """What a row of predictions says of its clip and of its place in the stream."""
    told = {name: row[name] for name in ("clip_id", "corruption", "severity", "label")}
    return {"method": plugin, "seed": seed, "position": position, **told}


def hyper_of(plugin: str, backbone: str, given: Mapping[str, Any], where: str) -> Any:
    """A method's hyper-parameters for a backbone plug-in: as published for it, with the config's overrides."""
    module = plugins.load("methods", plugin)
    published = getattr(module, "FOR_BACKBONE", {}).get(backbone, {})
    return overrides(module.Hyper, {**published, **given}, where)


def adapt_cell(inputs: CellInputs, runs: Sequence[Sequence[Any]], tuned: str, facts: Row, out: str, timing_out: str) -> None:
    """Compute all runs (variant, plugin, hyper, seed) of a cell and write its predictions and timings.

    A run that fails does not keep the others from being computed and stored; the job then fails and names them.
    """
    cell = Cell(inputs)
    chosen = json.loads(Path(tuned).read_text(encoding="utf-8")) if tuned else {}
    predictions, timings, failures, used = [], [], [], []
    dashes: dict[str, str] = {}
    for variant, plugin, given, seed in runs:
        try:
            hyper = hyper_of(plugin, inputs.backbone["plugin"], {**given, **chosen.get(variant, {})}, f"methods.{variant}")
            made = cell.run(variant, plugin, hyper, seed)
        except NotApplicable as error:
            dashes[variant] = str(error)
            continue
        except Exception as error:
            traceback.print_exc()
            failures.append(f"{variant} (seed {seed}): {type(error).__name__}: {error}")
            continue
        predictions += made[0]
        timings += made[1]
        used.append([variant, plugin, hyper.model_dump(), seed])
    if failures:
        raise RuntimeError(f"{len(failures)} of {len(runs)} runs failed; the others are kept. " + "; ".join(failures))
    known = cell.weights_facts()
    if known["origin"] == "random":  # the name goes into every table, figure and run, and the mark with it
        facts = {**facts, "backbone": f"{facts['backbone']}{contracts.RANDOM_WEIGHTS}"}
    stored = {
        **facts, "runs": used, "not_applicable": dashes, "clips_digest": cell.digest, "protocol": inputs.protocol,
        "split": inputs.split, "weights": known,
    }  # fmt: skip
    contracts.write(predictions, contracts.PREDICTIONS, out, stored)
    contracts.write(timings, contracts.TIMINGS, timing_out, facts)
