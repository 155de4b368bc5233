"""LLP ("Look, Listen and Parse"): 11,849 ten-second videos of 25 classes, with weak labels and, for val and test, dense events.

The root holds the lists of the public repository's `data` folder: `AVVP_train.csv`, `AVVP_val_pd.csv`, `AVVP_test_pd.csv`,
`AVVP_eval_audio.csv` and `AVVP_eval_visual.csv`. The videos, cut from YouTube and partly gone, may be absent, since parsers
read features. A video's name is the id, which is its first 11 characters and may hold `_` and `-`, then `_<start>_<end>` in
seconds of the source, some with fractions. Irregular rows are counted and named, and not mended, as in published numbers.
Source: Tian et al., "Unified Multisensory Perception: Weakly-Supervised Audio-Visual Video Parsing", ECCV 2020.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from earshot import label_spaces
from earshot.datasets import Dataset, DatasetError, Index, Parts, _llp_lists
from earshot.datasets._prepared import Prepared, stem

SPEC = Dataset(
    "LLP", "parsing", label_spaces.read("llp").names,
    licence="of the lists: not stated (their repository: GPL v3.0); of the videos: their owners'",
    citation="Tian et al., ECCV 2020",
)  # fmt: skip
_AUDIO = {"v2024": _llp_lists.AUDIO, "v2020": "AVVP_eval_audio.pre2024.csv"}


class Options(Prepared):
    """Where the videos are, if there are any, or prepared folders, and which version of the audio events is the truth."""

    videos: str = Field("videos", description="folder of the videos, relative to the root; it may be absent")
    suffix: str = Field(".mp4", pattern=r"^\.\w+$")
    first: dict[Literal["train", "val", "test"], Annotated[int, Field(ge=1)]] = Field(
        default_factory=dict, description="only so many clips of a split, from the top of its list; to try things out"
    )
    id_length: int = Field(0, ge=0, description="prepared files are named by so many characters of the name: 11; 0: by all")
    audio_events: Literal["v2024", "v2020"] = Field(
        "v2024", description="v2020: AVVP_eval_audio.pre2024.csv, which numbers published before April 2024 were computed with"
    )


def index(root: Path, options: Options) -> Index:
    """List the videos and their events; raises DatasetError for a list that is absent, empty or cannot be used."""
    audio = _AUDIO[options.audio_events]
    weak = {split: names[0] for split, names in _llp_lists.SPLITS.items()}
    absent = [name for name in (*weak.values(), audio, _llp_lists.VISUAL) if not (root / name).is_file()]
    if absent:
        raise DatasetError(
            f"{root}: {', '.join(absent)} not there; put the lists of LLP there, which are in the `data` folder of the public "
            "repository YapengTian/AVVP-ECCV20"
        )
    listed = _llp_lists.read(root, options.videos, options.suffix, SPEC.classes or (), audio)
    for split, name in weak.items():
        if not any(clip.split == split for clip in listed.clips):
            raise DatasetError(f"{root / name}: the list is empty; fetch it again")
    return _shortened(listed, options.first) if options.first else listed


def parts(root: Path, row: Mapping[str, Any], options: Options) -> Parts:
    """The prepared files of a clip, if the options name their folders."""
    name = stem(row["video"])
    return options.parts(root, name[: options.id_length] if options.id_length else name)


def _shortened(listed: Index, first: Mapping[Any, int]) -> Index:
    """The first clips of each split, and their events."""
    splits = {split: [clip for clip in listed.clips if clip.split == split] for split in _llp_lists.SPLITS}
    clips = tuple(clip for split, some in splits.items() for clip in some[: first.get(split)])
    kept = {clip.video for clip in clips}
    return replace(listed, clips=clips, events=tuple(event for event in listed.events if event.video in kept))
