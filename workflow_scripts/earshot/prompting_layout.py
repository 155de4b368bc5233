"""Where everything of cross-modal prompting lies, and what each of its jobs is told.

As in `layout`, methods take a rule's wildcards and return paths or plain values, and nothing heavy is imported.
"""

from collections.abc import Callable, Iterator
from itertools import product
from types import SimpleNamespace
from typing import Any

from earshot import digests, plugins
from earshot.config import merged
from earshot.layout import Layout, in_order
from earshot.prompting_config import EncodersConfig, PrompterConfig, PromptingExperiment

_LISTENING = {"swin_swin": "swin_htsat"}  # pairs that share the weights of another kind, of which they take a part


class PromptingLayout(Layout):
    """Paths and settings of the jobs that cut clips into segments, make encoders, and train and run prompters."""

    # encoders

    def encoders(self, wildcards: Any) -> EncodersConfig:
        """The wildcard's pair of encoders in the config."""
        return self.config.encoders[wildcards.encoders]

    def encoders_from(self, origin: str) -> str:
        """A pattern of the names of encoders that are `imported`, `trained` or `random`."""
        return "|".join(name for name, given in self.config.encoders.items() if given.origin == origin) or "(?!)"

    def encoders_job(self, wildcards: Any) -> dict[str, Any]:
        """What a job that makes encoders is told."""
        return {"kind": wildcards.kind, "size": self.encoders(wildcards).size, "seed": self.config.seed}

    def trained_encoders_job(self, wildcards: Any) -> dict[str, Any]:
        """What a job that trains encoders is told."""
        given = self.encoders(wildcards)
        hyper = given.train.model_dump(mode="json")
        return {**self.encoders_job(wildcards), "name": wildcards.encoders, "hyper": hyper, "runtime": self.runtime}

    def encoders_manifests(self, wildcards: Any) -> dict[str, str]:
        """What says where published encoders are."""
        given = self.encoders(wildcards)
        sides = {"visual": given.visual, "audio": given.audio}
        return {side: f"{self.data}/checkpoints/{name}.json" for side, name in sides.items() if name}

    def encoders_clips(self, wildcards: Any) -> dict[str, str]:
        """Clips that encoders are trained on, cut into segments."""
        given = self.encoders(wildcards)
        folder, segments, px = f"{self.data}/{given.trained_on}", given.train.segments, given.train.frame_px
        return {
            "clips": f"{folder}/clips.parquet",
            "classes": f"{folder}/classes.parquet",
            "frames": f"{folder}/segments/frames-{segments}x{px}-middles.npy",
            "waves": f"{folder}/segments/waves-{segments}x32000.npy",
        }

    def _encoders_weights(self, encoders: str, kind: str) -> str:
        given = self.config.encoders[encoders]
        shared = kind if given.origin == "imported" and not given.audio else _LISTENING.get(kind, kind)
        return f"{self.data}/weights/encoders/{encoders}/{shared}.safetensors"

    # prompters

    def prompting(self, wildcards: Any) -> PromptingExperiment:
        """The wildcard's prompting experiment in the config."""
        return self.config.prompting[wildcards.prompting]

    def prompter(self, wildcards: Any) -> PrompterConfig:
        """The wildcard's prompter in the config."""
        return self.config.prompter(wildcards.prompter)

    def prompter_job(self, wildcards: Any) -> dict[str, Any]:
        """What a job that trains or runs a prompter is told, besides its files."""
        spec, variant = self.prompting(wildcards), self.prompter(wildcards)
        whose = {"task": spec.task, "plugin": variant.plugin, "size": self.config.encoders[spec.encoders].size}
        hyper = {"hyper": in_order(merged(spec.hyper, variant.task)), "modules": in_order(variant.hyper)}
        return {**whose, **hyper, "seed": int(wildcards.number), "runtime": self.runtime}

    def imported_prompter_job(self, wildcards: Any) -> dict[str, Any]:
        """The same of a prompter whose weights are imported, for which no seed counts."""
        names = {name: getattr(wildcards, name) for name in ("prompting", "dataset", "prompter")}
        return self.prompter_job(SimpleNamespace(**names, number=self.prompting(wildcards).seeds[0]))

    def prompter_encoders(self, wildcards: Any) -> str:
        """The weights of the frozen encoders of a prompter."""
        kind = plugins.describe("prompters", self.prompter(wildcards).plugin)["encoders"]
        return self._encoders_weights(self.prompting(wildcards).encoders, kind)

    def prompter_clips(self, wildcards: Any) -> dict[str, str]:
        """The tables and segments of the dataset whose clips are scored."""
        return self._cut(wildcards, wildcards.dataset)

    def training_clips(self, wildcards: Any) -> dict[str, str]:
        """The tables and segments of the dataset whose clips are trained on."""
        return self._cut(wildcards, self.prompting(wildcards).train_on or wildcards.dataset)

    def _cut(self, wildcards: Any, dataset: str) -> dict[str, str]:
        spec = self.prompting(wildcards)
        task = plugins.describe("tasks", spec.task)
        rate = plugins.describe("prompters", self.prompter(wildcards).plugin)["rate_hz"]
        segments, px, folder = task["segments"], spec.frame_px or task["frame_px"], f"{self.data}/{dataset}"
        tables = {name: f"{folder}/{name}.parquet" for name in ("clips", "classes", "events", "questions")}
        files = {
            "frames": f"{folder}/segments/frames-{segments}x{px}-{spec.frame_rule}.npy",
            "waves": f"{folder}/segments/waves-{segments}x{rate}.npy",
        }
        if "masks" in task["truth"]:
            files["masks"] = f"{folder}/segments/masks-{segments}x{px}.npy"
        if "motion" in task["truth"] and spec.motion:
            files["motion"] = f"{folder}/features/{spec.motion}.npy"
        return {**tables, **files}

    def prompter_manifest(self, wildcards: Any) -> str:
        """What says where the published weights of a prompter are."""
        return f"{self.data}/checkpoints/{self.prompter(wildcards).checkpoint}.json"

    def prompter_weights(self, wildcards: Any) -> str:
        """The weights of a prompter: the best of its training, or imported."""
        folder = f"{self.data}/weights/prompters/{wildcards.prompting}/{wildcards.dataset}/{wildcards.prompter}"
        return (
            f"{folder}/imported.safetensors"
            if self.prompter(wildcards).checkpoint
            else f"{folder}/{wildcards.number}.safetensors"
        )

    def prompter_facts(self, wildcards: Any) -> dict[str, Any]:
        """What a file of predictions says of where it is from."""
        spec = self.prompting(wildcards)
        whose = {"experiment": wildcards.prompting, "dataset": wildcards.dataset, "prompter": wildcards.prompter}
        return {**whose, "task": spec.task, "encoders": spec.encoders, "trained_on": spec.train_on or wildcards.dataset}

    def prompting_code(self, entry: str) -> Callable[[Any], str]:
        """A params function: digest of an entry, and of the wildcard's task and prompter."""

        def digest(wildcards: Any) -> str:
            task, plugin = self.prompting(wildcards).task, self.prompter(wildcards).plugin
            return digests.of(entry, f"tasks.{task}", f"prompters.{plugin}")

        return digest

    def task_code(self, *entries: str) -> Callable[[Any], str]:
        """A params function: digest of entries, and of the wildcard's task."""
        return lambda wildcards: digests.of(*entries, f"tasks.{self.prompting(wildcards).task}")

    # what comes of them

    def prompted(self, suffix: str) -> Callable[[Any], list[str]]:
        """An input function: what every prompter of the wildcard's experiment says, or a file beside it."""

        def fill(wildcards: Any) -> list[str]:
            folder = f"{self.results}/prompted/{wildcards.prompting}"
            return [f"{folder}/{place}{suffix}" for place, _ in self._runs(wildcards)]

        return fill

    def prompter_training(self, suffix: str) -> Callable[[Any], list[str]]:
        """An input function: files of the trainings of the wildcard's experiment."""

        def fill(wildcards: Any) -> list[str]:
            folder = f"{self.results}/training/prompters/{wildcards.prompting}"
            return [f"{folder}/{place}{suffix}" for place, trained in self._runs(wildcards) if trained]

        return fill

    def _runs(self, wildcards: Any) -> Iterator[tuple[str, bool]]:
        """Dataset, prompter and seed as a path, and whether the prompter is trained."""
        spec = self.prompting(wildcards)
        for dataset, variant, seed in product(spec.datasets, spec.prompters, spec.seeds):
            trained = not self.config.prompter(variant).checkpoint
            if trained or seed == spec.seeds[0]:
                yield f"{dataset}/{variant}/{seed}", trained

    def prompting_datasets(self, pattern: str) -> Callable[[Any], list[str]]:
        """An input function: `pattern` for every dataset of the wildcard's experiment."""

        def fill(wildcards: Any) -> list[str]:
            places = {"data": self.data, "results": self.results}
            return [pattern.format(dataset=dataset, **places) for dataset in self.prompting(wildcards).datasets]

        return fill

    def prompting_truth(self, kind: str) -> Callable[[Any], list[str]]:
        """An input function: arrays of truth of every dataset of the wildcard's experiment, none where its task has none."""

        def fill(wildcards: Any) -> list[str]:
            spec = self.prompting(wildcards)
            task = plugins.describe("tasks", spec.task)
            name = f"{kind}-{task['segments']}x{spec.frame_px or task['frame_px']}.npy"
            return [f"{self.data}/{one}/segments/{name}" for one in spec.datasets] if kind in task["truth"] else []

        return fill

    def prompting_field(self, name: str) -> Callable[[Any], Any]:
        """A params function: one field of the wildcard's experiment."""
        return lambda wildcards: getattr(self.prompting(wildcards), name)

    def prompting_reference(self, wildcards: Any) -> str:
        """The prompter that gains are over."""
        return self.prompting(wildcards).reference or self.prompting(wildcards).prompters[0]

    def prompting_task(self, wildcards: Any) -> dict[str, Any]:
        """What tables and reports say of the task."""
        return plugins.describe("tasks", self.prompting(wildcards).task)

    def prompters(self, wildcards: Any) -> list[dict[str, Any]]:
        """What tables and reports say of each prompter."""
        spec, made = self.prompting(wildcards), []
        for variant in spec.prompters:
            given = self.config.prompter(variant)
            hyper = {"task": in_order(merged(spec.hyper, given.task)), "modules": in_order(given.hyper)}
            made.append({"variant": variant, "hyper": hyper, **plugins.describe("prompters", given.plugin)})
        return made

    def prompting_plugins(self, wildcards: Any) -> dict[str, str]:
        """The plug-ins that read the datasets of the wildcard's experiment."""
        return {name: self.config.datasets[name].plugin for name in self.prompting(wildcards).datasets}

    def prompting_places(self, wildcards: Any) -> dict[str, str]:
        """Where a reader of the report finds what."""
        name = wildcards.prompting
        return {
            "predictions, one row a clip or question": f"{self.results}/prompted/{name}/",
            "scores": f"{self.results}/metrics/{name}.parquet",
            "tables as Markdown, CSV and LaTeX": f"{self.results}/tables/{name}/",
            "figures": f"{self.results}/figures/{name}/",
            "weights": f"{self.data}/weights/prompters/{name}/",
            "MLflow": self.config.mlflow.uri,
        }
