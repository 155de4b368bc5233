"""A training step of DG-SCT for event localisation: ours against the same mathematics in the published structure.

Weights, clips and dropout are the same, the sides take turns, and the best round counts. Ratios are of CPU seconds on a CPU, of
seconds from start to end on a GPU. Encoders have random weights; what is timed does not depend on them.

    python benchmarks/prompting_speed.py [--size small] [--clips 8] [--rounds 3] [--threads 1]
    python benchmarks/prompting_speed.py --stage 0 --clips 1   # the four modules of one position at the published size
    python benchmarks/prompting_speed.py --cuda --precision bf16 --size large [--checkpointing]   # step time and peak memory

It needs torch, torchaudio, timm, transformers, numpy and pydantic alone.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "workflow_scripts"))
sys.path.append(str(Path(__file__).parent))

import torch
from plain_prompting import PlainModule, PlainPair
from torch import Tensor, nn

from earshot.prompters import _trunks, dgsct
from earshot.prompters._guidance import Guidance
from earshot.prompters._latent import Place

GOAL, SEGMENTS, CLASSES = 1.5, 10, 28


class Head(nn.Module):
    """Stands for the head of the task, which is a thousandth of the work."""

    def __init__(self, pair: Any) -> None:
        super().__init__()
        self.layer = nn.Linear(pair.widths.visual + pair.widths.audio, CLASSES + 1)

    def forward(self, encoded: Any) -> Tensor:
        return self.layer(torch.cat((encoded.visual_pooled, encoded.audio_pooled), -1))


def seconds(work: Callable[[], Any], cuda: bool) -> float:
    """CPU seconds of a call or, on a GPU, seconds until it is done."""
    if cuda:
        torch.cuda.synchronize()
    clock = time.perf_counter if cuda else time.process_time
    start = clock()
    work()
    if cuda:
        torch.cuda.synchronize()
    return clock() - start


def stepping(side: Any, ours: Any, head: nn.Module, batch: Any, precision: str) -> Callable[[], Tensor]:
    """One step of a side; it returns the loss before the step."""
    frames, waves, labels = batch
    trained = [one for one in [*ours.parameters(), *head.parameters()] if one.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=1e-4)

    def step() -> Tensor:
        with torch.autocast(frames.device.type, torch.bfloat16, enabled=precision == "bf16"):
            logits = head(side(ours.look(frames), side.listen(waves, SEGMENTS)))
        loss = nn.functional.cross_entropy(logits.float(), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def sides(args: argparse.Namespace, device: str) -> tuple[Callable[[], Tensor], Callable[[], Tensor], Any]:
    """Steps of the plain side and of ours, from the same weights on the same clips; and our pair."""
    found, pairs = [], []
    for plain in (True, False):
        torch.manual_seed(0)
        pair = dgsct.build(_trunks.build_encoders("swin_htsat", args.size), dgsct.Hyper()).to(device).train()
        pair.checkpointing = args.checkpointing
        for name, one in pair.named_parameters():
            if name.endswith(("gate", "gate_av")):
                one.data.fill_(0.3)
        head = Head(pair).to(device)
        px = pair.shape.px
        frames = torch.randint(0, 256, (args.clips * SEGMENTS, px, px, 3), dtype=torch.uint8)
        waves = torch.randn(args.clips, SEGMENTS * 32_000) * 0.1
        batch = [one.to(device) for one in (frames, waves, torch.randint(0, CLASSES, (args.clips * SEGMENTS,)))]
        found.append(stepping(PlainPair(pair) if plain else pair, pair, head, batch, args.precision))
        pairs.append(pair)
        if args.only == "ours" and plain:
            found[-1], pairs[-1] = None, None
    return *found, pairs[1]


def one_position(stage: int, clips: int) -> tuple[Callable[[], Tensor], Callable[[], Tensor]]:
    """Forward and backward pass of both modules of a position at the published size, without the encoders."""
    (swin, htsat), hyper = _trunks.SIZES["large"], dgsct.Hyper()
    seen = Place((swin.px // 4 >> stage) ** 2, swin.width << stage)
    heard = Place((htsat.side // 4 >> stage) ** 2, htsat.width << stage)
    torch.manual_seed(0)
    modules = [Guidance(seen, heard, hyper, True), Guidance(heard, seen, hyper, True)]
    for one in modules:
        one.gate.data.fill_(0.3), one.gate_av.data.fill_(0.3)
    tokens = [torch.randn(clips * SEGMENTS, *place, requires_grad=True) for place in (seen, heard)]

    def run(plain: bool) -> Tensor:
        pairs = zip(modules, (tokens, tokens[::-1]), strict=True)
        both = [PlainModule(one)(*given)[0] if plain else one(*given).residual for one, given in pairs]
        loss = sum(one.square().mean() for one in both)
        loss.backward()
        return loss.detach()

    return lambda: run(True), lambda: run(False)


def compare(plain: Callable[[], Tensor], ours: Callable[[], Tensor], rounds: int, cuda: bool, title: str) -> None:
    """Print what both sides need and their ratio; raises SystemExit if their numbers differ."""
    first = [float(plain()), float(ours())]
    if abs(first[0] - first[1]) > (2e-2 if cuda else 1e-3) * abs(first[0]):
        raise SystemExit(f"{title}: the sides differ: {first}")
    times = [(seconds(plain, cuda), seconds(ours, cuda)) for _ in range(rounds)]
    best = [min(column) for column in zip(*times, strict=True)]
    ratio = best[0] / best[1]
    verdict = "met" if ratio >= GOAL else "MISSED"
    both = f"plain {best[0]:.2f} s, ours {best[1]:.2f} s"
    print(f"{title}: {both}: {ratio:.2f} times as fast (goal {GOAL}: {verdict}); losses {first}")


def main() -> None:
    """Run what the options ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="small", choices=list(_trunks.SIZES))
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--stage", type=int, choices=range(4))
    parser.add_argument("--cuda", action="store_true")
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
    parser.add_argument("--checkpointing", action="store_true")
    parser.add_argument("--only", choices=["ours"], help="leave the plain side out, which may not fit")
    args = parser.parse_args()
    if args.stage is not None and (args.cuda or args.checkpointing or args.precision != "fp32"):
        parser.error("--stage compares modules on a processor in single precision")
    if args.checkpointing and args.only != "ours":
        parser.error("--checkpointing is for our side alone: add --only ours")
    torch.set_num_threads(args.threads)
    if args.stage is not None:
        return compare(*one_position(args.stage, args.clips), args.rounds, False, f"modules of stage {args.stage + 1}")
    plain, ours, pair = sides(args, "cuda" if args.cuda else "cpu")
    title = f"step of {args.clips} clips, {args.size}, {args.precision}"
    if plain is not None:
        compare(plain, ours, args.rounds, args.cuda, title)
    if args.cuda or plain is None:
        alone(ours, pair, args, title)
    return None


def alone(ours: Callable[[], Tensor], pair: Any, args: argparse.Namespace, title: str) -> None:
    """Print our seconds and peak memory beside what was estimated."""
    ours()
    if args.cuda:
        torch.cuda.reset_peak_memory_stats()
    best = min(seconds(ours, args.cuda) for _ in range(args.rounds))
    told = pair.estimate(args.clips, SEGMENTS, args.checkpointing)
    peak = f", peak {torch.cuda.max_memory_allocated() / 1e9:.1f} GB" if args.cuda else ""
    need = f"{told.memory_bytes / 1e9:.1f} GB in fp32, {2 * told.step_macs / 1e12:.1f} TFLOP"
    print(f"{title}: {best:.2f} s a step{peak}; estimated {need}")


if __name__ == "__main__":
    main()
