"""How well classes part in what prompters give: t-SNE of pooled vectors of segments, and figures that need no picture.

Original vectors are those of the prompter without modules, adapted ones those of another. The map of t-SNE (van der Maaten and
Hinton, JMLR 2008) is for the eye; silhouette and the ratio of distances within and between classes are of the vectors
themselves, of segments that have a class.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.manifold import TSNE
from sklearn.metrics import silhouette_score

from earshot.figures import GRID, MARKERS, WIDTH
from earshot.prompt_views import Views
from earshot.randomness import numpy_generator

MODALITIES = ("audio", "visual")
_PERPLEXITY = 30
_FEWEST = 5  # segments of which a map is drawn
_MOST = 5_000  # segments
_ACROSS = 6  # names of classes in a line of the legend
_COLUMNS = ("prompter", "seed", "modality", "segments", "classes", "silhouette", "intra_inter")

Floats = NDArray[np.float64]


class Segments(NamedTuple):
    """Vectors (M, C) of segments and the class (M,) of each; the largest number that `background` tells has none."""

    vectors: Floats
    labels: NDArray[np.intp]
    background: int

    @property
    def classed(self) -> "Segments":
        """The segments that have a class."""
        own = self.labels != self.background
        return Segments(self.vectors[own], self.labels[own], self.background)


class Parting(NamedTuple):
    """How well the classes of a prompter's vectors part; NaN where there are too few segments or classes.

    `silhouette` is in [-1, 1], higher where classes part; `intra_inter` is the mean distance of segments from the centre of
    their class over that between centres of classes, lower where classes part.
    """

    prompter: str
    seed: int
    modality: str
    segments: int
    classes: int
    silhouette: float
    intra_inter: float


def segments_of(views: Views, modality: str, background: int) -> Segments | None:
    """Up to 5,000 segments of the clips, drawn by chance; None where there are no vectors or no labels.

    Segments whose vectors are not finite, beyond half precision for instance, are left out.
    """
    vectors, labels = views.arrays.get(modality), views.arrays.get("labels")
    if vectors is None or labels is None:
        return None
    flat = vectors.reshape(-1, vectors.shape[-1])
    kept = np.flatnonzero(np.isfinite(flat).all(axis=1))
    if len(kept) > _MOST:  # by chance: a stride that shares a factor with a clip's seconds would keep the same ones of each
        kept = np.sort(numpy_generator("thinned", len(kept)).permutation(kept)[:_MOST])
    return Segments(flat[kept].astype(np.float64), labels.reshape(-1)[kept].astype(np.intp), background)


def parting(prompter: str, seed: int, modality: str, segments: Segments) -> Parting:
    """The two figures of a prompter's vectors."""
    own = segments.classed
    classes, sizes = np.unique(own.labels, return_counts=True)
    apart = 1 < len(classes) < len(own.labels)
    silhouette = float(silhouette_score(own.vectors, own.labels)) if apart else np.nan
    ratio = intra_inter(own) if apart and (sizes > 1).any() else np.nan
    return Parting(prompter, seed, modality, len(own.labels), len(classes), silhouette, ratio)


def intra_inter(segments: Segments) -> float:
    """Mean distance of segments from the centre of their class, over the mean distance between two centres."""
    classes, place = np.unique(segments.labels, return_inverse=True)
    centres = np.stack([segments.vectors[place == number].mean(axis=0) for number in range(len(classes))])
    within = np.linalg.norm(segments.vectors - centres[place], axis=1).mean()
    first, second = np.triu_indices(len(classes), 1)
    between = np.linalg.norm(centres[first] - centres[second], axis=1).mean()
    return float(within / between) if between else np.nan


def parting_csv(rows: Sequence[Parting]) -> str:
    """The figures as CSV, one line a prompter, seed and modality; an empty cell where one does not apply."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for row in rows:
        numbers = ("" if np.isnan(value) else f"{value:.6f}" for value in (row.silhouette, row.intra_inter))
        writer.writerow([*row[:5], *numbers])
    return out.getvalue()


def embed(vectors: Floats) -> Floats:
    """Vectors (M, C) in the plane (M, 2) by t-SNE; the perplexity is 30, and less for few segments."""
    perplexity = min(_PERPLEXITY, (len(vectors) - 1) / 3)
    reducer = TSNE(2, perplexity=perplexity, init="pca", random_state=0)
    placed: Floats = reducer.fit_transform(vectors)
    return placed


def map_figure(
    original: Mapping[str, Segments], adapted: Mapping[str, Segments], titles: tuple[str, str], names: Sequence[str]
) -> Figure | None:
    """2 x 2 panels, original and adapted by audio and vision, coloured by class; None where there is too little to map.

    `names` are those of the classes, in their order.
    """
    rows = [(titles[0], original), (titles[1], adapted)]
    every = [segments for _, found in rows for segments in found.values()]
    if len(every) < 2 * len(MODALITIES) or any(not drawable(segments) for segments in every):
        return None
    classes = np.unique(np.concatenate([segments.classed.labels for segments in every])).tolist()
    figure, grid = plt.subplots(2, 2, figsize=(WIDTH, WIDTH + 0.18 * (len(classes) // _ACROSS)))
    for axes, (title, found) in zip(grid, rows, strict=True):
        for axis, modality in zip(axes, MODALITIES, strict=True):
            _scatter(axis, found[modality], classes)
            axis.set_title(f"{title}: {modality}", loc="left")
    words = [names[number].replace("_", " ") for number in classes]
    handles = [plt.Line2D([], [], linewidth=0, markersize=4, **style) for style in _styles(classes)]
    figure.legend(handles, words, loc="outside lower left", ncols=_ACROSS, fontsize=7.5, handletextpad=0.2, columnspacing=1)
    return figure


def drawable(segments: Segments) -> bool:
    """Whether there are segments enough, and not all alike."""
    return (
        len(segments.vectors) >= _FEWEST and len(segments.classed.labels) > 0 and bool(np.ptp(segments.vectors, axis=0).any())
    )


def _styles(classes: Sequence[int]) -> list[dict[str, Any]]:
    """A colour for each class, and one of several markers."""
    colours = colormaps["turbo"](np.linspace(0.05, 0.95, max(2, len(classes))))
    return [{"color": colours[n], "marker": MARKERS[n % len(MARKERS)]} for n in range(len(classes))]


def _scatter(axes: Axes, segments: Segments, classes: Sequence[int]) -> None:
    """Segments in the plane: background in grey beneath, and classes."""
    placed = embed(segments.vectors)
    quiet = segments.labels == segments.background
    axes.scatter(placed[quiet, 0], placed[quiet, 1], s=5, color=GRID, linewidths=0)
    for name, style in zip(classes, _styles(classes), strict=True):
        own = placed[segments.labels == name]
        axes.scatter(own[:, 0], own[:, 1], s=9, linewidths=0, **style)
    axes.set_xticks([])
    axes.set_yticks([])
