"""The documentation says what their files say."""

import re
from pathlib import Path
from typing import get_args

import pytest
import torch
import yaml

from earshot import archives, findings, label_spaces, plugins, training
from earshot.config import DatasetConfig, Downloads, Protocol
from earshot.prompters import _trunks

METHODS = Path(__file__).parents[2] / "docs" / "adaptation.md"
BACKBONES = Path(__file__).parents[2] / "docs" / "backbones.md"
LISTENING = Path(__file__).parents[2] / "docs" / "listening.md"
PARSING = Path(__file__).parents[2] / "docs" / "parsing.md"
PROMPTING = Path(__file__).parents[2] / "docs" / "prompting.md"
PAGE = Path(__file__).parents[2] / "docs" / "corruptions.md"


def row(name):
    """A corruption as a line of the page's tables."""
    spec = plugins.load("corruptions", name).SPEC
    return f"| `{name}` | {spec.title} | {values(spec.severities['default'])} | {spec.unit} |"


def values(table):
    return ", ".join(str(value).replace("'", "") for value in table)


@pytest.mark.parametrize("name", plugins.available("corruptions"))
def test_every_corruption_is_listed_with_its_table(name):
    assert name == "clean" or row(name) in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", plugins.available("corruptions"))
def test_tables_of_presets_are_listed(name):
    for preset, table in plugins.load("corruptions", name).SPEC.severities.items():
        if preset != "default":
            assert values(table) in PAGE.read_text(encoding="utf-8"), (name, preset)


@pytest.mark.parametrize("name", plugins.available("backbones"))
def test_every_backbone_is_listed_with_what_it_takes(name):
    module = plugins.load("backbones", name)
    spec = module.spec(module.Options())
    with torch.device("meta"):
        model = module.build(400, module.Options())
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    resize = " x ".join(map(str, spec.resize)) if isinstance(spec.resize, tuple) else spec.resize
    cells = [
        f"`{name}`", spec.title, f"{millions:.1f}", spec.frames, f"{resize}, {spec.size}",
        f"`{spec.sampling}`", f"`{spec.crop}`",
        f"{len(module.aligned_layers(model))} of {len(module.candidate_layers(model))}",
        ", ".join(f"`{option}`" for option in module.Options.model_fields) or "none",
    ]  # fmt: skip
    assert f"| {' | '.join(map(str, cells))} |" in BACKBONES.read_text(encoding="utf-8")


def test_every_setting_of_training_and_every_label_space_is_listed():
    page = BACKBONES.read_text(encoding="utf-8")
    for name, field in training.Hyper.model_fields.items():
        value = str(field.default).lower() if isinstance(field.default, bool) else field.default
        assert f"`{name}: {value}`" in page
    assert all(f"`{name}`" in page for name in label_spaces.available())


@pytest.mark.parametrize("name", plugins.available("methods"))
def test_every_method_is_listed_with_how_it_works_and_its_knobs(name):
    module, lines = plugins.load("methods", name), METHODS.read_text(encoding="utf-8").splitlines()
    works = (module.PREDICTS, _said(module.BATCHED), _said(module.TWO_PASS), ", ".join(module.NEEDS) or "nothing")
    assert any(line.startswith(f"| `{name}` |") and line.endswith(f"| {' | '.join(works)} |") for line in lines)
    knobs = ", ".join(f"`{key}: {_value(field.default)}`" for key, field in module.Hyper.model_fields.items())
    (line,) = [line for line in lines if line.startswith(f"| `{name}` | {knobs or 'none'} |")]
    for backbone, settings in getattr(module, "FOR_BACKBONE", {}).items():
        assert f"{backbone}: " + ", ".join(f"`{key}: {value}`" for key, value in settings.items()) in line


def _said(flag):
    return "yes" if flag else "no"


def _value(default):
    return "null" if default is None else str(default).lower() if isinstance(default, bool) else default


def test_every_experiment_and_protocol_is_listed():
    page = METHODS.read_text(encoding="utf-8")
    experiments = yaml.safe_load((METHODS.parents[1] / "config.yaml").read_text(encoding="utf-8"))["experiments"]
    for name in experiments:
        assert f"`{name}`" in page or f"`{name.rpartition('_')[0]}_1`" in page
    for name in get_args(Protocol.model_fields["name"].annotation):
        assert f"| `{name}` |" in page


