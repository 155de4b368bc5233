"""One online ViTTA step on TANet (R50, 16 x 224 x 224, two views, 101 classes): ours against a plain one.

A step is decoding, the forward and backward pass of the views, SGD, and the evaluation clip after the update. The plain side
has the structure of published code: the video is opened once for the views and once more for the evaluation clip, Pillow crops
and resizes frame by frame, TAM is a gate and a convolution with a group for each clip and channel, hooks copy the outputs of
normalisation layers and come off while the evaluation clip is predicted, and SGD goes from tensor to tensor. Both sides start
from the same weights, take turns clip by clip, and are held to the same frames, losses and logits.

    python benchmarks/vitta_step_speed.py [--clips 3] [--threads 2] [--size 340x256] [--video h264] [--kinds fp32 bf16]
    python benchmarks/vitta_step_speed.py --tensors       # random clips, on CUDA where there is one; needs no PyAV

Times are CPU seconds a clip, medians over clips; on CUDA, seconds from start to end.
"""

import argparse
import copy
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

sys.path.append(str(Path(__file__).parents[1] / "workflow_scripts"))

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.resnet import Bottleneck, ResNet

FRAMES, CLASSES, VIEWS = 16, 101, 2
RHO, LR, CONSISTENCY = 0.1, 5e-5, 0.1
TOLERANCE = 2e-4  # between the sides' losses and logits, relative where they are larger than 1
GOALS = {"fp32": 1.2, "bf16": 2.5}
LOAD_GOAL = 3.0
LOAD, ADAPT, EVALUATE = PHASES = ("decode+preprocess", "adapt", "evaluate")
CODECS = {
    "h264": ("a.mp4", ("-c:v", "libx264", "-preset", "medium", "-pix_fmt", "yuv420p")),
    "mpeg4": ("a.avi", ("-c:v", "mpeg4", "-vtag", "XVID", "-bf", "2", "-q:v", "4")),
}


class Made(NamedTuple):
    """The input of one step: frames (V * T, 3, H, W) and (T, 3, H, W), laid out as each side lays them out."""

    views: Tensor
    evaluation: Tensor


class Watch:
    """Seconds by phase: of the process on a CPU, of the clock on CUDA."""

    def __init__(self, device: str) -> None:
        self.cuda = device == "cuda"
        self.taken: dict[str, list[float]] = defaultdict(list)

    def now(self) -> float:
        if self.cuda:
            torch.cuda.synchronize()
        return time.perf_counter() if self.cuda else time.process_time()

    @contextmanager
    def of(self, phase: str) -> Iterator[None]:
        start = self.now()
        yield
        self.taken[phase].append(self.now() - start)

    def median(self, phase: str) -> float:
        return statistics.median(self.taken[phase][1:])  # the first clip warms up


