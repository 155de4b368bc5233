"""What a language model answered: rows of a label map found in any text, and held to both vocabularies.

Tolerant of what surrounds the rows (prose, code fences, a list or an object around them, an end that is cut off); strict
with the rows themselves.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from earshot.label_map import Row, Target
from earshot.label_spaces import Finder

_MOST_FAILED = 2_000  # openings of no value: nested nonsense takes long to tell from sense


class _Target(BaseModel, extra="ignore"):
    label: str
    weight: float = Field(ge=0, le=1, allow_inf_nan=False)


class _Row(BaseModel, extra="ignore"):
    audio_label: str
    video_labels: list[_Target]


@dataclass
class Parsed:
    """Rows that may be taken; `doubtful` ones from which unknown video classes were `dropped`; what to complain of."""

    rows: dict[str, Row] = field(default_factory=dict)
    doubtful: dict[str, Row] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    dropped: dict[str, list[str]] = field(default_factory=dict)


def parse(text: str, sounds: Sequence[str], classes: Sequence[str]) -> Parsed:
    """The rows in an answer for `sounds`, with video labels of `classes`; case and punctuation do not count."""
    found = Parsed()
    wanted, known = Finder(sounds), Finder(classes)
    contrary: set[str] = set()
    for number, value in enumerate(_rows_in(text), 1):
        try:
            row = _Row.model_validate(value)
        except ValidationError as error:
            found.problems.append(f"row {number}: {_first(error)}")
            continue
        sound = wanted(row.audio_label)
        if sound is None:
            found.problems.append(f"'{row.audio_label}' is none of the sounds asked for")
        else:
            _take(found, sound, row, known, contrary)
    for sound in contrary:
        found.problems.append(f"'{sound}' was answered twice, differently")
        found.rows.pop(sound, None)
        found.doubtful.pop(sound, None)
        found.dropped.pop(sound, None)
    absent = [sound for sound in sounds if sound not in found.rows and sound not in found.doubtful and sound not in contrary]
    found.problems += [f"'{sound}' has no valid row" for sound in absent]
    return found


def _take(found: Parsed, sound: str, row: _Row, known: Finder, contrary: set[str]) -> None:
    """Take a row of known classes; a clean one goes before one from which unknown classes were taken out."""
    given = {(known(target.label), target.weight) for target in row.video_labels}
    unknown = [target.label for target in row.video_labels if known(target.label) is None]
    targets = [(name, target.weight) for target in row.video_labels if (name := known(target.label))]
    clean = Row(audio_label=sound, video_labels=[Target(label=n, weight=w) for n, w in dict.fromkeys(targets)])
    before = found.rows.get(sound) or found.doubtful.get(sound)
    if (before and before != clean) or len({name for name, _ in given if name}) < len(clean.video_labels):
        contrary.add(sound)
    elif unknown and sound not in found.rows:
        found.doubtful[sound] = clean
        found.problems += [f"'{label}', given for '{sound}', is none of the video classes" for label in unknown]
        found.dropped[sound] = [f"video label '{label}' of '{sound}'" for label in unknown]
    elif not unknown:
        found.rows[sound] = clean
        found.doubtful.pop(sound, None)
        found.dropped.pop(sound, None)


def _rows_in(text: str) -> Iterator[Any]:
    """Every object in a text that looks like a row, in whatever it is wrapped, also where the end is cut off."""
    decoder = json.JSONDecoder()
    place, failed = 0, 0
    while failed < _MOST_FAILED and (place := _next_opening(text, place)) >= 0:
        try:
            value, place = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            place, failed = place + 1, failed + 1  # no whole value begins here, but one may further inside
        else:
            yield from _rows_of(value)


def _next_opening(text: str, start: int) -> int:
    places = [place for mark in "{[" if (place := text.find(mark, start)) >= 0]
    return min(places, default=-1)


def _rows_of(value: Any) -> Iterator[Any]:
    waiting = [value]
    while waiting:
        value = waiting.pop(0)
        if isinstance(value, dict) and "audio_label" in value:
            yield value
        elif isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def _first(error: ValidationError) -> str:
    problem = error.errors()[0]
    return f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
