"""UCF101-C as published by ViTTA: the test clips of UCF101's split 1 under one of twelve corruptions at severity 5.

The root holds `level_5_ucf_val_split_1_/<corruption>/<Class>/v_*.mp4` and `list_video_perturbations_ucf/`, whose list of a
corruption has lines of `path n_frames class_id` (ids from 0). The published numbers were evaluated in the order of the
shuffled lists, which matters where a model adapts as it goes: take `order: listed` in `protocol:`.

As a dataset it is one corruption's clips, with the sound of the clean ones, paired by stem; the corrupted files were encoded
again and whether they kept their tracks is not known. Under `corruption: {published: {ucf101: <this dataset>}}` all twelve
take the place of those made here. The names of lists beyond what is known of them are options. Source: Lin et al., "Video
Test-Time Adaptation for Action Recognition", CVPR 2023, and its repository.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import BaseModel, Field

from earshot import label_spaces
from earshot.corruptions import UCF101C
from earshot.datasets import ClipRow, Dataset, DatasetError, Index, Parts, Source
from earshot.datasets._prepared import checked, text

SPEC = Dataset(
    "UCF101-C (ViTTA)", "classification", label_spaces.read("ucf101").names,
    licence="CC BY 4.0, by its page on the hub; the videos are their uploaders'", citation="Lin et al., CVPR 2023",
    home="https://huggingface.co/datasets/wlin21at/ViTTA",
    restricted="corrupted copies of UCF101, whose clips are videos of YouTube users and are shared for research",
    download_gb=83.8, disk_gb=168,
)  # fmt: skip
_HINT = "lay out the files of ViTTA's UCF_val_corruptions as they unpack, or correct `lists` and `list_name`"


class Options(BaseModel, extra="forbid"):
    """Where the files are, and which corruption the dataset is of."""

    corruption: Literal[UCF101C] = Field("gauss", description="of the dataset; published files are taken of all")  # type: ignore[valid-type]
    videos: str = Field("level_5_ucf_val_split_1_", description="folder of `<corruption>/<Class>/v_*.mp4`")
    lists: str = Field("list_video_perturbations_ucf", description="folder of the lists")
    list_name: str = Field("{corruption}_shuffled.txt", description="of a corruption's list; the other is {corruption}.txt")
    clean: str = Field("", description="folder of the clean clips, relative to the root or absolute; empty: no sound")
    archives: list[str] = Field(
        default_factory=list, description="archives that were downloaded by hand, whose contents belong below the root"
    )
    files: list[str] = Field(
        default_factory=list, description="archives in UCF_val_corruptions of the hub's dataset, to be fetched; see its page"
    )


def sources(root: Path, options: Options) -> list[Source]:
    """The archives that the options name: how they are cut up has changed, and is told on the page."""
    by_hand = f"see {SPEC.home}, folder UCF_val_corruptions, and name what you take in `files` or, dropped by hand, `archives`"
    page = "hub://datasets/wlin21at/ViTTA@main/UCF_val_corruptions"
    named = [Source(name, ".", (f"{page}/{name}",), unpack=True, by_hand=by_hand) for name in options.files]
    named += [Source(name, ".", unpack=True, by_hand=by_hand) for name in options.archives]
    return named or [Source("UCF101-C.zip", ".", unpack=True, by_hand=by_hand)]


def index(root: Path, options: Options) -> Index:
    """List the clips of one corruption in the order of its list; raises DatasetError for a list that cannot be used."""
    clips = []
    for video, label in _listed(root, options, options.corruption):
        clips.append(ClipRow(video, "test", label, group=_group(video, label)))
    return Index(SPEC.classes or (), tuple(clips), expected={"test": 3_783}, audible=label_spaces.flagged("ucf101", "audible"))


def parts(root: Path, row: Mapping[str, Any], options: Options) -> Parts:
    """The sound of the clean clip, if the options say where it is."""
    if not options.clean:
        return Parts()
    video = PurePosixPath(row["video"])
    return Parts(sound=root / options.clean / video.parent.name / f"{video.stem}.avi")


def published(root: Path, options: Options, corruption: str) -> list[tuple[str, str]]:
    """The files of a corruption below the root, each with the stem of its clean clip, in the order of the list."""
    return [(video, PurePosixPath(video).stem) for video, _ in _listed(root, options, corruption)]


def _group(video: str, label: str) -> str:
    found = PurePosixPath(video).stem.rpartition("_c")[0].rpartition("_g")[2]
    return f"{label}_g{found}"


def _listed(root: Path, options: Options, corruption: str) -> Iterator[tuple[str, str]]:
    """Path below the root and class of every line of a list; what precedes the class's folder in a line does not count."""
    name = options.list_name.replace("{corruption}", corruption)
    path = root / options.lists / corruption / name
    if not path.exists():
        path = root / options.lists / name
    classes, found = SPEC.classes or (), False
    for number, line in enumerate(text(path, _HINT).splitlines(), 1):
        cells = line.split()
        if not cells:
            continue
        found, place = True, PurePosixPath(cells[0]).parts
        if len(cells) != 3 or len(place) < 2 or not cells[2].isdecimal() or int(cells[2]) >= len(classes):
            raise DatasetError(f"{path}, line {number}: '{line}' is not <path> <frames> <class id below {len(classes)}>")
        label = classes[int(cells[2])]
        if place[-2] != label:
            raise DatasetError(
                f"{path}, line {number}: class {cells[2]} is {label}, and the folder {place[-2]}; fetch it again"
            )
        file = checked(place[-1], f"{path}, line {number}")
        yield PurePosixPath(options.videos, corruption, label, file).as_posix(), label
    if not found:
        raise DatasetError(f"{path}: the list is empty; fetch it again")
