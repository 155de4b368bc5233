"""Asking once which video classes each sound speaks for: every answer is kept, so that none is asked for twice.

The answers to a question lie in a folder named by its fingerprint (both vocabularies, provider, model, prompt), one file for
each exchange, written before the next is begun. A job that was stopped goes on behind the last of them.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from earshot import contracts, label_map, plugins
from earshot.config import overrides
from earshot.files import alone, fingerprint, write_json
from earshot.label_map import LabelMapError, Made, MapFile, Row
from earshot.mappers import Exchange, MapperError, Question

_NAMED = 20  # missing sounds that a message lists


def question(dataset: str, sounds: Sequence[str], classes: str) -> Question:
    """The question of a dataset, by its table of classes."""
    rows = contracts.read(classes, contracts.CLASSES)
    return Question(dataset, tuple(sounds), tuple(r["name"] for r in rows), tuple(r["prompt"] for r in rows))


def ask(
    asked: Question, audio_model: str, plugin: str, options: Mapping[str, Any], answers: str | Path, out: str | Path
) -> None:
    """Write the label map of a question to `out`, and its exchanges to a folder of `answers`, which several maps may share.

    A map that answers this very question stays as it is, also if it was edited since. Raises LabelMapError if sounds are
    left without an answer, saying which and how to go on, or if an edited map would be lost.
    """
    for kind, listed in (("sounds", asked.sounds), ("video classes", asked.classes)):
        if twice := [name for name, n in Counter(listed).items() if n > 1]:
            raise LabelMapError(f"{len(twice)} {kind} are there more than once: {', '.join(twice[:_NAMED])}")
    module = plugins.load("mappers", plugin)
    mapper = module.Mapper(asked, overrides(module.Options, options, "mappers.<name>.options"))
    prompt_sha256 = fingerprint(mapper.prompt)
    names = [asked.dataset, asked.sounds, asked.classes, asked.readable]
    key = fingerprint([names, plugin, mapper.identity, prompt_sha256])
    if _stands(Path(out), key):
        return
    folder = Path(answers) / key[:16]
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder):  # another audio model with the same sounds has the same question
        answered = _Answers(folder)
        _fill(answered, asked, mapper)
    rows = [answered.rows[sound] for sound in asked.sounds]
    map_file = MapFile(
        dataset=asked.dataset, audio_model_labels=audio_model, origin=plugin, model=mapper.model,
        prompt_sha256=prompt_sha256 if mapper.prompt else "", reviewed_by="", date=answered.date,
        note="Made from the two lists of names alone. Edit it here: it is made anew only if the question changes.", rows=rows,
        made=Made(key=key, rows_sha256=label_map.rows_sha256(rows), dropped=answered.dropped, **answered.cost),
    )  # fmt: skip
    write_json(out, map_file.model_dump())
    print(f"{len(rows)} sounds mapped: {answered.told}")


def _stands(path: Path, key: str) -> bool:
    """Whether the map at `path` answers the question; raises LabelMapError rather than lose an edited one."""
    if not path.exists():
        return False
    known = label_map.read(path)
    if known.made and known.made.key == key:
        print(f"{path} answers this question already{' and was edited' if known.edited else ''}; nothing is asked")
        path.touch()
        return True
    if known.made is None or known.edited or known.reviewed_by:
        raise LabelMapError(
            f"{path} was written or edited by hand, and answers another question (names, model or prompt differ): move it "
            "elsewhere and name it in `label_maps:` to use it as it is, or delete it to ask anew"
        )
    return False


def _fill(answered: "_Answers", asked: Question, mapper: Any) -> None:
    """Ask for the sounds that have no answer yet."""
    missing = [sound for sound in asked.sounds if sound not in answered.rows]
    if missing:
        most = mapper.most_requests(len(missing))
        at_most = f", in at most {most} requests" if most else ""
        print(f"{len(asked.sounds) - len(missing)} of {len(asked.sounds)} sounds are answered; asking for the rest{at_most}")
    reason = ""
    try:
        for exchange in mapper.ask(missing) if missing else ():
            answered.keep(exchange)
            print(f"{len(answered.rows)} of {len(asked.sounds)} sounds answered: {answered.told}", flush=True)
    except MapperError as error:
        reason = f"{error}. "
    left = [sound for sound in asked.sounds if sound not in answered.rows]
    if left:
        more = f" and {len(left) - _NAMED} more" if len(left) > _NAMED else ""
        raise LabelMapError(
            f"{reason}{len(left)} of {len(asked.sounds)} sounds have no answer: {', '.join(left[:_NAMED])}{more}. The others' "
            f"are kept in '{answered.folder}': run again to ask for these alone, with another `batch` or more `repairs` if "
            "answers were malformed"
        )


class _Answers:
    """The exchanges of one question: files of JSON, numbered; and what they add up to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: dict[str, Row] = {}
        self.dropped: list[str] = []
        self.date = ""  # of the first request to a server
        self._counts: Counter[str] = Counter()
        self._next = 0  # never the number of a file that is there, also if one before it was removed
        for path in sorted(folder.glob("[0-9]*.json")):
            self._next = int(path.stem) + 1
            self._add(_read(path))

    def keep(self, exchange: Exchange) -> None:
        """Write an exchange, and count it."""
        kept = {
            "rows": [row.model_dump() for row in exchange.rows],
            "request": exchange.request, "answer": exchange.answer, "problems": exchange.problems,
            "dropped": exchange.dropped, "tokens": dict(exchange.tokens), "requests": exchange.requests,
            "date": datetime.now(UTC).date().isoformat() if exchange.requests else "",
        }  # fmt: skip
        write_json(self.folder / f"{self._next:04d}.json", kept)
        self._next += 1
        self._add(kept)

    def _add(self, kept: Mapping[str, Any]) -> None:
        self.rows |= {row["audio_label"]: Row.model_validate(row) for row in kept["rows"]}
        self.dropped += kept["dropped"]
        self.date = self.date or kept["date"]
        self._counts.update({**kept["tokens"], "requests": kept["requests"]})

    @property
    def cost(self) -> dict[str, int]:
        """Requests and tokens so far."""
        return {name: self._counts[name] for name in ("requests", "prompt_tokens", "completion_tokens")}

    @property
    def told(self) -> str:
        """The cost in words."""
        counts = self.cost
        tokens = counts["prompt_tokens"] + counts["completion_tokens"]
        return f"{counts['requests']} requests, {tokens} tokens" if counts["requests"] else "no server asked"


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise LabelMapError(f"{path} is no kept answer ({error}): remove it to ask for its sounds again") from None
