"""Generated videos of 10 s with questions for answering, of the nine kinds of MUSIC-AVQA.

Two or three objects are seen all the time, side by side; each sounds in a run of seconds of its own or is silent, and at
times something sounds that is not seen. Onsets and lengths differ within a video, so that every question has one answer.
Classes without one solid outline are left out: they have no place on the left or right. `prepare` writes `videos/`,
`clips.csv` (`path,split`) and `questions.csv` (`question_id,path,split,question,kind,answer`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from earshot import media
from earshot.datasets import ClipRow, Index, QuestionRow
from earshot.datasets._events import SECONDS, SPLITS, Event, Size, call, mixed, read_csv, seen_frames, times, write_csv
from earshot.datasets._scene import OUTLINED, render
from earshot.datasets._sound import RATE
from earshot.randomness import numpy_generator
from earshot.workers import over_items

AVAILABLE = OUTLINED
_NUMBERS = ("zero", "one", "two", "three", "four")
_PLACES = {2: ("left", "right"), 3: ("left", "middle", "right")}
_ANSWERS = ("yes", "no", *_NUMBERS, "left", "middle", "right")
_SILENT, _UNSEEN = 0.25, 0.3  # shares of seen objects without sound, and of videos with a sound of nothing seen
_COLUMNS = ("question_id", "path", "split", "question", "kind", "answer")

Asked = tuple[str, str]  # question and answer


@dataclass(frozen=True)
class _Facts:
    """What happens in a video: all its events, those seen from left to right, and the set's classes."""

    events: tuple[Event, ...]
    classes: tuple[str, ...]

    @property
    def seen(self) -> list[Event]:
        return [event for event in self.events if event.seen]

    @property
    def heard(self) -> list[Event]:
        """In the order in which they begin."""
        return sorted((event for event in self.events if event.heard), key=lambda event: event.heard)

    @property
    def sounding(self) -> list[Event]:
        """Seen and heard, in the order in which they begin."""
        return [event for event in self.heard if event.seen]

    def place(self, event: Event) -> str:
        return _PLACES[len(self.seen)][self.seen.index(event)]


def index(root: Path, size: Size) -> Index:
    """The videos and their questions; the classes are the answers."""
    clips = [ClipRow(row["path"], row["split"], "") for row in read_csv(root / "clips.csv")]
    questions = [
        QuestionRow(row["question_id"], row["path"], row["split"], row["question"], row["kind"], row["answer"])
        for row in read_csv(root / "questions.csv")
    ]
    return Index((*_ANSWERS, *size.classes), tuple(clips), questions=tuple(questions))


def prepare(root: Path, size: Size, workers: int) -> None:
    """Write all files below `root`; running it again gives the same bytes."""
    named = [(f"videos/{split}_{k:04d}.mp4", split) for split in SPLITS for k in range(len(size.labels(split)))]
    facts = {path: _plan(path, size) for path, _ in named}
    over_items(call, [partial(_write, root, size, path, one.events) for path, one in facts.items()], workers, chunk=4)
    rows = [
        (f"{Path(path).stem}_{k}", path, split, *asked)
        for path, split in named
        for k, asked in enumerate(_questions(facts[path], numpy_generator(size.seed, "answering", path, "questions")))
    ]
    write_csv(root / "questions.csv", _COLUMNS, [(name, path, split, q, kind, a) for name, path, split, kind, q, a in rows])
    write_csv(root / "clips.csv", ("path", "split"), named)


def _plan(path: str, size: Size) -> _Facts:
    rng = numpy_generator(size.seed, "answering", path, "events")
    n_seen = min(int(rng.integers(2, 4)), len(size.classes))
    unseen = len(size.classes) > n_seen and rng.uniform() < _UNSEEN
    labels = [str(name) for name in rng.choice(size.classes, n_seen + unseen, replace=False)]
    sounds = rng.uniform(size=len(labels)) >= _SILENT
    sounds[n_seen:] = True
    runs = _runs(len(labels), rng)
    spans = [run if sound else () for run, sound in zip(runs, sounds, strict=True)]
    seen = [(0, SECONDS)] * n_seen + [()] * unseen
    return _Facts(tuple(Event(*event) for event in zip(labels, spans, seen, strict=True)), size.classes)