@pytest.mark.parametrize("name", plugins.available("audio_models"))
def test_every_audio_model_is_listed_with_what_it_takes(name):
    module, page = plugins.load("audio_models", name), LISTENING.read_text(encoding="utf-8")
    if not hasattr(module, "build"):
        assert all(f"`{option}: " in page for option in module.Options.model_fields)
        return
    spec, model = module.spec(module.Options()), module.build(527, module.Options())
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    cells = [
        f"`{name}`", spec.title, f"{millions:.1f}", spec.rate_hz, f"{spec.window_s:g}", spec.short, spec.activation,
        ", ".join(f"`{option}`" for option in module.Options.model_fields) or "none",
    ]  # fmt: skip
    assert f"| {' | '.join(map(str, cells))} |" in page


@pytest.mark.parametrize("name", plugins.available("mappers"))
def test_every_mapper_is_listed_with_its_options(name):
    page = LISTENING.read_text(encoding="utf-8")
    fields = plugins.load("mappers", name).Options.model_fields.items()
    told = [f"`{key}`" if field.is_required() else f"`{key}: {plain(field.default)}`" for key, field in fields]
    assert f"| `{name}` | {', '.join(told) or 'none'} |" in page


def plain(value):
    return "null" if value is None else value


@pytest.mark.parametrize("path", sorted(PAGE.parent.glob("*.md")), ids=lambda path: path.stem)
def test_no_placeholder_is_left(path):
    assert not re.search(r"\b(TODO|TBD|FIXME|MEASURED|XXX)\b", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", plugins.available("extractors"))
def test_every_extractor_is_listed_with_where_its_features_come_from(name):
    module = plugins.load("extractors", name)
    shape = " x ".join(map(str, module.spec(module.Options()).published))
    options = module.Options.model_fields.items()
    cells = [
        f"`{name}`", module.MODALITY, f"`{module.FILES}/`, {shape}" if module.FILES else "—",
        f"`{module.WEIGHTS}`" if module.WEIGHTS else "—", _said(hasattr(module, "class_vectors")),
        ", ".join(f"`{key}: {_value(field.default)}`" for key, field in options) or "none",
    ]  # fmt: skip
    assert f"| {' | '.join(cells)} |" in PARSING.read_text(encoding="utf-8")


def _knobs(section, prefix=""):
    for name, value in section.items():
        yield from _knobs(value, f"{prefix}{name}.") if isinstance(value, dict) else [(f"{prefix}{name}", value)]


@pytest.mark.parametrize("name", plugins.available("parsers"))
def test_every_parser_is_listed_with_its_knobs(name):
    page = PARSING.read_text(encoding="utf-8")
    assert f"\n| `{name}` | " in page
    groups = plugins.load("parsers", name).Hyper().model_dump(mode="json", by_alias=True)
    for group, section in groups.items():
        knobs = _knobs(section) if isinstance(section, dict) else [(group, section)]
        told = ", ".join(f"`{key}: {_value(value)}`" for key, value in knobs)
        assert f"| `{name}` | `{group}` | {told} |" in page


def test_every_parsing_experiment_is_listed():
    config = yaml.safe_load((PARSING.parents[1] / "config.yaml").read_text(encoding="utf-8"))
    assert all(f"| `{name}` |" in PARSING.read_text(encoding="utf-8") for name in config["parsing"])


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind in ("prompters", "tasks") for name in plugins.available(kind)]
)
def test_every_prompter_and_task_is_listed_with_its_knobs(kind, name):
    page = PROMPTING.read_text(encoding="utf-8")
    groups = plugins.load(kind, name).Hyper().model_dump(mode="json", by_alias=True)
    flat = {key: value for key, value in groups.items() if not isinstance(value, dict)}
    rows = {f"`{group}`": section for group, section in groups.items() if isinstance(section, dict)}
    for group, section in {**rows, **({"—": flat} if flat or not rows else {})}.items():
        told = ", ".join(f"`{key}: {_value(value)}`" for key, value in _knobs(section)) or "none"
        assert f"| `{name}` | {group} | {told} |" in page


