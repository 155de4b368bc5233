"""AVSBench-object: clips of five seconds, one frame a second, and which pixels show what sounds.

S4 (`Single-source`): 4,932 clips of 23 classes with one sounding object; of a training clip the first second alone has a mask.
MS3 (`Multi-sources`): 424 clips without a class, with several, and a mask for every second. The layout is the published one:

* `Single-source/s4_meta_data.csv` with the columns `name`, `category` and `split`, and below `Single-source/s4_data`
  `visual_frames/<split>/<category>/<name>/<name>_<1..5>.png`, `gt_masks/` likewise, `audio_wav/<split>/<category>/<name>.wav`;
* `Multi-sources/ms3_meta_data.csv` with `name` and `split`, and below `Multi-sources/ms3_data`
  `visual_frames/<name>/<name>.mp4_<1..5>.png`, `gt_masks/<split>/<name>/<name>_<1..5>.png`, `audio_wav/<split>/<name>.wav`.

Sound that is shared as pickled arrays (`AVS.npy`) is not read, since reading a pickle runs what is in it: use the waves.
Source: Zhou et al., "Audio-Visual Segmentation", ECCV 2022.
"""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import BaseModel, Field

from earshot.datasets import ClipRow, Dataset, DatasetError, Index, MaskRow, Parts, Source
from earshot.datasets._prepared import checked, text

SPEC = Dataset(
    "AVSBench-object", "segmentation", None, licence="given out on request", citation="Zhou et al., ECCV 2022",
    home="https://github.com/OpenNLPLab/AVSBench",
    restricted="given out on request, by a form or by mail; the clips are videos of YouTube users",
)  # fmt: skip
SECONDS = 5
_SPLITS = ("train", "val", "test")
_LISTS = {"s4": "Single-source/s4_meta_data.csv", "ms3": "Multi-sources/ms3_meta_data.csv"}
_FILES = {"s4": "Single-source/s4_data", "ms3": "Multi-sources/ms3_data"}
_EXPECTED = {"s4": {"train": 3_452, "val": 740, "test": 740}, "ms3": {"train": 296, "val": 64, "test": 64}}
_COLUMNS = {"s4": ("name", "category", "split"), "ms3": ("name", "split")}


class Options(BaseModel, extra="forbid"):
    """Which of the two parts."""

    subset: Literal["s4", "ms3"] = "s4"
    archive: str = Field("", description="the archive to drop, which holds the folder of the subset; empty: <folder>.zip")


def sources(root: Path, options: Options) -> list[Source]:
    """The archive of the subset, which has to be asked for."""
    folder = PurePosixPath(_LISTS[options.subset]).parts[0]
    by_hand = f"ask for it as {SPEC.home} says; the archive must hold the folder {folder}"
    return [Source(options.archive or f"{folder}.zip", ".", unpack=True, by_hand=by_hand)]


def index(root: Path, options: Options) -> Index:
    """List the clips and their masks; raises DatasetError for a list that cannot be used."""
    rows = list(_rows(root / _LISTS[options.subset], _COLUMNS[options.subset]))
    if not rows:
        raise DatasetError(f"{root / _LISTS[options.subset]}: the list is empty; fetch it again")
    frames = f"{_FILES[options.subset]}/visual_frames"
    clips, masks = [], []
    for row in rows:
        place = "/".join(_place(row))
        video = f"{frames}/{place}" if options.subset == "s4" else f"{frames}/{row['name']}"
        clips.append(ClipRow(video, row["split"], row.get("category", ""), clip=place))
        annotated = 1 if options.subset == "s4" and row["split"] == "train" else SECONDS
        folder = f"{_FILES[options.subset]}/gt_masks/{place}"
        masks += [MaskRow(video, k, f"{folder}/{row['name']}_{k + 1}.png", place) for k in range(annotated)]
    classes = tuple(sorted({row["category"] for row in rows if "category" in row}))
    return Index(classes, tuple(clips), masks=tuple(masks), expected=_EXPECTED[options.subset])


def parts(root: Path, row: Mapping[str, Any], options: Options) -> Parts:
    """The five frames of a clip and its sound."""
    folder, place = root / row["video"], PurePosixPath(row["clip_id"])
    between = "_" if options.subset == "s4" else ".mp4_"
    frames = tuple(folder / f"{place.name}{between}{k}.png" for k in range(1, SECONDS + 1))
    sound = root / _FILES[options.subset] / "audio_wav" / place.with_name(f"{place.name}.wav")
    return Parts(frames, sound, float(SECONDS))


def _place(row: Mapping[str, str]) -> tuple[str, ...]:
    """Split, category if there is one, and name: folders of a clip's files, and its name."""
    return (row["split"], *((row["category"],) if "category" in row else ()), row["name"])


def _rows(path: Path, columns: tuple[str, ...]) -> Iterator[dict[str, str]]:
    """The wanted cells of a list; raises DatasetError that names the line of a row that cannot be used."""
    hint = "lay out the files as the public repository OpenNLPLab/AVSBench says"
    reader = csv.DictReader(text(path, hint).splitlines())
    if absent := sorted(set(columns) - set(reader.fieldnames or ())):
        raise DatasetError(f"{path}: column {', '.join(absent)} is missing; the header is {reader.fieldnames}")
    for row in reader:
        where = f"{path}, line {reader.line_num}"
        cells = {column: checked(row[column] or "", where) for column in columns}
        if cells["split"] not in _SPLITS:
            raise DatasetError(f"{where}: split '{cells['split']}' is none of {', '.join(_SPLITS)}; correct the row")
        yield cells
