"""Kinetics50, of which READ's Kinetics50-C is made: clips of 50 classes of Kinetics-400, none of which is chosen for its sound.

By default the classes' clips of the training and validation parts of Kinetics-400. With READ's lists, `train_json` and
`test_json`, it is its 29,204 and 2,466 clips: `{"data": [{"video_id": …, "labels": …}]}`, labels being ids that the CSV file
`labels_csv` (`index,mid,display_name`) names, and a video's file `<video_id>.mp4` wherever it is below the root. Source:
Yang et al., "Test-time Adaptation against Multi-modal Reliability Bias", ICLR 2024, and its repository.
"""

from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from earshot import label_spaces
from earshot.datasets import ClipRow, Dataset, DatasetError, Index, Source
from earshot.datasets._kinetics import HOME, RESTRICTED, Fetching, Files, annotated, clip, lists, videos
from earshot.datasets._lists import distinct, first_of, held, held_out, without_clips
from earshot.datasets._read_lists import entries

SPEC = Dataset(
    "Kinetics50", "classification", label_spaces.read("kinetics50").names,
    licence="annotations: CC BY 4.0 (recalled); videos: their uploaders'", citation="Yang et al., ICLR 2024; Kay et al., 2017",
    home=HOME, restricted=RESTRICTED,
)  # fmt: skip
_EXPECTED = {"train": 29_204, "test": 2_466}


class Options(Fetching):
    """Whose splits."""

    train_json: str = Field("", description="READ's training list, relative to the root; empty: the parts of Kinetics-400")
    test_json: str = Field("", description="READ's test list, relative to the root")
    labels_csv: str = Field("", description="the names of ids, if the lists have ids in place of names")


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
    if (options.train_json or options.labels_csv) and not options.test_json:
        raise DatasetError("`train_json` and `labels_csv` are of READ's lists: give `test_json` as well, or none of them")
    files, classes = Files(root), SPEC.classes or ()
    if options.test_json:
        listed = list(_of_read(root, options, files))
    else:
        listed = [clip(row, split, files) for part, split in options.splits for row in annotated(root, part, classes)]
    clips, remarks = distinct(listed)
    clips = held_out(clips, options.val_share)
    told = (*remarks, *without_clips(classes, clips))
    expected = held(_EXPECTED if options.train_json else {"test": _EXPECTED["test"]}, clips) if options.test_json else {}
    return Index(classes, first_of(clips, options.first), remarks=told, expected=expected)


def _of_read(root: Path, options: Options, files: Files) -> Iterator[ClipRow]:
    """The clips of READ's lists."""
    labels = root / options.labels_csv if options.labels_csv else None
    for name, split, part in ((options.train_json, "train", options.train[0]), (options.test_json, "test", options.test[0])):
        for entry in entries(root / name, SPEC.classes or (), labels) if name else ():
            place = files.beginning(entry.name, part)
            yield ClipRow(place, split, entry.label, clip=f"{split}/{entry.name}", group=entry.video)
