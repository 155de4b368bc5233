"""READ's lists of clips: `{"data": [{"video_id": …, "labels": …}]}`, of Kinetics50 and of VGGSound.

A label is the name of a class, with `_` for spaces, or the id of one: `vgg_<index>`, or a `mid` of a CSV file `index,mid` whose
`display_name`, if it has that column, is the name. A video id is YouTube's, or begins with it, and may end in `.mp4`.
Source: Yang et al., "Test-time Adaptation against Multi-modal Reliability Bias", ICLR 2024, and its repository.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from earshot.datasets import DatasetError
from earshot.datasets._lists import table
from earshot.datasets._prepared import checked, text
from earshot.label_spaces import Finder

_HINT = "the lists are in `json_csv_files` of the public repository XLearning-SCU/2024-ICLR-READ"
_ID = 11  # characters of a video's name that are YouTube's


class Entry(NamedTuple):
    """A clip of a list: its name without suffix, and its class."""

    name: str
    label: str

    @property
    def video(self) -> str:
        """YouTube's id."""
        return self.name[:_ID]


def entries(path: Path, classes: Sequence[str], labels_csv: Path | None = None) -> Iterator[Entry]:
    """The clips of a list; raises DatasetError for one that cannot be used."""
    find, names = Finder(classes), _names(labels_csv) if labels_csv else {}
    numbered = {f"vgg_{number}": name for number, name in enumerate(classes)}
    for where, row in _rows(path):
        told = str(row["labels"])
        label = find(names.get(told, told)) or numbered.get(told)
        if label is None:
            raise DatasetError(f"{where}: '{told}' is none of the {len(classes)} classes; correct it, or give `labels_csv`")
        name = re.sub(r"\.mp4$", "", str(row["video_id"]))
        yield Entry(checked(name, where), label)


def _names(path: Path) -> dict[str, str]:
    """The name of each id, where the CSV file has one."""
    header = text(path, _HINT).partition("\n")[0].split(",")
    columns = ("mid", "display_name") if "display_name" in [cell.strip() for cell in header] else ("mid",)
    return {row["mid"]: row[columns[-1]] for _, row in table(path, columns, _HINT)}


def _rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        rows = json.loads(text(path, _HINT))["data"]
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(f'{path}: no JSON object with a list "data" ({error}); fetch it again') from error
    for number, row in enumerate(rows, 1):
        where = f"{path}, entry {number}"
        if not isinstance(row, dict) or not {"video_id", "labels"} <= set(row):
            raise DatasetError(f"{where}: the keys video_id, labels were expected: {row}")
        yield where, row
    if not rows:
        raise DatasetError(f"{path}: the list is empty; fetch it again")
