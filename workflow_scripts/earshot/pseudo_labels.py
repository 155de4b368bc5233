"""Pseudo-labels: which classes are heard and seen in each second, by models that were told the classes in words.

Source: Lai et al., "Modality-Independent Teachers Meet Weakly-Supervised Audio-Visual Event Parser" (VALOR), NeurIPS 2023; our
spec is `avvp.md` section 3.1. A class is there where its score is above a threshold of its own and the weak label of the clip
names it. Weak labels are not in what is stored here: `gated` puts them in, where they may be known, and `ungated` is what a
parser may look at where they may not. Axes: N clips, modality (audio, visual), 10 segments, C classes.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from earshot import contracts, feature_store, label_spaces, plugins, weights
from earshot.config import overrides
from earshot.errors import MediaError, SetupError
from earshot.extractors import ClassVectors, Wanted
from earshot.feature_import import INTEGERS, file_names, no_file, read_array
from earshot.feature_store import Features, Made
from earshot.label_spaces import LabelSpaceError
from earshot.loading import prefetched
from earshot.parsers import SEGMENTS

MODALITIES = ("audio", "visual")
PUBLISHED = {"audio": "CLAP/segment_pseudo_labels", "visual": "CLIP/segment_pseudo_labels"}  # folders below their root
_PUBLISHED_CLASSES = label_spaces.read("llp")
_ABOVE, _FAR_ABOVE = np.uint8(1), np.uint8(2)  # bits: a score is above the threshold; it is so by the margin, too
_MASKED = np.uint8(4)  # bit: the label is known under the mask of weak labels only
_RECIPES = Path(__file__).parent / "captions"
_COLUMNS = ("index", "name", *(f"{modality}_{what}" for what in ("caption", "threshold") for modality in MODALITIES))
_OF_MODEL = ("extractor", "options", "weights")  # facts of features and class vectors that must be the same
_CHUNK = 512  # clips whose scores are in memory at once


@dataclass(frozen=True)
class Recipe:
    """Captions and thresholds by modality, each for C classes."""

    captions: Mapping[str, tuple[str, ...]]
    thresholds: Mapping[str, NDArray[np.float64]]


def recipe(name: str, classes: Sequence[str]) -> Recipe:
    """The recipe of the library (`valor`) or of a user's CSV file for these classes in their order; raises SetupError.

    The file has the columns index, name, audio_caption, visual_caption, audio_threshold, visual_threshold; a threshold may be
    `inf`: the class is never labelled.
    """
    path = Path(name) if name.endswith(".csv") else _RECIPES / f"{name}.csv"
    rows = _recipe_rows(path)
    try:
        places = label_spaces.read(str(path)).positions(classes)
    except LabelSpaceError as error:
        raise SetupError(f"recipe '{path.name}' does not fit this dataset: {error}; write a CSV file of its own") from None
    chosen = [rows[place] for place in places]
    captions = {modality: tuple(row[f"{modality}_caption"] for row in chosen) for modality in MODALITIES}
    thresholds = {
        modality: np.array([_number(row, f"{modality}_threshold", path) for row in chosen]) for modality in MODALITIES
    }
    return Recipe(captions, thresholds)


def _recipe_rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        known = ", ".join(sorted(one.stem for one in _RECIPES.glob("*.csv")))
        raise SetupError(f"no recipe of pseudo-labels at '{path}': give {known}, or a CSV file of {', '.join(_COLUMNS)}")
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, restval="")
        if not set(_COLUMNS) <= set(reader.fieldnames or ()):
            raise SetupError(f"{path}: expected the columns {', '.join(_COLUMNS)}; the header is {reader.fieldnames}")
        rows = list(reader)
    for row in rows:
        if empty := [column for column in _COLUMNS if not row[column].strip()]:
            raise SetupError(f"{path}: the row of '{row['name']}' has no {empty[0]}")
    return sorted(rows, key=lambda row: int(row["index"]) if row["index"].isdecimal() else -1)


def _number(row: Mapping[str, str], column: str, path: Path) -> float:
    try:
        value = float(row[column])
    except ValueError:
        value = float("nan")
    if np.isnan(value):
        raise SetupError(f"{path}: {column} of '{row['name']}' is '{row[column]}', not a number")
    return value


# --- what scores classes ----------------------------------------------------------------------------------------------


def embed(
    plugin: str, options: Mapping[str, Any], weights_path: str, classes: str, recipe_name: str, label_map: str, out: str
) -> None:
    """Write what scores the classes of a dataset on the features of an extractor, as safetensors.

    Captions are those of a recipe or, without one, the prompts in the table of classes; `label_map` is empty where it is not
    needed. Raises SetupError for an extractor that knows no classes.
    """
    module = plugins.load("extractors", plugin)
    if not hasattr(module, "class_vectors"):
        raise SetupError(f"extractor '{plugin}' cannot say which classes are there: it makes no pseudo-labels")
    if module.WEIGHTS and not weights_path:
        raise SetupError(
            f"features of extractor '{plugin}' that come from files have no words: for pseudo-labels, name features of it that "
            f"are made with weights ({module.WEIGHTS})"
        )
    rows = contracts.read(classes, contracts.CLASSES)
    names = tuple(row["name"] for row in rows)
    told = recipe(recipe_name, names).captions[module.MODALITY] if recipe_name else tuple(row["prompt"] for row in rows)
    wanted = Wanted(names, told, Path(label_map) if label_map else None)
    chosen = overrides(module.Options, options, "features.<name>.options")
    facts = {"extractor": plugin, "options": chosen.model_dump(), "classes": list(names)}
    save_vectors(out, module.class_vectors(Path(weights_path), wanted, chosen), facts)


def save_vectors(path: str | Path, vectors: ClassVectors, facts: Mapping[str, Any]) -> None:
    """Write class vectors as safetensors; `vectors` among the tensors is the table of texts (C, D)."""
    tensors = {"vectors": vectors.table, "weight": vectors.weight, "bias": vectors.bias, "members": vectors.members}
    if vectors.background is not None:
        tensors["background"] = vectors.background
    never = [name for name, some in zip(facts["classes"], vectors.members.any(1).tolist(), strict=True) if not some]
    told = {"activation": vectors.activation, "scale": vectors.scale, "never_labelled": never}
    weights.save(path, tensors, {**vectors.facts, **facts, **told})


def load_vectors(path: str | Path) -> ClassVectors:
    """Read back what `save_vectors` wrote."""
    facts, tensors = weights.facts_of(path), load_file(path)
    parts = (tensors["weight"], tensors["bias"], tensors["members"])
    return ClassVectors(*parts, facts["activation"], facts["scale"], facts, tensors.get("background"))


def scores(array: NDArray[Any], vectors: ClassVectors) -> NDArray[np.float32]:
    """Scores (N, 10, C) of classes on features (N, 10, D); -inf where no output speaks for a class.

    Computed in float64, so that no threshold hangs on the order of sums. Raises SetupError for features of another model.
    """
    if array.shape[-1] != vectors.weight.shape[1]:
        raise SetupError(
            f"features of {array.shape[-1]} dimensions cannot be scored by class vectors of {vectors.weight.shape[1]}: they "
            "are of another model, or another size of it; name the one that the features are of"
        )
    outputs = _outputs(torch.from_numpy(array.astype(np.float64)), vectors)
    by_class = [outputs[..., some].amax(-1) if some.any() else _never(outputs) for some in vectors.members]
    return torch.stack(by_class, -1).float().numpy()


def _outputs(x: Tensor, vectors: ClassVectors) -> Tensor:
    """A model's outputs (N, 10, A)."""
    weight = vectors.weight.double()
    if vectors.activation == "none":
        return vectors.scale * (functional.normalize(x, dim=-1) @ functional.normalize(weight, dim=-1).T)
    logits = x @ weight.T + vectors.bias.double()
    return logits.softmax(-1) if vectors.activation == "softmax" else logits.sigmoid()


