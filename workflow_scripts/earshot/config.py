"""The configuration: pydantic models of `config.yaml`, and its expansion into cells and runs.

Imported when the Snakefile is read, so it imports neither torch nor PyAV. Every error names the key, the value and the way out.
"""

import os
import re
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError, model_validator

from earshot import corruptions, label_spaces, plugins
from earshot.knobs import Section
from earshot.prompting_config import EncodersConfig, PrompterConfig, PromptingExperiment, check_prompting
from earshot.sampling import EvaluationStyle, ViewStyle
from earshot.sections import Key, Split, UserPath, distinct, known, plugin_of

SOUND = "sound_"  # how the names of corruptions of the sound begin
CLEAN = "clean"
CONTINUAL, MIXED = "continual", "mixed"  # protocols under which all corruptions are one stream
OF_DATASET = "dataset"  # a label space: the classes of the dataset, in their order
REVIEWED = "reviewed"  # in the place of a mapper's name: a map that is a user's file
_RECIPES = Path(__file__).parent / "captions"
_SECRET = re.compile(
    r"key|token|secret|password|auth|bearer|credential|header", re.IGNORECASE
)  # what is given under such a name is never shown


class ConfigError(ValueError):
    """A configuration that cannot be run."""


def _pictures(names: Any) -> Any:
    """Expand the group `ucf101c` and the long names of the field; what is not a list of names is left to the type check."""
    if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        return names
    spread = [one for name in names for one in (corruptions.UCF101C if name == "ucf101c" else (name,))]
    found = list(dict.fromkeys(corruptions.ALIASES.get(name, name) for name in spread))
    for name in found:
        if name == CLEAN:
            raise ValueError("the clean condition is asked for by `clean: true`, not in `corruptions`")
        if name.startswith(SOUND):
            raise ValueError(
                f"'{name}' is a corruption of the sound: ask for it by `sound: {{corruption: {name}, severity: 5}}`"
            )
    return found


def _not_reviewed(name: str) -> str:
    if name == REVIEWED:
        raise ValueError(f"'{REVIEWED}' is how maps that are files are called: give the mapper another name")
    return name


def _label_space(name: str) -> str:
    known = (OF_DATASET, *label_spaces.available())
    if name and name not in known and not name.endswith(".csv"):
        raise ValueError(f"unknown label space '{name}'; give one of {', '.join(known)}, or a CSV file of index,name")
    return name


Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]  # SHA-256 in hex
LabelSpaceName = Annotated[str, AfterValidator(_label_space)]
Pictures = Annotated[list[Annotated[Key, plugin_of("corruptions")]], BeforeValidator(_pictures)]


class DatasetConfig(Section):
    """A dataset: which plug-in reads it, where its files are, and what else that plug-in may be told."""

    plugin: Annotated[Key, plugin_of("datasets")]
    root: str = Field("", description="folder of the media; empty: <data>/<name>/media, made or fetched by the workflow")
    made_by: Key | None = Field(None, description="the dataset whose preparation fills `root`, if any")
    options: dict[str, Any] = Field(default_factory=dict, description="the plug-in's own options")
    accept_terms: bool = Field(False, description="its terms were read and are kept to: restricted files are fetched")
    mirrors: dict[str, list[str]] = Field(
        default_factory=dict, description="name of a file -> addresses that are tried before the plug-in's own"
    )
    checksums: dict[str, Digest] = Field(default_factory=dict, description="name of a file -> its SHA-256")
    unverified_tls: bool = Field(False, description="do not check certificates, of files whose checksum is known")

    @property
    def fetched(self) -> bool:
        """Whether the workflow fills the root with files that it fetches, or finds dropped."""
        return not self.root and not self.made_by and "sources" in plugins.definitions("datasets", self.plugin)


class SoundBank(Section):
    """Named sounds to train an audio tagger on: a CSV of `path,sound` whose paths are relative to its folder."""

    csv: str
    made_by: Key | None = Field(None, description="the dataset whose preparation writes this CSV, if any")


class AudioModelConfig(Section):
    """An audio model: a plug-in, and exactly one of `bank`, `checkpoint` and `scores`: where what it knows comes from."""

    plugin: Annotated[Key, plugin_of("audio_models")]
    options: dict[str, Any] = Field(default_factory=dict, description="the plug-in's own options")
    bank: Key | None = Field(None, description="the sound bank that it is trained on")
    checkpoint: Key | None = Field(None, description="published weights")
    scores: dict[Key, UserPath] = Field(
        default_factory=dict, description="of `precomputed`: dataset -> a Parquet file of clip_id, scores"
    )
    classes: LabelSpaceName = Field(
        "", description="its sounds, where neither bank nor checkpoint says them: a label space, as in `checkpoints:`"
    )
    hyper: dict[str, Any] = Field(default_factory=dict, description="of training")
    batch: Annotated[int, Field(ge=1)] = Field(16, description="windows that are scored at once; decides the last bits")

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        given = [name for name in ("bank", "checkpoint", "scores") if getattr(self, name)]
        if len(given) != 1:
            raise ValueError(f"give exactly one of bank, checkpoint, scores; given: {', '.join(given) or 'none'}")
        wanted = {"bank": "mix", "checkpoint": "import_weights", "scores": "import_scores"}
        defined = plugins.definitions("audio_models", self.plugin)
        if wanted[given[0]] not in defined:
            fitting = next(name for name, function in wanted.items() if function in defined)
            raise ValueError(f"audio model '{self.plugin}' takes `{fitting}`, not `{given[0]}`")
        if self.hyper and not self.bank:
            raise ValueError(f"audio model '{self.plugin}' is not trained here: it takes `options`, not `hyper`")
        about = plugins.describe("audio_models", self.plugin)
        rates = (about["rate_hz"], *about.get("other_rates_hz", ()))
        if self.options.get("rate_hz", rates[0]) not in rates:
            raise ValueError(f"audio model '{self.plugin}' listens at {' or '.join(map(str, rates))} Hz")
        names_sounds = self.scores or "head_from_text" in defined
        if bool(self.classes) != bool(names_sounds):
            told = "needs" if names_sounds else "takes no"
            raise ValueError(f"audio model '{self.plugin}' {told} `classes`: the sounds of its scores")
        return self

    @property
    def rate_hz(self) -> int:
        """The rate that it listens at; 0 for scores made elsewhere."""
        return int(self.options.get("rate_hz") or plugins.describe("audio_models", self.plugin)["rate_hz"])


