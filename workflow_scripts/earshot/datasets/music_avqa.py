"""MUSIC-AVQA: 45,867 questions about 9,288 videos of musicians, with 42 answers.

The root holds `avqa-train.json`, `avqa-val.json` and `avqa-test.json` in the folder `json` (or `json_update`, another version
of the questions; a table of results should say which). Each is a list of objects with `video_id`, `question_id`, `type` (a list
as text: modality and type), `question_content` with slots such as `<Object>`, `templ_values` (a list as text, one value for
each slot) and `anser` (sic). A list that is absent is told, and its split has no questions.

The splits are of questions: one video may have some in each. A clip is listed once, under the first split that asks about it.
Source: Li et al., "Learning to Answer Questions in Dynamic Audio-Visual Scenarios", CVPR 2022.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field

from earshot import questions
from earshot.datasets import ClipRow, Dataset, DatasetError, Index, Parts, QuestionRow, Source
from earshot.datasets._prepared import Prepared, checked, stem, text, told, told_apart

# in the order of the published vocabulary
_ANSWERS = (
    "two", "cello", "congas", "zero", "no", "pipa", "six", "yes", "one", "four", "three", "seven", "five", "ukulele", "right",
    "piano", "left", "accordion", "clarinet", "guzheng", "more than ten", "nine", "indoor", "saxophone", "drum", "violin",
    "middle", "outdoor", "bagpipe", "bassoon", "acoustic_guitar", "banjo", "electric_bass", "ten", "eight", "flute",
    "simultaneously", "trumpet", "erhu", "xylophone", "tuba", "suona",
)  # fmt: skip
SPEC = Dataset(
    "MUSIC-AVQA", "answering", _ANSWERS,
    licence="of the lists: not stated; of the videos: their owners'",
    citation="Li et al., CVPR 2022",
    home="https://gewu-lab.github.io/MUSIC-AVQA/",
    restricted="the videos are of YouTube users, and their terms are not stated",
    download_gb=48.3, disk_gb=97,
)  # fmt: skip
_SPLITS = ("train", "val", "test")
_KEYS = ("video_id", "question_id", "type", "question_content", "templ_values", "anser")
_RAW = "https://raw.githubusercontent.com/GeWu-Lab/MUSIC-AVQA/main/data"
_HINT = "the lists are in `data/json` of the public repository GeWu-Lab/MUSIC-AVQA"


class Options(Prepared):
    """Where the questions and the videos, or what was prepared of them, are."""

    questions: str = Field("json", description="folder of the lists of questions, relative to the root")
    vocabulary: str = Field(
        "",
        description="file of the words of questions, one a line, relative to the root; published weights need the published "
        "order; empty: the words of the lists in the order in which they first appear, train before val before test",
    )
    real: str = Field("MUSIC-AVQA-videos-Real", description="folder of the recorded videos, whose names are numbers")
    synthetic: str = Field("MUSIC-AVQA-videos-Synthetic", description="folder of those put together out of others")
    suffix: str = Field(".mp4", pattern=r"^\.\w+$")
    archives: list[str] = Field(
        default_factory=lambda: ["MUSIC-AVQA-videos-Real.zip", "MUSIC-AVQA-videos-Synthetic.zip"],
        description="archives to drop, which hold the folders of videos; none: the questions alone, for prepared files",
    )


def sources(root: Path, options: Options) -> list[Source]:
    """The questions, and the archives of videos, which are in folders of a drive that the page links."""
    names = [f"{options.questions}/avqa-{split}.json" for split in _SPLITS]
    lists = [Source(name, name, (f"{_RAW}/{name}",), by_hand=_HINT) for name in names]
    if not options.archives:
        return lists
    by_hand = f"the folders of videos are linked at {SPEC.home}"
    return lists + [Source(name, ".", unpack=True, by_hand=by_hand) for name in options.archives]


class _Asked(NamedTuple):
    split: str
    video: str
    number: str
    text: str
    kind: str
    answer: str


def index(root: Path, options: Options) -> Index:
    """List the questions and the videos they are about; raises DatasetError for a list that cannot be used."""
    paths = {split: root / options.questions / f"avqa-{split}.json" for split in _SPLITS}
    absent = [split for split, path in paths.items() if not path.exists()]
    asked = [row for split, path in paths.items() if split not in absent for row in _rows(path, split)]
    if not asked:
        raise DatasetError(f"{root / options.questions}: no question in {', '.join(p.name for p in paths.values())}; {_HINT}")
    videos = {row.video: f"{_folder(row.video, options)}/{row.video}{options.suffix}" for row in asked}
    first = {row.video: row.split for row in reversed(asked)}
    clips = tuple(ClipRow(path, first[video], "") for video, path in videos.items())
    rows = tuple(
        QuestionRow(number, videos[row.video], row.split, row.text, row.kind, row.answer)
        for row, number in zip(asked, told_apart(row.number for row in asked), strict=True)
    )
    words = _words(root / options.vocabulary) if options.vocabulary else _in_order(asked)
    return Index(_ANSWERS, clips, remarks=tuple(_remarks(absent, asked)), questions=rows, words=words)


def parts(root: Path, row: Mapping[str, Any], options: Options) -> Parts:
    """The prepared files of a clip, if the options name their folders."""
    return options.parts(root, stem(row["video"]))


def _folder(video: str, options: Options) -> str:
    return options.real if video.isdecimal() else options.synthetic


def _words(path: Path) -> tuple[str, ...]:
    """The words of a published vocabulary, which begins with the padding."""
    found = [line.strip() for line in text(path, "correct `vocabulary`").splitlines() if line.strip()]
    return tuple(word for word in found if word != questions.PAD)


def _in_order(asked: Sequence[_Asked]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word for row in asked for word in row.text.split()))


def _rows(path: Path, split: str) -> Iterator[_Asked]:
    """The questions of a list; raises DatasetError that counts to the one that cannot be used."""
    try:
        listed = json.loads(text(path, _HINT))
    except json.JSONDecodeError as error:
        raise DatasetError(f"{path}: no JSON ({error}); fetch it again") from error
    if not isinstance(listed, list):
        raise DatasetError(f"{path}: a list of questions was expected; fetch it again")
    for number, row in enumerate(listed, 1):
        where = f"{path}, question {number} of the list"
        if not isinstance(row, dict) or not set(_KEYS) <= set(row):
            raise DatasetError(f"{where}: the keys {', '.join(_KEYS)} were expected: {row}")
        yield _asked(row, split, where)


def _asked(row: Mapping[str, Any], split: str, where: str) -> _Asked:
    try:
        kind, values = json.loads(row["type"]), json.loads(row["templ_values"])
        plain = questions.filled(row["question_content"], values)
        name = "-".join(kind)
    except (TypeError, ValueError, AttributeError) as error:
        raise DatasetError(f"{where}: {error}; correct or remove it") from error
    return _Asked(split, checked(str(row["video_id"]), where), str(row["question_id"]), plain, name, str(row["anser"]))


def _remarks(absent: Sequence[str], asked: Sequence[_Asked]) -> Iterator[str]:
    for split in absent:
        yield f"avqa-{split}.json is not there: the split '{split}' has no questions"
    numbers = Counter(row.number for row in asked)
    yield from told("numbers that several questions have, told apart by +2", (n for n, count in numbers.items() if count > 1))
    splits = defaultdict(set)
    for row in asked:
        splits[row.video].add(row.split)
    yield from told("videos with questions in several splits", (video for video, some in splits.items() if len(some) > 1))
