"""Datasets: one file each. A plug-in defines

* `SPEC`, a `Dataset`;
* `Options`, a pydantic model of what the config may set (`datasets.<name>.options`);
* `index(root, options) -> Index`: which clips there are, before anything is opened;
* `prepare(root, options, workers)` if it makes its files;
* `sources(root, options) -> Sequence[Source]` if its files can be fetched, or dropped as published; it is called again when
  what it named is there, until it names nothing new, so that what a list names can follow the list;
* `parts(root, row, options) -> Parts` if its clips are, or may be, files of single frames and of sound instead of videos; `row`
  has the names and values of `contracts.CLIPS` that are known before anything is opened.

A clip's name is its path without suffix, unless `ClipRow.clip` gives another; rows about a clip name it in the same way.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath


@dataclass(frozen=True)
class Dataset:
    """Facts about a dataset. `classes` is None where the class list comes from the user's files.

    `restricted` says why its terms must be accepted in the config before anything is fetched; empty: they need not be.
    """

    title: str
    task: str  # classification | parsing | localisation | segmentation | answering
    classes: tuple[str, ...] | None
    licence: str
    citation: str
    protocol: int = 1  # raised when a change moves numbers
    home: str = ""  # address of its page
    restricted: str = ""
    download_gb: float = 0.0  # what is fetched, about; 0: not known
    disk_gb: float = 0.0  # what it needs while it is unpacked, about; 0: not known


@dataclass(frozen=True)
class Source:
    """A file that a dataset is made of: where it is to be had, and where it goes below the root.

    `origins` are tried in order: `https://…`, `hub://datasets/<owner>/<name>@<revision>/<path>` (or `hub://models/…`),
    `drive://<id>`, `youtube://<id>?start=<s>&end=<s>`. Without any, or where they fail, the user drops the file, called `name`,
    into the dataset's folder `downloads`, as `by_hand` says.
    """

    name: str  # of the file in the folder `downloads`; may hold folders
    to: str = ""  # path of the file or, if it is unpacked, of the folder of its contents, below the root
    origins: tuple[str, ...] = ()
    unpack: bool = False  # an archive: .zip, .tar, .tar.gz, .tgz, .rar
    below: str = ""  # a folder in the archive: only what is in it is unpacked, without its name
    members: frozenset[str] | None = None  # only these files of the archive, by their names without folders
    sha256: str = ""  # empty: none is published; what came first is kept to
    size: int = 0  # bytes, about; 0: not known
    unpacked: int = 0  # bytes of an archive's contents, at most; 0: not known
    by_hand: str = ""
    needed: bool = True  # False: where it cannot be had, that costs its own clips only, as a vanished video


@dataclass(frozen=True)
class ClipRow:
    """One clip as listed: `label` is a class name, empty for multi-label clips; times in seconds, end 0: the whole file.

    `clip` names it where its path does not, as where several clips are of one file. `group` names the recording it was cut out
    of, where that is known: clips of one should not be in two splits.
    """

    video: str
    split: str
    label: str
    start: float = 0.0
    end: float = 0.0
    clip: str = ""
    group: str = ""


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
    clip: str = ""


@dataclass(frozen=True)
class QuestionRow:
    """A question about a clip, with its slots filled and without its question mark; `answer` is a class name.

    `kind` is modality and type, such as Audio-Counting. The split may be another than the clip's.
    """

    question: str
    video: str
    split: str
    text: str
    kind: str
    answer: str
    clip: str = ""


@dataclass(frozen=True)
class MaskRow:
    """Where in a clip's picture that sounds which is heard in a second, from 0; `mask` is an image below the root."""

    video: str
    second: int
    mask: str
    clip: str = ""


@dataclass(frozen=True)
class Parts:
    """The files of a clip that is prepared as such: its frames in order, spread over `seconds`, and its sound.

    `frames` None or `sound` None: that part is in the clip's video. Sound is a WAV file, or a NumPy array (N,) at `rate` Hz.
    """

    frames: tuple[Path, ...] | None = None
    sound: Path | None = None
    seconds: float = 0.0
    rate: int = 0


@dataclass(frozen=True)
class Index:
    """What `index` returns: the class names (or answers) in order, the clips, and their events, questions and masks, if any.

    `words` is the vocabulary of the questions in order, without padding; empty: their words, sorted. `expected` is how many
    clips of each split are published; `audible` are the classes whose clips should have a track, None where all should.
    """

    classes: tuple[str, ...]
    clips: tuple[ClipRow, ...]
    events: tuple[EventRow, ...] = ()
    remarks: tuple[str, ...] = field(default=())
    questions: tuple[QuestionRow, ...] = ()
    masks: tuple[MaskRow, ...] = ()
    words: tuple[str, ...] = ()
    expected: Mapping[str, int] = field(default_factory=dict)
    audible: frozenset[str] | None = None


def clip_id(video: str) -> str:
    """A clip's name: its path below the root, without suffix."""
    return PurePosixPath(video).with_suffix("").as_posix()


def name_of(row: ClipRow | EventRow | QuestionRow | MaskRow) -> str:
    """The name of the clip of a row: its own or, if it has none, that of its file."""
    return row.clip or clip_id(row.video)


class DatasetError(ValueError):
    """A dataset whose files or lists cannot be used as they are; the message names the file, the line and the way out."""