class MapperConfig(Section):
    """What maps the names of sounds to the names of video classes: a plug-in and its options."""

    plugin: Annotated[Key, plugin_of("mappers")]
    options: dict[str, Any] = Field(default_factory=dict, description="the plug-in's own options")

    @model_validator(mode="before")
    @classmethod
    def _no_secrets(cls, values: Any) -> Any:
        """Results record the config, so that nothing secret may stand in it."""
        for name, value in _entries(values.get("options") if isinstance(values, dict) else None):
            if _SECRET.search(name) and name != "key_env":
                raise ValueError(f"`{name}` must not stand in a config: keys are read from the environment, see `key_env`")
            if isinstance(value, str) and "://" in value and "@" in value:
                raise ValueError(f"`{name}` must not hold a user or a password")
        return values


class CheckpointConfig(Section):
    """A file of published weights. Exactly one of `path`, `url`, `hub` and `torchvision` says where it is."""

    path: UserPath = Field("", description="a local file or, for models with companions such as a tokenizer, a folder")
    url: str = Field("", description="needs `sha256`")
    hub: str = Field("", description="owner/name on the Hugging Face hub")
    files: list[str] = Field(["model.safetensors"], description="of `hub`: the weights first, then their companions")
    revision: str = Field("main", description="of `hub`: name a commit, so that the weights cannot change")
    torchvision: str = Field("", description="e.g. R2Plus1D_18_Weights.KINETICS400_V1")
    sha256: str = Field("", pattern=r"^([0-9a-f]{64})?$", description="of the weights; recorded in any case")
    classes: LabelSpaceName = Field(
        "", description="label space: a list in earshot/classes/, a CSV of index,name, or `dataset`: the dataset's in its order"
    )

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        given = [name for name in ("path", "url", "hub", "torchvision") if getattr(self, name)]
        if len(given) != 1:
            raise ValueError(f"give exactly one of path, url, hub, torchvision; given: {', '.join(given) or 'none'}")
        if self.url and not self.sha256:
            raise ValueError("a checkpoint from a URL needs its `sha256`")
        return self


class StatisticsFiles(Section):
    """ViTTA's published source statistics: two `.npy` lists, one array for each layer."""

    mean: UserPath
    var: UserPath


class WeightsConfig(Section):
    """Where a source model comes from: a checkpoint, and what is trained on the dataset's training split."""

    checkpoint: Key | None = None
    fit: Literal["none", "head", "all"] = Field(
        "none", description="none: the checkpoint as it is; head: a linear head on its frozen encoder; all: everything"
    )
    random: bool = Field(False, description="random weights, untrained: for trying things out; every result is marked")
    statistics: StatisticsFiles | None = Field(None, description="published ones; none: computed on the training split")

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if self.random and (self.checkpoint or self.fit != "none"):
            raise ValueError("`weights: random` takes neither a checkpoint nor training")
        if not self.random and not self.checkpoint and self.fit != "all":
            raise ValueError("without a checkpoint there is nothing to keep: `weights: scratch` trains everything")
        if self.statistics and (not self.checkpoint or self.fit == "all"):
            raise ValueError("published `statistics` are those of a checkpoint's encoder: they need one that is not trained on")
        return self


def _spelt(value: Any) -> Any:
    """The words `random` and `scratch` in place of a section."""
    words = {"random": {"random": True}, "scratch": {"fit": "all"}}
    if isinstance(value, str) and value not in words:
        raise ValueError("`weights` is `random`, `scratch`, or a section with `checkpoint` and `fit`")
    return words.get(value, value) if isinstance(value, str) else value


Weights = Annotated[WeightsConfig, BeforeValidator(_spelt)]


class BackboneConfig(Section):
    """A video classifier: a plug-in, where its weights come from, and how they are trained if they are."""

    plugin: Annotated[Key, plugin_of("backbones")]
    options: dict[str, Any] = Field(default_factory=dict, description="the plug-in's own options, such as its size")
    weights: Weights | None = Field(None, description="for every dataset without an entry in `weights_of`")
    weights_of: dict[Key, Weights] = Field(default_factory=dict, description="by dataset")
    train: dict[str, Any] = Field(default_factory=dict, description="overrides of earshot.training.Hyper")


