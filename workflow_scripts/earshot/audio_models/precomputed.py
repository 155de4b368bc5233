"""Scores that were made elsewhere: a user's Parquet file of clip_id and scores, one file for each dataset.

`scores` is a list of one number for each sound, in the order of the label space that the config names.
"""

from collections.abc import Sequence
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from pydantic import BaseModel
from torch import Tensor

from earshot import contracts, label_spaces
from earshot.audio_models import Activation
from earshot.errors import SetupError
from earshot.hearing import score_facts, scored_row

RATE_HZ = 0  # it listens to nothing
_UNHEARD = "not in the file of scores"
_LEAST = 1e-7  # of a probability, and of what it is short of 1: a logit of 16


class Options(BaseModel, extra="forbid"):
    """What the file holds, and what turns logits into probabilities: sigmoid where sounds may coincide."""

    given: Literal["logits", "probabilities"] = "logits"
    activation: Activation = "sigmoid"


def import_scores(scores: str, clips: str, splits: Sequence[str], names: Sequence[str], options: Options, out: str) -> None:
    """Write a user's scores of the clips of `splits` as the workflow's own; clips that are not in the file are not heard.

    The Parquet file has the columns clip_id and scores, a list of one number for each of `names`. Raises SetupError for a
    file that is none of that, or that says in its metadata that it is of another label space.
    """
    given = _user_scores(scores, len(names))
    claimed = contracts.facts_of(scores).get("label_space", label_spaces.identity(names))
    if claimed != label_spaces.identity(names):
        raise SetupError(
            f"{scores} says that its scores are of label space {claimed}, but `classes:` stands for "
            f"{label_spaces.identity(names)}: name the right one in `audio_models:`"
        )
    known = [row["clip_id"] for row in contracts.read_clips(clips) if row["split"] in splits]
    found = {clip: _logits(given[clip], options) for clip in known if clip in given}
    if known and not found:
        raise SetupError(
            f"{scores} holds none of the clips: it names them as '{next(iter(given), '')}', they are '{known[0]}', …"
        )
    rows = [scored_row(clip, found.get(clip), "" if clip in found else _UNHEARD, len(names)) for clip in known]
    absent, surplus = len(known) - len(found), len(given) - len(found)
    print(f"{scores}: {len(found)} clips scored, {absent} clips without scores, {surplus} scores of other clips")
    contracts.write(rows, contracts.AUDIO_SCORES, out, score_facts(names, options.activation, absent=absent, surplus=surplus))


def _user_scores(path: str, n_sounds: int) -> dict[str, list[float]]:
    try:
        table = pq.read_table(path, columns=["clip_id", "scores"])
    except (OSError, pa.ArrowInvalid, KeyError) as error:
        raise SetupError(f"{path} is no Parquet file with the columns clip_id, scores: {error}") from None
    if not (pa.types.is_list(table["scores"].type) or pa.types.is_large_list(table["scores"].type)):
        raise SetupError(f"{path}: `scores` is {table['scores'].type}, not a list of numbers")
    inner = table["scores"].type.value_type
    if not (pa.types.is_floating(inner) or pa.types.is_integer(inner)):
        raise SetupError(f"{path}: `scores` are lists of {inner}, not of numbers")
    clips, scores = table["clip_id"].to_pylist(), table["scores"].to_pylist()
    wrong = [
        clip for clip, values in zip(clips, scores, strict=True) if not isinstance(values, list) or len(values) != n_sounds
    ]
    if wrong:
        raise SetupError(f"{path}: {len(wrong)} clips, such as '{wrong[0]}', have no list of {n_sounds} scores, one a sound")
    if len(set(clips)) < len(clips):
        twice = next(clip for number, clip in enumerate(clips) if clip in clips[:number])
        raise SetupError(f"{path}: clip '{twice}' is there more than once")
    return dict(zip(clips, scores, strict=True))


def _logits(values: Sequence[float | None], options: Options) -> Tensor:
    """Logits (A,) of a user's scores; null and probabilities that are none become NaN, which counts as not heard."""
    scores = torch.tensor([float("nan") if value is None else value for value in values], dtype=torch.float64)
    if options.given == "probabilities":
        bounded = scores.clamp(_LEAST, 1 - _LEAST)
        logits = bounded.logit() if options.activation == "sigmoid" else bounded.log()
        scores = torch.where((scores >= 0) & (scores <= 1), logits, torch.nan)
    return scores.float()
