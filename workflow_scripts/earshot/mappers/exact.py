"""Equal names: a sound speaks for the video class of the same name, and for nothing else.

Case, punctuation and underscores do not count; the words of a class count as its name too. AVE's and LLP's classes are all
AudioSet's by name, so that this map is an identity there.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel

from earshot.label_map import Row, Target
from earshot.label_spaces import plain
from earshot.mappers import Exchange, Question


class Options(BaseModel, extra="forbid"):
    """Nothing to set."""


class Mapper:
    """Looks names up."""

    model = ""
    prompt = ""

    def __init__(self, question: Question, options: Options) -> None:
        both = ((question.readable, question.classes), (question.classes, question.classes))
        self._known = {plain(name): c for names, classes in both for name, c in zip(names, classes, strict=True)}
        self.identity: dict[str, Any] = {}

    def most_requests(self, sounds: int) -> int:
        """No server is asked."""
        return 0

    def ask(self, sounds: Sequence[str]) -> Iterator[Exchange]:
        """Answer for all sounds at once."""
        found = {sound: self._known.get(plain(sound)) for sound in sounds}
        rows = [Row(audio_label=s, video_labels=[Target(label=c)] if c else []) for s, c in found.items()]
        yield Exchange(rows)
