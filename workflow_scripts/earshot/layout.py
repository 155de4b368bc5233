"""Where everything lies, and what each job is told: the input and params functions of the rules.

Methods take a rule's wildcards (anything with the attributes they read) and return paths or plain values. Imported when the
Snakefile is read, so nothing heavy is imported here.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from earshot import digests, plugins
from earshot.config import (
    OF_DATASET,
    REVIEWED,
    SOUND,
    AudioModelConfig,
    Cell,
    Config,
    DatasetConfig,
    Experiment,
    WeightsConfig,
    reviewed_label_map,
)  # fmt: skip
from earshot.files import sha256_of_file
from earshot.folders import listing

_PACKAGE = Path(__file__).parent


@cache
def _checksums(pattern: str) -> dict[str, str]:
    """SHA-256 of files of the library by name."""
    return {path.name: sha256_of_file(path) for path in sorted(_PACKAGE.glob(pattern))}


class Layout:
    """Paths and settings of all jobs of a config."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.data = config.pathvars.get("data", "data")
        self.results = config.pathvars.get("results", "results")
        # what decides the last bits of results; scripts read the rest, so that a change of speed does nothing again
        self.runtime = config.runtime.model_dump(include={"device", "torch_threads", "training_threads"})

    # datasets

    def dataset(self, wildcards: Any) -> DatasetConfig:
        """The wildcard's dataset in the config."""
        return self.config.datasets[wildcards.dataset]

    def dataset_plugin(self, wildcards: Any) -> str:
        """The plug-in that reads the wildcard's dataset."""
        return self.dataset(wildcards).plugin

    def dataset_options(self, wildcards: Any) -> dict[str, Any]:
        """What that plug-in is told; sorted, since Snakemake takes another order of keys for another value."""
        return dict(sorted(self.dataset(wildcards).options.items()))

    def dataset_root(self, wildcards: Any) -> str:
        """Folder of a dataset's videos: the user's, or the one that the workflow fills."""
        return self.root_of(wildcards.dataset)

    def root_of(self, dataset: str) -> str:
        """Folder of the videos of a dataset."""
        return self.config.datasets[dataset].root or f"{self.data}/{dataset}/media"

    def dataset_files(self, wildcards: Any) -> str | list[str]:
        """What must exist before a dataset is indexed: its download or preparation, or the user's label file."""
        return self._files_of(wildcards.dataset)

    def _files_of(self, dataset: str) -> str | list[str]:
        spec = self.config.datasets[dataset]
        maker = spec.made_by or ("" if spec.root else dataset)
        if maker:
            return f"{self.data}/{maker}/{'downloaded' if spec.fetched else 'prepared'}.json"
        labels = spec.options.get("labels")
        return f"{spec.root}/{labels}" if labels else []

    def downloads_folder(self, wildcards: Any) -> str:
        """Where fetched archives lie, and where the user drops files."""
        return f"{self.data}/{wildcards.dataset}/downloads"

    def dataset_wishes(self, wildcards: Any) -> dict[str, Any]:
        """What the config says of fetching a dataset; sorted, as options are."""
        given = self.dataset(wildcards)
        return {
            "accept_terms": given.accept_terms,
            "checksums": dict(sorted(given.checksums.items())),
            "mirrors": dict(sorted(given.mirrors.items())),
            "unverified_tls": given.unverified_tls,
        }

    def downloaded(self, wildcards: Any) -> str:
        """The ledger that says why files of a dataset could not be fetched; empty if it is not fetched."""
        return f"{self.data}/{wildcards.dataset}/downloaded.json" if self.dataset(wildcards).fetched else ""

    def journal(self, wildcards: Any) -> str:
        """The file that keeps what probing found, whatever becomes of the job."""
        return f"{self.data}/{wildcards.dataset}/probed.jsonl"

    def made_from(self, wildcards: Any) -> str | list[str]:
        """What a dataset is made of, if it is joined out of another's clips."""
        options = self.dataset_options(wildcards)
        maker = options.get("made_by")
        if self.dataset_plugin(wildcards) != "joined":
            return []
        return f"{self.data}/{maker}/prepared.json" if maker else options.get("source", [])

    def dataset_listing(self, wildcards: Any) -> str:
        """A fingerprint of a user's folder, so that a video that comes, goes or changes is noticed."""
        spec = self.dataset(wildcards)
        if not spec.root or spec.made_by:
            return ""
        shared = Path(spec.root).resolve() == Path(self.data, wildcards.dataset).resolve()
        return listing(spec.root, f"datasets.{wildcards.dataset}", shared)

    def splits_to_corrupt(self, wildcards: Any) -> list[str]:
        """Which splits of a dataset are needed under a corruption."""
        return self.config.splits_to_corrupt(wildcards.dataset, wildcards.corruption, int(wildcards.severity))

    def published_files(self, wildcards: Any) -> str | list[str]:
        """What must exist before published corrupted files are taken."""
        return self._files_of(self.config.corruption.published[wildcards.dataset])

    def published_set(self, wildcards: Any) -> dict[str, Any]:
        """The plug-in, folder and options of the published corrupted files of the wildcard's dataset."""
        name = self.config.corruption.published[wildcards.dataset]
        given = self.config.datasets[name]
        options = dict(sorted(given.options.items()))
        seen = listing(given.root, f"datasets.{name}") if given.root else ""
        return {"name": name, "plugin": given.plugin, "root": self.root_of(name), "options": options, "listing": seen}

    def published_code(self, wildcards: Any) -> str:
        """Digest of what takes published corrupted files."""
        plugin = self.config.datasets[self.config.corruption.published[wildcards.dataset]].plugin
        return digests.of("published_corruptions:take", f"datasets.{plugin}")

    def corruption_task(self, wildcards: Any) -> dict[str, Any]:
        """How the clips of a corrupted set are made and written, besides the paths."""
        return self._task(wildcards.dataset, wildcards.corruption, int(wildcards.severity))

    def sheet_tasks(self, wildcards: Any) -> dict[str, list[dict[str, Any]]]:
        """The corruptions of the wildcard's experiment for each of its datasets, of which contact sheets are drawn."""
        spec = self.experiment(wildcards)
        return {dataset: [self._task(dataset, name, 1) for name in spec.corruptions] for dataset in spec.datasets}

    def kernel_codes(self, wildcards: Any) -> list[str]:
        """Digests of the corruptions of the wildcard's experiment."""
        return [digests.of(f"corruptions.{name}") for name in self.experiment(wildcards).corruptions]

    def _task(self, dataset: str, corruption: str, severity: int) -> dict[str, Any]:
        given, sound = self.config.corruption, corruption.startswith(SOUND)
        return {
            "recipe": {
                "corruption": corruption,
                "severity": severity,
                "preset": given.sound_preset if sound else given.preset,
                "temporal": given.temporal,
                "seed": self.config.seed,
            },
            "encoding": given.encode.model_dump(),
            "materialise": given.materialise,
            "position": given.position,
            "allow_hdr": given.allow_hdr,
            "beds": given.noise_beds,
            "root": self.root_of(dataset),
        }

    def beds(self, wildcards: Any) -> list[str]:
        """The user's noise recordings, for a corruption of the sound that lays one over it."""
        folder = self.config.corruption.noise_beds
        return sorted(map(str, Path(folder).glob("*.wav"))) if folder and wildcards.corruption.startswith(SOUND) else []

    def shards(self, wildcards: Any) -> list[str]:
        """The parts of a corrupted set that is made by several jobs."""
        folder = self.folder_of_corrupted(wildcards)
        return [f"{folder}/clips-{number}.parquet" for number in range(self.config.corruption.shards)]

    def folder_of_corrupted(self, wildcards: Any) -> str:
        """Folder of the corrupted clips of a condition."""
        return str(Path(self._clips(wildcards.dataset, wildcards.corruption, wildcards.severity)).parent)

    def splits_to_hear(self, wildcards: Any) -> list[str]:
        """Which splits of a dataset any experiment listens to."""
        return self.config.splits_to_hear(wildcards.dataset)

    # models

    def backbone_plugin(self, wildcards: Any) -> str:
        """The plug-in behind a backbone's name."""
        return self.config.backbone(wildcards.backbone).plugin

    def backbone(self, wildcards: Any) -> dict[str, Any]:
        """The plug-in behind a backbone's name and its options."""
        given = self.config.backbone(wildcards.backbone)
        return {"plugin": given.plugin, "options": dict(sorted(given.options.items()))}

    def backbone_training(self, wildcards: Any) -> dict[str, Any]:
        """Overrides of how a backbone's source model is trained."""
        return dict(sorted(self.config.backbone(wildcards.backbone).train.items()))

    def fit(self, wildcards: Any) -> str:
        """What is trained of a source model: none, head or all."""
        return self._weights(wildcards).fit

    def source_weights(self, wildcards: Any) -> str:
        """The file of a source model: trained here, or imported."""
        how = "imported" if self._weights(wildcards).fit == "none" else "trained"
        return f"{self.data}/weights/{wildcards.backbone}/{wildcards.dataset}/{how}.safetensors"

    def checkpoint(self, wildcards: Any) -> dict[str, Any]:
        """Where a checkpoint of the config comes from."""
        return self.config.checkpoints[wildcards.checkpoint].model_dump(exclude={"classes"})

    def checkpoint_files(self, wildcards: Any) -> list[str]:
        """The local files of a checkpoint, if it has any, so that a change of one is noticed."""
        path = self.config.checkpoints[wildcards.checkpoint].path
        if path and Path(path).is_dir():
            return sorted(str(file) for file in Path(path).iterdir() if file.is_file())
        return [path] if path else []

    def checkpoint_folder(self, wildcards: Any) -> str:
        """Where a checkpoint is downloaded to."""
        return f"{self.data}/checkpoints/{wildcards.checkpoint}"

    def manifest(self, wildcards: Any) -> str | list[str]:
        """What says where the files of a source model's checkpoint are; nothing for one from scratch or at random."""
        name = self._weights(wildcards).checkpoint
        return f"{self.data}/checkpoints/{name}.json" if name else []

    def label_space(self, wildcards: Any) -> str:
        """The label space of a source model's checkpoint."""
        name = self._weights(wildcards).checkpoint
        return self.config.checkpoints[name].classes if name else ""

    def label_space_file(self, wildcards: Any) -> str | list[str]:
        """The file of that label space, if it is the user's."""
        space = self.label_space(wildcards)
        return space if space.endswith(".csv") else []

    def statistics(self, wildcards: Any) -> str:
        """The source statistics of a backbone: computed here, or published."""
        kind = ".published" if self._weights(wildcards).statistics else ""
        return f"{self.results}/source_statistics/{wildcards.dataset}/{wildcards.backbone}{kind}.safetensors"

    def statistics_sampling(self, wildcards: Any) -> dict[str, Any]:
        """Which frames of training clips statistics are taken of: those that the config's protocol evaluates."""
        protocol = self.config.protocol
        return {"evaluation": protocol.evaluation_sampling, "index_base": protocol.index_base}

    def cell_statistics(self, wildcards: Any) -> str | list[str]:
        """The source statistics of a cell, if one of its experiment's methods needs them."""
        return self.statistics(wildcards) if self._needed(wildcards, "statistics") else []

    def cell_importance(self, wildcards: Any) -> str | list[str]:
        """The importance of parameters to a cell's source model, if one of its experiment's methods needs it."""
        path = f"{self.results}/importance/{wildcards.dataset}/{wildcards.backbone}.safetensors"
        return path if self._needed(wildcards, "importance") else []

    def _needed(self, wildcards: Any, what: str) -> bool:
        return any(what in plugins.describe("methods", plugin)["needs"] for plugin in self._methods_of(wildcards.experiment))

    @cache  # noqa: B019  # one layout a process, asked for every cell
    def _methods_of(self, experiment: str) -> frozenset[str]:
        """The plug-ins of an experiment's methods."""
        return frozenset(run.plugin for run in self.config.runs(experiment))

    def published_statistics(self, wildcards: Any) -> dict[str, str]:
        """The files of a backbone's published statistics."""
        given = self._weights(wildcards).statistics
        return given.model_dump() if given else {}

    def _weights(self, wildcards: Any) -> WeightsConfig:
        return self.config.weights(wildcards.backbone, wildcards.dataset)

    # audio models

    def audio_model(self, wildcards: Any) -> AudioModelConfig:
        """The wildcard's audio model in the config."""
        return self.config.audio_models[wildcards.audio_model]

    def audio_plugin(self, wildcards: Any) -> str:
        """The plug-in behind an audio model's name."""
        return self.audio_model(wildcards).plugin

    def audio_options(self, wildcards: Any) -> dict[str, Any]:
        """What that plug-in is told."""
        return dict(sorted(self.audio_model(wildcards).options.items()))

    def audio_hyper(self, wildcards: Any) -> dict[str, Any]:
        """Overrides of how an audio model is trained."""
        return dict(sorted(self.audio_model(wildcards).hyper.items()))

    def audio_batch(self, wildcards: Any) -> int:
        """How many windows an audio model scores at once."""
        return self.audio_model(wildcards).batch

    def bank(self, wildcards: Any) -> str:
        """The list of the sounds that an audio model is trained on."""
        return self._bank(wildcards).csv

    def bank_files(self, wildcards: Any) -> str:
        """What must exist before an audio model is trained: the preparation that writes its bank, or the user's list."""
        bank = self._bank(wildcards)
        return f"{self.data}/{bank.made_by}/prepared.json" if bank.made_by else bank.csv

    def _bank(self, wildcards: Any) -> Any:
        return self.config.sound_banks[self.audio_model(wildcards).bank or ""]

    def tagger_weights(self, wildcards: Any) -> str | list[str]:
        """The file of an audio model: trained here, or imported; of each dataset if its sounds are that one's classes.

        Nothing for scores made elsewhere.
        """
        model, folder = self.audio_model(wildcards), f"{self.data}/audio_models/{wildcards.audio_model}"
        if model.scores:
            return []
        if model.bank:
            return f"{folder}/trained.safetensors"
        own = f"{wildcards.dataset}/" if self.sounds(wildcards) == OF_DATASET else ""
        return f"{folder}/{own}imported.safetensors"

    def tagger_manifest(self, wildcards: Any) -> str:
        """What says where the files of an audio model's checkpoint are."""
        return f"{self.data}/checkpoints/{self.audio_model(wildcards).checkpoint}.json"

    def sounds(self, wildcards: Any) -> str:
        """The label space that an audio model's sounds are said to be: its own, or its checkpoint's."""
        model = self.audio_model(wildcards)
        return model.classes or (self.config.checkpoints[model.checkpoint].classes if model.checkpoint else "")

    def sounds_file(self, wildcards: Any) -> str | list[str]:
        """The file of that label space, if it is the user's."""
        space = self.sounds(wildcards)
        return space if space.endswith(".csv") else []

    def ready_scores(self, wildcards: Any) -> str:
        """A user's scores of a dataset."""
        return self.audio_model(wildcards).scores[wildcards.dataset]

    def sound(self, wildcards: Any) -> str:
        """The table of a dataset's sound at the rate of an audio model: shared by all models of that rate."""
        return f"{self.data}/{wildcards.dataset}/audio/{self.audio_model(wildcards).rate_hz}/audio.parquet"

    def corrupted_sound(self, wildcards: Any) -> str:
        """The same of the sound of a corrupted set."""
        return f"{self.folder_of_corrupted(wildcards)}/audio/{self.audio_model(wildcards).rate_hz}/audio.parquet"

    # label maps

    def answers(self, wildcards: Any) -> str:
        """Where the answers of mappers are kept: maps of one question share them."""
        return f"{self.data}/label_maps/{wildcards.dataset}/answers"

    def mapper(self, wildcards: Any) -> dict[str, Any]:
        """The plug-in behind a mapper's name and its options."""
        given = self.config.mappers[wildcards.mapper]
        return {"plugin": given.plugin, "options": dict(sorted(given.options.items()))}

    def map_file(self, wildcards: Any) -> str:
        """The file of a label map: a user's, or the one that a mapper makes and a user may edit."""
        return self._map_file(wildcards, wildcards.mapper)

    def other_map_file(self, wildcards: Any) -> str:
        """The file of the label map that another one is compared with."""
        return self._map_file(wildcards, wildcards.other)

    def _map_file(self, wildcards: Any, mapper: str) -> str:
        if mapper == REVIEWED:
            return str(reviewed_label_map(self.config.label_map(wildcards.dataset, wildcards.audio_model)))
        return f"{self.data}/label_maps/{wildcards.dataset}/{wildcards.audio_model}/{mapper}.json"

    # code

    def code(self, *entries: str) -> Callable[[Any], str]:
        """A params function: digest of the code behind the entries; `{dataset}` and the like stand for plug-ins."""

        def digest(wildcards: Any) -> str:
            names = {}
            if hasattr(wildcards, "dataset"):
                names["dataset"] = self.dataset_plugin(wildcards)
            if hasattr(wildcards, "backbone"):
                names["backbone"] = self.backbone_plugin(wildcards)
            if hasattr(wildcards, "audio_model"):
                names["audio_model"] = self.audio_plugin(wildcards)
            if hasattr(wildcards, "features"):
                names["features"] = self.config.features[wildcards.features].plugin
            if hasattr(wildcards, "parser"):
                names["parser"] = self.config.parser(wildcards.parser).plugin
            if hasattr(wildcards, "corruption"):
                names["corruption"] = wildcards.corruption
            return digests.of(*(entry.format(**names) for entry in entries))

        return digest

    def method_codes(self, wildcards: Any) -> dict[str, str]:
        """Digest of each method's code, with the code that streams clips to it and the backbone's."""
        shared = ("streaming:Cell", f"backbones.{self.backbone_plugin(wildcards)}")
        used = sorted(self._methods_of(wildcards.experiment))
        return {key: digests.of(f"methods.{key}", *shared) for key in used}

    def package_files(self, pattern: str) -> dict[str, str]:
        """Checksums of files of the library that are not code, such as published numbers, which no digest of code covers."""
        return dict(_checksums(pattern))

    # cells

    def experiment(self, wildcards: Any) -> Experiment:
        """The wildcard's experiment in the config."""
        return self.config.experiments[wildcards.experiment]

    def _clips(self, dataset: str, corruption: str, severity: int | str) -> str:
        return f"{self.data}/{dataset}-c/{corruption}/{severity}/clips.parquet"

    def cell_clips(self, wildcards: Any) -> list[str]:
        """The clips of a cell: a table for each corruption of its stream."""
        place = (wildcards.experiment, wildcards.dataset, wildcards.corruption, int(wildcards.severity), wildcards.backbone)
        return [self._clips(wildcards.dataset, *condition) for condition in self.config.conditions(Cell(*place))]

    def tuning_clips(self, wildcards: Any) -> str:
        """The held-out corrupted clips on which hyper-parameters are tried."""
        tune = self.experiment(wildcards).tune
        return self._clips(wildcards.dataset, wildcards.corruption, tune.severity) if tune else ""

    def trials(self, wildcards: Any) -> list[str]:
        """The tables of what was tried, one for each corruption of the wildcard experiment's `tune:`."""
        tune = self.experiment(wildcards).tune
        folder = f"{self.results}/tuning/{wildcards.experiment}/{wildcards.dataset}/{wildcards.backbone}"
        return [f"{folder}/{corruption}.parquet" for corruption in tune.corruptions] if tune else []

    def tuned(self, wildcards: Any) -> str | list[str]:
        """The chosen hyper-parameters of a cell, if its experiment tunes."""
        chosen = f"{self.results}/tuning/{wildcards.experiment}/{wildcards.dataset}/{wildcards.backbone}.json"
        return chosen if self.experiment(wildcards).tune else []

    def audio_scores(self, wildcards: Any) -> str | list[str]:
        """The audio scores of a cell's dataset, if its experiment listens: of the clean sound, or of the corrupted one."""
        spec = self.experiment(wildcards)
        folder = f"{self.results}/audio_scores/{wildcards.dataset}{_of_sound(spec)}"
        return f"{folder}/{spec.audio_model}.parquet" if spec.audio_model else []

    def label_map(self, wildcards: Any) -> str | list[str]:
        """The label map of a cell's dataset, if its experiment listens."""
        spec = self.experiment(wildcards)
        if not spec.audio_model:
            return []
        mapper = self.config.mapper_of(spec, wildcards.dataset)
        return f"{self.results}/label_maps/{wildcards.dataset}/{spec.audio_model}.{mapper}.parquet"

    def runs(self, wildcards: Any) -> list[list[Any]]:
        """Every run of a cell: variant, plug-in, overrides, seed."""
        return [list(run) for run in self.config.runs(wildcards.experiment)]

    def cell(self, wildcards: Any) -> dict[str, Any]:
        """What the job of a cell is told, besides its files."""
        return self._cell(wildcards, self.experiment(wildcards).split)

    def tuning_cell(self, wildcards: Any) -> dict[str, Any]:
        """What the job that tunes is told: a held-out cell, and what is tried there."""
        tune = self.experiment(wildcards).tune
        if tune is None:
            raise ValueError(f"experiment '{wildcards.experiment}' has no `tune:` section")
        cell = self._cell(wildcards, tune.split)
        methods = {name: self.config.method(name) for name in tune.grid}
        plain = {name: [method.plugin, dict(method.hyper)] for name, method in methods.items()}
        return {**cell, "grid": tune.grid, "methods": plain, "seed": tune.seed}

    def _cell(self, wildcards: Any, split: str) -> dict[str, Any]:
        return {
            "root": self.root_of(wildcards.dataset),
            "backbone": self.backbone(wildcards),
            "dataset": wildcards.dataset,
            "corruption": wildcards.corruption,
            "split": split,
            "protocol": self.protocol(wildcards),
            "batch": self.config.protocol_of(wildcards.experiment).clips_at_once,
            "compute": self.config.compute.model_dump(),
            "runtime": self.runtime,
            "parts": f"{self.results}/parts",
        }

    # results

    def cells(self, suffix: str) -> Callable[[Any], list[str]]:
        """An input function: the files of that suffix of every cell of the wildcard's experiment."""

        def fill(wildcards: Any) -> list[str]:
            return [
                f"{self.results}/predictions/{c.experiment}/{c.dataset}/{c.corruption}-{c.severity}/{c.backbone}{suffix}"
                for c in self.config.cells(wildcards.experiment)
            ]

        return fill

    def datasets(self, pattern: str, also_indexed: bool = False) -> Callable[[Any], list[str]]:
        """An input function: `pattern` for every dataset of the wildcard's experiment.

        A pattern that names the audio model, or the `rate` at which it listens, gives nothing where the experiment does not;
        `{sound}` is the sub-folder of the corrupted sound, if it listens to that, and `{mapper}` what its label map is from.
        """

        def fill(wildcards: Any) -> list[str]:
            spec = self.experiment(wildcards)
            model = self.config.audio_models[spec.audio_model] if spec.audio_model else None
            rate = model.rate_hz if model and not model.scores else None
            if ("{model}" in pattern and model is None) or ("{rate}" in pattern and rate is None):
                return []
            names = [*spec.datasets, *(spec.also_index if also_indexed else [])]
            places = {
                "data": self.data,
                "results": self.results,
                "model": spec.audio_model,
                "sound": _of_sound(spec),
                "rate": rate,
            }
            mapped = "{mapper}" in pattern
            mappers = {name: self.config.mapper_of(spec, name) if mapped else "" for name in names}
            return [pattern.format(dataset=name, mapper=mappers[name], **places) for name in names]

        return fill

    def corrupted_clips(self, wildcards: Any) -> list[str]:
        """The corrupted clips of every dataset and condition of the wildcard's experiment."""
        cells = self.config.cells(wildcards.experiment)
        conditions = [(cell.dataset, *condition) for cell in cells for condition in self.config.conditions(cell)]
        return [self._clips(*condition) for condition in dict.fromkeys(conditions)]

    def trainings(self, wildcards: Any) -> list[str]:
        """The training tables of the source models and of the audio model of the wildcard's experiment."""
        spec = self.experiment(wildcards)
        pairs = [(b, d) for d in spec.datasets for b in spec.backbones if self.config.weights(b, d).fit != "none"]
        sources = [f"{self.results}/training/{b}/{d}.parquet" for b, d in pairs]
        listens = spec.audio_model and self.config.audio_models[spec.audio_model].bank
        return sources + ([f"{self.results}/training/audio/{spec.audio_model}.parquet"] if listens else [])

    def tuning_trials(self, wildcards: Any) -> list[str]:
        """The tables of tried hyper-parameters of the wildcard's experiment."""
        spec, name = self.experiment(wildcards), wildcards.experiment
        if spec.tune is None:
            return []
        return [f"{self.results}/tuning/{name}/{d}/{b}.parquet" for d in spec.datasets for b in spec.backbones]

    def field(self, name: str) -> Callable[[Any], Any]:
        """A params function: one field of the wildcard's experiment in the config."""

        def read(wildcards: Any) -> Any:
            return getattr(self.experiment(wildcards), name)

        return read

    def protocol(self, wildcards: Any) -> dict[str, Any]:
        """The protocol of the wildcard's experiment."""
        return self.config.protocol_of(wildcards.experiment).model_dump()

    def methods(self, wildcards: Any) -> list[dict[str, Any]]:
        """What tables and reports say of each method variant."""
        variants = {name: self.config.method(name) for name in self.experiment(wildcards).methods}
        return [{"variant": n, "hyper": dict(m.hyper), **plugins.describe("methods", m.plugin)} for n, m in variants.items()]

    def roots(self, wildcards: Any) -> dict[str, str]:
        """Folders of the media of the wildcard's experiment."""
        return {name: self.root_of(name) for name in self.experiment(wildcards).datasets}

    def files(self, wildcards: Any) -> dict[str, str]:
        """Where a reader of the report finds what."""
        name, listens = wildcards.experiment, self.experiment(wildcards).audio_model
        maps = {"label maps, a page each": f"{self.results}/label_maps/"} if listens else {}
        return {
            **maps,
            "predictions, one row a clip": f"{self.results}/predictions/{name}/",
            "metrics": f"{self.results}/metrics/{name}.parquet",
            "tables as Markdown, CSV and LaTeX": f"{self.results}/tables/{name}/",
            "figures as SVG and PNG": f"{self.results}/figures/{name}/",
            "MLflow": self.config.mlflow.uri,
        }


def _of_sound(spec: Experiment) -> str:
    """What follows a dataset's name in paths of what was heard under the experiment's corruption of the sound, if any."""
    return f"-c/{spec.sound.corruption}/{spec.sound.severity}" if spec.sound else ""


def in_order(section: Any) -> Any:
    """A nested section with sorted keys: Snakemake takes another order of keys for another value."""
    return {name: in_order(section[name]) for name in sorted(section)} if isinstance(section, dict) else section
