"""Cost of each adaptation method, relative to predicting with the source model, on random clips.

Needs torch and torchvision only; runs on CUDA where there is one: python benchmarks/adaptation_speed.py [backbone] [clips]
"""

import statistics
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "workflow_scripts"))

import torch


def main(backbone: str = "tanet_small", clips: str = "12") -> None:
    from earshot import plugins
    from earshot.adaptation import Clip, Context, Evidence, NotApplicable

    device = "cuda" if torch.cuda.is_available() else "cpu"
    module = plugins.load("backbones", backbone)
    options, n_classes = module.Options(), 12
    spec = module.spec(options)
    times = {}
    for name in plugins.available("methods"):
        model = module.build(n_classes, options).to(device).eval()
        layers = module.aligned_layers(model)
        widths = {layer: model.get_submodule(layer).weight.numel() for layer in layers}
        moments = {layer: (torch.zeros(n, device=device), torch.ones(n, device=device)) for layer, n in widths.items()}
        context = Context(moments, torch.eye(n_classes), last_stage=module.last_stage(model), mean=spec.mean, std=spec.std)
        method_module = plugins.load("methods", name)
        try:
            method = method_module.Method(model, method_module.Hyper(), context)
        except NotApplicable as error:
            print(f"{name:16s} does not apply: {error}")
            continue
        views = torch.randn(2, 3, spec.frames, spec.size, spec.size, device=device)
        clip = Clip(views, views[:1], Evidence(torch.randn(n_classes), heard=True))
        taken = []
        for _ in range(int(clips) + 2):
            start = time.perf_counter()
            method.adapt([clip])
            if device == "cuda":
                torch.cuda.synchronize()
            taken.append(time.perf_counter() - start)
        times[name] = statistics.median(taken[2:])
    print(f"{backbone} on {device}, {torch.get_num_threads()} threads; median of {clips} clips")
    for name, seconds in times.items():
        print(f"{name:16s} {1e3 * seconds:9.1f} ms  {seconds / times['source']:6.1f} x source")


if __name__ == "__main__":
    main(*sys.argv[1:])
