"""Training and evaluation of video parsers at LLP's shapes: ours against the same mathematics written plainly.

The plain side keeps CLAP's 64 tokens and ResNet's 80 frames to the model and pools behind the first linear layer; ours gets
features of ten seconds, pooled before they are stored. Weights, batches and dropout are the same, the sides take turns, and the
best round counts. Ratios are of CPU seconds on a CPU, of seconds from start to end on a GPU, where `--amp` computes in bf16.

    python benchmarks/parsing_speed.py [--rounds 3] [--batch 64] [--threads 1] [--parsers valor valor_plus_plus link]
    python benchmarks/parsing_speed.py --epochs    # seconds an epoch of 10,000 clips; on a GPU, features stay there

It needs torch, numpy and pydantic alone.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

sys.path.append(str(Path(__file__).parents[1] / "workflow_scripts"))
sys.path.append(str(Path(__file__).parent))

import numpy as np
import plain_parsing as plain
import torch
from torch import Tensor, nn

from earshot.metrics import parsing_f_score
from earshot.parsers import Batch, Shape, han, link, valor, valor_plus, valor_plus_plus

CLASSES, CLIPS = 25, 10_000
PLUGINS = {"han": han, "valor": valor, "valor_plus": valor_plus, "valor_plus_plus": valor_plus_plus, "link": link}
CLASSIC = ("han", "valor", "valor_plus")  # VGGish and ResNet-152; the others CLAP and CLIP
STEP_GOAL, METRICS_GOAL, VALIDATION_GOAL, LOADING_GOAL = 4.0, 20.0, 8.0, 0.1


class Pair(NamedTuple):
    """The same step by both sides."""

    plain: Callable[[], Any]
    ours: Callable[[], Any]


class Plain(nn.Module):
    """A parser whose batches hold features as they are published: tokens and frames instead of seconds."""

    def __init__(self, model: Any, classic: bool) -> None:
        super().__init__()
        self.model, self.classic = model, classic

    def forward(self, batch: Batch) -> Any:
        inner = self.model
        layer = inner.fc_v if self.classic else inner.fc_a
        stage = plain.frame_stage if self.classic else plain.audio_stage
        given = stage(layer, batch.visual if self.classic else batch.audio)
        hook = layer.register_forward_hook(lambda *_: given)
        try:
            return inner(batch)
        finally:
            hook.remove()


def pooling_matrix() -> Tensor:
    """The constant matrix (10, 64) that CLAP's input stage amounts to."""
    unit = torch.eye(64, dtype=torch.float64)[None]
    layer = nn.Linear(64, 64, bias=False, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(64))
        return plain.audio_stage(layer, unit)[0]


def published(name: str, clips: int, seed: int = 0) -> Batch:
    """A random batch in published shapes."""
    generator = torch.Generator().manual_seed(seed)
    sizes = ((10, 128), (80, 2048)) if name in CLASSIC else ((64, 768), (10, 768))
    audio, visual = (torch.randn(clips, *size, generator=generator) for size in sizes)
    weak = (torch.rand(clips, CLASSES, generator=generator) < 0.07).float()
    labels = (torch.rand(clips, 10, 2, CLASSES, generator=generator) < 0.5) * weak[:, None, None]
    motion = torch.randn(clips, 10, 512, generator=generator)
    return Batch(audio, visual, motion, weak, labels[:, :, 0], labels[:, :, 1], labels)


def pooled(name: str, batch: Batch) -> Batch:
    if name in CLASSIC:
        return replace(batch, visual=batch.visual.unflatten(1, (10, 8)).mean(2))
    return replace(batch, audio=pooling_matrix().to(batch.audio) @ batch.audio)


def build(name: str, device: str) -> tuple[Any, Any]:
    module = PLUGINS[name]
    hyper = module.Hyper()
    audio, visual = (128, 2048) if name in CLASSIC else (768, 768)
    texts = {side: torch.randn(CLASSES, size) for side, size in (("audio", 512), ("visual", 768))}
    torch.manual_seed(0)
    return hyper, module.build(Shape(audio, visual, 512, CLASSES, texts), hyper).to(device)


def step(name: str, hyper: Any, model: nn.Module, inner: nn.Module, optimizer: Any, batch: Batch, amp: bool) -> Tensor:
    """One training step; returns the logits before it."""
    torch.manual_seed(1)
    with torch.autocast(batch.weak.device.type, torch.bfloat16, enabled=amp):
        output = model(batch)
    output = replace(output, logits=output.logits.float(), video=output.video.float(), by_modality=output.by_modality.float())
    terms = PLUGINS[name].losses(output, batch, inner, hyper).terms
    optimizer.zero_grad()
    torch.stack(list(terms.values())).sum().backward()
    nn.utils.clip_grad_norm_(inner.parameters(), hyper.optim.clip or torch.inf)
    optimizer.step()
    return output.logits.detach()