class PlainTAM(nn.Module):
    """As published: a volume for each clip, gated, then convolved over time with a group for each clip and channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.G = nn.Sequential(
            nn.Linear(FRAMES, 2 * FRAMES, bias=False),
            nn.BatchNorm1d(2 * FRAMES),
            nn.ReLU(inplace=True),
            nn.Linear(2 * FRAMES, 3, bias=False),
            nn.Softmax(-1),
        )
        self.L = nn.Sequential(
            nn.Conv1d(channels, channels // 4, 3, padding=1, bias=False),
            nn.BatchNorm1d(channels // 4),
            nn.ReLU(inplace=True),
            nn.Conv1d(channels // 4, channels, 1, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        _, c, h, w = x.shape
        clips = x.view(-1, FRAMES, c, h, w).permute(0, 2, 1, 3, 4).contiguous()
        b = len(clips)
        pooled = functional.adaptive_avg_pool2d(clips.view(b * c, FRAMES, h, w), (1, 1)).view(b * c, FRAMES)
        kernel = self.G(pooled).view(b * c, 1, 3, 1)
        gated = clips * self.L(pooled.view(b, c, FRAMES)).view(b, c, FRAMES, 1, 1)
        mixed = functional.conv2d(gated.view(1, b * c, FRAMES, h * w), kernel, padding=(1, 0), groups=b * c)
        return mixed.view(b, c, FRAMES, h, w).permute(0, 2, 1, 3, 4).contiguous().view(-1, c, h, w)


class PlainBlock(nn.Module):
    """A bottleneck with TAM after its first convolution."""

    def __init__(self, net: Bottleneck) -> None:
        super().__init__()
        self.net, self.tam = net, PlainTAM(net.conv1.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        net = self.net
        out = self.tam(net.relu(net.bn1(net.conv1(x))))
        out = net.bn3(net.conv3(net.relu(net.bn2(net.conv2(out)))))
        out += x if net.downsample is None else net.downsample(x)
        return net.relu(out)


class PlainTANet(nn.Module):
    """Frames (B * T, 3, H, W) to logits (B, K), the mean of the frames' own; keys are those of our model."""

    def __init__(self) -> None:
        super().__init__()
        self.base_model = ResNet(Bottleneck, [3, 4, 6, 3])
        for stage in (self.base_model.layer1, self.base_model.layer2, self.base_model.layer3, self.base_model.layer4):
            for index, block in enumerate(stage):
                stage[index] = PlainBlock(block)
        self.base_model.fc = nn.Dropout(0.8)
        self.head = nn.Linear(2048, CLASSES)

    def forward(self, frames: Tensor) -> Tensor:
        return self.head(self.base_model(frames)).view(-1, FRAMES, CLASSES).mean(1)


