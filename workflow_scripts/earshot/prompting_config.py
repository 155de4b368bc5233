"""The sections of the config about prompting: frozen encoders, prompters, and experiments with one task each."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from earshot import plugins
from earshot.knobs import Section
from earshot.sections import Key, Split, distinct, known, plugin_of


class EncodersTraining(Section):
    """Training of small encoders on classified clips, which are cut into segments for it."""

    segments: int = Field(2, ge=1, description="seconds of the clips")
    frame_px: int = Field(64, ge=16)
    epochs: int = Field(20, ge=1)
    batch: int = Field(16, ge=1, description="clips")
    lr: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.05, ge=0)


class EncodersConfig(Section):
    """A pair of frozen encoders: their size, and where their weights come from."""

    size: Key = Field(description="a size in earshot/prompters/_trunks.py, such as large (the papers') or small")
    visual: Key | None = Field(None, description="checkpoint of the visual encoder")
    audio: Key | None = Field(None, description="checkpoint of the audio encoder; none for a pair that shares the visual one")
    trained_on: Key | None = Field(None, description="a dataset of classified clips that they are trained on here")
    train: EncodersTraining = EncodersTraining()
    random: bool = Field(False, description="never trained, and every table says so")

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        given = [name for name in ("visual", "trained_on", "random") if getattr(self, name)]
        if len(given) != 1 or (self.audio and not self.visual):
            raise ValueError(
                "weights come from exactly one of `visual:` (with `audio:`) checkpoints, `trained_on: <dataset>`, and "
                f"`random: true`; given: {', '.join(given) or 'none'}"
            )
        if "train" in self.model_fields_set and not self.trained_on:
            raise ValueError("`train:` is of encoders that are trained here, which `trained_on: <dataset>` asks for")
        return self

    @property
    def origin(self) -> Literal["imported", "trained", "random"]:
        """Where the weights come from."""
        return "imported" if self.visual else "trained" if self.trained_on else "random"


class PrompterConfig(Section):
    """A named variant of a prompter."""

    plugin: Annotated[Key, plugin_of("prompters")]
    hyper: dict[str, Any] = Field(default_factory=dict, description="overrides of the plug-in's Hyper")
    task: dict[str, Any] = Field(default_factory=dict, description="overrides of the task's Hyper, for this prompter alone")
    checkpoint: Key | None = Field(None, description="published weights of modules and head: nothing is trained")


class PromptingExperiment(Section):
    """A table of one task: datasets x prompters x seeds."""

    title: str = ""
    task: Annotated[Key, plugin_of("tasks")]
    datasets: Annotated[list[Key], Field(min_length=1), AfterValidator(distinct)]
    train_on: Key | None = Field(
        None, description="zero-shot: another dataset whose clips are trained on; its classes may differ"
    )
    encoders: Key
    prompters: Annotated[list[Key], Field(min_length=1), AfterValidator(distinct)]
    hyper: dict[str, Any] = Field(default_factory=dict, description="overrides of the task's Hyper, for all prompters")
    motion: Key | None = Field(None, description="features that are fused with what is seen, of `features:`")
    frame_px: Annotated[int, Field(ge=8)] | None = Field(None, description="side of the frames; none: the task's")
    frame_rule: Literal["spread", "middles", "seconds"] = Field("spread", description="which frames show the segments")
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1), AfterValidator(distinct)] = Field([0])
    split: Split = "test"
    reference: Key | None = Field(None, description="the prompter whose scores gains are over; none: the first")
    show: Annotated[int, Field(ge=0)] = Field(4, description="clips that are drawn with what each prompter looks at")


def check_prompting(config: Any) -> None:
    """Raise ValueError where an experiment, a prompter or a pair of encoders names something that is not there."""
    for name, experiment in config.prompting.items():
        where = f"prompting.{name}"
        if name in config.experiments or name in config.parsing:
            raise ValueError(f"{where}: `experiments:` or `parsing:` holds that name already; give it another")
        for dataset in (*experiment.datasets, *([experiment.train_on] if experiment.train_on else [])):
            known("dataset", dataset, config.datasets, where)
            _task_fits(config.datasets[dataset], dataset, experiment.task, where)
        known("encoders", experiment.encoders, config.encoders, where)
        if experiment.motion:
            known("features", experiment.motion, config.features, where)
            if "motion" not in plugins.describe("tasks", experiment.task)["truth"]:
                raise ValueError(f"{where}.motion: task '{experiment.task}' takes no features; leave it out")
        if experiment.reference:
            known("prompter", experiment.reference, experiment.prompters, f"{where}.reference")
        for variant in experiment.prompters:
            plugin = config.prompter(variant, where).plugin
            _encoders_fit(config, plugin, experiment.encoders, where)
            if experiment.train_on and plugins.describe("prompters", plugin)["encoders"] != "clip_clap":
                raise ValueError(f"{where}.train_on: prompter '{plugin}' does not read names of other classes; leave it out")
    for name, pair in config.encoders.items():
        for checkpoint in filter(None, (pair.visual, pair.audio)):
            known("checkpoint", checkpoint, config.checkpoints, f"encoders.{name}")
        if pair.trained_on:
            known("dataset", pair.trained_on, config.datasets, f"encoders.{name}")
    for name, variant in config.prompters.items():
        if variant.checkpoint:
            known("checkpoint", variant.checkpoint, config.checkpoints, f"prompters.{name}")


def _task_fits(dataset: Any, name: str, task: str, where: str) -> None:
    """Refuse one half of AVSBench for the task of the other one."""
    if dataset.plugin == "avsbench" and task.startswith("avs_") and task != f"avs_{dataset.options.get('subset', '')}":
        raise ValueError(f"{where}: task '{task}' is of another half of AVSBench than dataset '{name}'; see its `subset`")


def _encoders_fit(config: Any, plugin: str, encoders: str, where: str) -> None:
    """Refuse published encoders without the one that a prompter listens with."""
    kind, pair = plugins.describe("prompters", plugin)["encoders"], config.encoders[encoders]
    if pair.origin == "imported" and not pair.audio and kind != "swin_swin":
        raise ValueError(f"{where}: prompter '{plugin}' needs `audio:` of encoders '{encoders}', which name none")
    if pair.origin == "trained" and kind == "clip_clap":
        raise ValueError(f"{where}: prompter '{plugin}' reads names, which encoders '{encoders}' trained on clips cannot")
