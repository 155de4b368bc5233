"""Where the frames of a clip come from: its file or, if its corrupted version was not written, the clean file and a recipe."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earshot import contracts
from earshot.corrupting import Corrupter, Recipe
from earshot.errors import MediaError
from earshot.media import read_frames

Frame = NDArray[np.uint8]


class Frames:
    """Frames of the clips of a table: as they are in their files or, with a recipe, corrupted in memory.

    `before` is done to clean frames ahead of the corruption (`position: online`).
    """

    def __init__(self, root: Path, recipe: Recipe | None = None, before: Callable[[Frame], Frame] | None = None) -> None:
        self.root, self.recipe, self.before = root, recipe, before

    def read(self, row: Mapping[str, Any], indices: Iterable[int]) -> dict[int, Frame]:
        """The frames of a clip by number, those beyond its end left out; raises MediaError if none can be read."""
        path = self.root / row["video"]
        if self.recipe is None:
            return read_frames(path, indices)

        def clean(numbers: Iterable[int]) -> dict[int, Frame]:
            found = read_frames(path, numbers)
            return {number: self.before(frame) for number, frame in found.items()} if self.before else found

        made = Corrupter(self.recipe, row["clip_id"], row["frames"], row["fps"]).pick(indices, clean)
        if not made:
            raise MediaError("undecodable: none of the wanted frames can be decoded")
        return made


def frames_of(table: str | Path, root: str | Path, before: Callable[[Frame], Frame] | None = None) -> Frames:
    """Where the frames of a table of corrupted clips come from; `root` is the folder of the clean ones.

    `before` is done to clean frames if the table says that they are corrupted after the crop (`position: online`).
    """
    facts = contracts.facts_of(table)
    if facts["materialised"]:
        return Frames(Path(table).parent)
    recipe = Recipe(**{field.name: facts[field.name] for field in fields(Recipe)})
    return Frames(Path(root), recipe, before if facts["position"] == "online" else None)