def _never(outputs: Tensor) -> Tensor:
    return torch.full_like(outputs[..., 0], -torch.inf)


# --- labels -----------------------------------------------------------------------------------------------------------


def label(found: NDArray[Any], thresholds: NDArray[Any] | float, margins: NDArray[Any] | float) -> NDArray[np.uint8]:
    """Labels (..., C) uint8 of scores (..., C): bit 0 if a score is above the threshold, bit 1 if it also is by the margin.

    Strictly above, and compared in the type of the scores and thresholds. Margins are what showing labels without the mask of
    weak labels asks for.
    """
    above, far_above = found > thresholds, found > np.asarray(thresholds) + margins
    return above.astype(np.uint8) * _ABOVE + far_above.astype(np.uint8) * _FAR_ABOVE


def gated(labels: NDArray[np.uint8], weak: NDArray[Any]) -> NDArray[np.uint8]:
    """Labels (N, 2, 10, C) in {0, 1} of the classes that the weak labels (N, C) name, for losses to learn from."""
    return (labels & _ABOVE) & (np.asarray(weak) > 0)[:, None, None, :].astype(np.uint8)


def ungated(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Labels (N, 2, 10, C) in {0, 1} by thresholds and margins alone, which owe nothing to weak labels.

    Raises SetupError for published labels, which were masked by the weak labels of all splits before they were stored.
    """
    if (labels & _MASKED).any():
        raise SetupError(
            "these pseudo-labels were published already masked by the weak labels of all splits, test included: shown to a "
            "parser at evaluation, they tell it the classes. Make pseudo-labels from features, or mark the result as a leak "
            "(`eval_source: gated_oracle`)"
        )
    return (labels & _FAR_ABOVE) // _FAR_ABOVE


@dataclass(frozen=True)
class Thresholds:
    """By modality: the score above which a class is there, one for all classes or one for each, and the margins."""

    audio: Any
    visual: Any
    audio_margin: float = 0.0
    visual_margin: float = 0.0

    def label(self, modality: str, found: NDArray[Any]) -> NDArray[np.uint8]:
        """Labels of scores (N, 10, C) of a modality."""
        return label(found, np.asarray(getattr(self, modality)), getattr(self, f"{modality}_margin"))


def label_segments(
    audio: str,
    visual: str,
    audio_vectors: str,
    visual_vectors: str,
    classes: str,
    recipe_name: str,
    thresholds: Mapping[str, float],
    margins: Mapping[str, float],
    out_array: str,
    out_index: str,
) -> None:
    """Write the pseudo-labels of clips from their features and class vectors, by modality.

    With a recipe its thresholds count, else `thresholds`. A clip without features of both modalities has no labels.
    """
    names = [row["name"] for row in contracts.read(classes, contracts.CLASSES)]
    stores = {"audio": feature_store.read(audio), "visual": feature_store.read(visual)}
    vectors = {"audio": load_vectors(audio_vectors), "visual": load_vectors(visual_vectors)}
    _check_same(stores, vectors, names)
    by_class: Mapping[str, Any] = recipe(recipe_name, names).thresholds if recipe_name else thresholds
    limits = Thresholds(by_class["audio"], by_class["visual"], margins["audio"], margins["visual"])
    facts = _facts(stores, vectors, names, limits, recipe_name)
    shape, clip_ids = (len(MODALITIES), SEGMENTS, len(names)), stores["audio"].clip_ids
    rows = _labelled(stores, vectors, limits)
    feature_store.write(rows, clip_ids, shape, facts, out_array, out_index, dtype="uint8", nothing="no clip can be labelled")


def _check_same(stores: Mapping[str, Features], vectors: Mapping[str, ClassVectors], names: Sequence[str]) -> None:
    if stores["audio"].clip_ids != stores["visual"].clip_ids:
        raise SetupError("the features for audio and visual pseudo-labels are of different clips: make both of one dataset")
    for modality, one in vectors.items():
        if one.facts["classes"] != list(names):
            raise SetupError(
                f"the class vectors for {modality} pseudo-labels are of {len(one.facts['classes'])} classes that are not the "
                f"{len(names)} of this dataset in their order; delete them to make them again"
            )
        if other := [fact for fact in _OF_MODEL if not _agree(stores[modality].facts.get(fact), one.facts.get(fact))]:
            raise SetupError(
                f"the features and the class vectors for {modality} pseudo-labels are of different models (their {other[0]} "
                "differ), and what they are compared by means nothing: make both with the same extractor, options and weights"
            )


def _agree(of_features: Any, of_vectors: Any) -> bool:
    """Whether two facts are the same; published features do not tell their weights."""
    return of_features is None or of_features == of_vectors


def _facts(
    stores: Mapping[str, Features], vectors: Mapping[str, ClassVectors], names: Sequence[str], limits: Thresholds, name: str
) -> dict[str, Any]:
    """What the table of labels says of how they were made."""
    told = {key: np.asarray(value).tolist() for key, value in asdict(limits).items()}
    sources = {
        modality: {key: stores[modality].facts.get(key) for key in ("extractor", "options", "origin", "weights")}
        | {"never_labelled": vectors[modality].facts["never_labelled"]}
        for modality in MODALITIES
    }
    return {"gated_only": False, "classes": list(names), "recipe": Path(name).name, "thresholds": told, **sources}


def _labelled(stores: Mapping[str, Features], vectors: Mapping[str, ClassVectors], limits: Thresholds) -> Iterator[Made]:
    """The labels (2, 10, C) of one clip after another."""
    count = len(stores["audio"].clip_ids)
    for start in range(0, count, _CHUNK):
        some = slice(start, start + _CHUNK)
        both = [limits.label(m, scores(stores[m].array[some], vectors[m])) for m in MODALITIES]
        for place, labels in enumerate(np.stack(both, 1), start):
            problems = [f"{m}: {store.problems[place]}" for m, store in stores.items() if not store.available[place]]
            yield MediaError("; ".join(problems)) if problems else labels


def import_labels(root: str, classes: str, clips: str, id_length: int, threads: int, out_array: str, out_index: str) -> None:
    """Write published pseudo-labels, (10, 25) integers a file and modality, which weak labels have masked already.

    Their columns are LLP's classes in its order, of which the dataset's are picked. Files are found and looked at as those of
    features are (`feature_import`). Raises SetupError if no clip has both, or a class is none of LLP's.
    """
    names = [row["name"] for row in contracts.read(classes, contracts.CLASSES)]
    columns = _published_columns(names)
    clip_ids = [row["clip_id"] for row in contracts.read(clips, contracts.CLIPS)]
    files = file_names(clip_ids, id_length)
    rows = prefetched((partial(_published, Path(root), name, columns) for name in files), threads)
    shape = (len(MODALITIES), SEGMENTS, len(names))
    facts = {"gated_only": True, "classes": names, "recipe": "", "origin": "files"}
    told = no_file(Path(root) / PUBLISHED["audio"], files)
    feature_store.write(rows, clip_ids, shape, facts, out_array, out_index, dtype="uint8", nothing=told)


def _published_columns(names: Sequence[str]) -> list[int]:
    """Where the classes of a dataset are among those of published labels; raises SetupError."""
    try:
        return _PUBLISHED_CLASSES.positions(names)
    except LabelSpaceError as error:
        raise SetupError(f"published pseudo-labels are of LLP's classes, and this dataset has others: {error}") from None


def _published(root: Path, name: str, columns: Sequence[int]) -> NDArray[np.uint8]:
    """The labels (2, 10, C) in a clip's two published files; raises MediaError."""
    both = []
    for folder in PUBLISHED.values():
        labels = read_array(root, f"{folder}/{name}", (SEGMENTS, len(_PUBLISHED_CLASSES.names)), INTEGERS)
        if not np.isin(labels, (0, 1)).all():
            raise MediaError(f"'{folder}/{name}' holds values other than 0 and 1")
        both.append(labels[:, columns].astype(np.uint8) * _ABOVE | _MASKED)
    return np.stack(both)