def test_every_prompting_experiment_and_size_is_listed():
    page = PROMPTING.read_text(encoding="utf-8")
    config = yaml.safe_load((PARSING.parents[1] / "config.yaml").read_text(encoding="utf-8"))
    assert all(f"`{name}`" in page for name in (*config["prompting"], *_trunks.SIZES))


DATASETS = Path(__file__).parents[2] / "docs" / "datasets.md"
README = Path(__file__).parents[2] / "README.md"
OFFERED = [name for name in plugins.available("datasets") if "sources" in plugins.definitions("datasets", name)]
MB_S = 10  # of the times in the README


def fetched(module, nowhere):
    """Whether the workflow gets what a dataset is first made of by itself."""
    named = module.sources(nowhere, module.Options())
    had = sum(bool(source.origins) for source in named)
    return "yes" if had == len(named) else "in part" if had else "by hand"


def gigabytes(value):
    return "—" if not value else f"{value * 1000:g} MB" if value < 0.1 else f"{value:g} GB"


def minutes(gigabytes):
    found = gigabytes * 1000 / MB_S / 60
    return "—" if not found else "1 min" if found < 1 else f"{found:.0f} min" if found < 60 else f"{found / 60:.1f} h"


def dataset_row(name, nowhere):
    """A dataset as a line of the page."""
    module = plugins.load("datasets", name)
    spec = module.SPEC
    cells = (f"[`{name}`](#{name})", spec.title, spec.task, fetched(module, nowhere), *map(gigabytes, sizes(spec)))
    return f"| {' | '.join([*cells, spec.licence, f'<{spec.home}>'])} |"


def sizes(spec):
    return spec.download_gb, spec.disk_gb


def readme_row(name, nowhere):
    """A dataset as a line of the README, with the targets of its entries in config.yaml."""
    module = plugins.load("datasets", name)
    spec = module.SPEC
    entries = yaml.safe_load((README.parent / "config.yaml").read_text(encoding="utf-8"))["datasets"]
    targets = [key for key, entry in entries.items() if entry["plugin"] == name] or [name]
    commands = ", ".join(f"`data_{key}`" for key in targets)
    told = (fetched(module, nowhere), *map(gigabytes, sizes(spec)), minutes(spec.download_gb), spec.licence)
    return f"| [{spec.title}](docs/datasets.md#{name}) | {commands} | {' | '.join(told)} |"


def option_row(name):
    fields = plugins.load("datasets", name).Options.model_fields.items()
    told = ", ".join(f"`{key}: {_plain(field.get_default(call_default_factory=True))}`" for key, field in fields)
    return f"| `{name}` | {told} |"


def setting_rows(model):
    fields = model.model_fields.items()
    return [
        f"| `{key}: {_plain(field.get_default(call_default_factory=True))}` | {field.description} |"
        for key, field in fields
        if field.description
    ]


def _plain(value):
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_plain, value))}]"
    return '""' if value == "" else _value(value)


@pytest.mark.parametrize("name", OFFERED)
def test_every_dataset_is_listed_with_its_terms_and_sizes(name, tmp_path):
    page, module = DATASETS.read_text(encoding="utf-8"), plugins.load("datasets", name)
    assert dataset_row(name, tmp_path) in page and f"\n### `{name}`\n" in page
    assert readme_row(name, tmp_path) in README.read_text(encoding="utf-8")
    assert module.SPEC.restricted, "the page says that all of them need `accept_terms`"


@pytest.mark.parametrize("name", [*OFFERED, "folder", "parsing_folder"])
def test_every_option_of_a_dataset_is_listed(name):
    assert option_row(name) in DATASETS.read_text(encoding="utf-8")


def test_every_setting_of_downloads_is_listed():
    page = DATASETS.read_text(encoding="utf-8")
    rows = [*setting_rows(DatasetConfig), *setting_rows(Downloads)]
    assert len(rows) > 10 and all(row in page for row in rows)


def test_every_finding_and_every_tool_for_archives_is_listed():
    page = DATASETS.read_text(encoding="utf-8")
    assert all(f"\n| {kind} | " in page for kind in findings.KINDS)
    assert all(f"`{tool}`" in page for tool in archives._TOOLS)
