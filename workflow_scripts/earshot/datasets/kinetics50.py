"""Kinetics50, of which READ's Kinetics50-C is made: clips of 50 classes of Kinetics-400, none of which is chosen for its sound.

By default the classes' clips of the training and validation parts of Kinetics-400. With READ's lists, `train_json` and
`test_json`, it is its 29,204 and 2,466 clips: `{"data": [{"video_id": …, "labels": …}]}`, labels being ids that the CSV file
`labels_csv` (`index,mid,display_name`) names, and a video's file `<video_id>.mp4` wherever it is below the root. Source:
Yang et al., "Test-time Adaptation against Multi-modal Reliability Bias", ICLR 2024, and its repository.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from earshot import label_spaces
from earshot.datasets import ClipRow, Dataset, DatasetError, Index, Source
from earshot.datasets._kinetics import HOME, RESTRICTED, SUFFIX, Fetching, Files, annotated, clip, lists, videos
from earshot.datasets._lists import distinct, first_of, held_out, table
from earshot.datasets._prepared import checked, text

SPEC = Dataset(
    "Kinetics50", "classification", label_spaces.read("kinetics50").names,
    licence="annotations: CC BY 4.0 (recalled); videos: their uploaders'", citation="Yang et al., ICLR 2024; Kay et al., 2017",
    home=HOME, restricted=RESTRICTED,
)  # fmt: skip
_HINT = "the lists are in `json_csv_files` of the public repository XLearning-SCU/2024-ICLR-READ"
_EXPECTED = {"train": 29_204, "test": 2_466}
_ID = 11  # characters of a video's name that are YouTube's


class Options(Fetching):
    """Whose splits."""

    train_json: str = Field("", description="READ's training list, relative to the root; empty: the parts of Kinetics-400")
    test_json: str = Field("", description="READ's test list; with it, `labels_csv`")
    labels_csv: str = Field("", description="READ's names of the classes in its lists")


def sources(root: Path, options: Options) -> list[Source]:
    """The annotations and, once they are there, the clips of the classes; with READ's lists, its files are the user's."""
    if options.test_json:
        return []
    named = lists(options)
    if not all((root / source.to).exists() for source in named):
        return named
    rows = (row for part, _ in options.splits for row in annotated(root, part, SPEC.classes or ()))
    return [*named, *videos(root, options, rows, index(root, options))]


def index(root: Path, options: Options) -> Index:
    """List the clips; raises DatasetError for lists that cannot be used."""
    files, classes = Files(root), SPEC.classes or ()
    if options.test_json:
        listed = list(_of_read(root, options, files))
    else:
        listed = [clip(row, split, files) for part, split in options.splits for row in annotated(root, part, classes)]
    clips, remarks = distinct(listed)
    expected = _EXPECTED if options.train_json and options.test_json and not options.val_share else {}
    kept = first_of(held_out(clips, options.val_share), options.first)
    return Index(classes, kept, remarks=remarks, expected=expected)


def _of_read(root: Path, options: Options, files: Files) -> Iterator[ClipRow]:
    """The clips of READ's lists."""
    if not options.labels_csv:
        raise DatasetError(f"READ's lists name classes by ids: give `labels_csv` as well; {_HINT}")
    names = {row["mid"]: row["display_name"] for _, row in table(root / options.labels_csv, ("mid", "display_name"), _HINT)}
    find = label_spaces.Finder(SPEC.classes or ())
    for name, split in ((options.train_json, "train"), (options.test_json, "test")):
        for where, row in _entries(root / name) if name else ():
            label = find(names.get(str(row["labels"]), str(row["labels"])))
            if label is None:
                raise DatasetError(f"{where}: '{row['labels']}' is none of the 50 classes, nor in {options.labels_csv}")
            video = checked(str(row["video_id"]), where)
            place = files.place(f"{video}{SUFFIX}", options.train[0] if split == "train" else options.test[0])
            yield ClipRow(place, split, label, clip=f"{split}/{video}", group=video[:_ID])


def _entries(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        rows = json.loads(text(path, _HINT))["data"]
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(f'{path}: no JSON object with a list "data" ({error}); fetch it again') from error
    for number, row in enumerate(rows, 1):
        where = f"{path}, entry {number}"
        if not isinstance(row, dict) or not {"video_id", "labels"} <= set(row):
            raise DatasetError(f"{where}: the keys video_id, labels were expected: {row}")
        yield where, row