class MomentHook:
    """Keeps the loss of one layer and its moving averages; the output is copied, since a ReLU in place follows."""

    def __init__(self, layer: nn.Module, source: tuple[Tensor, Tensor]) -> None:
        self.layer, self.source = layer, source
        self.mean, self.var = (torch.zeros_like(moment) for moment in source)
        self.put()

    def put(self) -> None:
        self.handle = self.layer.register_forward_hook(self.look)

    def look(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        volume = output.view(-1, FRAMES, *output.shape[1:]).permute(0, 2, 1, 3, 4).contiguous()
        mean, var = volume.mean((0, 2, 3, 4)), volume.var((0, 2, 3, 4), correction=0)
        mean, var = RHO * mean + (1 - RHO) * self.mean, RHO * var + (1 - RHO) * self.var
        self.loss = (var - self.source[1]).abs().mean() + (mean - self.source[0]).abs().mean()
        self.mean, self.var = mean.detach(), var.detach()


class Plain:
    """One step after the other with the plain model."""

    def __init__(self, state: dict[str, Tensor], moments: dict[str, tuple[Tensor, Tensor]], device: str) -> None:
        self.watch = Watch(device)
        self.model = PlainTANet().to(device)
        self.model.load_state_dict(state)
        self.to_adapting()
        self.hooks = [MomentHook(self.model.get_submodule(name), source) for name, source in moments.items()]
        settings = {"lr": LR, "momentum": 0.9, "weight_decay": 5e-4, "foreach": False}
        self.optimizer = torch.optim.SGD(self.model.parameters(), **settings)

    def to_adapting(self) -> None:
        self.model.train()
        for layer in self.model.modules():
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                layer.eval()

    def load(self, path: Path, row: dict[str, Any], spec: Any, seed: int) -> Made:
        with self.watch.of(LOAD):
            return Made(*plain_clips(path, row, spec, seed))

    def step(self, made: Made, seed: int) -> tuple[float, Tensor]:
        settle("fp32", ours=False)
        torch.manual_seed(seed)
        with self.watch.of(ADAPT):
            probabilities = self.model(made.views).softmax(-1)
            consistency = (probabilities - probabilities.mean(0)).abs().sum(-1).mean()
            loss = sum(hook.loss for hook in self.hooks) + CONSISTENCY * consistency
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        with self.watch.of(EVALUATE):
            for hook in self.hooks:
                hook.handle.remove()
            self.model.eval()
            with torch.no_grad():
                logits = self.model(made.evaluation).mean(0)
            self.to_adapting()
            for hook in self.hooks:
                hook.put()
        return float(loss.detach()), logits


class Ours:
    """One step after the other with the workflow's method, in one kind of number."""

    def __init__(self, model: nn.Module, moments: dict[str, tuple[Tensor, Tensor]], kind: str, device: str) -> None:
        from earshot import plugins
        from earshot.adaptation import Context

        self.watch, self.kind = Watch(device), kind
        self.model = copy.deepcopy(model)
        self.model.precision = kind
        vitta = plugins.load("methods", "vitta")
        self.method = vitta.Method(self.model, vitta.Hyper(lr=LR, rho=RHO, lambda_consis=CONSISTENCY), Context(moments))
        self.model.register_forward_pre_hook(lambda *_: self._mark())
        self.marks: list[float] = []

    def _mark(self) -> None:
        if not self.model.training:  # only the evaluation clip is predicted in this mode
            self.marks.append(self.watch.now())

    def load(self, path: Path, row: dict[str, Any], spec: Any, seed: int) -> Any:
        from earshot.frames import Frames
        from earshot.loading import ClipLoader, FrameCache

        with self.watch.of(LOAD):
            return ClipLoader(spec, Frames(path.parent), FrameCache(0), "cpu").load(row, seed)

    def step(self, clip: Any, seed: int) -> tuple[float, Tensor]:
        settle(self.kind, ours=True)
        torch.manual_seed(seed)
        self.marks.clear()
        start = self.watch.now()
        (outcome,) = self.method.adapt([clip])
        end = self.watch.now()
        self.watch.taken[ADAPT].append(self.marks[0] - start)
        self.watch.taken[EVALUATE].append(end - self.marks[0])
        return float(outcome.loss_last), outcome.logits


def settle(kind: str, ours: bool) -> None:
    """The settings of torch under which a side runs: the workflow asks for deterministic kernels."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = kind != "fp32"
    torch.use_deterministic_algorithms(ours, warn_only=True)


def plain_clips(path: Path, row: dict[str, Any], spec: Any, seed: int) -> Iterator[Tensor]:
    """The views and the evaluation clip, each from a video opened anew."""
    from earshot import sampling, transforms
    from earshot.randomness import numpy_generator

    size = (row["width"], row["height"], spec.size)
    views = sampling.views("uniform_equidist", row["frames"], FRAMES, VIEWS, np.random.default_rng(0))
    frames = plain_frames(path, views.ravel().tolist())
    crops = [transforms.multi_scale_crop(*size, numpy_generator("view", seed, row["clip_id"], view)) for view in range(VIEWS)]
    yield torch.cat([cropped(frames[v * FRAMES : (v + 1) * FRAMES], crop, spec) for v, crop in enumerate(crops)])
    (middle,) = sampling.evaluation("uniform", row["frames"], FRAMES)
    yield centred(plain_frames(path, middle.tolist()), spec)


def plain_frames(path: Path, wanted: list[int]) -> list[Any]:
    """Open a video and decode it up to the last wanted frame: Pillow images."""
    import av
    from PIL import Image

    found = {}
    with av.open(str(path)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        for number, frame in enumerate(container.decode(video=0)):
            if number in wanted:
                found[number] = Image.fromarray(frame.to_ndarray(format="rgb24"))
            if number >= max(wanted):
                break
    return [found[number] for number in wanted]


def cropped(pictures: list[Any], crop: Any, spec: Any) -> Tensor:
    from PIL import Image

    box = (crop.x, crop.y, crop.x + crop.width, crop.y + crop.height)
    return stacked([p.crop(box).resize((spec.size, spec.size), Image.Resampling.BILINEAR) for p in pictures], spec)


def centred(pictures: list[Any], spec: Any) -> Tensor:
    from PIL import Image

    width, height = pictures[0].size
    size = tuple(int(side * spec.resize / min(width, height)) for side in (width, height))
    left, top = (round((side - spec.size) / 2) for side in size)
    box = (left, top, left + spec.size, top + spec.size)
    return stacked([p.resize(size, Image.Resampling.BILINEAR).crop(box) for p in pictures], spec)


def stacked(pictures: list[Any], spec: Any) -> Tensor:
    """Pictures side by side in the last axis, made one tensor, then normalised channel by channel: (T, 3, H, W)."""
    stack = np.concatenate([np.asarray(picture) for picture in pictures], axis=2)
    frames = torch.from_numpy(stack).permute(2, 0, 1).contiguous().float().div(255)
    for channel, mean, std in zip(frames, spec.mean * FRAMES, spec.std * FRAMES, strict=True):
        channel.sub_(mean).div_(std)
    return frames.view(FRAMES, 3, spec.size, spec.size)


def as_frames(clip: Any) -> Made:
    """Our clip as frames in a row, the plain side's layout."""
    return Made(*(clips.transpose(1, 2).flatten(0, 1).contiguous() for clips in (clip.views, clip.evaluation)))


def levels_apart(a: Made, b: Made, spec: Any) -> float:
    """The largest difference between pixels, in levels of 256."""
    scale = 255 * torch.tensor(spec.std).view(3, 1, 1)
    return max(float(((x - y).abs() * scale).max()) for x, y in zip(a, b, strict=True))


def calibrated(model: nn.Module, clip: Any) -> dict[str, tuple[Tensor, Tensor]]:
    """Tame random weights as training would; returns the moments of the aligned layers' outputs on a clip.

    Residual branches add little, and running statistics are those of the clip. Otherwise two steps would blow the model up.
    """
    from earshot.backbones import _tanet
    from earshot.moments import recorded

    for block in model.modules():
        if isinstance(block, _tanet.TemporalBottleneck):
            nn.init.constant_(block.net.bn3.weight, 0.2)
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)]
    with torch.no_grad():
        for layer in norms:
            layer.train().momentum = 1.0
        model(clip.views)
        model.eval()
        with recorded(model, _tanet.aligned_layers(model)) as moments:
            model(clip.evaluation)
    return moments