class MethodConfig(Section):
    """A named variant of an adaptation method."""

    plugin: Annotated[Key, plugin_of("methods")]
    hyper: dict[str, Any] = Field(default_factory=dict, description="overrides of the plug-in's Hyper")


class Encoding(Section):
    """How corrupted frames are written. Chroma subsampling alone takes a quarter of the strength of noise."""

    codec: Literal["h264", "lossless"] = Field("h264", description="lossless: RGB, some eight times the size")
    crf: Annotated[int, Field(ge=0, le=51)] = 18
    preset: Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow"] = "veryfast"
    pix_fmt: Literal["yuv420p", "yuv444p"] = Field("yuv420p", description="yuv444p keeps odd sizes and more of the noise")


class Corruption(Section):
    """How clips are corrupted. What is drawn depends on the config's seed."""

    preset: Literal["ucf101c", "imagenet_c", "ame", "ucf101_p", "mini_kinetics_c"] = Field(
        "ucf101c", description="whose tables of severities; a corruption without a table of that name uses its default"
    )
    sound_preset: Literal["snr", "read"] = Field("snr", description="noise at a stated SNR, or the READ paper's gains")
    temporal: Literal["per_frame", "per_clip"] = Field(
        "per_frame", description="per_clip: blur direction, rain, fog and the like stay the same along a clip"
    )
    position: Literal["offline", "online"] = Field(
        "offline", description="offline: frames as they are stored; online: after resizing and centre crop"
    )
    materialise: bool = Field(
        True, description="false: write no videos but corrupt in memory; encoders, bit errors and sound are written anyway"
    )
    encode: Encoding = Encoding()
    shards: Annotated[int, Field(ge=1)] = Field(1, description="jobs that share each corrupted set of a dataset")
    noise_beds: str = Field(
        "", description="folder of traffic.wav, crowd.wav, rain.wav, thunder.wav, wind.wav; empty: synthetic"
    )
    allow_hdr: bool = Field(False, description="convert high dynamic range to 8 bits without tone mapping")
    published: dict[Key, Key] = Field(
        default_factory=dict,
        description="dataset -> the dataset of its published corrupted files, which are taken where there are any",
    )

    @model_validator(mode="after")
    def _online_is_in_memory(self) -> Self:
        if self.position == "online" and self.materialise:
            raise ValueError("`position: online` corrupts what the model is about to see: it needs `materialise: false`")
        return self


class Protocol(Section):
    """How a stream of clips is adapted to. Tables refuse to mix protocols."""

    name: Literal["online", "episodic", "continual", "mixed", "two_pass"] = Field(
        "online",
        description="online: state persists within a corruption; episodic: reset before every clip; continual: state persists "
        "from corruption to corruption, as listed, and clean clips last; mixed: every clip under a corruption drawn for it; "
        "two_pass: the reference's baselines adapt to the whole list and then predict it",
    )
    batch: Annotated[int, Field(ge=1)] | None = Field(
        None, description="clips that methods which take batches are given at once; none: 12 under two_pass, else 1"
    )
    order: Literal["shuffled", "listed"] = "shuffled"
    views: Annotated[int, Field(ge=1, le=16)] = 2
    view_sampling: ViewStyle = Field("uniform_equidist", description="frames of the views that a method adapts on")
    evaluation_sampling: EvaluationStyle | None = Field(
        None, description="frames of the clips that are predicted; none: the backbone's own way"
    )
    evaluation_clips: Annotated[int, Field(ge=1, le=16)] = Field(1, description="clips whose logits are averaged")
    evaluation_crops: Literal[1, 3] = Field(1, description="3: both ends and the centre of the long side")
    index_base: Literal[0, 1] = Field(0, description="1 reproduces the off-by-one of the reference's frame indices")

    @model_validator(mode="after")
    def _one_clip_an_episode(self) -> Self:
        if self.name == "episodic" and self.clips_at_once > 1:
            raise ValueError(f"`episodic` starts every clip afresh: it cannot take batches of {self.batch}")
        return self

    @property
    def clips_at_once(self) -> int:
        """The size of batches, where a method takes any."""
        return self.batch or (12 if self.name == "two_pass" else 1)

    @property
    def one_stream(self) -> bool:
        """Whether all corruptions are one stream, and so one job."""
        return self.name in (CONTINUAL, MIXED)


class Tuning(Section):
    """Choice of hyper-parameters on held-out clips: the candidate of best accuracy over all of `corruptions`, each a stream."""

    corruptions: Pictures = Field(min_length=1)
    severity: Annotated[int, Field(ge=1, le=5)] = 5
    split: Literal["train", "val"] = "val"
    seed: int = 0
    grid: dict[Key, dict[str, list[Any]]] = Field(description="method variant -> hyper-parameter -> candidate values")


class Compute(Section):
    """How adaptation computes. Anything but the defaults moves results."""

    precision: Literal["fp32", "tf32", "bf16"] = Field(
        "fp32", description="of the encoder; bf16: autocast, with losses and statistics in fp32; tf32: on CUDA only"
    )
    cuda_graphs: bool = Field(False, description="replay the pass over the views from a CUDA graph (vitta, audio_assisted)")


