"""From published files or from videos to the features of a dataset; and features that are made up where there are neither.

A file or video that cannot be used costs its clip alone, which is told in the table. How features lie on disk: `feature_store`.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earshot import contracts, plugins, weights
from earshot.config import overrides
from earshot.errors import MediaError, SetupError
from earshot.extractors import Encoder
from earshot.feature_import import FLOATS, file_names, no_file, read_array
from earshot.feature_store import Array, Features, Made, read, write
from earshot.loading import prefetched
from earshot.parsers import SEGMENTS
from earshot.state_files import first_line

__all__ = ["Features", "extract", "import_files", "read", "synthesize", "write"]

_TOLD = 100  # clips between two lines of progress


def import_files(
    plugin: str,
    options: Mapping[str, Any],
    root: str,
    clips: str,
    id_length: int,
    threads: int,
    out_array: str,
    out_index: str,
) -> None:
    """Write the features of all clips of a table from the files that an extractor's authors published below `root`.

    Files are named by the first `id_length` characters of a clip's file name, 0 meaning all. Clips whose video is gone have
    features all the same. Raises SetupError if no file can be used.
    """
    module, chosen = _plugin(plugin, options)
    spec = module.spec(chosen)
    if not module.FILES:
        raise SetupError(f"extractor '{plugin}' has no published files: make its features from videos")
    clip_ids = [row["clip_id"] for row in contracts.read(clips, contracts.CLIPS)]
    names = file_names(clip_ids, id_length)
    loads = (partial(_published, Path(root), f"{module.FILES}/{name}", spec.published, module.pooled) for name in names)
    facts, shape = _facts(plugin, module, chosen, "files"), (SEGMENTS, spec.dim)
    told = no_file(Path(root) / module.FILES, names)
    write(prefetched(loads, threads), clip_ids, shape, facts, out_array, out_index, nothing=told)


def extract(
    plugin: str,
    options: Mapping[str, Any],
    weights_path: str,
    clips: str,
    root: str,
    batch: int,
    device: str,
    torch_threads: int,
    loading_threads: int,
    out_array: str,
    out_index: str,
) -> None:
    """Write the features of all clips of a table, made from their videos below `root`, `batch` clips at a time.

    `weights_path` is what the extractor's `WEIGHTS` names. Raises SetupError if no clip has features.
    """
    weights.use_threads(torch_threads)
    module, chosen = _plugin(plugin, options)
    if not module.WEIGHTS:
        raise SetupError(f"extractor '{plugin}' makes no features of videos: give the published files, or another extractor")
    rows = contracts.read(clips, contracts.CLIPS)
    encoder: Encoder = module.load(Path(weights_path), chosen, weights.pick_device(device))
    made = _told(_embedded(encoder, rows, Path(root), batch, loading_threads), len(rows))
    facts = {**_facts(plugin, module, chosen, "videos"), "weights": dict(encoder.origin)}
    clip_ids, shape = [row["clip_id"] for row in rows], (SEGMENTS, encoder.dim)
    write(made, clip_ids, shape, facts, out_array, out_index, nothing=f"no video below '{root}' has features")


def synthesize(
    plugin: str, options: Mapping[str, Any], clips: str, classes: str, events: str, out_array: str, out_index: str
) -> None:
    """Write made-up features of all clips of a table, out of its events; no video is looked at."""
    module, chosen = _plugin(plugin, options)
    if not hasattr(module, "make"):
        raise SetupError(f"extractor '{plugin}' makes features of files or videos, not out of nothing")
    names = [row["name"] for row in contracts.read(classes, contracts.CLASSES)]
    of_clip: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for event in contracts.read(events, contracts.EVENTS):
        of_clip[event["clip_id"]].append(event)
    clip_ids = [row["clip_id"] for row in contracts.read(clips, contracts.CLIPS)]
    made = (module.make(clip_id, of_clip[clip_id], names, chosen) for clip_id in clip_ids)
    facts, shape = _facts(plugin, module, chosen, "synthetic"), (SEGMENTS, chosen.dim)
    write(made, clip_ids, shape, facts, out_array, out_index)


def _plugin(plugin: str, options: Mapping[str, Any]) -> tuple[Any, Any]:
    module = plugins.load("extractors", plugin)
    return module, overrides(module.Options, options, "features.<name>.options")


def _published(root: Path, name: str, shape: tuple[int, ...], pooled: Callable[[Array], Array]) -> Array:
    """The features (10, D) in a published file; raises MediaError."""
    published = read_array(root, name, shape, FLOATS)
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is told by the writer
        return pooled(published).astype(np.float32)


def _facts(plugin: str, module: Any, options: Any, origin: str) -> dict[str, Any]:
    return {"extractor": plugin, "options": options.model_dump(), "modality": module.MODALITY, "origin": origin}


def _embedded(encoder: Encoder, rows: Sequence[Mapping[str, Any]], root: Path, batch: int, threads: int) -> Iterator[Made]:
    """The features (10, D) of one clip after another, or why it has none; those that can be read share batches."""
    inputs = prefetched((partial(_read, encoder, row, root) for row in rows), threads)
    while some := list(islice(inputs, batch)):
        usable = [one for one in some if not isinstance(one, MediaError)]
        made = iter(encoder.embed(usable).numpy() if usable else ())
        yield from (one if isinstance(one, MediaError) else next(made) for one in some)


def _read(encoder: Encoder, row: Mapping[str, Any], root: Path) -> NDArray[Any]:
    """What an encoder needs of a clip's video; raises MediaError."""
    if not row["available"]:
        raise MediaError(row["problem"] or "clip unavailable")
    try:
        return encoder.read(root / row["video"])
    except MediaError:
        raise
    except ValueError as error:  # frames of several sizes, and whatever else one file in thousands may hold
        raise MediaError(f"cannot be made features of: {first_line(error)}") from error


def _told(made: Iterator[Made], count: int) -> Iterator[Made]:
    """The same, with a line in the log now and then."""
    for done, one in enumerate(made, 1):
        yield one
        if done % _TOLD == 0 or done == count:
            print(f"features: {done} of {count} clips", flush=True)
