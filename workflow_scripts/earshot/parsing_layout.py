"""Where everything of audio-visual video parsing lies, and what each of its jobs is told.

As in `layout`, methods take a rule's wildcards and return paths or plain values, and nothing heavy is imported.
"""

from collections.abc import Callable, Iterator
from itertools import product
from types import SimpleNamespace
from typing import Any

from earshot import digests, plugins
from earshot.config import REVIEWED, FeatureConfig, ParsingExperiment, PseudoLabels, is_map_file
from earshot.folders import listing
from earshot.layout import Layout, in_order

_NO_NAME = "(?!)"  # a pattern that nothing matches


class ParsingLayout(Layout):
    """Paths and settings of the jobs that make features and pseudo-labels, and train and run parsers."""

    # features of parsing sets

    def features_from(self, origin: str) -> str:
        """A pattern of the names of features from `files`, `videos` or `nothing`."""
        return "|".join(name for name, given in self.config.features.items() if given.origin == origin) or _NO_NAME

    def labels_from(self, origin: str) -> str:
        """A pattern of the names of pseudo-labels from `files` or from `features`."""
        labels = self.config.pseudo_labels.items()
        return "|".join(name for name, given in labels if bool(given.root) == (origin == "files")) or _NO_NAME

    def feature(self, wildcards: Any) -> FeatureConfig:
        """The wildcard's features in the config."""
        return self.config.features[wildcards.features]

    def extractor(self, wildcards: Any) -> dict[str, Any]:
        """The plug-in behind the name of some features, and its options."""
        return self._extractor(wildcards.features)

    def _extractor(self, features: str) -> dict[str, Any]:
        given = self.config.features[features]
        return {"plugin": given.plugin, "options": dict(sorted(given.options.items()))}

    def feature_files(self, wildcards: Any) -> dict[str, Any]:
        """Where published files of features are, and how they are named."""
        given = self.feature(wildcards)
        return {"root": given.root, "id_length": given.id_length}

    def feature_listing(self, wildcards: Any) -> str:
        """A fingerprint of a folder of published features, so that a file that comes, goes or changes is noticed."""
        given = self.feature(wildcards)
        folder = plugins.describe("extractors", given.plugin)["files"]
        return listing(f"{given.root}/{folder}", f"features.{wildcards.features}")

    def extractor_code(self, entry: str) -> Callable[[Any], str]:
        """A params function: digest of an entry, of the wildcard's extractor and of the model that it works with."""

        def digest(wildcards: Any) -> str:
            return digests.of(entry, *self._extractor_code(wildcards.features))

        return digest

    def _extractor_code(self, features: str) -> list[str]:
        given = self.config.features[features]
        used = [f"backbones.{name}" for name in plugins.describe("extractors", given.plugin).get("backbones", ())]
        if given.audio_model:
            used.append(f"audio_models.{self.config.audio_models[given.audio_model].plugin}")
        if given.backbone:
            used.append(f"backbones.{self.config.backbone(given.backbone).plugin}")
        return [f"extractors.{given.plugin}", *used]

    def feature_batch(self, wildcards: Any) -> int:
        """How many clips an extractor takes at once."""
        return self.feature(wildcards).batch

    def feature_weights(self, wildcards: Any) -> str | list[str]:
        """The file that an extractor takes: what says where its checkpoint is, an audio model, or a source model."""
        return self._feature_weights(wildcards.features, wildcards.dataset)

    def _feature_weights(self, features: str, dataset: str) -> str | list[str]:
        given = self.config.features[features]
        if given.checkpoint:
            return f"{self.data}/checkpoints/{given.checkpoint}.json"
        if given.audio_model:
            return self.tagger_weights(SimpleNamespace(audio_model=given.audio_model, dataset=dataset))
        if given.backbone:
            return self.source_weights(SimpleNamespace(backbone=given.backbone, dataset=given.trained_on))
        return []

    def features_of(self, features: str | None, dataset: str) -> str:
        """The array of some features of a dataset; empty without a name."""
        return f"{self.data}/{dataset}/features/{features}.npy" if features else ""

    # pseudo-labels

    def labelling(self, wildcards: Any) -> PseudoLabels:
        """The wildcard's pseudo-labels in the config."""
        return self.config.pseudo_labels[wildcards.labels]

    def label_files(self, wildcards: Any) -> dict[str, Any]:
        """Where published pseudo-labels are, and how they are named."""
        given = self.labelling(wildcards)
        return {"root": given.root, "id_length": given.id_length}

    def label_listing(self, wildcards: Any) -> list[str]:
        """Fingerprints of the folders of published pseudo-labels."""
        root, key = self.labelling(wildcards).root, f"pseudo_labels.{wildcards.labels}"
        return [listing(f"{root}/{side}/segment_pseudo_labels", key) for side in ("CLAP", "CLIP")]

    def recipe(self, wildcards: Any) -> str:
        """The name of a recipe of pseudo-labels; empty: names of classes are their captions."""
        return self.labelling(wildcards).recipe

    def extraction_runtime(self, wildcards: Any) -> dict[str, Any]:
        """What of the runtime decides the last bits of features."""
        return {name: self.runtime[name] for name in ("device", "torch_threads")}

    def label_rule(self, wildcards: Any) -> dict[str, Any]:
        """When a class counts as there."""
        return self.labelling(wildcards).model_dump(include={"recipe", "thresholds", "ungated_margins"})

    def recipe_file(self, wildcards: Any) -> str | list[str]:
        """The user's file of captions and thresholds, if there is one."""
        recipe = self.labelling(wildcards).recipe
        return recipe if recipe.endswith(".csv") else []

    def label_features(self, wildcards: Any) -> dict[str, str]:
        """The features that pseudo-labels are read from, by modality."""
        given = self.labelling(wildcards)
        return {side: self.features_of(getattr(given, side), wildcards.dataset) for side in ("audio", "visual")}

    def class_vectors(self, wildcards: Any) -> dict[str, str]:
        """The vectors of classes that they are compared with, by modality."""
        return self._class_vectors(wildcards.labels, wildcards.dataset)

    def _class_vectors(self, labels: str, dataset: str) -> dict[str, str]:
        folder = f"{self.data}/{dataset}/class_vectors/{labels}"
        return {f"{side}_vectors": f"{folder}/{side}.safetensors" for side in ("audio", "visual")}

    def labeller(self, wildcards: Any) -> dict[str, Any]:
        """The extractor that gives one side of pseudo-labels its words."""
        return self._extractor(getattr(self.labelling(wildcards), wildcards.side))

    def labeller_weights(self, wildcards: Any) -> str | list[str]:
        """The file of that extractor."""
        return self._feature_weights(getattr(self.labelling(wildcards), wildcards.side), wildcards.dataset)

    def labeller_map(self, wildcards: Any) -> str | list[str]:
        """The map from the sounds of an audio model to the classes, where pseudo-labels come from one."""
        model = self.config.features[getattr(self.labelling(wildcards), wildcards.side)].audio_model
        if not model:
            return []
        value = self.config.label_map(wildcards.dataset, model)
        mapper = REVIEWED if is_map_file(value) else value
        return f"{self.results}/label_maps/{wildcards.dataset}/{model}.{mapper}.parquet"

    def labeller_code(self, wildcards: Any) -> str:
        """Digest of the code that makes class vectors."""
        return digests.of("pseudo_labels:embed", *self._extractor_code(getattr(self.labelling(wildcards), wildcards.side)))

    # parsers

    def parsing(self, wildcards: Any) -> ParsingExperiment:
        """The wildcard's parsing experiment in the config."""
        return self.config.parsing[wildcards.parsing]

    def parser_job(self, wildcards: Any) -> dict[str, Any]:
        """What a job that trains or runs a parser is told, besides its files."""
        hyper = self.config.parser_hyper(wildcards.parsing, wildcards.parser)
        plugin = self.config.parser(wildcards.parser).plugin
        return {"plugin": plugin, "hyper": in_order(hyper), "seed": int(wildcards.number), "runtime": self.runtime}

    def imported_job(self, wildcards: Any) -> dict[str, Any]:
        """The same of a parser whose weights are imported, for which no seed counts."""
        first = self.parsing(wildcards).seeds[0]
        return self.parser_job(SimpleNamespace(parsing=wildcards.parsing, parser=wildcards.parser, number=first))

    def parser_facts(self, wildcards: Any) -> dict[str, Any]:
        """What a file of parses says of where it is from."""
        features = self._feature_set_name(wildcards.parsing, wildcards.parser)
        return {"experiment": wildcards.parsing, "dataset": wildcards.dataset, "parser": wildcards.parser, "features": features}

    def _feature_set_name(self, parsing: str, parser: str) -> str:
        return self.config.parser(parser).features or self.config.parsing[parsing].features

    def parser_features(self, wildcards: Any) -> dict[str, str]:
        """The features of a parser, by stream."""
        chosen = self.config.feature_sets[self._feature_set_name(wildcards.parsing, wildcards.parser)]
        streams = {name: self.features_of(features, wildcards.dataset) for name, features in chosen}
        return {name: path for name, path in streams.items() if path}

    def parser_labels(self, wildcards: Any) -> str | list[str]:
        """The pseudo-labels that a parser learns from, if it does."""
        labels = self.parsing(wildcards).pseudo_labels
        plugin = self.config.parser(wildcards.parser).plugin
        learns = plugins.describe("parsers", plugin).get("pseudo_labels", True)
        return f"{self.data}/{wildcards.dataset}/pseudo_labels/{labels}.npy" if labels and learns else []

    def parser_words(self, wildcards: Any) -> dict[str, str]:
        """The class vectors of a parser that reads pseudo-labels as words."""
        labels = self.parsing(wildcards).pseudo_labels
        plugin = self.config.parser(wildcards.parser).plugin
        reads = "shown" in plugins.definitions("parsers", plugin)
        return self._class_vectors(labels, wildcards.dataset) if labels and reads else {}

    def parser_weights(self, wildcards: Any) -> str:
        """The weights of a parser: the best of its training, or imported."""
        folder = f"{self.data}/weights/parsers/{wildcards.parsing}/{wildcards.dataset}/{wildcards.parser}"
        imported = self.config.parser(wildcards.parser).checkpoint
        return f"{folder}/imported.safetensors" if imported else f"{folder}/{wildcards.number}/best.safetensors"

    def parser_manifest(self, wildcards: Any) -> str:
        """What says where the published weights of a parser are."""
        return f"{self.data}/checkpoints/{self.config.parser(wildcards.parser).checkpoint}.json"

    def parser_space(self, wildcards: Any) -> str:
        """The label space of the published weights of a parser."""
        return self.config.checkpoints[self.config.parser(wildcards.parser).checkpoint or ""].classes

    def parser_space_file(self, wildcards: Any) -> str | list[str]:
        """The file of that label space, if it is the user's."""
        space = self.parser_space(wildcards)
        return space if space.endswith(".csv") else []

    def parses(self, wildcards: Any) -> list[str]:
        """What every parser of the wildcard's experiment says; one whose weights are imported, once."""
        return [f"{self.results}/parses/{wildcards.parsing}/{place}.parquet" for place, _ in self._runs(wildcards)]

    def training(self, wildcards: Any) -> list[str]:
        """The training tables of the parsers of the wildcard's experiment that are trained here."""
        folder = f"{self.results}/training/parsers/{wildcards.parsing}"
        return [f"{folder}/{place}.parquet" for place, trained in self._runs(wildcards) if trained]

    def _runs(self, wildcards: Any) -> Iterator[tuple[str, bool]]:
        """Dataset, parser and seed as a path, and whether the parser is trained."""
        spec = self.parsing(wildcards)
        for dataset, parser, seed in product(spec.datasets, spec.parsers, spec.seeds):
            trained = not self.config.parser(parser).checkpoint
            if trained or seed == spec.seeds[0]:
                yield f"{dataset}/{parser}/{seed}", trained

    def parsing_datasets(self, pattern: str) -> Callable[[Any], list[str]]:
        """An input function: `pattern` for every dataset of the wildcard's parsing experiment."""

        def fill(wildcards: Any) -> list[str]:
            places = {"data": self.data, "results": self.results}
            return [pattern.format(dataset=dataset, **places) for dataset in self.parsing(wildcards).datasets]

        return fill

    def parsing_field(self, name: str) -> Callable[[Any], Any]:
        """A params function: one field of the wildcard's parsing experiment."""

        def read(wildcards: Any) -> Any:
            return getattr(self.parsing(wildcards), name)

        return read

    def parsing_reference(self, wildcards: Any) -> str:
        """The parser that gains are over."""
        return self.parsing(wildcards).reference or self.parsing(wildcards).parsers[0]

    def parsers(self, wildcards: Any) -> list[dict[str, Any]]:
        """What tables and reports say of each parser."""
        name, made = wildcards.parsing, []
        for variant in self.parsing(wildcards).parsers:
            about = plugins.describe("parsers", self.config.parser(variant).plugin)
            hyper = in_order(self.config.parser_hyper(name, variant))
            made.append({"variant": variant, "hyper": hyper, "features": self._feature_set_name(name, variant), **about})
        return made

    def parsing_plugins(self, wildcards: Any) -> dict[str, str]:
        """The plug-ins that read the datasets of the wildcard's parsing experiment."""
        return {name: self.config.datasets[name].plugin for name in self.parsing(wildcards).datasets}

    def parsing_roots(self, wildcards: Any) -> dict[str, str]:
        """Folders of the videos of the wildcard's parsing experiment."""
        return {name: self.root_of(name) for name in self.parsing(wildcards).datasets}

    def parsing_places(self, wildcards: Any) -> dict[str, str]:
        """Where a reader of the report finds what."""
        name = wildcards.parsing
        return {
            "parses, one row a clip": f"{self.results}/parses/{name}/",
            "scores": f"{self.results}/metrics/{name}.parquet",
            "tables as Markdown, CSV and LaTeX": f"{self.results}/tables/{name}/",
            "figures": f"{self.results}/figures/{name}/",
            "weights, best and last": f"{self.data}/weights/parsers/{name}/",
            "MLflow": self.config.mlflow.uri,
        }
