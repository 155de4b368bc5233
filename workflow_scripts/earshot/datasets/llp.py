"""LLP ("Look, Listen and Parse"): 11,849 ten-second videos of 25 classes, with weak labels and, for val and test, dense events.

The root holds the lists of the public repository's `data` folder: `AVVP_train.csv`, `AVVP_val_pd.csv`, `AVVP_test_pd.csv`,
`AVVP_eval_audio.csv` and `AVVP_eval_visual.csv`. The videos, cut from YouTube and partly gone, may be absent, since parsers
read features. A video's name is the id, which is its first 11 characters and may hold `_` and `-`, then `_<start>_<end>` in
seconds of the source, some with fractions. Irregular rows are counted and named, and not mended, as in published numbers.
Source: Tian et al., "Unified Multisensory Perception: Weakly-Supervised Audio-Visual Video Parsing", ECCV 2020.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from earshot import label_spaces
from earshot.datasets import Dataset, DatasetError, Index, Parts, Source, _llp_lists
from earshot.datasets._prepared import Prepared, stem, told
from earshot.files import sha256_of_file

SPEC = Dataset(
    "LLP", "parsing", label_spaces.read("llp").names,
    licence="of the lists: not stated (their repository: GPL v3.0); of the videos: their owners'",
    citation="Tian et al., ECCV 2020",
    home="https://github.com/YapengTian/AVVP-ECCV20",
    restricted="the clips are videos of YouTube users, and no licence is stated of the lists or of features made of them",
    download_gb=0.0012, disk_gb=0.0012,
)  # fmt: skip
_ID = 11  # characters of a video's name that are YouTube's
_AUDIO = {"v2024": _llp_lists.AUDIO, "v2020": "AVVP_eval_audio.pre2024.csv"}
_RAW = "https://raw.githubusercontent.com/YapengTian/AVVP-ECCV20/master/data"
_HUB = "hub://datasets/NTUBarista/valor_features@main"
_EXPECTED = {"train": 10_000, "val": 649, "test": 1_200}
_DIGESTS = {
    "AVVP_train.csv": "bbeb83e8af46a85075216b213d3464f92dd4ab71468c852ae454b82cc745c0a4",
    "AVVP_val_pd.csv": "1811813b54c5f43c3be0a97bd0971cfb8a93818ca7b3ab96cdc7f4ac37ef37a6",
    "AVVP_test_pd.csv": "3f7a2b040e3b67c15d08efef25002bf8c5b2320f11049eb99ae0eb2d62f8eb9b",
    "AVVP_eval_audio.csv": "d5435664668bec6e7eafb39059d2f424ed2682f6b55395262fc3cb691b7d0778",
    "AVVP_eval_audio.pre2024.csv": "249122f65501d8d611c0027a48643798fe622bedee60f7e6224b5a8e3c02f886",
    "AVVP_eval_visual.csv": "e2274af694f3f27e38b840e0cd91a9d8d9ac85280f193e90828d26b22db69abe",
}  # of the public repository since April 2024 and, of pre2024, of copies made before


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
    fetch_videos: bool = Field(False, description="fetch the videos one by one; many are gone, and parsers read features")
    fetch_features: bool = Field(False, description="fetch the CLIP and CLAP features of VALOR into the folder features")


def sources(root: Path, options: Options) -> list[Source]:
    """The lists and, if asked for, features and the videos that the lists name."""
    named = [_list(name) for name in (*_weak().values(), _AUDIO[options.audio_events], _llp_lists.VISUAL)]
    if options.fetch_features:
        by_hand = "see the page of the dataset NTUBarista/valor_features on the hub"
        archives = ("CLIP.zip", "CLAP.zip")
        named += [Source(name, "features", (f"{_HUB}/{name}",), unpack=True, by_hand=by_hand) for name in archives]
    if options.fetch_videos and all((root / source.to).exists() for source in named if not source.unpack):
        named += [_video(clip.video) for clip in index(root, options).clips]
    return named


def _weak() -> dict[str, str]:
    return {split: names[0] for split, names in _llp_lists.SPLITS.items()}


def _list(name: str) -> Source:
    if name == _AUDIO["v2020"]:
        by_hand = "it is AVVP_eval_audio.csv of a copy that was made before April 2024, as in haoyi-duan/DG-SCT"
        return Source(name, name, sha256=_DIGESTS[name], by_hand=by_hand)
    return Source(name, name, (f"{_RAW}/{name}",), sha256=_DIGESTS[name], by_hand=f"it is in the folder data of {SPEC.home}")


def _video(path: str) -> Source:
    """One clip, cut out of its video; its name is `<id>_<start>_<end>`, and an id may hold `_`."""
    video, start, end = stem(path).rsplit("_", 2)
    by_hand = f"cut seconds {start} to {end} out of the video {video}"
    return Source(path, path, (f"youtube://{video}?start={start}&end={end}",), by_hand=by_hand, needed=False)


def index(root: Path, options: Options) -> Index:
    """List the videos and their events; raises DatasetError for a list that is absent, empty or cannot be used."""
    audio = _AUDIO[options.audio_events]
    weak = _weak()
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
    grouped = tuple(replace(clip, group=stem(clip.video)[:_ID]) for clip in listed.clips)
    remarks = (*listed.remarks, *_other_versions(root, (*weak.values(), audio, _llp_lists.VISUAL)))
    listed = replace(listed, clips=grouped, remarks=remarks, expected=_EXPECTED)
    return _shortened(listed, options.first) if options.first else listed


def _other_versions(root: Path, names: Sequence[str]) -> tuple[str, ...]:
    """A remark that names the lists which are not the published ones, and what they are if that is known."""
    found = {name: sha256_of_file(root / name) for name in names}
    others = [f"{name} is {_known(digest)}" for name, digest in found.items() if digest != _DIGESTS[name]]
    return told("lists that differ from the published ones", others)


def _known(digest: str) -> str:
    named = [name for name, known in _DIGESTS.items() if known == digest]
    return f"the published {named[0]}" if named else f"an unknown version (sha256 {digest[:12]})"


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
