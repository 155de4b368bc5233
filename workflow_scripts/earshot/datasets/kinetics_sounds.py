"""Kinetics-Sounds: the clips of Kinetics-400 whose action is seen and heard, of 31 or 32 classes.

There is no canonical list: 34 classes of an early Kinetics became 31 or, with `strumming guitar`, 32. The list is an option,
and the identity of classes and splits is in every result. By default the training part of Kinetics-400 is trained on (some
videos of it held out) and its validation part tested on; with `ogm_train` and `ogm_test` the lists of OGM-GE say it instead,
with lines of `<clip>,<10>,<class>`, a clip being `<youtube id>_<start>_<end>` in six digits each or, for testing, `<youtube
id>_<second>`. Sources: Arandjelovic and Zisserman, "Look, Listen and Learn", ICCV 2017; lists: IBM/AdaMML issue 3,
pritamqu/CrissCross issue 4, GeWu-Lab/OGM-GE_CVPR2022.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pydantic import Field

from earshot import label_spaces
from earshot.datasets import Dataset, DatasetError, Index, Source
from earshot.datasets._kinetics import HOME, RESTRICTED, Annotated, Fetching, Files, annotated, clip, lists, parts_of, videos
from earshot.datasets._lists import distinct, first_of, held, held_out, without_clips
from earshot.datasets._prepared import checked, text

SPEC = Dataset(
    "Kinetics-Sounds", "classification", None,
    licence="annotations: CC BY 4.0 (recalled); videos: their uploaders'",
    citation="Arandjelovic and Zisserman, ICCV 2017; Kay et al., 2017",
    home=HOME, restricted=RESTRICTED,
)  # fmt: skip
_SECONDS = 10
_OGM_EXPECTED = {"train": 14_799, "test": 2_597}


class Options(Fetching):
    """Which classes, and whose splits."""

    classes: str = Field("31", description="31, 32, or a CSV file of index,name whose names are those of Kinetics-400")
    ogm_train: str = Field("", description="OGM-GE's training list, relative to the root; with it, `ogm_test` as well")
    ogm_test: str = Field("", description="OGM-GE's test list; both are of the 31 classes")


def sources(root: Path, options: Options) -> list[Source]:
    """The annotations and, once they are there, the clips of the classes."""
    named = lists(options, every=bool(options.ogm_train))
    if not all((root / source.to).exists() for source in named):
        return named
    return [*named, *videos(root, options, (row for row, _ in _rows(root, options)), index(root, options))]


def index(root: Path, options: Options) -> Index:
    """List the clips; raises DatasetError for lists that cannot be used."""
    classes, files = _classes(options), Files(root)
    clips, remarks = distinct([clip(row, split, files) for row, split in _rows(root, options)])
    clips = held_out(clips, options.val_share)
    told = (*remarks, *without_clips(classes, clips))
    expected = held(_OGM_EXPECTED, clips) if options.ogm_train else {}
    return Index(classes, first_of(clips, options.first), remarks=told, expected=expected)


def _classes(options: Options) -> tuple[str, ...]:
    name = f"kinetics_sounds_{options.classes}" if options.classes in ("31", "32") else options.classes
    try:
        names = label_spaces.read(name).names
        label_spaces.read("k400").positions(names)
    except label_spaces.LabelSpaceError as error:
        raise DatasetError(f"`classes: {options.classes}`: {error}") from error
    return names


def _rows(root: Path, options: Options) -> Iterator[tuple[Annotated, str]]:
    """The annotated clips, and the split that each is of."""
    classes = _classes(options)
    if bool(options.ogm_train) != bool(options.ogm_test):
        raise DatasetError("`ogm_train` and `ogm_test` go together: give both lists, or none")
    if options.ogm_train:
        if classes != label_spaces.read("kinetics_sounds_31").names:
            raise DatasetError(f"`ogm_train` and `ogm_test` number the 31 classes, and `classes` is {options.classes}")
        parts = parts_of(root)
        yield from ((row, "train") for row in _of_list(root / options.ogm_train, classes, parts, "train"))
        yield from ((row, "test") for row in _of_list(root / options.ogm_test, classes, parts, "test"))
        return
    for part, split in options.splits:
        yield from ((row, split) for row in annotated(root, part, classes))


def _of_list(path: Path, classes: Sequence[str], parts: Mapping[str, str], other: str) -> Iterator[Annotated]:
    """The clips of a list of OGM-GE, each of the part of Kinetics-400 that annotates its video, or else of `other`."""
    for number, line in enumerate(
        text(path, "the lists are in the public repository GeWu-Lab/OGM-GE_CVPR2022").splitlines(), 1
    ):
        where, cells = f"{path}, line {number}", [cell.strip() for cell in line.split(",")]
        if not line.strip():
            continue
        name, label = cells[0], cells[-1]
        if len(cells) != 3 or not label.isdecimal() or int(label) >= len(classes) or len(name) < 13 or name[11] != "_":
            raise DatasetError(f"{where}: '{line}' is not <clip>,<seconds>,<class below {len(classes)}>; correct it")
        times = name[12:].split("_")
        if len(times) > 2 or not all(time.isdecimal() for time in times):
            raise DatasetError(f"{where}: '{name}' does not end in a second, or in two; correct it")
        start, end = int(times[0]), int(times[1]) if len(times) == 2 else int(times[0]) + _SECONDS
        video = checked(name[:11], where)
        yield Annotated(classes[int(label)], video, start, end, parts.get(video, other))
