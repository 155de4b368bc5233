"""Equal names: a sound speaks for the video class of the same name, and for nothing else.

Case, punctuation and underscores do not count; the words of a class count as its name too. AVE's and LLP's classes are all
AudioSet's by name, so that this map is an identity there.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel

from earshot.label_map import Row, Target
from earshot.label_spaces import Finder
from earshot.mappers import Exchange, Question


class Options(BaseModel, extra="forbid"):
    """Nothing to set."""


class Mapper:
    """Looks names up."""

    model = ""
    prompt = ""

    def __init__(self, question: Question, options: Options) -> None:
        self._by_words = dict(zip(question.readable, question.classes, strict=True))
        self._named, self._in_words = Finder(question.classes), Finder(question.readable)
        self.identity: dict[str, Any] = {}

    def most_requests(self, sounds: int) -> int:
        """No server is asked."""
        return 0

    def ask(self, sounds: Sequence[str]) -> Iterator[Exchange]:
        """Answer for all sounds at once."""
        found = {sound: self._named(sound) or self._by_words.get(self._in_words(sound) or "") for sound in sounds}
        rows = [Row(audio_label=s, video_labels=[Target(label=c)] if c else []) for s, c in found.items()]
        yield Exchange(rows)
