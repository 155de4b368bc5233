"""Hours of audio scored per minute with AST (86.6 M parameters, random weights): ours against one clip at a time.

The plain side has the structure of published scripts: a 48 kHz stereo file is decoded and resampled by torchaudio when its turn
comes, transformers' feature extractor takes one clip, and transformers' network, with its attention written out ("eager"),
makes one pass for it. A second plain side has torch's attention ("sdpa") instead. Ours is what the workflow does: sound is
extracted once at 16 kHz for all models of that rate, and that is told apart; then it is loaded ahead, cut into windows and
scored in batches, of which one larger than the number of clips hears clips again. The sides share their weights and take turns,
and the best round counts. Resamplers differ, so logits are held equal on the extracted waves. A recording of 120 s follows.

    python benchmarks/audio_scoring_speed.py [--clips 8] [--seconds 10] [--batches 1 4 16] [--threads 2] [--stride 10]
    python benchmarks/audio_scoring_speed.py --tensors [--clips 64] [--precision bf16]   # waves in memory; needs no PyAV

Ratios are of CPU seconds. With --tensors and a GPU, both sides run there, and ratios are of seconds from start to end.
"""

import argparse
import copy
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

sys.path.append(str(Path(__file__).parents[1] / "workflow_scripts"))

import numpy as np
import torch
from scipy.io import wavfile
from torch import Tensor, nn
from torchaudio.functional import resample
from transformers import ASTFeatureExtractor, ASTForAudioClassification

from earshot import weights
from earshot.audio_models import ast

SOUNDS, RATE, FILE_RATE, LONG_S = 527, 16_000, 48_000, 120.0
TOLERANCE = 1e-3  # between logits in fp32
GOAL = 1.5
PHASES = LOAD, FRONT, NETWORK = "load", "front end", "network"
Load = Callable[[], np.ndarray]  # gives a wave (N,) at 16 kHz
Cut = Callable[[np.ndarray], list[tuple[np.ndarray, int]]]  # a wave into windows, and how much of each is sound


class Work(NamedTuple):
    """Recordings of so many seconds; `extracting` is how long (CPU, clock) that took for one."""

    seconds: float
    plain: Sequence[Load]
    ours: Callable[[int], Iterable[Any]]  # the waves of so many recordings, from the first again after the last
    cut: Cut
    extracting: np.ndarray


class Watch:
    """Seconds (CPU, clock) by phase; a phase begins where the one before it ended."""

    def __init__(self) -> None:
        self.spent = {phase: np.zeros(2) for phase in PHASES}
        self.last = now()

    def done(self, phase: str) -> None:
        at = now()
        self.spent[phase] += at - self.last
        self.last = at


def now() -> np.ndarray:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return np.array([time.process_time(), time.perf_counter()])


def settle(precision: str) -> None:
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision != "fp32"


class Plain:
    """One window after the other."""

    size, precision = 1, "fp32"

    def __init__(self, ours: nn.Module, attention: str) -> None:
        self.title, self.extractor = f"plain, {attention}", ASTFeatureExtractor()
        config = copy.deepcopy(ours.model.config)
        config.num_labels = SOUNDS
        with torch.device("meta"):
            self.model = ASTForAudioClassification(config).eval()
        self.model.set_attn_implementation(attention)
        state = {key.removeprefix("model."): value for key, value in ours.state_dict().items()}
        heads = {f"classifier.dense.{leaf}": state.pop(f"head.{leaf}") for leaf in ("weight", "bias")}
        self.model.load_state_dict(state | heads, assign=True)

    @torch.no_grad()
    def score(self, loads: Sequence[Load], cut: Cut, watch: Watch) -> Tensor:
        """Logits (W, 527) of all windows."""
        settle(self.precision)
        found = []
        for load in loads:
            for piece, length in cut(load()):
                watch.done(LOAD)
                inputs = self.extractor(piece[:length], sampling_rate=RATE, return_tensors="pt").to(self.model.device)
                watch.done(FRONT)
                found.append(self.model(**inputs).logits)
                found[-1].sigmoid().cpu()
                watch.done(NETWORK)
        return torch.cat(found).cpu()


