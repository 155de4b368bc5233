# Helpers of the rules. Whatever has a branch worth testing is in the library.
import fcntl
import sys
from pathlib import Path

sys.path.append(str(Path(workflow.basedir) / "workflow_scripts"))  # appended: an installed package of the same name wins

from earshot import digests, plugins  # noqa: E402
from earshot.config import CLEAN, load, reviewed_label_map  # noqa: E402
from earshot.folders import listing  # noqa: E402

CONFIG = load(config)
DATA = CONFIG.pathvars.get("data", "data")
RESULTS = CONFIG.pathvars.get("results", "results")


wildcard_constraints:
    dataset="|".join(CONFIG.datasets) or "none",
    backbone="[a-z0-9_]+",
    corruption="[a-z0-9_]+",
    severity="[0-5]",
    experiment="|".join(CONFIG.experiments),
    audio_model="|".join(CONFIG.audio_models) or "none",


onstart:
    # Snakemake's own lock outlives a killed run; this one goes with the process, so a killed run needs no unlocking.
    lock = open(Path(".snakemake") / "earshot.lock", "w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise WorkflowError("another run of this workflow is under way in this folder; wait for it to end")
    globals()["RUN_LOCK"] = lock


def media_root(dataset):
    """Folder of a dataset's videos: the user's, or the one that the workflow fills."""
    spec = CONFIG.datasets[dataset]
    return spec.root or f"{DATA}/{dataset}/media"


def of_dataset(field):
    """A params function: one field of the wildcard's dataset in the config."""

    def read(wildcards):
        return getattr(CONFIG.datasets[wildcards.dataset], field)

    return read


def dataset_root(wildcards):
    """Folder of the wildcard's dataset."""
    return media_root(wildcards.dataset)


def dataset_files(wildcards):
    """What must exist before a dataset is indexed: the preparation, or the user's label file."""
    spec = CONFIG.datasets[wildcards.dataset]
    maker = spec.made_by or ("" if spec.root else wildcards.dataset)
    if maker:
        return f"{DATA}/{maker}/prepared.json"
    labels = spec.options.get("labels")
    return f"{spec.root}/{labels}" if labels else []


def dataset_listing(wildcards):
    """A fingerprint of a user's folder, so that a video that comes, goes or changes is noticed."""
    spec = CONFIG.datasets[wildcards.dataset]
    return listing(spec.root) if spec.root and not spec.made_by else ""


def code_of(*entries):
    """A params function: digest of the code behind the entries, `{plugin}` standing for the wildcard's plug-in."""

    def digest(wildcards):
        names = {"corruption": getattr(wildcards, "corruption", "")}
        if hasattr(wildcards, "dataset"):
            names["dataset"] = CONFIG.datasets[wildcards.dataset].plugin
        if hasattr(wildcards, "backbone"):
            names["backbone"] = CONFIG.backbone(wildcards.backbone).plugin
        if hasattr(wildcards, "audio_model"):
            names["audio_model"] = CONFIG.audio_models[wildcards.audio_model].plugin
        return digests.of(*(entry.format(**names) for entry in entries))

    return digest


def backbone_plugin(wildcards):
    """The plug-in behind a backbone's name."""
    return CONFIG.backbone(wildcards.backbone).plugin


def training_settings(wildcards):
    """Overrides of how a backbone's source model is trained."""
    return CONFIG.backbone(wildcards.backbone).train


def audio_model_field(field):
    """A params function: one field of the wildcard's audio model in the config."""

    def read(wildcards):
        return getattr(CONFIG.audio_models[wildcards.audio_model], field)

    return read


def bank_csv(wildcards):
    """The list of a sound bank's files, and what makes it."""
    bank = CONFIG.sound_banks[CONFIG.audio_models[wildcards.audio_model].bank]
    return bank.csv


def bank_maker(wildcards):
    """The preparation that writes a sound bank, if the workflow makes it; else the user's list."""
    bank = CONFIG.sound_banks[CONFIG.audio_models[wildcards.audio_model].bank]
    return f"{DATA}/{bank.made_by}/prepared.json" if bank.made_by else bank.csv


def reviewed_map(wildcards):
    """The reviewed label map between the wildcards' audio model and dataset."""
    return str(reviewed_label_map(CONFIG.label_map(wildcards.dataset, wildcards.audio_model).reviewed))


def splits_to_corrupt(wildcards):
    """Which splits of a dataset are needed under a corruption."""
    return CONFIG.splits_to_corrupt(wildcards.dataset, wildcards.corruption, int(wildcards.severity))


def splits_to_hear(wildcards):
    """Which splits of a dataset any experiment listens to."""
    return CONFIG.splits_to_hear(wildcards.dataset)


def cell_clips(wildcards):
    """The clips of a cell: the dataset's own, or their corrupted version."""
    if wildcards.corruption == CLEAN:
        return f"{DATA}/{wildcards.dataset}/clips.parquet"
    return f"{DATA}/{wildcards.dataset}-c/{wildcards.corruption}/{wildcards.severity}/clips.parquet"


def cell_root(wildcards):
    """The folder that a cell's videos are relative to."""
    return media_root(wildcards.dataset) if wildcards.corruption == CLEAN else str(Path(cell_clips(wildcards)).parent)


def tuning_clips(wildcards):
    """The held-out corrupted clips on which hyper-parameters are chosen."""
    tune = CONFIG.experiments[wildcards.experiment].tune
    return f"{DATA}/{wildcards.dataset}-c/{tune.corruption}/{tune.severity}/clips.parquet"


def tuned(wildcards):
    """The chosen hyper-parameters of a cell, if its experiment tunes."""
    if CONFIG.experiments[wildcards.experiment].tune is None:
        return []
    return f"{RESULTS}/tuning/{wildcards.experiment}/{wildcards.dataset}/{wildcards.backbone}.json"


def audio_scores(wildcards):
    """The audio scores of a cell's dataset, if its experiment listens."""
    model = CONFIG.experiments[wildcards.experiment].audio_model
    return f"{RESULTS}/audio_scores/{wildcards.dataset}/{model}.parquet" if model else []


def label_maps(wildcards):
    """The label map of a cell's dataset, if its experiment listens."""
    model = CONFIG.experiments[wildcards.experiment].audio_model
    return f"{RESULTS}/label_maps/{wildcards.dataset}/{model}.parquet" if model else []


def runs_of_cell(wildcards):
    """Every run of a cell as plain values: variant, plug-in, overrides, seed."""
    return [list(run) for run in CONFIG.runs(wildcards.experiment)]


def method_codes(wildcards):
    """Digest of each method's code, with the code that streams clips to it and the backbone's."""
    shared = ("streaming:Cell", f"backbones.{backbone_plugin(wildcards)}")
    used = {run.plugin for run in CONFIG.runs(wildcards.experiment)}
    return {key: digests.of(f"methods.{key}", *shared) for key in sorted(used)}


def of_cells(pattern):
    """An input function: `pattern` filled with every cell of the wildcard's experiment."""

    def fill(wildcards):
        return [pattern.format(results=RESULTS, **cell._asdict()) for cell in CONFIG.cells(wildcards.experiment)]

    return fill


def of_datasets(pattern, also_indexed=False):
    """An input function: `pattern` filled with every dataset of the wildcard's experiment."""

    def fill(wildcards):
        spec = CONFIG.experiments[wildcards.experiment]
        names = [*spec.datasets, *spec.also_index] if also_indexed else spec.datasets
        return [
            pattern.format(data=DATA, results=RESULTS, dataset=name, model=spec.audio_model, backbone=backbone)
            for name in names
            for backbone in (spec.backbones if "{backbone}" in pattern else [""])
            if spec.audio_model or "{model}" not in pattern
        ]

    return fill


def _cell(wildcards, corruption, split, root):
    """What a script needs to know of a cell, as plain values."""
    return {
        "root": root,
        "corrupted": corruption != CLEAN,
        "backbone": backbone_plugin(wildcards),
        "dataset": wildcards.dataset,
        "corruption": corruption,
        "split": split,
        "protocol": CONFIG.protocol_of(wildcards.experiment).model_dump(),
        "runtime": CONFIG.runtime.model_dump(),
        "parts": f"{RESULTS}/parts",
    }


def adaptation_cell(wildcards):
    """The cell of the wildcards."""
    split = CONFIG.experiments[wildcards.experiment].split
    return _cell(wildcards, wildcards.corruption, split, cell_root(wildcards))


def tuning_cell(wildcards):
    """The held-out cell on which the wildcards' experiment tunes, and what is tried there."""
    tune = CONFIG.experiments[wildcards.experiment].tune
    cell = _cell(wildcards, tune.corruption, tune.split, str(Path(tuning_clips(wildcards)).parent))
    methods = {name: [CONFIG.method(name).plugin, dict(CONFIG.method(name).hyper)] for name in tune.grid}
    return {**cell, "grid": tune.grid, "methods": methods, "seed": tune.seed}
