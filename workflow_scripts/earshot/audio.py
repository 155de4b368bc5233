"""Sound tracks: extracted once per clip as 16-bit mono WAV, with what is wrong with them as a column."""

import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from earshot import contracts, media
from earshot.errors import MediaError
from earshot.workers import over_items

SILENCE = -60.0  # dBFS: below this there is nothing to hear (our spec, `tta.md` section 7.2)


def extract(clips: str, root: str, rate: int, splits: list[str], workers: int, out: str) -> None:
    """Write the sound of every clip of `splits` as a WAV beside `out`, and the table that lists them."""
    rows = [row for row in contracts.read_clips(clips) if row["split"] in splits]
    work = partial(_extract_one, root=Path(root), rate=rate, folder=Path(out).parent)
    found = over_items(work, rows, workers, chunk=16)
    contracts.write(found, contracts.AUDIO, out, {"rate": rate, "silence_dbfs": SILENCE})


def _extract_one(row: dict[str, Any], root: Path, rate: int, folder: Path) -> dict[str, Any]:
    wave, problem = np.zeros(0, np.float32), ""
    if not row["available"]:
        problem = "clip unavailable"
    elif not row["audio_rate"]:
        problem = "no audio stream"
    else:
        try:
            wave = media.read_wave(root / row["video"], rate)
        except MediaError as error:
            problem = f"sound {error}"
    level = media.level_dbfs(wave)
    if not problem and not math.isfinite(level):
        problem = "digital silence" if np.isfinite(wave).all() else "sound with non-finite samples"
    elif not problem and level < SILENCE:
        problem = "below the floor"
    name = f"{row['clip_id']}.wav" if len(wave) and not problem else ""
    if name:
        media.write_wave(folder / name, wave, rate)
    return {
        "clip_id": row["clip_id"], "wave": name, "rate": rate, "samples": len(wave), "level": level,
        "heard": bool(name), "problem": problem,
    }  # fmt: skip
