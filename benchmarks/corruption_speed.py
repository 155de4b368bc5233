"""The speed of corruptions: python benchmarks/corruption_speed.py [--frames N] [--severity S] [--kernels-only]

Kernels against plain ones; then the whole path against the least it could cost, and two cores against one (synthesis_speed.py).
Of the kernels, both sides take turns over the same generated frames, on one core, in CPU time. Ours includes the frame's
random generator and what is drawn from it. Before the timing both sides' frames are compared: exactly up to a level where
nothing is random or the random part is given, by mean and standard deviation of the change where noise is.
"""

import argparse
import importlib
import os
import sys
import time
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
sys.path.append(str(Path(__file__).parents[1] / "workflow_scripts"))

import numpy as np
import plain_corruptions
from scipy import ndimage

SIZES = ((240, 320), (360, 640))
NAMES = ("gauss", "pepper", "salt", "shot", "zoom", "impulse", "defocus", "motion", "jpeg", "contrast", "rain")
NOISES = ("gauss", "pepper", "salt", "shot", "impulse")
GOAL = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--frames", type=int, default=10, help="frames of each size")
    parser.add_argument("--severity", type=int, default=5, choices=range(1, 6))
    parser.add_argument("--kernels-only", action="store_true", help="needs no more than numpy, scipy, numba and pillow")
    options = parser.parse_args()
    kernels(options.frames, options.severity)
    if not options.kernels_only:
        from synthesis_speed import two_cores, whole_path

        whole_path(moving_frames, SIZES, 3 * options.frames, options.severity)
        two_cores(moving_frames, SIZES[0], 4 * options.frames)


def kernels(count: int, severity: int) -> None:
    """Milliseconds of CPU time for each frame, and ratios."""
    print(f"kernels, severity {severity}, {count} frames, ms of CPU time a frame (median)")
    print(f"{'':10}" + "".join(f"{f'{width}x{height}: plain':>16}{'ours':>8}{'ratio':>8}" for height, width in SIZES))
    ratios: dict[tuple[int, int], list[float]] = {size: [] for size in SIZES}
    frames = {size: list(moving_frames(count, *size)) for size in SIZES}
    for name in NAMES:
        line = f"{name:10}"
        for size in SIZES:
            agree(name, frames[size][0], severity)
            plain, ours = timed(name, frames[size], severity)
            ratios[size].append(plain / ours)
            line += f"{1e3 * plain:16.2f}{1e3 * ours:8.2f}{plain / ours:8.1f}"
        print(line, flush=True)
    for (height, width), values in ratios.items():
        mean = np.exp(np.mean(np.log(values)))
        print(f"{width}x{height}: geometric mean {mean:.1f} (goal {GOAL}), least {min(values):.2f} (goal 1)")


def timed(name, frames, severity):
    """Median CPU seconds a frame, (plain, ours), in turns whose order alternates."""
    module, value = corruption(name, severity)
    seconds = {"plain": [], "ours": []}
    for number, frame in enumerate(frames):
        drawn = draw(module, frame, value, number)  # an angle or drops, for the plain side; its cost there is left out
        calls = {
            "plain": lambda frame=frame, drawn=drawn: getattr(plain_corruptions, name)(frame, value, drawn),
            "ours": lambda frame=frame, number=number: module.apply(frame, value, draw(module, frame, value, number)),
        }
        for side in sorted(calls, reverse=bool(number % 2)):
            start = time.process_time()
            calls[side]()
            seconds[side].append(time.process_time() - start)
    return np.median(seconds["plain"]), np.median(seconds["ours"])


def corruption(name, severity):
    module = importlib.import_module(f"earshot.corruptions.{name}")
    return module, module.SPEC.value("ucf101c", severity)


def draw(module, frame, value, number):
    from earshot.randomness import numpy_generator

    if not hasattr(module, "draw"):
        return None
    return module.draw(*frame.shape[:2], value, numpy_generator("benchmark", number))


def agree(name, frame, severity):
    """Stop if the two sides do not do the same; also compiles ours."""
    module, value = corruption(name, severity)
    drawn = draw(module, frame, value, 0)
    ours, plain = module.apply(frame, value, drawn), getattr(plain_corruptions, name)(frame, value, drawn)
    if name in NOISES:
        changes = [side.astype(float) - frame for side in (ours, plain)]
        apart = abs(changes[0].mean() - changes[1].mean()), abs(changes[0].std() / changes[1].std() - 1)
        same = apart[0] < 5 * changes[1].std() * np.sqrt(2 / frame.size) + 0.05 and apart[1] < 0.05
    else:
        inside = (slice(1, -1),) * 2  # the plain zoom darkens its last row and column
        apart = np.abs(ours.astype(int) - plain)[inside]
        apart = apart.max(), (apart > 0).mean()
        same = apart[0] <= 1 and apart[1] < 0.05
    if not same:
        raise SystemExit(f"{name}: the plain kernel does something else: {apart}")


def moving_frames(count, height, width, seed=0):
    """Smooth light, moving textured discs and a little noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    light = np.stack([120 + 50 * np.sin(x / 90 + c) + 40 * np.cos(y / 70 - c) for c in range(3)], axis=-1)
    texture = 25 * ndimage.gaussian_filter(rng.normal(size=(height, width, 3)), (2, 2, 0)) * 7
    discs = [(rng.uniform(0, height), rng.uniform(0, width), rng.uniform(15, 60), rng.normal(0, 4, 2)) for _ in range(6)]
    for number in range(count):
        frame = light.copy()
        for top, left, radius, speed in discs:
            inside = (y - top - number * speed[0]) ** 2 + (x - left - number * speed[1]) ** 2 < radius**2
            frame[inside] = 0.6 * frame[inside][:, ::-1] + 40 + np.roll(texture, number, 1)[inside]
        yield np.clip(frame + rng.normal(0, 3, frame.shape), 0, 255).astype(np.uint8)


if __name__ == "__main__":
    main()
