"""The names of the sounds that an audio model scores."""

from earshot import contracts, label_spaces, weights
from earshot.config import OF_DATASET


def vocabulary(weights_path: str, space: str, classes: str) -> list[str]:
    """The names of an audio model's sounds, in order: of its weights or, without any, of a label space.

    `classes` is the table of the dataset's classes, which the label space `dataset` stands for.
    """
    if weights_path:
        return list(weights.facts_of(weights_path)["labels"])
    if space == OF_DATASET:
        return [row["name"] for row in contracts.read(classes, contracts.CLASSES)]
    return list(label_spaces.read(space).names)
