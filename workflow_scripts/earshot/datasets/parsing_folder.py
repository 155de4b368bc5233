"""Audio-visual video parsing sets in the file format of LLP: a folder of 10 s videos with weak labels and dense events.

Tab-separated files with a header: `AVVP_train.csv`, `AVVP_val_pd.csv` or `AVVP_val.csv` and `AVVP_test_pd.csv` or
`AVVP_test.csv`, each optional, with `filename, event_labels` (comma-separated); `AVVP_eval_audio.csv` and
`AVVP_eval_visual.csv` with `filename, onset, offset, event_labels`, in seconds, half-open. Source of the format: Tian et al.,
"Unified Multisensory Perception: Weakly-Supervised Audio-Visual Video Parsing", ECCV 2020. Rows that match no clip or last no
time are counted, not used.
"""

from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel, Field

from earshot.datasets import Dataset, Index, _llp_lists
from earshot.datasets.folder import hold_out

SPEC = Dataset("A folder of parsing videos", "parsing", None, licence="the user's", citation="format of LLP, ECCV 2020")


class Options(BaseModel, extra="forbid"):
    """Where the videos are below the root, and their suffix."""

    videos: str = Field("videos", description="folder of the videos, relative to the root")
    suffix: str = Field(".mp4", pattern=r"^\.\w+$")
    classes: list[str] = Field(default_factory=list, description="class names in order; empty: the sorted labels")
    val_share: float = Field(
        0.0, ge=0, lt=1, description="share of the training videos, weakly labelled, that is held out where val has no list"
    )


def index(root: Path, options: Options) -> Index:
    """List the videos and their events; raises DatasetError for a list that cannot be used."""
    listed = _llp_lists.read(root, options.videos, options.suffix, options.classes)
    return replace(listed, clips=tuple(hold_out(listed.clips, options.val_share)))
