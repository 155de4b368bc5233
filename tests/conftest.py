"""Shared small things: a few generated videos, and where the data beside the project lies."""

from pathlib import Path

import numpy as np
import pytest
import torch

from earshot import media
from helpers import cut_in_the_middle, moving_square, tone

SHARED = Path(__file__).parents[1].parent / "shared"


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Most models here are so small that a second thread only waits for the first."""
    torch.set_num_threads(1)


@pytest.fixture(scope="module")  # no longer: while it runs, this process has an event loop that others trip over
def chromium():
    """A real browser; tests that need one skip where there is none."""
    from browser import BrowserMissing, running

    try:
        with running() as browser:
            yield browser
    except BrowserMissing as reason:
        pytest.skip(f"needs a browser: {reason}")


@pytest.fixture(scope="session")
def shared():
    """The folder of data beside the project; tests that need it skip where it is absent."""
    if not (SHARED / "README.md").exists():
        pytest.skip("needs the data folder beside the project, which is absent here")
    return SHARED


@pytest.fixture(scope="session")
def video(tmp_path_factory):
    """A video of 16 frames with sound."""
    path = tmp_path_factory.mktemp("media") / "square.mp4"
    media.write_video(path, moving_square(), 16, tone())
    return path


@pytest.fixture(scope="session")
def zoo(tmp_path_factory):
    """A folder with one good clip and everything that goes wrong with files, and its label list."""
    root = tmp_path_factory.mktemp("zoo")
    good = moving_square(32)
    media.write_video(root / "good.mp4", good, 16, tone(2))
    media.write_video(root / "silent.mp4", good, 16, np.zeros(32_000, np.float32))
    media.write_video(root / "no sound.mp4", good, 16)
    media.write_video(root / "Blåser på høy – 音.mp4", good, 16, tone(2))
    whole = (root / "good.mp4").read_bytes()
    (root / "truncated.mp4").write_bytes(whole[: len(whole) // 2])
    (root / "empty.mp4").write_bytes(b"")
    (root / "text.mp4").write_text("this is no video")
    media.write_flac(root / "only sound.mp4.flac", tone(), 16_000)
    (root / "only sound.mp4.flac").rename(root / "only sound.mp4")
    cut_in_the_middle(root / "good.mp4", root / "cut.mp4")
    names = sorted(path.name for path in root.iterdir())
    lines = [
        "path,label,split",
        *(f"{name},{'ab'[i % 2]},{('train', 'test')[i % 2]}" for i, name in enumerate([*names, "absent.mp4"])),
    ]
    (root / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root