def random_clip(spec: Any, seed: int, device: str) -> Any:
    from earshot.adaptation import Clip

    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(VIEWS + 1, 3, FRAMES, spec.size, spec.size, generator=generator).to(device)
    return Clip(drawn[:VIEWS], drawn[VIEWS:])


def make_video(folder: Path, size: str, codec: str, seconds: float) -> tuple[Path, dict[str, Any]]:
    """Moving test pictures with grain, so that motion and residuals cost what real ones do, and its row."""
    from earshot import media

    name, options = CODECS[codec]
    source = f"testsrc2=size={size}:rate=25:duration={seconds},noise=alls=12:allf=t"
    command = [media.ffmpeg_binary(), "-v", "error", "-y", "-f", "lavfi", "-i", source, *options, "-threads", "1"]
    subprocess.run([*command, str(folder / name)], check=True)
    facts = media.probe(folder / name)
    row = {"clip_id": "a", "video": name, "frames": facts.frames, "width": facts.width, "height": facts.height}
    return folder / name, row


def run(given: argparse.Namespace, device: str, take: Callable[[Plain, Ours, int], tuple[Any, Made]], first: Any) -> None:
    """Lead all sides along the same clips in turn, hold them to each other, and print their times."""
    from earshot import weights

    model = weights.placed(weights.build("tanet", {}, CLASSES), device).eval()
    moments = calibrated(model, first)
    plain = Plain(model.state_dict(), moments, device)
    sides = [Ours(model, moments, kind, device) for kind in given.kinds]
    apart: dict[str, float] = defaultdict(float)
    for seed in range(1, given.clips + 2):
        clip, made = take(plain, sides[0], seed)
        loss, logits = plain.step(made, seed)
        for side in sides:
            apart[side.kind] = max(apart[side.kind], difference(side.step(clip, seed), (loss, logits)))
    print_times(plain, sides, apart, cuda=device == "cuda")
    if apart.get("fp32", 0.0) > TOLERANCE:
        raise SystemExit(f"the sides' losses or logits in fp32 are {apart['fp32']:.1e} apart, more than {TOLERANCE:g}")