def stepping(name: str, size: int, device: str, amp: bool) -> Pair:
    batch = published(name, size)
    batches = (batch.to(device), pooled(name, batch).to(device))
    sides = []
    for k in range(2):
        hyper, inner = build(name, device)
        model = (Plain(inner, name in CLASSIC) if k == 0 else inner).train()
        optimizer, given = hyper.optim.build(inner), batches[k]

        def one(args: tuple[Any, ...] = (name, hyper, model, inner, optimizer, given, amp)) -> Tensor:
            return step(*args)

        sides.append(one)
    return Pair(*sides)


def seconds(work: Callable[[], Any]) -> float:
    """CPU seconds of a call or, where there is a GPU, seconds until it is done."""
    gpu = torch.cuda.is_available()
    if gpu:
        torch.cuda.synchronize()
    clock = time.perf_counter if gpu else time.process_time
    start = clock()
    work()
    if gpu:
        torch.cuda.synchronize()
    return clock() - start


def in_turn(pair: Pair, rounds: int) -> tuple[float, float]:
    """The best time of each side over rounds in which they alternate."""
    pair.plain(), pair.ours()
    times = [(seconds(pair.plain), seconds(pair.ours)) for _ in range(rounds)]
    return min(a for a, _ in times), min(b for _, b in times)


def shown(title: str, times: Sequence[float], goal: float, note: str) -> None:
    ratio = times[0] / times[1]
    print(f"{title:34s} {times[0]:9.4f} {times[1]:9.4f} {ratio:8.1f}x  (goal {goal:g}x)  {note}")


def measure_steps(options: argparse.Namespace, device: str) -> float:
    """Training steps of all parsers; returns our seconds a clip of the last one."""
    times = (0.0, 0.0)
    for name in options.parsers:
        pair = stepping(name, options.batch, device, options.amp)
        difference = float((pair.plain() - pair.ours()).abs().max())
        times = in_turn(stepping(name, options.batch, device, options.amp), options.rounds)
        note = f"logits within {difference:.1e}; epoch of {CLIPS} clips: {times[1] * CLIPS / options.batch:.1f} s"
        shown(f"step, {name}, batch {options.batch}", times, STEP_GOAL if name not in CLASSIC else 1.3, note)
    exactness()
    return times[1] / options.batch


def exactness() -> None:
    """Both input stages in double precision."""
    layer = nn.Linear(768, 256, dtype=torch.float64)
    tokens = torch.randn(4, 64, 768, dtype=torch.float64)
    with torch.no_grad():
        apart = (plain.audio_stage(layer, tokens) - layer(pooling_matrix() @ tokens)).abs().max()
    print(f"{'input stage in double precision':34s} within {float(apart):.1e}")


def random_truth(videos: int) -> tuple[np.ndarray, list[list[tuple]], list[list[tuple]]]:
    """Truth (N, 2, C, 10), and the same as rows of two tables (name, class, onset, offset)."""
    rng = np.random.Generator(np.random.PCG64(0))
    tables: list[list[tuple]] = [[], []]
    for n in range(videos):
        for m in range(2):
            for _ in range(rng.integers(1, 4)):
                onset = int(rng.integers(0, 9))
                row = (f"video_{n}", int(rng.integers(CLASSES)), onset, int(rng.integers(onset + 1, 11)))
                tables[m].append(row)
    truth = np.zeros((videos, 2, CLASSES, 10), bool)
    for m, rows in enumerate(tables):
        for name, c, onset, offset in rows:
            truth[int(name.split("_")[1]), m, c, onset:offset] = True
    return truth, tables[0], tables[1]


