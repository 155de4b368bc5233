"""`python -m earshot.checks config.yaml [mine.yaml ...]`: check a config, and every override in it, without running it.

Every file after the first is checked as Snakemake takes it: laid over the first one.
"""

import sys
from pathlib import Path
from typing import Any

import yaml

from earshot import plugins, training
from earshot.config import Config, ConfigError, load, merged, overrides
from earshot.plugins import UnknownPlugin


def check(config: Config) -> int:
    """Validate all overrides; returns how many there are. Raises ConfigError for the first wrong one."""
    done = 0
    for name, method in config.methods.items():
        overrides(plugins.load("methods", method.plugin).Hyper, method.hyper, f"methods.{name}.hyper")
        done += 1
    for name, backbone in config.backbones.items():
        overrides(training.Hyper, backbone.train, f"backbones.{name}.train")
        overrides(plugins.load("backbones", backbone.plugin).Options, backbone.options, f"backbones.{name}.options")
        done += 2
    for name, model in config.audio_models.items():
        module = plugins.load("audio_models", model.plugin)
        overrides(module.Options, model.options, f"audio_models.{name}.options")
        if hasattr(module, "Hyper"):
            overrides(module.Hyper, model.hyper, f"audio_models.{name}.hyper")
        elif model.hyper:
            raise ConfigError(f"audio_models.{name}.hyper: '{model.plugin}' is not trained here: it takes `options` only")
        done += 2
    for name, mapper in config.mappers.items():
        overrides(plugins.load("mappers", mapper.plugin).Options, mapper.options, f"mappers.{name}.options")
        done += 1
    for name, dataset in config.datasets.items():
        overrides(plugins.load("datasets", dataset.plugin).Options, dataset.options, f"datasets.{name}.options")
        done += 1
    for name, made in config.features.items():
        overrides(plugins.load("extractors", made.plugin).Options, made.options, f"features.{name}.options")
        done += 1
    for name, parser in config.parsers.items():
        overrides(plugins.load("parsers", parser.plugin).Hyper, parser.hyper, f"parsers.{name}.hyper")
        done += 1
    for name, parsing in config.parsing.items():
        for one in parsing.parsers:
            hyper = config.parser_hyper(name, one)
            module = plugins.load("parsers", config.parser(one).plugin)
            chosen = overrides(module.Hyper, hyper, f"parsing.{name}.{one}")
            looks = module.shown(chosen) if hasattr(module, "shown") else ""
            if looks == "ungated" and parsing.pseudo_labels and config.pseudo_labels[parsing.pseudo_labels].root:
                raise ConfigError(
                    f"parsing.{name}.{one}: published pseudo-labels are masked by the weak labels of all splits: "
                    "`eval_source: ungated` needs labels that are made; take `predicted`, `none`, or `gated_oracle`, a leak"
                )
            done += 1
    for name, prompting in config.prompting.items():
        task = plugins.load("tasks", prompting.task)
        for one in prompting.prompters:
            given = config.prompter(one)
            overrides(task.Hyper, merged(prompting.hyper, given.task), f"prompting.{name}.{one}.hyper")
            module = plugins.load("prompters", given.plugin)
            overrides(module.Hyper, merged(module.defaults(prompting.task), given.hyper), f"prompters.{one}.hyper")
            done += 2
    for name, experiment in config.experiments.items():
        for variant, grid in (experiment.tune.grid if experiment.tune else {}).items():
            method = config.method(variant)
            for key, values in grid.items():
                for value in values:
                    hyper = {**method.hyper, key: value}
                    overrides(plugins.load("methods", method.plugin).Hyper, hyper, f"{name}.tune.grid.{variant}")
            done += 1
    return done


def main(paths: list[str]) -> int:
    """Check the files; prints what is wrong and returns an exit status."""
    base: dict[str, Any] = {}
    for path in paths:
        try:
            given = merged(base, yaml.safe_load(Path(path).read_text(encoding="utf-8")))
            base = base or given
            done = check(load(given))
        except (ConfigError, UnknownPlugin) as error:
            print(f"{path}: {error}", file=sys.stderr)
            return 1
        print(f"{path}: valid; {done} sets of overrides checked")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
