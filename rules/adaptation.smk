# Adaptation at test time.


rule try_hyper:  # a grid on held-out clips under one corruption; the test split is never looked at
    input:
        clips=AT.tuning_clips,
        classes="<data>/{dataset}/classes.parquet",
        weights=AT.source_weights,
        statistics=AT.cell_statistics,
        importance=AT.cell_importance,
        audio_scores=AT.audio_scores,
        label_map=AT.label_map,
    output:
        trials="<results>/tuning/{experiment}/{dataset}/{backbone}/{corruption}.parquet",
    log:
        "<logs>/try_hyper/{experiment}/{dataset}/{backbone}/{corruption}.log",
    benchmark:
        "<benchmarks>/try_hyper/{experiment}/{dataset}/{backbone}/{corruption}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: CONFIG.runtime.torch_threads
    resources:
        gpu=1,
        mem_mb=growing(24_000),
        runtime=growing(240),
    params:
        cell=AT.tuning_cell,
        codes=AT.method_codes,
        code=AT.code("trials:try_all"),
    script:
        "../workflow_scripts/try_hyper.py"


rule tune_methods:  # the best candidate of each method over all of the held-out corruptions
    input:
        trials=AT.trials,
    output:
        chosen="<results>/tuning/{experiment}/{dataset}/{backbone}.json",
        trials="<results>/tuning/{experiment}/{dataset}/{backbone}.parquet",
    log:
        "<logs>/tune_methods/{experiment}/{dataset}/{backbone}.log",
    conda:
        "../envs/report.yaml"
    params:
        code=AT.code("tuning:choose"),
    script:
        "../workflow_scripts/tune_methods.py"


rule adapt_clips:  # one job a cell: every method and seed of the experiment over the same decoded clips
    input:
        clips=AT.cell_clips,
        classes="<data>/{dataset}/classes.parquet",
        weights=AT.source_weights,
        statistics=AT.cell_statistics,
        importance=AT.cell_importance,
        audio_scores=AT.audio_scores,
        label_map=AT.label_map,
        tuned=AT.tuned,
    output:
        predictions="<results>/predictions/{experiment}/{dataset}/{corruption}-{severity}/{backbone}.parquet",
        timings="<results>/predictions/{experiment}/{dataset}/{corruption}-{severity}/{backbone}.timing.parquet",
    log:
        "<logs>/adapt_clips/{experiment}/{dataset}/{corruption}-{severity}/{backbone}.log",
    benchmark:
        "<benchmarks>/adapt_clips/{experiment}/{dataset}/{corruption}-{severity}/{backbone}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: CONFIG.runtime.torch_threads
    resources:
        gpu=1,
        mem_mb=growing(24_000),
        runtime=growing(240),
    params:
        cell=AT.cell,
        runs=AT.runs,
        codes=AT.method_codes,
        code=AT.code("streaming:adapt_cell"),
    script:
        "../workflow_scripts/adapt_clips.py"