def _runs(count: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Onsets and offsets of which no two share an onset or a length."""
    while True:
        runs = [times(rng) for _ in range(count)]
        if len({onset for onset, _ in runs}) == len({end - onset for onset, end in runs}) == count:
            return runs


def _write(root: Path, size: Size, path: str, events: Sequence[Event]) -> None:
    look = numpy_generator(size.seed, "answering", path, "picture")
    frames = render(seen_frames(events, size.fps), round(SECONDS * size.fps), size.fps, size.px, look)
    wave = mixed(events, numpy_generator(size.seed, "answering", path, "track"))
    media.write_video(root / path, frames, size.fps, wave, RATE)


# --- what is asked ----------------------------------------------------------------------------------------------------


def _questions(facts: _Facts, rng: np.random.Generator) -> list[tuple[str, str, str]]:
    """Kind, question and answer: one of every kind that the video allows, its wording drawn."""
    found = []
    for kind, makers in _KINDS.items():
        able = [asked for asked in (maker(facts, rng) for maker in makers) if asked]
        if able:
            found.append((kind, *able[int(rng.integers(len(able)))]))
    return found


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _wished(names: Sequence[str], others: Sequence[str], rng: np.random.Generator) -> str:
    """One of `names` or, as often where both are there, one of `others`: yes and no are even."""
    groups = [group for group in (names, others) if group]
    return str(rng.choice(groups[int(rng.integers(len(groups)))]))


def _is_among(question: str, present: Sequence[Event], facts: _Facts, rng: np.random.Generator) -> Asked:
    names = [event.label for event in present]
    asked = _wished(names, [name for name in facts.classes if name not in names], rng)
    return question.format(asked), _yes(asked in names)


def _how_many_heard(facts: _Facts, rng: np.random.Generator) -> Asked:
    return "How many sounds were heard throughout the video", _NUMBERS[len(facts.heard)]


def _is_heard(facts: _Facts, rng: np.random.Generator) -> Asked:
    return _is_among("Is there a {} sound", facts.heard, facts, rng)


def _longer(question: str, names: Sequence[tuple[Event, str]], rng: np.random.Generator) -> Asked | None:
    """Compare two drawn from events and what they are called."""
    if len(names) < 2:
        return None
    (first, a), (second, b) = (names[k] for k in rng.permutation(len(names))[:2])
    return question.format(a, b), _yes(_length(first) > _length(second))


def _length(event: Event) -> int:
    return event.heard[1] - event.heard[0]


def _heard_longer(facts: _Facts, rng: np.random.Generator) -> Asked | None:
    return _longer("Is the {} playing longer than the {}", [(event, event.label) for event in facts.heard], rng)


def _how_many_seen(facts: _Facts, rng: np.random.Generator) -> Asked:
    return "How many objects appeared in the entire video", _NUMBERS[len(facts.seen)]


def _is_seen(facts: _Facts, rng: np.random.Generator) -> Asked:
    return _is_among("Is there a {} in the entire video", facts.seen, facts, rng)


def _where(facts: _Facts, rng: np.random.Generator) -> Asked:
    event = facts.seen[int(rng.integers(len(facts.seen)))]
    return f"Where is the {event.label}", facts.place(event)


def _which_beside(facts: _Facts, rng: np.random.Generator) -> Asked:
    k, side = int(rng.integers(len(facts.seen) - 1)), int(rng.integers(2))
    known, asked = facts.seen[k + 1 - side], facts.seen[k + side]
    return f"What is the object on the {('left', 'right')[side]} of the {known.label}", asked.label


def _always(facts: _Facts, rng: np.random.Generator) -> Asked:
    always = [event.label for event in facts.seen if event.heard == (0, SECONDS)]
    asked = _wished(always, [event.label for event in facts.seen if event.label not in always], rng)
    return f"Is the {asked} in the video always playing", _yes(asked in always)


def _is_unseen(facts: _Facts, rng: np.random.Generator) -> Asked:
    return "Is there a sound of something that is not in the video", _yes(len(facts.heard) > len(facts.sounding))


def _how_many_sounding(facts: _Facts, rng: np.random.Generator) -> Asked:
    return "How many objects are sounding in the video", _NUMBERS[len(facts.sounding)]


def _how_many_silent(facts: _Facts, rng: np.random.Generator) -> Asked:
    return (
        "How many objects in the video did not sound from beginning to end",
        _NUMBERS[len(facts.seen) - len(facts.sounding)],
    )


def _longest(facts: _Facts, rng: np.random.Generator) -> Asked | None:
    if not facts.sounding:
        return None
    return "Where is the longest sounding object", facts.place(max(facts.sounding, key=_length))


def _first_from(facts: _Facts, rng: np.random.Generator) -> Asked | None:
    if not facts.sounding:
        return None
    right = facts.place(facts.sounding[0])
    asked = _wished([right], [place for place in _PLACES[len(facts.seen)] if place != right], rng)
    return f"Is the first seen sound coming from the {asked} object", _yes(asked == right)


def _longer_placed(facts: _Facts, rng: np.random.Generator) -> Asked | None:
    named = [(event, facts.place(event)) for event in facts.sounding]
    return _longer("Is the {} object playing longer than the {} object", named, rng)


def _where_first(facts: _Facts, rng: np.random.Generator) -> Asked | None:
    return ("Where is the first sounding object", facts.place(facts.sounding[0])) if facts.sounding else None


def _which_last(facts: _Facts, rng: np.random.Generator) -> Asked | None:
    return ("Which object starts to sound last", facts.sounding[-1].label) if facts.sounding else None


_Maker = Callable[[_Facts, np.random.Generator], Asked | None]
_KINDS: dict[str, tuple[_Maker, ...]] = {
    "Audio-Counting": (_how_many_heard, _is_heard),
    "Audio-Comparative": (_heard_longer,),
    "Visual-Counting": (_how_many_seen, _is_seen),
    "Visual-Location": (_where, _which_beside),
    "Audio-Visual-Existential": (_always, _is_unseen),
    "Audio-Visual-Counting": (_how_many_sounding, _how_many_silent),
    "Audio-Visual-Location": (_longest, _first_from),
    "Audio-Visual-Comparative": (_longer_placed,),
    "Audio-Visual-Temporal": (_where_first, _which_last),
}
