"""Small pictures and sounds that tests write to files."""

import numpy as np

from earshot import media


def moving_square(frames=16, size=32, speed=1, seed=0):
    """A textured square that moves over a noisy background: (T, H, W, 3) uint8."""
    rng = np.random.default_rng(seed)
    background = rng.integers(60, 120, (size, size, 3), dtype=np.uint8)
    out = np.repeat(background[None], frames, 0)
    for t in range(frames):
        x = (2 + speed * t) % (size - 10)
        out[t, 8:18, x : x + 10] = (220, 180, 40 + 4 * t % 200)
    return out


def tone(seconds=1.0, rate=16_000, hertz=440.0, level=0.3):
    """A sine wave (N,) float32."""
    return (level * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def cut_in_the_middle(source, path):
    """A file whose index comes first and whose data stops half-way, as an interrupted download leaves it."""
    import ffmpeg

    media.run_ffmpeg(ffmpeg.input(str(source)).output(str(path), c="copy", movflags="+faststart"))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * 0.6)])