class Ours:
    """Windows in batches, as `earshot.hearing.score` has them."""

    def __init__(self, model: nn.Module, size: int, precision: str, listen: Callable[..., Tensor]) -> None:
        self.title, self.size, self.precision = f"ours, batch of {size}", size, precision
        self.model, self.listen = model, listen

    def score(self, waves: Iterable[np.ndarray], cut: Cut, watch: Watch) -> Tensor:
        """Logits (W, 527) of all windows."""
        settle(self.precision)
        embeddings = self.model.model.audio_spectrogram_transformer.embeddings
        mark = embeddings.register_forward_pre_hook(lambda *_: watch.done(FRONT))
        pieces = (piece for wave in waves for piece in cut(wave))
        found = []
        with torch.autocast(self.model.head.weight.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            while some := list(islice(pieces, self.size)):
                watch.done(LOAD)
                found.append(self.listen(self.model, *zip(*some, strict=True)))
                watch.done(NETWORK)
        mark.remove()
        return torch.cat(found)


def sound(seed: int, seconds: float, rate: int) -> np.ndarray:
    """Two channels (N, 2) of a gliding chord, and noise that comes and goes."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * rate)) / rate
    tone = sum(np.sin(2 * np.pi * k * (rng.uniform(100, 500) + 10 * t / seconds) * t) / k for k in range(1, 8))
    swell = np.sin(2 * np.pi * rng.uniform(0.2, 2) * t) ** 2
    return (0.1 * tone[:, None] + 0.1 * swell[:, None] * rng.standard_normal((len(t), 2))).astype(np.float32)


def plain_wave(path: Path) -> np.ndarray:
    """Decode a stereo file, mix it down and resample it."""
    rate, samples = wavfile.read(path)
    return resample(torch.from_numpy(samples.astype(np.float32) / 32768).mean(1), rate, RATE).numpy()


def of_files(folder: Path, threads: int, n: int, seconds: float, spec: Any) -> Work:
    from earshot import hearing, loading, media

    files, waves = ([folder / f"{seconds:g}s_{i}{suffix}.wav" for i in range(n)] for suffix in ("_48k", ""))
    for i, path in enumerate(files):
        wavfile.write(path, FILE_RATE, np.rint(32768 * sound(i, seconds, FILE_RATE)).astype(np.int16))
    start = now()
    for source, path in zip(files, waves, strict=True):
        wave = media.read_wave(source, RATE)
        media.level_dbfs(wave)
        media.write_wave(path, wave, RATE)
    extracting = (now() - start) / n

    def ours(count: int) -> Iterable[Any]:
        return loading.prefetched([partial(media.load_wave, waves[i % n]) for i in range(count)], threads)

    return Work(seconds, [partial(plain_wave, path) for path in files], ours, partial(hearing.windows, spec=spec), extracting)


def of_tensors(n: int, seconds: float, spec: Any) -> Work:
    """Waves in memory, cut as `earshot.hearing` does, which needs PyAV."""
    waves = [sound(i, seconds, RATE)[:, 0].copy() for i in range(n)]
    size = round(RATE * spec.window_s)

    def cut(wave: np.ndarray) -> list[tuple[np.ndarray, int]]:
        if len(wave) < size:
            return [(np.pad(wave, (0, size - len(wave))), len(wave))]
        starts = np.linspace(0, len(wave) - size, round(len(wave) / size)).astype(int)
        return [(wave[start : start + size], size) for start in starts]

    loads = [partial(waves.__getitem__, i) for i in range(n)]
    return Work(seconds, loads, lambda count: (loads[i % n]() for i in range(count)), cut, np.zeros(2))


@torch.no_grad()
def listen_in_memory(model: nn.Module, waves: Sequence[np.ndarray], lengths: Sequence[int]) -> Tensor:
    """As `earshot.hearing.listen`."""
    where = model.head.weight.device
    return model(torch.from_numpy(np.stack(waves)).to(where), torch.tensor(lengths, device=where)).float().cpu()


def run(work: Work, sides: Sequence[Plain | Ours], rounds: int, quoted: int) -> None:
    """Let the sides take turns on the same recordings, hold ours to the first plain one, and print their times."""
    n, apart = len(work.plain), 0.0
    expected = sides[0].score([lambda wave=wave: wave for wave in work.ours(n)], work.cut, Watch())  # warms up, too
    best: dict[str, dict[str, np.ndarray]] = {}
    for _ in range(rounds):
        for side in sides:
            plain, count, watch = isinstance(side, Plain), max(n, side.size * n // len(expected)), Watch()
            logits = side.score(work.plain if plain else work.ours(count), work.cut, watch)
            if not plain:
                apart = max(apart, float((logits - expected.repeat(-(-count // n), 1)[: len(logits)]).abs().max()))
            taken = {phase: spent / count for phase, spent in watch.spent.items()}
            best[side.title] = min(best.get(side.title, taken), taken, key=lambda spent: sum(spent.values())[quoted])
    title = f"{work.seconds:g} s; {('CPU', 'clock')[quoted]} seconds for one"
    print(f"{title:28}" + "".join(f"{name:>11}" for name in (*PHASES, "all", "h/CPU min", "h/min", "x")))
    first, *_ = totals = [sum(spent.values()) for spent in best.values()]
    for (title, spent), total in zip(best.items(), totals, strict=True):
        seconds = "".join(f"{pair[quoted]:11.4f}" for pair in (*spent.values(), total))
        hours = "".join(f"{work.seconds / 60 / each:11.3f}" for each in total)
        print(f"{title:28}{seconds}{hours}{first[quoted] / total[quoted]:11.2f}")
    if work.extracting.any():
        alone = first[0] / (totals[-1] + work.extracting)[0]
        print(f"extracting once: {work.extracting[0]:.4f}; if only for the last side, that is {alone:.2f}x")
    print(f"logits within {apart:.0e}; those of windows differ by up to {float(np.ptp(expected, 0).max()):.1f}\n")
    if sides[-1].precision == "fp32" and apart > TOLERANCE:
        raise SystemExit(f"the sides' logits are {apart:.1e} apart, more than {TOLERANCE:g}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--stride", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--tensors", action="store_true")
    parser.add_argument("--precision", choices=["fp32", "tf32", "bf16"], default="fp32", help="of ours")
    given = parser.parse_args()
    weights.use_threads(given.threads)
    cuda = given.tensors and torch.cuda.is_available()
    options, listen = ast.Options(stride=given.stride), listen_in_memory
    if not given.tensors:
        from earshot.hearing import listen
    torch.manual_seed(0)
    model, spec = ast.build(SOUNDS, options).to("cuda" if cuda else "cpu").eval(), ast.spec(options)
    print(torch.cuda.get_device_name() if cuda else f"CPU, {given.threads} threads", end="; ")
    print(f"{spec.title}, {sum(p.numel() for p in model.parameters()):,} parameters; ours in {given.precision}")
    print(f"goal for clips of 10 s on a CPU, whatever the batch: {GOAL:g}x the first\n")
    plain = [Plain(model, "eager"), Plain(model, "sdpa")]
    long = (1, LONG_S, [1, round(LONG_S / spec.window_s)], plain[:1])
    with tempfile.TemporaryDirectory() as folder:
        for n, seconds, batches, sides in ((given.clips, given.seconds, given.batches, plain), long):
            work = (of_tensors if given.tensors else partial(of_files, Path(folder), given.threads))(n, seconds, spec)
            run(work, [*sides, *(Ours(model, size, given.precision, listen) for size in batches)], given.rounds, int(cuda))


if __name__ == "__main__":
    main()