class SoundCondition(Section):
    """A corruption of the sound at one severity."""

    corruption: Annotated[Key, plugin_of("corruptions")]
    severity: Annotated[int, Field(ge=1, le=5)]

    @model_validator(mode="after")
    def _of_the_sound(self) -> Self:
        if not self.corruption.startswith(SOUND):
            legal = [name for name in plugins.available("corruptions") if name.startswith(SOUND)]
            raise ValueError(f"'{self.corruption}' is not a corruption of the sound; available: {', '.join(legal)}")
        return self


class Experiment(Section):
    """A table of results: datasets x corruptions x severities x backbones x methods x seeds."""

    title: str = ""
    datasets: list[Key]
    corruptions: Pictures = Field(description="of the picture; `ucf101c` stands for its twelve")
    severities: list[Annotated[int, Field(ge=1, le=5)]] = Field([5])
    backbones: list[Key]
    methods: list[Key]
    seeds: list[int] = Field([0])
    split: Split = "test"
    clean: bool = Field(True, description="also adapt to the clean clips, encoded in the same way, as severity 0")
    audio_model: Key | None = None
    mapper: Key | None = Field(None, description="in the place of what `label_maps:` says; to compare maps")
    sound: SoundCondition | None = Field(None, description="what happens to the sound before it is listened to; none: nothing")
    protocol: Protocol | None = Field(None, description="what differs from the protocol of the whole config")
    tune: Tuning | None = None
    class_groups: dict[Key, list[str]] = Field(
        default_factory=dict, description="named groups of classes, by name, whose accuracy is told apart"
    )
    also_index: list[Key] = Field(default_factory=list, description="datasets to index and count without using them yet")


class FeatureConfig(Section):
    """Features of a dataset's seconds: an extractor, and where they come from: files, or videos and the model to use.

    With files, a `checkpoint` may stand beside them: it gives pseudo-labels their words.
    """

    plugin: Annotated[Key, plugin_of("extractors")]
    options: dict[str, Any] = Field(default_factory=dict, description="the plug-in's own options")
    root: UserPath = Field("", description="folder of published feature files, in their published layout")
    id_length: Annotated[int, Field(ge=0)] = Field(
        0, description="of `root`: files are named by so many first characters of a clip's name, 11 for LLP; 0: by all of it"
    )
    checkpoint: Key | None = Field(None, description="published weights, to make them from videos, or words beside files")
    audio_model: Key | None = Field(None, description="an audio model of this config, to make them from videos")
    backbone: Key | None = Field(None, description="a backbone of this config, to make them from videos")
    trained_on: Key | None = Field(None, description="of `backbone`: the dataset whose source model it is")
    batch: Annotated[int, Field(ge=1)] = Field(8, description="clips at once; decides the last bits")

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        about = plugins.describe("extractors", self.plugin)
        fitting = {"checkpoint": "checkpoint", "tagger": "audio_model", "backbone": "backbone"}.get(about["weights"], "")
        legal = [name for name, can in (("root", about["files"]), (fitting, fitting)) if can]
        given = [name for name in ("root", "checkpoint", "audio_model", "backbone") if getattr(self, name)]
        if (legal and not given) or not set(given) <= set(legal):
            told = " or ".join(f"`{name}`" for name in legal) or "neither files nor weights"
            raise ValueError(f"extractor '{self.plugin}' takes {told}; given: {', '.join(given) or 'none'}")
        if bool(self.backbone) != bool(self.trained_on):
            raise ValueError("`backbone` and `trained_on` go together: a source model is that of a dataset")
        return self

    @property
    def origin(self) -> Literal["files", "videos", "nothing"]:
        """Where they come from; from nothing, if they are made up."""
        return "files" if self.root else "videos" if self.checkpoint or self.audio_model or self.backbone else "nothing"

    @property
    def modality(self) -> str:
        """Whether it listens or looks."""
        return str(plugins.describe("extractors", self.plugin)["modality"])


class FeatureSet(Section):
    """What a parser sees and hears: names in `features:`."""

    audio: Key
    visual: Key
    motion: Key | None = Field(None, description="fused with `visual`; R(2+1)D in the papers")


class BothSides(Section):
    """A number for what is heard and one for what is seen."""

    audio: float = Field(allow_inf_nan=False)
    visual: float = Field(allow_inf_nan=False)


class PseudoLabels(Section):
    """Labels by second from models that know words: scores of classes above a threshold, or published files of them."""

    audio: Key = Field(description="features whose class scores say what is heard")
    visual: Key = Field(description="features whose class scores say what is seen")
    root: UserPath = Field("", description="folder of published label files; `audio` and `visual` then only give words")
    id_length: Annotated[int, Field(ge=0)] = Field(0, description="of `root`, as in `features:`")
    recipe: str = Field(
        "", description="captions and thresholds by class: `valor` or a CSV file; none: names of classes and `thresholds`"
    )
    thresholds: BothSides = Field(
        BothSides(audio=0, visual=0), description="without a recipe: the score above which a class is there"
    )
    ungated_margins: BothSides = Field(BothSides(audio=0, visual=0), description="added where no weak label masks the classes")

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        if self.recipe and "thresholds" in self.model_fields_set:
            raise ValueError(f"the recipe '{self.recipe}' has thresholds of its own: give it or `thresholds`")
        recipes = [path.stem for path in _RECIPES.glob("*.csv")]
        if self.recipe and not self.recipe.endswith(".csv") and self.recipe not in recipes:
            raise ValueError(f"unknown recipe '{self.recipe}'; give {', '.join(recipes)}, or a CSV file")
        return self