def difference(ours: tuple[float, Tensor], plain: tuple[float, Tensor]) -> float:
    """The largest difference of losses and of logits, relative to what is larger than 1."""
    of_loss = abs(ours[0] - plain[0]) / max(1.0, abs(plain[0]))
    return max(of_loss, float((ours[1] - plain[1]).abs().max() / plain[1].abs().max().clamp(min=1)))


def print_times(plain: Plain, sides: list[Ours], apart: dict[str, float], cuda: bool) -> None:
    phases = [phase for phase in PHASES if plain.watch.taken[phase]]
    slow = {phase: plain.watch.median(phase) for phase in phases}
    print(f"{'':12}" + "".join(f"{phase:>19}" for phase in (*phases, "step")) + "   clips/s" * cuda)
    rows = [("plain fp32", slow)]
    for side in sides:
        # all kinds load alike
        rows.append((f"ours {side.kind}", {p: (sides[0] if p == LOAD else side).watch.median(p) for p in phases}))
    for title, times in rows:
        total = sum(times.values())
        print(f"{title:12}" + "".join(f"{t:19.3f}" for t in (*times.values(), total)) + f"{1 / total:10.2f}" * cuda)
    for side, (title, fast) in zip(sides, rows[1:], strict=True):
        ratios = [slow[phase] / fast[phase] for phase in phases]
        whole, goal = sum(slow.values()) / sum(fast.values()), GOALS.get(side.kind)
        told = f"{title} x".ljust(12) + "".join(f"{ratio:19.2f}" for ratio in (*ratios, whole))
        print(told + (f"   goal {goal:g}" if goal else "") + f"   losses and logits within {apart[side.kind]:.0e}")
    if LOAD in phases:
        print(f"goal of {LOAD}: {LOAD_GOAL:g}x")


def run_tensors(given: argparse.Namespace) -> None:
    from earshot import weights

    device = "cuda" if torch.cuda.is_available() else "cpu"
    spec = weights.spec_of("tanet", {})
    print(torch.cuda.get_device_name() if device == "cuda" else f"CPU, {given.threads} threads; random clips")

    def take(plain: Plain, ours: Ours, seed: int) -> tuple[Any, Made]:
        clip = random_clip(spec, seed, device)
        return clip, as_frames(clip)

    run(given, device, take, random_clip(spec, 0, device))


def run_videos(given: argparse.Namespace) -> None:
    from earshot import weights
    from earshot.frames import Frames
    from earshot.loading import ClipLoader, FrameCache

    spec = weights.spec_of("tanet", {})
    print(f"{given.video} {given.size}, {given.seconds:g} s; {given.threads} threads; CPU seconds a clip")
    with tempfile.TemporaryDirectory() as folder:
        path, row = make_video(Path(folder), given.size, given.video, given.seconds)

        def take(plain: Plain, ours: Ours, seed: int) -> tuple[Any, Made]:
            made, clip = plain.load(path, row, spec, seed), ours.load(path, row, spec, seed)
            same = as_frames(clip)
            if levels_apart(made, same, spec) > 2.01:  # Pillow and torchvision round in their own ways, and twice
                raise SystemExit("the sides' pixels are more than two levels apart")
            return clip, same

        run(given, "cpu", take, ClipLoader(spec, Frames(path.parent), FrameCache(0), "cpu").load(row, 0))


def main() -> None:
    from earshot import weights

    cuda = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--size", default="340x256")
    parser.add_argument("--video", choices=CODECS, default="h264")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--tensors", action="store_true")
    parser.add_argument("--kinds", nargs="+", choices=["fp32", "tf32", "bf16"])
    given = parser.parse_args()
    given.kinds = given.kinds or (["fp32", "tf32", "bf16"] if given.tensors and cuda else ["fp32", "bf16"])
    weights.use_threads(given.threads)
    (run_tensors if given.tensors else run_videos)(given)


if __name__ == "__main__":
    main()
