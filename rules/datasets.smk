# From a name in the config to a table of verified clips.


rule prepare_dataset:  # makes or fetches the files of a dataset that is not a user's folder
    input:
        AT.made_from,
    output:
        manifest="<data>/{dataset}/prepared.json",
    log:
        "<logs>/prepare_dataset/{dataset}.log",
    benchmark:
        "<benchmarks>/prepare_dataset/{dataset}.tsv"
    conda:
        "../envs/media.yaml"
    threads: 8
    resources:
        mem_mb=growing(4_000),
        runtime=growing(60),
    params:
        plugin=AT.dataset_plugin,
        options=AT.dataset_options,
        root=AT.dataset_root,
        code=AT.code("datasets.{dataset}", "media:write_video", "media:write_wave"),
    script:
        "../workflow_scripts/prepare_dataset.py"


rule download_dataset:  # fetches what a dataset is made of, or takes what was dropped; goes on where it was
    output:
        manifest="<data>/{dataset}/downloaded.json",
    log:
        "<logs>/download_dataset/{dataset}.log",
    benchmark:
        "<benchmarks>/download_dataset/{dataset}.tsv"
    conda:
        "../envs/media.yaml"
    params:
        plugin=AT.dataset_plugin,
        options=AT.dataset_options,
        wishes=AT.dataset_wishes,
        root=AT.dataset_root,
        folder=AT.downloads_folder,
        code=AT.code("datasets.{dataset}"),
    script:
        "../workflow_scripts/download_dataset.py"


rule index_dataset:  # probes every listed file; what is wrong with one becomes a row
    input:
        AT.dataset_files,
    output:
        clips="<data>/{dataset}/clips.parquet",
        classes="<data>/{dataset}/classes.parquet",
        events="<data>/{dataset}/events.parquet",
        questions="<data>/{dataset}/questions.parquet",
        masks="<data>/{dataset}/masks.parquet",
        findings="<data>/{dataset}/findings.parquet",
    log:
        "<logs>/index_dataset/{dataset}.log",
    benchmark:
        "<benchmarks>/index_dataset/{dataset}.tsv"
    conda:
        "../envs/media.yaml"
    threads: 8
    resources:
        mem_mb=growing(4_000),
        runtime=growing(60),
    params:
        plugin=AT.dataset_plugin,
        options=AT.dataset_options,
        root=AT.dataset_root,
        listing=AT.dataset_listing,
        downloaded=AT.downloaded,
        journal=AT.journal,
        code=AT.code("indexing:index_dataset", "datasets.{dataset}"),
    script:
        "../workflow_scripts/index_dataset.py"


rule report_data:  # what was found of a dataset, and what is wrong with it
    input:
        clips="<data>/{dataset}/clips.parquet",
        classes="<data>/{dataset}/classes.parquet",
        findings="<data>/{dataset}/findings.parquet",
    output:
        html="<results>/reports/data_{dataset}.html",
        markdown="<results>/tables/data_{dataset}.md",
    log:
        "<logs>/report_data/{dataset}.log",
    conda:
        "../envs/report.yaml"
    params:
        code=AT.code("data_report:write"),
    script:
        "../workflow_scripts/report_data.py"
