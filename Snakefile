# Earshot: how far sound can help video models when the picture fails.
# `snakemake --cores all` makes the targets of config.yaml; `snakemake --cores all <experiment>` makes one by name.


configfile: "config.yaml"


pathvars:
    data="data",
    results="results",
    logs="<results>/logs",
    benchmarks="<results>/benchmarks",


include: "rules/common.smk"
include: "rules/datasets.smk"
include: "rules/corruptions.smk"
include: "rules/audio.smk"
include: "rules/backbones.smk"
include: "rules/adaptation.smk"
include: "rules/results.smk"
include: "rules/parsing.smk"
include: "rules/prompting.smk"


localrules:
    all,
    download_dataset,
    fetch_checkpoint,
    ask_mapper,
    write_overview,
    log_to_mlflow,
    log_parses,
    log_prompts,


rule all:
    default_target: True
    input:
        "<results>/report.html",
        collect("<results>/reports/{target}.html", target=CONFIG.targets),
        collect("<results>/mlflow/{target}.json", target=CONFIG.targets),


for experiment in [
    *CONFIG.experiments,
    *CONFIG.parsing,
    *CONFIG.prompting,
]:  # each can be asked for by name

    rule:
        name:
            experiment
        input:
            f"<results>/reports/{experiment}.html",
            f"<results>/mlflow/{experiment}.json",
        localrule: True


for dataset in CONFIG.datasets:  # what is there of each, with a report

    rule:
        name:
            f"data_{dataset}"
        input:
            f"<results>/reports/data_{dataset}.html",
        localrule: True