class ParserConfig(Section):
    """A named variant of a parser."""

    plugin: Annotated[Key, plugin_of("parsers")]
    hyper: dict[str, Any] = Field(default_factory=dict, description="overrides of the plug-in's Hyper, group by group")
    features: Key | None = Field(None, description="a feature set, in the place of the experiment's")
    checkpoint: Key | None = Field(None, description="published weights of the parser: nothing is trained")


class ParsingExperiment(Section):
    """A table of audio-visual video parsing: datasets x parsers x seeds."""

    title: str = ""
    datasets: Annotated[list[Key], Field(min_length=1), AfterValidator(distinct)]
    features: Key = Field(description="a feature set; a parser may name its own")
    pseudo_labels: Key | None = None
    parsers: Annotated[list[Key], Field(min_length=1), AfterValidator(distinct)]
    hyper: dict[str, Any] = Field(default_factory=dict, description="overrides for all parsers, under their own")
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1), AfterValidator(distinct)] = Field([0])
    split: Split = "test"
    reference: Key | None = Field(None, description="the parser whose scores gains are over; none: the first")


class Runtime(Section):
    """What may change speed. `torch_threads` also decides the last bits of results, so it is never taken from the machine."""

    workers: Annotated[int, Field(ge=1)] = Field(
        8, description="processes of a job that works file by file; never more than cores"
    )
    torch_threads: Annotated[int, Field(ge=1)] = 1
    training_threads: Annotated[int, Field(ge=1)] = 2
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    loading_threads: Annotated[int, Field(ge=1)] = Field(2, description="clips that are decoded ahead at a time")
    frame_cache_mb: Annotated[int, Field(ge=0)] = Field(2048, description="decoded frames kept in memory between runs")
    offline: bool = Field(False, description="download nothing: use what is there, or say what to put where")


class Downloads(Section):
    """How datasets are fetched. Nothing here decides a result."""

    parallel: Annotated[int, Field(ge=1)] = Field(4, description="files at a time")
    per_host: Annotated[int, Field(ge=1)] = Field(2, description="files at a time from one host")
    rate_mb_s: Annotated[float, Field(ge=0)] = Field(0.0, description="MB/s of all together; 0: no limit")
    attempts: Annotated[int, Field(ge=1)] = Field(6, description="failures in a row, without getting on, that end a try")
    timeout_s: Annotated[float, Field(gt=0)] = Field(30.0, description="s that a server may be silent")
    keep_archives: bool = Field(False, description="keep what was fetched and unpacked; files dropped by hand are always kept")
    video_height: Annotated[int, Field(ge=144)] = Field(360, description="px at most, where a host offers several sizes")
    pause_s: Annotated[float, Field(ge=0)] = Field(1.0, description="s between two requests for single videos")


class Tracking(Section):
    """MLflow: where runs are logged."""

    uri: str = "sqlite:///results/mlflow.db"
    prefix: str = Field("earshot-", description="of the names of MLflow experiments, which is followed by the benchmark's")


class Run(NamedTuple):
    """One row of a cell's plan: a method variant with its overrides and one seed. Plain values only."""

    variant: str
    plugin: str
    hyper: dict[str, Any]
    seed: int


class Cell(NamedTuple):
    """One job: everything of an experiment over the same decoded clips."""

    experiment: str
    dataset: str
    corruption: str
    severity: int
    backbone: str


