"""Datasets: one file each. A plug-in defines

* `SPEC`, a `Dataset`;
* `Options`, a pydantic model of what the config may set (`datasets.<name>.options`);
* `index(root, options) -> Index`: which clips there are, before anything is opened;
* `prepare(root, options, workers)` if it makes or fetches its files, absent if the files are the user's.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Dataset:
    """Facts about a dataset. `classes` is None where the class list comes from the user's files."""

    title: str
    task: str  # classification | parsing
    classes: tuple[str, ...] | None
    licence: str
    citation: str
    protocol: int = 1  # raised when a change moves numbers


@dataclass(frozen=True)
class ClipRow:
    """One clip as listed: `label` is a class name, empty for multi-label clips; times in seconds, end 0: the whole file."""

    video: str
    split: str
    label: str
    start: float = 0.0
    end: float = 0.0


@dataclass(frozen=True)
class EventRow:
    """One event of a parsing clip: `modality` is audio or visual, times in seconds, half-open.

    Or a weak label: `modality` is weak, the class is somewhere in the clip, heard or seen, and the times are NaN.
    """

    video: str
    modality: str
    label: str
    onset: float
    offset: float


@dataclass(frozen=True)
class Index:
    """What `index` returns: the class names in order, the clips, and for parsing sets their events."""

    classes: tuple[str, ...]
    clips: tuple[ClipRow, ...]
    events: tuple[EventRow, ...] = ()
    remarks: tuple[str, ...] = field(default=())


class DatasetError(ValueError):
    """A dataset whose files or lists cannot be used as they are; the message names the file, the line and the way out."""
