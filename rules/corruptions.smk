# The "-C" versions of datasets.


rule synthesize_corruption:  # one corruption at one severity, for all splits that any experiment needs
    input:
        clips="<data>/{dataset}/clips.parquet",
    output:
        clips="<data>/{dataset}-c/{corruption}/{severity}/clips.parquet",
    log:
        "<logs>/synthesize_corruption/{dataset}/{corruption}-{severity}.log",
    benchmark:
        "<benchmarks>/synthesize_corruption/{dataset}/{corruption}-{severity}.tsv"
    conda:
        "../envs/media.yaml"
    threads: CONFIG.runtime.workers
    resources:
        mem_mb=8_000,
        runtime=480,
    params:
        splits=AT.splits_to_corrupt,
        root=AT.dataset_root,
        preset=CONFIG.corruption.preset,
        seed=CONFIG.seed,
        code=AT.code("synthesis:corrupt_clip", "corruptions.{corruption}"),
    script:
        "../workflow_scripts/synthesize_corruption.py"