class Config(Section):
    """The whole of `config.yaml`."""

    pathvars: dict[str, str] = Field(default_factory=dict)
    seed: Annotated[int, Field(ge=0)] = 0
    datasets: dict[Key, DatasetConfig] = Field(default_factory=dict)
    sound_banks: dict[Key, SoundBank] = Field(default_factory=dict)
    audio_models: dict[Key, AudioModelConfig] = Field(default_factory=dict)
    mappers: dict[Annotated[Key, AfterValidator(_not_reviewed)], MapperConfig] = Field(default_factory=dict)
    label_maps: dict[Key, dict[Key, str]] = Field(
        default_factory=dict,
        description="dataset -> audio model -> one of `mappers:`, or a reviewed JSON file, or its name in earshot/label_maps/",
    )
    checkpoints: dict[Key, CheckpointConfig] = Field(default_factory=dict)
    backbones: dict[Key, BackboneConfig] = Field(default_factory=dict)
    methods: dict[Key, MethodConfig] = Field(default_factory=dict)
    features: dict[Key, FeatureConfig] = Field(default_factory=dict)
    feature_sets: dict[Key, FeatureSet] = Field(default_factory=dict)
    pseudo_labels: dict[Key, PseudoLabels] = Field(default_factory=dict)
    parsers: dict[Key, ParserConfig] = Field(default_factory=dict)
    encoders: dict[Key, EncodersConfig] = Field(default_factory=dict)
    prompters: dict[Key, PrompterConfig] = Field(default_factory=dict)
    corruption: Corruption = Corruption()
    protocol: Protocol = Protocol()
    compute: Compute = Compute()
    runtime: Runtime = Runtime()
    downloads: Downloads = Downloads()
    mlflow: Tracking = Tracking()
    experiments: dict[Key, Experiment]
    parsing: dict[Key, ParsingExperiment] = Field(
        default_factory=dict, description="experiments of audio-visual video parsing; their names are none in `experiments:`"
    )
    prompting: dict[Key, PromptingExperiment] = Field(
        default_factory=dict, description="experiments of cross-modal prompting; their names are in none of the two"
    )
    targets: list[Key]

    @model_validator(mode="after")
    def _references_exist(self) -> Self:
        for target in self.targets:
            known("experiment", target, {**self.experiments, **self.parsing, **self.prompting}, "targets")
        for name, experiment in self.experiments.items():
            where = f"experiments.{name}"
            for dataset in (*experiment.datasets, *experiment.also_index):
                known("dataset", dataset, self.datasets, where)
            for method in experiment.methods:
                self.method(method, where)
            self._same_frames(name, where)
            for backbone in experiment.backbones:
                for dataset in experiment.datasets:
                    self.weights(backbone, dataset, where)
            if experiment.audio_model is not None:
                known("audio model", experiment.audio_model, self.audio_models, where)
                self._can_listen(experiment, where)
            elif experiment.mapper:
                raise ValueError(f"{where}.mapper: '{experiment.mapper}' maps sounds, but the experiment has no `audio_model`")
            if experiment.tune:
                for method in experiment.tune.grid:
                    known("method", method, experiment.methods, f"{where}.tune.grid")
        for name, spec in self.backbones.items():
            for dataset in spec.weights_of:
                known("dataset", dataset, self.datasets, f"backbones.{name}.weights_of")
            for given in (spec.weights, *spec.weights_of.values()):
                if given and given.checkpoint:
                    known("checkpoint", given.checkpoint, self.checkpoints, f"backbones.{name}.weights")
        for name, model in self.audio_models.items():
            if model.bank:
                known("sound bank", model.bank, self.sound_banks, f"audio_models.{name}")
            if model.checkpoint:
                known("checkpoint", model.checkpoint, self.checkpoints, f"audio_models.{name}")
        for dataset, maps in self.label_maps.items():
            for value in maps.values():
                if not is_map_file(value):
                    known("mapper", value, self.mappers, f"label_maps.{dataset}")
        for section in ("sound_banks", "datasets"):
            for name, entry in getattr(self, section).items():
                if entry.made_by:
                    known("dataset", entry.made_by, self.datasets, f"{section}.{name}.made_by")
        for clean, corrupted in self.corruption.published.items():
            known("dataset", clean, self.datasets, "corruption.published")
            known("dataset", corrupted, self.datasets, f"corruption.published.{clean}")
            if "published" not in plugins.definitions("datasets", self.datasets[corrupted].plugin):
                raise ValueError(f"corruption.published.{clean}: '{corrupted}' is no dataset of published corrupted files")
        return self

    @model_validator(mode="after")
    def _parsing_references_exist(self) -> Self:
        if both := sorted({*self.experiments} & {*self.parsing}):
            raise ValueError(f"parsing.{both[0]}: `experiments:` holds that name already; give it another")
        for name, made in self.features.items():
            kinds = (("checkpoint", self.checkpoints), ("audio_model", self.audio_models))
            for kind, legal in (*kinds, ("trained_on", self.datasets)):
                if getattr(made, kind):
                    known(kind.replace("_", " "), getattr(made, kind), legal, f"features.{name}")
            if made.backbone and made.trained_on:
                self.weights(made.backbone, made.trained_on, f"features.{name}")
        for name, chosen in self.feature_sets.items():
            self._listens_and_looks(f"feature_sets.{name}", chosen.audio, chosen.visual, chosen.motion)
        for name, labels in self.pseudo_labels.items():
            self._listens_and_looks(f"pseudo_labels.{name}", labels.audio, labels.visual)
            for side in (labels.audio, labels.visual):
                if "class_vectors" not in plugins.definitions("extractors", self.features[side].plugin):
                    raise ValueError(f"pseudo_labels.{name}: features '{side}' know no classes: they cannot label")
        for name, variant in self.parsers.items():
            if variant.features:
                known("feature set", variant.features, self.feature_sets, f"parsers.{name}")
            if variant.checkpoint:
                known("checkpoint", variant.checkpoint, self.checkpoints, f"parsers.{name}")
        for name, experiment in self.parsing.items():
            self._can_parse(experiment, f"parsing.{name}")
        return self

    @model_validator(mode="after")
    def _prompting_references_exist(self) -> Self:
        check_prompting(self)
        return self

    def _listens_and_looks(self, where: str, audio: str, *visual: str | None) -> None:
        """Refuse features that do not exist, or are of the other modality."""
        for name, modality in ((audio, "audio"), *((name, "visual") for name in visual if name)):
            known("features", name, self.features, where)
            if self.features[name].modality != modality:
                raise ValueError(f"{where}: features '{name}' are {self.features[name].modality}, not {modality}")

    def _can_parse(self, experiment: ParsingExperiment, where: str) -> None:
        for dataset in experiment.datasets:
            known("dataset", dataset, self.datasets, where)
        known("feature set", experiment.features, self.feature_sets, where)
        if experiment.pseudo_labels:
            known("pseudo-labels", experiment.pseudo_labels, self.pseudo_labels, where)
        if experiment.reference:
            known("parser", experiment.reference, experiment.parsers, f"{where}.reference")
        for variant in experiment.parsers:
            plugin = self.parser(variant, where).plugin
            if not experiment.pseudo_labels and plugins.describe("parsers", plugin).get("pseudo_labels", True):
                raise ValueError(f"{where}: parser '{variant}' learns from pseudo-labels: name some in `pseudo_labels`")

    def _can_listen(self, experiment: Experiment, where: str) -> None:
        """Refuse a dataset without a label map, or without the scores that its audio model stands for."""
        assert experiment.audio_model is not None
        if experiment.mapper:
            known("mapper", experiment.mapper, {*self.mappers, REVIEWED}, where)
        scores = self.audio_models[experiment.audio_model].scores
        for dataset in experiment.datasets:
            if self.mapper_of(experiment, dataset) == REVIEWED and not is_map_file(
                self.label_map(dataset, experiment.audio_model)
            ):
                raise ValueError(f"{where}.mapper: the label map of dataset '{dataset}' is no file that was reviewed")
            if scores and dataset not in scores:
                raise ValueError(f"{where}: audio model '{experiment.audio_model}' has no `scores` of dataset '{dataset}'")
        if scores and experiment.sound:
            raise ValueError(f"{where}.sound: '{experiment.audio_model}' stands for scores of the sound as it is")

    def _same_frames(self, experiment: str, where: str) -> None:
        """Refuse a protocol that evaluates other frames than source statistics are taken of, which all experiments share."""
        own = self.protocol_of(experiment)
        for key in ("evaluation_sampling", "index_base"):
            if getattr(own, key) != getattr(self.protocol, key):
                raise ValueError(
                    f"{where}.protocol: set `{key}` in the config's `protocol:`, which source statistics follow too"
                )

    def method(self, variant: str, where: str = "methods") -> MethodConfig:
        """The variant of that name; a name without an entry means the plug-in of that name with its defaults."""
        if variant in self.methods:
            return self.methods[variant]
        if variant not in plugins.available("methods"):
            legal = sorted({*self.methods, *plugins.available("methods")})
            raise ValueError(f"{where}: unknown method '{variant}'; available: {', '.join(legal)}")
        return MethodConfig(plugin=variant)

    def parser(self, variant: str, where: str = "parsers") -> ParserConfig:
        """The parser of that name; a name without an entry means the plug-in of that name with its defaults."""
        if variant in self.parsers:
            return self.parsers[variant]
        if variant not in plugins.available("parsers"):
            legal = sorted({*self.parsers, *plugins.available("parsers")})
            raise ValueError(f"{where}: unknown parser '{variant}'; available: {', '.join(legal)}")
        return ParserConfig(plugin=variant)

    def parser_hyper(self, experiment: str, variant: str) -> dict[str, Any]:
        """The overrides of a parser in an experiment: the experiment's, and over them its own."""
        return merged(self.parsing[experiment].hyper, self.parser(variant).hyper)

    def prompter(self, variant: str, where: str = "prompters") -> PrompterConfig:
        """The prompter of that name; a name without an entry means the plug-in of that name with its defaults."""
        if variant in self.prompters:
            return self.prompters[variant]
        if variant not in plugins.available("prompters"):
            legal = sorted({*self.prompters, *plugins.available("prompters")})
            raise ValueError(f"{where}: unknown prompter '{variant}'; available: {', '.join(legal)}")
        return PrompterConfig(plugin=variant)

    def backbone(self, name: str, where: str = "backbones") -> BackboneConfig:
        """The backbone of that name; a name without an entry means the plug-in of that name with its defaults."""
        if name in self.backbones:
            return self.backbones[name]
        if name not in plugins.available("backbones"):
            legal = sorted({*self.backbones, *plugins.available("backbones")})
            raise ValueError(f"{where}: unknown backbone '{name}'; available: {', '.join(legal)}")
        return BackboneConfig(plugin=name)

    def weights(self, name: str, dataset: str, where: str = "backbones") -> WeightsConfig:
        """Where a backbone's weights for a dataset come from; never random unless that is asked for."""
        backbone = self.backbone(name, where)
        found = backbone.weights_of.get(dataset, backbone.weights)
        if found is None:
            raise ValueError(
                f"{where}: backbone '{name}' has no weights for dataset '{dataset}': say in `backbones:` where they come from, "
                f"as {name}: {{plugin: {backbone.plugin}, weights: ...}} with `scratch` (train on the dataset), "
                "{checkpoint: <a name in `checkpoints:`>, fit: none | head | all}, or `random` (untrained, marked)"
            )
        return found

    def label_map(self, dataset: str, audio_model: str) -> str:
        """The label map of a dataset and an audio model: a file, or the name of a mapper."""
        try:
            return self.label_maps[dataset][audio_model]
        except KeyError:
            raise ValueError(
                f"no label map from audio model '{audio_model}' to dataset '{dataset}': add it to `label_maps:`, as "
                f"{dataset}: {{{audio_model}: <one of `mappers:`, or a JSON file>}}"
            ) from None

    def mapper_of(self, experiment: Experiment, dataset: str) -> str:
        """The mapper behind the label map of an experiment that listens; `reviewed` where the map is a file."""
        if experiment.mapper:
            return experiment.mapper
        value = self.label_map(dataset, str(experiment.audio_model))
        return REVIEWED if is_map_file(value) else value

    def protocol_of(self, experiment: str) -> Protocol:
        """The protocol that an experiment runs under: the whole config's, but for what the experiment says."""
        own = self.experiments[experiment].protocol
        return Protocol(**{**self.protocol.model_dump(), **(own.model_dump(exclude_unset=True) if own else {})})

    def cells(self, experiment: str) -> Iterator[Cell]:
        """All jobs of an experiment, the clean ones first; one job a severity where all corruptions are one stream."""
        spec, protocol = self.experiments[experiment], self.protocol_of(experiment)
        conditions = [(CLEAN, 0)] if spec.clean and protocol.name != CONTINUAL else []
        streams = [protocol.name] if protocol.one_stream else spec.corruptions
        conditions += list(product(streams, spec.severities))
        for dataset, backbone, (corruption, severity) in product(spec.datasets, spec.backbones, conditions):
            yield Cell(experiment, dataset, corruption, severity, backbone)

    def conditions(self, cell: Cell) -> list[tuple[str, int]]:
        """The corruptions, each at its severity, whose clips the job of a cell streams."""
        spec, protocol = self.experiments[cell.experiment], self.protocol_of(cell.experiment)
        if not (protocol.one_stream and cell.corruption == protocol.name):
            return [(cell.corruption, cell.severity)]
        last = [(CLEAN, 0)] if spec.clean and protocol.name == CONTINUAL else []  # shows what was forgotten
        return [(name, cell.severity) for name in spec.corruptions] + last

    def runs(self, experiment: str) -> list[Run]:
        """All runs of one cell of an experiment: every method variant and seed."""
        spec = self.experiments[experiment]
        methods = {variant: self.method(variant) for variant in spec.methods}
        return [Run(v, m.plugin, dict(m.hyper), seed) for (v, m), seed in product(methods.items(), spec.seeds)]

    def splits_to_hear(self, dataset: str) -> list[str]:
        """Which splits of a dataset any experiment listens to, sorted."""
        listening = [spec for spec in self.experiments.values() if dataset in spec.datasets and spec.audio_model]
        return sorted({spec.split for spec in listening} | {spec.tune.split for spec in listening if spec.tune})

    def splits_to_corrupt(self, dataset: str, corruption: str, severity: int) -> list[str]:
        """Which splits of a dataset any experiment needs under a corruption, sorted."""
        splits = set()
        for spec in self.experiments.values():
            if dataset in spec.datasets:
                if corruption in spec.corruptions and severity in spec.severities:
                    splits.add(spec.split)
                if (corruption, severity) == (CLEAN, 0) and spec.clean:
                    splits.add(spec.split)
                if spec.sound and (corruption, severity) == (spec.sound.corruption, spec.sound.severity):
                    splits |= {spec.split} | ({spec.tune.split} if spec.tune else set())
                if spec.tune and corruption in spec.tune.corruptions and severity == spec.tune.severity:
                    splits.add(spec.tune.split)
        return sorted(splits)