def noisy(truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores of a parser that is often right: videos (N, C) and segments (N, 10, 2, C), float32."""
    rng = np.random.Generator(np.random.PCG64(1))
    segments = 0.5 + 0.4 * (2.0 * truth - 1) + 0.3 * rng.standard_normal(truth.shape)
    whole = truth.any((1, 3))
    video = 0.5 + 0.4 * (2.0 * whole - 1) + 0.3 * rng.standard_normal(whole.shape)
    return video.clip(0.001, 0.999).astype(np.float32), segments.clip(0.001, 0.999).astype(np.float32).transpose(0, 3, 1, 2)


def scored(video: np.ndarray, segments: np.ndarray, truth: np.ndarray) -> list[float]:
    found = parsing_f_score.summary(parsing_f_score.per_video(parsing_f_score.decisions(video, segments), truth))
    return list(found.values())


def measure_metrics(rounds: int, videos: int = 1200) -> None:
    truth, _, _ = random_truth(videos)
    video, segments = noisy(truth)

    def plainly() -> list[float]:
        return plain.summary([plain.video_scores(*one) for one in zip(video, segments, truth, strict=True)])

    pair = Pair(plainly, lambda: scored(video, segments, truth))
    equal = pair.plain() == pair.ours()
    shown(f"scores of {videos} videos", in_turn(pair, rounds), METRICS_GOAL, f"ten scores equal: {equal}")


def measure_validation(name: str, device: str, videos: int = 649) -> None:
    """The whole pass: one video at a time and its rows looked up, against batches and tables."""
    truth, heard, seen = random_truth(videos)
    batch = published(name, videos)
    _, model = build(name, device)
    model.eval()
    plainly = Plain(model, name in CLASSIC)
    one_by_one = [take(batch, slice(n, n + 1)).to(device) for n in range(videos)]
    small = pooled(name, batch)
    parts = [take(small, slice(n, n + 256)).to(device) for n in range(0, videos, 256)]

    @torch.no_grad()
    def one_video_at_a_time() -> list[float]:
        scores = []
        for n, given in enumerate(one_by_one):
            output = plainly(given)
            true = plain.targets(f"video_{n}", heard, seen, CLASSES)
            segments = output.logits[0].sigmoid().cpu().numpy()
            scores.append(plain.video_scores(output.video[0].cpu().numpy(), segments, true))
        return plain.summary(scores)

    @torch.no_grad()
    def in_batches() -> list[float]:
        outputs = [model(given) for given in parts]
        video = torch.cat([output.video for output in outputs]).cpu().numpy()
        segments = torch.cat([output.logits.sigmoid() for output in outputs]).cpu().numpy()
        return scored(video, segments, truth)

    apart = max(abs(x - y) for x, y in zip(one_video_at_a_time(), in_batches(), strict=True))
    times = (seconds(one_video_at_a_time), seconds(in_batches))
    shown(f"validation of {videos}, {name}", times, VALIDATION_GOAL, f"scores within {apart:.1e}")


def take(batch: Batch, some: slice) -> Batch:
    return Batch(**{name: getattr(batch, name)[some] for name in batch.__dataclass_fields__})


def measure_loading(compute: float, clips: int = 1024, size: int = 64) -> None:
    """A shuffled pass over packed features in a memory map, against one file a clip and stream; `compute`: seconds a clip."""
    streams = {"audio": (64, 768), "visual": (10, 768), "motion": (10, 512)}
    rng = np.random.Generator(np.random.PCG64(0))
    order = rng.permutation(clips)
    with tempfile.TemporaryDirectory() as folder:
        packed = {}
        for name, shape in streams.items():
            for n in range(clips):
                np.save(f"{folder}/{name}_{n}.npy", rng.standard_normal(shape, np.float32))
            np.save(f"{folder}/{name}.npy", rng.standard_normal((clips, 10, shape[1]), np.float32))
            packed[name] = np.load(f"{folder}/{name}.npy", mmap_mode="r")
        labels = np.zeros((clips, 2, 10, CLASSES), np.uint8)
        for n in range(clips):
            np.save(f"{folder}/labels_{n}.npy", labels[n].astype(np.int64))

        def by_file() -> None:
            for start in range(0, clips, size):
                for name in (*streams, "labels"):
                    torch.from_numpy(np.stack([np.load(f"{folder}/{name}_{n}.npy") for n in order[start : start + size]]))

        def by_map() -> None:
            for start in range(0, clips, size):
                picks = order[start : start + size]
                for array in packed.values():
                    torch.from_numpy(array[picks])
                torch.from_numpy(labels[picks]).float()

        times = in_turn(Pair(by_file, by_map), 3)
    share = times[1] / clips / compute
    print(
        f"{f'loading {clips} clips':34s} {times[0]:9.4f} {times[1]:9.4f} {times[0] / times[1]:8.1f}x  "
        f"{100 * share:.1f} % of a step's time (goal below {100 * LOADING_GOAL:g} %)"
    )


def measure_epoch(name: str, options: argparse.Namespace, device: str) -> None:
    """Seconds an epoch of LLP's training split, its features on the device."""
    hyper, model = build(name, device)
    optimizer = hyper.optim.build(model.train())
    whole = pooled(name, published(name, options.batch * 8)).to(device)
    parts = [take(whole, slice(n, n + options.batch)) for n in range(0, options.batch * 8, options.batch)]

    def steps(count: int) -> None:
        for k in range(count):
            step(name, hyper, model, model, optimizer, parts[k % 8], options.amp)

    steps(3)
    took = seconds(lambda: steps(-(-CLIPS // options.batch)))
    memory = f", {torch.cuda.max_memory_allocated() / 2**20:.0f} MB" if device == "cuda" else ""
    print(f"epoch of {CLIPS} clips, {name}, batch {options.batch}: {took:.1f} s{memory}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--parsers", nargs="+", default=["valor", "valor_plus_plus", "link"], choices=list(PLUGINS))
    parser.add_argument("--amp", action="store_true", help="bf16 on a GPU")
    parser.add_argument("--epochs", action="store_true", help="time whole epochs instead")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print(f"device {device}, threads {options.threads}, torch {torch.__version__}")
    if options.epochs:
        for name in options.parsers:
            measure_epoch(name, options, device)
        return
    print(f"{'seconds':34s} {'plain':>9s} {'ours':>9s} {'ratio':>9s}")
    compute = measure_steps(options, device)
    measure_metrics(options.rounds)
    for name in options.parsers:
        measure_validation(name, device)
    measure_loading(compute)


if __name__ == "__main__":
    main()