def load(values: Mapping[str, Any]) -> Config:
    """Validate a parsed `config.yaml`; raises ConfigError with one line per problem."""
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            where = ".".join(str(part) for part in problem["loc"]) or "config"
            message = problem["msg"].removeprefix("Value error, ")
            given = "" if isinstance(problem["input"], dict | list) else f" (given: {_shown(problem)})"
            lines.append(f"  {where}: {message}{given}")
        raise ConfigError("config.yaml is not valid:\n" + "\n".join(lines)) from None


def runtime_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """The `runtime:` section of a raw config, with defaults: for jobs, which are not done again when speed alone changes."""
    return Runtime.model_validate(values.get("runtime", {})).model_dump()


def downloads_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """The `downloads:` section of a raw config, with defaults: for jobs, which are not done again when manners change."""
    return Downloads.model_validate(values.get("downloads", {})).model_dump()


def _shown(problem: Mapping[str, Any]) -> str:
    """What was given, unless it may be a secret."""
    return "not shown" if any(_SECRET.search(str(part)) for part in problem["loc"]) else repr(problem["input"])


def _entries(value: Any) -> Iterator[tuple[str, Any]]:
    """Every name and value in a section, at any depth."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield str(name), inner
            yield from _entries(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _entries(inner)


def merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Two nested sections as one; where both hold a value, that of `over` counts."""
    both = {name: merged(under[name], over[name]) for name in under if _sections(under[name], over.get(name))}
    return {**under, **over, **both}


def _sections(first: Any, second: Any) -> bool:
    return isinstance(first, Mapping) and isinstance(second, Mapping)


def is_map_file(value: str) -> bool:
    """Whether an entry of `label_maps:` is a file, and no mapper's name."""
    return value.endswith(".json")


def reviewed_label_map(name: str) -> Path:
    """Path of a reviewed label map: as given, or by bare name in the library's `label_maps/`."""
    if "/" in name:
        return Path(name)
    # relative, so that a project that is moved has nothing to do again
    return Path(os.path.relpath(Path(__file__).parent / "label_maps" / name))


def overrides(hyper: type[BaseModel], values: Mapping[str, Any], where: str) -> BaseModel:
    """Build a plug-in's hyper-parameters from overrides; raises ConfigError that lists the legal names."""
    try:
        return hyper.model_validate(dict(values))
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, p['loc']))}: {p['msg']} (given: {_shown(p)})" for p in error.errors())
        raise ConfigError(f"{where}: {problems}. Legal keys: {', '.join(hyper.model_fields)}") from None
